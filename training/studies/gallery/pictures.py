"""The pictures of the gallery as small PNG files: curves with phones, faces, single moments.

What they show is chosen in `training/gallery.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.drawing import (
    Renderer,
    draw_waveform,
    new_figure,
    pick_moments,
    write_contact_sheet,
)
from dualtalker.evaluation import Recording, list_mouth_curves
from dualtalker.rig import Rig
from dualtalker.speech import BILABIAL, LABIODENTAL

MOMENT_S = 0.5  # shown before and after the moment of a failure
PALETTE = 256  # colors of a PNG: enough for clay and curves, a third of the bytes
_COLORS = ("#222222", "#2e6fbb")  # what the model is held against, the model
_MARKS = {BILABIAL: "#d1495b", LABIODENTAL: "#1b998b"}
_FACE_PX = 180
_MOMENT_PX = 220
Tracks = Mapping[str, np.ndarray]


def draw_curves(
    path: Path, recording: Recording, tracks: Tracks, rig: Rig, start_s: float, seconds: float
) -> None:
    """Waveform with phone labels over jaw opening, rounding and lip gap.

    tracks: weights [frames, 52] by name, the model last. /p b m/ and /f v/ are shaded.
    """
    panels = list_mouth_curves(tracks, rig)
    figure = new_figure((10, 5.4))
    axes = figure.subplots(1 + len(panels), 1, sharex=True)
    _draw_sound(axes[0], recording, start_s, start_s + seconds)
    for axis, (label, curves) in zip(axes[1:], panels.items(), strict=True):
        _draw_lines(axis, recording, curves, start_s, start_s + seconds)
        axis.set_ylabel(label)
    axes[1].legend(loc="upper right", ncol=len(tracks), fontsize=8)
    axes[-1].set_xlabel("time (s)")
    _save(figure, path)


def draw_faces(
    path: Path, times_s: np.ndarray, tracks: Tracks, rig: Rig, first: int, last: int
) -> None:
    """Twelve telling faces of frames `first` to `last`: of one track, or six of each of two.

    The moments are those of the last track, the model's.
    """
    model = list(tracks.values())[-1]
    columns = 6
    chosen = first + pick_moments(model[first:last], columns * 2 // len(tracks))
    names = [name for name in tracks for _ in chosen] if len(tracks) > 1 else [""] * len(chosen)
    write_contact_sheet(
        path,
        rig,
        np.tile(times_s[chosen], len(tracks)),
        np.concatenate([weights[chosen] for weights in tracks.values()]),
        names,
        columns=len(chosen) if len(tracks) > 1 else columns,
        size_px=_FACE_PX,
    )
    shrink(path)


def draw_moment(
    path: Path,
    recording: Recording,
    tracks: Tracks,
    curves: tuple[str, Tracks],
    rig: Rig,
    frame: int,
    limit: float | None = None,
) -> None:
    """The faces of `tracks` at one frame beside sound and curves around it.

    curves: label and values [frames] by name; `limit` is drawn as a dashed line.
    """
    renderer = Renderer(rig, _MOMENT_PX, _MOMENT_PX, close_up=True)
    figure = new_figure((8.6, 2.5))
    left, right = figure.subfigures(1, 2, width_ratios=(len(tracks), 2.1))
    for axis, (name, weights) in zip(
        left.subplots(1, len(tracks), squeeze=False)[0], tracks.items(), strict=True
    ):
        axis.imshow(renderer.render(weights[frame]), interpolation="antialiased")
        axis.set_title(name, fontsize=9)
        axis.set_axis_off()
    axes = right.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    moment_s = float(recording.times_s[frame])
    window = (max(0.0, moment_s - MOMENT_S), moment_s + MOMENT_S)
    _draw_sound(axes[0], recording, *window)
    _draw_lines(axes[1], recording, curves[1], *window)
    if limit is not None:
        axes[1].axhline(limit, color="#888888", linestyle="--", linewidth=0.9)
    for axis in axes:
        axis.axvline(moment_s, color="#b8860b", linewidth=1.0)
        axis.tick_params(labelsize=7)
    axes[1].set_ylabel(curves[0], fontsize=8)
    axes[1].set_xlabel("time (s)", fontsize=8)
    axes[1].legend(loc="upper right", fontsize=7)
    _save(figure, path)


def shrink(path: Path) -> None:
    """Write a PNG again with `PALETTE` colors."""
    from PIL import Image

    with Image.open(path) as image:
        plain = image.convert("RGB")
        small = plain.quantize(PALETTE, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def _draw_sound(axis: Any, recording: Recording, start_s: float, end_s: float) -> None:
    """The lowest and highest sample of each 5 ms, with the phones' names above."""
    rate_hz = recording.sample_rate_hz
    audio = recording.audio[int(start_s * rate_hz) : int(end_s * rate_hz)]
    draw_waveform(axis, audio, rate_hz, rate_hz // 200, start_s)
    peak = max(float(np.abs(audio).max()), 1e-3)
    axis.set_ylim(-1.1 * peak, 2.5 * peak)
    axis.set_yticks([])
    axis.set_ylabel("sound", fontsize=8)
    shown = [p for p in recording.phones or () if p[0] != "sil" and start_s <= p[1] <= end_s]
    for number, (label, begin_s, finish_s) in enumerate(shown):
        axis.text(
            min(0.5 * (begin_s + finish_s), end_s),
            (1.2 + 0.42 * (number % 3)) * peak,  # in three rows, or neighbors would overlap
            label,
            ha="center",
            fontsize=6,
            color=_MARKS.get(label, "#444444"),
        )


def _draw_lines(
    axis: Any, recording: Recording, curves: Tracks, start_s: float, end_s: float
) -> None:
    """Curves [frames] by name over the frames of a window, with /p b m/ and /f v/ shaded."""
    inside = (recording.times_s >= start_s) & (recording.times_s <= end_s)
    colors = _COLORS[-len(curves) :]
    for (name, curve), color in zip(curves.items(), colors, strict=True):
        axis.plot(recording.times_s[inside], curve[inside], color=color, linewidth=1.2, label=name)
    for label, begin_s, finish_s in recording.phones or ():
        if label in _MARKS and begin_s < end_s and finish_s > start_s:
            span = (max(begin_s, start_s), min(finish_s, end_s))
            axis.axvspan(*span, color=_MARKS[label], alpha=0.18, linewidth=0)
    axis.set_xlim(start_s, min(end_s, float(recording.times_s[-1])))


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path)
    shrink(path)
