"""Reads the sound of recordings, also out of videos, at 16 kHz. Sound files: dualtalker.audio."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dualtalker.errors import AudioError
from training.data import AUDIO_SUFFIXES, SAMPLE_RATE_HZ, read_sound

VIDEO_SUFFIXES = (".mov", ".mp4", ".m4a", ".m4v", ".flv", ".mkv")


def read_soundtrack(path: Path) -> np.ndarray:
    """Return float32 [samples] at 16 kHz, mono, in [-1, 1], of a sound file or a video.

    Sample 0 is the video's first instant: a track that starts later is preceded by silence.
    Raises `AudioError`.
    """
    if path.suffix.lower() in AUDIO_SUFFIXES:
        return read_sound(path)
    import av

    if not path.is_file():
        raise AudioError(f"{path}: no such file")
    blocks: list[np.ndarray] = []
    start_s = 0.0
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(f"{path}: the video has no sound; record with the microphone on")
            track = container.streams.audio[0]
            start_s = _start_s(container, track)
            resampler = av.AudioResampler("fltp", "mono", SAMPLE_RATE_HZ)
            for frame in container.decode(track):
                blocks.extend(part.to_ndarray()[0] for part in resampler.resample(frame))
            blocks.extend(part.to_ndarray()[0] for part in resampler.resample(None))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioError(
            f"{path}: its sound cannot be read ({error}); copy it again from the phone, or "
            f"extract it with: ffmpeg -i {path.name} {path.stem}.wav"
        ) from error
    silence = np.zeros(max(0, round(start_s * SAMPLE_RATE_HZ)), np.float32)
    samples = np.concatenate([silence, *blocks]) if blocks else np.zeros(0, np.float32)
    if not len(samples):
        raise AudioError(f"{path}: its soundtrack holds no samples; copy it again")
    return np.clip(samples, -1.0, 1.0).astype(np.float32)


def measure_duration_s(path: Path) -> float:
    """Return how long the sound lasts, without decoding it where the header tells."""
    import soundfile

    if path.suffix.lower() in AUDIO_SUFFIXES:
        try:
            return float(soundfile.info(str(path)).duration)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise AudioError(f"{path}: not readable as sound ({error}): copy it again") from error
    return len(read_soundtrack(path)) / SAMPLE_RATE_HZ


def _start_s(container, track) -> float:  # type: ignore[no-untyped-def]
    """Return how much later than the picture the sound starts; 0 where there is no picture."""
    if not container.streams.video:
        return 0.0
    picture = container.streams.video[0]
    sound_s = float((track.start_time or 0) * (track.time_base or 0))
    picture_s = float((picture.start_time or 0) * (picture.time_base or 0))
    return sound_s - picture_s
