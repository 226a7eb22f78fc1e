"""Recorded speech, with captured motion, with phone labels or alone, turned into clips."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dualtalker.evaluation import read_motion_csv
from training.data.clips import (
    CHANNELS,
    MOTION_RATE_HZ,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    Clip,
    CorpusError,
    check_clip,
    frame_count,
)

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
MOVING_RANGE = 0.02  # a channel that stays within this was not captured


def read_sound(path: Path) -> np.ndarray:
    """Return float32 [samples] at 16 kHz in [-1, 1] of a sound file, or of a video's sound."""
    from dualtalker.audio import read_audio

    samples, rate_hz = read_audio(path)
    return to_corpus_rate(samples, rate_hz)


def to_corpus_rate(samples: np.ndarray, rate_hz: float) -> np.ndarray:
    """Resample float32 [samples] to 16 kHz; overshoot at full scale is clipped."""
    import soxr

    if rate_hz != SAMPLE_RATE_HZ:
        samples = soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    return np.clip(samples, -1.0, 1.0).astype(np.float32)


def is_held_out(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether a clip name matches one of the patterns (`*` and `?` as in a shell)."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


# ---- Captured motion ----------------------------------------------------------------------------


def read_captured(folder: Path, holdout: Sequence[str] = ()) -> Iterator[Clip]:
    """Yield a clip for each motion CSV below `folder` that has its sound beside it.

    Understood: `time_s` plus ARKit names (also the CSV of `dualtalker animate`), FACEGOOD's
    rounding channels, and the CSV of Live Link Face. A.csv or A_anything.csv belongs to A.wav.
    The mask holds the channels that move in at least one of the folder's files: one performer
    and one way of capture, so a channel at rest in one file is evidence if it moves in another.
    """
    paths = sorted(Path(folder).rglob("*.csv"))
    if not paths:
        raise CorpusError(f"no *.csv below {folder}: expected NAME.wav + NAME.csv")
    tracks = {path: read_motion_csv(path) for path in paths}
    moving: dict[Path, np.ndarray] = {}
    for path, (_, weights) in tracks.items():
        moves = np.ptp(weights, axis=0) > MOVING_RANGE
        moving[path.parent] = moving.get(path.parent, np.zeros(CHANNELS, bool)) | moves
    for path, (times_s, weights) in tracks.items():
        sound = _sound_for_csv(path)
        audio, motion = _align(read_sound(sound), times_s, weights, path)
        mask = moving[path.parent]
        motion[:, ~mask] = 0.0
        clip = Clip(
            name=sound.stem,
            audio=audio,
            motion=motion,
            motion_mask=mask.copy(),
            style=f"captured:{path.parent.name}",
            speaker=path.parent.name,
            source=f"captured:{path.parent.name}",
            split="validation" if is_held_out(sound.stem, holdout) else "train",
        )
        check_clip(clip)
        yield clip


def _align(
    audio: np.ndarray, times_s: np.ndarray, weights: np.ndarray, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Cut sound and motion to their common length; motion becomes float32 [frames, 52], 50 Hz."""
    duration_s = len(audio) / SAMPLE_RATE_HZ
    if abs(duration_s - times_s[-1]) > 0.5:
        raise CorpusError(
            f"{path}: motion lasts {times_s[-1]:.2f} s, its sound {duration_s:.2f} s: not a pair?"
        )
    last_frame = int(times_s[-1] * MOTION_RATE_HZ + 1e-6)
    audio = audio[: (last_frame + 1) * SAMPLES_PER_FRAME]
    frame_times_s = np.arange(frame_count(len(audio))) / MOTION_RATE_HZ
    return audio, sample_motion(times_s, weights, frame_times_s)


def sample_motion(
    times_s: np.ndarray, weights: np.ndarray, frame_times_s: np.ndarray
) -> np.ndarray:
    """Return weights `[rows, 52]` of `times_s` at other times, float32 `[frames, 52]` in [0, 1].

    Before the first row and after the last it is held.
    """
    from scipy.interpolate import PchipInterpolator

    # Monotone between samples: no overshoot, so the weights stay in [0, 1].
    curve = PchipInterpolator(times_s, weights, axis=0)
    motion = curve(np.clip(frame_times_s, times_s[0], times_s[-1]))
    return np.clip(motion, 0.0, 1.0).astype(np.float32)


# ---- Sound alone --------------------------------------------------------------------------------


def read_unpaired(folder: Path, holdout: Sequence[str] = ()) -> Iterator[Clip]:
    """Yield a clip without motion for each sound file below `folder`, with its NAME.txt if any."""
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not paths:
        raise CorpusError(f"no sound below {folder}: expected {', '.join(AUDIO_SUFFIXES)} files")
    for path in paths:
        text = path.with_suffix(".txt")
        clip = Clip(
            name=path.stem,
            audio=read_sound(path),
            transcript=text.read_text(encoding="utf-8").strip() if text.is_file() else None,
            speaker=path.parent.name,
            source=f"unpaired:{path.parent.name}",
            split="validation" if is_held_out(path.stem, holdout) else "train",
        )
        check_clip(clip)
        yield clip


def find_sound(path: Path, name: str) -> Path:
    """Return the sound NAME.* beside a file. Raises `CorpusError` where there is none."""
    for suffix in AUDIO_SUFFIXES:
        candidate = path.with_name(name + suffix)
        if candidate.is_file():
            return candidate
    raise CorpusError(f"{path} has no sound beside it: expected {name}.wav, .flac or .ogg")


def _sound_for_csv(path: Path) -> Path:
    sounds = [p for p in path.parent.iterdir() if p.suffix.lower() in AUDIO_SUFFIXES]
    fitting = [p for p in sounds if path.stem == p.stem or path.stem.startswith(f"{p.stem}_")]
    if not fitting:
        raise CorpusError(f"{path} has no sound beside it: expected {path.stem}.wav")
    return max(fitting, key=lambda p: len(p.stem))
