"""The accuracy figures against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.evaluation import metrics
from dualtalker.speech import LABIODENTAL


def wave(frames: int, hz: float, rate_hz: float, delay_s: float = 0.0) -> np.ndarray:
    time_s = np.arange(frames) / rate_hz - delay_s
    return np.sin(2 * np.pi * hz * time_s) + 0.5 * np.sin(2 * np.pi * 1.7 * hz * time_s)


@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(-5, 5))
@settings(max_examples=30, deadline=None)
def test_correlation_ignores_scale_and_offset(seed: int, scale: float, offset: float) -> None:
    curve = np.random.default_rng(seed).random(50)
    assert metrics.correlate(curve, scale * curve + offset) == pytest.approx(1.0)
    assert metrics.correlate(curve, -curve) == pytest.approx(-1.0)
    assert metrics.correlate(curve, np.full(50, offset)) == 0.0


def test_correlation_of_chosen_frames_and_unequal_lengths() -> None:
    left, right = np.array([0.0, 1, 2, 9]), np.array([0.0, 1, 2, -9])
    assert metrics.correlate(left, right, np.array([True, True, True, False])) == pytest.approx(1)
    with pytest.raises(ValueError, match="4 and 3 frames"):
        metrics.correlate(left, right[:3])


def follow(seed: int, frames: int, r: float) -> tuple[np.ndarray, np.ndarray]:
    """Two curves that move slowly, as mouths do, and correlate by about r."""
    rng = np.random.default_rng(seed)
    slow = np.convolve(rng.standard_normal(frames + 20), np.ones(21) / 21**0.5, "valid")
    other = np.convolve(rng.standard_normal(frames + 20), np.ones(21) / 21**0.5, "valid")
    return slow, r * slow + (1 - r * r) ** 0.5 * other


def test_interval_of_a_correlation_holds_what_other_recordings_give() -> None:
    """Of 30 recordings of 60 s, the interval of most holds the correlation behind them all."""
    inside, widths = 0, []
    for seed in range(30):
        left, right = follow(seed, 3000, 0.6)
        bounds = metrics.bound_correlation(left, right, 100, draws=300)
        assert bounds is not None
        assert bounds[0] < metrics.correlate(left, right) < bounds[1]
        inside += bounds[0] <= 0.6 <= bounds[1]
        widths.append(bounds[1] - bounds[0])
    assert inside >= 25  # 95 % are wanted; a bootstrap of 30 blocks is a little narrow
    longer = metrics.bound_correlation(*follow(0, 30000, 0.6), 100, draws=300)
    assert longer is not None and longer[1] - longer[0] < 0.6 * float(np.mean(widths))


def test_interval_needs_enough_to_draw_from_and_repeats() -> None:
    left, right = follow(1, 420, 0.5)
    assert metrics.bound_correlation(left, right, 106) is None
    first = metrics.bound_correlation(left, right, 100)
    assert first == metrics.bound_correlation(left, right, 100)
    spoken = np.arange(420) < 390
    assert metrics.bound_correlation(left, right, 100, spoken) is None
    assert metrics.bound_correlation(np.zeros(420), right, 100) == (0.0, 0.0)


def test_loudness_follows_the_level_and_speech_is_where_it_is_loud() -> None:
    rate_hz = 16000
    tone = np.sin(2 * np.pi * 200 * np.arange(rate_hz) / rate_hz)
    samples = np.concatenate([0 * tone, 0.5 * tone, 0 * tone])
    times_s = np.arange(150) / 50
    loudness = metrics.measure_loudness(samples, rate_hz, times_s)
    assert loudness[75] == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    speech = metrics.find_speech(loudness)
    assert speech[55:95].all() and not speech[:45].any() and not speech[105:].any()
    np.testing.assert_array_equal(metrics.find_speech_frames(samples, rate_hz, times_s), speech)


def test_short_quiet_spots_inside_speech_count_as_speech() -> None:
    loudness = np.ones(100)
    loudness[40:45] = 0.0
    loudness[60:80] = 0.0
    speech = metrics.find_speech(loudness)
    assert speech[40:45].all() and not speech[60:80].any()


@pytest.mark.parametrize("delay_s", [-0.12, -0.033, 0.0, 0.02, 0.1])
def test_offset_is_found_to_a_fraction_of_a_frame(delay_s: float) -> None:
    late, reference = wave(300, 1.3, 30.0, delay_s), wave(300, 1.3, 30.0)
    found = metrics.estimate_offset_ms(late, reference, 30.0)
    assert found == pytest.approx(delay_s * 1000, abs=5)
    with pytest.raises(ValueError, match="expected over"):
        metrics.estimate_offset_ms(late[:10], reference[:10], 30.0)


def test_closures_are_met_only_where_the_gap_is_at_rest() -> None:
    times_s = np.arange(100) / 50
    gap = np.full(100, 0.01)
    gap[20:23] = 0.0002
    closed = metrics.find_closed(gap, rest=0.0)
    phones = [("PP", 0.40, 0.46), ("PP", 1.0, 1.1), ("AA", 0.3, 0.5), ("AA", 1.4, 1.5)]
    assert metrics.measure_closure_recall(closed, times_s, phones) == (1, 2)
    assert metrics.measure_false_closures(closed, times_s, phones) == (1, 2)
    early = [("PP", 0.48, 0.5)]
    assert metrics.measure_closure_recall(closed, times_s, early, 0.04) == (1, 1)
    assert metrics.measure_closure_recall(closed, times_s, early, 0.01) == (0, 1)


def test_lip_error_tells_squared_from_plain_distance() -> None:
    reference = np.zeros((2, 3, 3))
    predicted = reference.copy()
    predicted[0, 1, 0] = 0.003  # 3 mm in one frame, 1 mm in the other
    predicted[1, 2, 1] = 0.001
    errors = metrics.measure_lip_error(predicted, reference)
    assert errors["lve_mm"] == pytest.approx(2.0)
    assert errors["lve_squared_mm2"] == pytest.approx(5.0)


def test_dynamics_deviation_signed_cancels_and_absolute_does_not() -> None:
    neutral = np.zeros((2, 3))
    reference = np.zeros((4, 2, 3))
    reference[:, 0, 0] = [0, 1, 0, 1]
    predicted = np.zeros((4, 2, 3))
    predicted[:, 1, 0] = [0, 1, 0, 1]
    found = metrics.measure_dynamics_deviation(predicted, reference, neutral)
    assert found == {"fdd_signed": pytest.approx(0.0), "fdd_absolute": pytest.approx(0.5)}


def test_jitter_of_a_parabola_is_zero_and_speed_is_per_second() -> None:
    time_s = np.arange(50) / 25
    assert metrics.measure_jitter(time_s**2, 25) == pytest.approx(0, abs=1e-6)
    assert metrics.measure_speed(3 * time_s, 25) == pytest.approx(3)
    assert metrics.measure_speed(time_s[:1], 25) == 0


def test_curves_read_the_right_channels() -> None:
    weights = np.zeros((1, 52))
    weights[0, ARKIT_INDEX["jawOpen"]] = 0.5
    weights[0, ARKIT_INDEX["mouthFunnel"]] = 0.2
    weights[0, ARKIT_INDEX["mouthPucker"]] = 0.3
    assert metrics.jaw_opening(weights)[0] == 0.5
    assert metrics.lip_rounding(weights)[0] == pytest.approx(0.5)


def test_motions_of_unlike_length_are_refused() -> None:
    with pytest.raises(ValueError, match="frames"):
        metrics.measure_lip_error(np.zeros((2, 2, 3)), np.zeros((1, 2, 3)))


def test_posed_vertices_are_those_of_the_rig() -> None:
    from dualtalker.rig.robot_head import build_head

    head = build_head()
    weights = np.random.default_rng(0).random((3, 52)).astype(np.float32)
    posed = metrics.pose_vertices(head, weights, head.lip_vertices)
    np.testing.assert_allclose(posed, head.pose(weights)[:, head.lip_vertices], atol=1e-6)


def test_lower_lip_drops_with_the_jaw_and_not_with_the_upper_lip() -> None:
    from dualtalker.rig.robot_head import build_head

    head = build_head()
    weights = np.zeros((4, 52), np.float32)
    weights[1, ARKIT_INDEX["jawOpen"]] = 0.5
    weights[2, ARKIT_INDEX["jawOpen"]] = weights[2, ARKIT_INDEX["mouthClose"]] = 0.5
    weights[3, [ARKIT_INDEX["mouthUpperUpLeft"], ARKIT_INDEX["mouthUpperUpRight"]]] = 1.0
    drop = metrics.lower_lip_drop(head, weights)
    assert drop[0] == 0.0 and drop[1] > 0.01
    assert abs(drop[2]) < 1e-4 and abs(drop[3]) < 1e-4
    _, lower = head.central_lip_pairs
    posed = head.pose(weights)[:, lower, 1].mean(-1)
    np.testing.assert_allclose(drop, posed[0] - posed, atol=1e-6)
    assert metrics.find_contact(drop).tolist() == [True, False, True, True]


def test_contact_is_counted_on_labiodentals_alone() -> None:
    times_s = np.arange(100) / 50
    touching = np.zeros(100, bool)
    touching[20:23] = True
    phones = [("FF", 0.40, 0.46), ("FF", 1.0, 1.1), ("PP", 0.4, 0.46)]
    met = metrics.measure_closure_recall(touching, times_s, phones, 0.04, LABIODENTAL)
    assert met == (1, 2)
