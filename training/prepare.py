"""Turns data sets as they are distributed into clips for training. Only the order of work is here.

    python -m training.prepare vocaset DIR --check
    python -m training.prepare vocaset DIR OUT
    python -m training.prepare biwi DIR OUT --lips BIWI/regions/lve.txt
    python -m training.prepare arkit DIR OUT --holdout 'MySlate_9*'
    python -m training.prepare video DIR OUT --landmarker face_landmarker.task

A second run continues where the first one stopped, or does nothing where all is done.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from dualtalker.audio import import_av
from dualtalker.errors import DualtalkerError
from dualtalker.files import claim_folder, ending_in_order, sha256
from training.data import CorpusError, VertexSet
from training.data import clips as arkit_clips
from training.data import mesh_clips as vertex_clips
from training.datasets import (
    Inspection,
    MeshSource,
    PlannedClip,
    biwi,
    choose_regions,
    landmarks,
    lip_tracks,
    videos,
    vocaset,
)
from training.datasets import live_link as captures

CONVERTER_VERSION = 1  # raised whenever the same files would give other clips


@dataclass(frozen=True)
class Preparation:
    """What all data sets have in common."""

    folder: tyro.conf.Positional[Path]
    """Where the download lies."""
    out: tyro.conf.Positional[Path | None] = None
    """Where the clips go; not needed with --check."""
    check: bool = False
    """Only report what is there and what is wrong."""
    skip_bad: bool = False
    """Leave out what is broken instead of stopping."""


@dataclass(frozen=True)
class MeshPreparation(Preparation):
    """What recordings of vertices have in common."""

    topology: Path | None = None
    """A .ply or .obj with the triangles; by default one that lies in the folder."""
    lips: Path | None = None
    """Lip vertices: .txt, .npy, .json, or FLAME_masks.pkl; by default found or computed."""
    upper_face: Path | None = None
    """Upper-face vertices: the same kinds of file."""


@dataclass(frozen=True)
class VocasetPreparation(MeshPreparation):
    """VOCASET: data_verts.npy, raw_audio_fixed.pkl, templates.pkl, subj_seq_to_idx.pkl."""

    vertices: int = vocaset.VERTICES
    """Vertices of the topology."""


@dataclass(frozen=True)
class BiwiPreparation(MeshPreparation):
    """BIWI: faces/, rigid_scans/ and wav/; or vertices_npy/, templates.pkl and wav/."""

    normalization: str = "area"
    """"area": as in CodeTalker's numbers; "none": as recorded, turned upright."""
    vertices: int = biwi.VERTICES
    """Vertices of the topology."""


@dataclass(frozen=True)
class ArkitPreparation(captures.CaptureOptions, Preparation):
    """ARKit weights beside their sound: Live Link Face takes, or CSVs of `dualtalker animate`."""


@dataclass(frozen=True)
class VideoPreparation:
    """Videos of one talking face each: to tracks of the lips, for `training.corpus --lips`.

    A subfolder of DIR holds the videos of one talker; NAME.txt beside NAME.mp4 holds the words.
    """

    folder: tyro.conf.Positional[Path]
    """Where the videos lie."""
    out: tyro.conf.Positional[Path | None] = None
    """Where TALKER.npz and TALKER/CLIP.ogg go; not needed with --check."""
    check: bool = False
    """Only report how good the videos are; what lies in OUT already is not measured again."""
    landmarker: Path | None = None
    """MediaPipe's face_landmarker.task."""
    talker: str | None = None
    """Whose face the videos in DIR itself show; by default DIR's name."""
    offset_ms: float = 0.0
    """How late the sound is against the picture in all videos; it is moved by as much."""


def prepare_meshes(config: VocasetPreparation | BiwiPreparation) -> int:
    """Check and convert VOCASET or BIWI; return the exit status."""
    if isinstance(config, BiwiPreparation):
        if config.normalization not in biwi.NORMALIZATIONS:
            raise CorpusError(
                f"normalization is {config.normalization!r}, expected one of {biwi.NORMALIZATIONS}"
            )
        report, source = biwi.inspect_biwi(
            config.folder, config.normalization, config.topology, config.vertices
        )
    else:
        report, source = vocaset.inspect_vocaset(config.folder, config.topology, config.vertices)
    lips, upper_face = choose_regions(report, source, config.lips, config.upper_face)
    if not _may_go_on(report, config, source is not None and bool(source.clips)):
        return 0 if config.check and not report.errors else 2
    assert source is not None
    out = _demand_out(config)
    plan = _plan_of(source, config)
    if _is_complete(out, plan, source.clips, lips, upper_face):
        print(f"{out}: already complete, nothing to do")
        return 0
    _check_space(out, source)
    _write_meshes(out, source, plan)
    index = vertex_clips.write_corpus(
        out,
        [clip.name for clip in source.clips],
        source.templates,
        source.triangles,
        lips,
        upper_face,
        {
            "dataset": source.dataset,
            "fps": source.fps,
            "unit": source.unit,
            "license": source.license,
            "styles": list(source.styles),
            "plan": plan,
            **source.options,
        },
    )
    counts = ", ".join(f"{split} {len(names)}" for split, names in index["splits"].items())
    print(f"{out}: {counts}; {index['hours']:.2f} h, digest {index['digest'][:12]}")
    return 0


