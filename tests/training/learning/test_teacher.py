"""The teacher that labels recordings without motion; its student is any training."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.evaluation import metrics
from tiny_training import make_clip, tiny_train_config
from training.data import digest_of, load_clips, save_clips
from training.learning import train
from training.teacher import TeacherError, teach
from training.teaching import TeacherConfig, hear, prepare_lesson
from training.teaching.lessons import UNKNOWN_PHONE, damage, draw, hurry

JAW = ARKIT_INDEX["jawOpen"]
ALONE = {"motion": None, "phones": None, "style": "none", "source": "unpaired:made"}


def write_corpus(folder: Path, captured: int = 3, unpaired: int = 2) -> Path:
    fields = {"style": "captured:one", "phones": None}
    clips = [make_clip(f"captured_{i}", i, **fields) for i in range(captured)]
    clips.append(make_clip("ruled", 30))
    for i in range(unpaired):
        clips.append(make_clip(f"alone_{i}", 40 + i, **ALONE))
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
    assert set(figures) == {
        f"captured:one, {name}" for name in ("member 0", "member 1", "ensemble")
    }
    assert figures["captured:one, ensemble"]["jaw r"] > 0.8
    taught = load_clips(tmp_path / "taught")
    assert [c.name for c in taught] == ["alone_0-taught", "alone_1-taught"]
    for number, clip in enumerate(taught):
        truth = make_clip("truth", 40 + number).motion
        assert clip.motion is not None and truth is not None
        assert metrics.correlate(clip.motion[:, JAW], truth[:, JAW]) > 0.8
        assert clip.motion.min() >= 0 and clip.motion.max() <= 1
        assert not clip.motion[:, ~clip.motion_mask].any()
        assert clip.style == "captured:one" and clip.source == "taught:unpaired:made"
        assert clip.split == "train"


def test_teaching_repeats_with_its_seed_and_tells_what_is_missing(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    quick = {"steps": 3, "members": 1}
    for name in ("one", "two"):
        teach(tiny(corpus, tmp_path / name, **quick))
    assert digest_of(tmp_path / "one") == digest_of(tmp_path / "two")
    plain = {**quick, "phone_steps": 0}
    for seed in (0, 1):
        teach(tiny(corpus, tmp_path / f"seed {seed}", **plain, seed=seed))
    assert digest_of(tmp_path / "seed 0") != digest_of(tmp_path / "seed 1")
    with pytest.raises(TeacherError, match="already holds clips"):
        teach(tiny(corpus, tmp_path / "one", **quick))
    with pytest.raises(TeacherError, match="captured:one"):
        teach(tiny(corpus, tmp_path / "three", label={"captured:nobody": "*"}))
    for changes in ({"members": 0}, {"student_share": 1.5}):
        with pytest.raises(TeacherError, match=r"expected (some who teach|0 to 1)"):
            teach(tiny(corpus, tmp_path / "three", **changes))
    alone = write_corpus(tmp_path / "paired", unpaired=0)
    with pytest.raises(TeacherError, match="--unpaired"):
        teach(tiny(alone, tmp_path / "four"))


def test_each_style_labels_the_recordings_that_it_is_told_to(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    two = {"captured:one": JAW, "captured:two": ARKIT_INDEX["mouthPucker"]}
    clips = []
    for style, channel in two.items():
        for number in range(2):
            clip = make_clip(f"{style}-{number}", number, style=style, phones=None)
            assert clip.motion is not None
            clip.motion = np.roll(clip.motion, channel - JAW, axis=1)
            clip.motion_mask = np.zeros(52, bool)
            clip.motion_mask[channel] = True
            clips.append(clip)
    clips.append(make_clip("read", 5, source="labeled:here"))
    clips.append(make_clip("alone", 6, motion=None, phones=None, source="unpaired:there"))
    save_clips(corpus, clips)
    label = {"captured:one": "labeled:*", "captured:two": "unpaired:*"}
    teach(tiny(corpus, tmp_path / "taught", label=label, steps=5))
    taught = {c.name: c for c in load_clips(tmp_path / "taught")}
    assert set(taught) == {"read-taught", "alone-taught"}
    read, alone = taught["read-taught"], taught["alone-taught"]
    assert (read.style, alone.style) == ("captured:one", "captured:two")
    assert read.phones and read.source == "taught:labeled:here"
    assert np.flatnonzero(read.motion_mask).tolist() == [JAW]
    assert np.flatnonzero(alone.motion_mask).tolist() == [ARKIT_INDEX["mouthPucker"]]


def test_a_student_joins_the_ensemble(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    student = train(tiny_train_config(corpus, tmp_path / "run", steps=4))
    alone = {"members": 0, "students": (student,)}
    quick = {"steps": 3, "phone_steps": 2, "members": 2}

    def label(name: str, **changes: object) -> np.ndarray:
        figures = teach(tiny(corpus, tmp_path / name, **changes))
        assert ("captured:one, student 0" in figures) == ("students" in changes)
        motion = load_clips(tmp_path / name)[0].motion
        assert motion is not None
        return motion

    members, together, student_alone = (
        label("members", **quick),
        label("together", **quick, students=(student,), student_share=0.25),
        label("alone", **alone, phone_steps=0),
    )
    inside = (members > 0) & (members < 1)  # elsewhere the mean is of what was cut to [0, 1]
    assert inside.mean() > 0.1
    mean = 0.75 * members + 0.25 * student_alone
    np.testing.assert_allclose(together[inside], mean[inside], atol=1e-4)
    assert np.abs(members - student_alone).max() > 0.05
    manifest = json.loads((tmp_path / "together" / "teacher.json").read_text())
    digest = hashlib.sha256(student.read_bytes()).hexdigest()
    assert manifest["config"]["students"] == [digest]
    stranger = train(tiny_train_config(write_corpus(tmp_path / "x"), tmp_path / "y", steps=1))
    other = save_as(tmp_path / "other", "captured:two")
    with pytest.raises(TeacherError, match="expected captured:two among them"):
        teach(tiny(other, tmp_path / "none", students=(stranger,)))


def save_as(folder: Path, style: str) -> Path:
    clips = [make_clip("captured", 0, style=style, phones=None)]
    save_clips(folder, [*clips, make_clip("alone", 1, **ALONE)])
    return folder


def test_phones_are_learned_first_where_they_are_known(tmp_path: Path) -> None:
    wordless = save_as(tmp_path / "wordless", "captured:one")
    with pytest.raises(TeacherError, match=r"known phones.*--phone-steps 0"):
        teach(tiny(wordless, tmp_path / "none"))
    teach(tiny(wordless, tmp_path / "taught", phone_steps=0, steps=2))
    assert load_clips(tmp_path / "taught")[0].motion is not None


def test_a_short_clip_is_drawn_whole_and_counts_no_further() -> None:
    lessons = [
        prepare_lesson(make_clip("x", 1, seconds), np.arange(52), np.ones(52, np.float32))
        for seconds in (1.0, 3.0)
    ]
    drawn = draw(lessons, 12, 2.0, np.random.default_rng(0))
    assert drawn.mel.shape == (12, 128, 100) and drawn.motion.shape == (12, 52, 100)
    short = [row for row in range(12) if not drawn.weight[row, :, 50:].any()]
    assert 0 < len(short) < 12
    for row in range(12):
        past = drawn.phones[row, 50:] == UNKNOWN_PHONE
        assert bool(past.all()) == (row in short)
        assert (drawn.phones[row, :50] >= 0).all()


@pytest.mark.parametrize("tempo", [0.95, 1.0, 1.37, 1.6])
def test_faster_speech_keeps_sound_and_motion_together(tempo: float) -> None:
    lesson = prepare_lesson(make_clip("x", 1, 4.0), np.arange(52), np.ones(52, np.float32))
    first, frames = 20, 80
    fast = hurry(lesson, first, frames, tempo)
    place = first + tempo * np.arange(frames)
    assert len(fast.mel) == len(fast.motion) == len(fast.weight) == len(fast.phones) == frames
    np.testing.assert_array_equal(fast.phones, lesson.phones[np.round(place).astype(int)])
    for channel in (0, 17, 40):
        wanted = np.interp(place, np.arange(200), lesson.motion[:, channel])
        np.testing.assert_allclose(fast.motion[:, channel], wanted, atol=1e-5)
    heard = lesson.mel.astype(np.float32).reshape(400, 64)
    later = np.add.outer(2 * place, [0.0, tempo]).ravel()  # two spectra a frame, faster too
    for band in (3, 60):
        wanted = np.interp(later, np.arange(400), heard[:, band])
        np.testing.assert_allclose(fast.mel.reshape(-1, 64)[:, band], wanted, atol=1e-3)


def test_faster_speech_ends_with_the_clip() -> None:
    lesson = prepare_lesson(make_clip("x", 1, 1.0), np.arange(52), np.ones(52, np.float32))
    assert len(hurry(lesson, 0, 50, 1.0).mel) == 50
    assert len(hurry(lesson, 0, 50, 2.0).mel) == 25
    with pytest.raises(TeacherError, match="tempo"):
        teach(TeacherConfig(tempo=(1.2, 0.9)))


def test_damage_spares_time_and_size() -> None:
    mel = hear(make_clip("x", 1).audio, 150)
    damaged = damage(mel, np.random.default_rng(0))
    assert mel.shape == damaged.shape == (150, 2, 64)
    loud, loud_damaged = mel.mean((1, 2)), damaged.mean((1, 2))
    assert np.corrcoef(loud, loud_damaged)[0, 1] > 0.9
