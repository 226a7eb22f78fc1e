"""Reads and writes face rigs: .npz, .glb with morph targets, folders of OBJ files."""

from __future__ import annotations

import logging
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import RigError
from dualtalker.files import written_whole
from dualtalker.rig.gltf.reader import read_glb
from dualtalker.rig.gltf.writer import write_glb
from dualtalker.rig.landmarks import find_lip_vertices
from dualtalker.rig.retargeting import (
    choose_shapes,
    complete_shapes,
    find_used,
    plan_shapes,
    tell_ignored,
)
from dualtalker.rig.rig import MAX_VERTICES, Rig, build_rig

_log = logging.getLogger("dualtalker")

_NPZ_REQUIRED = ("neutral", "triangles", "names", "deltas")
_NPZ_OPTIONAL = ("colors", "lip_upper", "lip_lower", "lip_vertices", "upper_face_vertices")
_EXPECTED = ".npz, .glb, .vrm or a folder of OBJ files"
_NEUTRAL_STEMS = ("neutral", "base", "generic_neutral_mesh")
_LARGEST_COORDINATE = 1e9  # in any unit: a face in nanometres
_MOUTH_WIDTH_M = 0.055  # of an adult; tells millimetres from centimetres and metres


def load_rig(path: str | os.PathLike[str], scale: float | None = None) -> Rig:
    """Load a rig from a `.npz` of `save_rig`, a `.glb`, a `.vrm` or a folder of OBJ files.

    A folder holds `neutral.obj` (or `base.obj`, `generic_neutral_mesh.obj`) and one OBJ per shape
    named after it, all with the same vertices in the same order. Shape names are ARKit's in any
    usual spelling, those of Character Creator, or a VRM's expressions (docs/rigs.md); halves of a
    central shape are added up, and whole-mouth shapes stand in for missing ones. `scale` is
    metres per unit of the file. By default .npz, .glb and .vrm are in metres, and for OBJ files,
    which have no unit, it is the power of ten that makes the mouth's width human.

    RigError says which file is at fault, what was found and what was expected.
    """
    path = Path(path)
    if path.is_dir():
        return _load_folder(path, scale)
    if not path.exists():
        raise RigError(f"{path}: no such file; expected {_EXPECTED}")
    if path.suffix.lower() == ".npz":
        return _load_npz(path, 1.0 if scale is None else scale)
    if path.suffix.lower() in (".glb", ".vrm"):
        return read_glb(path, 1.0 if scale is None else scale)
    raise RigError(
        f"{path}: found the ending {path.suffix!r}; expected {_EXPECTED} "
        "(other formats: export as .glb with shape keys, for example from Blender)"
    )


def save_rig(rig: Rig, path: str | os.PathLike[str]) -> Path:
    """Write a rig as `.npz`, from which `load_rig` gives the same, or `.glb`; return the path.

    A `.glb` is binary glTF with morph targets, for three.js, Blender and `load_rig`.
    """
    path = Path(path)
    if path.suffix.lower() == ".glb":
        return write_glb(rig, path)
    if path.suffix.lower() != ".npz":
        raise RigError(f"{path}: found the ending {path.suffix!r}; expected .npz or .glb")
    arrays = {key: getattr(rig, key) for key in ("neutral", "triangles", "deltas")}
    arrays |= {key: getattr(rig, key) for key in _NPZ_OPTIONAL if getattr(rig, key) is not None}
    with written_whole(path) as part, part.open("wb") as file:
        np.savez_compressed(file, name=rig.name, names=np.array(rig.names), **arrays)
    return path


