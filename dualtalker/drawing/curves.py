"""Draws animations as pictures in files: curves under the waveform, sheets of rendered faces."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, MOUTH_INDICES
from dualtalker.drawing.figures import new_figure
from dualtalker.drawing.renderer import Renderer
from dualtalker.errors import DualtalkerError
from dualtalker.rig import Rig

_COLORS = ("#5b6b7c", "#d1495b", "#1b998b", "#2e6fbb")
_WAVEFORM_COLUMNS = 2000  # more cannot be told apart in a plot


def plot_curves(
    path: str | os.PathLike[str],
    rig: Rig,
    samples: np.ndarray,
    rate_hz: int,
    times_s: np.ndarray,
    weights: np.ndarray,
) -> Path:
    """Draw the waveform over jaw opening, lip rounding and lip gap on one time axis.

    samples [n] mono at rate_hz; times_s [frames]; weights [frames, 52] in ARKit's order. The gap
    is that of `rig`. The ending of `path` chooses the format.
    DualtalkerError where the shapes do not fit.
    """
    times_s, weights = _checked(times_s, weights)
    rounding = weights[:, ARKIT_INDEX["mouthFunnel"]] + weights[:, ARKIT_INDEX["mouthPucker"]]
    curves = (
        ("jaw opening\n(weight)", weights[:, ARKIT_INDEX["jawOpen"]]),
        ("lip rounding\n(funnel + pucker)", rounding),
        ("lip gap\n(mm)", 1000 * rig.lip_gap(weights)),
    )
    figure, axes = _open_panels(samples, rate_hz)
    for axis, (label, values), color in zip(axes[1:], curves, _COLORS[1:], strict=True):
        axis.plot(times_s, values, color=color, linewidth=1.4)
        axis.fill_between(times_s, min(0.0, float(values.min())), values, color=color, alpha=0.12)
        axis.set_ylabel(label)
        axis.margins(x=0)
    axes[3].axhline(0, color="#888888", linewidth=0.8)
    for axis in axes[1:3]:
        axis.set_ylim(0, max(1.0, axis.get_ylim()[1]))
    return _save(figure, path)


def plot_upper_face(
    path: str | os.PathLike[str],
    samples: np.ndarray,
    rate_hz: int,
    times_s: np.ndarray,
    weights: np.ndarray,
    pitches: np.ndarray,
    accents_s: np.ndarray,
    title: str,
) -> Path:
    """Draw the waveform over pitch, brows and lids on one time axis, with accents as lines.

    samples [n] mono at rate_hz; times_s [frames]; weights [frames, 52] in ARKit's order;
    pitches [measurements, 2] in s and Hz, 0 where unvoiced; accents_s [accents]. DualtalkerError
    where the shapes do not fit.
    """
    times_s, weights = _checked(times_s, weights)
    figure, axes = _open_panels(samples, rate_hz)
    axes[0].set_title(title)
    voiced_hz = np.where(pitches[:, 1] > 0, pitches[:, 1], np.nan)
    axes[1].plot(pitches[:, 0], voiced_hz, color=_COLORS[1], linewidth=1.6)
    axes[1].set_ylabel("pitch\n(Hz)")
    for name, color in (("browInnerUp", _COLORS[2]), ("browOuterUpLeft", _COLORS[3])):
        axes[2].plot(times_s, weights[:, ARKIT_INDEX[name]], color=color, label=name)
    axes[2].legend(loc="upper right", fontsize=8)
    axes[2].set_ylabel("brows\n(weight)")
    lids = weights[:, ARKIT_INDEX["eyeBlinkLeft"]]
    axes[3].fill_between(times_s, 0, lids, color=_COLORS[0], linewidth=0)
    axes[3].set_ylabel("lids\n(weight)")
    for axis in axes[1:3]:
        axis.vlines(accents_s, 0, 1, transform=axis.get_xaxis_transform(), color="#bbbbbb", lw=0.8)
        axis.margins(x=0)
    return _save(figure, path)


def write_contact_sheet(
    path: str | os.PathLike[str],
    rig: Rig,
    times_s: np.ndarray,
    weights: np.ndarray,
    labels: Sequence[str] | None = None,
    *,
    count: int = 12,
    columns: int = 6,
    size_px: int = 240,
) -> Path:
    """Draw rendered faces in a grid, each with its label and time.

    times_s [frames], weights [frames, 52]. With `labels`, one for each frame, all frames are
    drawn; without, the `count` of `pick_moments`. DualtalkerError where the shapes do not fit.
    """
    times_s, weights = _checked(times_s, weights)
    if labels is None:
        chosen = pick_moments(weights, count)
        captions = [f"{times_s[index]:.2f} s" for index in chosen]
    elif len(labels) != len(times_s):
        raise DualtalkerError(f"found {len(labels)} labels for {len(times_s)} frames")
    else:
        chosen = np.arange(len(times_s))
        captions = [f"{label}  {times_s[index]:.2f} s" for index, label in enumerate(labels)]
    return draw_faces(path, rig, weights[chosen], captions, columns=columns, size_px=size_px)


def draw_faces(
    path: str | os.PathLike[str],
    rig: Rig,
    weights: np.ndarray,
    captions: Sequence[str],
    *,
    columns: int = 4,
    size_px: int = 240,
    progress: Callable[[int], object] = lambda count: None,
) -> Path:
    """Draw rendered faces in a grid, each with its caption.

    weights [faces, 52]; `progress` is told of each face. The ending of `path` chooses the format.
    DualtalkerError where the picture cannot be written.
    """
    renderer = Renderer(rig, size_px, size_px, close_up=True)
    columns = min(columns, len(captions))
    rows = -(-len(captions) // columns)
    # Older matplotlib cuts off a fraction of a pixel: 14.4 inches, and not 6 times 2.4.
    figure = new_figure((columns * size_px / 100, rows * (size_px / 100 + 0.3)))
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, row, caption in zip(axes.flat, weights, captions, strict=False):
        axis.imshow(renderer.render(row), interpolation="antialiased")
        axis.set_title(caption, fontsize=9)
        progress(1)
    return _save(figure, path)


def pick_moments(weights: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of `count` telling frames of weights [frames, 52], in order.

    Time is cut into equal parts, and of each part the frame is taken whose mouth differs most from
    the mean mouth and from those already taken: faces at even times would mostly show what lies
    between two sounds, and the widest ones alone would all look alike.
    """
    mouth = weights[:, list(MOUTH_INDICES)]
    edges = np.linspace(0, len(weights), min(count, len(weights)) + 1).round().astype(int)
    novelty = np.square(mouth - mouth.mean(axis=0)).sum(axis=1)
    chosen = []
    for start, end in itertools.pairwise(edges):
        chosen.append(start + int(novelty[start:end].argmax()))
        novelty = np.minimum(novelty, np.square(mouth - mouth[chosen[-1]]).sum(axis=1))
    return np.array(chosen)


