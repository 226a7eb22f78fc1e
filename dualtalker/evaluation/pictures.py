"""The pictures of a report as SVG text, PNG or MP4 bytes."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dualtalker.drawing import Renderer, draw_waveform, new_figure, to_svg, write_video
from dualtalker.evaluation import metrics
from dualtalker.evaluation.accuracy import Recording, find_recorded_speech, measure_error_map
from dualtalker.files import scratch_folder
from dualtalker.speech import BILABIAL

if TYPE_CHECKING:
    from dualtalker.rig import Rig

CURVES_S = 12.0  # more cannot be read in one plot
_REFERENCE_COLOR = "#222222"
_COLORS = ("#2e6fbb", "#d1495b", "#1b998b", "#b8860b", "#7b5ea7", "#5b6b7c")
_HEAT_LIMIT_SHARE = 99.0  # percentile of the errors at which the color scale ends


def draw_curves(
    recording: Recording, motions: Mapping[str, np.ndarray], rig: Rig, start_s: float = 0.0
) -> str:
    """Waveform over the mouth's curves of reference and contestants, as `draw_panels`."""
    tracks = _add_reference(recording, motions)
    return draw_panels(recording, list_mouth_curves(tracks, rig), start_s)


def list_mouth_curves(
    tracks: Mapping[str, np.ndarray], rig: Rig
) -> dict[str, dict[str, np.ndarray]]:
    """Jaw opening, lip rounding and lip gap `[frames]` of weights by name, under their labels."""
    return {
        "jaw opening\n(weight)": {n: metrics.jaw_opening(w) for n, w in tracks.items()},
        "lip rounding\n(weight)": {n: metrics.lip_rounding(w) for n, w in tracks.items()},
        "lip gap (mm)": {n: rig.lip_gap(w) * 1e3 for n, w in tracks.items()},
    }


def _add_reference(
    recording: Recording, motions: Mapping[str, np.ndarray]
) -> Mapping[str, np.ndarray]:
    if recording.reference is None:
        return motions
    return {"reference": recording.reference, **motions}


def draw_panels(
    recording: Recording,
    panels: Mapping[str, Mapping[str, np.ndarray]],
    start_s: float = 0.0,
) -> str:
    """Waveform over panels of curves `[frames]`, by label and name, as SVG.

    The curve called `reference` is black. Draws `CURVES_S` from `start_s`; speech is shaded and
    /p b m/ are marked in the last panel.
    """
    first = int(start_s * recording.fps)
    last = min(recording.frames, first + int(CURVES_S * recording.fps))
    times_s = recording.times_s[first:last]
    figure = new_figure((10, 1.75 * (1 + len(panels))))
    axes = figure.subplots(1 + len(panels))
    rate_hz = recording.sample_rate_hz
    begin, end = (round(frame / recording.fps * rate_hz) for frame in (first, last))
    step = round(rate_hz / recording.fps)
    draw_waveform(axes[0], recording.audio[begin:end], rate_hz, step, first / recording.fps)
    axes[0].margins(x=0)
    speech = find_recorded_speech(recording)[first:last]
    for axis, (label, curves) in zip(axes[1:], panels.items(), strict=True):
        others = [name for name in curves if name != "reference"]
        for name, curve in curves.items():
            color = _REFERENCE_COLOR if name == "reference" else _color_of(name, others)
            axis.plot(times_s, curve[first:last], color=color, linewidth=1.2, label=name)
        axis.set_ylabel(label)
        axis.margins(x=0)
        axis.fill_between(
            times_s,
            *axis.get_ylim(),
            where=speech,
            color="#2e6fbb",
            alpha=0.06,
            linewidth=0,
        )
    axes[1].legend(loc="upper right", ncol=4, fontsize=8)
    axes[-1].set_xlabel("time (s)")
    _mark_closures(axes[-1], recording, times_s)
    return to_svg(figure)


def _mark_closures(axis: Any, recording: Recording, times_s: np.ndarray) -> None:
    """Mark /p b m/ on the gap's axis."""
    for label, start_s, end_s in recording.phones or ():
        if label == BILABIAL and times_s[0] <= start_s <= times_s[-1]:
            axis.axvspan(start_s, min(end_s, times_s[-1]), color="#d1495b", alpha=0.18)


def draw_sweep(values: Mapping[str, Mapping[float, float]], x_label: str, y_label: str) -> str:
    """One line for each name over the numbers it was measured at, as SVG."""
    figure = new_figure((7, 3.2))
    axis = figure.subplots()
    for name, points in values.items():
        x = sorted(points)
        axis.plot(x, [points[k] for k in x], "o-", color=_color_of(name, values), label=name)
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    axis.legend(fontsize=8)
    axis.grid(alpha=0.25)
    return to_svg(figure)


