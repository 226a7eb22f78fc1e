"""The `Clip` all training data becomes, and its storage in shards; knows nothing of sources."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.files import claim_folder, sha256_of_file, write_whole, written_whole
from dualtalker.speech import Phone
from training.data.records import (
    ARCHIVE_ERRORS,
    CorpusError,
    Index,
    Shard,
    check_record,
    demand_array,
    open_archive,
    read_record,
    read_rows,
)

SAMPLE_RATE_HZ = 16000
MOTION_RATE_HZ = 50
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // MOTION_RATE_HZ
CHANNELS = len(ARKIT_NAMES)
SPLITS = ("train", "validation")
# The style that all captured talkers share: how somebody moves of whom nothing is known.
ANYBODY = "captured"

INDEX_NAME = "index.json"
FORMAT = "dualtalker-clips"
FORMAT_VERSION = 1


@dataclass
class Clip:
    """One recording: sound, and whatever is known about the face and the words behind it.

    audio: float32 [samples], mono, 16 kHz, in [-1, 1].
    motion: float32 [frames, 52] in [0, 1], frame k depicts k / 50 s; None for unpaired sound.
    motion_mask: bool [52], the channels of `motion` that are evidence and not just absent.
    phones: ordered, without overlap; None where nobody labelled them.
    style: whose manner of moving `motion` shows ("rules", "captured:NAME", "none").
    split: "train", or "validation" for what no training step may see.
    """

    name: str
    audio: np.ndarray
    motion: np.ndarray | None = None
    motion_mask: np.ndarray = field(default_factory=lambda: np.zeros(CHANNELS, bool))
    phones: list[Phone] | None = None
    transcript: str | None = None
    style: str = "none"
    speaker: str = "unknown"
    source: str = "unknown"
    split: str = "train"

    @property
    def duration_s(self) -> float:
        """Length of the sound in seconds."""
        return len(self.audio) / SAMPLE_RATE_HZ

    @property
    def frames(self) -> int:
        """Motion frames that belong to the sound."""
        return frame_count(len(self.audio))


def frame_count(samples: int) -> int:
    """Return how many motion frames lie within `samples`: all k with k / 50 s inside the sound."""
    return -(-samples // SAMPLES_PER_FRAME)


def check_clip(clip: Clip) -> None:
    """Raise `CorpusError`, naming the clip and the field, unless the clip keeps its promises."""

    def demand(condition: bool, found: str) -> None:
        if not condition:
            raise CorpusError(f"clip {clip.name!r}: {found}")

    audio = clip.audio
    demand(audio.ndim == 1 and audio.dtype == np.float32, "audio must be float32 [samples]")
    demand(len(audio) > 0, "audio is empty")
    demand(bool(np.isfinite(audio).all()), "audio holds NaN or infinite samples")
    demand(float(np.abs(audio).max()) <= 1.0, "audio leaves [-1, 1]")
    demand(clip.motion_mask.shape == (CHANNELS,), f"motion_mask must be bool [{CHANNELS}]")
    demand(clip.motion_mask.dtype == np.bool_, f"motion_mask must be bool [{CHANNELS}]")
    demand(clip.split in SPLITS, f"split is {clip.split!r}, expected one of {SPLITS}")
    if clip.motion is None:
        demand(not clip.motion_mask.any(), "motion_mask is set but there is no motion")
    else:
        shape = (clip.frames, CHANNELS)
        demand(clip.motion.shape == shape, f"motion is {clip.motion.shape}, expected {shape}")
        demand(clip.motion.dtype == np.float32, "motion must be float32")
        # NaN fails both comparisons, so it is caught here too.
        inside = bool(((clip.motion >= 0) & (clip.motion <= 1)).all())
        demand(inside, "motion leaves [0, 1] or holds NaN")
    _check_phones(clip, demand)


def _check_phones(clip: Clip, demand: Any) -> None:
    end_s = 0.0
    for phone in clip.phones or ():
        demand(
            end_s - 1e-6 <= phone.start_s < phone.end_s <= clip.duration_s + 1e-3,
            f"phone {phone} overlaps its neighbor, is empty or leaves the sound",
        )
        end_s = phone.end_s


# ---- Storage -----------------------------------------------------------------------------------
# A shard is STEM.npz (int16 sound, 16-bit fixed-point motion; no pickle) beside STEM.json with
# all that is text. index.json lists the shards with their digests.


def write_shard(folder: Path, stem: str, clips: Iterable[Clip]) -> Path:
    """Write clips as one shard; return the path of its description, which is written last."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray] = {}
    rows = []
    for number, clip in enumerate(clips):
        check_clip(clip)
        arrays[f"{number:05d}.audio"] = np.rint(clip.audio * 32767).astype(np.int16)
        if clip.motion is not None:
            arrays[f"{number:05d}.motion"] = np.rint(clip.motion * 65535).astype(np.uint16)
        rows.append(_describe(clip))
    if not rows:
        raise CorpusError(f"shard {stem!r} would be empty")
    archive = folder / f"{stem}.npz"
    with written_whole(archive) as part:
        _write_archive(part, arrays)
    description = folder / f"{stem}.json"
    text = json.dumps({"sha256": sha256_of_file(archive), "clips": rows}, ensure_ascii=False)
    write_whole(description, text)
    return description


