"""Reads BIWI's audiovisual corpus as distributed, and as CodeTalker's scripts leave it.

Subjects, split and normalization are those of FaceFormer and CodeTalker. docs/datasets.md tells
what of this could be checked against public sources and what is assumed.
"""

from __future__ import annotations

import re
import struct
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from dualtalker.errors import DualtalkerError
from training.data import CorpusError, map_array, read_sound
from training.datasets.meshes import read_mesh
from training.datasets.pickles import load_pickle
from training.datasets.sources import (
    Inspection,
    MeshSource,
    PlannedClip,
    describe_mismatch,
    describe_stray,
    name_some,
)
from training.datasets.videos import measure_duration_s

FPS = 25
VERTICES = 23370
LICENSE = (
    "Biwi 3D Audiovisual Corpus of Affective Communication, ETH Zurich: research use as agreed to "
    "at the download, no redistribution; what is derived from it falls under it too"
)
SEEN = ("F2", "F3", "F4", "M3", "M4", "M5")
UNSEEN = ("F1", "F5", "F6", "F7", "F8", "M1", "M2", "M6")
SENTENCES = tuple(f"e{number:02d}" for number in range(1, 41))
NORMALIZATIONS = ("area", "none")

_AUDIO_PLACES = (
    "wav/{0}_{1}.wav",
    "audio/{0}_{1}.wav",
    "audio/{0}/{1}.wav",
    "wav/{0}/{1}.wav",
    "videos/{0}_{1}.flv",
    "videos/{0}/{1}.flv",
)
_NUMBER = re.compile(r"(\d+)\.vl$")
_AGAIN = "ask the authors for the corpus (data.vision.ee.ethz.ch) or copy the file again"


def split_of(subject: str, sentence: str) -> str | None:
    """Return the split: 1-32, 33-36, 37-40 (test-a) of seen subjects, 37-40 (test-b) of others."""
    number = int(sentence[1:])
    if subject in UNSEEN:
        return "test-b" if number >= 37 else None
    return "train" if number <= 32 else "validation" if number <= 36 else "test-a"


# ---- The download ------------------------------------------------------------------------------


def inspect_biwi(
    folder: Path, normalization: str, topology: Path | None, vertices: int
) -> tuple[Inspection, MeshSource | None]:
    """Look at a download; return what is wrong with it and, where it can be used, its clips."""
    report = Inspection(folder)
    prepared = (folder / "vertices_npy").is_dir() and not (folder / "faces").is_dir()
    if prepared:
        templates, triangles, files = _read_prepared(report, topology, vertices)
        raw_templates = templates
        normalizer = Normalizer("as prepared", triangles)
    else:
        raw_templates, triangles, files = _read_scans(report, vertices)
        normalizer = Normalizer(normalization, triangles)
        if not (folder / "faces").is_dir():
            report.error(
                folder / "faces", "missing: faces/SUBJECT/e01/frame_001.vl or e01.tar", _AGAIN
            )
    if report.errors and not raw_templates:
        return report, None
    templates = {subject: normalizer(points) for subject, points in raw_templates.items()}
    clips: list[PlannedClip] = []
    for subject in (*SEEN, *UNSEEN):
        if subject in templates:
            clips += _plan_subject(report, subject, prepared, normalizer, vertices, files)
    expected = {"train": 192, "validation": 24, "test-a": 24, "test-b": 32}
    report.count_splits(clips, expected, folder, _AGAIN)
    neutral = len([*(folder / "faces").glob("*/[0-9][0-9]")])
    if neutral:
        report.note("faces", f"{neutral} neutral sentences (01-40) are left out, as in papers")
    scales = {}
    if len(triangles):
        scales = {s: round(measure_scale(p, triangles), 6) for s, p in raw_templates.items()}
    units = {"area": "square root of the face's area", "none": "as recorded (mm assumed)"}
    return report, MeshSource(
        dataset="biwi",
        fps=FPS,
        unit=units.get(normalizer.kind, "as prepared (square root of the face's area assumed)"),
        license=LICENSE,
        styles=SEEN,
        templates=templates,
        triangles=triangles,
        clips=clips,
        files=files,
        options={"normalization": normalizer.kind, "template_scales": scales},
    )


def _read_scans(
    report: Inspection, vertices: int
) -> tuple[dict[str, np.ndarray], np.ndarray, list[Path]]:
    """Read rigid_scans/SUBJECT.obj: templates as recorded, the triangles they share."""
    templates: dict[str, np.ndarray] = {}
    triangles = np.zeros((0, 3), np.int32)
    files = []
    for subject in (*SEEN, *UNSEEN):
        path = report.folder / "rigid_scans" / f"{subject}.obj"
        if not path.is_file():
            report.warn(path, f"missing, so subject {subject} is left out", _AGAIN)
            continue
        try:
            points, faces = read_mesh(path)
        except CorpusError as error:
            report.error(path, str(error), _AGAIN)
            continue
        if len(points) != vertices:
            problem = f"has {len(points)} vertices, expected {vertices}: a raw scan?"
            report.error(path, problem, "use the personalized template, not the scan")
            continue
        if len(triangles) and not np.array_equal(triangles, faces):
            report.warn(path, "has other triangles than the first template; the first's are used")
        elif not len(triangles):
            triangles = faces
        templates[subject] = points
        files.append(path)
    if not templates and not report.errors:
        report.error(report.folder / "rigid_scans", "no template SUBJECT.obj is there", _AGAIN)
    return templates, triangles, files


