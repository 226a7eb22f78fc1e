"""Idle frames are made some at once; nobody who sees them can tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dualtalker.arkit import MOUTH_INDICES
from dualtalker.delivery import Delivery, delivery
from dualtalker.stream import Talker
from simulated_delivery import START_NS, chunks_of, microphone, simulate, speak

# The pause before some speech, how long that is, how long its chunks are, and how late they come.
turns = st.tuples(
    st.floats(0.05, 1.5),
    st.floats(0.05, 0.8),
    st.sampled_from([0.01, 0.02, 0.1]),
    st.floats(0, 0.1),
)


def hear(tiny, fps, talk, stamped):
    """Let a delivery hear turns of speech; return it, and what it sent."""
    begin_s, arrivals = 0.2, []
    for seed, (pause_s, length_s, chunk_s, late_s) in enumerate(talk):
        begin_s += pause_s
        for at_ns, chunk in microphone(speak(length_s, seed), begin_s, chunk_s, stamped):
            arrivals.append((at_ns + round(late_s * 1e9), chunk))
        begin_s += length_s + 0.1
    arrivals.sort(key=lambda arrival: arrival[0])
    heard = Delivery(Talker(tiny, fps=fps), paced=True)
    return heard, simulate(heard, arrivals, end_s=begin_s + 1.0)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([24.0, 60.0, 119.0]), st.lists(turns, min_size=1, max_size=3), st.booleans()
)
@example(60.0, [(0.3, 0.4, 0.02, 0.0), (0.05, 0.4, 0.1, 0.1)], True)
def test_frames_made_ahead_are_those_made_in_time(tiny, fps, talk, stamped):
    """Speech that begins meanwhile takes their place, the mouth closes and opens as ever."""
    ahead, sent = hear(tiny, fps, talk, stamped)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "IDLE_AHEAD_NS", 0)
        in_time, wanted = hear(tiny, fps, talk, stamped)
    np.testing.assert_array_equal(sent.indices, wanted.indices)
    np.testing.assert_array_equal(sent.idle, wanted.idle)
    np.testing.assert_array_equal(sent.stamps_s, wanted.stamps_s)
    np.testing.assert_array_equal(sent.at_s, wanted.at_s)
    mouth = np.array(MOUTH_INDICES)
    np.testing.assert_allclose(sent.weights[:, mouth], wanted.weights[:, mouth], atol=1e-6)
    assert ahead.all_counters == in_time.all_counters


def test_an_idle_face_is_computed_once_in_some_frames(tiny, monkeypatch):
    """Else nothing would be saved; and no frame goes out early by it."""
    calls, runs = [], []
    advance, run = Talker.advance_to, Delivery.run
    monkeypatch.setattr(
        Talker,
        "advance_to",
        lambda talker, time_s: calls.append(time_s) or advance(talker, time_s),
    )
    monkeypatch.setattr(Delivery, "run", lambda *given: runs.append(given) or run(*given))
    idle = Delivery(Talker(tiny, fps=60.0), paced=True)
    sent = simulate(idle, [], end_s=3.0)
    assert len(sent.indices) > 150 and sent.idle.all()
    assert len(calls) < len(sent.indices) / 3
    assert len(runs) <= len(sent.indices) + 2, "one wake a frame"
    np.testing.assert_allclose(sent.at_s - sent.stamps_s, idle.delay_s, atol=2.1e-4)


def test_audio_in_place_of_idle_frames_is_shown_from_its_first_instant(tiny):
    """It comes just in time, and idle frames of later instants wait."""
    for begin_s in np.arange(1.0, 1.1, 0.0071):
        heard = Delivery(Talker(tiny, fps=60.0), paced=True)
        arrivals = [
            (START_NS + round((begin_s + 0.1) * 1e9), chunk)
            for _, chunk in chunks_of(speak(0.5), begin_s, chunk_s=0.5)
        ]
        sent = simulate(heard, arrivals, end_s=2.5)
        assert (np.diff(sent.indices) == 1).all() and (np.diff(sent.stamps_s) > 0).all()
        spoken = sent.stamps_s[~sent.idle]
        assert begin_s - 1e-9 <= spoken[0] < begin_s + 1 / 60 + 1e-9
        assert heard.counters["stale_frames"] == 0 and heard.all_counters["late_frames"] == 0
