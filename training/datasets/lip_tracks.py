"""The work on a talker's videos: each is measured once, judged, and written as a track of lips.

TALKER.npz and TALKER/CLIP.ogg are what `training.corpus --lips` reads. TALKER/CLIP.npz keeps what
was measured of a video, good or not; TALKER/tracks.json tells of what all was made, and why a
clip was refused.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import DualtalkerError
from dualtalker.files import read_json, sha256, sha256_of_file, write_whole, written_whole
from training.data import ARCHIVE_ERRORS, SAMPLE_RATE_HZ, CorpusError, open_measures
from training.datasets.landmarks import LANDMARK_INDEX, NoLandmarker, Track, measure_track
from training.datasets.lip_quality import (
    Quality,
    describe_clip,
    describe_offset,
    head_table,
    measure_quality,
    tell_faults,
)
from training.datasets.videos import Video, read_video_sound

TRACK_VERSION = 1  # raised whenever the same video would be measured otherwise
TRACKS_NAME = "tracks.json"
_MAX_RECORD_BYTES = 1 << 26


@dataclass(frozen=True)
class LipWork:
    """What is to be done with a folder of videos.

    folder: where they lie. out: where tracks go and those of before lie, None for nowhere. check:
    write nothing. landmarker: its file. offset_ms: how late the sound is, which is taken out.
    """

    folder: Path
    out: Path | None
    check: bool
    landmarker: Path
    offset_ms: float


@dataclass(frozen=True)
class _Measured:
    video: Video
    track: Track
    quality: Quality


def prepare_talker(work: LipWork, talker: str, videos: Sequence[Video]) -> int:
    """Measure what was not measured yet, tell how good it is, write it; return the good clips.

    Raises:
        CorpusError: MediaPipe or its file is missing, or OUT holds tracks of this talker that
            come from another folder.
    """
    stamps = {video.name: _stamp(video, work.landmarker) for video in videos}
    texts = [video.text for video in videos]
    plan = sha256(json.dumps([stamps, texts, work.offset_ms]))
    if not work.check and (done := _find_done(work, talker, plan)) is not None:
        print(f"{talker}: already complete, nothing to do")
        return done
    found = {video.name: _measure(work, video, stamps[video.name]) for video in videos}
    measured = [entry for entry in found.values() if isinstance(entry, _Measured)]
    unread = {name: [entry] for name, entry in found.items() if isinstance(entry, str)}
    faults = unread | _judge(talker, measured)
    for name, told in unread.items():
        print(f"{name:24s} refused: {told[0]}")
    good = sum(not told for told in faults.values())
    print(f"{talker}: {good} of {len(videos)} clips are good")
    if not work.check:
        _write(work, talker, plan, measured, faults)
    return good


def _judge(talker: str, measured: Sequence[_Measured]) -> dict[str, list[str]]:
    """Print the table of a talker; return what is wrong with each clip."""
    qualities = [entry.quality for entry in measured]
    faults = {e.video.name: tell_faults(e.quality, qualities) for e in measured}
    if measured:
        print(f"{talker}: {describe_offset(qualities)}\n{head_table()}")
    for entry in measured:
        print(describe_clip(entry.video.name, entry.quality, faults[entry.video.name]))
    return faults


# ---- One video ---------------------------------------------------------------------------------


def _stamp(video: Video, landmarker: Path) -> str:
    """Return what a track is of: equal stamps, equal tracks."""
    stat = video.path.stat()
    name, digest = video.path.name, sha256_of_file(landmarker)
    return f"{name} {stat.st_size} {stat.st_mtime_ns} {digest} {TRACK_VERSION}"


def _measure(work: LipWork, video: Video, stamp: str) -> _Measured | str:
    """Return a video's track and quality, or why there are none."""
    from tqdm import tqdm

    kept = work.out / video.talker / f"{video.name}.npz" if work.out is not None else None
    track = _load_track(kept, stamp) if kept is not None else None
    try:
        if track is None:
            with tqdm(desc=video.name, unit="frame", leave=False) as bar:
                track = measure_track(video.path, work.landmarker, bar.update)
            if kept is not None and not work.check:
                _save_track(kept, stamp, track)
        audio = _read_sound(video, track, work.offset_ms)
    except NoLandmarker:
        raise  # which is not the video's fault
    except DualtalkerError as error:
        return str(error).removeprefix(f"{video.path}: ")
    return _Measured(video, track, measure_quality(track, audio))


def _load_track(path: Path, stamp: str) -> Track | None:
    """Return the track of a video that was measured before; None where it was not, or changed."""
    try:
        with open_measures(path) as arrays:
            if str(arrays["stamp"]) != stamp:
                return None
            return Track(**{field.name: arrays[field.name] for field in dataclasses.fields(Track)})
    except ARCHIVE_ERRORS:
        return None