def prepare_captures(config: ArkitPreparation) -> int:
    """Check and convert a folder of ARKit recordings; return the exit status."""
    report = Inspection(config.folder)
    takes = captures.find_takes(report, config.speaker)
    files = [path for take in takes for path in (take.motion, take.sound)]
    options = {
        f.name: getattr(config, f.name) for f in dataclasses.fields(captures.CaptureOptions)
    }
    settings = {**options, "version": CONVERTER_VERSION}
    stamps = _stamps(config.folder, files)
    plan = sha256("\n".join([json.dumps(settings, sort_keys=True), *stamps]))
    if not config.check and _captures_complete(_demand_out(config), plan):
        print(f"{config.out}: already complete, nothing to do")
        return 0
    moving = captures.find_moving(takes, config, report)
    names = [take.name for take in takes]
    for pattern in (p for p in config.holdout if not fnmatch.filter(names, p)):
        report.error("--holdout", f"no take fits {pattern!r}", "see the names below")
    aligned = _convert_takes(report, config, takes, moving)
    if not _may_go_on(report, config, bool(aligned)):
        return 0 if config.check and not report.errors else 2
    out = _demand_out(config)
    index = arkit_clips.write_index(out, {"plan": plan, "takes": aligned})
    print(f"{out}: {len(aligned)} clips, digest {index['digest'][:12]}")
    return 0


def prepare_videos(config: VideoPreparation) -> int:
    """Measure, judge and write the talkers of a folder; return the exit status."""
    found = sorted(videos.find_videos(config.folder, config.talker), key=lambda v: v.talker)
    model = landmarks.check_landmarker(config.landmarker)
    import_av(f"{config.folder}: a video", CorpusError)
    if not config.check:
        claim_folder(_demand_out(config), f"*/{lip_tracks.TRACKS_NAME}")
    work = lip_tracks.LipWork(config.folder, config.out, config.check, model, config.offset_ms)
    good = 0
    for talker, group in itertools.groupby(found, key=lambda video: video.talker):
        good += lip_tracks.prepare_talker(work, talker, list(group))
    return 0 if good else 2


