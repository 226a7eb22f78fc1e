"""The landmarks of a face: what finds them, and the pose that is taken out."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout import ROOT
from dualtalker.arkit import ARKIT_NAMES
from dualtalker.files import sha256_of_file
from filmed_faces import FACE_PX, place_points
from training.data import CorpusError
from training.datasets.landmarks import (
    MODEL_SHA256,
    Face,
    measure_mouth,
    open_landmarker,
    place_upright,
)

SHARED = ROOT.parent / "shared" / "data"


def test_the_digest_is_that_of_the_published_model():
    path = SHARED / "face" / "mediapipe" / "face_landmarker.task"
    if not path.is_file():
        pytest.skip("needs ../shared/data/face/mediapipe beside the checkout")
    assert sha256_of_file(path) == MODEL_SHA256


def test_a_library_that_the_system_lacks_is_named(tmp_path, monkeypatch):
    broken = "raise OSError('libGLESv2.so.2: cannot open shared object file')"
    (tmp_path / "mediapipe").mkdir()
    (tmp_path / "mediapipe" / "__init__.py").write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mediapipe", raising=False)
    with (
        pytest.raises(CorpusError, match=r"libGLESv2.*apt-get install libegl1 libgles2"),
        open_landmarker(tmp_path / "face.task"),
    ):
        pass


def make_rotation(seed, largest_deg=40.0):
    from scipy.spatial.transform import Rotation

    angles_deg = np.random.default_rng(seed).uniform(-largest_deg, largest_deg, 3)
    return Rotation.from_euler("yxz", angles_deg, degrees=True).as_matrix()


@given(seed=st.integers(0, 10**6), gap_px=st.floats(0, 40), scale=st.floats(0.3, 5))
def test_the_head_s_pose_size_and_place_change_nothing(seed, gap_px, scale):
    points, turn = place_points(gap_px), make_rotation(seed)
    points[:, 2] += np.random.default_rng(seed).normal(0, 5, len(points))
    to_pose = np.diag([1.0, -1.0, -1.0])  # y up, z to the viewer
    head = np.eye(4)
    head[:3, :3] = turn
    turned = scale * points @ (to_pose @ turn @ to_pose).T + [30, -20, 7]
    straight = place_upright(Face(points, np.zeros(52), np.eye(4)))
    assert place_upright(Face(turned, np.zeros(52), head)) == pytest.approx(straight, abs=1e-9)
    assert measure_mouth(straight)[0] == pytest.approx(gap_px / FACE_PX, abs=1e-9)
    assert straight[263] - straight[33] == pytest.approx([1, 0, straight[263, 2] * 2], abs=1e-9)


def test_mediapipe_sees_a_rig_open_its_mouth(tmp_path):
    """The real tracker on a real face: needs MediaPipe, its model and a scanned rig."""
    pytest.importorskip("mediapipe", reason="needs pip install 'dualtalker[lips]'")
    model = SHARED / "face" / "mediapipe" / "face_landmarker.task"
    if not model.is_file():
        pytest.skip("needs ../shared/data/face beside the checkout")
    from dualtalker.drawing import Renderer
    from scanned_rig import scanned_rig

    rig = scanned_rig()
    renderer = Renderer(rig, 320, 320)
    weights = np.zeros((6, 52))
    weights[:, ARKIT_NAMES.index("jawOpen")] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    gaps = []
    with open_landmarker(model) as landmarker:
        for number, row in enumerate(weights):
            (face,) = landmarker.find(renderer.render(row), number / 25)
            assert face.points.shape == (478, 3) and face.eye_px > 40
            gaps.append(measure_mouth(place_upright(face))[0])
    assert np.corrcoef(gaps, rig.lip_gap(weights))[0, 1] > 0.98
    with pytest.raises(CorpusError, match="is no face landmarker"):
        (tmp_path / "face.task").write_bytes(b"no model")
        with open_landmarker(tmp_path / "face.task"):
            pass
