"""Laws of the default robot head: symmetry, what each shape moves, and how the lips part."""

from __future__ import annotations

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, MIRROR_INDICES
from dualtalker.rig.robot_head import build_head

RIG = build_head()
OPEN_RANGE_M = float(RIG.lip_gap(np.eye(52)[ARKIT_INDEX["jawOpen"]]) - RIG.lip_gap(np.zeros(52)))


def weights_of(**values: float) -> np.ndarray:
    weights = np.zeros(52, dtype=np.float32)
    for name, value in values.items():
        for side in ("", "Left", "Right"):
            if name + side in ARKIT_INDEX:
                weights[ARKIT_INDEX[name + side]] = value
    return weights


def gap_change(**values: float) -> float:
    """Change of the lip gap from rest as a share of what jawOpen = 1 opens."""
    return float(RIG.lip_gap(weights_of(**values)) - RIG.lip_gap(np.zeros(52))) / OPEN_RANGE_M


def sorted_points(points: np.ndarray) -> np.ndarray:
    """Points [n, columns] in an order that does not depend on the mesh's."""
    return points[np.lexsort(points.T)]


def test_size_is_that_of_a_human_head():
    height_m = np.ptp(RIG.neutral[:, 1])
    assert 0.2 < height_m < 0.32
    width_m = np.ptp(RIG.neutral[RIG.lip_vertices, 0])
    assert 0.05 < width_m < 0.065
    assert 2000 < len(RIG.neutral) < 10_000
    assert 0 <= RIG.lip_gap(np.zeros(52)) < 0.0005


def test_all_shapes_are_there_and_each_moves_something():
    assert RIG.names == ARKIT_NAMES
    assert RIG.missing == ()
    reach_m = np.linalg.norm(RIG.deltas, axis=2).max(axis=1)
    assert (reach_m > 0.001).all()
    assert (reach_m < 0.06).all()


@pytest.mark.parametrize("seed", range(5))
def test_mirrored_weights_give_the_mirrored_face(seed):
    weights = np.random.default_rng(seed).random(52).astype(np.float32)
    face = RIG.pose(weights).astype(np.float64) * [-1, 1, 1]
    twin = RIG.pose(weights[list(MIRROR_INDICES)]).astype(np.float64)
    # The twins are different vertices: compare the clouds through their nearest neighbors.
    cells = {tuple(cell) for cell in np.round(twin / 2e-6).astype(int)}
    around = [np.array(step) for step in np.ndindex(3, 3, 3)]
    for point in np.round(face[::7] / 2e-6).astype(int):
        assert any(tuple(point + step - 1) in cells for step in around)


def test_neutral_is_its_own_mirror_image_to_the_last_bit():
    flipped = RIG.neutral * np.array([-1, 1, 1], dtype=np.float32)
    np.testing.assert_array_equal(sorted_points(flipped + 0.0), sorted_points(RIG.neutral + 0.0))


def test_jaw_opens_the_lips_evenly():
    steps = np.linspace(0, 1, 21)
    gap_m = RIG.lip_gap(steps[:, None] * weights_of(jawOpen=1.0))
    assert (np.diff(gap_m) > 0).all()
    assert 0.035 < gap_m[-1] < 0.045
    chin = np.argmin(RIG.deltas[ARKIT_INDEX["jawOpen"]][:, 1])
    assert RIG.deltas[ARKIT_INDEX["jawOpen"]][chin, 1] < -0.035


def test_mouth_close_shuts_the_lips_over_an_open_jaw():
    assert abs(gap_change(jawOpen=1, mouthClose=1)) < 0.05
    assert abs(gap_change(jawOpen=0.4, mouthClose=0.4)) < 0.05
    shut = RIG.pose(weights_of(jawOpen=1, mouthClose=1))
    spread_m = np.abs(shut[RIG.lip_upper] - shut[RIG.lip_lower]).max()
    assert spread_m < 0.001