def _read_prepared(
    report: Inspection, topology: Path | None, vertices: int
) -> tuple[dict[str, np.ndarray], np.ndarray, list[Path]]:
    """Read templates.pkl beside vertices_npy/, and the triangles of any BIWI.ply."""
    path = report.folder / "templates.pkl"
    triangles = np.zeros((0, 3), np.int32)
    if not path.is_file():
        report.error(path, "missing ({subject: [vertices, 3]})", "copy it from where it was made")
        return {}, triangles, []
    try:
        table = load_pickle(path)
        templates = {str(s): np.asarray(v, np.float32).reshape(-1, 3) for s, v in table.items()}
    except (CorpusError, AttributeError, ValueError, TypeError) as error:
        report.error(path, str(describe_stray(path) or error), "copy it again")
        return {}, triangles, []
    for subject, points in list(templates.items()):
        if len(points) != vertices:
            report.error(path, f"{subject} has {len(points)} vertices, expected {vertices}")
            del templates[subject]
    places = [topology, report.folder / "BIWI.ply", report.folder / "templates" / "BIWI.ply"]
    mesh = next((place for place in places if place is not None and place.is_file()), None)
    if mesh is None:
        report.note(report.folder, "no BIWI.ply with the triangles: give --topology for pictures")
        return templates, triangles, [path]
    try:
        points, triangles = read_mesh(mesh)
        if len(points) != vertices:
            raise CorpusError(f"has {len(points)} vertices, expected {vertices}")
    except CorpusError as error:
        report.error(mesh, str(error), _AGAIN)
    return templates, triangles, [path, mesh]


# ---- Clips -------------------------------------------------------------------------------------


def _plan_subject(
    report: Inspection,
    subject: str,
    prepared: bool,
    normalizer: Normalizer,
    vertices: int,
    files: list[Path],
) -> list[PlannedClip]:
    clips = []
    absent: dict[str, list[str]] = {"frames": [], "sound": []}
    for sentence in SENTENCES:
        split = split_of(subject, sentence)
        if split is None:
            continue
        frames = (find_prepared if prepared else find_frames)(report, subject, sentence, vertices)
        audio = _find_audio(report.folder, subject, sentence)
        if frames is None or audio is None:
            absent["frames" if frames is None else "sound"].append(sentence)
            continue
        if not frames.count:
            continue  # found, but broken: already told
        if not _lengths_fit(report, f"{subject}_{sentence}", audio, frames.count):
            continue
        files += [*frames.files, audio]
        clips.append(
            PlannedClip(
                name=f"{subject}_{sentence}",
                subject=subject,
                sentence=sentence,
                split=split,
                frames=frames.count,
                read_audio=partial(read_sound, audio),
                read_frames=partial(normalize_all, frames, normalizer, vertices),
            )
        )
    for what, sentences in absent.items():
        if sentences:
            report.warn(subject, f"no {what} for {name_some(sentences)}: left out", _AGAIN)
    return clips


def _find_audio(folder: Path, subject: str, sentence: str) -> Path | None:
    for place in _AUDIO_PLACES:
        path = folder / place.format(subject, sentence)
        if path.is_file():
            return path
    return None


def _lengths_fit(report: Inspection, name: str, audio: Path, frames: int) -> bool:
    try:
        duration_s = measure_duration_s(audio)
    except DualtalkerError as error:
        report.error(audio, str(describe_stray(audio) or error), _AGAIN)
        return False
    mismatch = describe_mismatch(duration_s, frames / FPS)
    if mismatch is None:
        return True
    impossible, told = mismatch
    if impossible:
        report.error(audio, f"{told} ({name}): not the same sentence?", _AGAIN)
    else:
        report.warn(audio, f"{told} ({name}): the sound is cut or padded")
    return not impossible


# ---- Frames ------------------------------------------------------------------------------------


def parse_vl(content: bytes, vertices: int, name: str) -> np.ndarray:
    """Return float32 [V, 3] of a .vl file called `name`, in its own axes and unit.

    Layout: the number of vertices, unsigned little-endian, then x y z of each as little-endian
    float32. The number takes 4 bytes, or 8 where a 64-bit `unsigned long` was written; the file's
    size tells which. Raises `CorpusError` for any other size or number.
    """
    for code, head in (("<I", 4), ("<Q", 8)):
        if len(content) == head + vertices * 12:
            (count,) = struct.unpack_from(code, content)
            if count != vertices:
                raise CorpusError(f"{name}: header says {count} vertices, expected {vertices}")
            return np.frombuffer(content, "<f4", vertices * 3, head).reshape(vertices, 3)
    raise CorpusError(
        f"{name}: {len(content)} bytes, expected {4 + vertices * 12} for {vertices} vertices: "
        "cut short, or of another topology"
    )


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
                    yield parse_vl(stream.read(), vertices, name)
        elif self.files[0].suffix == ".npy":
            yield from map_array(self.files[0]).reshape(-1, vertices, 3)
        else:
            for path in self.files:
                yield parse_vl(path.read_bytes(), vertices, str(path))


def normalize_all(frames: Frames, normalizer: Normalizer, vertices: int) -> Iterator[np.ndarray]:
    """Yield every frame [V, 3] as the literature has it, one at a time."""
    for frame in frames.iterate(vertices):
        yield normalizer(frame)


def find_frames(report: Inspection, subject: str, sentence: str, vertices: int) -> Frames | None:
    """Find faces/SUBJECT/SENTENCE/*.vl or SENTENCE.tar; None where neither is there."""
    folder = report.folder / "faces" / subject / sentence
    archive = folder.with_suffix(".tar")
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
    fitting = (4 + vertices * 12, 8 + vertices * 12)
    bad = sorted(name for name, size in sizes.items() if size not in fitting)
    if bad:
        problem = f"{len(bad)} of {len(sizes)} frames have a wrong size ({name_some(bad, 2)}: "
        problem += f"{sizes[bad[0]]} bytes, expected {fitting[0]})"
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
