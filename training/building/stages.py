"""Stages of a build: one command each, what went into it and what it left, and its record."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dualtalker.errors import DualtalkerError
from dualtalker.files import RECORD_NAME, sha256_of_files, write_whole
from training.data import read_earlier
from training.learning import find_commit


class BuildError(DualtalkerError):
    """A stage failed, or its data is missing."""


@dataclass(frozen=True)
class Stage:
    """One command and what it leaves behind."""

    name: str
    module: str
    arguments: tuple[str, ...]
    inputs: tuple[Path, ...]
    """Files and folders whose content decides the result."""
    output: Path
    folder: Path | None = None
    """What this stage alone fills, where that is more than `output`; emptied to begin anew."""
    resumable: bool = False
    """Whether `--resume` goes on from `step_*.json` in `folder`; otherwise it begins anew."""

    @property
    def place(self) -> Path:
        """The folder or file that nothing but this stage makes."""
        return self.folder or self.output

    @property
    def command(self) -> tuple[str, ...]:
        """The command as it is run."""
        return (sys.executable, "-m", self.module, *self.arguments)

    def describe(self) -> str:
        """The command as people type it."""
        return " ".join(["python -m", self.module, *self.arguments])


def digest_path(path: Path) -> str:
    """Return the SHA-256 of a file and its sidecar, or of names and contents below a folder."""
    if path.is_file():
        files = [p for p in dict.fromkeys([path, path.with_suffix(".json")]) if p.is_file()]
    else:
        files = sorted(p for p in path.rglob("*") if p.is_file() and p.name != RECORD_NAME)
    return sha256_of_files(files, path.parent)


def run_stage(stage: Stage, records: Path) -> dict[str, Any]:
    """Run one stage unless its record says that it is done; return the record.

    Raises:
        BuildError: the command failed or left nothing, or the record is damaged.
    """
    path = records / f"{stage.name.replace(' ', '_')}.json"
    wanted = {
        "command": stage.describe(),
        "inputs": {p.name: digest_path(p) for p in stage.inputs},
    }
    found = _read_record(path, stage) if path.exists() else None
    same = found is not None and {name: getattr(found, name) for name in wanted} == wanted
    if found is not None and same and found.output and stage.output.exists():
        print(f"{stage.name}: done before ({found.seconds:.0f} s)")
        return asdict(found)
    arguments = list(stage.command)
    if same and stage.resumable and any(stage.place.glob("step_*.json")):
        arguments.append("--resume")
    else:
        _clear(stage, ours=found is not None)
        # What a killed command leaves is known by this as ours, and as made from these inputs.
        _write_record(path, wanted)
    print(f"{stage.name}: {' '.join(arguments[1:])}", flush=True)
    began = time.monotonic()
    status = subprocess.run(arguments, check=False).returncode
    if status or not stage.output.exists():
        raise BuildError(
            f"stage `{stage.name}` ended with status {status}"
            + ("" if stage.output.exists() else f" and left no {stage.output}")
            + "; mend what it says above and run this again: finished stages are kept"
        )
    record = {
        **wanted,
        "output": {stage.output.name: digest_path(stage.output)},
        "commit": find_commit(),
        "seconds": round(time.monotonic() - began, 1),
    }
    _write_record(path, record)
    return record


def _clear(stage: Stage, ours: bool) -> None:
    """Remove what the stage left when it last ran; `ours` tells whether a record says it did.

    Raises:
        BuildError: files lie there that no record knows.
    """
    place = stage.place
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return
    if not ours:
        raise BuildError(
            f"found {place}, which no earlier run of stage `{stage.name}` recorded, expected "
            "nothing there: move it away, or give another --out"
        )
    print(f"{stage.name}: {place} is of other inputs or unfinished, so it is made anew")
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
        place.with_suffix(".json").unlink(missing_ok=True)  # without its other half it is nobody's


@dataclass
class _Record:
    """What the record of a stage tells: of one that began, its command and its inputs alone."""

    command: str
    inputs: dict[str, str]
    output: dict[str, str] = field(default_factory=dict)
    commit: str = ""
    seconds: float = 0.0


def _read_record(path: Path, stage: Stage) -> _Record:
    mend = f"delete it and {stage.place} to run stage `{stage.name}` again"
    return read_earlier(path, _Record, BuildError, mend)


def _write_record(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(record, indent=1) + "\n")
