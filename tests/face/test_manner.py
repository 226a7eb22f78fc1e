"""Laws of intensity and of changes in mid-stream: no jump, no opened closure, no chunk matters."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dualtalker import Talker
from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, MOUTH_INDICES
from dualtalker.errors import DualtalkerError
from dualtalker.evaluation.metrics import lower_lip_drop
from dualtalker.face import scale_speech
from dualtalker.face.manner import (
    CHANGE_S,
    LINES_MM,
    MAX_INTENSITY,
    SHUT_MM,
    Fader,
    check_intensity,
)
from dualtalker.model import load_bundle
from dualtalker.rig.robot_head import build_head
from streamed_speech import speech, weights_of
from tiny_bundle import make_tiny_bundle, make_tiny_windowed_bundle

HEAD = build_head()
REST_MM = 1000 * HEAD.lip_gap_line[0]

unit = st.floats(0, 1, width=32)
faces = arrays.arrays(np.float32, 52, elements=unit)
intensities = st.floats(0, MAX_INTENSITY)


def gap_mm(weights):
    """Return how far the lips of the default head are parted beyond rest."""
    return 1000 * float(HEAD.lip_gap(weights)) - REST_MM


# --- intensity ---


def test_the_table_of_gaps_is_the_default_heads():
    own_mm = 1000 * np.array([HEAD.lip_gap_line[1][HEAD.names.index(n)] for n in ARKIT_NAMES])
    np.testing.assert_allclose(LINES_MM[0], own_mm, atol=0.1)
    drop_mm = 1000 * lower_lip_drop(HEAD, np.eye(52, dtype=np.float32))
    np.testing.assert_allclose(LINES_MM[1], drop_mm, atol=0.1)


@settings(deadline=None)
@given(weights=faces, intensity=intensities)
def test_weights_stay_weights_and_the_upper_face_is_let_be(weights, intensity):
    scaled = scale_speech(weights, intensity)
    assert scaled.dtype == np.float32 and scaled.min() >= 0 and scaled.max() <= 1
    upper = [i for i, n in enumerate(ARKIT_NAMES) if n.startswith(("eye", "brow"))]
    np.testing.assert_array_equal(scaled[upper], weights[upper])


@settings(deadline=None)
@given(weights=faces)
def test_one_changes_nothing_and_zero_is_a_still_mouth(weights):
    before = weights.copy()
    np.testing.assert_array_equal(scale_speech(weights, 1.0), before)
    assert not scale_speech(weights, 0.0)[list(MOUTH_INDICES)].any()
    np.testing.assert_array_equal(weights, before)


@settings(deadline=None)
@given(weights=faces, intensity=intensities)
def test_the_pose_keeps_its_shape_on_any_face(weights, intensity):
    """One gain for all, so that on any linear rig lips that are shut stay shut."""
    scaled = scale_speech(weights, intensity)
    mouth = weights[list(MOUTH_INDICES)].astype(np.float64)
    if mouth.max() < 1e-3:
        return
    gain = scaled[list(MOUTH_INDICES)] @ mouth / (mouth @ mouth)
    np.testing.assert_allclose(scaled[list(MOUTH_INDICES)], gain * mouth, atol=1e-5)
    low, high = min(1.0, intensity), max(1.0, intensity)
    assert low - 1e-4 <= gain <= high + 1e-4
    assert gap_mm(scaled) == pytest.approx(gain * gap_mm(weights), abs=1e-2)


def shut(weights, press):
    """Return the face with its lips shut by `mouthClose`, pressed to `press` of the excess."""
    closed = weights.copy()
    for name in ("mouthFunnel", "mouthLowerDownLeft", "mouthUpperUpLeft", "noseSneerLeft"):
        for side in (name, name.replace("Left", "Right")):
            closed[ARKIT_INDEX[side]] = 0
    closed[ARKIT_INDEX["jawOpen"]] *= 0.3
    closed[ARKIT_INDEX["mouthClose"]] = 0
    excess_mm = gap_mm(closed) - press * SHUT_MM
    closed[ARKIT_INDEX["mouthClose"]] = np.clip(excess_mm / 38.56, 0, 1)
    return closed


@settings(deadline=None)
@given(weights=faces, press=st.floats(-2, 1), intensity=intensities)
def test_closures_survive_any_intensity(weights, press, intensity):
    """Lips parted by at most 1.5 mm of the head's 38 are never parted by more."""
    closed = shut(weights, press)
    before_mm = gap_mm(closed)
    if before_mm <= SHUT_MM + 0.05:
        assert gap_mm(scale_speech(closed, intensity)) <= max(before_mm, 0.0) + 0.06


