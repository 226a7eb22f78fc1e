"""The `VertexClip` all mesh data sets become, and its storage; knows nothing of their formats.

A folder holds index.json, corpus.npz (templates, triangles, vertex sets) and, for each clip,
clips/NAME.vertices.npy, clips/NAME.audio.npy and clips/NAME.json. Vertices are memory-mapped when
read, so a training that crops windows never holds a whole clip.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dualtalker.files import read_json, tell_fault, write_whole, written_whole
from training.data.clips import SAMPLE_RATE_HZ
from training.data.records import ARCHIVE_ERRORS, MAX_RECORD_BYTES, CorpusError, open_archive

INDEX_NAME = "index.json"
ARRAYS_NAME = "corpus.npz"
FORMAT = "dualtalker-vertex-clips"
FORMAT_VERSION = 1
_ARRAYS = ("templates", "triangles", "lip_vertices", "upper_face_vertices")


@dataclass(frozen=True)
class VertexClip:
    """One recorded sentence.

    audio: float32 [samples], mono, 16 kHz, in [-1, 1]; covers the frames, to the sample.
    vertices: float32 [frames, V, 3] in the corpus's unit, frame k depicts k / fps; read-only,
        memory-mapped.
    template: float32 [V, 3], the subject's neutral face in the same unit.
    """

    name: str
    audio: np.ndarray
    vertices: np.ndarray
    template: np.ndarray
    subject: str
    sentence: str
    fps: float
    split: str

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.vertices)


@dataclass(frozen=True)
class VertexSet:
    """Vertices of one part of the face, and how they were found: printed with every metric."""

    indices: np.ndarray
    source: str


@dataclass(frozen=True)
class VertexCorpus:
    """What all clips of a folder share.

    unit: of the vertices, "m" or what else the index says.
    splits: clip names by split, in order. subjects: all of them; styles: those of training.
    triangles: int32 [T, 3], empty where the download had no topology.
    """

    folder: Path
    dataset: str
    fps: float
    unit: str
    vertex_count: int
    subjects: tuple[str, ...]
    styles: tuple[str, ...]
    splits: dict[str, tuple[str, ...]]
    templates: dict[str, np.ndarray]
    triangles: np.ndarray
    lips: VertexSet
    upper_face: VertexSet
    digest: str
    index: dict[str, Any]


@dataclass(frozen=True)
class ClipRecord:
    """What clips/NAME.json says of one clip."""

    name: str
    subject: str
    sentence: str
    split: str
    frames: int
    samples: int
    vertices_sha256: str
    audio_sha256: str
    plan: str  # digest of all that decides what the clip holds


# ---- Writing -----------------------------------------------------------------------------------


def is_written(folder: Path, name: str, plan: str) -> bool:
    """Tell whether this clip, made by this very plan, lies in the folder."""
    record = _read_record(folder, name)
    return record is not None and record.plan == plan


def write_clip(
    folder: Path,
    name: str,
    audio: np.ndarray,
    frames: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    **about: str,
) -> ClipRecord:
    """Write one clip; `frames` yields [V, 3] arrays, of which one is held at a time.

    shape is (frames, V, 3); the sound is cut or padded to the frames' length. `about` is subject,
    sentence, split, fps and plan. clips/NAME.json is written last: without it there is no clip.
    """
    target = folder / "clips"
    target.mkdir(parents=True, exist_ok=True)
    _record_path(folder, name).unlink(missing_ok=True)
    length = round(shape[0] * SAMPLE_RATE_HZ / float(about.pop("fps")))
    fitted = np.zeros(length, np.int16)
    cut = audio[:length]
    fitted[: len(cut)] = np.rint(np.clip(cut, -1.0, 1.0) * 32767)
    vertices_sha256 = _write_npy(target / f"{name}.vertices.npy", frames, shape, "<f4", name)
    audio_sha256 = _write_npy(target / f"{name}.audio.npy", [fitted], (length,), "<i2", name)
    record = ClipRecord(
        name=name,
        frames=shape[0],
        samples=length,
        vertices_sha256=vertices_sha256,
        audio_sha256=audio_sha256,
        **about,
    )
    text = json.dumps(asdict(record), ensure_ascii=False)
    write_whole(_record_path(folder, name), text)
    return record


def _write_npy(
    path: Path, blocks: Iterable[np.ndarray], shape: tuple[int, ...], descr: str, name: str
) -> str:
    """Write blocks one after the other as one .npy; return the SHA-256 of the file."""
    digest = hashlib.sha256()
    expected = int(np.prod(shape)) * np.dtype(descr).itemsize
    written = 0
    with written_whole(path) as part, part.open("wb") as stream:
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for block in blocks:
            if not np.isfinite(block).all():
                raise CorpusError(f"{name}: NaN or infinite vertices: copy its files again")
            data = np.ascontiguousarray(block, descr).tobytes()
            stream.write(data)
            digest.update(data)
            written += len(data)
        if written != expected:
            raise CorpusError(f"{name}: {written} bytes of frames came, expected {expected}")
    return digest.hexdigest()


def write_corpus(
    folder: Path,
    names: Sequence[str],
    templates: dict[str, np.ndarray],
    triangles: np.ndarray,
    lips: VertexSet,
    upper_face: VertexSet,
    about: dict[str, Any],
) -> dict[str, Any]:
    """Write corpus.npz and index.json over the clips `names`; return the index.

    `about` joins the index as it is; it must hold dataset, fps, unit, license and styles.
    """
    subjects = list(templates)
    arrays = {
        "templates": np.stack([templates[subject] for subject in subjects]).astype("<f4"),
        "triangles": triangles.astype("<i4"),
        "lip_vertices": lips.indices.astype("<i4"),
        "upper_face_vertices": upper_face.indices.astype("<i4"),
    }
    path = folder / ARRAYS_NAME
    with written_whole(path) as part, part.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    records = [_demand_record(folder, name) for name in names]
    whole = hashlib.sha256()
    for array in arrays.values():
        whole.update(array.tobytes())
    for record in records:
        whole.update(json.dumps(asdict(record), sort_keys=True).encode())
    splits: dict[str, list[str]] = {}
    for record in records:
        splits.setdefault(record.split, []).append(record.name)
    index = {
        **about,
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "vertex_count": int(arrays["templates"].shape[1]),
        "triangle_count": len(triangles),
        "subjects": subjects,
        "lip_vertices": {"count": len(lips.indices), "source": lips.source},
        "upper_face_vertices": {"count": len(upper_face.indices), "source": upper_face.source},
        "hours": round(sum(r.samples for r in records) / SAMPLE_RATE_HZ / 3600, 4),
        "digest": whole.hexdigest(),
        "splits": splits,
        "clips": [asdict(record) for record in records],
    }
    text = json.dumps(index, indent=1, ensure_ascii=False) + "\n"
    write_whole(folder / INDEX_NAME, text)
    return index


# ---- Reading -----------------------------------------------------------------------------------


def read_corpus(folder: Path | str) -> VertexCorpus:
    """Read what all clips of a folder share. Raises `CorpusError` naming the file at fault."""
    folder = Path(folder)
    path = folder / INDEX_NAME
    if not path.is_file():
        raise CorpusError(
            f"no vertex clips in {folder} (no {INDEX_NAME}): make them with "
            f"`python -m training.prepare vocaset DIR {folder}` (or biwi)"
        )
    try:
        index = read_json(path, MAX_RECORD_BYTES)
        if not isinstance(index, dict):
            raise ValueError(f"{type(index).__name__}, expected an object")
        if (index.get("format"), index.get("format_version")) != (FORMAT, FORMAT_VERSION):
            raise ValueError(f"format {index.get('format')!r} {index.get('format_version')!r}")
        with open_archive(folder / ARRAYS_NAME) as file:
            arrays = {name: file[name] for name in _ARRAYS}
        return _build_corpus(folder, index, arrays)
    except (*ARCHIVE_ERRORS, AttributeError) as error:
        raise CorpusError(
            f"{folder}: {INDEX_NAME} or {ARRAYS_NAME} cannot be used ({error}): prepare it again"
        ) from error


def _build_corpus(
    folder: Path, index: dict[str, Any], arrays: dict[str, np.ndarray]
) -> VertexCorpus:
    subjects = tuple(index["subjects"])
    if arrays["templates"].shape != (len(subjects), index["vertex_count"], 3):
        raise ValueError(f"templates are {list(arrays['templates'].shape)}")
    return VertexCorpus(
        folder=folder,
        dataset=str(index["dataset"]),
        fps=float(index["fps"]),
        unit=str(index["unit"]),
        vertex_count=int(index["vertex_count"]),
        subjects=subjects,
        styles=tuple(index["styles"]),
        splits={split: tuple(names) for split, names in index["splits"].items()},
        templates=dict(zip(subjects, arrays["templates"], strict=True)),
        triangles=arrays["triangles"],
        lips=VertexSet(arrays["lip_vertices"], index["lip_vertices"]["source"]),
        upper_face=VertexSet(
            arrays["upper_face_vertices"], index["upper_face_vertices"]["source"]
        ),
        digest=str(index["digest"]),
        index=index,
    )


def iterate_vertex_clips(
    folder: Path | str | VertexCorpus, split: str | None = None
) -> Iterator[VertexClip]:
    """Yield the clips of a folder in order, one in memory at a time (its vertices mapped).

    `split` keeps the clips of that split.
    """
    corpus = folder if isinstance(folder, VertexCorpus) else read_corpus(folder)
    if split is not None and split not in corpus.splits:
        raise CorpusError(
            f"{corpus.folder} has no split {split!r}, only {', '.join(corpus.splits)}"
        )
    for row in corpus.index["clips"]:
        if split is None or row["split"] == split:
            yield read_clip(corpus, row["name"])


def read_clip(corpus: VertexCorpus, name: str) -> VertexClip:
    """Return one clip by name; see `VertexClip`. Raises `CorpusError` where its files are bad."""
    record = _demand_record(corpus.folder, name)
    audio_path, vertices_path = _clip_paths(corpus.folder, name)
    try:
        audio, vertices = map_array(audio_path), map_array(vertices_path)
    except CorpusError as error:
        raise CorpusError(f"clip {name!r} cannot be read ({error}): prepare it again") from error
    shape = (record.frames, corpus.vertex_count, 3)
    if vertices.shape != shape or audio.shape != (record.samples,):
        raise CorpusError(
            f"clip {name!r}: vertices {list(vertices.shape)}, expected {list(shape)}: "
            "prepare it again"
        )
    return VertexClip(
        name=name,
        audio=audio.astype(np.float32) / np.float32(32767),
        vertices=vertices,
        template=corpus.templates[record.subject],
        subject=record.subject,
        sentence=record.sentence,
        fps=corpus.fps,
        split=record.split,
    )


def map_array(path: Path) -> np.ndarray:
    """Return the array of an .npy file, memory-mapped and read-only.

    Raises `CorpusError` for a file that is cut short, broken, no .npy or an array of objects.
    """
    try:
        if fault := tell_fault(path):
            raise OSError(fault)
        return np.lib.format.open_memmap(path, mode="r")
    except ARCHIVE_ERRORS as error:
        raise CorpusError(f"not a readable .npy ({error})") from error


def files_complete(folder: Path, index: dict[str, Any]) -> bool:
    """Tell whether every file an index lists is there and of its size (contents are not read)."""
    per_frame = index["vertex_count"] * 12
    for row in index["clips"]:
        audio, vertices = _clip_paths(folder, row["name"])
        for path, size in ((audio, row["samples"] * 2), (vertices, row["frames"] * per_frame)):
            # The header of an .npy is a multiple of 64 bytes, for these shapes 128.
            if not path.is_file() or path.stat().st_size != size + 128:
                return False
    return (folder / ARRAYS_NAME).is_file()


def _clip_paths(folder: Path, name: str) -> tuple[Path, Path]:
    clips = folder / "clips"
    return clips / f"{name}.audio.npy", clips / f"{name}.vertices.npy"


def _record_path(folder: Path, name: str) -> Path:
    return folder / "clips" / f"{name}.json"


def _read_record(folder: Path, name: str) -> ClipRecord | None:
    try:
        row = read_json(_record_path(folder, name), MAX_RECORD_BYTES)
        return msgspec.convert(row, ClipRecord)
    except (OSError, ValueError, msgspec.DecodeError):
        return None


def _demand_record(folder: Path, name: str) -> ClipRecord:
    record = _read_record(folder, name)
    if record is None:
        raise CorpusError(f"{_record_path(folder, name)} is missing or broken: prepare it again")
    return record