def _write_archive(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an .npz like `np.savez`, but without the time of day: equal arrays, equal bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def refuse_foreign_shards(folder: Path, stems: Collection[str]) -> None:
    """Raise `CorpusError` where `folder` holds shards of other names than `stems`."""
    names = sorted(p.name for p in folder.glob("*.npz") if p.stem not in stems)
    foreign = [name for name in names if not name.startswith(".")]
    if foreign:
        raise CorpusError(
            f"{folder} also holds {', '.join(foreign[:3])} of other recordings or another corpus "
            f"({len(foreign)} such shards): give another folder for the clips, or delete that one"
        )


def claim_clips(folder: Path) -> None:
    """Make a folder for clips, or find it ours.

    Raises:
        DualtalkerError: it holds what is not ours.
    """
    is_ours = (folder / INDEX_NAME).is_file() and bool(read_index(folder))
    claim_folder(folder, *([INDEX_NAME] if is_ours else []))


def write_index(folder: Path, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write index.json over all shards in `folder` and return it; `extra` joins it as it is."""
    shards = []
    whole = hashlib.sha256()
    for archive in sorted(folder.glob("*.npz")):
        if archive.name.startswith("."):
            continue
        description = archive.with_suffix(".json")
        if not description.is_file():
            raise CorpusError(f"{archive} has no {description.name}: delete it and write it again")
        told = check_record(description, read_record(description), Shard)
        whole.update(told.sha256.encode())
        whole.update(bytes.fromhex(sha256_of_file(description)))
        shards.append({"file": archive.name, "sha256": told.sha256})
    index = {
        **(extra or {}),
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "motion_rate_hz": MOTION_RATE_HZ,
        "channels": list(ARKIT_NAMES),
        "digest": whole.hexdigest(),
        "shards": shards,
    }
    path = folder / INDEX_NAME
    write_whole(path, json.dumps(index, indent=1, ensure_ascii=False) + "\n")
    return index


def save_clips(folder: Path | str, clips: Iterable[Clip], clips_per_shard: int = 64) -> None:
    """Write clips into a fresh `folder` as shards with an index.

    What is read back is equal to 16 bits: sound within 2e-5, motion within 8e-6; saving it again
    changes nothing.
    """
    folder = Path(folder)
    if (folder / INDEX_NAME).exists():
        raise CorpusError(f"{folder} already holds clips: give another folder or delete it")
    claim_clips(folder)
    batch: list[Clip] = []
    count = 0
    for clip in clips:
        batch.append(clip)
        if len(batch) == clips_per_shard:
            write_shard(folder, f"shard-{count:05d}", batch)
            count += 1
            batch = []
    if batch:
        write_shard(folder, f"shard-{count:05d}", batch)
    write_index(folder)


def read_index(folder: Path | str) -> dict[str, Any]:
    """Read and check index.json of a folder of clips. Raises `CorpusError` on any mismatch."""
    path = Path(folder) / INDEX_NAME
    if not path.is_file():
        raise CorpusError(
            f"no clips in {folder} (no {INDEX_NAME}): write some with "
            f"`python -m training.corpus --out {folder}`"
        )
    index = read_record(path)
    expected = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "motion_rate_hz": MOTION_RATE_HZ,
        "channels": list(ARKIT_NAMES),
    }
    for key, value in expected.items():
        if index.get(key) != value:
            raise CorpusError(
                f"{path}: {key} is {index.get(key)!r}, expected {value!r}: write the corpus again"
            )
    for shard in check_record(path, index, Index).shards:
        if not shard.file.endswith(".npz") or Path(shard.file).name != shard.file:
            raise CorpusError(f"{path}: a shard is called {shard.file!r}: write the corpus again")
    return index


def iterate_clips(folder: Path | str, split: str | None = None) -> Iterator[Clip]:
    """Yield the clips of a folder in order, holding one shard in memory at a time.

    `split` keeps only clips of that split.

    Raises:
        CorpusError: a shard is missing, or its bytes are not those that were written (CRC-32).
    """
    folder = Path(folder)
    for shard in read_index(folder)["shards"]:
        archive = folder / shard["file"]
        if not archive.is_file():
            raise CorpusError(f"{archive} is listed in {INDEX_NAME} but missing: write it again")
        rows = read_rows(archive)
        try:
            with open_archive(archive) as arrays:
                for number, row in enumerate(rows):
                    if split is None or row["split"] == split:
                        yield _restore(row, arrays, number)
        except ARCHIVE_ERRORS as error:
            raise CorpusError(
                f"{archive} is not what was written ({error}): write the corpus again"
            ) from error


def load_clips(folder: Path | str, split: str | None = None) -> list[Clip]:
    """Return all clips of a folder as a list; see `iterate_clips` for large ones."""
    return list(iterate_clips(folder, split))


def interpolate_rows(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return rows `[frames, C]` at fractional `places` `[M]` by straight lines, float32 `[M, C]`.

    Beyond the last row it is held.
    """
    below = np.minimum(places.astype(np.int64), len(rows) - 1)
    above = np.minimum(below + 1, len(rows) - 1)
    part = np.clip(places - below, 0.0, 1.0)[:, None].astype(np.float32)
    return np.asarray(rows[below] * (1 - part) + rows[above] * part, np.float32)


def digest_of(folder: Path | str) -> str:
    """Return the SHA-256 that stands for all clips of a folder."""
    return str(read_index(folder)["digest"])


def _describe(clip: Clip) -> dict[str, Any]:
    phones = None
    if clip.phones is not None:
        phones = [[p.label, round(p.start_s, 6), round(p.end_s, 6)] for p in clip.phones]
    return {
        "name": clip.name,
        "duration_s": round(clip.duration_s, 6),
        "paired": clip.motion is not None,
        "motion_channels": [ARKIT_NAMES[i] for i in np.flatnonzero(clip.motion_mask)],
        "phones": phones,
        "transcript": clip.transcript,
        "style": clip.style,
        "speaker": clip.speaker,
        "source": clip.source,
        "split": clip.split,
    }


def _restore(row: dict[str, Any], arrays: Any, number: int) -> Clip:
    motion, sound = None, demand_array(arrays, f"{number:05d}.audio", np.int16, 1)
    if row["paired"]:
        stored = demand_array(arrays, f"{number:05d}.motion", np.uint16, 2)
        motion = stored.astype(np.float32) / np.float32(65535)
    present = set(row["motion_channels"])
    return Clip(
        name=row["name"],
        audio=sound.astype(np.float32) / np.float32(32767),
        motion=motion,
        motion_mask=np.array([name in present for name in ARKIT_NAMES]),
        phones=None if row["phones"] is None else [Phone(*phone) for phone in row["phones"]],
        transcript=row["transcript"],
        style=row["style"],
        speaker=row["speaker"],
        source=row["source"],
        split=row["split"],
    )
