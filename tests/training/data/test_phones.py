"""Phones become classes that cover the sound in order; every symbol of every voice is known."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualtalker.speech import EspeakProcess, Phoneme
from training.data import LANGUAGES, PHONE_CLASSES, CorpusError, Phone, class_ids
from training.data.phones import arpabet_classes, ipa_classes, segment_espeak, segment_labels
from training.data.synthesis import read_texts

LABELS = ["P", "B", "M", "F", "V", "AA", "IY", "AW", "OY", "T", "S", "SIL", "W", "NG", "hh", "pau"]
SYMBOLS = ["p", "ˈaɪ", "b", "m", "t", "tʃ", "", "pf", "ɔː", "s", "ph", "k", "w", "uː", "f", "əl"]


def assert_covers(segments, duration_s):
    assert segments[0].start_s == 0
    assert segments[-1].end_s == pytest.approx(duration_s, abs=2e-6)
    for before, after in itertools.pairwise(segments):
        assert after.start_s == pytest.approx(before.end_s, abs=2e-6)
        assert not before.label == after.label == "sil"
    assert all(s.end_s > s.start_s for s in segments)
    assert {s.label for s in segments} <= set(PHONE_CLASSES)


lengths = st.lists(st.floats(0, 0.3), min_size=1, max_size=30)


@given(lengths, st.lists(st.sampled_from(LABELS), min_size=30, max_size=30), st.floats(0.05, 5))
def test_arpabet_segments_cover_any_duration(steps, labels, duration_s):
    rows, now_s = [], 0.0
    for step, label in zip(steps, labels, strict=False):
        rows.append((label, now_s, now_s + step))
        now_s += step * (1.0 if label != "V" else 1.5)  # leaves gaps here and there
    assert_covers(segment_labels(rows, duration_s), duration_s)


@given(lengths, st.lists(st.sampled_from(SYMBOLS), min_size=30, max_size=30), st.floats(0, 0.5))
def test_espeak_segments_cover_any_duration(steps, symbols, tail_s):
    phonemes, now_s = [], 0.0
    for step, symbol in zip(steps, symbols, strict=False):
        phonemes.append(Phoneme(symbol, now_s))
        now_s += step
    duration_s = now_s + tail_s + 0.01
    assert_covers(segment_espeak(phonemes, duration_s), duration_s)


@pytest.mark.parametrize(
    ("ipa", "classes"),
    [
        ("ˈoʊ", ("OW", "UW")),
        ("ɜː", ("ER",)),
        ("ɜ", ("AH",)),
        ("əl", ("AX", "LL")),
        ("pf", ("PP", "FF")),
        ("tʃ", ("CH",)),
        ("ts.h", ("CH", "HH")),
        ("ɔ̃", ("AO",)),
        ("ç", ("YY",)),
        ("ˈaɪə", ("AA", "IH", "AX")),
        ("", ()),
        ("(en)", ()),
        ("ˈ", ()),
    ],
)
def test_ipa_classes(ipa, classes):
    assert ipa_classes(ipa) == classes


def test_unknown_symbols_are_named():
    with pytest.raises(CorpusError, match="'ʘ'"):
        ipa_classes("aʘ")
    with pytest.raises(CorpusError, match="'QQ'"):
        arpabet_classes("QQ")


def test_arpabet_is_the_same_in_any_spelling():
    assert arpabet_classes("ow1") == arpabet_classes("OW") == ("OW", "UW")
    assert arpabet_classes("sil") == arpabet_classes("pau") == ("sil",)


def test_a_voiceless_stop_is_closed_before_its_event_and_a_voiced_one_after_it():
    phonemes = [Phoneme(ipa, t) for ipa, t in (("a", 0.1), ("p", 0.3), ("a", 0.34))]
    closure = next(s for s in segment_espeak(phonemes, 0.6) if s.label == "PP")
    assert (closure.start_s, closure.end_s) == (pytest.approx(0.25), pytest.approx(0.3))
    phonemes = [Phoneme(ipa, t) for ipa, t in (("a", 0.1), ("b", 0.3), ("a", 0.39))]
    closure = next(s for s in segment_espeak(phonemes, 0.6) if s.label == "PP")
    assert (closure.start_s, closure.end_s) == (pytest.approx(0.3), pytest.approx(0.368))


def test_the_burst_of_an_aligned_plosive_belongs_to_what_follows():
    segments = segment_labels([("P", 0.0, 0.1), ("AA", 0.1, 0.3), ("P", 0.3, 0.4)], 0.4)
    assert segments[0] == Phone("PP", 0.0, pytest.approx(0.075))
    assert segments[1].start_s == pytest.approx(0.075)
    assert segments[2].end_s == pytest.approx(0.4)  # nothing follows


def test_class_ids_follow_the_segments():
    ids = class_ids([Phone("sil", 0, 0.1), Phone("PP", 0.1, 0.2)], 15, 50)
    names = [PHONE_CLASSES[k] for k in ids]
    assert names == ["sil"] * 5 + ["PP"] * 5 + ["sil"] * 5


@pytest.mark.parametrize("name", sorted(LANGUAGES))
def test_every_symbol_of_every_sentence_has_a_class(name):
    pytest.importorskip("espeakng_loader", reason="needs pip install 'dualtalker[speech]'")
    language = LANGUAGES[name]
    texts = read_texts(language.sentences)
    assert len(texts.sentences) >= 20
    seen = set()
    with EspeakProcess() as espeak:
        words = [word for words in texts.lists.values() for word in words]
        for text in [*texts.sentences, *words]:
            seen |= {p.ipa for p in espeak.speak(text, language.voice).phonemes}
    classes = {c for ipa in seen for c in ipa_classes(ipa)}  # raises for an unknown symbol
    assert {"PP", "FF" if name != "ja" else "BH"} <= classes