@ending_in_order()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; what is wrong with the data is told without a traceback, status 2."""
    config = tyro.cli(
        Annotated[VocasetPreparation, tyro.conf.subcommand("vocaset")]
        | Annotated[BiwiPreparation, tyro.conf.subcommand("biwi")]
        | Annotated[ArkitPreparation, tyro.conf.subcommand("arkit")]
        | Annotated[VideoPreparation, tyro.conf.subcommand("video")],  # type: ignore[arg-type]
        prog="python -m training.prepare",
        description=__doc__,
        args=arguments,
    )
    try:
        if not config.folder.is_dir():
            raise CorpusError(f"{config.folder} is no folder: give the one with the download")
        if isinstance(config, ArkitPreparation):
            return prepare_captures(config)
        if isinstance(config, VideoPreparation):
            return prepare_videos(config)
        return prepare_meshes(config)
    except (DualtalkerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


# ---- Common ------------------------------------------------------------------------------------


def _may_go_on(report: Inspection, config: Preparation, anything: bool) -> bool:
    """Print the report; tell whether to convert now."""
    for line in report.lines():
        print(line)
    count = len(report.errors)
    if config.check:
        print(f"{config.folder}: {'usable' if not count else f'{count} errors'} (only checked)")
        return False
    if count and not (config.skip_bad and anything):
        remedy = ", or leave them out with --skip-bad" if anything else ""
        print(f"{config.folder}: {count} errors, nothing written; mend them{remedy}")
        return False
    return anything


def _demand_out(config: Preparation | VideoPreparation) -> Path:
    if config.out is None:
        raise CorpusError("give OUT, the folder for the clips, or --check to look only")
    return config.out


def _stamps(folder: Path, files: Sequence[Path]) -> list[str]:
    """Return names, sizes and dates of files: equal ones are taken to be unchanged."""
    stamps = []
    for path in files:
        stat = path.stat()
        where = path.relative_to(folder) if path.is_relative_to(folder) else path
        stamps.append(f"{where} {stat.st_size} {stat.st_mtime_ns}")
    return stamps


# ---- Meshes ------------------------------------------------------------------------------------


def _plan_of(source: MeshSource, config: VocasetPreparation | BiwiPreparation) -> str:
    settings = {
        "dataset": source.dataset,
        "normalization": source.options.get("normalization"),
        "vertices": config.vertices,
        "version": CONVERTER_VERSION,
        "clips": [clip.name for clip in source.clips],
    }
    return sha256("\n".join([json.dumps(settings), *_stamps(config.folder, source.files)]))


def _is_complete(
    out: Path, plan: str, clips: list[PlannedClip], lips: VertexSet, upper_face: VertexSet
) -> bool:
    path = out / vertex_clips.INDEX_NAME
    if not path.is_file():
        return False
    corpus = vertex_clips.read_corpus(out)
    same = corpus.index.get("plan") == plan and len(corpus.index["clips"]) == len(clips)
    for before, now in ((corpus.lips, lips), (corpus.upper_face, upper_face)):
        same = same and before.source == now.source
        same = same and np.array_equal(before.indices, now.indices)
    return same and vertex_clips.files_complete(out, corpus.index)


def _check_space(out: Path, source: MeshSource) -> None:
    """Raise `CorpusError` where the disk cannot hold the clips."""
    vertices = len(next(iter(source.templates.values())))
    needed = sum(clip.frames for clip in source.clips) * vertices * 12
    claim_folder(out, "clips/*.vertices.npy")
    there = sum(path.stat().st_size for path in out.glob("clips/*.vertices.npy"))
    free = shutil.disk_usage(out).free
    if needed - there > free:
        raise CorpusError(
            f"{out}: {(needed - there) / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free"
        )


def _write_meshes(out: Path, source: MeshSource, plan: str) -> None:
    from tqdm import tqdm

    (out / vertex_clips.INDEX_NAME).unlink(missing_ok=True)  # until all of it is true again
    vertices = len(next(iter(source.templates.values())))
    for clip in tqdm(source.clips, desc=source.dataset, unit="clip"):
        if vertex_clips.is_written(out, clip.name, plan):
            continue
        vertex_clips.write_clip(
            out,
            clip.name,
            clip.read_audio(),
            clip.read_frames(),
            (clip.frames, vertices, 3),
            subject=clip.subject,
            sentence=clip.sentence,
            split=clip.split,
            fps=str(source.fps),
            plan=plan,
        )


# ---- ARKit -------------------------------------------------------------------------------------


def _captures_complete(out: Path, plan: str) -> bool:
    if not (out / arkit_clips.INDEX_NAME).is_file():
        return False
    index = arkit_clips.read_index(out)
    return index.get("plan") == plan and all(
        (out / shard["file"]).is_file() for shard in index["shards"]
    )


def _convert_takes(
    report: Inspection,
    config: ArkitPreparation,
    takes: Sequence[captures.Take],
    moving: dict[str, np.ndarray],
) -> dict[str, Any]:
    """Read every take and, unless only checking, write it as one shard; one is held at a time.

    Shards only count once index.json lists them, so what was written before an error is harmless.
    """
    from tqdm import tqdm

    if not config.check:
        stems = {take.name for take in takes}
        arkit_clips.refuse_foreign_shards(_demand_out(config), stems)
        arkit_clips.claim_clips(_demand_out(config))
        (_demand_out(config) / arkit_clips.INDEX_NAME).unlink(missing_ok=True)
    told: dict[str, Any] = {}
    for take in tqdm(takes, desc="arkit", unit="take", disable=not takes):
        mask = moving.get(take.speaker)
        aligned = None
        if mask is not None:
            aligned = captures.read_take(take, mask, config, report)
        if aligned is None:
            continue
        if not config.check:
            arkit_clips.write_shard(_demand_out(config), take.name, [aligned.clip])
        told[take.name] = {
            "offset_ms": round(aligned.offset.offset_ms, 1),
            "correlation": round(aligned.offset.correlation, 3),
            "confidence": round(aligned.offset.confidence, 2),
            "applied_ms": aligned.applied_ms,
            "rate_hz": round(aligned.timing.rate_hz, 3),
            "dropped_frames": aligned.timing.dropped,
        }
    return told


if __name__ == "__main__":
    sys.exit(main())
