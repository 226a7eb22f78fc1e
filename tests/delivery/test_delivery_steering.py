"""Delivery steered while it runs, under a simulated clock: interrupted, retuned, late."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from dualtalker.arkit import MOUTH_INDICES
from dualtalker.audio import AudioChunk
from dualtalker.delivery import Delivery
from dualtalker.stream import Talker
from simulated_delivery import JAW, RATE_HZ, START_NS, chunks_of, simulate, speak

FPS = 30
SPOKEN_S = 3.0
MOUTH = np.array(MOUTH_INDICES)


@pytest.fixture
def make(tiny):
    def make_delivery(**options):
        return Delivery(Talker(tiny, fps=FPS), **{"paced": True, **options})

    return make_delivery


def burst(duration_s, at_s, stamped, seed=0):
    """All chunks of an utterance at once, and stamps that count on from there."""
    at_ns = START_NS + round(at_s * 1e9)
    return [(at_ns, chunk) for _, chunk in chunks_of(speak(duration_s, seed), at_s, stamped)]


@pytest.mark.parametrize(("stamped", "whole"), [(True, False), (False, True)])
def test_an_interrupted_burst_is_cut_at_once_and_closes_the_mouth(make, stamped, whole):
    delivery = make()
    arrivals = burst(8.0, 1.0, stamped)
    if whole:
        stamp_ns = START_NS + 10**9 if stamped else None
        arrivals = [(START_NS + 10**9, AudioChunk(speak(8.0), RATE_HZ, stamp_ns))]
    run = simulate(delivery, arrivals, 6.0, [(3.0, delivery.interrupt)])
    run.assert_steady(FPS)
    straight = simulate(make(), burst(8.0, 1.0, True), 3.0)
    before = run.at_s < 3.0
    np.testing.assert_allclose(run.weights[before], straight.weights[: before.sum()], atol=1e-5)
    after = run.weights[~before][:, MOUTH]
    assert (np.diff(after, axis=0) <= 1e-6).all(), "from the next frame on the mouth only closes"
    assert after[run.at_s[~before] > 3.0 + 0.2 + 1 / FPS].max() < 1e-3
    steps = np.abs(np.diff(run.weights[:, MOUTH], axis=0)).max(axis=1)
    cut = np.argmax(~before)
    assert steps[cut - 1 : cut + 6].max() < 0.35 + steps[: cut - 1].max()
    assert delivery.interruptions == 1
    # The frames lag by the playout delay: that much of the audio's time had passed, less of faces.
    assert delivery.interrupted_s == pytest.approx(8.0 - 2.0 + delivery.delay_s, abs=0.05)
    assert delivery.queued_s == 0


@pytest.mark.parametrize("left_s", [0.1, 0.4])
def test_the_end_of_a_burst_is_cut_though_it_is_computed(make, left_s):
    """Half a second ahead nothing waits to be computed any more, but its frames to go out."""
    delivery, cut_s = make(), 1.0 + SPOKEN_S - left_s
    run = simulate(delivery, burst(SPOKEN_S, 1.0, True), 6.0, [(cut_s, delivery.interrupt)])
    run.assert_steady(FPS)
    after = run.at_s >= cut_s
    assert run.idle[after].all() and not run.idle[~after][-5:].any()
    assert (np.diff(run.weights[after][:, MOUTH], axis=0) <= 1e-6).all()
    assert delivery.interruptions == 1
    assert delivery.interrupted_s == pytest.approx(left_s + delivery.delay_s, abs=0.05)


@pytest.mark.parametrize("stamped", [True, False])
def test_what_is_said_after_an_interruption_is_in_time(make, stamped):
    delivery = make()
    arrivals = burst(8.0, 1.0, stamped) + burst(1.0, 2.5, stamped, seed=1)
    run = simulate(delivery, arrivals, 6.0, [(2.49, delivery.interrupt)])
    run.assert_steady(FPS)
    alone = simulate(make(), burst(1.0, 2.5, stamped, seed=1), 6.0)
    second = (~run.idle) & (run.stamps_s > 2.5 + 0.3) & (run.stamps_s < 3.49)
    other = (~alone.idle) & (alone.stamps_s > 2.5 + 0.3) & (alone.stamps_s < 3.49)
    assert abs(second.sum() - other.sum()) <= 1
    envelope = np.interp(run.stamps_s[second], alone.stamps_s[other], alone.weights[other, JAW])
    np.testing.assert_allclose(run.weights[second, JAW], envelope, atol=0.15)
    late_s = run.at_s[second] - run.stamps_s[second] - delivery.delay_s
    assert np.abs(late_s).max() < 0.002
    assert run.weights[run.at_s > 4.2][:, JAW].max() < 0.02, "the first utterance never returns"


@pytest.mark.parametrize("stamped", [True, False])
def test_a_new_utterance_replaces_the_old_where_asked_for(make, stamped):
    delivery = make(replace_utterances=True)
    arrivals = burst(6.0, 1.0, stamped) + burst(1.0, 2.5, stamped, seed=1)
    run = simulate(delivery, arrivals, 9.0)
    run.assert_steady(FPS)
    assert delivery.interruptions == 1
    assert delivery.counters["clock_offsets"] == 0
    assert run.weights[(run.at_s > 3.9)][:, JAW].max() < 0.02
    spoken = run.stamps_s[~run.idle]
    assert spoken.max() == pytest.approx(3.5, abs=0.05)


def test_what_follows_is_no_new_utterance(make):
    """Live speech with a hole, sentences stamped to follow, a chunk that comes twice."""
    delivery = make(replace_utterances=True)
    live = list(chunks_of(speak(3.0), 1.0))
    held_up = [(at_ns + (0 if at_ns < START_NS + 2e9 else 4 * 10**8), c) for at_ns, c in live]
    simulate(delivery, held_up, 5.0)
    assert delivery.interruptions == 0
    planned = burst(2.0, 1.0, True)
    planned += [(START_NS + 2 * 10**9, c) for _, c in chunks_of(speak(2.0), 3.3)]
    delivery = make(replace_utterances=True)
    run = simulate(delivery, [*planned, planned[40]], 7.0)
    assert delivery.interruptions == 0
    assert run.stamps_s[~run.idle].max() == pytest.approx(5.3, abs=0.05)


def test_reset_forgets_the_lag_of_long_chunks(make):
    delivery = make()
    samples = speak(2.0)
    late = [(at_ns + 10**9 // 5, chunk) for at_ns, chunk in chunks_of(samples, 1.0, chunk_s=0.2)]
    live = [(at_ns, chunk) for at_ns, chunk in chunks_of(samples, 4.0)]
    run = simulate(delivery, late + live, 7.0, [(3.5, delivery.begin_stream)])
    assert (np.diff(run.indices[run.at_s > 2.0]) == 1).all()
    assert delivery.delay_s == pytest.approx(delivery.latency_s + 0.005)
    spoken = (~run.idle) & (run.stamps_s > 4.5) & (run.stamps_s < 5.8)
    assert np.abs(run.at_s[spoken] - run.stamps_s[spoken] - delivery.delay_s).max() < 0.002


@pytest.mark.parametrize("delay_s", [0.4, 0.126])
def test_the_delay_changes_without_a_glitch(make, delay_s):
    """Live and in a burst: frames come a little closer together or further apart, then as set."""
    for arrivals in (list(chunks_of(speak(3.0), 0.5)), burst(3.0, 0.5, True)):
        delivery = make(playout_delay_s=0.25)
        orders = [(1.5, functools.partial(retune, delivery, delay_s))]
        run = simulate(delivery, arrivals, 4.5, orders)
        spoken = (~run.idle) & (run.stamps_s < 3.3)
        gaps_s = np.diff(run.at_s[spoken])
        assert (np.diff(run.indices) == 1).all()
        assert 0.7 / FPS < gaps_s.min() and gaps_s.max() < 1.3 / FPS
        settled = spoken & (run.stamps_s > 2.3)
        late_s = run.at_s[settled] - run.stamps_s[settled] - delay_s
        assert np.abs(late_s).max() < 0.002
        straight = simulate(make(playout_delay_s=0.25), arrivals, 4.5)
        both = min(spoken.sum(), (~straight.idle).sum())
        np.testing.assert_allclose(
            run.weights[spoken][:both], straight.weights[~straight.idle][:both], atol=1e-5
        )


def retune(delivery, delay_s, now_ns):
    delivery.retune(delay_s, 0.1, 60.0, False)


def test_patience_and_bound_change_at_once(make):
    delivery = make(starvation_s=0.1, max_queue_s=2.0)
    audio = list(chunks_of(speak(4.0), 1.0))
    hole = [(at_ns + (0 if at_ns < START_NS + 3e9 else 3 * 10**8), c) for at_ns, c in audio]
    order = (2.0, lambda now: delivery.retune(0.5, 0.4, 60.0, False))
    run = simulate(delivery, hole, 7.0, [order])
    spoken = (run.stamps_s >= 1.0) & (run.stamps_s < 5.0 - 1e-6)
    assert not run.idle[spoken].any(), "300 ms are waited for"
    assert delivery.backlog.max_s == 60.0


def test_audio_for_later_does_not_stop_the_face(make):
    """A pause of less than a second that the stamps announce, and one of another clock."""
    first = list(chunks_of(speak(1.0), 1.0))
    later = [
        (at_ns, c)
        for (at_ns, _), (_, c) in zip(
            chunks_of(speak(1.0), 2.05), chunks_of(speak(1.0), 2.9), strict=True
        )
    ]
    delivery = make()
    run = simulate(delivery, first + later, 5.0)
    assert np.diff(run.at_s).max() < 0.13
    assert delivery.counters["clock_offsets"] == 0
    assert run.stamps_s[~run.idle].max() == pytest.approx(3.9, abs=0.05)


@pytest.mark.parametrize("step_s", [1.5, 3e8])
def test_stamps_that_leap_ahead_are_another_clocks(make, step_s, caplog):
    audio = list(chunks_of(speak(2.0), 0.5))
    audio[50:] = [
        (at_ns, AudioChunk(c.samples, RATE_HZ, c.stamp_ns + round(step_s * 1e9)))
        for at_ns, c in audio[50:]
    ]
    delivery = make()
    run = simulate(delivery, audio, 3.5)
    assert delivery.counters["clock_offsets"] == 1
    assert caplog.text.count("s ahead; they are followed") == 1
    assert np.diff(run.at_s[run.at_s < 2.5]).max() < 2 / FPS
    steps_s = np.diff(run.stamps_s[~run.idle]) - 1 / FPS
    assert steps_s.max() == pytest.approx(step_s, abs=1e-6)
    straight = simulate(make(), chunks_of(speak(2.0), 0.5), 3.5)
    np.testing.assert_allclose(run.weights[~run.idle], straight.weights[~straight.idle], atol=1e-5)


def read_late(delivery, came_s, stall_s):
    """Orders: a first chunk at 1 s; the others come at `came_s`, and are read after a stall."""
    (_, first), *others = chunks_of(speak(SPOKEN_S), 1.0, stamped=False)
    came_ns = START_NS + round(came_s * 1e9)
    return [
        (1.0, lambda now_ns: delivery.add(first, now_ns)),
        *(
            (came_s + stall_s, lambda now_ns, chunk=chunk: delivery.add(chunk, now_ns, came_ns))
            for _, chunk in others
        ),
    ]


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("stall_s", [0.0, 0.3, 0.9, 2.0])
def test_a_burst_without_stamps_stays_one(make, stall_s, replaces):
    delivery = make(replace_utterances=replaces)
    run = simulate(delivery, [], 6.0, read_late(delivery, 1.001, stall_s))
    spoken_s = run.stamps_s[~run.idle]
    assert spoken_s.max() == pytest.approx(1.0 + SPOKEN_S, abs=0.05), "counted from the first"
    assert delivery.interruptions == delivery.talker.counters["gaps"] == 0
    # What was due while nobody computed is missing; the rest is as it would have been.
    rest_s = spoken_s[spoken_s > 1.0 + stall_s + 0.5]
    np.testing.assert_allclose(np.diff(rest_s), 1 / FPS, atol=1e-6)
    assert len(rest_s) == pytest.approx((SPOKEN_S - stall_s - 0.5) * FPS, abs=2)


def test_a_burst_that_comes_late_begins_when_it_comes(make):
    delivery = make()
    run = simulate(delivery, [], 6.0, read_late(delivery, 1.4, 0.0))
    assert run.stamps_s[~run.idle].max() == pytest.approx(1.4 + SPOKEN_S - 0.02, abs=0.05)
