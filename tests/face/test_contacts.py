"""Contacts and rounding laid over a pose: what meets, what stays, under every expression."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.face import (
    EXPRESSIONS,
    FUNNEL,
    JAW_OPEN,
    MOUTH_CLOSE,
    PUCKER,
    ROUNDING,
    ExpressionLayer,
    pose_expression,
    round_lips,
    touch_lips,
)
from dualtalker.face.manner import LINES_MM

POSES = arrays.arrays(np.float32, 52, elements=st.floats(0, 1, width=32))
SHARES = st.floats(0, 1)
CHEEKS = [ARKIT_INDEX[name] for name in ("browInnerUp", "eyeBlinkLeft", "mouthSmileLeft")]


def mouth(**weights):
    pose = np.zeros(52, np.float32)
    for name, weight in weights.items():
        pose[ARKIT_INDEX[name]] = weight
    return pose


OPEN = mouth(jawOpen=0.5, mouthFunnel=0.2, mouthLowerDownLeft=0.3, mouthLowerDownRight=0.3)


@settings(max_examples=40, deadline=None)
@given(POSES, SHARES, SHARES, st.floats(0, 2))
def test_any_pose_stays_one_and_what_has_no_part_in_contacts_stays(pose, shut, bite, intensity):
    before = pose.copy()
    touched = touch_lips(pose, shut, bite, intensity)
    assert touched.dtype == np.float32 and touched.min() >= 0 and touched.max() <= 1
    np.testing.assert_array_equal(pose, before)
    np.testing.assert_array_equal(touched[CHEEKS], pose[CHEEKS])
    assert touched[JAW_OPEN] <= pose[JAW_OPEN]


@settings(max_examples=40, deadline=None)
@given(POSES, SHARES)
def test_a_whole_contact_shuts_the_lips_of_any_pose(pose, bite):
    touched = touch_lips(pose, 1.0, bite, 1.0)
    assert touched[MOUTH_CLOSE] == touched[JAW_OPEN]
    assert touched[ARKIT_INDEX["mouthFunnel"]] == 0


@settings(max_examples=40, deadline=None)
@given(POSES, SHARES)
def test_without_a_contact_nothing_changes(pose, intensity):
    np.testing.assert_array_equal(touch_lips(pose, 0.0, 0.0, intensity), pose)


@settings(max_examples=40, deadline=None)
@given(POSES, SHARES, SHARES)
def test_round_lips_that_meet_are_as_round_as_before(pose, shut, bite):
    touched = touch_lips(pose, shut, bite, 1.0)
    before, after = (x[FUNNEL] + x[PUCKER] for x in (pose, touched))
    assert after == pytest.approx(min(before, touched[FUNNEL] + 1.0), abs=1e-6)


def test_the_lower_lip_meets_the_teeth_and_comes_nearer_with_the_gate():
    drops = [(LINES_MM @ touch_lips(OPEN, 0.0, gate, 1.0))[1] for gate in np.linspace(0, 1, 11)]
    assert (np.diff(drops) < 0).all()
    assert drops[0] > 15 and drops[-1] < 1.9


def test_a_contact_that_is_there_already_is_not_made_twice():
    """The jaw rises once, by whoever shuts the lips; else it would move less than in speech."""
    shut = touch_lips(OPEN, 1.0, 0.0, 1.0)
    again = touch_lips(shut, 1.0, 0.0, 1.0)
    np.testing.assert_allclose(again, shut, atol=1e-6)
    assert shut[JAW_OPEN] == pytest.approx(0.25)


def test_a_still_mouth_stays_still():
    still = np.zeros(52, np.float32)
    np.testing.assert_array_equal(round_lips(still, ROUNDING["UW"], 1.0), still)
    np.testing.assert_array_equal(touch_lips(still, 1.0, 1.0, 0.0), still)
    np.testing.assert_array_equal(round_lips(OPEN, ROUNDING["UW"], 0.0), OPEN)


@settings(max_examples=40, deadline=None)
@given(POSES, st.sampled_from(sorted(ROUNDING)))
def test_rounding_raises_alone_and_never_beyond_its_least(pose, label):
    rounded = round_lips(pose, ROUNDING[label], 1.0)
    assert (rounded >= pose).all()
    assert ((rounded == pose) | (rounded <= ROUNDING[label])).all()


@pytest.mark.parametrize("name", EXPRESSIONS)
@pytest.mark.parametrize("bitten", [False, True])
def test_contacts_hold_under_every_expression(name, bitten):
    """Also the first of an utterance, over a mouth that its expression had opened."""
    layer = ExpressionLayer(52)
    layer.change(0.0, pose_expression(name, 2.0), 0.0, None)
    still = np.zeros(52, np.float32)
    for k in range(60):
        layer.add(k / 60, still, still)
    said = OPEN.copy()
    said[JAW_OPEN] = 0.3
    pose = touch_lips(said, 0.0 if bitten else 1.0, 1.0 if bitten else 0.0, 1.0)
    shown = layer.add(1.0, pose, pose)
    lines = LINES_MM[1:] if bitten else LINES_MM
    assert (lines @ shown <= lines @ pose + 0.05).all()
