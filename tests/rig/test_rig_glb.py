"""Rigs as binary glTF: what is written, node transforms, damaged and hostile files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import RigError
from dualtalker.rig import load_rig, save_rig
from dualtalker.rig.robot_head import build_head
from made_glb import edit_glb, read_container, set_in
from tiny_rig import tiny_rig


def test_every_color_survives_glb(tmp_path):
    rig = tiny_rig()
    rig.colors[:] = np.arange(rig.colors.size).reshape(-1, 3) % 256
    for shift in (0, 135):
        rig.colors[:] = (np.arange(rig.colors.size).reshape(-1, 3) + shift) % 256
        np.testing.assert_array_equal(
            load_rig(save_rig(rig, tmp_path / "c.glb")).colors, rig.colors
        )


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_flipped_bytes_give_a_rig_or_a_rig_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("rig") / "rig.glb"
    save_rig(tiny_rig(), path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        rig = load_rig(path)
    except RigError:
        return
    assert np.isfinite(rig.neutral).all()
    assert np.isfinite(rig.deltas).all()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (set_in("accessors", 0, "count", 10**15), "expected 1 to"),
        (set_in("accessors", 0, "count", 46), "damaged"),
        (set_in("accessors", 0, "count", 44), "44"),
        (set_in("accessors", 0, "count", -1), "whole number"),
        (set_in("accessors", 0, "byteOffset", 10**9), "damaged"),
        (set_in("accessors", 0, "componentType", 5130), "componentType"),
        (set_in("accessors", 0, "bufferView", 999), "bufferViews"),
        (set_in("accessors", 0, "bufferView", True), "bufferViews"),
        (set_in("bufferViews", 0, "byteStride", 1), "damaged"),
        (set_in("bufferViews", 0, "byteStride", 10**12), "damaged"),
        (set_in("accessors", 3, "componentType", 5126), "damaged|whole"),
        (set_in("accessors", -1, "sparse", "count", 10**9), "sparse count"),
        (set_in("accessors", -1, "sparse", "indices", "bufferView", 0), "sparse index|damaged"),
        (set_in("buffers", 0, "uri", "http://example.org/x.bin"), "self-contained"),
        (set_in("nodes", 0, "children", [0]), "tree"),
        (set_in("nodes", 0, "translation", [float("nan"), 0, 0]), "finite"),
        (set_in("nodes", 0, "matrix", [1] * 15), "16 numbers"),
        (set_in("meshes", 0, "extras", "targetNames", ["jawOpen"]), "targetNames"),
        (set_in("meshes", 0, "extras", "targetNames", ["jawOpen"] * 5), "same name"),
        (set_in("meshes", 0, "extras", "targetNames", list("abcde")), "no mesh with ARKit"),
        (set_in("meshes", 0, "extras", "dualtalker", "lip_upper", [0.5]), "whole numbers"),
        (set_in("meshes", 0, "extras", "dualtalker", "lip_upper", [10**6]), "expected 0 to 44"),
        (set_in("meshes", 0, "primitives", 0, "mode", 1), "triangles"),
        (set_in("meshes", 0, "primitives", 0, "attributes", {}), "damaged"),
        (set_in("meshes", {}), "meshes"),
        (set_in("scenes", 7), "damaged"),
    ],
)
def test_hostile_glb_is_refused(tmp_path, change, expected):
    path = save_rig(tiny_rig(), tmp_path / "rig.glb")
    edit_glb(path, change)
    with pytest.raises(RigError, match=expected):
        load_rig(path)


def test_glb_node_transforms_are_applied(tmp_path):
    rig = tiny_rig()
    path = save_rig(rig, tmp_path / "rig.glb")
    quarter = [0, 0, float(np.sqrt(0.5)), float(np.sqrt(0.5))]  # 90 degrees about z
    edit_glb(path, set_in("nodes", 0, "rotation", quarter))
    edit_glb(path, set_in("nodes", 0, "translation", [1, 2, 3]))
    turned = load_rig(path)
    x, y, z = rig.neutral.T
    np.testing.assert_allclose(turned.neutral, np.stack([1 - y, 2 + x, 3 + z], 1), atol=1e-6)
    np.testing.assert_allclose(turned.deltas[:, :, 0], -rig.deltas[:, :, 1], atol=1e-7)


def test_glb_is_what_other_readers_expect(tmp_path):
    rig = build_head()
    path = save_rig(rig, tmp_path / "head.glb")
    document, _ = read_container(path)
    mesh = document["meshes"][0]
    assert mesh["extras"]["targetNames"] == list(ARKIT_NAMES)
    assert len(mesh["primitives"][0]["targets"]) == len(mesh["weights"]) == 52
    for view in document["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
    for target in mesh["primitives"][0]["targets"]:
        accessor = document["accessors"][target["POSITION"]]
        assert len(accessor["min"]) == len(accessor["max"]) == 3
    assert path.stat().st_size < 3_000_000


def draco(document):
    primitive = document["meshes"][0]["primitives"][0]
    primitive["extensions"] = {
        "KHR_materials_variants": {"mappings": []},
        "KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}},
    }


def draco_alone(document):
    draco(document)
    document["accessors"][0].pop("bufferView")


def meshopt(name):
    """As gltfpack and gltf-transform write it: views of a buffer that is not in the file."""

    def change(document):
        count = len(document["buffers"])
        document["buffers"].append({"byteLength": 10**6, "extensions": {name: {"fallback": True}}})
        for view in document["bufferViews"]:
            packed = {"buffer": 0, "byteLength": 8, "mode": "ATTRIBUTES", "count": 45}
            view["extensions"] = {name: packed}
            view["buffer"] = count

    return change


@pytest.mark.parametrize(
    ("change", "extension"),
    [
        (draco_alone, "KHR_draco_mesh_compression"),
        (meshopt("EXT_meshopt_compression"), "EXT_meshopt_compression"),
        (meshopt("KHR_meshopt_compression"), "KHR_meshopt_compression"),
    ],
)
def test_compression_is_named_with_the_command_that_undoes_it(tmp_path, change, extension):
    path = save_rig(tiny_rig(), tmp_path / "my rig.glb")
    edit_glb(path, change)
    command = "undo it with: npx @gltf-transform/cli copy 'my rig.glb' 'my rig_plain.glb'"
    with pytest.raises(RigError, match=f"compressed by {extension}; .*{command}"):
        load_rig(path)


def variants(document):
    primitive = document["meshes"][0]["primitives"][0]
    primitive["extensions"] = {"KHR_materials_variants": {"mappings": []}, "VENDOR_hat": {}}


def meshopt_beside(document):
    document["bufferViews"][0]["extensions"] = {"EXT_meshopt_compression": {"buffer": 1}}


@pytest.mark.parametrize("change", [variants, draco, meshopt_beside])
def test_extensions_that_hide_no_vertices_are_no_reason_to_refuse(tmp_path, change):
    """Such as material variants, and compressed copies beside what is in the file as it is."""
    rig = tiny_rig()
    path = save_rig(rig, tmp_path / "rig.glb")
    edit_glb(path, change)
    np.testing.assert_array_equal(load_rig(path).neutral, rig.neutral)
