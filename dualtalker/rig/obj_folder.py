"""Reads rigs from folders of OBJ files: one neutral, and one for each shape."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dualtalker.errors import RigError
from dualtalker.files import tell_fault
from dualtalker.rig.placement import find_scale, find_turn
from dualtalker.rig.retargeting import (
    Plan,
    Use,
    choose_shapes,
    complete_shapes,
    find_used,
    plan_shapes,
    tell_ignored,
)
from dualtalker.rig.rig import MAX_VERTICES, Rig, build_rig, check_moved

_NEUTRAL_STEMS = ("neutral", "base", "generic_neutral_mesh")
_LARGEST_COORDINATE = 1e9  # in any unit: a face in nanometres
_LARGEST_FILE = 1 << 26  # bytes; a head of 400,000 vertices takes 40 MB
_LARGEST_FOLDER = 1 << 29  # bytes; 52 shapes of 26,000 vertices take 130 MB
_LONGEST_LINE = 1 << 16  # bytes; a triangle takes 50
_WIDEST_ROW = 7  # x y z, perhaps w, perhaps r g b
_MOST_CORNERS = 8 * MAX_VERTICES  # of triangles; a closed mesh has six a vertex
_FAR = 1 << 31  # no index leads there


def read_folder(folder: Path, scale: float | None) -> Rig:
    """Read a folder of OBJ files as `load_rig` says; only those named as shapes are opened.

    `scale` is metres per unit; None guesses it. Raises RigError.
    """
    neutral_file, files = _find_files(folder)
    neutral, colors, triangles = _read_obj(neutral_file, with_faces=True)
    try:
        uses = choose_shapes([file.stem for file in files])
        plan = _plan_shapes(uses)
        tell_ignored(str(folder), uses)
        needed = sorted({index for moved in plan.values() for index, _ in moved})
        check_moved(len(neutral), max(len(needed), len(plan)))
        _check_bytes([files[index] for index in needed])
        deltas = {index: _read_delta(neutral_file, neutral, files[index]) for index in needed}
        found = {
            name: np.sum([deltas[index] * weight for index, weight in moved], axis=0)
            for name, moved in plan.items()
        }
        turn = find_turn(neutral, triangles, found)
        neutral = neutral @ turn.T
        found = {name: delta @ turn.T for name, delta in found.items()}
        names, stacked = complete_shapes(found, neutral)
        if scale is None:
            scale = find_scale(str(folder), neutral, names, stacked, is_metric=False)
        return build_rig(folder.name, neutral * scale, triangles, names, stacked * scale, colors)
    except RigError as error:
        told = str(error).startswith(str(folder))
        raise error if told else RigError(f"{folder}: {error}") from error


def list_files(folder: Path) -> list[Use]:
    """Return what becomes of each file of a folder, by its name. Raises RigError."""
    _, files = _find_files(folder)
    try:
        return choose_shapes([file.stem for file in files])
    except RigError as error:
        raise RigError(f"{folder}: {error}") from error


def _find_files(folder: Path) -> tuple[Path, list[Path]]:
    """Return the neutral file, and the others in order."""
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".obj")
    except OSError as error:
        raise RigError(f"{folder}: cannot be read ({error})") from error
    by_stem = {file.stem.lower(): file for file in files}
    neutral_file = next((by_stem[stem] for stem in _NEUTRAL_STEMS if stem in by_stem), None)
    if neutral_file is None:
        raise RigError(
            f"{folder}: found {len(files)} OBJ files, none of them neutral; "
            "expected neutral.obj, base.obj or generic_neutral_mesh.obj and one OBJ per shape"
        )
    files.remove(neutral_file)
    return neutral_file, files


def _plan_shapes(uses: Sequence[Use]) -> Plan:
    """Return what of the rig each file moves; files that give it nothing are not opened."""
    plan = plan_shapes(uses)
    used = find_used(plan)
    if not used:
        raise RigError(
            f"found no ARKit shape among {[use.raw for use in uses][:8]}; expected names such as "
            "jawOpen or mouthSmile_L (`dualtalker rig --names` lists what is understood)"
        )
    return {name: moved for name, moved in plan.items() if name in used}


def _read_delta(neutral_file: Path, neutral: np.ndarray, file: Path) -> np.ndarray:
    vertices, _, _ = _read_obj(file, with_faces=False)
    if len(vertices) != len(neutral):
        raise RigError(
            f"{file}: found {len(vertices)} vertices; expected {len(neutral)} as in "
            f"{neutral_file.name}. Export all OBJ files from the same mesh, keeping the "
            "vertex order (in Blender: without modifiers, 'Keep Vertex Order')"
        )
    return (vertices - neutral).astype(np.float32)


def _read_obj(path: Path, with_faces: bool) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Read vertices [n, 3], colors [n, 3] uint8 or None, triangles [t, 3] in file order."""
    rows, corners = _read_lines(path, with_faces)
    widths = {len(row) for row in rows}
    if not rows or len(widths) != 1 or not widths <= {3, 4, 6, 7}:
        raise RigError(
            f"{path}: found {len(rows)} vertices with {sorted(widths)} numbers each; "
            f"expected 1 to {MAX_VERTICES} vertices with x y z (and optionally r g b) each"
        )
    table = np.array(rows)
    if not (np.abs(table) <= _LARGEST_COORDINATE).all():
        raise RigError(
            f"{path}: found NaN, infinite or huge coordinates; expected numbers up to "
            f"{_LARGEST_COORDINATE:g}"
        )
    colors = None
    if table.shape[1] >= 6:
        colors = np.clip(np.round(table[:, -3:] * 255), 0, 255).astype(np.uint8)
    if with_faces and not corners:
        raise RigError(f"{path}: found no faces; expected a mesh")
    return table[:, :3], colors, np.array(corners, dtype=np.int64).reshape(-1, 3)


