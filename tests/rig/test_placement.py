"""Faces that lie on their back, look away or are 18 m wide are brought to metres, y up, z out."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest

from checkout import ROOT
from dualtalker.rig import build_rig, decimate, load_rig, save_rig
from dualtalker.rig.placement import find_scale, find_turn
from dualtalker.rig.robot_head import build_head
from named_rigs import mesh_of, write_meshes
from tiny_rig import tiny_rig, write_obj


def list_turns():
    """The 24 rotations by quarter turns."""
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            turn = np.zeros((3, 3))
            turn[range(3), order] = signs
            if np.linalg.det(turn) > 0:
                yield turn


TURNS = list(list_turns())
LAID_BACK = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # Blender: z up, looks along -y
AWAY = np.diag([-1.0, 1.0, -1.0])  # VRM 0.x looks along -z


@pytest.fixture(scope="module")
def head():
    return decimate(build_head(), 3000)


def laid(rig, turn, scale=1.0, names=None):
    """A rig as a program with other axes and another unit stores it."""
    kept = [index for index, name in enumerate(rig.names) if names is None or name in names]
    return build_rig(
        rig.name,
        rig.neutral @ turn.T * scale,
        rig.triangles,
        [rig.names[index] for index in kept],
        rig.deltas[kept] @ turn.T * scale,
        None,
        rig.lip_upper,
        rig.lip_lower,
        rig.lip_vertices,
    )


@pytest.mark.parametrize(
    "names",
    [
        None,
        ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight"),
        ("jawOpen", "mouthPucker", "browInnerUp"),
        ("jawOpen",),
    ],
)
def test_a_head_in_any_of_24_directions_is_turned_back(head, names):
    for turn in TURNS:
        rig = laid(head, turn, names=names)
        shapes = dict(zip(rig.names, rig.deltas, strict=True))
        found = find_turn(rig.neutral, rig.triangles, shapes)
        np.testing.assert_allclose(found @ turn, np.eye(3), atol=1e-12)


def test_a_scanned_face_in_any_of_24_directions_is_turned_back():
    folder = ROOT.parent / "shared" / "data" / "face" / "ict_facekit"
    if not folder.exists():
        pytest.skip("needs ../shared/data/face/ict_facekit beside the checkout")
    data = np.load(folder / "ict_facekit_light.npz")
    names = [str(name).replace("_L", "Left") for name in data["expression_names"]]
    shapes = dict(zip(names, data["expression_delta"].astype(np.float32), strict=True))
    for turn in TURNS[::5]:
        turned = {name: delta @ turn.T for name, delta in shapes.items()}
        found = find_turn(data["neutral"] @ turn.T, data["faces"][:, :3], turned)
        np.testing.assert_allclose(found @ turn, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0, 1000.0])
@pytest.mark.parametrize("turn", [np.eye(3), LAID_BACK, AWAY])
@pytest.mark.parametrize("kind", ["glb", "obj"])
def test_files_of_other_programs_load_as_the_same_rig(tmp_path, head, kind, turn, scale):
    head = laid(head, np.eye(3))
    rig = laid(head, turn, scale)
    if kind == "glb":
        path = write_meshes(tmp_path / "face.glb", [mesh_of(rig, rig.names)])
    else:
        path = tmp_path
        faces = "".join(f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in rig.triangles)
        write_obj(path / "neutral.obj", rig.neutral, faces)
        for name in ("jawOpen", "mouthPucker", "browInnerUp", "eyeBlinkLeft", "mouthFunnel"):
            write_obj(path / f"{name}.obj", rig.neutral + rig.deltas[rig.names.index(name)], "")
    loaded = load_rig(path)
    np.testing.assert_allclose(loaded.neutral, head.neutral, atol=2e-6)
    for name, delta in zip(loaded.names, loaded.deltas, strict=True):
        np.testing.assert_allclose(delta, head.deltas[head.names.index(name)], atol=3e-6)
    np.testing.assert_array_equal(loaded.triangles, head.triangles)


def test_a_guess_is_told_and_can_be_overruled(tmp_path, head, caplog):
    rig = laid(head, np.eye(3), 100.0)
    path = write_meshes(tmp_path / "face.glb", [mesh_of(rig, rig.names)])
    with caplog.at_level(logging.WARNING):
        load_rig(path)
    assert "one unit taken as 0.01 m" in caplog.text
    assert np.ptp(load_rig(path, scale=1.0).neutral[:, 1]) > 20
    caplog.clear()
    load_rig(write_meshes(tmp_path / "same.glb", [mesh_of(head, head.names)]))
    assert not caplog.records


@pytest.mark.parametrize("scale", [0.02, 1.0, 8.0, 900.0])
@pytest.mark.parametrize("ending", ["glb", "npz"])
def test_our_own_files_are_believed(tmp_path, ending, scale):
    """What `save_rig` wrote is in metres with y up, also of a doll or a face on a tower."""
    tiny = tiny_rig()
    rig = laid(tiny, AWAY, scale)
    loaded = load_rig(save_rig(rig, tmp_path / f"own.{ending}"))
    np.testing.assert_array_equal(loaded.neutral, rig.neutral)
    np.testing.assert_array_equal(loaded.deltas, rig.deltas)


@pytest.mark.parametrize(
    ("width_m", "scale"), [(0.001, 100), (0.006, 1), (0.05, 1), (0.29, 1), (0.5, 0.1), (55, 1e-3)]
)
def test_metres_are_believed_of_any_mouth_that_a_face_may_have(width_m, scale):
    rig = tiny_rig()
    neutral = rig.neutral * (width_m / 0.05)
    found = find_scale("a face", neutral, rig.names, rig.deltas, is_metric=True)
    assert found == pytest.approx(scale)
