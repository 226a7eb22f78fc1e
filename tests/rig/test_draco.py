"""glTF meshes that Draco compressed: read through DracoPy, damaged ones refused."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.errors import RigError
from dualtalker.rig import load_rig
from made_glb import (
    FLOAT,
    UNSIGNED_INT,
    UNSIGNED_SHORT,
    Accessors,
    read_container,
    write_container,
)
from tiny_rig import tiny_rig

DRACO = "KHR_draco_mesh_compression"


def write_draco(path, joints=False):
    """A rig whose vertices are in Draco's form; its targets are as they are, as glTF wants it."""
    draco = pytest.importorskip("DracoPy")
    rig = tiny_rig(colored=False)
    generic = {}
    if joints:
        generic = {
            "JOINTS_0": np.tile(np.array([1, 0, 0, 0], np.uint16), (45, 1)),
            "WEIGHTS_0": np.tile(np.array([1, 0, 0, 0], np.float32), (45, 1)),
        }
    packed = draco.encode(
        rig.neutral,
        rig.triangles.astype(np.uint32),
        quantization_bits=20,
        preserve_order=True,
        generic_attributes=generic,
    )
    found = draco.decode(packed).attributes
    ids = {one["name"] or "POSITION": one["unique_id"] for one in found}
    file = Accessors()
    view = file.view(np.frombuffer(packed, np.uint8))

    def claim(kind, component, count):
        file.accessors.append({"componentType": component, "type": kind, "count": count})
        return len(file.accessors) - 1

    attributes = {"POSITION": claim("VEC3", FLOAT, 45)}
    if joints:
        attributes |= {"JOINTS_0": claim("VEC4", UNSIGNED_SHORT, 45)}
        attributes |= {"WEIGHTS_0": claim("VEC4", FLOAT, 45)}
    primitive = {
        "attributes": attributes,
        "indices": claim("SCALAR", UNSIGNED_INT, rig.triangles.size),
        "targets": [{"POSITION": file.add(delta)} for delta in rig.deltas],
        "extensions": {DRACO: {"bufferView": view, "attributes": ids}},
    }
    mesh = {"primitives": [primitive], "extras": {"targetNames": list(rig.names)}}
    nodes = [{"mesh": 0}]
    more = {"extensionsRequired": [DRACO], "extensionsUsed": [DRACO]}
    if joints:
        nodes = [{"mesh": 0, "skin": 0, "children": [1, 2]}, {}, {"translation": [0.01, 0.02, 0]}]
        more["skins"] = [{"joints": [1, 2]}]
    write_container(path, file.document(nodes, mesh, **more), bytes(file.data))
    return rig


def test_a_compressed_rig_is_the_rig(tmp_path):
    rig = write_draco(tmp_path / "a.glb")
    loaded = load_rig(tmp_path / "a.glb")
    np.testing.assert_allclose(loaded.neutral, rig.neutral, atol=1e-6)
    np.testing.assert_array_equal(loaded.triangles, rig.triangles)
    np.testing.assert_array_equal(loaded.deltas, rig.deltas)


def test_compressed_joints_place_the_rig(tmp_path):
    rig = write_draco(tmp_path / "a.glb", joints=True)
    loaded = load_rig(tmp_path / "a.glb")
    np.testing.assert_allclose(loaded.neutral, rig.neutral + np.array([0.01, 0.02, 0]), atol=1e-6)


def test_without_the_package_it_is_named(tmp_path, monkeypatch):
    write_draco(tmp_path / "a.glb")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RigError, match=f"{DRACO}; .*pip install DracoPy; or undo it with: npx"):
        load_rig(tmp_path / "a.glb")


def change(path, edit=None, data=None):
    document, binary = read_container(path)
    if edit is not None:
        edit(document)
    if data is not None:
        view = document["bufferViews"][0]
        place = view["byteOffset"]
        binary = (
            binary[:place]
            + data(binary[place : place + view["byteLength"]])
            + binary[place + view["byteLength"] :]
        )
    write_container(path, document, binary)


def claim_faces(packed):
    """As many triangles as 35 bits can count: their room would be gigabytes."""
    return (packed[:11] + b"\xfe\xff\xff\xff\x04\xfe\xff\xff\xff\x0c" + packed[11:])[: len(packed)]


@pytest.mark.parametrize(
    ("edit", "data", "expected"),
    [
        (None, lambda packed: bytes(len(packed)), "cannot be read"),
        (None, lambda packed: packed[:40] + bytes(len(packed) - 40), "cannot be read"),
        (None, claim_faces, "cannot be read"),
        (lambda d: d["accessors"][0].update(count=44), None, "45 vertices and .* expected"),
        (lambda d: d["accessors"][1].update(count=3), None, "corners; expected"),
        (lambda d: d["accessors"][0].update(componentType=5121), None, "expected uint8"),
        (
            lambda d: d["meshes"][0]["primitives"][0]["extensions"][DRACO].update(bufferView=99),
            None,
            "bufferViews.99",
        ),
        (
            lambda d: d["meshes"][0]["primitives"][0]["extensions"][DRACO].update(
                attributes={"POSITION": 7}
            ),
            None,
            r"no attributes \[7\]",
        ),
        (
            lambda d: d["meshes"][0]["primitives"][0]["extensions"][DRACO].update(
                attributes={"POSITION": "x" * 10**6}
            ),
            None,
            "not whole numbers",
        ),
        (
            lambda d: d["meshes"][0].update(primitives=d["meshes"][0]["primitives"] * 600),
            None,
            "600 primitives are too many",
        ),
    ],
)
def test_damaged_data_is_refused(tmp_path, edit, data, expected):
    path = tmp_path / "a.glb"
    write_draco(path)
    change(path, edit, data)
    with pytest.raises(RigError, match=expected) as caught:
        load_rig(path)
    assert len(str(caught.value)) < 1000


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_flipped_bytes_give_a_rig_or_a_rig_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("draco") / "a.glb"
    write_draco(path)

    def flip(packed):
        changed = bytearray(packed)
        for _ in range(data.draw(st.integers(1, 4))):
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
        return bytes(changed)

    change(path, data=flip)
    try:
        rig = load_rig(path)
    except RigError as error:
        assert json.dumps(str(error))
        return
    assert np.isfinite(rig.neutral).all()
