"""Pictures of moving meshes for a report: video, error maps, curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from dualtalker.drawing import Renderer
from dualtalker.evaluation import (
    Picture,
    Recording,
    draw_panels,
    film_columns,
    find_start,
    paint_errors,
)
from training.data import SAMPLE_RATE_HZ, VertexClip
from training.evaluation.mesh_accuracy import Ruler
from training.evaluation.mesh_baselines import Pose, iterate_blocks

if TYPE_CHECKING:
    from dualtalker.rig import Rig

_SIZE_PX = 288
_SKIN = (222, 188, 170)
_PAINTED_M = 1e-4  # along each axis: enough not to be taken for still by the renderer
_OPENED_SHARE = 0.3  # of the farthest movement of opening: the chin
_SHOWN_M = 6e-3  # likewise: enough to belong into a close-up


def build_mesh_rig(ruler: Ruler, template: np.ndarray, metres_per_unit: float) -> Rig | None:
    """Return a rig by which the renderer can draw this mesh; None without triangles.

    Its two shapes are there for the renderer alone: they tell it that every vertex may move, and
    that lips, upper face and what opens with them (the chin) are what a close-up is about.
    """
    from dualtalker.rig import build_rig

    if not len(ruler.corpus.triangles):
        return None
    neutral = np.asarray(template * metres_per_unit, np.float32)
    moves = np.full((2, len(neutral), 3), _PAINTED_M, np.float32)
    opened = np.linalg.norm(ruler.opening, axis=-1)
    moves[1, opened > _OPENED_SHARE * opened.max()] = _SHOWN_M
    moves[1, np.concatenate([ruler.lips.indices, ruler.upper_face.indices])] = _SHOWN_M
    lips = ruler.lips.indices if len(ruler.lips.indices) else np.arange(len(neutral))
    return build_rig(
        ruler.corpus.dataset,
        neutral,
        ruler.corpus.triangles,
        ("jawOpen", "browInnerUp"),
        moves,
        # These meshes are a skin with a hole for the mouth: there is no inside to paint dark.
        np.tile(np.array(_SKIN, np.uint8), (len(neutral), 1)),
        lip_upper=lips,
        lip_lower=lips,
        lip_vertices=lips,
        upper_face_vertices=ruler.upper_face.indices,
    )


def draw_mesh_pictures(
    ruler: Ruler,
    clip: VertexClip,
    poses: Mapping[str, Pose],
    maps: Mapping[str, np.ndarray],
    video_s: float,
) -> list[Picture]:
    """Video of one clip, error maps `[vertices]` (metres) of all, and curves of the clip."""
    recording = Recording(clip.name, np.asarray(clip.audio), SAMPLE_RATE_HZ, clip.fps, clip.frames)
    # Not so late that the film is cut short.
    start_s = max(0.0, min(find_start(recording), recording.frames / recording.fps - video_s))
    known = ruler.metres_per_unit(clip.subject)
    rig = build_mesh_rig(ruler, clip.template, known or 1.0)
    faces = {"reference": lambda frames: np.asarray(clip.vertices[frames]), **poses}
    pictures = []
    if rig is not None and video_s > 0:
        film = _film(recording, faces, rig, known or 1.0, video_s, start_s)
        text = f"{clip.name} from {start_s:.1f} s."
        pictures.append(Picture("Side by side", text, "mp4", film))
    if rig is not None:
        pictures.append(_paint(maps, rig, "mm" if known else "1e-3 unit"))
    pictures.append(_draw(recording, clip, faces, ruler, start_s))
    return pictures


def _film(
    recording: Recording,
    faces: Mapping[str, Pose],
    rig: Rig,
    scale: float,
    video_s: float,
    start_s: float,
) -> bytes:
    renderer = Renderer(rig, _SIZE_PX, _SIZE_PX, close_up=True)

    def show(pose: Pose) -> Callable[[int], np.ndarray]:
        return lambda frame: renderer.render_vertices(pose(slice(frame, frame + 1))[0] * scale)

    columns = {name: show(pose) for name, pose in faces.items()}
    return film_columns(recording, columns, video_s, start_s)


def _paint(maps: Mapping[str, np.ndarray], rig: Rig, unit: str) -> Picture:
    painted = paint_errors({name: errors * 1e3 for name, errors in maps.items()}, rig, unit=unit)
    text = "Mean distance to the recorded face over all clips measured, one scale."
    return Picture("Where the errors are", text, "png", painted)


def _draw(
    recording: Recording,
    clip: VertexClip,
    faces: Mapping[str, Pose],
    ruler: Ruler,
    start_s: float,
) -> Picture:
    """Mouth opening and distance of the worst lip vertex over time."""
    known = ruler.metres_per_unit(clip.subject)
    scale, unit = 1e3 * (known or 1.0), "mm" if known else "1e-3 unit"
    lips = ruler.lips.indices if len(ruler.lips.indices) else np.arange(len(clip.template))
    openings: dict[str, np.ndarray] = {}
    errors: dict[str, np.ndarray] = {}
    for name, pose in faces.items():
        opened, wrong = [], []
        for block in iterate_blocks(clip.frames, len(clip.template)):
            shown = pose(block)
            opened.append(ruler.measure_opening(shown - clip.template))
            apart = shown[:, lips] - clip.vertices[block][:, lips]
            wrong.append(np.linalg.norm(apart, axis=-1).max(-1))
        openings[name] = np.concatenate(opened) * scale
        if name != "reference":
            errors[name] = np.concatenate(wrong) * scale
    panels = {
        f"mouth opening\n({unit})": openings,
        f"worst lip vertex\n({unit})": errors,
    }
    text = "Speech is shaded. The opening is that of the figures."
    return Picture(clip.name, text, "svg", draw_panels(recording, panels, start_s))