def _load_npz(path: Path, scale: float) -> Rig:
    arrays = _read_arrays(path)
    absent = [key for key in _NPZ_REQUIRED if key not in arrays]
    if absent:
        raise RigError(
            f"{path}: found the arrays {sorted(arrays)}, without {absent}; "
            f"expected {list(_NPZ_REQUIRED)} and optionally {list(_NPZ_OPTIONAL)}"
        )
    names, title = arrays["names"], arrays.get("name", np.array(path.stem))
    if names.dtype.kind != "U" or names.ndim != 1 or title.dtype.kind != "U" or title.ndim != 0:
        raise RigError(f"{path}: name and names must be text; found {title.dtype}, {names.dtype}")
    try:
        return build_rig(
            str(title),
            _scaled(arrays["neutral"], scale),
            arrays["triangles"],
            tuple(str(name) for name in names),
            _scaled(arrays["deltas"], scale),
            **{key: arrays.get(key) for key in _NPZ_OPTIONAL},
        )
    except RigError as error:
        raise RigError(f"{path}: {error}") from error


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz; raises RigError for whatever is wrong with the archive."""
    limit = MAX_VERTICES * 12 * (len(ARKIT_NAMES) + 4)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > limit:
                raise RigError(f"{path}: unpacks to {size} bytes; expected at most {limit}")
            for member in members:
                _check_member(path, archive, member)
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        tokenize.TokenError,  # older numpy, for a header that is no Python literal
        ValueError,
        OverflowError,
        MemoryError,
        EOFError,
        OSError,
        RuntimeError,  # an encrypted archive
    ) as e:
        raise RigError(
            f"{path}: cannot be read as .npz ({e}); expected a file written by save_rig"
        ) from e


def _check_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Refuse an array whose header claims more than the archive holds, before room is made."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise RigError(f"{path}: {member.filename} is of npy version {version}; expected 1, 2")
        shape, _, dtype = read_header(file)
    claimed = math.prod(shape) * max(dtype.itemsize, 1)  # empty texts take room once they are read
    if min(shape, default=0) < 0 or claimed > member.file_size:
        raise RigError(
            f"{path}: {member.filename} claims the shape {list(shape)} of {dtype}, {claimed} "
            f"bytes; the archive holds {member.file_size}"
        )


def _scaled(array: np.ndarray, scale: float) -> np.ndarray:
    return array if scale == 1.0 or array.dtype.kind not in "iuf" else array * scale


def _load_folder(folder: Path, scale: float | None) -> Rig:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".obj")
    by_stem = {file.stem.lower(): file for file in files}
    neutral_file = next((by_stem[stem] for stem in _NEUTRAL_STEMS if stem in by_stem), None)
    if neutral_file is None:
        raise RigError(
            f"{folder}: found {len(files)} OBJ files, none of them neutral; "
            "expected neutral.obj, base.obj or generic_neutral_mesh.obj and one OBJ per shape"
        )
    neutral, colors, triangles = _read_obj(neutral_file, with_faces=True)
    raw_names: list[str] = []
    deltas: list[np.ndarray] = []
    for file in files:
        if file == neutral_file:
            continue
        vertices, _, _ = _read_obj(file, with_faces=False)
        if len(vertices) != len(neutral):
            raise RigError(
                f"{file}: found {len(vertices)} vertices; expected {len(neutral)} as in "
                f"{neutral_file.name}. Export all OBJ files from the same mesh, keeping the "
                "vertex order (in Blender: without modifiers, 'Keep Vertex Order')"
            )
        raw_names.append(file.stem)
        deltas.append((vertices - neutral).astype(np.float32))
    names, stacked = _gather_shapes(folder, neutral, raw_names, deltas)
    if scale is None:
        scale = _guess_scale(folder, neutral, names, stacked)
    try:
        return build_rig(folder.name, neutral * scale, triangles, names, stacked * scale, colors)
    except RigError as error:
        raise RigError(f"{folder}: {error}") from error


def _gather_shapes(
    folder: Path, neutral: np.ndarray, raw_names: Sequence[str], deltas: Sequence[np.ndarray]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the ARKit names of the files' shapes, and their deltas [shapes, vertices, 3]."""
    try:
        uses = choose_shapes(raw_names)
    except RigError as error:
        raise RigError(f"{folder}: {error}") from error
    tell_ignored(str(folder), uses)
    found = {
        name: np.sum([deltas[index] * weight for index, weight in moved], axis=0)
        for name, moved in plan_shapes(uses).items()
    }
    if not find_used(found):
        raise RigError(
            f"{folder}: found no ARKit shape among {list(raw_names)[:8]}; expected names such as "
            "jawOpen or mouthSmile_L (`dualtalker rig --names` lists what is understood)"
        )
    return complete_shapes(found, neutral)


def _guess_scale(
    folder: Path, neutral: np.ndarray, names: Sequence[str], deltas: np.ndarray
) -> float:
    lips = neutral[find_lip_vertices(names, deltas), 0]
    width = float(lips.max() - lips.min()) if len(lips) else 0.0
    if not 1e-12 < width:
        raise RigError(
            f"{folder}: no shape moves the lips, so the unit of length cannot be told; "
            "give the scale in metres per unit"
        )
    scale = 10.0 ** round(float(np.log10(_MOUTH_WIDTH_M / width)))
    _log.info("%s: one unit taken as %g m (the mouth is %g units wide)", folder, scale, width)
    return scale


def _read_obj(path: Path, with_faces: bool) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Read vertices [n, 3], colors [n, 3] uint8 or None, triangles [t, 3] in file order."""
    rows: list[list[float]] = []
    faces: list[list[int]] = []
    number, line = 0, ""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                number += 1
                if line.startswith("v "):
                    rows.append([float(word) for word in line.split()[1:]])
                elif with_faces and line.startswith("f "):
                    faces.append(_read_face(line.split()[1:], len(rows)))
    except ValueError as error:
        raise RigError(f"{path}, line {number}: {line.strip()!r} is not valid OBJ") from error
    except OSError as error:
        raise RigError(f"{path}: cannot be read ({error})") from error
    widths = {len(row) for row in rows}
    if not rows or len(rows) > MAX_VERTICES or len(widths) != 1 or not widths <= {3, 4, 6, 7}:
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
    fans = [(face[0], face[i], face[i + 1]) for face in faces for i in range(1, len(face) - 1)]
    if with_faces and not fans:
        raise RigError(f"{path}: found no faces; expected a mesh")
    return table[:, :3], colors, np.array(fans, dtype=np.int64).reshape(-1, 3)


def _read_face(words: Sequence[str], vertex_count: int) -> list[int]:
    """Vertex indices of one face, from 0; negative ones count back from the last vertex so far."""
    indices = [int(word.split("/", 1)[0]) for word in words]
    if len(indices) < 3 or not all(1 <= abs(index) <= MAX_VERTICES for index in indices):
        raise ValueError("a face needs three vertices, numbered from 1")
    return [index - 1 if index > 0 else vertex_count + index for index in indices]