@settings(deadline=None)
@given(weights=faces, intensity=intensities)
def test_a_lip_on_the_teeth_stays_there(weights, intensity):
    drop_mm = 1000 * float(lower_lip_drop(HEAD, weights[np.newaxis])[0])
    touching = weights.copy()
    jaw, close = ARKIT_INDEX["jawOpen"], ARKIT_INDEX["mouthClose"]
    touching[close] = 0
    touching[jaw] = np.clip(weights[jaw] - weights[close] - (drop_mm - SHUT_MM) / 38.56, 0, 1)
    before_mm, after_mm = (
        1000 * float(lower_lip_drop(HEAD, face[np.newaxis])[0])
        for face in (touching, scale_speech(touching, intensity))
    )
    if before_mm <= SHUT_MM + 0.01:
        assert after_mm <= max(before_mm, 0.0) + 0.06


@settings(deadline=None)
@given(weights=faces, steps=st.lists(intensities, min_size=2, max_size=6))
def test_more_is_more(weights, steps):
    jaw = [scale_speech(weights, s)[ARKIT_INDEX["jawOpen"]] for s in sorted(steps)]
    assert (np.diff(jaw) >= -1e-5).all()


@settings(deadline=None)
@given(weights=faces, other=faces, share=st.floats(0, 1e-3), intensity=intensities)
def test_faces_that_are_near_stay_near(weights, other, share, intensity):
    """No gain jumps: a smooth motion stays smooth."""
    near = (weights + np.float32(share) * (other - weights)).astype(np.float32)
    difference = np.abs(scale_speech(near, intensity) - scale_speech(weights, intensity))
    assert difference.max() <= 30 * share + 1e-5


def test_an_open_vowel_opens_more_and_less():
    vowel = np.zeros(52, np.float32)
    vowel[ARKIT_INDEX["jawOpen"]] = 0.4
    jaws = [scale_speech(vowel, s)[ARKIT_INDEX["jawOpen"]] for s in (0.5, 1.0, 1.2, 2.0)]
    np.testing.assert_allclose(jaws, [0.2, 0.4, 0.4792, 0.64], atol=1e-3)


@pytest.mark.parametrize("bad", [-0.1, 2.01, float("nan"), float("inf"), "1", None])
def test_an_intensity_out_of_range_is_refused(bad, tiny):
    with pytest.raises(DualtalkerError, match="expected 0"):
        check_intensity(bad)
    talker = Talker(tiny, intensity=0.5)
    with pytest.raises(DualtalkerError, match="intensity is"):
        talker.set_intensity(bad)
    assert talker.intensity == 0.5


# --- changes in time ---

times = st.integers(0, 200).map(lambda i: Fraction(i, 50))


@settings(deadline=None)
@given(changes=st.lists(st.tuples(times, unit), max_size=8), asked=st.lists(times, max_size=20))
def test_what_is_asked_in_between_does_not_matter(changes, asked):
    def run(ask_between):
        fader = Fader(np.zeros(1, np.float32))
        pending = sorted(changes, key=lambda change: change[0])
        answers = {}
        for time_s, value in pending:
            for at_s in sorted(asked) if ask_between else []:
                if at_s <= time_s:
                    fader.at(at_s)
            fader.change(time_s, np.array([value], np.float32))
        last_s = max([time_s for time_s, _ in changes], default=Fraction(0))
        for i in range(1, 12):
            answers[i] = fader.at(last_s + Fraction(i, 100)).copy()
        return answers, fader.target

    (one, target), (two, _) = run(False), run(True)
    assert one == two
    np.testing.assert_array_equal(one[10], target)


@settings(deadline=None)
@given(changes=st.lists(st.tuples(times, unit), max_size=8))
def test_a_change_never_jumps(changes):
    fader = Fader(np.zeros(1, np.float32))
    for time_s, value in sorted(changes, key=lambda change: change[0]):
        fader.change(time_s, np.array([value], np.float32))
    values = [float(fader.at(Fraction(i, 500))[0]) for i in range(2200)]
    # The steepest of 3 s² - 2 s³ is 1.5.
    assert np.abs(np.diff(values)).max() <= 1.5 * float(Fraction(1, 500) / CHANGE_S) + 1e-6


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manner")
    return [
        load_bundle(make_tiny_bundle(folder / "a", styled=True)),
        load_bundle(make_tiny_windowed_bundle(folder / "b", styled=True)),
    ]


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 30000),
        st.one_of(st.sampled_from(["articulate", "even", "default"]), st.floats(0, 2)),
    ),
    max_size=5,
)


