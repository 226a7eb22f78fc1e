"""Stamps of arrivals place nothing: new speech is heard in full, the same again is heard once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from arriving_speech import RATE_HZ, chunk_lengths, cut, send, voice, ways
from dualtalker import Talker
from dualtalker.errors import DualtalkerError
from dualtalker.model import load_bundle
from dualtalker.stream import EXACT_S
from streamed_speech import STAMP_NS, weights_of

DURATION_S = 3.0


@pytest.fixture(scope="module")
def bundle(tiny):
    return load_bundle(tiny)


@pytest.fixture(scope="module")
def seamless(bundle):
    talker = Talker(bundle, idle_motion=False)
    talker.push(voice(DURATION_S), RATE_HZ)
    return weights_of(talker.flush())


def push(talker, sent):
    """Push pairs of a stamp in s and a chunk; return the frames."""
    for stamp_s, chunk in sent:
        talker.push(chunk, RATE_HZ, STAMP_NS + round(stamp_s * 1e9))
    return talker.flush()


@settings(max_examples=25, deadline=None)
@given(way=ways)
@example(  # its last chunk is so short that it would fit in any hole
    way={"chunk_s": 1 / 3, "burst": 2, "speed": 0.9, "jitter_s": 0.0, "seed": 0}
)
def test_speech_stamped_on_arrival_is_heard_in_full(bundle, seamless, way):
    talker = Talker(bundle, idle_motion=False)
    frames = push(talker, send(voice(DURATION_S), **way))
    assert not talker.counters["overlap_samples"]
    late = [frame.stamp_ns - STAMP_NS - frame.time_s * 1e9 for frame in frames]
    assert min(late) > -32e6  # no stamp lies before that of its sound by more than a jitter
    if not talker.counters["gaps"]:
        np.testing.assert_allclose(weights_of(frames), seamless, atol=1e-5)


@settings(max_examples=12, deadline=None)
@given(way=ways)
def test_told_that_stamps_are_of_arrivals_nothing_moves(bundle, seamless, way):
    way["burst"] = min(way["burst"], max(int(0.24 * way["speed"] / way["chunk_s"]), 1))
    way["speed"] = max(way["speed"], 1.0)
    talker = Talker(bundle, idle_motion=False, stamps="arrival")
    frames = push(talker, send(voice(DURATION_S), **way))
    np.testing.assert_allclose(weights_of(frames), seamless, atol=1e-5)
    assert not talker.counters["gaps"] and not talker.counters["overlaps"]


@pytest.mark.parametrize(
    "way",
    [
        {"chunk_s": 0.046, "burst": 1, "speed": 4.6},
        {"chunk_s": 0.02, "burst": 1, "speed": 1.11},
        {"chunk_s": 0.02, "burst": 4, "speed": 1.0},
        {"chunk_s": 0.02, "burst": 1, "speed": 0.9},
        {"chunk_s": 0.02, "burst": 16, "speed": 10.0},
        {"chunk_s": 0.5, "burst": 1, "speed": 10.0},
    ],
)
def test_fast_slow_and_bursting_sources_give_the_frames_of_no_stamps(bundle, seamless, way):
    talker = Talker(bundle, idle_motion=False)
    frames = push(talker, send(voice(DURATION_S), **way, jitter_s=0.0, seed=0))
    np.testing.assert_allclose(weights_of(frames), seamless, atol=1e-5)
    assert talker.counters["arrival_stamps"]


@settings(max_examples=15, deadline=None)
@given(
    chunk_s=chunk_lengths, again=st.sets(st.integers(1, 600), max_size=20), back=st.integers(1, 5)
)
def test_chunks_that_come_twice_are_heard_once(bundle, seamless, chunk_s, again, back):
    sent = []
    chunks = cut(voice(DURATION_S), chunk_s)
    for number, chunk in enumerate(chunks):
        sent.append(chunk)
        if number in again:
            sent.append(chunks[max(number + 1 - back, 0)])
    talker = Talker(bundle, idle_motion=False)
    if back * chunk_s < 0.9:
        np.testing.assert_allclose(weights_of(push(talker, sent)), seamless, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(way=ways, again=st.sets(st.integers(0, 600), min_size=1, max_size=20))
@example(  # its last chunk is of three samples
    way={"chunk_s": 1 / 3, "burst": 1, "speed": 1.0, "jitter_s": 0.0, "seed": 0}, again={9}
)
def test_arrivals_that_come_twice_are_heard_once(bundle, seamless, way, again):
    """With their stamp: the same message again."""
    sent = send(voice(DURATION_S), **way)
    # What is no longer than stamps are exact to is no repeat: nobody hears it twice.
    again = {n for n in again if n < len(sent) and len(sent[n][1]) > EXACT_S * RATE_HZ}
    twice = [pair for number, pair in enumerate(sent) for pair in [pair] * (1 + (number in again))]
    talker = Talker(bundle, idle_motion=False)
    frames = push(talker, twice)
    if not talker.counters["gaps"]:
        np.testing.assert_allclose(weights_of(frames), seamless, atol=1e-5)


@settings(max_examples=12, deadline=None)
@given(
    chunk_s=st.sampled_from([0.01, 0.02, 0.05]),
    lost=st.lists(st.tuples(st.integers(0, 2), st.floats(0.04, 0.3)), min_size=1, max_size=3),
)
def test_lost_audio_of_a_source_that_stamps_samples_keeps_its_time(bundle, chunk_s, lost):
    samples, chunks = voice(DURATION_S), cut(voice(DURATION_S), chunk_s)
    holes = [(0.5 + 0.8 * place, 0.5 + 0.8 * place + length_s) for place, length_s in lost]
    kept = [
        (at_s, chunk)
        for at_s, chunk in chunks
        if not any(first_s <= at_s < last_s for first_s, last_s in holes)
    ]
    heard = np.zeros_like(samples)
    for at_s, chunk in kept:
        first = round(at_s * RATE_HZ)
        heard[first : first + len(chunk)] = chunk
    reference, talker = Talker(bundle, idle_motion=False), Talker(bundle, idle_motion=False)
    reference.push(heard, RATE_HZ)
    frames = push(talker, kept)
    np.testing.assert_allclose(weights_of(frames), weights_of(reference.flush()), atol=1e-5)


def test_a_tone_repeats_itself_and_is_heard_in_full(bundle):
    """Its chunks are all alike."""
    tone = np.sin(np.arange(2 * RATE_HZ) * 2 * np.pi / 160).astype(np.float32)
    tone = np.tile(tone[:160], 200)
    talker = Talker(bundle)
    push(talker, send(tone, 0.02, 4, 2.0, 0.0, 0))
    assert talker.audio_end_s == pytest.approx(2.0)


def test_the_same_sentence_after_a_pause_is_heard_again(bundle):
    talker, word = Talker(bundle), voice(0.5)
    push(talker, cut(word, 0.02))
    push(talker, [(at_s + 0.505, chunk) for at_s, chunk in cut(word, 0.02)])
    assert talker.audio_end_s == pytest.approx(1.0, abs=0.01)


def test_another_kind_of_stamps_is_refused(bundle):
    with pytest.raises(DualtalkerError, match="expected one of auto, audio, arrival"):
        Talker(bundle, stamps="now")
