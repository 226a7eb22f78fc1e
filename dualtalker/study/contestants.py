"""Contestants of a study: what each does with each recording's sound, as weights on one clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualtalker.audio import read_audio
from dualtalker.errors import StudyError
from dualtalker.evaluation import read_motion_csv
from dualtalker.model import load_bundle
from dualtalker.stream import animate

_EXAMPLE = "expected NAME=model.onnx, or NAME=FOLDER with a CSV of `dualtalker animate` for each"
_LATE_S = 0.1  # curves may begin so late: frame times are counted from 0
_SHORT_S = 0.25  # and end so early
_LONG_S = 1.0


@dataclass(frozen=True)
class Sound:
    """A recording that all contestants speak."""

    name: str
    path: Path
    samples: np.ndarray  # [n] float32, mono
    rate_hz: int

    @property
    def duration_s(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate_hz

    def count_frames(self, fps: float) -> int:
        """Return how many frames begin in it."""
        return math.ceil(self.duration_s * fps)


def read_contestants(words: Sequence[str]) -> dict[str, Path]:
    """Read `NAME=PATH` words.

    Raises:
        StudyError: a word is none, a name stands twice, there are fewer than two.
    """
    found: dict[str, Path] = {}
    for word in words:
        name, sign, path = word.partition("=")
        if not (name and sign and path):
            raise StudyError(f"contestant {word!r}: {_EXAMPLE} recording")
        if name in found:
            raise StudyError(f"contestant {name!r} is named twice; give each a name of its own")
        found[name] = Path(path)
        if found[name].suffix != ".onnx" and not found[name].is_dir():
            raise StudyError(f"contestant {name}: {path} is neither a folder nor a .onnx file; "
                             f"{_EXAMPLE} recording")  # fmt: skip
    if len(found) < 2:
        raise StudyError(f"found {len(found)} contestants, expected two or more: A=… B=…")
    return found


def read_sounds(paths: Sequence[Path]) -> list[Sound]:
    """Read the recordings.

    Raises:
        AudioError: one cannot be read.
        StudyError: there is none, or two have one name.
    """
    if not paths:
        raise StudyError("no recording given; expected --recordings speech.wav ...")
    sounds: dict[str, Sound] = {}
    for path in paths:
        if path.stem in sounds:
            raise StudyError(f"{sounds[path.stem].path} and {path} have one name; rename one")
        sounds[path.stem] = Sound(path.stem, path, *read_audio(path))
    return list(sounds.values())


def load_motions(
    contestants: dict[str, Path],
    sounds: Sequence[Sound],
    fps: float,
    progress: Callable[[float], object],
) -> dict[str, list[np.ndarray]]:
    """Return each contestant's weights [frames, 52] for each sound, frame k at k / fps.

    All curves are looked for before a model is run; `progress` is told of seconds of sound done.

    Raises:
        StudyError: curves are missing, or not of the length of their recording.
    """
    _check_curves(contestants, sounds)
    motions: dict[str, list[np.ndarray]] = {}
    for name, path in contestants.items():
        bundle = load_bundle(path) if path.suffix == ".onnx" else None
        motions[name] = []
        for sound in sounds:
            if bundle is not None:
                done = animate(sound.samples, sound.rate_hz, model=bundle, fps=fps)
                times_s, weights = done.times_s, done.weights
            else:
                times_s, weights = _read_curves(name, path, sound)
            motions[name].append(resample(times_s, weights, sound.count_frames(fps), fps))
            progress(sound.duration_s)
    return motions


def _check_curves(contestants: dict[str, Path], sounds: Sequence[Sound]) -> None:
    for name, path in contestants.items():
        if path.suffix == ".onnx":
            continue
        missing = [s.name for s in sounds if not (path / f"{s.name}.csv").is_file()]
        if missing:
            there = ", ".join(sorted(file.name for file in path.glob("*.csv"))[:6]) or "no CSV"
            raise StudyError(
                f"contestant {name}: {path} has no {missing[0]}.csv ({len(missing)} of "
                f"{len(sounds)} recordings are missing; found {there}); make it with `dualtalker "
                f"animate {missing[0]}.wav -o {path}`, or leave the recording out"
            )


def _read_curves(name: str, folder: Path, sound: Sound) -> tuple[np.ndarray, np.ndarray]:
    path = folder / f"{sound.name}.csv"
    times_s, weights = read_motion_csv(path)
    first_s, last_s = float(times_s[0]), float(times_s[-1])
    short, long = sound.duration_s - _SHORT_S, sound.duration_s + _LONG_S
    if first_s > _LATE_S or not short <= last_s <= long:
        raise StudyError(
            f"contestant {name}: {path} goes from {first_s:.2f} to {last_s:.2f} s, expected 0 to "
            f"{sound.duration_s:.2f} s, the length of {sound.path}; are they of one recording?"
        )
    return times_s, weights


def resample(times_s: np.ndarray, weights: np.ndarray, frames: int, fps: float) -> np.ndarray:
    """Read weights [rows, 52] at the times of `frames` frames; float32 [frames, 52].

    Between rows they are interpolated linearly, before and after all rows held.
    """
    grid_s = np.arange(frames) / fps
    columns = [np.interp(grid_s, times_s, column) for column in weights.T]
    return np.stack(columns, axis=1).astype(np.float32)


def delay(weights: np.ndarray, seconds: float, fps: float) -> np.ndarray:
    """Return weights [frames, 52] that come so much later, the first pose held until then."""
    frames = min(round(seconds * fps), len(weights))
    held = np.repeat(weights[:1], frames, axis=0)
    return np.concatenate([held, weights[: len(weights) - frames]])


def freeze(weights: np.ndarray) -> np.ndarray:
    """Return weights [frames, 52] that stay at the first pose."""
    return np.repeat(weights[:1], len(weights), axis=0)
