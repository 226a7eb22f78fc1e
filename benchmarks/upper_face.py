"""How the upper face follows a voice: `python benchmarks/upper_face.py speech.wav ... [--plot P]`.

For each recording, and for three noises made on the spot: accents, phrase ends and blinks a
minute, how far and fast the brows move, and how late they rise. Then the cost of listening.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from dualtalker import Talker
from dualtalker.arkit import ARKIT_INDEX
from dualtalker.audio import (
    StreamingResampler,
    mix_to_mono,
    read_audio,
)
from dualtalker.drawing import plot_upper_face
from dualtalker.face import (
    Cue,
    ProsodyTracker,
    SpeakingLife,
)

RATE_HZ, HOP, FPS = 16000, 320, 60
BROW, BLINK = ARKIT_INDEX["browInnerUp"], ARKIT_INDEX["eyeBlinkLeft"]


@dataclass
class Options:
    """Measure the upper face of the shipped model."""

    wavs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Recordings of speech."""
    seed: int = 0
    """Seed of the idle motion."""
    noise_s: float = 20.0
    """Length of each noise (s)."""
    plot: Path | None = None
    """Draw the first 20 s of the first recording here."""


def main(options: Options) -> None:
    """Print the table and the cost."""
    print(
        f"{'':22} {'s':>6} {'accents':>8} {'phrase ends':>12} {'raises':>7} {'blinks':>7} "
        f"{'at ends':>8} {'brow max':>9} {'speed p99':>10}"
    )
    print(f"{'':22} {'':>6} {'/min':>8} {'/min':>12} {'/min':>7} {'/min':>7} {'':>8}")
    sounds = [(path.stem, _read(path)) for path in options.wavs]
    for i, (name, samples) in enumerate(sounds):
        cues = ProsodyTracker(RATE_HZ).push(samples)
        times_s, weights = _animate(samples, options.seed)
        _report(name, samples, cues, times_s, weights)
        if i == 0 and options.plot is not None:
            _plot(options.plot, name, samples, cues, times_s, weights)
    for name, noise in _make_noises(options.noise_s).items():
        cues = ProsodyTracker(RATE_HZ).push(noise)
        _report(name, noise, cues, *_animate(noise, options.seed))
    _time(sounds[0][1])


def _read(path: Path) -> np.ndarray:
    samples, rate_hz = read_audio(path)
    mono = mix_to_mono(samples)[0]
    if rate_hz == RATE_HZ:
        return mono
    resampler = StreamingResampler(rate_hz, RATE_HZ)
    return np.concatenate([resampler.push(mono), resampler.flush()])


def _animate(samples: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    talker = Talker(fps=FPS, seed=seed)
    talker.push(samples, RATE_HZ)
    frames = talker.frames() + talker.flush()
    talker.close()
    return np.array([f.time_s for f in frames]), np.stack([f.weights for f in frames])


def _report(
    name: str, samples: np.ndarray, cues: list[Cue], times_s: np.ndarray, weights: np.ndarray
) -> None:
    minutes = len(samples) / RATE_HZ / 60
    ends_s = np.array([cue.end_s for cue in cues if cue.phrase_end])
    blinks_s = _begins(times_s, weights[:, BLINK] > 0.5)
    raises_s = _begins(times_s, weights[:, BROW] > 0.12)
    # A phrase end is known 150 ms after the voice; its blink begins within the next 300 ms.
    lag_s = blinks_s[:, None] - ends_s[None]
    near = ((lag_s > -0.15) & (lag_s < 0.3)).any(axis=1)
    speed = np.abs(np.diff(weights[:, BROW])) * FPS
    print(
        f"{name[:22]:22} {60 * minutes:6.1f} {len(_find_accents(cues)) / minutes:8.1f} "
        f"{len(ends_s) / minutes:12.1f} {len(raises_s) / minutes:7.1f} "
        f"{len(blinks_s) / minutes:7.1f} {100 * near.mean() if len(near) else 0:7.0f}% "
        f"{weights[:, BROW].max():9.2f} {np.percentile(speed, 99):8.2f}/s"
    )


def _begins(times_s: np.ndarray, active: np.ndarray) -> np.ndarray:
    return times_s[1:][active[1:] & ~active[:-1]]


def _find_accents(cues: list[Cue]) -> np.ndarray:
    """Beginnings only: an accent that grows is told again."""
    times_s = np.array([cue.end_s for cue in cues if cue.accent > 0])
    return times_s[np.diff(times_s, prepend=-1.0) > 0.25]


def _make_noises(seconds: float) -> dict[str, np.ndarray]:
    rng, time_s = np.random.default_rng(0), np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    hiss = 0.1 * rng.standard_normal(len(time_s))
    pace = np.maximum(0.0, np.sin(2 * np.pi * 0.7 * time_s))
    whine = np.sin(2 * np.pi * np.cumsum(150 + 700 * pace) / RATE_HZ) * (0.05 + pace)
    notes_hz = 110.0 * 2 ** (rng.integers(0, 20, len(time_s) // 4000 + 1) / 12)
    since_s = time_s % 0.25
    tune = np.sin(2 * np.pi * notes_hz[np.arange(len(time_s)) // 4000] * since_s)
    tune *= np.exp(-since_s / 0.15)
    noises = {"noise: hiss": hiss, "noise: whine": 0.2 * whine + 0.2 * hiss, "noise: tune": tune}
    return {name: (0.3 * sound).astype(np.float32) for name, sound in noises.items()}


def _plot(
    path: Path,
    name: str,
    samples: np.ndarray,
    cues: list[Cue],
    times_s: np.ndarray,
    weights: np.ndarray,
) -> None:
    end_s = min(20.0, len(samples) / RATE_HZ)
    accents_s = _find_accents(cues)
    pitches = np.array([[cue.end_s, cue.pitch_hz] for cue in cues if cue.end_s <= end_s])
    shown = times_s < end_s
    plot_upper_face(
        path,
        samples[: round(end_s * RATE_HZ)],
        RATE_HZ,
        times_s[shown],
        weights[shown],
        pitches,
        accents_s[accents_s < end_s],
        name,
    )


def _time(samples: np.ndarray) -> None:
    life, face, spent_s = SpeakingLife(0, RATE_HZ, head=True), np.zeros(52, np.float32), []
    for i in range(len(samples) // HOP):
        started = time.process_time()
        life.hear(samples[i * HOP : (i + 1) * HOP])
        life.follow((i + 1) * 0.02 - 0.1, (i + 1) * 0.02, face)
        spent_s.append(time.process_time() - started)
    p50, p99 = np.percentile(spent_s, [50, 99]) * 1e3
    print(f"listening, processor time per 20 ms hop: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


if __name__ == "__main__":
    main(tyro.cli(Options))