# The same quotients on the ICT-FaceKit face, measured with the same definition of the gap.
@pytest.mark.parametrize(
    ("shapes", "on_ict"),
    [
        ({"mouthFunnel": 1}, 0.386),
        ({"mouthPucker": 1}, -0.038),
        ({"mouthShrugLower": 1}, -0.211),
        ({"mouthShrugUpper": 1}, 0.156),
        ({"mouthLowerDown": 1}, 0.206),
        ({"mouthUpperUp": 1}, 0.220),
        ({"mouthPress": 1}, -0.074),
        ({"noseSneer": 1}, 0.194),
        ({"mouthRollLower": 1}, -0.071),
        ({"mouthRollUpper": 1}, 0.067),
        ({"jawForward": 1}, 0.039),
        ({"mouthSmile": 1}, 0.0),
        ({"mouthStretch": 1}, -0.01),
        ({"browDown": 1}, 0.0),
    ],
)
def test_lips_part_as_on_a_scanned_face(shapes, on_ict):
    change = gap_change(**shapes)
    assert change == pytest.approx(on_ict, abs=0.055)
    assert change * on_ict >= -1e-9


def mouth_width_m(**values: float) -> float:
    return float(np.ptp(RIG.pose(weights_of(**values))[RIG.lip_vertices, 0]))


def test_rounding_narrows_and_smiling_widens_the_mouth():
    rest = mouth_width_m()
    assert mouth_width_m(mouthPucker=1) < 0.7 * rest
    assert mouth_width_m(mouthFunnel=1) < 0.75 * rest
    assert mouth_width_m(mouthSmile=1) > 1.15 * rest
    assert mouth_width_m(mouthStretch=1) > 1.15 * rest
    front = RIG.pose(weights_of(mouthPucker=1))[RIG.lip_vertices, 2].max()
    assert front > RIG.neutral[RIG.lip_vertices, 2].max() + 0.006


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_blink_touches_only_its_own_eye(side):
    delta = RIG.deltas[ARKIT_INDEX[f"eyeBlink{side}"]]
    moved = RIG.neutral[np.abs(delta).max(axis=1) > 0]
    sign = 1 if side == "Left" else -1
    assert (sign * moved[:, 0] > 0.005).all()
    assert (moved[:, 1] > -0.015).all()
    assert (moved[:, 1] < 0.065).all()
    assert not np.isin(np.flatnonzero(np.abs(delta).max(axis=1)), RIG.lip_vertices).any()


def test_lids_meet_in_a_blink():
    shut, rest = RIG.pose(weights_of(eyeBlink=1)), RIG.neutral
    lid = np.flatnonzero(np.abs(RIG.deltas[ARKIT_INDEX["eyeBlinkLeft"]]).max(axis=1) > 0)
    middle = lid[np.abs(rest[lid, 0] - 0.041) < 0.004]
    upper = middle[RIG.deltas[ARKIT_INDEX["eyeBlinkLeft"]][middle, 1] < 0]
    lower = middle[RIG.deltas[ARKIT_INDEX["eyeBlinkLeft"]][middle, 1] > 0]
    assert rest[upper, 1].min() > rest[lower, 1].max() + 0.03  # open at rest
    assert shut[upper, 1].min() <= shut[lower, 1].max()


def test_gaze_moves_both_pupils_the_same_way():
    for look, axis, sign in (("eyeLookUp", 1, 1), ("eyeLookDown", 1, -1)):
        for side in ("Left", "Right"):
            delta = RIG.deltas[ARKIT_INDEX[look + side]][:, axis]
            assert sign * delta[np.argmax(np.abs(delta))] > 0.005
    to_the_left = (
        RIG.deltas[ARKIT_INDEX["eyeLookOutLeft"]] + RIG.deltas[ARKIT_INDEX["eyeLookInRight"]]
    )
    assert to_the_left[:, 0].min() > -1e-6
    assert to_the_left[:, 0].max() > 0.005


def test_landmarks_lie_on_the_lips():
    x, y, _ = RIG.neutral[RIG.lip_upper].T
    np.testing.assert_allclose(RIG.neutral[RIG.lip_lower, 0], x, atol=2e-5)
    assert (RIG.neutral[RIG.lip_lower, 1] <= y).all()
    assert np.isin(RIG.lip_upper, RIG.lip_vertices).all()
    assert len(np.intersect1d(RIG.upper_face_vertices, RIG.lip_vertices)) == 0
    assert len(RIG.upper_face_vertices) > 100


def test_the_head_is_built_once():
    assert build_head() is RIG
