"""A study of tiny videos, and the answers of people whose preference is known."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from dualtalker import save_rig
from dualtalker.arkit import ARKIT_INDEX
from dualtalker.evaluation import write_motion_csv
from dualtalker.study import Key, StudyOptions, make_study
from dualtalker.study.plan import QUESTIONS, Plan, Video, draw_schedules, list_pairs
from tiny_rig import tiny_rig

RATE_HZ = 16000
DURATION_S = 0.5
CONSENT = "# Consent\n\nYou look at faces.\nNothing else\n\n- one\n- two\n"


@contextlib.contextmanager
def silent_progress(label, total, unit):
    yield lambda count: None


def write_inputs(folder: Path, contestants=("A", "B"), recordings=("one", "two")) -> None:
    """Recordings `NAME.wav`, curves `CONTESTANT/NAME.csv`, `consent.md` and `rig.npz`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "consent.md").write_text(CONSENT)
    save_rig(tiny_rig(), folder / "rig.npz")
    times_s = np.arange(round(DURATION_S * 60)) / 60
    for number, recording in enumerate(recordings):
        tone = 0.3 * np.sin(2 * np.pi * (200 + 100 * number) * np.arange(RATE_HZ) / RATE_HZ)
        tone = tone[: round(DURATION_S * RATE_HZ)]
        soundfile.write(folder / f"{recording}.wav", tone, RATE_HZ)
        for place, name in enumerate(contestants):
            (folder / name).mkdir(exist_ok=True)
            weights = np.zeros((len(times_s), 52))
            weights[:, ARKIT_INDEX["jawOpen"]] = 0.5 + 0.4 * np.sin(20 * times_s + place)
            write_motion_csv(folder / name / f"{recording}.csv", times_s, weights)


def make_tiny_study(
    folder: Path, contestants=("A", "B"), recordings=("one", "two"), **options: Any
) -> Key:
    """Make a study in `folder / "study"` of inputs beside it."""
    write_inputs(folder, contestants, recordings)
    options = {"consent": folder / "consent.md", "fps": 10.0, **options}
    return make_study(
        folder / "study",
        {name: folder / name for name in contestants},
        [folder / f"{name}.wav" for name in recordings],
        tiny_rig(),
        StudyOptions(**options),
        silent_progress,
    )


def make_key(contestants=("A", "B"), recordings=("one", "two"), trials: int | None = None) -> Key:
    """The key of a study of which no video is rendered."""
    videos = {
        f"{name}-{recording}-{kind}": Video(name, recording, kind)
        for name in contestants
        for recording in recordings
        for kind in ("pair", "shifted", "frozen")
    }
    twos = list_pairs(contestants)
    pairs = [(f"{a}-{r}-pair", f"{b}-{r}-pair") for a, b in twos for r in recordings]
    first = contestants[0]
    checks = [
        (f"{first}-{r}-pair", f"{first}-{r}-{kind}")
        for kind in ("shifted", "frozen")
        for r in recordings[:2]
    ]
    schedules = draw_schedules(
        len(twos), len(recordings), len(checks), trials or len(pairs), seed=0
    )
    plan = Plan("Tiny", "side", (("p", "Agreed."),), QUESTIONS, (*pairs, *checks), schedules)
    return Key(1, 0, tuple(contestants), tuple(recordings), videos, 1, plan)


def answer_all(key: Key, participant: int, choose: Any) -> dict[str, Any]:
    """What the page hands over; `choose(left, right, question)` takes videos, gives True: left."""
    answers = []
    for trial in key.plan.schedule_of(participant):
        left, right = key.plan.sides_of(trial)
        videos = key.videos[left], key.videos[right]
        chosen = {
            question: "left" if choose(*videos, question) else "right"
            for question in key.plan.questions
        }
        answers.append(
            {
                "pair": trial.pair,
                "left": left,
                "right": right,
                "chosen": chosen,
                "plays": [1, 2],
                "seconds": 12.5,
            }
        )
    return {
        "format": 1,
        "study": key.digest,
        "participant": participant,
        "began": "2026-01-02T03:04:05.678Z",
        "ended": "2026-01-02T03:24:05.678Z",
        "answers": answers,
    }


def choose_first(left: Any, right: Any, question: str) -> bool:
    """See every check, and prefer the contestant whose name comes first."""
    if left.kind != right.kind:
        return left.kind == "pair"
    return left.contestant < right.contestant
