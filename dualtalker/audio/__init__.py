"""Sound as it comes: files, messages, PCM, and the change of its rate."""

from __future__ import annotations

from dualtalker.audio.compressed import import_av, open_video
from dualtalker.audio.files import AudioStream, open_audio, read_audio
from dualtalker.audio.messages import (
    BARE_TYPES,
    INFO_TYPE,
    RATE_LABEL,
    REFUSALS,
    SAMPLE_FORMATS,
    STAMP_LABEL,
    SUPPORTED_TYPES,
    AudioChunk,
    AudioFormat,
    is_info,
    kind_of,
    read_info,
    read_message,
)
from dualtalker.audio.pcm import (
    CANCEL_MESSAGE,
    ChannelError,
    NonFiniteError,
    channels_cancel,
    check_samples,
    find_peak,
    mix_to_mono,
    pick_channel,
    read_channel,
    scale_samples,
)
from dualtalker.audio.resampling import StreamingResampler, check_rate, fit_length

__all__ = [
    "BARE_TYPES",
    "CANCEL_MESSAGE",
    "INFO_TYPE",
    "RATE_LABEL",
    "REFUSALS",
    "SAMPLE_FORMATS",
    "STAMP_LABEL",
    "SUPPORTED_TYPES",
    "AudioChunk",
    "AudioFormat",
    "AudioStream",
    "ChannelError",
    "NonFiniteError",
    "StreamingResampler",
    "channels_cancel",
    "check_rate",
    "check_samples",
    "find_peak",
    "fit_length",
    "import_av",
    "is_info",
    "kind_of",
    "mix_to_mono",
    "open_audio",
    "open_video",
    "pick_channel",
    "read_audio",
    "read_channel",
    "read_info",
    "read_message",
    "scale_samples",
]
