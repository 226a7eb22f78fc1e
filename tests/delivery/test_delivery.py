"""Delivery under a simulated clock: steady, on time, bounded, never frozen. No ROS in here."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.audio import AudioChunk
from dualtalker.delivery import PLAYOUT_MARGIN_S, Delivery
from dualtalker.errors import BackendError
from dualtalker.stream import Talker
from simulated_delivery import (
    CHUNK_S,
    JAW,
    RATE_HZ,
    START_NS,
    chunks_of,
    microphone,
    simulate,
    speak,
)


@pytest.fixture
def make(tiny):
    def make_delivery(fps=30.0, **options):
        return Delivery(Talker(tiny, fps=fps), **{"paced": True, **options})

    return make_delivery


@pytest.mark.parametrize("stamped", [True, False])
@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_live_audio_is_steady_and_on_time(make, fps, stamped):
    delivery = make(fps)
    audio = chunks_of(speak(2.0), 1.0, stamped)
    sent = simulate(delivery, audio, end_s=4.5)
    speech = ~sent.idle
    assert (np.diff(sent.indices) == 1).all()
    np.testing.assert_allclose(np.diff(sent.stamps_s[speech]), 1 / fps, atol=1e-8)
    assert sent.stamps_s[speech][0] == pytest.approx(1.0, abs=1e-9)
    assert abs(speech.sum() - 2.0 * fps) <= 1
    late_s = sent.at_s - sent.stamps_s - delivery.latency_s
    heard = speech & (sent.stamps_s < 3.0 - delivery.latency_s)
    assert np.abs(late_s[heard] - PLAYOUT_MARGIN_S).max() < 0.001
    assert np.diff(sent.at_s).max() < 0.1 + 1 / fps


def test_the_mouth_closes_within_200_ms_and_the_face_lives_on(make):
    sent = simulate(make(), chunks_of(speak(1.5), 0.5), end_s=8.0)
    open_mouth = sent.weights[:, JAW]
    assert open_mouth[~sent.idle].max() > 0.2
    assert open_mouth[sent.stamps_s >= 2.0 + 0.2].max() < 0.02
    after = sent.weights[sent.stamps_s > 2.5]
    assert len(after) > 5 * 30
    assert np.ptp(after, axis=0).max() > 0.3, "no blink in five seconds"


def test_idle_before_any_audio(make):
    sent = simulate(make(), [], end_s=2.0)
    assert sent.idle.all()
    assert len(sent.indices) == pytest.approx(2.0 * 30, abs=5)
    assert np.abs(np.diff(sent.at_s) - 1 / 30).max() < 0.001


@pytest.mark.parametrize("stamped", [True, False])
def test_a_burst_plays_in_real_time(make, stamped):
    delivery = make()
    samples = speak(5.0)
    arrivals = [(START_NS + 10**9, chunk) for _, chunk in chunks_of(samples, 1.0, stamped)]
    sent = simulate(delivery, arrivals, end_s=8.0)
    assert abs((~sent.idle).sum() - 150) <= 1
    assert np.diff(sent.at_s).max() < 0.036
    live = simulate(make(), chunks_of(samples, 1.0), end_s=8.0)
    common = min((~sent.idle).sum(), (~live.idle).sum())
    np.testing.assert_allclose(
        sent.weights[~sent.idle][:common], live.weights[~live.idle][:common], atol=1e-5
    )


def test_one_message_of_many_seconds_is_no_different(make):
    whole = [(START_NS + 10**9, AudioChunk(speak(5.0), RATE_HZ, START_NS + 10**9))]
    sent = simulate(make(), whole, end_s=8.0)
    assert abs((~sent.idle).sum() - 150) <= 1
    assert np.diff(sent.at_s).max() < 0.036


def test_immediate_sends_when_computed(make):
    arrivals = [(START_NS + 10**9, chunk) for _, chunk in chunks_of(speak(3.0), 1.0)]
    sent = simulate(make(paced=False), arrivals, end_s=6.0)
    computed = (~sent.idle) & (sent.stamps_s < 3.8)
    assert (sent.at_s[computed] < 1.1).all()


def test_the_queue_is_bounded(make):
    delivery = make(max_queue_s=2.0)
    arrivals = [(START_NS, chunk) for _, chunk in chunks_of(speak(10.0), 0.0, stamped=False)]
    sent = simulate(delivery, arrivals, end_s=6.0)
    assert delivery.counters["queue_drops"] > 0
    assert (~sent.idle).sum() <= 2.0 * 30 + 1
    assert delivery.queued_s == 0


@pytest.mark.parametrize("offset_s", [-3e8, 5e4])
def test_stamps_of_another_clock(make, offset_s):
    delivery = make()
    sent = simulate(delivery, chunks_of(speak(2.0), 1.0, offset_s=offset_s), end_s=5.0)
    speech = ~sent.idle
    assert delivery.counters["clock_offsets"] == 1
    assert sent.stamps_s[speech][0] == pytest.approx(1.0 + offset_s, abs=1e-5)
    np.testing.assert_allclose(np.diff(sent.stamps_s[speech]), 1 / 30, atol=1e-6)
    assert np.diff(sent.at_s).max() < 0.14
    assert abs(speech.sum() - 60) <= 1


@pytest.mark.parametrize("later_s", [3, 20])
def test_speech_that_starts_over_is_heard_at_once(make, later_s):
    """A bag in a loop: the stamps of a second of speech come once more, `later_s` later."""
    first = list(chunks_of(speak(1.0), 1.0))
    again = [
        (at_ns + later_s * 10**9, AudioChunk(chunk.samples, RATE_HZ, chunk.stamp_ns))
        for at_ns, chunk in chunks_of(speak(1.0), 1.0)
    ]
    sent = simulate(make(), first + again, end_s=later_s + 3.5)
    second = (~sent.idle) & (sent.at_s > later_s + 1)
    assert abs(second.sum() - 30) <= 1
    assert sent.stamps_s[second].min() == pytest.approx(1.0, abs=1e-6)
    assert np.diff(sent.at_s).max() < 0.14


@pytest.mark.parametrize(
    ("step_s", "fps"), [(-0.05, 30.0), (-0.2, 60.0), (-0.5, 30.0), (-0.9, 60.0), (-5.0, 30.0)]
)
def test_stamps_set_back_in_mid_stream_stop_no_frame(make, step_s, fps, caplog):
    """As when the source's clock is corrected: audio goes on, its stamps step."""
    delivery = make(fps)
    audio = list(chunks_of(speak(4.0), 1.0))
    audio[100:] = [
        (at_ns, AudioChunk(chunk.samples, RATE_HZ, chunk.stamp_ns + round(step_s * 1e9)))
        for at_ns, chunk in audio[100:]
    ]
    sent = simulate(delivery, audio, end_s=7.0)
    assert delivery.counters["clock_offsets"] == 1
    assert caplog.text.count("clock_offsets") == len(caplog.records) == 1
    during = sent.at_s < 5.0
    assert np.diff(sent.at_s[during]).max() < 2 / fps
    assert abs((~sent.idle).sum() - 4.0 * fps) <= 1
    # The frames keep the stamps of their audio, but for its step, and the speech is not cut.
    steps_s = np.diff(sent.stamps_s[~sent.idle]) - 1 / fps
    assert (np.abs(steps_s) > 1e-6).sum() == 1
    assert steps_s.min() == pytest.approx(step_s, abs=1e-6)
    straight = simulate(make(fps), chunks_of(speak(4.0), 1.0), end_s=7.0)
    np.testing.assert_allclose(
        sent.weights[~sent.idle], straight.weights[~straight.idle], atol=1e-5
    )


