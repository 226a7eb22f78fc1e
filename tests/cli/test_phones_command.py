"""`animate --phones` and `speak`: what is known of the words shapes the face."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest
import soundfile

from dualtalker import animate
from dualtalker.cli.main import main
from dualtalker.evaluation import read_motion_csv
from dualtalker.speech import EspeakProcess, segment_espeak
from streamed_speech import speech

PHONES = {"text": "a mop", "phones": [["AA1", 0.1, 0.5, "a"], ["M", 0.5, 0.6, "mop"]]}


@pytest.fixture
def wav(tmp_path):
    soundfile.write(tmp_path / "said.wav", speech(1.0, 16000), 16000)
    return tmp_path / "said.wav"


def run(*arguments):
    return main([str(item) for item in arguments])


def write_phones(folder, content):
    path = folder / "said.phones.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def test_a_file_of_phones_shapes_the_face(tiny, wav, tmp_path):
    out = tmp_path / "out"
    told = write_phones(tmp_path, PHONES)
    assert run("animate", wav, "-o", out, "--model", tiny, "--phones", told) == 0
    _, weights = read_motion_csv(out / "said.csv")
    rows = [row[:3] for row in PHONES["phones"]]
    expected = animate(wav, model=tiny, phones=rows).weights
    np.testing.assert_allclose(weights, expected, atol=1e-5)
    assert np.abs(expected - animate(wav, model=tiny).weights).max() > 0.05
    counters = json.loads((out / "said.json").read_text("utf-8"))["counters"]
    assert counters["late_phones"] == counters["wrong_phones"] == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "Expecting"),
        ("[]", "expected"),
        ('{"phones": 3}', "start_s"),
        ('{"phones": [["P", 0]]}', "start_s"),
        ('{"phones": [["ʘ", 0, 1]]}', "ʘ"),
        ('{"phones": [["P", NaN, 1]]}', "Out of range"),
        ('{"phones": [["P", 0, 1e400]]}', "said.phones.json"),
        ('{"phones": [], "phones": []}', "phones"),
        ('{"phones": ' + 5000 * "[" + 5000 * "]" + "}", "said.phones.json"),
    ],
)
def test_a_bad_file_of_phones_is_refused_in_one_line(tiny, wav, tmp_path, capsys, content, words):
    told = write_phones(tmp_path, content)
    arguments = ("animate", wav, "-o", tmp_path / "out", "--model", tiny, "--phones", told)
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error and "said.phones.json" in error
    assert not (tmp_path / "out").exists()


def test_phones_are_of_one_recording(tiny, wav, tmp_path, capsys):
    other = tmp_path / "other.wav"
    other.write_bytes(wav.read_bytes())
    told = write_phones(tmp_path, PHONES)
    for files in ((wav, other), (wav,)):
        missing = told if len(files) > 1 else tmp_path / "none.json"
        arguments = ("-o", tmp_path / "out", "--model", tiny, "--phones", missing)
        assert run("animate", *files, *arguments) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "one recording" in first and "none.json" in second


@pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="needs the [speech] extra")
def test_speak_knows_its_phones(tiny, tmp_path):
    out = tmp_path / "out"
    assert run("speak", "Bob may move my map.", "-o", out, "--model", tiny) == 0
    _, weights = read_motion_csv(out / "speech.csv")
    with EspeakProcess() as espeak:
        said = espeak.speak("Bob may move my map.")
    phones = segment_espeak(said.phonemes, said.duration_s)
    told = animate(said.samples, said.sample_rate_hz, model=tiny, phones=phones)
    np.testing.assert_allclose(weights, told.weights, atol=1e-5)
    assert told.counters["wrong_phones"] == 0
    shut = told.weights[:, 18] == told.weights[:, 17]
    for phone in phones:
        if phone.label == "PP":
            inside = (told.times_s > phone.start_s - 0.04) & (told.times_s < phone.end_s + 0.04)
            assert shut[inside].any()
