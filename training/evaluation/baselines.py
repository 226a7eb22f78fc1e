"""What a model must beat: loudness, the mean face, and the nearest neighbor in audio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.evaluation import metrics
from training.data import MOTION_RATE_HZ, SAMPLE_RATE_HZ, Clip

if TYPE_CHECKING:
    from dualtalker.rig import Rig

MEL_BANDS = 32
WINDOW_SAMPLES = 512
CONTEXT_S = (-0.08, 0.0, 0.08)  # the neighbor is sought with what is before and after the frame
MOST_FRAMES = 20_000  # of the training split that are looked at
# Time constants tried of the loudness's smoothing.
SMOOTHINGS_S = (0.0, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3)
_BLOCK = 256


class Loudness:
    """The jaw follows the loudness, smoothed causally by what follows captured mouths best.

    Speech opens and closes the mouth more slowly than it gets loud and soft, so that a smoothed
    loudness follows a mouth better, up to a point that depends on the way of capture: it is found
    on the training clips of each style. A captured style without any is smoothed as all captured
    ones together; others without any are not.
    """

    def __init__(self, clips: Sequence[Clip], rig: Rig, full_loudness: float) -> None:
        """Choose the smoothing on training clips; the jaw is half open at `full_loudness`."""
        self._full = full_loudness
        by_style: dict[str, list[Clip]] = {}
        for clip in clips:
            if clip.motion is not None:
                by_style.setdefault(clip.style, []).append(clip)
        self.smoothings_s = {s: choose_smoothing(own, rig) for s, own in by_style.items()}
        captured = [c for s, own in by_style.items() if s.startswith("captured") for c in own]
        self._captured_s = choose_smoothing(captured, rig) if captured else 0.0

    @property
    def name(self) -> str:
        """What tables call it: with the smoothing of captured styles."""
        found = [t for s, t in self.smoothings_s.items() if s.startswith("captured")]
        ends = [f"{1e3 * t:.0f}" for t in sorted({min(found), max(found)})] if found else ["0"]
        return "loudness" if ends == ["0"] else f"loudness smoothed {' to '.join(ends)} ms"

    def animate(self, audio: np.ndarray, frames: int, style: str) -> np.ndarray:
        """Weights `[frames, 52]` for sound in a style."""
        unknown_s = self._captured_s if style.startswith("captured") else 0.0
        smoothing_s = self.smoothings_s.get(style, unknown_s)
        return animate_by_loudness(audio, frames, self._full, smoothing_s)


def measure_full_loudness(sounds: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return one loudness for all sounds at which a jaw is half open: the median of their peaks.

    A sound is its audio `[samples]` and the instants in seconds `[frames]` at which it is heard;
    its peak is the 95th percentile. One of its own each would make silence as loud as speech.
    """
    peaks = [
        np.percentile(metrics.measure_loudness(audio, SAMPLE_RATE_HZ, times_s), 95.0)
        for audio, times_s in sounds
    ]
    return float(np.median(peaks))


def animate_by_loudness(
    audio: np.ndarray, frames: int, full_loudness: float, smoothing_s: float = 0.0
) -> np.ndarray:
    """`jawOpen` follows the loudness, 0.5 at `full_loudness`; all else rests. `[frames, 52]`."""
    times_s = np.arange(frames) / MOTION_RATE_HZ
    loudness = metrics.measure_loudness(audio, SAMPLE_RATE_HZ, times_s)
    loudness = smooth_causally(loudness, smoothing_s)
    weights = np.zeros((frames, len(ARKIT_NAMES)), np.float32)
    jaw = np.clip(0.5 * loudness / max(full_loudness, 1e-9), 0.0, 1.0)
    weights[:, ARKIT_INDEX["jawOpen"]] = jaw
    return weights


def smooth_causally(curve: np.ndarray, seconds: float) -> np.ndarray:
    """Smooth a curve `[frames]` by a first-order low-pass of that time constant, from rest on."""
    from scipy.signal import lfilter

    if seconds <= 0:
        return curve
    share = 1.0 - np.exp(-1.0 / (MOTION_RATE_HZ * seconds))
    return np.asarray(lfilter([share], [1.0, share - 1.0], curve))


def choose_smoothing(clips: Sequence[Clip], rig: Rig) -> float:
    """Return the one of `SMOOTHINGS_S` whose loudness follows jaw and lip gap of clips best.

    That is the largest mean of Pearson's r with `jawOpen` and with the gap over speech frames.
    """
    scores = np.zeros(len(SMOOTHINGS_S))
    for clip in clips:
        assert clip.motion is not None
        times_s = np.arange(clip.frames) / MOTION_RATE_HZ
        loudness = metrics.measure_loudness(clip.audio, SAMPLE_RATE_HZ, times_s)
        speech = metrics.find_speech(loudness)
        for wanted in (metrics.jaw_opening(clip.motion), rig.lip_gap(clip.motion)):
            for k, seconds in enumerate(SMOOTHINGS_S):
                scores[k] += metrics.correlate(smooth_causally(loudness, seconds), wanted, speech)
    return SMOOTHINGS_S[int(np.argmax(scores))]


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