@pytest.mark.parametrize("chunk_ms", [100, 500])
def test_stamps_of_a_microphones_long_chunks_set_back(make, chunk_ms):
    chunk_s = chunk_ms / 1e3
    audio = list(microphone(speak(6.0), 1.0, chunk_s, True))
    half = len(audio) // 2
    audio[half:] = [
        (at_ns, AudioChunk(chunk.samples, RATE_HZ, chunk.stamp_ns - 400_000_000))
        for at_ns, chunk in audio[half:]
    ]
    delivery = make()
    sent = simulate(delivery, audio, end_s=9.0)
    assert delivery.counters["clock_offsets"] == 1
    assert np.diff(sent.at_s).max() < chunk_s + 0.1 + 1.01 / 30
    assert not sent.idle[(sent.at_s > 2.5) & (sent.at_s < 6.5)].any()


def test_a_chunk_that_comes_twice_is_no_step(make):
    delivery = make()
    chunks = list(chunks_of(speak(3.0), 1.0, chunk_s=2 * CHUNK_S))
    chunks.insert(30, chunks[29])
    sent = simulate(delivery, chunks, end_s=5.0)
    assert delivery.counters["clock_offsets"] == 0
    assert delivery.talker.counters["overlaps"] >= 1
    assert abs((~sent.idle).sum() - 90) <= 1
    assert np.diff(sent.at_s[sent.at_s < 4.0]).max() < 2 / 30


