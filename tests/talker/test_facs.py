"""ARKit weights as FACS action units, and the message's fields looked at before it is filled."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("rclpy", reason="the table lives beside the message it fills")

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, MIRROR_INDICES
from dualtalker_ros.talker.facs import (
    LIPS_PART,
    SHAPES_OF_UNIT,
    SHAPES_WITHOUT_UNIT,
    SPEECH,
    ActionUnitEncoder,
    intensities,
)

WEIGHTS = arrays(np.float32, 52, elements=st.floats(0, 1, width=32))
EYES = (61, 62)


def test_every_shape_has_one_unit_or_is_named_as_having_none():
    used = [name for names in SHAPES_OF_UNIT.values() for name in names]
    assert sorted([*used, *SHAPES_WITHOUT_UNIT]) == sorted(ARKIT_NAMES)


@given(WEIGHTS, st.booleans())
def test_intensities_are_within_0_and_1_and_0_where_no_unit_is_used(weights, speaking):
    units = intensities(weights, speaking)
    assert units.shape == (99,) and units.dtype == np.float32
    assert units.min() >= 0 and units.max() <= 1
    unused = set(range(99)) - {*SHAPES_OF_UNIT, LIPS_PART, SPEECH}
    assert not units[list(unused)].any()
    assert units[SPEECH] == float(speaking)


@given(WEIGHTS)
def test_a_mirrored_face_has_the_same_units_but_for_where_the_eyes_turn(weights):
    units, mirrored = (
        intensities(weights, False),
        intensities(weights[list(MIRROR_INDICES)], False),
    )
    assert [mirrored[61], mirrored[62]] == [units[62], units[61]]
    np.testing.assert_array_equal(np.delete(mirrored, EYES), np.delete(units, EYES))


@pytest.mark.parametrize(
    ("shapes", "units"),
    [
        ({"jawOpen": 0.6}, {26: 0.6, 25: 0.6}),
        ({"jawOpen": 0.6, "mouthClose": 0.5}, {26: 0.6, 8: 0.5, 25: 0.1}),
        ({"mouthSmileLeft": 0.2, "mouthSmileRight": 0.7}, {12: 0.7}),
        ({"mouthUpperUpLeft": 0.3}, {10: 0.3, 25: 0.3}),
        ({"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, {45: 1.0}),
        ({"eyeLookOutLeft": 0.4, "eyeLookInRight": 0.3}, {61: 0.4}),
        ({}, {}),
    ],
)
def test_known_faces(shapes, units):
    weights = np.zeros(52, np.float32)
    for name, weight in shapes.items():
        weights[ARKIT_INDEX[name]] = weight
    found = intensities(weights, False)
    expected = np.zeros(99, np.float32)
    for unit, intensity in units.items():
        expected[unit] = intensity
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_message_with_other_fields_is_refused(monkeypatch):
    class FacialActionUnits:
        @classmethod
        def get_fields_and_field_types(cls):
            return {"header": "std_msgs/Header", "FAU": "sequence<float>"}

    package, messages = types.ModuleType("hri_msgs"), types.ModuleType("hri_msgs.msg")
    messages.FacialActionUnits = FacialActionUnits
    monkeypatch.setitem(sys.modules, "hri_msgs", package)
    monkeypatch.setitem(sys.modules, "hri_msgs.msg", messages)
    with pytest.raises(ImportError, match=r"FAU.*expected.*intensity"):
        ActionUnitEncoder("face")
