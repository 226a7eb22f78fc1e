"""What contestants say for a study: whose sentences, whose curves, and the study made of them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import read_motion_csv
from dualtalker.study import read_contestants
from tiny_training import make_clip
from training.data import save_clips
from training.studies import preference


def make_talker(talker: str, count: int, split: str = "validation") -> list:
    clips = [make_clip(f"{talker}_{k}", k, 1.0) for k in range(count)]
    for clip in clips:
        clip.style, clip.speaker, clip.split = f"captured:{talker}", talker, split
    return clips


def test_sentences_of_unknown_talkers_are_spoken_in_turn(tmp_path: Path) -> None:
    known = [*make_talker("known", 2, "train"), *make_talker("known", 4)[2:]]
    save_clips(tmp_path / "a", known)
    assert [c.name for c in preference.choose_spoken((tmp_path / "a",), 9)] == [
        "known_2",
        "known_3",
    ]
    save_clips(tmp_path / "b", [*known, *make_talker("x", 3), *make_talker("y", 1)])
    spoken = preference.choose_spoken((tmp_path / "b",), 3)
    assert [c.name for c in spoken] == ["x_0", "y_0", "x_1"]
    save_clips(tmp_path / "c", make_talker("known", 2, "train"))
    with pytest.raises(DualtalkerError, match="found no"):
        preference.choose_spoken((tmp_path / "c",), 3)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ours"], "expected NAME=PATH"),
        (["my model=a.onnx"], "expected NAME=PATH"),
        (["loudness=a.onnx"], "named twice"),
        (["ours=nowhere.onnx"], "is no file"),
    ],
)
def test_a_contestant_that_makes_no_sense_is_refused(words: list[str], told: str) -> None:
    with pytest.raises(DualtalkerError, match=told):
        preference.read_ways(words)


def test_curves_and_recordings_are_what_a_study_takes(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_clips(tmp_path / "corpus", [*make_talker("a", 2, "train"), *make_talker("b", 2)])
    out = tmp_path / "out"
    words = ["preference", f"ours={trained}", "--corpus", str(tmp_path / "corpus")]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(out)])
    preference.main()
    command = capsys.readouterr().out.split()
    assert command[:3] == ["dualtalker", "study", "make"]
    contestants = read_contestants(command[3 : command.index("--recordings")])
    assert list(contestants) == ["ours", "loudness"]
    sounds = [Path(word) for word in command[command.index("--recordings") + 1 : -2]]
    assert [path.name for path in sounds] == ["b_0.wav", "b_1.wav"]
    assert all(path.is_file() for path in sounds)
    moved = {name: read_motion_csv(path / "b_0.csv")[1] for name, path in contestants.items()}
    assert moved["ours"].shape == moved["loudness"].shape == (50, 52)
    assert not np.allclose(moved["ours"], moved["loudness"])