def test_chunks_that_overlap_are_heard_once(make):
    """Windows of 400 ms, every 200 ms."""
    samples, delivery = speak(3.0), make()
    windows = []
    for number in range(14):
        at_ns = START_NS + 10**9 + number * 2 * 10**8
        window = samples[number * 3200 : number * 3200 + 6400]
        windows.append((at_ns, AudioChunk(window, RATE_HZ, at_ns)))
    sent = simulate(delivery, windows, end_s=6.0)
    assert delivery.counters["clock_offsets"] == 0
    assert delivery.talker.counters["overlaps"] >= 13
    assert abs((~sent.idle).sum() - 90) <= 1
    np.testing.assert_allclose(np.diff(sent.stamps_s[~sent.idle]), 1 / 30, atol=1e-3)


@pytest.mark.parametrize("failures", [1, 10**9])
def test_a_model_that_fails_stops_no_frame(make, monkeypatch, failures, caplog):
    """From its 50th step on, once or for good."""
    delivery = make()
    backend, steps = delivery.talker._backend, iter(range(10**9))
    step = backend.step

    def fail(audio, state, style):
        if 50 <= next(steps) < 50 + failures:
            raise BackendError("the device is gone")
        return step(audio, state, style)

    monkeypatch.setattr(backend, "step", fail)
    sent = simulate(delivery, chunks_of(speak(3.0), 1.0), end_s=6.0)
    assert min(failures, 90) <= delivery.counters["backend_errors"] <= min(failures, 101)
    assert caplog.text.count("the device is gone") == 1
    assert (np.diff(sent.stamps_s) > 0).all()
    assert np.diff(sent.at_s).max() < 0.2 + 1 / 30
    assert sent.at_s[-1] > 5.9
    heard = (~sent.idle) & (sent.stamps_s > 2.5)
    if failures == 1:
        assert heard.sum() > 14, "speech goes on with the model's next steps"
    else:
        assert not heard.any()
        assert np.diff(sent.at_s[sent.at_s > 2.4]).max() < 0.1


def test_a_clock_that_goes_back_starts_anew(make):
    delivery = make()
    simulate(delivery, chunks_of(speak(1.0), 1.0), end_s=3.0)
    sent = [t for i in range(40) for t in delivery.run(START_NS - 10**11 + i * 10**8, 0.01)]
    assert delivery.counters["clock_jumps"] == 1
    assert len(sent) > 100


@pytest.mark.parametrize("stamped", [True, False])
@pytest.mark.parametrize(
    ("chunk_ms", "fps"),
    [(20, 60.0), (32, 30.0), (100, 60.0), (128, 30.0), (200, 30.0), (500, 60.0), (1000, 30.0)],
)
def test_a_microphones_chunks_of_any_length_lose_no_speech(make, chunk_ms, stamped, fps, caplog):
    delivery = make(fps)
    chunk_s, end_s = chunk_ms / 1e3, 5.0
    sent = simulate(delivery, microphone(speak(4.0), 1.0, chunk_s, stamped), end_s=8.0)
    assert (np.diff(sent.stamps_s) > 0).all()
    # Without stamps all audio has the time of its arrival.
    begin_s = 1.0 if stamped else 1.001 + chunk_s
    end_s = begin_s + 4.0
    # What had been shown before the first chunk came cannot be taken back.
    known_s = max(begin_s, 1.001 + chunk_s - delivery.latency_s) - 1e-6
    of_speech = (sent.stamps_s >= known_s) & (sent.stamps_s < end_s - 1e-6)
    assert abs(of_speech.sum() - (end_s - known_s) * fps) <= 1
    assert not sent.idle[of_speech].any()
    grows = stamped and chunk_ms > 20
    assert delivery.counters["delay_growths"] == grows
    assert caplog.text.count("frames go out") == grows
    growth_s = delivery.delay_s - delivery.latency_s - PLAYOUT_MARGIN_S
    assert growth_s == pytest.approx(chunk_s if grows else 0, abs=0.0011)

    steady = of_speech & (sent.stamps_s < end_s - delivery.latency_s)
    late_s = sent.at_s - sent.stamps_s - delivery.delay_s
    assert np.abs(late_s[steady]).max() < 0.001
    assert delivery.counters["overdue_frames"] == 0
    assert np.diff(sent.at_s).max() < max(growth_s, 0.1) + 1.01 / fps
    shut = sent.stamps_s >= end_s + 0.2
    assert shut.sum() > fps and sent.weights[shut, JAW].max() < 0.02
    closed_s = sent.at_s[np.argmax(sent.idle & (sent.stamps_s >= end_s))]
    assert closed_s < end_s + delivery.delay_s + delivery.patience_s


