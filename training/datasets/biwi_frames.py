"""Frames of BIWI: the .vl layout, where a sentence's frames lie, and their normalization."""

from __future__ import annotations

import re
import struct
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data import CorpusError, map_array
from training.datasets.sources import Inspection, describe_stray, name_some

_AGAIN = "ask the authors for the corpus (data.vision.ee.ethz.ch) or copy the file again"


def parse_vl(content: bytes, vertices: int) -> np.ndarray:
    """Return float32 [V, 3] of a .vl file, in its own axes and unit.

    Layout: the number of vertices, unsigned little-endian, then x y z of each as little-endian
    float32. The number takes 4 bytes, or 8 where a 64-bit `unsigned long` was written; the file's
    size tells which. Raises `CorpusError` for any other size or number.
    """
    for code, head in (("<I", 4), ("<Q", 8)):
        if len(content) == head + vertices * 12:
            (count,) = struct.unpack_from(code, content)
            if count != vertices:
                raise CorpusError(f"its header says {count} vertices, expected {vertices}")
            return np.frombuffer(content, "<f4", vertices * 3, head).reshape(vertices, 3)
    raise CorpusError(
        f"{len(content)} bytes, expected {4 + vertices * 12} for {vertices} vertices: "
        "cut short, or of another topology"
    )


def vl_size_fits(size: int, vertices: int) -> bool:
    """Tell whether a file of this size can hold that many vertices."""
    return size in (4 + vertices * 12, 8 + vertices * 12)


@dataclass(frozen=True)
class Normalizer:
    """Turns vertices as recorded into those of the literature.

    kind "area": a half turn about x (recorded y points down), centered on the mean vertex, divided
    by the square root of the surface's area, for each frame by itself, as in CodeTalker's
    preparation. "none": the half turn only. "as prepared": nothing.
    """

    kind: str
    triangles: np.ndarray

    def __call__(self, vertices: np.ndarray) -> np.ndarray:
        """Return float32 [V, 3]."""
        if self.kind == "as prepared":
            return np.asarray(vertices, np.float32)
        turned = vertices.astype(np.float64) * (1.0, -1.0, -1.0)
        if self.kind == "none":
            return turned.astype(np.float32)
        centered = turned - turned.mean(axis=0)
        return (centered / measure_scale(centered, self.triangles)).astype(np.float32)


def measure_scale(vertices: np.ndarray, triangles: np.ndarray) -> float:
    """Return the square root of the area of a surface, in the unit of its vertices."""
    corners = vertices[triangles].astype(np.float64)
    sides = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = float(np.linalg.norm(sides, axis=1).sum() / 2)
    if not area > 0 or not np.isfinite(area):
        raise CorpusError(f"a surface of area {area}: broken vertices")
    return area**0.5


# ---- Where they lie ----------------------------------------------------------------------


@dataclass(frozen=True)
class Frames:
    """Where the frames of one sentence are: .vl files, members of a .tar, or one .npy."""

    count: int
    files: tuple[Path, ...] = ()
    members: tuple[str, ...] = ()

    def iterate(self, vertices: int) -> Iterator[np.ndarray]:
        """Yield each frame as recorded, [V, 3]."""
        if self.members:
            with tarfile.open(self.files[0], "r:") as archive:
                for name in self.members:
                    stream = archive.extractfile(name)
                    assert stream is not None  # members are regular files, see find_frames
                    yield self._parse(stream.read(), name, vertices)
        elif self.files[0].suffix == ".npy":
            yield from map_array(self.files[0]).reshape(-1, vertices, 3)
        else:
            for path in self.files:
                yield self._parse(path.read_bytes(), str(path), vertices)

    @staticmethod
    def _parse(content: bytes, name: str, vertices: int) -> np.ndarray:
        try:
            return parse_vl(content, vertices)
        except CorpusError as error:
            raise CorpusError(f"{name}: {error}") from error


def normalize_all(frames: Frames, normalizer: Normalizer, vertices: int) -> Iterator[np.ndarray]:
    """Yield every frame [V, 3] as the literature has it, one at a time."""
    for frame in frames.iterate(vertices):
        yield normalizer(frame)


def find_frames(report: Inspection, subject: str, sentence: str, vertices: int) -> Frames | None:
    """Find faces/SUBJECT/SENTENCE/*.vl or SENTENCE.tar; None where neither is there."""
    folder = report.folder / "faces" / subject / sentence
    archive = folder.with_suffix(".tar")
    sizes: dict[str, int]
    if folder.is_dir():
        paths = {path.name: path for path in folder.glob("*.vl")}
        sizes = {name: path.stat().st_size for name, path in paths.items()}
        where = folder
    elif archive.is_file():
        try:
            with tarfile.open(archive, "r:") as tar:
                sizes = {m.name: m.size for m in tar if m.isreg() and m.name.endswith(".vl")}
        except (tarfile.TarError, OSError, EOFError) as error:
            report.error(archive, f"not a readable tar ({error})", _AGAIN)
            return Frames(0)
        where = archive
    else:
        return None
    if not sizes:
        return None
    bad = sorted(name for name, size in sizes.items() if not vl_size_fits(size, vertices))
    if bad:
        problem = f"{len(bad)} of {len(sizes)} frames have a wrong size ({name_some(bad, 2)}: "
        problem += f"{sizes[bad[0]]} bytes, expected {4 + 12 * vertices})"
        report.error(where, problem, _AGAIN)
        return Frames(0)
    names = _in_order(report, where, list(sizes))
    if where == archive:
        return Frames(len(names), (archive,), tuple(names))
    return Frames(len(names), tuple(paths[name] for name in names))


def _in_order(report: Inspection, where: Path, names: list[str]) -> list[str]:
    """Return names by frame number; where numbers are missing the frame before is repeated."""
    numbered = {int(found.group(1)): name for name in names if (found := _NUMBER.search(name))}
    if len(numbered) != len(names):
        report.warn(where, "frames without a number, or numbered twice; taken in order of name")
        return sorted(names)
    first, last = min(numbered), max(numbered)
    gaps = last - first + 1 - len(numbered)
    if gaps:
        report.warn(where, f"{gaps} frames missing between {first} and {last}: repeated", _AGAIN)
    if first > 1:
        report.warn(where, f"starts with frame {first}, expected 1: frames missing?", _AGAIN)
    ordered, current = [], numbered[first]
    for number in range(first, last + 1):
        current = numbered.get(number, current)
        ordered.append(current)
    return ordered


_NUMBER = re.compile(r"(\d+)\.vl$")


def find_prepared(report: Inspection, subject: str, sentence: str, vertices: int) -> Frames | None:
    """Find vertices_npy/SUBJECT_SENTENCE.npy [frames, V * 3]; None where it is not there."""
    path = report.folder / "vertices_npy" / f"{subject}_{sentence}.npy"
    if not path.is_file():
        return None
    try:
        array = map_array(path)
    except CorpusError as error:
        report.error(path, str(describe_stray(path) or error), "prepare or copy it again")
        return Frames(0)
    if array.dtype.kind != "f" or array.shape[1:] not in ((vertices * 3,), (vertices, 3)):
        problem = f"holds {list(array.shape)} {array.dtype}, expected [frames, {vertices * 3}]"
        report.error(path, problem, "prepare it again")
        return Frames(0)
    return Frames(len(array), (path,))
