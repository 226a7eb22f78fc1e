"""Skinned and quantized glTF meshes rest where their skeleton puts them.

Each test stores a known rig as other programs do, so that only the right sum gives it back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.errors import RigError
from dualtalker.rig import load_rig
from made_glb import Accessors, edit_glb, read_container, set_in, write_container
from tiny_rig import tiny_rig


@dataclass
class Skeleton:
    """Joints in a chain below an armature, each at its place in the world."""

    armature: dict
    joints: list[dict]
    binds: np.ndarray  # [joints, 4, 4], inverse
    mesh_node: dict = field(default_factory=dict)


def matrix(rotation=(0, 0, 0, 1), translation=(0, 0, 0), scale=(1, 1, 1)):
    x, y, z, w = rotation
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    whole = np.eye(4)
    whole[:3, :3] = turn * scale
    whole[:3, 3] = translation
    return whole


def worlds(skeleton):
    above, found = matrix(**skeleton.armature), []
    for joint in skeleton.joints:
        above = above @ matrix(**joint)
        found.append(above)
    return np.stack(found)


def blend(skeleton, joints, weights):
    """The matrix of each vertex, written as the specification has it: one term after the other."""
    moved = worlds(skeleton) @ skeleton.binds
    result = np.zeros((len(joints), 4, 4))
    for vertex in range(len(joints)):
        for joint, weight in zip(joints[vertex], weights[vertex], strict=True):
            result[vertex] += weight / weights[vertex].sum() * moved[joint]
    return result


def write_skinned(path, skeleton, joints, weights, weight_type="f4", rig=None):
    """Store a rig so that the skeleton brings it to where it is: by the inverse of the sums."""
    rig = rig or tiny_rig(colored=False)
    stored = weights
    if weight_type != "f4":
        stored = np.round(weights * np.iinfo(weight_type).max).astype(weight_type)
        weights = stored / np.iinfo(weight_type).max
    inverse = np.linalg.inv(blend(skeleton, joints, weights))
    linear = inverse[:, :3, :3]
    position = np.einsum("vij,vj->vi", linear, rig.neutral) + inverse[:, :3, 3]
    file = Accessors()
    attributes = {"POSITION": file.add(position.astype("f4"))}
    for number in range(joints.shape[1] // 4):
        own = slice(4 * number, 4 * number + 4)
        attributes[f"JOINTS_{number}"] = file.add(joints[:, own].astype("u1"))
        more = {} if weight_type == "f4" else {"normalized": True}
        attributes[f"WEIGHTS_{number}"] = file.add(stored[:, own].astype(weight_type), **more)
    deltas = np.einsum("vij,svj->svi", linear, rig.deltas).astype("f4")
    primitive = {
        "attributes": attributes,
        "indices": file.add(rig.triangles.astype("u4").ravel()),
        "targets": [{"POSITION": file.add(delta)} for delta in deltas],
    }
    mesh = {"primitives": [primitive], "extras": {"targetNames": list(rig.names)}}
    count = len(skeleton.joints)
    nodes = [
        {"children": [1, 2], **skeleton.armature},
        {"mesh": 0, "skin": 0, **skeleton.mesh_node},
    ]
    for index, joint in enumerate(skeleton.joints):
        child = {"children": [index + 3]} if index + 1 < count else {}
        nodes.append({**{key: list(map(float, value)) for key, value in joint.items()}, **child})
    skin = {"joints": list(range(2, 2 + count))}
    columns = skeleton.binds.transpose(0, 2, 1).reshape(count, 16)
    skin["inverseBindMatrices"] = file.add(columns.astype("f4"))
    write_container(path, file.document(nodes, mesh, skins=[skin]), bytes(file.data))
    return rig


def assert_rests(path, rig, atol=2e-6):
    loaded = load_rig(path)
    assert loaded.names == rig.names
    np.testing.assert_allclose(loaded.neutral, rig.neutral, atol=atol)
    np.testing.assert_allclose(loaded.deltas, rig.deltas, atol=atol)
    np.testing.assert_array_equal(loaded.triangles, rig.triangles)


def spread(count, joints, columns=4, seed=0):
    """Random joints and weights of `count` vertices."""
    random = np.random.default_rng(seed)
    weights = random.dirichlet(np.ones(columns), count)
    return random.integers(0, joints, (count, columns)), weights


# A head of centimetres with z up below an armature that mends it, as from Mixamo's FBX.
ARMATURE = {"rotation": [-np.sqrt(0.5), 0, 0, np.sqrt(0.5)], "scale": [0.01, 0.01, 0.01]}


def centimetres():
    joints = [
        {"translation": [0, 0, 150]},
        {"translation": [0, 3, 12], "rotation": [0.1, 0, 0, np.sqrt(0.99)]},
        {"translation": [0, -2, -5], "rotation": [0.05, 0.02, 0, np.sqrt(1 - 0.0029)]},
    ]
    skeleton = Skeleton(ARMATURE, joints, np.tile(np.eye(4), (3, 1, 1)))
    bound = [matrix(translation=(0, 0, 150)), matrix(translation=(0, 3, 162))]
    bound.append(matrix(translation=(0, 1, 157)))
    skeleton.binds = np.linalg.inv(np.stack(bound))
    skeleton.mesh_node = {"translation": [18.0, 0, 0], "scale": [7, 7, 7]}  # is ignored
    return skeleton


@pytest.mark.parametrize("weight_type", ["f4", "u1", "u2"])
@pytest.mark.parametrize("columns", [4, 8])
def test_a_skinned_mesh_rests_where_its_joints_are(tmp_path, columns, weight_type):
    skeleton = centimetres()
    joints, weights = spread(45, 3, columns)
    rig = write_skinned(tmp_path / "a.glb", skeleton, joints, weights, weight_type)
    assert_rests(tmp_path / "a.glb", rig)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    count=st.integers(1, 6),
    scale=st.floats(0.01, 100),
    total=st.floats(0.2, 5),
)
def test_any_skeleton_gives_the_rig_back(tmp_path_factory, seed, count, scale, total):
    """Turns and moves of any size; weights that do not add up to 1 count by their shares."""
    random = np.random.default_rng(seed)
    joints = []
    for _ in range(count):
        turn = random.normal(size=4) * 0.2 + [0, 0, 0, 1]
        place = random.normal(size=3)
        joints.append({"rotation": turn / np.linalg.norm(turn), "translation": place})
    skeleton = Skeleton({}, joints, np.zeros((count, 4, 4)))
    skeleton.binds = np.linalg.inv(worlds(skeleton)) @ matrix(scale=(scale,) * 3)
    bound = np.linalg.inv(matrix(translation=random.normal(size=3) * 0.1))
    skeleton.binds = skeleton.binds @ bound
    path = tmp_path_factory.getbasetemp() / "any.glb"
    indices, weights = spread(45, count, seed=seed)
    rig = write_skinned(path, skeleton, indices, weights * total)
    assert_rests(path, rig, atol=2e-5)


def test_a_skin_without_inverse_bind_matrices_uses_the_joints_alone(tmp_path):
    skeleton = centimetres()
    skeleton.binds = np.tile(np.eye(4), (3, 1, 1))
    joints, weights = spread(45, 3)
    rig = write_skinned(tmp_path / "a.glb", skeleton, joints, weights)
    edit_glb(tmp_path / "a.glb", lambda document: document["skins"][0].pop("inverseBindMatrices"))
    assert_rests(tmp_path / "a.glb", rig)


def test_vertices_without_weights_follow_the_first_joint(tmp_path):
    skeleton = centimetres()
    joints, weights = spread(45, 3)
    joints[7], weights[7] = [0, 2, 2, 2], [1, 0, 0, 0]
    rig = write_skinned(tmp_path / "a.glb", skeleton, joints, weights)
    assert_rests(tmp_path / "a.glb", rig)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (set_in("skins", 0, "joints", [99]), "nodes.99"),
        (set_in("skins", 0, "joints", []), "found 0 joints"),
        (set_in("skins", 0, "joints", [2] * 200_000), "200000 joints"),
        (set_in("skins", 0, "joints", [2]), "names joint 2 of 1"),
        (set_in("skins", 0, "inverseBindMatrices", 0), "expected .*MAT4"),
        (set_in("skins", []), "skins.0. does not exist"),
        (set_in("nodes", 1, "skin", -1), "skins.-1. does not exist"),
        (set_in("accessors", 1, "count", 44), "found 44 entries; expected 45"),
        (set_in("accessors", 1, "componentType", 5120), "unsigned"),
        (set_in("accessors", 2, "type", "VEC3"), "expected .*VEC4"),
        (set_in("nodes", 0, "scale", [1e308] * 3), "multiply to numbers beyond"),
    ],
)
def test_hostile_skins_are_refused(tmp_path, change, expected):
    write_skinned(tmp_path / "a.glb", centimetres(), *spread(45, 3))
    edit_glb(tmp_path / "a.glb", change)
    with pytest.raises(RigError, match=expected):
        load_rig(tmp_path / "a.glb")


def quantize(array, dtype, normalized):
    """Whole numbers, and what one of them is worth."""
    top = np.iinfo(dtype).max
    worth = float(np.abs(array).max()) / top
    whole = np.round(array / worth).astype(dtype)
    return whole, worth * (top if normalized else 1)


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("dtype", ["i1", "i2"])
def test_quantized_meshes_rest_as_they_were(tmp_path, dtype, sparse, normalized):
    """KHR_mesh_quantization: one worth for places and targets, undone by the node's scale."""
    rig = tiny_rig(colored=False)
    both, worth = quantize(np.concatenate([rig.neutral[None], rig.deltas]), dtype, normalized)
    file = Accessors()
    more = {"normalized": True} if normalized else {}
    rows = np.zeros((45, 4), dtype)  # rows of three bytes or shorts begin at multiples of four
    rows[:, :3] = both[0]
    position = file.add(rows, **more)
    file.accessors[position] |= {"type": "VEC3"}
    file.views[-1]["byteStride"] = rows.strides[0]
    targets = []
    for delta in both[1:]:
        moved = np.flatnonzero(delta.any(axis=1))
        add = file.add_sparse(delta, moved, **more) if sparse else file.add(delta, **more)
        targets.append({"POSITION": add})
    primitive = {
        "attributes": {"POSITION": position},
        "indices": file.add(rig.triangles.astype("u2").ravel()),
        "targets": targets,
    }
    mesh = {"primitives": [primitive], "extras": {"targetNames": list(rig.names)}}
    document = file.document([{"mesh": 0, "scale": [worth] * 3}], mesh)
    document["extensionsRequired"] = ["KHR_mesh_quantization"]
    write_container(tmp_path / "a.glb", document, bytes(file.data))
    loaded = load_rig(tmp_path / "a.glb")
    step = float(np.abs(rig.neutral).max()) / np.iinfo(dtype).max
    np.testing.assert_allclose(loaded.neutral, rig.neutral, atol=0.51 * step)
    np.testing.assert_allclose(loaded.deltas, rig.deltas, atol=0.51 * step)


