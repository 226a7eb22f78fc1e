"""Reads rigs from .npz archives, of which every claim is checked before room is made for it."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import RigError
from dualtalker.rig.rig import MAX_MOVED, MAX_VERTICES, Rig, build_rig

OPTIONAL_ARRAYS = ("colors", "lip_upper", "lip_lower", "lip_vertices", "upper_face_vertices")
_REQUIRED = ("neutral", "triangles", "names", "deltas")
_LONGEST_NAME = 1000  # characters
# The most numbers or texts in each array.
_MOST = {
    "name": 1,
    "names": len(ARKIT_NAMES),
    "deltas": 3 * MAX_MOVED,
    "triangles": 12 * MAX_VERTICES,
    "neutral": 3 * MAX_VERTICES,
    "colors": 3 * MAX_VERTICES,
    **dict.fromkeys(OPTIONAL_ARRAYS[1:], MAX_VERTICES),
}
_END_BYTES, _LONGEST_COMMENT = 22, 65535  # of a zip's end record
_LARGEST_DIRECTORY = 1 << 16  # bytes; ours takes 700


def read_archive(path: Path, scale: float) -> Rig:
    """Read a rig that `save_rig` wrote as .npz; `scale` is metres per unit. Raises RigError."""
    arrays = _read_arrays(path)
    absent = [key for key in _REQUIRED if key not in arrays]
    if absent:
        raise RigError(
            f"{path}: found the arrays {sorted(arrays)}, without {absent}; "
            f"expected {list(_REQUIRED)} and optionally {list(OPTIONAL_ARRAYS)}"
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
            **{key: arrays.get(key) for key in OPTIONAL_ARRAYS},
        )
    except RigError as error:
        raise RigError(f"{path}: {error}") from error


def _scaled(array: np.ndarray, scale: float) -> np.ndarray:
    return array if scale == 1.0 or array.dtype.kind not in "iuf" else array * scale


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a rig; raises RigError for whatever is wrong with the archive."""
    try:
        with path.open("rb") as file:
            _check_directory(path, file)
            with zipfile.ZipFile(file) as archive:
                members = {member.filename: member for member in archive.infolist()}
                wanted = [key for key in _MOST if f"{key}.npy" in members]
                for key in wanted:
                    _check_member(path, archive, members[f"{key}.npy"], _MOST[key])
                return {key: _read_member(archive, members[f"{key}.npy"]) for key in wanted}
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


def _check_directory(path: Path, file: IO[bytes]) -> None:
    """Refuse an archive of a great many members before they are listed, which takes seconds.

    The end record is that of PKWARE's APPNOTE, 4.3.16; zip64 stands before it where it is used.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_BYTES - _LONGEST_COMMENT))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if 0 <= end <= len(tail) - _END_BYTES:
        (directory_bytes,) = struct.unpack_from("<I", tail, end + 12)
        if (
            directory_bytes > _LARGEST_DIRECTORY
            or tail[:end].rfind(b"PK\x06\x07") == end - 20 >= 0
        ):
            raise RigError(
                f"{path}: lists more than {_LARGEST_DIRECTORY} bytes of members; expected the "
                f"arrays {list(_REQUIRED)} and optionally {list(OPTIONAL_ARRAYS)}"
            )
    file.seek(0)


def _check_member(
    path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int
) -> None:
    """Refuse an array that claims more than the archive or a rig holds, before room is made."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is packed by method {member.compress_type}")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise RigError(f"{path}: {member.filename} is of npy version {version}; expected 1, 2")
        shape, _, dtype = read_header(file)
    if dtype.kind not in "iufU" or (dtype.kind != "U" and dtype.itemsize > 8):
        raise ValueError(f"{member.filename} holds {dtype}, neither plain numbers nor text")
    count = math.prod(shape)
    claimed = count * max(dtype.itemsize, 1)  # empty texts take room once they are read
    if min(shape, default=0) < 0 or claimed > member.file_size:
        raise RigError(
            f"{path}: {member.filename} claims the shape {list(shape)} of {dtype}, {claimed} "
            f"bytes; the archive holds {member.file_size}"
        )
    if count > most or (dtype.kind == "U" and dtype.itemsize > 4 * _LONGEST_NAME):
        raise RigError(
            f"{path}: {member.filename} claims the shape {list(shape)} of {dtype}; expected at "
            f"most {most} entries, and texts of at most {_LONGEST_NAME} characters"
        )


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