def stream_with_changes(bundle, samples, rate_hz, cuts, changes, fetch=True):
    """Push up to each cut and change; frames are fetched after each push, or at the end."""
    talker, frames, done = Talker(bundle, fps=60), [], 0
    events = sorted([(cut, None) for cut in cuts] + changes, key=lambda event: event[0])
    for at, change in [*events, (len(samples), None)]:
        at = min(at, len(samples))
        if at > done:
            talker.push(samples[done:at], rate_hz)
            done = at
        if fetch:
            frames += talker.frames()
        if isinstance(change, str):
            talker.set_style(change)
        elif change is not None:
            talker.set_intensity(change)
    return frames + talker.flush()


@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from([0, 1]),
    rate_hz=st.sampled_from([16000, 22050, 48000]),
    cuts=st.lists(st.integers(1, 30000), max_size=20),
    changes=CHANGES,
)
def test_streaming_equals_offline_through_changes(bundles, kind, rate_hz, cuts, changes):
    samples = speech(0.8, rate_hz, seed=len(cuts))
    arguments = (bundles[kind], samples, rate_hz)
    whole = stream_with_changes(*arguments, [], changes, fetch=False)
    pieces = stream_with_changes(*arguments, cuts, changes)
    np.testing.assert_allclose(weights_of(pieces), weights_of(whole), atol=1e-5)


def test_a_change_starts_with_the_next_hop_and_is_whole_after_the_fade(bundles):
    bundle = bundles[0]
    samples = speech(2.0, 16000)
    plain = weights_of(stream_with_changes(bundle, samples, 16000, [], []))
    changed = weights_of(stream_with_changes(bundle, samples, 16000, [], [(16000, "articulate")]))
    other = Talker(bundle, fps=60, style="articulate")
    other.push(samples, 16000)
    fresh = weights_of(other.flush())
    lookahead_s = bundle.sidecar.lookahead_s
    moved = np.flatnonzero(np.abs(changed - plain).max(1) > 1e-6) / 60
    assert 1.0 - lookahead_s <= moved[0] <= 1.0 - lookahead_s + 0.04
    late = int(np.ceil((1.0 - lookahead_s + float(CHANGE_S) + 0.02) * 60))
    np.testing.assert_allclose(changed[late:], fresh[late:], atol=1e-6)
    assert np.abs(plain[late:] - fresh[late:]).max() > 0.1
    fastest = max(np.abs(np.diff(plain, axis=0)).max(), np.abs(np.diff(fresh, axis=0)).max())
    assert np.abs(np.diff(changed, axis=0)).max() < fastest + 0.25


def test_reset_keeps_style_and_intensity_without_a_fade(bundles):
    samples = speech(0.5, 16000)
    talker = Talker(bundles[0])
    talker.push(samples, 16000)
    talker.set_style("articulate")
    talker.set_intensity(1.5)
    talker.reset()
    assert talker.style == {"rules": 1.0, "captured:someone": 0.0} and talker.intensity == 1.5
    talker.push(samples, 16000)
    fresh = Talker(bundles[0], style="articulate", intensity=1.5)
    fresh.push(samples, 16000)
    np.testing.assert_array_equal(weights_of(talker.flush()), weights_of(fresh.flush()))


def test_after_an_interruption_the_style_asked_for_last_holds(bundles):
    """Stream time goes back beyond the change; the old style must not come again."""
    samples = speech(0.5, 16000)
    talker = Talker(bundles[0], fps=50)
    talker.push(samples, 16000)
    talker.set_style("articulate")
    talker.set_intensity(0.5)
    talker.interrupt(0.1)
    talker.push(samples, 16000)
    fresh = Talker(bundles[0], fps=50, style="articulate", intensity=0.5)
    fresh.push(samples, 16000)
    # Both mouths have been faded in 60 ms after the first hop.
    mouth = list(MOUTH_INDICES)
    found, expected = weights_of(talker.flush())[5:, mouth], weights_of(fresh.flush())[5:, mouth]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_thousand_changes_without_audio_keep_nothing(bundles):
    talker = Talker(bundles[0])
    for i in range(1000):
        talker.set_intensity(i / 1000)
        talker.set_style({"rules": 1.0, "captured:someone": i / 1000})
        talker.advance_to(i / 50)
    assert len(talker._manner._style._pieces) <= 2
    assert len(talker._manner._intensity._pieces) <= 2
