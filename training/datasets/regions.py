"""Which vertices of a template are the lips and the upper face: from a file, else from geometry.

Rigs with blendshapes have `dualtalker.rig.landmarks`; the templates here have none.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.files import check_file, read_json
from training.data import CorpusError, VertexSet, map_array
from training.datasets.pickles import load_pickle
from training.datasets.sources import Inspection, MeshSource

# The radius gives FLAME's published lip set best (93 % of ours are in it, 69 % of it in ours);
# the box is that of the published upper-face sets of FLAME and BIWI. All in mouth widths.
LIP_RADIUS = 0.5
UPPER_HEIGHT = 1.75
UPPER_DEPTH = 1.5
UPPER_HALF_WIDTH = 1.5

_NEIGHBORS = 8
_MAX_BYTES = 1 << 26
_PARTING_SHARE = 0.3
_PARTING_LEAST = 0.01  # of the template's width: less is noise of the tracking

_SAMPLED_CLIPS, _SAMPLED_EVERY = 12, 5  # where the lips must be found by how they move

# Files of vertex indices that are used where they lie in the data set's folder.
_LIP_FILES = ("FLAME_masks.pkl", "lips.txt", "lips.npy", "regions/lve.txt")
_UPPER_FILES = ("FLAME_masks.pkl", "upper_face.txt", "upper_face.npy", "regions/fdd.txt")

_LIP_KEYS = ("lips", "lip", "mouth", "lip_vertices")
_UPPER_KEYS = ("upper_face", "upper", "upper_face_vertices")
_UPPER_PARTS = ("eye_region", "forehead")  # of FLAME_masks.pkl, whose regions overlap


def choose_regions(
    report: Inspection,
    source: MeshSource | None,
    lips: Path | None = None,
    upper_face: Path | None = None,
) -> tuple[VertexSet, VertexSet]:
    """Return lips and upper face: from files that are given or lie there, else computed.

    Which was used joins the facts of the report.
    """
    none = VertexSet(np.zeros(0, np.int32), "none")
    if source is None or not source.templates:
        return none, none
    template = next(iter(source.templates.values()))
    chosen: dict[str, VertexSet] = {}
    for part, given, usual in (
        ("lips", lips, _LIP_FILES),
        ("upper_face", upper_face, _UPPER_FILES),
    ):
        path = given or next((p for n in usual if (p := report.folder / n).is_file()), None)
        if path is not None:
            try:
                chosen[part] = read_vertex_set(path, part, len(template))
            except CorpusError as error:
                report.error(path, str(error))
                chosen[part] = none
    if len(chosen) < 2:
        try:
            computed = _compute_regions(source, template)
            chosen = {**dict(zip(("lips", "upper_face"), computed, strict=True)), **chosen}
        except CorpusError as error:
            report.warn("lips", str(error))
    for part in ("lips", "upper_face"):
        found = chosen.setdefault(part, none)
        if not len(found.indices):
            report.warn(
                part,
                "no vertex set: LVE and FDD cannot be measured",
                f"give --{part.replace('_', '-')} FILE, or the triangles with --topology FILE",
            )
        report.facts.append(f"{part}: {len(found.indices)} vertices ({found.source})")
    return chosen["lips"], chosen["upper_face"]


def _compute_regions(source: MeshSource, template: np.ndarray) -> tuple[VertexSet, VertexSet]:
    """Return lips and upper face from the triangles, else from how some frames move."""
    if len(source.triangles):
        return find_regions(template, source.triangles)
    spread = source.clips[:: max(1, len(source.clips) // _SAMPLED_CLIPS)]
    return find_regions_by_motion(
        template,
        (
            (source.templates[clip.subject], frame)
            for clip in spread
            for frame in itertools.islice(clip.read_frames(), 0, None, _SAMPLED_EVERY)
        ),
    )


def read_vertex_set(path: Path, part: str, vertex_count: int) -> VertexSet:
    """Read a set of vertex indices, numbered from 0, for `part` "lips" or "upper_face".

    .txt: numbers parted by commas or white space (as CodeTalker's lve.txt and fdd.txt).
    .npy: integer [n], or bool [V]. .json: a list, or an object with the part's name.
    .pkl: FLAME_masks.pkl (lips; upper face is eye_region with forehead), or a plain array.
    """
    suffix = path.suffix.lower()
    check_file(path, CorpusError, "a .txt, .npy, .json or .pkl of indices", _MAX_BYTES)
    try:
        if suffix == ".txt":
            text = path.read_text(encoding="utf-8")
            found: Any = [int(word) for word in re.split(r"[,\s]+", text) if word]
        elif suffix == ".npy":
            found = map_array(path)
        elif suffix == ".json":
            found = _pick(read_json(path, _MAX_BYTES), part)
        elif suffix == ".pkl":
            found = _pick(load_pickle(path), part)
        else:
            raise ValueError(f"ending {suffix!r}, expected .txt, .npy, .json or .pkl")
        indices = _as_indices(found, vertex_count)
    except (CorpusError, ValueError, TypeError, OSError) as error:
        raise CorpusError(f"{path}: no set of vertices ({error})") from error
    return VertexSet(indices, f"file {path.name}")


def _pick(content: Any, part: str) -> Any:
    """Return the entry of a dictionary that means the part; anything else as it is."""
    if not isinstance(content, dict):
        return content
    for key in _LIP_KEYS if part == "lips" else _UPPER_KEYS:
        if key in content:
            return content[key]
    parts = [content[key] for key in _UPPER_PARTS if key in content]
    if part == "upper_face" and parts:
        return np.concatenate([np.asarray(indices).reshape(-1) for indices in parts])
    raise ValueError(f"found the regions {sorted(map(str, content))}, none of which is the {part}")


def _as_indices(found: Any, vertex_count: int) -> np.ndarray:
    array = np.asarray(found).reshape(-1)
    if array.dtype == np.bool_:
        if len(array) != vertex_count:
            raise ValueError(f"a mask of {len(array)} vertices, the template has {vertex_count}")
        array = np.flatnonzero(array)
    if array.dtype.kind not in "iu" or not len(array):
        raise ValueError(f"{len(array)} entries of type {array.dtype}, expected whole numbers")
    if array.min() < 0 or array.max() >= vertex_count:
        raise ValueError(
            f"indices {array.min()} to {array.max()}, the template has {vertex_count} vertices: "
            "a set of another topology?"
        )
    return np.unique(array).astype(np.int32)


def find_regions(template: np.ndarray, triangles: np.ndarray) -> tuple[VertexSet, VertexSet]:
    """Return lips and upper face of a template [V, 3] with triangles [T, 3]; y up, z to the front.

    The mouth is the mesh's opening between the lips: of the closed chains of edges that belong to
    one triangle only, the widest that lies across the face's middle and is not the outer border.
    Lips are the vertices no farther from it, along edges, than half the mouth's width. The upper
    face is what lies above the tip of the nose (the foremost vertex of that surface): up to 1.75
    mouth widths above, 1.5 behind and 1.5 to either side. Raises `CorpusError` where the mesh has
    no such opening.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components, dijkstra

    mouth = _find_mouth(template, triangles)
    width = float(np.ptp(template[mouth, 0]))
    edges, _ = _count_edges(triangles, len(template))
    lengths = np.linalg.norm(template[edges[:, 0]] - template[edges[:, 1]], axis=1)
    shape = (len(template), len(template))
    graph = coo_matrix((lengths, (edges[:, 0], edges[:, 1])), shape=shape).tocsr()
    away = dijkstra(graph, directed=False, indices=mouth, min_only=True, limit=LIP_RADIUS * width)
    lips = np.flatnonzero(np.isfinite(away))

    _, surface = connected_components(graph, directed=False)
    skin = surface == surface[mouth[0]]  # not the eyeballs, which are surfaces of their own
    upper = _find_upper_face(template, skin, width, lips)
    return (
        VertexSet(lips.astype(np.int32), "computed: mouth opening"),
        VertexSet(upper, "computed: above the nose"),
    )


def find_regions_by_motion(
    template: np.ndarray, samples: Iterable[tuple[np.ndarray, np.ndarray]]
) -> tuple[VertexSet, VertexSet]:
    """Return lips and upper face of a template [V, 3] without triangles, from frames of speech.

    samples: pairs of a subject's template and one of its frames, [V, 3] each. What lies together
    in a template and parts in speech is the mouth: for each vertex, by how much the distance to
    one of its 8 nearest neighbors grows at most; the mouth is where that is at least 0.3 of the
    largest such growth. Lips and upper face then as in `find_regions`, with straight distances.
    Raises `CorpusError` where nothing parts.
    """
    from scipy.spatial import cKDTree

    growth = np.zeros(len(template))
    below = template[:, 1] < template[np.argmax(template[:, 2]), 1]  # the tip of the nose
    near: np.ndarray | None = None
    for neutral, frame in samples:
        if near is None:
            near = cKDTree(neutral).query(neutral, k=_NEIGHBORS + 1)[1][:, 1:]
        before = np.linalg.norm(neutral[:, None] - neutral[near], axis=2)
        after = np.linalg.norm(frame[:, None] - frame[near], axis=2)
        growth = np.maximum(growth, (after - before).max(axis=1))
    growth[~below] = 0.0  # lids part as well
    mouth = np.flatnonzero(growth >= _PARTING_SHARE * growth.max())
    width = float(np.ptp(template[mouth, 0]))
    if growth.max() < _PARTING_LEAST * np.ptp(template[:, 0]) or width <= 0:
        raise CorpusError("no lips part in these frames, so the mouth cannot be found")
    away, _ = cKDTree(template[mouth]).query(template)
    lips = np.flatnonzero(away <= LIP_RADIUS * width)
    upper = _find_upper_face(template, np.ones(len(template), bool), width, lips)
    return (
        VertexSet(lips.astype(np.int32), "computed: where speech parts the face"),
        VertexSet(upper, "computed: above the nose"),
    )


def _find_upper_face(
    template: np.ndarray, skin: np.ndarray, width: float, lips: np.ndarray
) -> np.ndarray:
    """Return the vertices of `skin` above the foremost one, in a box of mouth widths around it."""
    nose = template[np.flatnonzero(skin)[np.argmax(template[skin, 2])]]
    side, above, before = (template - nose).T
    upper = skin & (above > 0) & (above <= UPPER_HEIGHT * width)
    upper &= (before >= -UPPER_DEPTH * width) & (np.abs(side) <= UPPER_HALF_WIDTH * width)
    upper[lips] = False
    return np.flatnonzero(upper).astype(np.int32)


def _find_mouth(template: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return the vertices of the opening between the lips."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges, triangles_each = _count_edges(triangles, len(template))
    border = edges[triangles_each == 1]
    if not len(border):
        raise CorpusError("the mesh is closed, so its mouth cannot be found: give --lips FILE")
    shape = (len(template), len(template))
    links = coo_matrix((np.ones(len(border)), (border[:, 0], border[:, 1])), shape=shape)
    _, chain = connected_components(links, directed=False)
    chains = [np.flatnonzero(chain == number) for number in np.unique(chain[border[:, 0]])]
    chains.sort(key=lambda c: float(np.linalg.norm(np.ptp(template[c], axis=0))))
    chains.pop()  # the outer border is the largest; eyes and nostrils lie to the sides
    middle = (template[:, 0].min() + template[:, 0].max()) / 2
    across = [
        c for c in chains if template[c, 0].min() < middle < template[c, 0].max() and len(c) > 3
    ]
    if not across:
        raise CorpusError(
            f"the mesh has {len(chains)} openings, none across its middle, so its mouth cannot "
            "be found: give --lips FILE"
        )
    return max(across, key=lambda c: float(np.ptp(template[c, 0])))


def _count_edges(triangles: np.ndarray, vertex_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges [E, 2], each once, and how many triangles each belongs to [E]."""
    ends = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64), axis=1)
    # One number an edge: sorting pairs takes ten times as long.
    codes, counts = np.unique(ends[:, 0] * vertex_count + ends[:, 1], return_counts=True)
    return np.stack([codes // vertex_count, codes % vertex_count], axis=1), counts