def test_longer_chunks_in_mid_stream_are_waited_for(make):
    delivery = make()
    short = list(microphone(speak(1.0), 1.0, 0.02, True))
    long = list(microphone(speak(4.0), 2.0, 0.2, True))
    sent = simulate(delivery, short + long, end_s=8.0)
    assert delivery.counters["delay_growths"] == 1
    assert (np.diff(sent.indices) == 1).all()
    # The first long chunk may come too late; from then on nothing is lost.
    speech = (sent.stamps_s >= 2.2) & (sent.stamps_s < 6.0 - 1e-6)
    assert not sent.idle[speech].any()
    assert np.diff(sent.at_s).max() < 0.2 + 0.1 + 1 / 30


def test_one_chunk_held_up_makes_no_lasting_delay(make):
    delivery = make()
    audio = list(chunks_of(speak(2.0), 1.0))
    audio[50] = (audio[50][0] + 80_000_000, audio[50][1])
    audio[51:54] = [(max(at_ns, audio[50][0]), chunk) for at_ns, chunk in audio[51:54]]
    simulate(delivery, audio, end_s=4.0)
    assert delivery.counters["delay_growths"] == 0


def test_a_lag_that_is_long_gone_is_no_longer_waited_for(make, caplog):
    """The machine stands still for a while; a minute later the face is on time again."""
    delivery, fps = make(), 30.0
    audio = list(chunks_of(speak(45.0), 1.0))
    held_ns = [
        at_ns + 600_000_000 if 2.0 < i * 0.02 < 4.0 else at_ns
        for i, (at_ns, _) in enumerate(audio)
    ]
    at_ns = np.maximum.accumulate(held_ns)
    late = [(int(at), chunk) for at, (_, chunk) in zip(at_ns, audio, strict=True)]
    sent = simulate(delivery, late, end_s=47.0)
    assert delivery.counters["delay_growths"] >= 1
    assert delivery.counters["delay_shrinks"] == 1
    assert "not later for long" in caplog.text
    assert delivery.delay_s == pytest.approx(delivery.latency_s + PLAYOUT_MARGIN_S, abs=0.03)
    assert (np.diff(sent.indices) == 1).all(), "no frame is lost or sent twice"
    waits_s = sent.at_s - sent.stamps_s
    before, after = (sent.stamps_s > 10) & (sent.stamps_s < 25), sent.stamps_s > 42
    assert waits_s[before].min() > 0.5 and waits_s[after & ~sent.idle].max() < 0.2
    easing = np.diff(sent.at_s[(sent.stamps_s > 10) & (sent.stamps_s < 44)])
    assert easing.min() > 0.7 / fps and easing.max() < 1.1 / fps, "no jump on the way back"


def test_a_playout_delay_too_short_is_told_with_one_that_would_do(make, caplog):
    delivery = make(playout_delay_s=0.105)
    simulate(delivery, microphone(speak(2.0), 1.0, 0.2, True), end_s=4.0)
    assert delivery.counters["short_delays"] > 0
    assert delivery.delay_s == 0.105
    assert caplog.text.count("playout_delay_ms") == 1
    advised_s = int(re.search(r"playout_delay_ms: (\d+)", caplog.text)[1]) / 1e3
    starvation_s = int(re.search(r"starvation_ms: (\d+)", caplog.text)[1]) / 1e3
    caplog.clear()
    delivery = make(playout_delay_s=advised_s, starvation_s=starvation_s)
    sent = simulate(delivery, microphone(speak(2.0), 1.0, 0.2, True), end_s=4.0)
    assert delivery.counters["short_delays"] == delivery.counters["overdue_frames"] == 0
    assert "playout_delay_ms" not in caplog.text
    assert not sent.idle[(sent.stamps_s >= 1.2) & (sent.stamps_s < 3.0 - 1e-6)].any()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 0.08), min_size=50, max_size=50), st.integers(0, 1000))
def test_network_jitter_moves_no_frame_and_loses_none(tiny, delays_s, seed):
    """Chunks late by less than `starvation_ms` give the frames of chunks in time."""
    delivery = Delivery(Talker(tiny), paced=True)
    audio = list(chunks_of(speak(1.0, seed), 0.5))
    late, last_ns = [], 0
    for (at_ns, chunk), delay_s in zip(audio, delays_s, strict=True):
        last_ns = max(last_ns, at_ns + round(delay_s * 1e9))
        late.append((last_ns, chunk))
    sent = simulate(delivery, late, end_s=2.5)
    on_time = simulate(Delivery(Talker(tiny), paced=True), audio, end_s=2.5)
    assert (np.diff(sent.indices) == 1).all()
    spoken = (~on_time.idle) & (on_time.stamps_s < 1.5 - delivery.latency_s)
    count = spoken.sum()
    np.testing.assert_allclose(sent.stamps_s[~sent.idle][:count], on_time.stamps_s[spoken])
    np.testing.assert_allclose(
        sent.weights[~sent.idle][:count], on_time.weights[spoken], atol=1e-5
    )
