"""What a model must beat: loudness, the mean face, and the nearest neighbor in audio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.evaluation import metrics
from training.data import MOTION_RATE_HZ, SAMPLE_RATE_HZ, Clip

MEL_BANDS = 32
WINDOW_SAMPLES = 512
CONTEXT_S = (-0.08, 0.0, 0.08)  # the neighbor is sought with what is before and after the frame
MOST_FRAMES = 20_000  # of the training split that are looked at
_BLOCK = 256


def animate_by_loudness(audio: np.ndarray, frames: int, full_loudness: float) -> np.ndarray:
    """`jawOpen` follows the loudness, 0.5 at `full_loudness`; all else rests. `[frames, 52]`."""
    times_s = np.arange(frames) / MOTION_RATE_HZ
    loudness = metrics.measure_loudness(audio, SAMPLE_RATE_HZ, times_s)
    weights = np.zeros((frames, len(ARKIT_NAMES)), np.float32)
    jaw = np.clip(0.5 * loudness / max(full_loudness, 1e-9), 0.0, 1.0)
    weights[:, ARKIT_INDEX["jawOpen"]] = jaw
    return weights


def find_mean_face(clips: Sequence[Clip], style: str) -> np.ndarray:
    """Mean weights `[52]` over the training clips of a style; over all if there is none of it."""
    same = [c.motion for c in clips if c.motion is not None and c.style == style]
    motions = same or [c.motion for c in clips if c.motion is not None]
    return np.asarray(np.concatenate(motions).mean(axis=0), np.float32)


class NearestNeighbor:
    """Takes each frame's weights from the training frame whose sound is most alike."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        """Index the paired clips, by style. ValueError where no clip has motion."""
        by_style: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        for clip in clips:
            if clip.motion is not None:
                pair = (describe_sound(clip.audio, clip.frames), clip.motion)
                by_style.setdefault(clip.style, []).append(pair)
        if not by_style:
            raise ValueError("found no clip with motion to search for neighbors")
        rng = np.random.default_rng(0)
        self._index: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for style, pairs in by_style.items():
            sounds, motions = (np.concatenate(part) for part in zip(*pairs, strict=True))
            if len(sounds) > MOST_FRAMES:
                chosen = np.sort(rng.permutation(len(sounds))[:MOST_FRAMES])
                sounds, motions = sounds[chosen], motions[chosen]
            self._index[style] = (sounds, motions)

    def animate(self, audio: np.ndarray, frames: int, style: str) -> np.ndarray:
        """Weights `[frames, 52]` from the clips of `style` (of all styles if it is unknown)."""
        styles = [style] if style in self._index else list(self._index)
        sounds = np.concatenate([self._index[s][0] for s in styles])
        motions = np.concatenate([self._index[s][1] for s in styles])
        best = find_nearest(sounds, describe_sound(audio, frames))
        return np.asarray(motions[best], np.float32)


def describe_sound(audio: np.ndarray, frames: int, rate_hz: float = MOTION_RATE_HZ) -> np.ndarray:
    """Log-mel around each motion frame, `[frames, bands * contexts]`, at the clip's own level.

    Frame k is at k / `rate_hz`, and the window is centered on it; the bands are normalized per
    clip by its mean, so that gain and coloring of the microphone do not decide.
    """
    from training.network import mel_filters

    filters = mel_filters(MEL_BANDS, WINDOW_SAMPLES, SAMPLE_RATE_HZ)
    starts = np.round(np.arange(frames) * (SAMPLE_RATE_HZ / rate_hz)).astype(int)
    missing = max(0, int(starts[-1]) + WINDOW_SAMPLES // 2 - len(audio)) if frames else 0
    padded = np.pad(audio, (WINDOW_SAMPLES // 2, WINDOW_SAMPLES + missing))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)
    mel, total = np.zeros((frames, MEL_BANDS)), 0.0
    for first in range(0, frames, _BLOCK):
        heard = windows[starts[first : first + _BLOCK]] * np.hanning(WINDOW_SAMPLES)
        power = np.abs(np.fft.rfft(heard, axis=1)) ** 2
        mel[first : first + _BLOCK] = power @ filters.T
        total += float(power.mean(axis=1).sum())
    mel = np.log(mel + 1e-4 * total / max(frames, 1) + 1e-9)
    mel = (mel - mel.mean(axis=0)).astype(np.float32)
    shifts = [round(seconds * rate_hz) for seconds in CONTEXT_S]
    parts = [mel[np.clip(np.arange(frames) + shift, 0, frames - 1)] for shift in shifts]
    return np.concatenate(parts, axis=1)


def find_nearest(sounds: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Indices `[frames]` of the rows of `sounds` nearest to those of `wanted` `[frames, dims]`."""
    squares = (sounds**2).sum(1)
    best = [
        np.argmin(squares - 2.0 * wanted[start : start + _BLOCK] @ sounds.T, axis=1)
        for start in range(0, len(wanted), _BLOCK)
    ]
    return np.concatenate(best)
