"""Makes the shipped model from its data: corpora, teacher, training, gains, figures, export.

    python -m training.build_default DATA --out runs/build_default
    python -m training.build_default DATA --dry-run      # print the commands alone

DATA holds `motion/{facegood,grid}` and
`speech/{labelled,ljspeech,vctk,librivox,facegood_unpaired}` (see docs/model_card.md). Each stage
is a command of this repository and leaves a record; running this again skips what is done and
goes on inside a training that was interrupted, unless its command or its data changed: then it
begins anew. `manifest.json` names the digest of everything that went in and came out.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tyro

from dualtalker.errors import DualtalkerError
from dualtalker.files import (
    RECORD_NAME,
    claim_folder,
    ending_in_order,
    sha256_of_files,
    write_whole,
)
from dualtalker.model import offline_path
from training.data import ANYBODY, read_earlier
from training.learning import find_commit, starting_point_of

MOTION, LIPS = "motion/facegood", "motion/grid"
LABELED = ("speech/labelled", "speech/ljspeech", "speech/vctk", "speech/librivox")
UNPAIRED = "speech/facegood_unpaired"
FOLDERS = (MOTION, LIPS, *LABELED, UNPAIRED)
HELD_OUT = ("1114_3_16", "s04_*", "LJ001-0003", "LJ001-0006", "p226_*", "*-0890", "*-0930")
MANIFEST_NAME = "manifest.json"
MODEL_NAME = "default.onnx"


class BuildError(DualtalkerError):
    """A stage failed, or its data is missing."""


@dataclass
class BuildConfig:
    """Build the default model stage by stage."""

    data: tyro.conf.Positional[Path]
    """Folder with the recordings."""
    out: Path = Path("runs/build_default")
    """Folder for everything that is made; the model is `default.onnx` in it."""
    hours: float = 1.5
    """Synthetic speech, hours."""
    steps: int = 3400
    """Steps of the training."""
    rest_steps: int = 1200
    """Steps of the training of the gate of rest."""
    teacher_members: int = 4
    """Networks in each of the teacher's ensembles."""
    threads: int = 1
    """CPU threads of the training."""
    style: dict[str, float] | None = None
    """Mixture of styles that is shown by default (default: the recipe's)."""
    dry_run: bool = False
    """Print the commands instead of running them."""


SHIPPED_STYLE = {ANYBODY: 1.0}


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


def plan_stages(config: BuildConfig) -> list[Stage]:
    """Return the stages in order."""
    data, out = config.data, config.out
    corpora = synth, real, taught = [out / f"corpus_{n}" for n in ("synth", "real", "taught")]
    trained = out / "run" / f"step_{config.steps:07d}.safetensors"
    rested = out / "run_rest" / f"step_{config.rest_steps:07d}.safetensors"
    heard = ("--data.corpus", *(str(folder) for folder in corpora))
    return [
        Stage(
            "synthetic corpus",
            "training.corpus",
            _words(out=synth, hours=config.hours, seed=0, holdout="synth-00000-*"),
            (),
            synth,
        ),
        Stage(
            "recorded corpus",
            "training.corpus",
            (
                *_words(out=real, hours=0, arkit=data / MOTION, lips=data / LIPS),
                *("--recordings", *(str(data / name) for name in LABELED)),
                *_words(unpaired=data / UNPAIRED),
                *("--holdout", *HELD_OUT),
            ),
            tuple(data / name for name in FOLDERS),
            real,
        ),
        Stage(
            "teacher",
            "training.teacher",
            (
                *("--corpus", str(real), str(synth)),
                *_words(out=taught, members=config.teacher_members, threads=config.threads),
                *TEACHER,
            ),
            (real, synth),
            taught,
        ),
        Stage(
            "training",
            "training.train",
            (
                *heard,
                *_words(out=trained.parent, steps=config.steps, threads=config.threads),
                *RECIPE,
            ),
            (synth, real, taught),
            trained,
            folder=trained.parent,
            resumable=True,
        ),
        Stage(
            "gate of rest",
            "training.train",
            (
                *(*heard, "--start-from", str(trained)),
                *_words(out=rested.parent, steps=config.rest_steps, threads=config.threads),
                *REST_RECIPE,
            ),
            (synth, real, taught, trained),
            rested,
            folder=rested.parent,
            resumable=True,
        ),
        *plan_export(config, real, rested),
    ]


