"""The recipe of the shipped model: which stages make it, with which options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from dualtalker.model import offline_path
from training.building.stages import Stage
from training.data import ANYBODY
from training.learning import starting_point_of

MOTION, LIPS = "motion/facegood", "motion/grid"
LABELED = ("speech/labelled", "speech/ljspeech", "speech/vctk", "speech/librivox")
UNPAIRED = "speech/facegood_unpaired"
FOLDERS = (MOTION, LIPS, *LABELED, UNPAIRED)
HELD_OUT = ("1114_3_16", "s04_*", "LJ001-0003", "LJ001-0006", "p226_*", "*-0890", "*-0930")
MODEL_NAME = "default.onnx"


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
    far_steps: int = 600
    """Steps of the training from afar."""
    rest_steps: int = 1200
    """Steps of the training of the gate of rest."""
    teacher_members: int = 4
    """Networks in each of the teacher's ensembles."""
    threads: int = 1
    """CPU threads of each training."""
    style: dict[str, float] | None = None
    """Mixture of styles that is shown by default (default: the recipe's)."""
    dry_run: bool = False
    """Print the commands instead of running them."""


SHIPPED_STYLE = {ANYBODY: 1.0}


def plan_stages(config: BuildConfig) -> list[Stage]:
    """Return the stages in order."""
    trainings = plan_training(config)
    return [*plan_corpora(config), *trainings, *plan_export(config, trainings[-1].output)]


def _name_corpora(out: Path) -> tuple[Path, Path, Path]:
    synth, real, taught = (out / f"corpus_{name}" for name in ("synth", "real", "taught"))
    return synth, real, taught


def plan_corpora(config: BuildConfig) -> list[Stage]:
    """Return the stages that make what the network learns from."""
    data = config.data
    synth, real, taught = _name_corpora(config.out)
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
    ]


def plan_training(config: BuildConfig) -> list[Stage]:
    """Return the trainings: the network's, the same from afar, and the gate of rest's."""
    corpora = _name_corpora(config.out)
    heard = ("--data.corpus", *(str(folder) for folder in corpora))
    planned = [
        ("training", "run", config.steps, RECIPE),
        ("training from afar", "run_far", config.far_steps, FAR_RECIPE),
        ("gate of rest", "run_rest", config.rest_steps, REST_RECIPE),
    ]
    stages: list[Stage] = []
    for name, folder, steps, recipe in planned:
        before = [stages[-1].output] if stages else []
        start = ("--start-from", str(before[0])) if before else ()
        place = config.out / folder
        stages.append(
            Stage(
                name,
                "training.train",
                (*heard, *start, *_words(out=place, steps=steps, threads=config.threads), *recipe),
                (*corpora, *before),
                place / f"step_{steps:07d}.safetensors",
                folder=place,
                resumable=True,
            )
        )
    return stages


def plan_export(config: BuildConfig, trained: Path) -> list[Stage]:
    """Return the stages that fit a checkpoint's gains, measure it, and make the model of it."""
    out = config.out
    _, real, _ = _name_corpora(out)
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
# Larger rooms, more noise and second voices are for a network that knows its lips already: one
# that begins among them learns rounding less well. Slowly, so that nothing is lost.
FAR_RECIPE = (
    *(*RECIPE, "--data.far-share", "0.3", "--learning-rate", "0.0003"),
    *("--warmup-steps", "50", "--dual-start-step", "0", "--precision", "bfloat16"),
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
    *("--data.noise-share", "0.3", "--data.hold-share", "0.3", "--data.far-share", "0.3"),
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