def _save_track(path: Path, stamp: str, track: Track) -> None:
    path.parent.mkdir(exist_ok=True)
    with written_whole(path) as part:
        np.savez(part, stamp=np.array(stamp), **vars(track))


def _read_sound(video: Video, track: Track, offset_ms: float) -> np.ndarray:
    """Return the sound of a clip as long as its picture, taken from `offset_ms` on."""
    late = round(offset_ms / 1000 * SAMPLE_RATE_HZ)
    length = round(track.duration_s * SAMPLE_RATE_HZ)
    samples = read_video_sound(video.path, length + max(0, late))
    samples = samples[late:] if late > 0 else np.pad(samples, (-late, 0))
    return samples[:length]


# ---- Files of a talker -------------------------------------------------------------------------


def _find_done(work: LipWork, talker: str, plan: str) -> int | None:
    """Return how many clips are there already; None where anything is missing or changed.

    Raises:
        CorpusError: tracks of the same name come from another folder.
    """
    assert work.out is not None
    path = work.out / talker / TRACKS_NAME
    if not path.is_file():
        return None
    try:
        record = read_json(path, _MAX_RECORD_BYTES)
        folder, before, clips = record["folder"], record["plan"], record["clips"]
        good = [name for name, told in clips.items() if not told["refused"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorpusError(f"{path} is not what was written ({error!r}): delete it") from error
    if folder != str(work.folder.resolve()):
        raise CorpusError(
            f"{work.out / talker}.npz holds videos of {folder}: give another OUT, or the talker "
            "another name"
        )
    files = [path.with_name(f"{name}.ogg") for name in good]
    whole = all(file.is_file() for file in [*files, *([_tracks(work, talker)] if good else [])])
    return len(good) if before == plan and whole else None


def _write(
    work: LipWork,
    talker: str,
    plan: str,
    measured: Sequence[_Measured],
    faults: Mapping[str, list[str]],
) -> None:
    """Write the sound and the tracks of what is good, and at last what all was made of."""
    assert work.out is not None
    folder = work.out / talker
    folder.mkdir(exist_ok=True)
    (folder / TRACKS_NAME).unlink(missing_ok=True)  # until all of it is true again
    for name, told in faults.items():
        if told:
            (folder / f"{name}.ogg").unlink(missing_ok=True)
    good = [entry for entry in measured if not faults[entry.video.name]]
    for entry in good:
        samples = _read_sound(entry.video, entry.track, work.offset_ms)
        _write_sound(folder / f"{entry.video.name}.ogg", samples)
    if good:
        _write_tracks(_tracks(work, talker), good)
    else:
        _tracks(work, talker).unlink(missing_ok=True)
    clips: dict[str, dict[str, Any]] = {name: {"refused": told} for name, told in faults.items()}
    for entry in measured:
        clips[entry.video.name] |= entry.quality.figures()
    record = {
        "folder": str(work.folder.resolve()),
        "offset_ms": work.offset_ms,
        "plan": plan,
        "clips": clips,
    }
    write_whole(folder / TRACKS_NAME, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _tracks(work: LipWork, talker: str) -> Path:
    assert work.out is not None
    return work.out / f"{talker}.npz"


def _write_tracks(path: Path, clips: Sequence[_Measured]) -> None:
    tracks = [entry.track for entry in clips]

    def join(field: str, kind: Any) -> np.ndarray:
        return np.concatenate([getattr(track, field) for track in tracks]).astype(kind)

    with written_whole(path) as part:
        np.savez_compressed(
            part,
            clip=np.array([entry.video.name for entry in clips]),
            start=np.cumsum([0, *(len(track.time_s) for track in tracks)]).astype(np.int32),
            text=np.array([entry.video.text for entry in clips]),
            words=np.array([json.dumps([])] * len(clips)),
            time_s=join("time_s", np.float32),
            arkit_names=np.array(ARKIT_NAMES),
            weights=join("weights", np.float16),
            landmark_index=np.array(LANDMARK_INDEX, np.int16),
            landmarks=join("landmarks", np.float16),
            head=join("head", np.float32).reshape(-1, 16),
            gap_width=join("gap_width", np.float32),
        )


def _write_sound(path: Path, samples: np.ndarray) -> None:
    """Write float32 [samples] at 16 kHz as Ogg Vorbis."""
    import soundfile

    with (
        written_whole(path) as part,
        soundfile.SoundFile(part, "w", SAMPLE_RATE_HZ, 1, "VORBIS", format="OGG") as file,
    ):
        for start in range(0, len(samples), 1 << 16):  # libsndfile's encoder overflows on more
            file.write(samples[start : start + (1 << 16)])
