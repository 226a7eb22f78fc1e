"""Phones become classes, whatever their notation; with a sound, they cover it in order."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout import ROOT
from dualtalker.errors import SpeechError
from dualtalker.speech import (
    PHONE_CLASSES,
    Phone,
    Phoneme,
    arpabet_classes,
    ipa_classes,
    read_phones,
    segment_espeak,
    segment_labels,
)

TABLE = ROOT.parent / "shared" / "data" / "tables" / "sapi_azure_viseme_ids.json"
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
    with pytest.raises(SpeechError, match="'ʘ'"):
        ipa_classes("aʘ")
    with pytest.raises(SpeechError, match="'QQ'"):
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


def classes_of(*labels):
    return [phone.label for phone in read_phones([(x, k, k + 1) for k, x in enumerate(labels)])]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (("HH", "AH0", "L", "OW1", "SIL", ""), ["HH", "AH", "LL", "OW", "UW", "sil", "sil"]),
        (("B", "AA1", "M"), ["PP", "AA", "PP"]),
        (("p", "S", "T", "@", "E", "u", "sil"), ["PP", "CH", "TH", "AX", "EH", "UW", "sil"]),
        ((21, 0, 18, "7", 9), ["PP", "sil", "FF", "UW", "AA", "UW"]),
        (("^", "ˈoʊ", "b", "_", "vˈ", "."), ["sil", "OW", "UW", "PP", "sil", "FF", "sil"]),
        (("pf", "ç", "ʧ", "ˈ"), ["PP", "FF", "YY", "CH"]),
        ((), []),
    ],
)
def test_one_table_reads_every_notation(labels, classes):
    assert classes_of(*labels) == classes


def test_a_diphthong_is_shared_between_its_halves_and_order_is_that_of_time():
    phones = read_phones([("AW", 1.0, 1.2, "now"), ("N", 0.9, 1.0, "now")])
    assert phones == [Phone("NN", 0.9, 1.0), Phone("AA", 1.0, 1.1), Phone("UW", 1.1, 1.2)]
    assert read_phones(phones) == phones


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("QQ1", 0, 1), "'Q'"),
        (("22", 0, 1.0), "0 to 21"),
        (("P", 0), "start_s, end_s"),
        ("Pab", "start_s, end_s"),
        ((True, 0, 1), "label"),
        ((None, 0, 1), "label"),
        (("P", float("nan"), 1), "seconds"),
        (("P", 0, float("inf")), "seconds"),
        (("P", "0", 1), "seconds"),
        (("P", 2, 1), "ends before"),
        (Phone("XX", 0, 1), "sil, AA"),
        (7, "start_s, end_s"),
    ],
)
def test_what_is_no_phone_is_refused_in_words(row, words):
    with pytest.raises(SpeechError, match=words):
        read_phones([row])


def test_notations_are_not_mixed():
    with pytest.raises(SpeechError, match="one notation"):
        read_phones([("AH", 0, 1), ("ə", 1, 2)])


@pytest.mark.skipif(not TABLE.is_file(), reason="needs the table in ../shared/data")
def test_every_published_viseme_number_looks_like_one_of_its_phones():
    published = json.loads(TABLE.read_text("utf-8"))["visemes"]
    for number, names in published.items():
        names = [{"silence": "SIL", "h": "HH"}.get(name, name.upper()) for name in names]
        assert classes_of(int(number))[0] in [classes_of(name)[0] for name in names]
