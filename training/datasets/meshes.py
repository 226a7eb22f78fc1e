"""Reads vertices and triangles of OBJ and PLY files in the order of the file; nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dualtalker.files import check_file
from training.data import CorpusError

_MAX_VERTICES = 1_000_000
_MAX_BYTES = 1 << 28
_PLY_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}


def read_mesh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices float32 [V, 3] in the file's unit and triangles int32 [T, 3] of a mesh.

    Vertices stay in the order of the file: no merging, no splitting at texture seams. Raises
    `CorpusError` for a file that is broken or of another kind.
    """
    check_file(path, CorpusError, "a mesh as .obj or .ply", _MAX_BYTES)
    try:
        if path.suffix.lower() == ".obj":
            vertices, triangles = _read_obj(path)
        elif path.suffix.lower() == ".ply":
            vertices, triangles = _read_ply(path.read_bytes())
        else:
            raise ValueError(f"ending {path.suffix!r}, expected .obj or .ply")
        if not 3 <= len(vertices) <= _MAX_VERTICES or not len(triangles):
            raise ValueError(f"{len(vertices)} vertices and {len(triangles)} triangles")
        if triangles.min() < 0 or triangles.max() >= len(vertices):
            raise ValueError(f"a face names vertex {triangles.max()} of {len(vertices)}")
        if not np.isfinite(vertices).all():
            raise ValueError("NaN or infinite coordinates")
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise CorpusError(f"{path}: not a readable mesh ({error}): copy it again") from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error})") from error
    return vertices.astype(np.float32), triangles.astype(np.int32)


def _read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    vertices: list[list[float]] = []
    triangles: list[tuple[int, int, int]] = []
    with path.open(encoding="latin1") as file:
        for line in file:
            if line.startswith("v "):
                vertices.append([float(word) for word in line.split()[1:4]])
            elif line.startswith("f "):
                corners = [int(word.split("/", 1)[0]) for word in line.split()[1:]]
                face = [n - 1 if n > 0 else len(vertices) + n for n in corners]
                triangles.extend(_fan(face))
    return np.array(vertices).reshape(-1, 3), np.array(triangles, np.int64).reshape(-1, 3)


def _fan(face: list[int]) -> list[tuple[int, int, int]]:
    return [(face[0], face[i], face[i + 1]) for i in range(1, len(face) - 1)]


def _read_ply(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    marker = b"end_header\n"
    head, found, body = content.replace(b"end_header\r\n", marker, 1).partition(marker)
    if not head.startswith(b"ply") or not found:
        raise ValueError("no PLY header")
    order, elements = _parse_ply_header(head.decode("latin1").splitlines())
    if order == "ascii":
        return _read_ascii_ply(elements, body.decode("latin1").split("\n"))
    return _read_binary_ply(elements, body, order)


def _parse_ply_header(lines: list[str]) -> tuple[str, dict[str, tuple[int, list[list[str]]]]]:
    """Return the byte order ("ascii", "<" or ">") and per element its count and properties."""
    order = ""
    elements: dict[str, tuple[int, list[list[str]]]] = {}
    name = ""
    for line in lines:
        words = line.split()
        if words[:1] == ["format"]:
            orders = {"ascii": "ascii", "binary_little_endian": "<", "binary_big_endian": ">"}
            order = orders[words[1]]
        elif words[:1] == ["element"]:
            name = words[1]
            elements[name] = (int(words[2]), [])
        elif words[:1] == ["property"]:
            elements[name][1].append(words[1:])
    if list(elements)[:2] != ["vertex", "face"] or not order:
        raise ValueError(f"PLY elements {list(elements)}, expected vertex and face")
    if len(elements["face"][1]) != 1 or elements["face"][1][0][0] != "list":
        raise ValueError("PLY faces with more than a list of vertices")
    if elements["vertex"][0] > _MAX_VERTICES or elements["face"][0] > 4 * _MAX_VERTICES:
        raise ValueError("more elements than any face has")
    return order, elements


def _read_ascii_ply(elements: dict, lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
    count, properties = elements["vertex"]
    names = [words[-1] for words in properties]
    columns = [names.index(axis) for axis in "xyz"]
    rows = [line.split() for line in lines[:count]]
    vertices = np.array([[float(row[column]) for column in columns] for row in rows])
    triangles: list[tuple[int, int, int]] = []
    for line in lines[count : count + elements["face"][0]]:
        numbers = [int(word) for word in line.split()]
        triangles.extend(_fan(numbers[1 : numbers[0] + 1]))
    return vertices, np.array(triangles, np.int64).reshape(-1, 3)


def _read_binary_ply(elements: dict, body: bytes, order: str) -> tuple[np.ndarray, np.ndarray]:
    count, properties = elements["vertex"]
    dtype = np.dtype([(words[-1], order + _PLY_TYPES[words[0]]) for words in properties])
    table = np.frombuffer(body, dtype, count)
    vertices = np.stack([table[axis].astype(np.float64) for axis in "xyz"], axis=1)
    faces, (_, count_type, index_type, _) = elements["face"][0], elements["face"][1][0]
    counts = np.dtype(order + _PLY_TYPES[count_type])
    indices = np.dtype(order + _PLY_TYPES[index_type])
    rest = memoryview(body)[count * dtype.itemsize :]
    uniform = np.dtype([("n", counts), ("i", indices, (3,))])
    if len(rest) >= faces * uniform.itemsize:
        rows = np.frombuffer(rest, uniform, faces)
        if (rows["n"] == 3).all():
            return vertices, rows["i"].astype(np.int64)
    triangles: list[tuple[int, int, int]] = []
    position = 0
    for _ in range(faces):
        corners = int(np.frombuffer(rest, counts, 1, position)[0])
        position += counts.itemsize
        triangles.extend(_fan(np.frombuffer(rest, indices, corners, position).tolist()))
        position += corners * indices.itemsize
    return vertices, np.array(triangles, np.int64).reshape(-1, 3)
