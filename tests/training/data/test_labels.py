"""Lists of phone labels: any language, doubtful words left out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from training.data import CorpusError, check_clip, read_labeled

LINE = {
    "file": "a.ogg",
    "speaker": "ann",
    "language": "de",
    "text": "Papa",
    "doubtful": [],
    "phones": [["SIL", 0, 0.5, ""], ["p", 0.5, 0.6, "w"], ["aː", 0.6, 0.9, "w"]],
}


def write_list(folder, *lines, seconds=4.0):
    (folder / "speech").mkdir(parents=True, exist_ok=True)
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, int(seconds * 16000))
    soundfile.write(folder / "speech" / "a.ogg", sound, 16000)
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "speech.jsonl").write_text(text + "\n")
    return folder


def test_a_line_is_a_clip_in_its_own_notation(tmp_path):
    english = {**LINE, "language": "en", "phones": [["P", 0.5, 0.6], ["AA", 0.6, 0.9]]}
    clips = list(read_labeled(write_list(tmp_path, LINE, english), holdout=["a"]))
    for clip in clips:
        check_clip(clip)
        assert [p.label for p in clip.phones] == ["sil", "PP", "AA", "sil"]
        assert (clip.speaker, clip.source) == ("ann", "labeled:speech")
        assert (clip.style, clip.split) == ("rules", "validation")
        # The burst belongs to the vowel: the lips have parted by then.
        assert clip.phones[1].end_s < 0.6


@pytest.mark.parametrize(
    ("label", "classes"),
    [
        ("t+nas", "DD"),
        ("b-sth", "PP"),
        ("tasp+sth", "DD"),
        ("ʔ", "HH"),
        ("ɭʲ", "LL"),
        ('u"', "UW"),
    ],
)
def test_what_phoneticians_note_beside_a_phone_is_left_aside(tmp_path, label, classes):
    line = {**LINE, "phones": [[label, 0.5, 0.9]]}
    (clip,) = read_labeled(write_list(tmp_path, line))
    assert [p.label for p in clip.phones] == ["sil", classes, "sil"]


def test_doubtful_words_are_cut_out(tmp_path):
    line = {**LINE, "doubtful": [[1.5, 2.0, "word"]]}
    clips = list(read_labeled(write_list(tmp_path, line)))
    assert [round(c.duration_s, 2) for c in clips] == [1.4, 1.9]
    assert clips[0].name == "a@0.00" and clips[1].name == "a@2.10"
    for clip in clips:
        check_clip(clip)
    late = {**LINE, "doubtful": [[0.5, 3.5, "word"]]}
    assert list(read_labeled(write_list(tmp_path, late))) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1"),
        ({**LINE, "file": "../a.ogg"}, "expected a file's name"),
        ({**LINE, "phones": [["p", "x", 1]]}, "line 1"),
        ({**LINE, "phones": [["p", 0.5]]}, "line 1"),
        ({**LINE, "phones": [["☃", 0.5, 0.9]]}, "no mouth-shape class"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    with pytest.raises(CorpusError, match=message):
        list(read_labeled(write_list(tmp_path, line)))
