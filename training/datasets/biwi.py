"""Reads BIWI's audiovisual corpus as distributed, and as CodeTalker's scripts leave it.

Subjects, split and normalization are those of FaceFormer and CodeTalker. docs/datasets.md tells
what of this could be checked against public sources and what is assumed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.errors import DualtalkerError
from training.data import CorpusError
from training.datasets.biwi_frames import (
    Normalizer,
    find_frames,
    find_prepared,
    measure_scale,
    normalize_all,
)
from training.datasets.meshes import read_mesh
from training.datasets.pickles import load_pickle
from training.datasets.soundtracks import measure_duration_s, read_soundtrack
from training.datasets.sources import (
    Inspection,
    MeshSource,
    PlannedClip,
    describe_mismatch,
    describe_stray,
    name_some,
)

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
_AGAIN = "ask the authors for the corpus (data.vision.ee.ethz.ch) or copy the file again"


def split_of(subject: str, sentence: str) -> str | None:
    """Return the split: 1-32, 33-36, 37-40 (test-a) of seen subjects, 37-40 (test-b) of others."""
    number = int(sentence[1:])
    if subject in UNSEEN:
        return "test-b" if number >= 37 else None
    return "train" if number <= 32 else "validation" if number <= 36 else "test-a"


# ---- The download ------------------------------------------------------------------------------


def inspect_biwi(
    folder: Path,
    normalization: str = "area",
    topology: Path | None = None,
    vertices: int = VERTICES,
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
    full = {"train": 192, "validation": 24, "test-a": 24, "test-b": 32}
    report.count_splits(clips, full, folder, _AGAIN)
    if not prepared:
        _note_neutral(report)
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
                read_audio=partial(read_soundtrack, audio),
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


def _note_neutral(report: Inspection) -> None:
    folders: list[Any] = [*(report.folder / "faces").glob("*/[0-9][0-9]")]
    if folders:
        report.note(
            "faces", f"{len(folders)} neutral sentences (01-40) are left out, as in papers"
        )
