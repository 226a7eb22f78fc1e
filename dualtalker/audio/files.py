"""Reads recordings, whole or not at all: wav, flac, ogg and mp3 by libsndfile alone.

The sound of videos and of other compressed files is read through PyAV, where it is installed.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dualtalker.audio.compressed import find_container, is_short, open_soundtrack
from dualtalker.audio.containers import check_container, check_mp3, read_head, truncated
from dualtalker.audio.pcm import (
    CANCEL_MESSAGE,
    channels_cancel,
    check_samples,
    mix_to_mono,
    pick_channel,
)
from dualtalker.audio.resampling import check_rate
from dualtalker.errors import AudioError
from dualtalker.files import tell_fault

if TYPE_CHECKING:
    import soundfile

MAX_MINUTES = 60.0  # of a recording, unless more is asked for
_CONTAINERS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3")  # as libsndfile calls them
_EXPECTED = "expected wav, flac, ogg or mp3"
_BLOCK = 1 << 20  # samples read at a time
# Speech in flac takes at least a twentieth of its samples; silence is not worth gigabytes.
_LARGE_BYTES, _LARGEST_RATIO = 1 << 28, 200
_UNKNOWN_LENGTH = (1 << 63) - 1  # libsndfile's, where a file does not say

log = logging.getLogger("dualtalker")


def read_audio(
    path: str | Path, max_minutes: float = MAX_MINUTES, channel: int | None = None
) -> tuple[np.ndarray, int]:
    """Read a recording; return mono float32 samples [n] in [-1, 1] and the rate in Hz.

    They are those of one channel, counted from 0, or the mean of all for None. wav, flac, ogg and
    mp3 are read by libsndfile alone; the sound of mp4, m4a, aac, webm, wma and other videos with
    the package's extra `video`.

    Raises:
        AudioError: missing, unreadable, truncated, empty or non-finite, a rate out of range,
            longer than `max_minutes`, without that channel, or in need of the extra.
    """
    path = Path(path)
    _check_is_file(path)
    container = find_container(read_head(path))
    if container is None:
        mono, rate_hz = _decode_file(path, max_minutes, channel)
    else:
        mono, rate_hz = _decode_compressed(path, container, max_minutes, channel)
    if len(mono) == 0:
        raise AudioError(f"{path}: holds no samples; record or copy it again")
    return mono, rate_hz


def _decode_file(path: Path, max_minutes: float, channel: int | None) -> tuple[np.ndarray, int]:
    """Return mono samples [n] float32 and the rate; raises AudioError unless it is whole."""
    soundfile = _import_soundfile()
    filled = check_container(path)
    # As bytes, because soundfile refuses a name that is no Unicode; Windows has no such names.
    name = str(path) if os.name == "nt" else os.fsencode(path)
    try:
        with soundfile.SoundFile(name if filled is None else io.BytesIO(filled)) as file:
            if file.format not in _CONTAINERS:  # damage to others could not be told
                raise AudioError(
                    f"{path}: found {file.format}; {_EXPECTED}. Convert it with: "
                    f"ffmpeg -i {path.name} {path.stem}_converted.wav, or: sox {path.name} "
                    f"{path.stem}_converted.wav"
                )
            if file.frames >= _UNKNOWN_LENGTH:
                raise AudioError(
                    f"{path}: its header gives no length, as of a flac written into a pipe; "
                    f"write it anew with: ffmpeg -i {path.name} mended.flac"
                )
            _check_length(path, file.frames, file.samplerate, file.channels, max_minutes)
            if file.format == "MP3" and filled is None:  # one with a strange start, too
                check_mp3(path, path.read_bytes())
            mono = _mix_blocks(path, _read_blocks(file), file.frames, channel)
            if len(mono) < file.frames:
                raise truncated(path, f"{len(mono)} samples", f"{file.frames}")
            return mono, file.samplerate
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(
            f"{path}: not readable as audio ({error}); {_EXPECTED}. Convert it "
            f"with: ffmpeg -i {path.name} {path.stem}_converted.wav"
        ) from error


def _read_blocks(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    # Not `blocks`, which refuses codecs in which libsndfile cannot seek, such as GSM 6.10.
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
        yield block


def _decode_compressed(
    path: Path, container: str, max_minutes: float, channel: int | None
) -> tuple[np.ndarray, int]:
    with open_soundtrack(path, container) as track:
        _check_length(path, 0, track.rate_hz, track.channels, max_minutes)

        def limited() -> Iterator[np.ndarray]:
            count = 0
            for block in track.blocks:
                count += len(block)
                _check_length(path, count, track.rate_hz, track.channels, max_minutes)
                yield block

        mono = _mix_blocks(path, limited(), 0, channel)
    if is_short(track, len(mono)):
        found = f"{len(mono) / track.rate_hz:.2f} s"
        raise truncated(path, found, f"{track.promised_s:.2f} s")
    return mono, track.rate_hz


def _check_length(
    path: Path, frames: int, rate_hz: int, channels: int, max_minutes: float
) -> None:
    try:
        check_rate(rate_hz)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error
    minutes = frames / rate_hz / 60
    if minutes > max_minutes:
        raise AudioError(
            f"{path}: {minutes:.1f} minutes long, expected at most {max_minutes:g}; cut it, or "
            "give `dualtalker animate` a larger --max-minutes"
        )
    unpacked, size = 4 * frames * channels, path.stat().st_size
    if unpacked > _LARGE_BYTES and unpacked > _LARGEST_RATIO * size:
        raise AudioError(
            f"{path}: {size} bytes that unpack to {unpacked}, which no recording does; expected "
            f"at most {_LARGEST_RATIO} times its size"
        )


def _mix_blocks(
    path: Path, blocks: Iterator[np.ndarray], expected: int, channel: int | None
) -> np.ndarray:
    """Return a channel [n] of a file, or the mix; a block of all channels is held at a time.

    `expected` is how many samples there should be; more and fewer are taken.
    """
    mono = np.empty(expected, np.float32)
    clipped = at = 0
    cancelled = False
    for block in blocks:
        try:
            block = pick_channel(check_samples(block), channel)
            mixed, beyond = mix_to_mono(block)
        except AudioError as error:
            raise AudioError(f"{path}: {error}") from error
        if at + len(mixed) > len(mono):
            mono.resize(max(at + len(mixed), 2 * len(mono)), refcheck=False)
        mono[at : at + len(mixed)] = mixed
        at, clipped = at + len(mixed), clipped + beyond
        cancelled = cancelled or channels_cancel(block, mixed)
    if clipped:
        log.warning("%s: %d samples beyond full scale were clipped", path, clipped)
    if cancelled:
        log.warning("%s: %s", path, CANCEL_MESSAGE)
    mono.resize(at, refcheck=False)
    return mono


def _import_soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: libsndfile itself is missing
        raise AudioError(
            f"recordings are read with the package soundfile ({error}); install it: "
            "python -m pip install soundfile"
        ) from error
    return soundfile


def _check_is_file(path: Path) -> None:
    if found := tell_fault(path):
        raise AudioError(f"{path}: {found}; expected a wav, flac, ogg or mp3 recording")
