"""Stamps of arrivals place nothing in the delivery, either. No ROS in here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from arriving_speech import RATE_HZ, cut, send, voice, ways
from dualtalker.audio import AudioChunk
from dualtalker.delivery import Delivery
from dualtalker.delivery.backlog import Backlog
from dualtalker.model import load_bundle
from dualtalker.stream import Talker
from simulated_delivery import START_NS, simulate

DURATION_S = 1.5


@pytest.fixture(scope="module")
def bundle(tiny):
    return load_bundle(tiny)


def deliver(bundle, sent, stamped=True, stamps="auto"):
    """Run pairs of an arrival in s and a chunk; return delivery and what was sent."""
    delivery = Delivery(Talker(bundle, idle_motion=False, stamps=stamps), paced=True)
    arrivals = []
    for at_s, chunk in sent:
        at_ns = START_NS + round((at_s + 0.5) * 1e9)
        arrivals.append((at_ns, AudioChunk(chunk, RATE_HZ, at_ns if stamped else None)))
    return delivery, simulate(delivery, arrivals, end_s=sent[-1][0] + DURATION_S + 1.0)


def heard_s(delivery):
    """Seconds of audio that the model was given, silence and what came twice left out."""
    counters = delivery.talker.counters
    return delivery.audio_s - counters["overlap_samples"] / RATE_HZ


@settings(max_examples=6, deadline=None)
@given(way=ways)
@example(  # a fast source of chunks so short that most of its steps look like those of samples
    way={"chunk_s": 0.005, "burst": 1, "speed": 1.05, "jitter_s": 0.0035, "seed": 995}
)
@example(way={"chunk_s": 0.005, "burst": 1, "speed": 1.05, "jitter_s": 0.00572, "seed": 452})
@example(way={"chunk_s": 0.015, "burst": 1, "speed": 1.05, "jitter_s": 0.00014, "seed": 112})
def test_no_speech_is_lost_and_no_mouth_is_ahead(bundle, way):
    sent = send(voice(DURATION_S), **way)
    delivery, seen = deliver(bundle, sent)
    assert heard_s(delivery) == pytest.approx(DURATION_S)
    assert not delivery.counters["queue_drops"]
    assert (np.diff(seen.stamps_s) > 0).all()
    # Where stamps go back a little as speech begins, an idle frame stood for the first of it.
    passed = np.diff(seen.indices) - 1
    assert passed.min() == 0 and passed.sum() == delivery.counters["stale_frames"] <= 1
    # The mouth moves for a sample only when that has come.
    spoken = np.flatnonzero(~seen.idle)
    first_s = 0.5
    assert seen.at_s[spoken[0]] >= first_s


@pytest.mark.parametrize("stamps", ["auto", "arrival"])
@pytest.mark.parametrize(
    "way",
    [
        {"chunk_s": 0.046, "burst": 1, "speed": 4.6},
        {"chunk_s": 0.02, "burst": 1, "speed": 1.11},
        {"chunk_s": 0.02, "burst": 4, "speed": 1.0},
        {"chunk_s": 0.02, "burst": 16, "speed": 10.0},
        {"chunk_s": 0.5, "burst": 2, "speed": 10.0},
        {"chunk_s": 0.02, "burst": 1, "speed": 0.9},
    ],
)
def test_the_frames_are_those_of_audio_without_stamps(bundle, way, stamps):
    sent = send(voice(DURATION_S), **way, jitter_s=0.0, seed=0)
    _, plain = deliver(bundle, sent, stamped=False)
    delivery, seen = deliver(bundle, sent, stamps=stamps)
    np.testing.assert_array_equal(seen.idle, plain.idle)
    np.testing.assert_allclose(seen.weights, plain.weights, atol=1e-5)
    np.testing.assert_allclose(seen.stamps_s, plain.stamps_s, atol=0.003)
    assert delivery.counters["clock_offsets"] == delivery.talker.counters["overlaps"] == 0


@settings(max_examples=6, deadline=None)
@given(
    chunk_s=st.sampled_from([0.005, 0.02, 0.046, 0.1, 0.4]),
    again=st.sets(st.integers(1, 300), min_size=1, max_size=10),
    back=st.integers(1, 3),
)
def test_chunks_that_come_twice_are_heard_once(bundle, chunk_s, again, back):
    """From a driver that stamps its samples; in mid-stream, while the next is awaited."""
    chunks, arrivals = cut(voice(DURATION_S), min(chunk_s, 0.8 / back)), []
    for number, (at_s, chunk) in enumerate(chunks):
        at_ns = START_NS + round((at_s + 0.5) * 1e9)
        arrivals.append((at_ns, AudioChunk(chunk, RATE_HZ, at_ns)))
        if number in again and number < len(chunks) - 1:
            twice_ns, twice = arrivals[-1][0] + 10**6, chunks[max(number + 1 - back, 0)]
            stamp_ns = START_NS + round((twice[0] + 0.5) * 1e9)
            arrivals.append((twice_ns, AudioChunk(twice[1], RATE_HZ, stamp_ns)))
    delivery = Delivery(Talker(bundle, idle_motion=False), paced=True)
    simulate(delivery, arrivals, end_s=DURATION_S + 1.0)
    assert heard_s(delivery) == pytest.approx(DURATION_S)
    assert delivery.talker.audio_end_s - delivery.first_audio_s == pytest.approx(DURATION_S)


def test_what_waits_keeps_no_message_alive():
    message = np.zeros(RATE_HZ * 10, np.int16)
    backlog = Backlog(max_s=1.0)
    backlog.put(AudioChunk(message, RATE_HZ, 0), 0)
    assert backlog and not np.shares_memory(backlog.take().samples, message)