def draw_timing(times_s: np.ndarray, late_ms: np.ndarray, intervals_ms: np.ndarray) -> str:
    """Latency of frames over the instants that they depict, and their intervals, as SVG.

    times_s and late_ms [frames]; intervals_ms [frames - 1] between their receipts.
    """
    figure = new_figure((10, 3.2))
    axes = figure.subplots(1, 2)
    axes[0].plot(times_s, late_ms, ".", markersize=2.5, color=_COLORS[0])
    axes[0].axhline(0.0, color="#888888", linewidth=0.8)
    axes[0].set_xlabel("time depicted (s)")
    axes[0].set_ylabel("latency beyond stated (ms)")
    axes[1].hist(intervals_ms, bins=60, color=_COLORS[2])
    axes[1].set_yscale("log")
    axes[1].set_xlabel("interval between frames (ms)")
    axes[1].set_ylabel("frames")
    for axis in axes:
        axis.grid(alpha=0.25)
    return to_svg(figure)


def draw_error_maps(
    recordings: Sequence[Recording],
    motions: Mapping[str, Sequence[np.ndarray]],
    rig: Rig,
    size_px: int = 320,
) -> bytes | None:
    """Mean vertex error on the neutral face, one picture a contestant on one scale, as PNG.

    None where no recording has a captured reference.
    """
    maps: dict[str, np.ndarray] = {}
    for name, tracks in motions.items():
        errors = [
            measure_error_map(rig, motion, recording.reference) * 1e3
            for recording, motion in zip(recordings, tracks, strict=True)
            if recording.captured and recording.reference is not None
        ]
        if errors:
            maps[name] = np.mean(errors, axis=0)
    return paint_errors(maps, rig, size_px) if maps else None


def paint_errors(
    maps: Mapping[str, np.ndarray], rig: Rig, size_px: int = 320, unit: str = "mm"
) -> bytes:
    """Errors `[vertices]` by contestant, as colors of the neutral face on one scale, as PNG."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = Normalize(0.0, float(np.percentile(np.stack(list(maps.values())), _HEAT_LIMIT_SHARE)))
    heat = colormaps["turbo"]
    figure = new_figure((3.0 * len(maps) + 0.8, 3.3))
    axes = figure.subplots(1, len(maps), squeeze=False)[0]
    for axis, (name, errors) in zip(axes, maps.items(), strict=True):
        colors = (np.asarray(heat(scale(errors)))[:, :3] * 255).astype(np.uint8)
        painted = dataclasses.replace(rig, colors=colors)
        face = Renderer(painted, size_px, size_px)
        axis.imshow(face.render(np.zeros(len(face.names), np.float32)))
        axis.set_axis_off()
        axis.set_title(f"{name}: {errors.mean():.2f} {unit}", fontsize=9)
    figure.colorbar(ScalarMappable(scale, heat), ax=list(axes), label=f"mean error ({unit})")
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def film_side_by_side(
    recording: Recording,
    motions: Mapping[str, np.ndarray],
    rig: Rig,
    seconds: float,
    start_s: float = 0.0,
    size_px: int = 256,
) -> bytes:
    """Reference and contestants beside each other with the sound, as MP4 bytes."""
    renderer = Renderer(rig, size_px, size_px, close_up=True)

    def show(track: np.ndarray) -> Callable[[int], np.ndarray]:
        return lambda frame: renderer.render(track[frame])

    columns = {name: show(track) for name, track in _add_reference(recording, motions).items()}
    return film_columns(recording, columns, seconds, start_s)


def film_columns(
    recording: Recording,
    columns: Mapping[str, Callable[[int], np.ndarray]],
    seconds: float,
    start_s: float = 0.0,
) -> bytes:
    """Pictures `[height, width, 3]` of each frame beside each other, named, as MP4 with sound.

    A column draws the picture of a frame of the recording when it is asked to.
    """
    # Pictures at most 25 times a second: more costs time and shows nothing.
    step = max(1, round(recording.fps / 25.0))
    first = int(start_s * recording.fps)
    last = min(recording.frames, first + int(seconds * recording.fps))

    def pictures() -> Iterator[np.ndarray]:
        for frame in range(first, last, step):
            faces = {name: draw(frame) for name, draw in columns.items()}
            named = [(_write_banner(name, face.shape[1]), face) for name, face in faces.items()]
            yield np.hstack([np.vstack(pair) for pair in named])

    rate_hz = recording.sample_rate_hz
    sound = recording.audio[int(first / recording.fps * rate_hz) :]
    sound = sound[: int((last - first) / recording.fps * rate_hz)]
    with scratch_folder() as folder:
        path = folder / "side_by_side.mp4"
        write_video(path, pictures(), recording.fps / step, sound, rate_hz)
        return path.read_bytes()


def _write_banner(text: str, width: int) -> np.ndarray:
    """Dark letters on white, `[20, width, 3]` uint8."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, 20), "white")
    ImageDraw.Draw(image).text((6, 4), text, fill=(40, 40, 40))
    return np.asarray(image)


def _color_of(name: str, names: Collection[str]) -> str:
    return _COLORS[list(names).index(name) % len(_COLORS)]