def _checked(times_s: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    times_s, weights = np.asarray(times_s), np.asarray(weights)
    if len(times_s) == 0 or weights.shape != (len(times_s), len(ARKIT_NAMES)):
        raise DualtalkerError(
            f"found times {list(times_s.shape)} and weights {list(weights.shape)}; "
            f"expected [frames] and [frames, {len(ARKIT_NAMES)}], at least one frame"
        )
    return times_s, weights


def draw_waveform(
    axis: Any, samples: np.ndarray, rate_hz: int, step: int, start_s: float = 0.0
) -> None:
    """Draw the lowest and highest of each `step` samples [n]; the first was heard at `start_s`."""
    starts = np.arange(0, len(samples), step)
    if len(starts):
        low, high = (part.reduceat(samples, starts) for part in (np.minimum, np.maximum))
        times_s = start_s + starts / rate_hz
        axis.fill_between(times_s, low, high, color=_COLORS[0], linewidth=0.4)
        peak = max(float(np.abs(samples).max()), 1e-3)
        axis.set_ylim(-1.1 * peak, 1.1 * peak)
    axis.set_ylabel("speech")


def _open_panels(samples: np.ndarray, rate_hz: int) -> tuple[Any, Any]:
    """A figure of four panels on one time axis, the first with the waveform drawn in it."""
    figure = new_figure((10, 6.4))
    axes = figure.subplots(4, sharex=True)
    samples = np.asarray(samples, dtype=np.float64)
    draw_waveform(axes[0], samples, rate_hz, max(1, -(-len(samples) // _WAVEFORM_COLUMNS)))
    axes[3].set_xlabel("time (s)")
    return figure, axes


def _save(figure, path: str | os.PathLike[str]) -> Path:  # type: ignore[no-untyped-def]
    path = Path(path)
    try:
        figure.savefig(path)
    except (ValueError, OSError) as error:
        raise DualtalkerError(f"{path}: the picture could not be written ({error})") from error
    return path
