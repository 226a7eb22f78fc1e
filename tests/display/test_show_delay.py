"""When frames are shown: with their sound where its delay is known, else when they have come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.display import ShowDelay
from dualtalker.display.show_delay import _LATENCY_AGE_S, _MARGIN_S, _SLEW, _STEP_S

FRAME_S = 1 / 60


def feed(delay: ShowDelay, transits_s, start_s: float = 0.0) -> list[float]:
    return [delay.note_frame(t, start_s + k * FRAME_S) for k, t in enumerate(transits_s)]


def test_a_known_delay_is_kept_whatever_comes():
    delay = ShowDelay(0.3)
    delay.note_latency(0.1, 0.0)
    assert set(feed(delay, [0.1, 0.5, 0.2])) == {0.3}
    assert delay.source == "audio_delay_ms"
    assert delay.late == 1


def test_the_speaker_is_followed_and_forgotten_when_it_ends():
    delay = ShowDelay()
    delay.note_latency(0.22, 0.0)
    assert delay.source == "speaker"
    assert feed(delay, [0.15] * 60)[-1] == pytest.approx(0.22)
    late = feed(delay, [0.15] * 60, _LATENCY_AGE_S + 1.0)
    assert delay.source == "arrival"
    assert late[-1] == pytest.approx(0.15 + _MARGIN_S, abs=0.01)


def test_a_speaker_without_stamps_counts_from_where_the_frames_come():
    delay = ShowDelay()
    feed(delay, [0.15] * 30)
    delay.note_latency(0.08, 0.5)
    delay.note_latency(0.08, 0.5, "arrival")
    assert feed(delay, [0.15] * 120, 0.5)[-1] == pytest.approx(0.23)
    assert delay.after_arrival_s == pytest.approx(0.08)
    assert delay.source == "speaker"


def test_a_speaker_whose_messages_have_stamps_again_counts_from_them():
    """What was told of messages without stamps is no longer so, though it is not old."""
    delay = ShowDelay()
    delay.note_latency(0.08, 0.0)
    delay.note_latency(0.08, 0.001, "arrival")
    assert feed(delay, [0.15] * 30)[-1] == pytest.approx(0.23)
    for k, order in enumerate((("stamp", "arrival"), ("arrival", "stamp")) * 3):
        delay.note_latency(0.08, 0.5 + k, order[0])
        assert feed(delay, [0.15], 0.501 + k) == [pytest.approx(0.23)]  # also in between
        delay.note_latency(0.08, 0.502 + k, order[1])
    delay.note_latency(0.21, 6.5)
    delay.note_latency(0.21, 7.5)
    assert feed(delay, [0.15] * 60, 7.5)[-1] == pytest.approx(0.21)


@pytest.mark.parametrize("latency_s", [None, 0.16, 0.6])
def test_a_page_that_sounds_has_time_to_buffer(latency_s):
    delay = ShowDelay()
    delay.page_sounds = True
    if latency_s is not None:
        delay.note_latency(latency_s, 0.0)
    shown = feed(delay, [0.15] * 300)
    assert shown[-1] == pytest.approx(max(0.35, latency_s or 0.0))


def test_a_speaker_that_changes_is_followed_without_a_jump():
    delay = ShowDelay()
    delay.note_latency(0.20, 0.0)
    feed(delay, [0.15] * 10)
    delay.note_latency(0.24, 0.2)
    shown = feed(delay, [0.15] * 120, 0.2)
    assert shown[-1] == pytest.approx(0.24)
    assert max(np.abs(np.diff(shown))) <= _SLEW * FRAME_S * 1.001


def test_a_large_change_is_made_at_once():
    delay = ShowDelay()
    delay.note_latency(0.20, 0.0)
    feed(delay, [0.15] * 10)
    delay.note_latency(0.20 + 2 * _STEP_S, 0.2)
    assert feed(delay, [0.15], 0.2) == [pytest.approx(0.20 + 2 * _STEP_S)]


def test_the_end_of_an_utterance_delays_no_frame_after_it():
    """A talker holds the last frames until it knows that the speech is over."""
    delay = ShowDelay()
    speech = [0.15] * 300
    end = [0.25] * 6
    shown = feed(delay, [*speech, *end, *speech])
    assert max(shown) < 0.15 + _MARGIN_S + 0.005


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 0.5), st.floats(0.0, 0.03), st.integers(0, 2**32 - 1), st.integers(100, 600))
def test_nearly_all_frames_come_before_they_are_shown(base_s, jitter_s, seed, count):
    rng = np.random.default_rng(seed)
    delay = ShowDelay()
    feed(delay, base_s + jitter_s * rng.random(count))
    assert delay.late <= 0.05 * count + 15  # those before the first look at many


def test_frames_that_come_sooner_are_shown_sooner_but_not_at_once():
    delay = ShowDelay()
    feed(delay, [0.2] * 300)
    shown = feed(delay, [0.15] * 1200, 5.0)
    assert shown[-1] == pytest.approx(0.15 + _MARGIN_S)
    assert min(np.diff(shown)) >= -_SLEW * FRAME_S * 1.001
