"""Make a corpus of clips from synthetic and recorded speech. Only the order of work is here.

    python -m training.corpus --out corpus --hours 3 --seed 0 --holdout 'synth-00000-*'
    python -m training.corpus --out real --hours 0 --recordings DIR --arkit DIR --unpaired DIR

Running it again continues where it stopped, or does nothing where all is done.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualtalker.errors import DualtalkerError
from dualtalker.files import ending_in_order, sha256_of_files, write_whole
from training.data import (
    AUDIO_SUFFIXES,
    GENERATOR_VERSION,
    LANGUAGES,
    SHARD_S,
    Clip,
    CorpusError,
    SynthesisPlan,
    check_plan,
    claim_clips,
    read_captured,
    read_earlier,
    read_labeled,
    read_lips,
    read_rows,
    read_unpaired,
    refuse_foreign_shards,
    synthesize_shard,
    write_index,
    write_shard,
)

MANIFEST_NAME = "manifest.json"
RECORDINGS_VERSION = 2  # raised whenever the same files would give other clips

_READERS = {
    "labeled": read_labeled,
    "captured": read_captured,
    "lips": read_lips,
    "unpaired": read_unpaired,
}


@dataclass(frozen=True)
class CorpusConfig:
    """What to put into a corpus. All sources may be combined."""

    out: Path
    """Folder for shards, index.json and manifest.json."""
    hours: float = 2.0
    """Synthetic speech to make, in hours; 0 for none."""
    seed: int = 0
    """Same seed, same texts, voices, rates, pauses: same corpus."""
    languages: tuple[str, ...] = tuple(LANGUAGES)
    """espeak-ng voices to use."""
    flite: bool = True
    """Also use the four English voices of the flite program (Debian: apt-get install flite)."""
    recordings: tuple[Path, ...] = ()
    """Folders of NAME.wav + NAME.phones.json (+ NAME.txt), or of LIST.jsonl + LIST/: the face
    moves by rule."""
    arkit: tuple[Path, ...] = ()
    """Folders of NAME.wav + NAME*.csv with captured ARKit weights."""
    lips: tuple[Path, ...] = ()
    """Folders of lips measured in video, as `python -m training.prepare video` writes them."""
    unpaired: tuple[Path, ...] = ()
    """Folders of sound alone."""
    holdout: tuple[str, ...] = ()
    """Clip names to mark as validation; * and ? as in a shell."""
    jobs: int = field(default=2)
    """Worker processes."""


@dataclass(frozen=True)
class _Job:
    """One shard to make. `plan` identifies what it will hold: equal plans, equal shards."""

    stem: str
    kind: str
    plan: dict[str, Any]
    synthesis: SynthesisPlan | None = None
    folder: Path | None = None
    holdout: tuple[str, ...] = ()


def build_corpus(config: CorpusConfig) -> dict[str, Any]:
    """Make what is missing of the corpus and return its manifest. Raises `CorpusError`."""
    _check_config(config)
    jobs = list(_plan_jobs(config))
    if not jobs:
        raise CorpusError(
            "nothing to make: give --hours, --recordings, --arkit, --lips or --unpaired"
        )
    refuse_foreign_shards(config.out, {job.stem for job in jobs})
    claim_clips(config.out)
    missing = [job for job in jobs if not _is_done(config.out, job)]
    _run(config, missing)
    return _write_manifest(config, jobs)


def _check_config(config: CorpusConfig) -> None:
    if not (math.isfinite(config.hours) and config.hours >= 0):
        raise CorpusError(f"hours is {config.hours}, expected 0 or more")
    if config.jobs < 1:
        raise CorpusError(f"jobs is {config.jobs}, expected 1 or more")
    sources = (config.recordings, config.arkit, config.lips, config.unpaired)
    for folder in itertools.chain(*sources):
        if not folder.is_dir():
            raise CorpusError(f"{folder} is no folder")
    if config.hours:
        check_plan(SynthesisPlan(config.seed, 0, SHARD_S, config.languages, config.flite))


def _plan_jobs(config: CorpusConfig) -> Iterator[_Job]:
    remaining_s = config.hours * 3600
    shard = 0
    while remaining_s > 1e-6:
        duration_s = min(SHARD_S, remaining_s)
        plan = SynthesisPlan(config.seed, shard, duration_s, config.languages, config.flite)
        record = {**dataclasses.asdict(plan), "version": GENERATOR_VERSION}
        yield _job(f"synth-{shard:05d}", "synthetic", record, config, synthesis=plan)
        remaining_s -= duration_s
        shard += 1
    folders = {
        "labeled": config.recordings,
        "captured": config.arkit,
        "lips": config.lips,
        "unpaired": config.unpaired,
    }
    for kind, paths in folders.items():
        for number, folder in enumerate(paths):
            record = {"files": _digest_folder(folder), "version": RECORDINGS_VERSION}
            yield _job(f"{kind}-{number:02d}-{folder.name}", kind, record, config, folder=folder)


def _job(stem: str, kind: str, record: dict[str, Any], config: CorpusConfig, **more: Any) -> _Job:
    plan = {"kind": kind, **record, "holdout": list(config.holdout)}
    # Through JSON once, so that it equals what is read back later.
    return _Job(stem, kind, json.loads(json.dumps(plan)), holdout=config.holdout, **more)


def _digest_folder(folder: Path) -> str:
    """Return a SHA-256 over the names and contents of the data files below a folder."""
    labels = (".csv", ".json", ".jsonl", ".npz", ".txt")
    suffixes = (*AUDIO_SUFFIXES, *labels)
    paths = (p for p in sorted(folder.rglob("*")) if p.suffix.lower() in suffixes)
    return sha256_of_files((path for path in paths if path.is_file()), folder)


def _plan_path(out: Path, stem: str) -> Path:
    return out / f"{stem}.plan"


def _is_done(out: Path, job: _Job) -> bool:
    """Tell whether a shard of this very plan lies in the folder; its plan is written last.

    Raises:
        CorpusError: its plan is damaged.
    """
    path = _plan_path(out, job.stem)
    if not path.exists() or not (out / f"{job.stem}.npz").is_file():
        return False
    mend = "delete it to make its shard again"
    return read_earlier(path, dict[str, Any], CorpusError, mend) == job.plan


def _run(config: CorpusConfig, jobs: list[_Job]) -> None:
    from tqdm import tqdm

    with tqdm(total=len(jobs), unit="shard", disable=not jobs, desc="corpus") as bar:
        if config.jobs == 1 or len(jobs) <= 1:
            for job in jobs:
                _make_shard(config.out, job)
                bar.update()
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(config.jobs, len(jobs)), mp_context=context) as pool:
            running: list[Future[None]] = [
                pool.submit(_make_shard, config.out, job) for job in jobs
            ]
            try:
                for done in as_completed(running):
                    done.result()
                    bar.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _make_shard(out: Path, job: _Job) -> None:
    """Make one shard; runs in a worker process."""
    plan_path = _plan_path(out, job.stem)
    plan_path.unlink(missing_ok=True)
    write_shard(out, job.stem, _read(job))
    write_whole(plan_path, json.dumps(job.plan))


def _read(job: _Job) -> Iterator[Clip]:
    if job.synthesis is not None:
        return synthesize_shard(job.synthesis, job.holdout)
    assert job.folder is not None
    return _READERS[job.kind](job.folder, job.holdout)


def _write_manifest(config: CorpusConfig, jobs: list[_Job]) -> dict[str, Any]:
    index = write_index(config.out)
    sources: dict[str, dict[str, float]] = {}
    for job in jobs:
        for row in read_rows(config.out / f"{job.stem}.npz"):
            entry = sources.setdefault(row["source"], {"clips": 0, "hours": 0.0, "validation": 0})
            entry["clips"] += 1
            entry["hours"] += row["duration_s"] / 3600
            entry["validation"] += row["split"] == "validation"
    manifest = {
        "digest": index["digest"],
        "config": json.loads(json.dumps(dataclasses.asdict(config), default=str)),
        "hours": round(sum(entry["hours"] for entry in sources.values()), 4),
        "clips": int(sum(entry["clips"] for entry in sources.values())),
        "sources": {
            name: {**entry, "hours": round(entry["hours"], 4)}
            for name, entry in sorted(sources.items())
        },
        "shards": {shard["file"]: shard["sha256"] for shard in index["shards"]},
    }
    path = config.out / MANIFEST_NAME
    write_whole(path, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return manifest


@ending_in_order()
def main() -> int:
    """Run the command; errors are one line and exit status 2."""
    import tyro

    config = tyro.cli(CorpusConfig, description=__doc__)
    try:
        manifest = build_corpus(config)
    except DualtalkerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, entry in manifest["sources"].items():
        print(
            f"{name:32s} {entry['clips']:6d} clips {entry['hours']:8.3f} h "
            f"({entry['validation']} for validation)"
        )
    print(f"{config.out}: {manifest['hours']:.2f} h, digest {manifest['digest'][:12]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
