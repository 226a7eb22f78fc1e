"""Reads VOCASET as it is distributed: four files, FLAME's 5023 vertices, 60 frames a second.

Names of subjects and the split are those of VOCA's published configuration (Cudeiro et al.,
CVPR 2019), which FaceFormer and its successors use; every second frame is theirs too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.audio import check_samples, mix_to_mono
from dualtalker.errors import AudioError
from training.data import CorpusError, map_array, to_corpus_rate
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

SOURCE_FPS = 60
STRIDE = 2  # every second frame: 30 a second
VERTICES = 5023
LICENSE = (
    "VOCASET, Max Planck Institute for Intelligent Systems: non-commercial scientific research, "
    "no redistribution, as agreed to at the download; what is derived from it falls under it too"
)

TRAIN = (
    "FaceTalk_170728_03272_TA",
    "FaceTalk_170904_00128_TA",
    "FaceTalk_170725_00137_TA",
    "FaceTalk_170915_00223_TA",
    "FaceTalk_170811_03274_TA",
    "FaceTalk_170913_03279_TA",
    "FaceTalk_170904_03276_TA",
    "FaceTalk_170912_03278_TA",
)
VALIDATION = ("FaceTalk_170811_03275_TA", "FaceTalk_170908_03277_TA")
TEST = ("FaceTalk_170809_00138_TA", "FaceTalk_170731_00024_TA")
SENTENCES = tuple(f"sentence{number:02d}" for number in range(1, 41))

_FILES = {
    "data_verts.npy": "vertices of all frames",
    "raw_audio_fixed.pkl": "the sound",
    "templates.pkl": "neutral faces",
    "subj_seq_to_idx.pkl": "which frames belong to which sentence",
}
_AGAIN = "download «Training Data» (about 8 GB) at voca.is.tue.mpg.de and unpack it here"
_FAR_M = 0.05  # on average between a clip's first frame and its subject's template


@dataclass
class _Tables:
    """The four files, opened."""

    vertices: np.ndarray
    audio: dict[str, Any]
    templates: dict[str, np.ndarray]
    frames: dict[str, Any]


def split_of(subject: str, sentence: str) -> str | None:
    """Return the split of a sentence: 1-40 of training subjects, 21-40 of the others."""
    if subject in TRAIN:
        return "train"
    if sentence not in SENTENCES[20:]:
        return None
    return "validation" if subject in VALIDATION else "test"


def inspect_vocaset(
    folder: Path, topology: Path | None = None, vertices: int = VERTICES
) -> tuple[Inspection, MeshSource | None]:
    """Look at a download; return what is wrong with it and, where it can be used, its clips."""
    report = Inspection(folder)
    tables = _open_tables(report, vertices)
    if tables is None:
        return report, None
    report.facts.append(
        f"data_verts.npy: {len(tables.vertices)} frames of {vertices} vertices at {SOURCE_FPS} "
        f"frames a second ({len(tables.vertices) / SOURCE_FPS / 60:.1f} min)"
    )
    clips = _plan_clips(report, tables)
    mesh = find_topology(folder, topology)
    triangles = _read_topology(report, mesh, vertices)
    full = {"train": 320, "validation": 40, "test": 40}
    report.count_splits(clips, full, "subj_seq_to_idx.pkl", _AGAIN)
    files = [folder / name for name in _FILES] + ([mesh] if mesh else [])
    subjects = [s for s in (*TRAIN, *VALIDATION, *TEST) if s in tables.templates]
    source = MeshSource(
        dataset="vocaset",
        fps=SOURCE_FPS / STRIDE,
        unit="m",
        license=LICENSE,
        styles=TRAIN,
        templates={subject: tables.templates[subject] for subject in subjects},
        triangles=triangles,
        clips=clips,
        files=files,
    )
    return report, source


def find_topology(folder: Path, topology: Path | None) -> Path | None:
    """Return the mesh with the triangles: the one given, else the only .ply or .obj around."""
    if topology is not None:
        return topology
    patterns = ("*.ply", "templates/*.ply", "template/*.ply", "*.obj", "templates/*.obj")
    return next((path for pattern in patterns for path in sorted(folder.glob(pattern))), None)


def _read_topology(report: Inspection, mesh: Path | None, vertices: int) -> np.ndarray:
    none = np.zeros((0, 3), np.int32)
    remedy = "put FLAME_sample.ply (github.com/TimoBolkart/voca, template/) here, or --topology"
    if mesh is None:
        report.note(report.folder, f"no .ply with the triangles: {remedy}, for pictures")
        return none
    try:
        points, triangles = read_mesh(mesh)
    except CorpusError as error:
        report.error(mesh, str(error), remedy)
        return none
    if len(points) != vertices:
        report.error(mesh, f"has {len(points)} vertices, expected {vertices}", remedy)
        return none
    return triangles


# ---- The four files ----------------------------------------------------------------------------


def _open_tables(report: Inspection, vertices: int) -> _Tables | None:
    for name, meaning in _FILES.items():
        path = report.folder / name
        if not path.is_file():
            report.error(path, f"missing ({meaning})", _AGAIN)
        elif (stray := describe_stray(path)) is not None:
            report.error(path, stray)
    if report.errors:
        return None
    readers: dict[str, Callable[[Path], Any]] = {
        "data_verts.npy": partial(_open_vertices, vertices=vertices),
        "raw_audio_fixed.pkl": _read_table,
        "templates.pkl": partial(_read_templates, vertices=vertices),
        "subj_seq_to_idx.pkl": _read_table,
    }
    opened = {}
    for name, reader in readers.items():
        try:
            opened[name] = reader(report.folder / name)
        except CorpusError as error:
            report.error(name, str(error), _AGAIN)
    if report.errors:
        return None
    return _Tables(*opened.values())


def _open_vertices(path: Path, vertices: int) -> np.ndarray:
    array = map_array(path)
    if array.ndim != 3 or array.shape[1:] != (vertices, 3) or not len(array):
        raise CorpusError(
            f"has the shape {list(array.shape)}, expected [frames, {vertices}, 3]: "
            "another data set, or vertices of another topology"
        )
    if array.dtype.kind != "f":
        raise CorpusError(f"holds {array.dtype}, expected float32")
    return array


def _read_table(path: Path) -> dict[str, Any]:
    """Read {subject: {sentence: ...}}."""
    table = load_pickle(path)
    if not isinstance(table, dict) or not all(isinstance(rows, dict) for rows in table.values()):
        raise CorpusError(f"holds a {type(table).__name__}, expected {{subject: {{sentence: …}}}}")
    return table


def _read_templates(path: Path, vertices: int) -> dict[str, np.ndarray]:
    table = load_pickle(path)
    if not isinstance(table, dict):
        raise CorpusError(f"holds a {type(table).__name__}, expected {{subject: vertices}}")
    templates = {}
    for subject, points in table.items():
        array = np.asarray(points)
        if array.shape != (vertices, 3) or array.dtype.kind != "f":
            raise CorpusError(
                f"{subject} has {list(array.shape)} {array.dtype}, expected [{vertices}, 3] floats"
            )
        templates[str(subject)] = array.astype(np.float32)
    return templates


# ---- The clips ---------------------------------------------------------------------------------


def _plan_clips(report: Inspection, tables: _Tables) -> list[PlannedClip]:
    clips = []
    known = (*TRAIN, *VALIDATION, *TEST)
    strange = [name for name in tables.frames if name not in known]
    if strange:
        report.warn(
            "subj_seq_to_idx.pkl",
            f"subjects that VOCASET does not have are left out: {name_some(map(str, strange))}",
        )
    for name, table in (
        ("subj_seq_to_idx.pkl", tables.frames),
        ("raw_audio_fixed.pkl", tables.audio),
        ("templates.pkl", tables.templates),
    ):
        missing = [subject for subject in known if subject not in table]
        if missing:
            report.warn(
                name,
                f"{len(missing)} of {len(known)} subjects are missing, so left out: "
                f"{name_some(missing)}",
                _AGAIN,
            )
    for subject in known:
        if not all(subject in t for t in (tables.frames, tables.audio, tables.templates)):
            continue
        absent = []
        for sentence in SENTENCES:
            split = split_of(subject, sentence)
            if split is None:
                continue
            if sentence not in tables.frames[subject] or sentence not in tables.audio[subject]:
                absent.append(sentence)
                continue
            clip = _plan_clip(report, tables, subject, sentence, split)
            if clip is not None:
                clips.append(clip)
        if absent:
            report.warn(f"{subject}", f"without frames or sound: {name_some(absent)}")
    return clips


def _plan_clip(
    report: Inspection, tables: _Tables, subject: str, sentence: str, split: str
) -> PlannedClip | None:
    name = f"{subject}_{sentence}"
    try:
        rows = _frame_rows(report, name, tables.frames[subject][sentence], len(tables.vertices))
        samples, rate_hz = _sound_of(tables.audio[subject][sentence])
    except CorpusError as error:
        report.error(name, str(error), _AGAIN)
        return None
    mismatch = describe_mismatch(len(samples) / rate_hz, len(rows) / SOURCE_FPS)
    if mismatch is not None:
        impossible, told = mismatch
        if impossible:
            report.error(name, f"{told}: not the same sentence?", _AGAIN)
            return None
        report.warn(name, f"{told}: cut to the shorter")
    away = np.abs(tables.vertices[rows[0]] - tables.templates[subject])
    distance_m = float(np.linalg.norm(away, axis=1).mean())
    if not distance_m <= _FAR_M:
        report.error(
            name,
            f"its first frame lies {distance_m * 1000:.0f} mm from its subject's template on "
            f"average, expected under {_FAR_M * 1000:.0f}: other units, or mislabeled",
            _AGAIN,
        )
        return None
    kept = rows[::STRIDE]
    frames = min(len(kept), -(-len(samples) * SOURCE_FPS // (rate_hz * STRIDE)))
    return PlannedClip(
        name=name,
        subject=subject,
        sentence=sentence,
        split=split,
        frames=frames,
        read_audio=partial(_read_audio, samples, rate_hz),
        read_frames=partial(_read_frames, tables.vertices, kept[:frames]),
    )


def _frame_rows(report: Inspection, name: str, table: Any, total: int) -> np.ndarray:
    """Return the row of data_verts.npy for each frame; missing frames repeat the one before."""
    try:
        pairs = sorted((int(frame), int(row)) for frame, row in table.items())
    except (AttributeError, TypeError, ValueError) as error:
        raise CorpusError(f"subj_seq_to_idx.pkl: expected {{frame: index}} ({error})") from error
    if not pairs or pairs[0][0] < 0:
        raise CorpusError("subj_seq_to_idx.pkl: no frames, or negative ones")
    frames, rows = np.array(pairs).T
    if rows.min() < 0 or rows.max() >= total:
        raise CorpusError(
            f"subj_seq_to_idx.pkl names row {rows.max()}, data_verts.npy has {total}: "
            "cut short, or of another release"
        )
    last = int(frames[-1])
    if last + 1 > 2 * len(frames):
        raise CorpusError(f"subj_seq_to_idx.pkl: {len(frames)} frames spread over {last + 1}")
    if last + 1 != len(frames):
        report.note(name, f"{last + 1 - len(frames)} missing frames repeat the one before")
    before = np.searchsorted(frames, np.arange(last + 1), side="right") - 1
    return rows[np.maximum(before, 0)]


def _sound_of(entry: Any) -> tuple[np.ndarray, int]:
    """Return samples as stored, [n] or [n, channels], and their rate in Hz."""
    try:
        samples, rate_hz = check_samples(entry["audio"]), int(entry["sample_rate"])
    except (KeyError, TypeError, ValueError, AudioError) as error:
        raise CorpusError(
            f"raw_audio_fixed.pkl: expected {{'audio': samples, 'sample_rate': Hz}} ({error})"
        ) from error
    if not 8000 <= rate_hz <= 192000 or len(samples) < rate_hz // 10:
        raise CorpusError(f"raw_audio_fixed.pkl: {len(samples)} samples at {rate_hz} Hz")
    return samples, rate_hz


def _read_audio(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    return to_corpus_rate(mix_to_mono(samples)[0], rate_hz)


def _read_frames(vertices: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    for row in rows:
        yield np.asarray(vertices[row], np.float32)
