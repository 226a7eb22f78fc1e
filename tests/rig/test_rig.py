"""Laws of the rig: posing, landmarks, and the refusal of parts that do not fit together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import RigError
from dualtalker.rig import build_rig
from dualtalker.rig.landmarks import _find_near
from dualtalker.rig.robot_head import build_head
from scanned_rig import scanned_rig
from tiny_rig import SHAPES, parts, tiny_rig


@pytest.mark.parametrize("build", [tiny_rig, build_head])
def test_zero_weights_are_neutral(build):
    rig = build()
    np.testing.assert_array_equal(rig.pose(np.zeros(len(ARKIT_NAMES))), rig.neutral)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-1, 2))
def test_pose_is_linear(seed, share):
    rig = tiny_rig()
    rng = np.random.default_rng(seed)
    one, other = rng.random((2, len(ARKIT_NAMES)))
    blend = rig.pose(share * one + (1 - share) * other)
    expected = share * rig.pose(one) + (1 - share) * rig.pose(other)
    np.testing.assert_allclose(blend, expected, atol=1e-6)


def test_pose_takes_batches_and_any_order_of_names():
    rig = tiny_rig()
    weights = np.random.default_rng(0).random((2, 3, len(ARKIT_NAMES)))
    posed = rig.pose(weights)
    assert posed.shape == (2, 3, len(rig.neutral), 3)
    np.testing.assert_allclose(posed[1, 2], rig.pose(weights[1, 2]), atol=1e-7)
    order = np.random.default_rng(1).permutation(len(ARKIT_NAMES))
    names = [ARKIT_NAMES[index] for index in order]
    np.testing.assert_allclose(rig.pose(weights[..., order], names), posed, atol=1e-7)
    np.testing.assert_allclose(rig.lip_gap(weights[..., order], names), rig.lip_gap(weights))


def test_pose_refuses_weights_of_another_length():
    with pytest.raises(RigError, match=r"\[3, 51\].*52"):
        tiny_rig().pose(np.zeros((3, 51)))


def test_missing_lists_what_posing_ignores():
    rig = tiny_rig()
    assert set(rig.missing) == set(ARKIT_NAMES) - set(SHAPES)
    weights = np.zeros(len(ARKIT_NAMES))
    weights[ARKIT_NAMES.index("tongueOut")] = 1
    np.testing.assert_array_equal(rig.pose(weights), rig.neutral)


def test_lip_gap_is_measured_on_the_posed_mesh():
    rig = tiny_rig()
    weights = np.random.default_rng(2).random((20, len(ARKIT_NAMES)))
    upper, lower = rig.central_lip_pairs
    posed = rig.pose(weights)
    expected = (posed[:, upper, 1] - posed[:, lower, 1]).mean(axis=1)
    np.testing.assert_allclose(rig.lip_gap(weights), expected, atol=1e-7)
    assert rig.lip_gap(np.zeros(52)) == pytest.approx(0.001, abs=1e-6)


def test_landmarks_are_found_from_the_shapes():
    rig = tiny_rig()
    np.testing.assert_array_equal(rig.lip_vertices, np.arange(18, 36))
    assert set(rig.lip_upper) <= set(range(18, 27))
    np.testing.assert_array_equal(rig.lip_lower, rig.lip_upper + 9)
    np.testing.assert_array_equal(rig.upper_face_vertices, np.arange(5, 9))


@pytest.mark.parametrize(
    ("field", "change", "expected"),
    [
        ("neutral", lambda a: np.concatenate([a, a]), "deltas"),
        ("neutral", lambda a: a[:, :2], r"expected numbers \['any', 3\]"),
        ("neutral", lambda a: a * np.nan, "NaN"),
        ("deltas", lambda a: a[:-1], r"expected numbers \[5, 45, 3\]"),
        ("deltas", lambda a: a * np.inf, "NaN or infinite"),
        ("triangles", lambda a: a + 1, "expected 0 to 44"),
        ("triangles", lambda a: a - 1, "expected 0 to 44"),
        ("triangles", lambda a: a.astype(float), "whole numbers"),
        ("names", lambda names: ("jawOpn", *names[1:]), "jawOpn"),
        ("names", lambda names: (names[1], *names[1:]), "distinct"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_parts_that_do_not_fit_are_refused(field, change, expected):
    changed = parts(tiny_rig())
    changed[field] = change(changed[field])
    with pytest.raises(RigError, match=expected):
        build_rig(**changed)


def test_a_rig_whose_lips_do_not_part_is_refused():
    changed = parts(tiny_rig())
    changed["deltas"][changed["names"].index("jawOpen")] *= -1
    with pytest.raises(RigError, match="jawOpen does not part"):
        build_rig(**changed)


@pytest.mark.parametrize("apart_m", [0.0, 0.002, 0.008])
def test_a_jaw_alone_tells_the_lips(apart_m):
    """Also of a mouth that stands open."""
    changed = parts(tiny_rig())
    at = changed["names"].index("jawOpen")
    changed["neutral"][:27, 1] += apart_m
    rig = build_rig(
        "jaw", changed["neutral"], changed["triangles"], ["jawOpen"], changed["deltas"][[at]]
    )
    np.testing.assert_array_equal(rig.lip_vertices, np.arange(18, 36))
    np.testing.assert_array_equal(rig.lip_lower, rig.lip_upper + 9)
    assert rig.lip_gap(np.zeros(52)) == pytest.approx(0.001 + apart_m, abs=1e-6)


def test_a_jaw_alone_finds_the_lips_of_the_robot_head_before_its_teeth():
    head = build_head()
    jaw = head.deltas[[head.names.index("jawOpen")]]
    rig = build_rig("jaw", head.neutral, head.triangles, ["jawOpen"], jaw)
    weights = np.zeros((2, 52))
    weights[1, ARKIT_NAMES.index("jawOpen")] = 0.6
    gaps_mm, whole_mm = 1000 * rig.lip_gap(weights), 1000 * head.lip_gap(weights)
    assert abs(gaps_mm[0] - whole_mm[0]) < 1
    assert abs(gaps_mm[1] - whole_mm[1]) < 0.1 * whole_mm[1]
    assert 0.04 < np.ptp(rig.neutral[rig.lip_vertices, 0]) < 0.07


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), spread=st.sampled_from([1e-3, 1.0, 1e7]))
def test_near_vertices_are_those_within_reach(seed, spread):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(rng.integers(1, 40), 3)) * spread
    others = rng.normal(size=(rng.integers(0, 40), 3)) * spread
    reach = float(rng.uniform(0.01, 0.5)) * spread
    found = _find_near(points, others, reach)
    distance = np.linalg.norm(points[:, None] - others[None], axis=2).min(axis=1, initial=np.inf)
    assert found[distance <= reach].all()
    assert not found[distance > 2 * np.sqrt(3) * reach].any()


def test_landmarks_on_a_scanned_face():
    rig = scanned_rig()
    assert rig.missing == ("tongueOut",)
    gap_mm = 1000 * rig.lip_gap(np.eye(52))
    rest_mm = 1000 * rig.lip_gap(np.zeros(52))
    change = dict(zip(ARKIT_NAMES, gap_mm - rest_mm, strict=True))
    assert 0 <= rest_mm < 2
    assert 25 < change["jawOpen"] < 40
    assert change["mouthClose"] < -25
    assert change["mouthUpperUpLeft"] == pytest.approx(change["mouthUpperUpRight"], abs=0.1)
    assert abs(change["browDownLeft"]) < 0.01
    x = rig.neutral[rig.lip_upper, 0]
    assert x.max() - x.min() > 0.03
