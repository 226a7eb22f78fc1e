"""Laws of known text: contacts where phones say so, nothing else, in any chunks, for ever."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker import Talker, animate
from dualtalker.arkit import ARKIT_INDEX, MOUTH_INDICES
from dualtalker.errors import SpeechError
from dualtalker.face import EXPRESSIONS, JAW_OPEN, MOUTH_CLOSE
from dualtalker.face.manner import LINES_MM
from dualtalker.model import load_bundle
from streamed_speech import STAMP_NS, speech, stream, weights_of

RATE_HZ = 16000
LABELS = ("P", "AA1", "F", "UW0", "S", "M", "W", "SIL", "OW1")
TOLERANCE_S = 0.04


@pytest.fixture(scope="module")
def bundle(tiny):
    return load_bundle(tiny)


def made_phones(seconds, seed=0):
    """Phones in order, some with pauses between."""
    rng, rows, now_s = np.random.default_rng(seed), [], 0.0
    while now_s < seconds:
        length_s = float(rng.uniform(0.01, 0.2))
        rows.append((LABELS[rng.integers(len(LABELS))], now_s, now_s + length_s))
        now_s += length_s + float(rng.choice([0.0, 0.0, 0.1]))
    return rows


def is_shut(weights):
    return weights[MOUTH_CLOSE] == weights[JAW_OPEN]


def test_phones_that_touch_nothing_change_no_bit(bundle):
    samples = speech(2.0, RATE_HZ)
    plain = animate(samples, RATE_HZ, model=bundle, fps=60)
    rows = [("AA", 0.0, 0.5), ("S", 0.5, 0.9), ("SIL", 0.9, 1.5), ("IY", 1.5, 2.0)]
    told = animate(samples, RATE_HZ, model=bundle, fps=60, phones=rows)
    np.testing.assert_array_equal(told.weights, plain.weights)


@settings(max_examples=10, deadline=None)
@given(
    rate_hz=st.sampled_from([8000, 16000, 44100, 48000]),
    fps=st.sampled_from([1, 24, 30, 50, 59.94, 120]),
    cuts=st.lists(st.integers(1, 90000), max_size=30),
    seed=st.integers(0, 50),
    stamped=st.booleans(),
    intensity=st.sampled_from([0.5, 1.0, 1.5]),
)
def test_streaming_equals_offline_with_phones(
    bundle, rate_hz, fps, cuts, seed, stamped, intensity
):
    samples, rows = speech(1.8, rate_hz, seed), made_phones(1.8, seed)
    options = {"fps": fps, "intensity": intensity}
    whole = animate(samples, rate_hz, model=bundle, phones=rows, **options)
    talker = Talker(bundle, **options)
    talker.push_phones(rows, STAMP_NS if stamped else None)
    frames = stream(talker, samples, rate_hz, cuts, stamped)
    np.testing.assert_allclose(weights_of(frames), whole.weights, atol=1e-5)
    assert talker.counters["late_phones"] == talker.counters["early_phones"] == 0


@settings(max_examples=20, deadline=None)
@given(
    fps=st.one_of(st.floats(1, 120), st.sampled_from([1, 12.5, 29.97, 30, 60, 120])),
    start_s=st.floats(0.2, 1.0),
    length_s=st.floats(0.002, 0.2),
    label=st.sampled_from(["P", "B", "M", "F", "V"]),
    smoothing_s=st.sampled_from([0.0, 0.05]),
)
def test_a_contact_is_met_near_its_label_at_every_frame_rate(
    bundle, fps, start_s, length_s, label, smoothing_s
):
    """Wherever a frame lies within 40 ms of the label, one of them is a whole contact."""
    rows = [(label, start_s, start_s + length_s)]
    told = animate(
        speech(1.6, RATE_HZ),
        RATE_HZ,
        model=bundle,
        fps=fps,
        phones=rows,
        smoothing_s=smoothing_s,
    )
    near = told.times_s >= start_s - TOLERANCE_S
    near &= told.times_s <= start_s + length_s + TOLERANCE_S
    if not near.any():
        return
    if label in "PBM":
        assert any(map(is_shut, told.weights[near]))
    else:
        rises = told.weights[near][:, MOUTH_CLOSE] / told.weights[near][:, JAW_OPEN]
        assert np.abs(rises - 0.8).min() < 1e-5


def test_lips_meet_and_part_around_a_contact_without_a_jump(bundle):
    samples, rows = speech(1.6, RATE_HZ), [("M", 0.7, 0.8)]
    plain = animate(samples, RATE_HZ, model=bundle, fps=120).weights
    told = animate(samples, RATE_HZ, model=bundle, fps=120, phones=rows)
    changed = np.abs(told.weights - plain).max(axis=1) > 1e-6
    times_s = told.times_s[changed]
    assert 0.63 < times_s.min() < 0.66 and 0.80 < times_s.max() < 0.84
    added = np.abs(np.diff(told.weights - plain, axis=0))[:, list(MOUTH_INDICES)]
    assert added.max() < 0.3  # a third in 8 ms: lips meet in 60 ms


def test_what_was_shown_before_is_not_changed(bundle):
    samples = speech(2.0, RATE_HZ)
    plain = animate(samples, RATE_HZ, model=bundle, fps=60)
    talker = Talker(bundle, fps=60)
    talker.push(samples[:RATE_HZ], RATE_HZ)
    frames = talker.frames()
    shown = len(frames)
    talker.push_phones([("P", frames[-1].time_s - 0.03, frames[-1].time_s + 0.09)])
    talker.push(samples[RATE_HZ:], RATE_HZ)
    frames += talker.frames() + talker.flush()
    told = weights_of(frames)
    np.testing.assert_allclose(told[:shown], plain.weights[:shown], atol=1e-5)
    assert any(map(is_shut, told[shown : shown + 6]))
    added = np.abs(np.diff(told - plain.weights, axis=0))[:, list(MOUTH_INDICES)]
    assert added.max() < 0.5  # it came in haste, and yet not at once
    np.testing.assert_allclose(told[shown + 20 :], plain.weights[shown + 20 :], atol=1e-5)


def test_late_phones_are_counted_and_change_nothing(bundle):
    samples = speech(2.0, RATE_HZ)
    plain = animate(samples, RATE_HZ, model=bundle)
    talker = Talker(bundle)
    talker.push(samples, RATE_HZ)
    frames = talker.frames()
    talker.push_phones([("P", 0.5, 0.6), ("AA", 0.6, 0.8)])
    assert talker.counters["late_phones"] == 2
    np.testing.assert_allclose(weights_of(frames + talker.flush()), plain.weights, atol=1e-5)


def test_phones_of_other_sound_are_counted_and_ignored(bundle):
    """They are believed at first, and no more once the sound tells."""
    rng = np.random.default_rng(3)
    rows, sound, now_s = [], [], 0.0
    for _ in range(35):
        vowel_s, stop_s = (float(x) for x in rng.uniform((0.06, 0.05), (0.2, 0.12)))
        tone = np.sin(700 * np.arange(round(vowel_s * RATE_HZ)) / RATE_HZ)
        sound += [0.3 * tone, np.zeros(round(stop_s * RATE_HZ))]
        rows += [("AA", now_s, now_s + vowel_s), ("P", now_s + vowel_s, now_s + vowel_s + stop_s)]
        now_s += vowel_s + stop_s
    samples = np.concatenate(sound).astype(np.float32)
    shifted = [(label, start + 0.35, end + 0.35) for label, start, end in rows]
    plain, right, wrong = (
        animate(samples, RATE_HZ, model=bundle, phones=told) for told in ((), rows, shifted)
    )
    assert right.counters["wrong_phones"] == 0
    assert wrong.counters["wrong_phones"] > 30
    late = plain.times_s > 3.0
    np.testing.assert_array_equal(wrong.weights[late], plain.weights[late])
    assert np.abs(right.weights[late] - plain.weights[late]).max() > 0.05


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_contacts_are_met_under_every_expression(bundle, name):
    samples, rows = speech(1.2, RATE_HZ), [("p", 0.5, 0.6), ("a", 0.6, 0.8), ("v", 0.8, 0.9)]
    plain = animate(samples, RATE_HZ, model=bundle, fps=60, phones=rows, idle_motion=False)
    talker = Talker(bundle, fps=60, idle_motion=False)
    talker.set_expression(name, fade_s=0.0)
    talker.push_phones(rows)
    shown = weights_of(stream(talker, samples, RATE_HZ, []))
    lips, teeth = LINES_MM @ shown.T - LINES_MM @ plain.weights.T
    assert (lips[30:35] <= 0.05).all()
    assert (teeth[49:52] <= 0.05).all()


def test_rounding_is_raised_where_the_phones_say_so(bundle):
    samples = speech(1.6, RATE_HZ)
    plain = animate(samples, RATE_HZ, model=bundle, fps=50).weights
    told = animate(samples, RATE_HZ, model=bundle, fps=50, phones=[("u", 0.6, 0.9)]).weights
    pucker = ARKIT_INDEX["mouthPucker"]
    assert (told >= plain).all()
    assert (told[34:42, pucker] >= 0.2).all()
    np.testing.assert_array_equal(told[:25], plain[:25])
    np.testing.assert_array_equal(told[50:], plain[50:])


def test_stamped_phones_wait_for_their_audio(bundle):
    talker, rows = Talker(bundle, fps=50), [("m", 0.3, 0.4)]
    talker.push_phones(rows, STAMP_NS + 10**9)
    assert any(frame.idle for frame in talker.advance_to(0.5))
    samples = speech(2.0, RATE_HZ)
    for start in range(0, len(samples), 320):
        talker.push(samples[start : start + 320], RATE_HZ, STAMP_NS + start * 62500)
    shown = [f for f in talker.frames() + talker.flush() if f.stamp_ns is not None]
    shut_s = [(f.stamp_ns - STAMP_NS) / 1e9 for f in shown if not f.idle and is_shut(f.weights)]
    assert shut_s and min(shut_s) > 1.27 and max(shut_s) < 1.44
    assert talker.counters["late_phones"] == 0


def test_an_interruption_and_a_reset_forget_the_phones(bundle):
    for forget in (lambda talker: talker.interrupt(0.4), lambda talker: talker.reset()):
        talker = Talker(bundle, fps=50, idle_motion=False)
        talker.push(speech(0.5, RATE_HZ), RATE_HZ)
        talker.push_phones([("p", 0.9, 1.0), ("p", 0.6, 0.7)])
        talker.frames()
        forget(talker)
        frames = stream(talker, speech(1.0, RATE_HZ), RATE_HZ, [])
        assert not any(is_shut(f.weights) and f.weights[JAW_OPEN] > 0 for f in frames)


def test_memory_is_bounded_whatever_is_told(bundle):
    talker = Talker(bundle)
    tracemalloc.start()
    try:
        for k in range(11):
            talker.push_phones([("p", k + j / 1000, k + (j + 1) / 1000) for j in range(1000)])
        talker.push_phones([("p", 0.0, 0.1)] * 5000, STAMP_NS)
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert size < 10_000_000
    assert talker.counters["early_phones"] == 6_000
    talker.push(speech(0.5, RATE_HZ), RATE_HZ)
    assert talker.frames()


def test_phones_too_far_ahead_are_dropped_and_those_without_audio_pass(bundle):
    talker = Talker(bundle, fps=10)
    talker.push_phones([("p", 1e6, 1e6 + 1), ("p", 5.0, 5.1), ("a", 5.1, 5.3)])
    talker.push_phones([("p", 0.0, 0.1)], STAMP_NS + 10**15)
    assert talker.counters["early_phones"] == 1
    talker.push(speech(0.5, RATE_HZ), RATE_HZ, STAMP_NS)
    talker.frames()
    assert talker.counters["early_phones"] == 2
    talker.flush()
    talker.advance_to(6.0)
    assert talker.counters["wrong_phones"] == 2


def test_no_label_shuts_the_lips_for_long(bundle):
    samples = speech(4.0, RATE_HZ)
    told = animate(samples, RATE_HZ, model=bundle, phones=[("p", 0.5, 1e9)])
    shut_s = told.times_s[[is_shut(weights) for weights in told.weights]]
    assert shut_s.min() > 0.4 and 2.4 < shut_s.max() < 2.6


def test_a_stamp_is_a_whole_number(bundle):
    talker = Talker(bundle)
    with pytest.raises(TypeError, match="nanoseconds"):
        talker.push_phones([("p", 0.0, 0.1)], 1.5e18)
    talker.push_phones([("p", 0.0, 0.1)], np.int64(STAMP_NS))
    assert stream(talker, speech(0.5, RATE_HZ), RATE_HZ, [], stamped=True)


@pytest.mark.parametrize("rows", [[("ʘ", 0, 1)], [("p", 0)], [("p", 1.0, float("nan"))], [3], 5])
def test_bad_phones_are_refused_and_nothing_changes(bundle, rows):
    talker = Talker(bundle)
    with pytest.raises(SpeechError):
        talker.push_phones(rows)
    samples = speech(1.0, RATE_HZ)
    frames = stream(talker, samples, RATE_HZ, [])
    np.testing.assert_allclose(
        weights_of(frames), animate(samples, RATE_HZ, model=bundle).weights, atol=1e-5
    )
