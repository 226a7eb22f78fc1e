"""The reader of words: what it may read, what it must not mind, and the study's whole road."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.errors import DualtalkerError
from dualtalker.rig.robot_head import build_head
from tiny_training import make_clip
from training.data import Clip, save_clips
from training.studies import readability
from training.studies.word_reader import (
    Pattern,
    WordReader,
    align,
    find_path,
    normalize,
    show_lips,
    smooth,
    teach_reader,
    vary,
)

SENTENCES = [" ".join(words) for words in itertools.product(("ba", "lay"), ("one", "two", "ba"))]
PATTERN = Pattern.of(SENTENCES)
# What the lips do in a word: jaw, pucker.
LOOKS = {"ba": (0.6, 0.0), "lay": (0.25, 0.1), "one": (0.2, 0.7), "two": (0.05, 0.4)}


def say(sentence: str, gain: float = 1.0) -> np.ndarray:
    """Weights of a second of a sentence: shut lips between words that look unlike."""
    motion = np.zeros((50, 52), np.float32)
    for number, word in enumerate(sentence.split()):
        rows = slice(8 + 22 * number, 20 + 22 * number)
        jaw, pucker = LOOKS[word]
        motion[rows, ARKIT_INDEX["jawOpen"]] = gain * jaw
        motion[rows, ARKIT_INDEX["mouthPucker"]] = gain * pucker
    return motion


@given(st.integers(0, 9999), st.integers(6, 20))
@settings(max_examples=20, deadline=None)
def test_a_path_never_leaves_what_is_allowed(seed: int, frames: int) -> None:
    """Of all ways from left to right it is the likeliest: the same as by trying them all."""
    scores = np.random.default_rng(seed).normal(size=(frames, 3))
    barred = np.where(np.eye(3) + np.eye(3, k=1) > 0, 0.0, -np.inf)
    ends = np.array([True, False, False]), np.array([False, False, True])
    path = find_path(scores, barred, *ends)
    cuts = itertools.combinations(range(1, frames), 2)
    tried = [np.repeat([0, 1, 2], np.diff([0, *cut, frames])) for cut in cuts]
    rows = np.arange(frames)
    best = max(tried, key=lambda way: scores[rows, way].sum())
    np.testing.assert_array_equal(path, best)
    chained = align(np.stack([scores, scores]))
    # A chain may begin at its second place and end at its last but one.
    assert scores[rows, chained[0]].sum() >= scores[rows, best].sum() - 1e-9
    assert (np.diff(chained) >= 0).all() and (np.diff(chained) <= 1).all()
    with pytest.raises(DualtalkerError, match="found 2 frames"):
        find_path(scores[:2], barred, *ends)


@pytest.mark.parametrize("text", SENTENCES)
def test_words_are_numbered_as_they_stand(text: str) -> None:
    assert [PATTERN.words[number] for number in PATTERN.encode(text)] == text.split()


def test_sentences_of_unequal_length_have_no_pattern() -> None:
    for texts in ([], ["a b", "c"], [""]):
        with pytest.raises(DualtalkerError, match="one number of words"):
            Pattern.of(texts)
    with pytest.raises(ValueError, match="found 'nine'"):
        PATTERN.encode("ba nine")


def test_lips_that_meet_look_alike_however_they_meet() -> None:
    head = build_head()
    motion = np.zeros((3, 52), np.float32)
    motion[1:, ARKIT_INDEX["jawOpen"]] = 0.4
    motion[2, ARKIT_INDEX["mouthClose"]] = 0.4
    gap = show_lips(motion, head)[:, 0]
    assert gap[1] > 10 * gap[0] and gap[2] < 0.1 * gap[1]


def test_a_talkers_gain_and_rest_are_no_matter() -> None:
    rng = np.random.default_rng(0)
    curves = [rng.normal(size=(9, 2)) for _ in range(3)]
    louder = normalize([3.0 * c + 5.0 for c in curves])
    for own, other in zip(normalize(curves), louder, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-6)
    assert not normalize([np.ones((5, 1))])[0].any()
    varied = vary(curves[0], rng)
    assert varied.shape == curves[0].shape and not np.allclose(varied, curves[0])
    assert np.ptp(smooth(curves[0], 0.2)) < np.ptp(curves[0])


def make_sentences(copies: int, **fields: object) -> list[Clip]:
    """Clips of the sentences, heard where the lips move."""
    rng = np.random.default_rng(1)
    clips = []
    for number, text in enumerate(SENTENCES * copies):
        audio = rng.normal(0.0, 1e-4, 16000)
        audio[8 * 320 : 42 * 320] += rng.normal(0.0, 0.1, 34 * 320)
        motion = say(text, rng.uniform(0.8, 1.2))
        values = {"transcript": text, "motion": motion, "phones": None, **fields}
        clip = make_clip(f"{fields.get('speaker')}{number}", number, 1.0, **values)
        clip.audio = audio.astype(np.float32)
        clips.append(clip)
    return clips


@pytest.fixture(scope="module")
def reader() -> WordReader:
    head = build_head()
    clips = make_sentences(6)
    seen = normalize([show_lips(clip.motion, head) for clip in clips])
    return teach_reader(clips, seen, PATTERN, seed=0)


def test_a_reader_reads_another_gain_but_no_still_face(reader: WordReader) -> None:
    head = build_head()
    weaker = normalize([show_lips(say(text, 0.5), head) for text in SENTENCES])
    assert reader.read(weaker) == [text.split() for text in SENTENCES]
    still = reader.read([np.zeros_like(curves) for curves in weaker])
    assert len({tuple(words) for words in still}) == 1


def test_intervals_hold_the_accuracy() -> None:
    hits = np.random.default_rng(0).random((40, 6)) < 0.7
    accuracy, low, high = readability.bound_accuracy(hits)
    assert accuracy == pytest.approx(hits.mean()) and low < accuracy < high
    assert readability.bound_accuracy(np.ones((3, 6))) == (1.0, 1.0, 1.0)


def test_the_study_reads_captured_motion_models_and_baselines(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"style": "captured:one", "speaker": "one"}
    two = {"style": "captured:two", "speaker": "two", "split": "validation"}
    clips = [*make_sentences(6, **one), *make_sentences(2, **two)]
    for clip in clips[:6]:
        clip.split, clip.phones = "validation", make_clip("x", 0, 1.0).phones
    save_clips(tmp_path / "corpus", clips)
    out = tmp_path / "out"
    words = ["readability", "--corpus", str(tmp_path / "corpus"), "--models", str(trained)]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(out)])
    readability.main()
    rows = json.loads((out / "readability.json").read_text())
    found = {(r["reader"], r["motion"], r["talker"]): r["accuracy"] for r in rows}
    assert found["reader", "captured motion", "two"] > 0.9
    assert found["reader", "a face at rest", "two"] < 0.6
    assert ("reader", "rules, from known phones", "one") in found
    assert ("reader", "rules, from known phones", "two") not in found
    assert ("reader taught on this motion", trained.stem, "two") in found
    table = (out / "readability.md").read_text()
    assert table.splitlines()[2].startswith("| captured motion | reader | ")
    assert (out / "readability.svg").read_text().startswith("<svg")
    monkeypatch.setattr(sys, "argv", ["readability", "--corpus", str(trained.parent)])
    with pytest.raises(SystemExit):
        readability.main()