def plan_export(config: BuildConfig, real: Path, trained: Path) -> list[Stage]:
    """Return the stages that fit a checkpoint's gains, measure it, and make the model of it."""
    out = config.out
    gained, draft, figures = out / "gained.safetensors", out / "draft.onnx", out / "figures.json"
    model = out / MODEL_NAME
    style = [str(part) for item in (config.style or SHIPPED_STYLE).items() for part in item]
    export = (str(gained), "--style", *style)
    return [
        Stage(
            "gains",
            "training.calibrate",
            (str(trained), *_words(corpus=real, out=gained)),
            (trained, real),
            gained,
        ),
        Stage("draft", "engines.export_onnx", (*export, "--out", str(draft)), (gained,), draft),
        Stage(
            "figures",
            "training.evaluate",
            (
                *(str(draft), "--corpus", str(real), "--reader", str(gained)),
                *("--json-out", str(figures)),
            ),
            (draft, real, gained),
            figures,
        ),
        Stage(
            "export",
            "engines.export_onnx",
            (*export, "--metrics", str(figures), "--out", str(model)),
            (gained, figures),
            model,
        ),
        Stage(
            "offline graph",
            "engines.export_offline",
            (str(model),),
            (model,),
            offline_path(model),
        ),
        Stage(
            "starting point",
            "training.pack",
            (str(gained), str(model)),
            (gained, model),
            starting_point_of(model),
        ),
    ]


# What the shipped training sets apart from the defaults of `training.train`. Early contacts need
# no frame more to be smoothed, so that the exported lookahead is that of the network: 100 ms.
_NETWORK = (
    *("--network.lookahead-samples", "1600"),
    *("--network.early-contacts", "--network.dropout", "0.1"),
)
RECIPE = (
    *_NETWORK,
    *("--data.captured-share", "0.35", "--data.taught-share", "0.3"),
    *("--data.recorded-share", "0.1", "--data.unpaired-share", "0.05"),
    # A calm mouth, that noise does not move.
    *("--data.noise-share", "0.2", "--loss.velocity", "0.12"),
)
# The gate learns in minutes what the finished network can tell it, and changes nothing else.
_UNUSED = (
    *("motion", "velocity", "lip-vertices", "closure"),
    *("lipread-true", "lipread-predicted", "consistency", "duality"),
)
REST_RECIPE = (
    *(*_NETWORK, "--network.rest-gate", "--learn", "animation.gate_rest"),
    *(word for term in _UNUSED for word in (f"--loss.{term}", "0")),
    *("--ema", "0.99", "--data.recorded-share", "0.3"),
    *("--data.noise-share", "0.3", "--data.hold-share", "0.3"),
)
# English lips tell how readers of many languages move, Mandarin's those who speak it.
TEACHER = (
    *("--phone-steps", "1600", "--steps", "400", "--tempo", "0.95", "1.6"),
    *("--label", "captured:s01", "labeled:*", "captured:facegood", "unpaired:*"),
)


def _words(**options: object) -> tuple[str, ...]:
    """Return command-line words of options; underscores become dashes."""
    pairs = ((f"--{name.replace('_', '-')}", str(value)) for name, value in options.items())
    return tuple(word for pair in pairs for word in pair)


def digest_path(path: Path) -> str:
    """Return the SHA-256 of a file and its sidecar, or of names and contents below a folder."""
    if path.is_file():
        files = [p for p in dict.fromkeys([path, path.with_suffix(".json")]) if p.is_file()]
    else:
        files = sorted(p for p in path.rglob("*") if p.is_file() and p.name != RECORD_NAME)
    return sha256_of_files(files, path.parent)


def check_data(data: Path) -> None:
    """Raise BuildError where a folder of recordings is missing."""
    missing = [name for name in FOLDERS if not (data / name).is_dir()]
    if missing:
        raise BuildError(
            f"{data} lacks {', '.join(missing)}; expected the recordings that docs/model_card.md "
            "names, one folder each"
        )


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


def build(config: BuildConfig) -> Path | None:
    """Run all stages and write the manifest; return the model's path, or None of a dry run.

    Raises:
        BuildError: data is missing or a stage failed.
    """
    stages = plan_stages(config)
    if config.dry_run:
        print("\n".join(stage.describe() for stage in stages))
        return None
    check_data(config.data)
    claim_folder(config.out, "stages/*.json")
    records = {stage.name: run_stage(stage, config.out / "stages") for stage in stages}
    manifest = {"commit": find_commit(), "stages": records}
    path = config.out / MANIFEST_NAME
    write_whole(path, json.dumps(manifest, indent=1) + "\n")
    return config.out / MODEL_NAME


@ending_in_order()
def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and build."""
    config = tyro.cli(BuildConfig, description=__doc__, args=arguments)
    try:
        model = build(config)
    except DualtalkerError as error:
        sys.exit(f"training.build_default: {error}")
    if model is not None:
        print(f"model: {model}; what went into it: {config.out / MANIFEST_NAME}")


if __name__ == "__main__":
    main()