def _read_lines(path: Path, with_faces: bool) -> tuple[list[list[float]], array[int]]:
    """Read the numbers of `v` lines, and the corners of the triangles that `f` lines hold."""
    rows: list[list[float]] = []
    corners: array[int] = array("q")
    number, line = 0, ""
    try:
        for line in _lines_of(path):
            number += 1
            if line.startswith("v "):
                words = line.split()[1:]
                if len(words) > _WIDEST_ROW:
                    raise ValueError("a vertex has x y z, and r g b or w")
                rows.append([float(word) for word in words])
            elif with_faces and line.startswith("f "):
                face = _read_face(line.split()[1:], len(rows))
                for index in range(2, len(face)):
                    corners.extend((face[0], face[index - 1], face[index]))
            if len(rows) > MAX_VERTICES or len(corners) > _MOST_CORNERS:
                raise RigError(
                    f"{path}: found over {MAX_VERTICES} vertices or {_MOST_CORNERS} corners of "
                    "triangles; expected fewer"
                )
    except ValueError as error:
        raise RigError(f"{path}, line {number}: {line.strip()!r} is not valid OBJ") from error
    except OSError as error:
        raise RigError(f"{path}: cannot be read ({error})") from error
    return rows, corners


def _check_bytes(files: Sequence[Path]) -> None:
    """Refuse what is no file or takes long to read, before any is read."""
    total = 0
    for file in files:
        if fault := tell_fault(file):
            raise RigError(f"{file}: {fault}; expected an OBJ file")
        size = file.stat().st_size
        total += size
        if size > _LARGEST_FILE or total > _LARGEST_FOLDER:
            raise RigError(
                f"{file}: found {size} bytes, {total} with the files before it; expected at most "
                f"{_LARGEST_FILE} in a file and {_LARGEST_FOLDER} in all"
            )


def _lines_of(path: Path) -> Iterator[str]:
    _check_bytes([path])
    with path.open(encoding="utf-8", errors="replace") as file:
        while line := file.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE:
                raise RigError(f"{path}: found a line of over {_LONGEST_LINE} characters")
            yield line


def _read_face(words: Sequence[str], vertex_count: int) -> list[int]:
    """Vertex indices of one face, from 0; negative ones count back from the last vertex so far."""
    indices = [int(word.partition("/")[0]) for word in words]
    if len(indices) < 3 or 0 in indices or not -_FAR < min(indices) <= max(indices) < _FAR:
        raise ValueError("a face needs three vertices, numbered from 1")
    return [index - 1 if index > 0 else vertex_count + index for index in indices]
