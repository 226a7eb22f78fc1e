"""Reduced rigs: within the budget, vertices of the rig's own, and moving as the rig does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.errors import RigError
from dualtalker.rig import decimate
from dualtalker.rig.robot_head import build_head
from tiny_rig import tiny_rig


@settings(max_examples=15, deadline=None)
@given(st.integers(4, 60), st.booleans())
def test_budget_holds_and_triangles_are_sound(budget, colored):
    reduced = decimate(tiny_rig(colored), budget)
    triangles = reduced.triangles
    assert len(triangles) <= budget
    assert set(triangles.ravel()) <= set(range(len(reduced.neutral)))
    a, b, c = triangles.T
    assert not ((a == b) | (b == c) | (c == a)).any()
    assert len(np.unique(np.sort(triangles, axis=1), axis=0)) == len(triangles)


def test_a_rig_within_the_budget_is_kept():
    rig = tiny_rig()
    assert decimate(rig, len(rig.triangles)) is rig


def test_too_small_a_budget_is_refused():
    with pytest.raises(RigError, match="expected 4 or more"):
        decimate(tiny_rig(), 3)


@pytest.fixture(scope="module")
def reduced_head():
    return decimate(build_head(), 3000)


def test_the_reduced_head_uses_its_budget_and_takes_vertices_of_the_head(reduced_head):
    head = build_head()
    assert 2000 < len(reduced_head.triangles) <= 3000
    everything = np.concatenate(
        [head.neutral, head.deltas.transpose(1, 0, 2).reshape(7086, -1)], 1
    )
    chosen = np.concatenate(
        [
            reduced_head.neutral,
            reduced_head.deltas.transpose(1, 0, 2).reshape(len(reduced_head.neutral), -1),
        ],
        1,
    )
    own = {row.tobytes() for row in everything}
    assert all(row.tobytes() in own for row in chosen)


def test_the_reduced_head_still_opens_its_mouth_and_shuts_its_eyes(reduced_head):
    """Lips and lids that touch are not joined: they move apart as far as on the whole head."""
    head = build_head()
    for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthPucker"):
        weights = np.zeros(52, np.float32)
        weights[ARKIT_INDEX[name]] = 1.0
        move = reduced_head.pose(weights) - reduced_head.neutral
        whole = head.pose(weights) - head.neutral
        assert np.linalg.norm(move, axis=1).max() > 0.9 * np.linalg.norm(whole, axis=1).max()
    weights = np.zeros(52, np.float32)
    weights[ARKIT_INDEX["jawOpen"]] = 1.0
    opened_m = reduced_head.lip_gap(weights) - reduced_head.lip_gap(0 * weights)
    assert opened_m == pytest.approx(head.lip_gap(weights) - head.lip_gap(0 * weights), rel=0.15)


def test_the_surface_stays_where_it_was(reduced_head):
    """Each vertex of the head has a vertex of the reduced one within a few millimetres."""
    head = build_head()
    for start in range(0, len(head.neutral), 1000):
        part = head.neutral[start : start + 1000]
        distances = np.linalg.norm(part[:, None] - reduced_head.neutral[None], axis=2)
        assert distances.min(axis=1).max() < 0.012


def test_triangles_face_as_they_did(reduced_head):
    """The volume inside, by the divergence theorem, keeps its sign and most of its size."""

    def volume(rig):
        a, b, c = (rig.neutral[rig.triangles[:, corner]] for corner in range(3))
        return float((np.cross(a, b) * c).sum() / 6)

    assert volume(reduced_head) == pytest.approx(volume(build_head()), rel=0.1)
