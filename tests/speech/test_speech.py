"""Speech by espeak-ng: exact times, the same sound each time, and errors that help."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dualtalker.errors import SpeechError
from dualtalker.speech import EspeakProcess, espeak_worker, synthesize
from dualtalker.speech import espeak as speech


@pytest.fixture(scope="module")
def espeak():
    pytest.importorskip("espeakng_loader", reason="needs pip install 'dualtalker[speech]'")
    with EspeakProcess() as process:
        yield process


def level(said, start_s, end_s):
    rate = said.sample_rate_hz
    return float(np.abs(said.samples[int(start_s * rate) : int(end_s * rate)]).max())


def test_events_lie_in_order_inside_the_sound(espeak):
    said = espeak.speak("Bob bought a map of the moon.")
    times = [p.start_s for p in said.phonemes]
    assert times == sorted(times) and times[-1] <= said.duration_s
    assert said.samples.dtype == np.float32
    assert 0.1 < np.abs(said.samples).max() <= 1
    ipa = "".join(p.ipa for p in said.phonemes)
    assert "m" in ipa and "b" in ipa and "uː" in ipa


@pytest.mark.parametrize("voice", ["en-us", "de", "fr", "es"])
def test_the_event_of_p_is_its_release(espeak, voice):
    said = espeak.speak("papa apa", voice, 130)
    for before, event in zip(said.phonemes, said.phonemes[1:], strict=False):
        if event.ipa == "p" and before.ipa:
            assert level(said, event.start_s - 0.04, event.start_s - 0.005) < 1e-3
            assert level(said, event.start_s, event.start_s + 0.02) > 1e-2


def test_the_same_requests_sound_the_same():
    pytest.importorskip("espeakng_loader", reason="needs pip install 'dualtalker[speech]'")
    requests = [("Five wolves.", "en-gb+f3"), ("Etwas anderes.", "de"), ("Five wolves.", "cmn+f2")]
    runs = []
    for _ in range(2):
        with EspeakProcess() as process:  # +f3 and +f2 are breathy: noise in it
            runs.append([process.speak(*request) for request in requests])
    for first, second in zip(*runs, strict=True):
        np.testing.assert_array_equal(first.samples, second.samples)
        assert first.phonemes == second.phonemes


def test_rate_and_pitch_do_what_they_say(espeak):
    slow, fast = (espeak.speak("A map of the moon.", rate_wpm=r) for r in (120, 220))
    assert slow.duration_s > 1.3 * fast.duration_s
    low, high = (espeak.speak("A map of the moon.", pitch=p) for p in (20, 80))
    assert not np.array_equal(low.samples, high.samples)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": "  "}, "empty"),
        ({"text": "a\0b"}, "zero character"),
        ({"text": "caf\udce9"}, r"not valid Unicode at character 3.*iconv"),
        ({"text": "\ud83d"}, "not valid Unicode"),
        ({"text": "hi", "voice": "de\0"}, "voice holds a zero character"),
        ({"text": "hi", "voice": "de+\ud800"}, "voice is not valid Unicode"),
        ({"text": "hi", "voice": "en-uk"}, r"no voice 'en-uk'; near it: .*en-us"),
        ({"text": "hi", "voice": "de+f9"}, r"no variant 'f9' for 'de'; near it: .*f"),
        ({"text": "hi", "voice": "de+../../de"}, "no variant"),
        ({"text": "hi", "rate_wpm": 9000}, "rate_wpm is 9000, expected 80 to 450"),
        ({"text": "hi", "pitch": -1}, "pitch is -1"),
    ],
)
def test_bad_requests_are_refused_and_the_next_one_works(espeak, arguments, message):
    with pytest.raises(SpeechError, match=message):
        espeak.speak(**arguments)
    assert espeak.speak("still here").duration_s > 0.3


def test_no_answer_in_time(espeak):
    with EspeakProcess(timeout_s=1e-6) as hasty, pytest.raises(SpeechError, match="no answer"):
        hasty.speak("hello")


def test_a_missing_library_names_the_extra(monkeypatch):
    answer = '{"error": "no library", "detail": "it is gone"}'
    monkeypatch.setattr(speech, "WORKER", ("-c", f"print({answer!r})"))
    with pytest.raises(SpeechError, match=r"it is gone.*pip install 'dualtalker\[speech\]'"):
        synthesize("hello")


@pytest.mark.parametrize(
    ("program", "message"), [("print('what?')", "instead of JSON"), ("exit(7)", "status 7")]
)
def test_a_broken_child_is_an_error(monkeypatch, program, message):
    monkeypatch.setattr(speech, "WORKER", ("-c", program))
    with pytest.raises(SpeechError, match=message):
        synthesize("hello")


def test_the_library_is_looked_for_in_two_places(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)  # import fails
    monkeypatch.setattr(espeak_worker.ctypes.util, "find_library", lambda name: f"lib{name}.so.1")
    assert espeak_worker.find_library() == ("libespeak-ng.so.1", None)
    monkeypatch.setattr(espeak_worker.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(OSError, match="espeakng-loader"):
        espeak_worker.find_library()
