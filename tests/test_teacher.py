"""The teacher that labels recordings without motion; its student is any training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from dualtalker import metrics
from dualtalker.arkit import ARKIT_INDEX
from tests.tiny_training import make_clip
from training.clips import digest_of, load_clips, save_clips
from training.lessons import damage, hear
from training.teacher import TeacherConfig, TeacherError, teach

JAW = ARKIT_INDEX["jawOpen"]


def write_corpus(folder: Path, captured: int = 3, unpaired: int = 2) -> Path:
    fields = {"style": "captured:one", "phones": None}
    clips = [make_clip(f"captured_{i}", i, **fields) for i in range(captured)]
    clips.append(make_clip("ruled", 30))
    for i in range(unpaired):
        clips.append(make_clip(f"alone_{i}", 40 + i, motion=None, phones=None, style="none"))
    clips.append(make_clip("held", 7, **fields, split="validation"))
    save_clips(folder, clips)
    return folder


def tiny(corpus: Path, out: Path, **changes: object) -> TeacherConfig:
    values = {"members": 2, "steps": 30, "channels": 16, "dilations": (1, 2), "dropout": 0.1}
    values["phone_steps"] = 20
    values |= {"segment_s": 1.5, "batch": 4, **changes}
    return TeacherConfig(corpus=(corpus,), out=out, **values)  # type: ignore[arg-type]


def test_unpaired_clips_get_the_motion_that_their_sound_calls_for(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    figures = teach(tiny(corpus, tmp_path / "taught"))
    assert set(figures) == {"member 0", "member 1", "ensemble"}
    assert figures["ensemble"]["jaw r"] > 0.8
    taught = load_clips(tmp_path / "taught")
    assert [c.name for c in taught] == ["alone_0-taught", "alone_1-taught"]
    for number, clip in enumerate(taught):
        truth = make_clip("truth", 40 + number).motion
        assert clip.motion is not None and truth is not None
        assert metrics.correlate(clip.motion[:, JAW], truth[:, JAW]) > 0.8
        assert clip.motion.min() >= 0 and clip.motion.max() <= 1
        assert not clip.motion[:, ~clip.motion_mask].any()
        assert clip.style == "captured:one" and clip.source == "taught:made"
        assert clip.split == "train"


def test_teaching_repeats_with_its_seed_and_tells_what_is_missing(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    quick = {"steps": 3, "members": 1}
    for name in ("one", "two"):
        teach(tiny(corpus, tmp_path / name, **quick))
    assert digest_of(tmp_path / "one") == digest_of(tmp_path / "two")
    with pytest.raises(TeacherError, match="already holds clips"):
        teach(tiny(corpus, tmp_path / "one", **quick))
    with pytest.raises(TeacherError, match="captured:one"):
        teach(tiny(corpus, tmp_path / "three", style="captured:nobody"))
    alone = write_corpus(tmp_path / "paired", unpaired=0)
    with pytest.raises(TeacherError, match="--unpaired"):
        teach(tiny(alone, tmp_path / "four"))


def test_damage_spares_time_and_size() -> None:
    mel = hear(make_clip("x", 1).audio, 150)
    damaged = damage(mel, np.random.default_rng(0))
    assert mel.shape == damaged.shape == (150, 2, 64)
    loud, loud_damaged = mel.mean((1, 2)), damaged.mean((1, 2))
    assert np.corrcoef(loud, loud_damaged)[0, 1] > 0.9
