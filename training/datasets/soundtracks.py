"""Which videos a recording's sound may come from, and how long it lasts."""

from __future__ import annotations

from pathlib import Path

from dualtalker.errors import AudioError
from dualtalker.files import check_file
from training.data import AUDIO_SUFFIXES, SAMPLE_RATE_HZ, read_sound

VIDEO_SUFFIXES = (".mov", ".mp4", ".m4a", ".m4v", ".flv", ".mkv")


def measure_duration_s(path: Path) -> float:
    """Return how long the sound lasts, without decoding it where the header tells."""
    import soundfile

    if path.suffix.lower() in AUDIO_SUFFIXES:
        check_file(path, AudioError, "a recording")
        try:
            return float(soundfile.info(str(path)).duration)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise AudioError(f"{path}: not readable as sound ({error}): copy it again") from error
    return len(read_sound(path)) / SAMPLE_RATE_HZ
