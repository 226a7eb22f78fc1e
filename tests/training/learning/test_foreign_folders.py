"""The doors of the trainer write nothing into folders of somebody else, nor over a training."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualtalker.errors import DualtalkerError
from tiny_training import make_corpus
from training import ablate, build_default, corpus, teacher
from training.building import FOLDERS, BuildConfig
from training.configs import TrainConfig
from training.learning import train

PRECIOUS = b"a user's own"


def occupy(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PRECIOUS)
    return path


@pytest.mark.parametrize("door", ["corpus", "train", "teacher", "ablate", "build_default"])
def test_doors_of_the_trainer_refuse_folders_of_others(tmp_path, door):
    out, clips, data = tmp_path / "out", make_corpus(tmp_path / "clips"), tmp_path / "data"
    for name in FOLDERS:
        (data / name).mkdir(parents=True)
    theirs = [occupy(out / name) for name in ("thesis.tex", "index.json.bak")]
    begin = {
        "corpus": lambda: corpus.build_corpus(corpus.CorpusConfig(out, 0.01, flite=False)),
        "train": lambda: train(TrainConfig(out=out)),
        "teacher": lambda: teacher.teach(teacher.TeacherConfig(corpus=(clips,), out=out)),
        "ablate": lambda: ablate.run_grid(ablate.AblateConfig(corpus=(clips,), out=out)),
        "build_default": lambda: build_default.build(BuildConfig(data, out=out)),
    }
    with pytest.raises(DualtalkerError, match="was not written by dualtalker"):
        begin[door]()
    assert sorted(out.iterdir()) == sorted(theirs)
    assert all(path.read_bytes() == PRECIOUS for path in theirs)


def test_a_training_does_not_begin_over_another(tmp_path):
    theirs = occupy(tmp_path / "run" / "step_0000100.safetensors")
    with pytest.raises(DualtalkerError, match="--resume"):
        train(TrainConfig(out=tmp_path / "run"))
    assert theirs.read_bytes() == PRECIOUS