def test_the_lowest_normalized_number_is_minus_one(tmp_path):
    """-128 and -127 are the same place, by the specification."""
    rig = tiny_rig(colored=False)
    file = Accessors()
    lowest = np.full((45, 3), -127, "i1")
    lowest[::2] = -128
    primitive = {
        "attributes": {"POSITION": file.add(rig.neutral)},
        "indices": file.add(rig.triangles.astype("u2").ravel()),
        "targets": [
            *({"POSITION": file.add(delta)} for delta in rig.deltas),
            {"POSITION": file.add(lowest, normalized=True)},
        ],
    }
    names = [*rig.names, "cheekPuff"]
    mesh = {"primitives": [primitive], "extras": {"targetNames": names}}
    write_container(tmp_path / "a.glb", file.document([{"mesh": 0}], mesh), bytes(file.data))
    loaded = load_rig(tmp_path / "a.glb")
    np.testing.assert_array_equal(loaded.deltas[loaded.names.index("cheekPuff")], -1.0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [10**400, 2**63, 1e308, 1e12, -1, 0.5, 1e-320, None, "x", []])
def test_any_value_in_a_skinned_document_is_taken_or_refused(tmp_path, number):
    path = tmp_path / "a.glb"
    write_skinned(path, centimetres(), *spread(45, 3))
    document, binary = read_container(path)

    def change_each(holder):
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            kept = holder[key]
            if isinstance(kept, (dict, list)):
                change_each(kept)
            holder[key] = number
            write_container(path, document, binary)
            try:
                load_rig(path)
            except RigError as error:
                assert str(path) in str(error)
            holder[key] = kept

    change_each(document)
