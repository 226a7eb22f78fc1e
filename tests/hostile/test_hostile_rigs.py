"""Rig files whose numbers lie beyond floats, integers or memory."""

from __future__ import annotations

import io
import json
import struct
import zipfile

import numpy as np
import pytest

from dualtalker.errors import RigError
from dualtalker.rig import load_rig, save_rig
from tiny_rig import tiny_rig, write_obj_folder

HUGE = ["1e308", "-1e308", "1e20", "1e999", "nan", "9" * 400]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", HUGE)
@pytest.mark.parametrize("stem", ["Neutral", "JAWOPEN"])
def test_coordinates_beyond_reason_are_refused(tmp_path, number, stem):
    write_obj_folder(tmp_path, tiny_rig())
    file = tmp_path / f"{stem}.obj"
    lines = file.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("v "))
    lines[at] = f"v {number} 0 0"
    file.write_text("\n".join(lines))
    with pytest.raises(RigError, match=file.name):
        load_rig(tmp_path)


@pytest.mark.parametrize("number", ["99999999999999999999", "-99999999999999999999", "9" * 5000])
def test_faces_beyond_reason_are_refused(tmp_path, number):
    write_obj_folder(tmp_path, tiny_rig())
    file = tmp_path / "Neutral.obj"
    file.write_text(f"{file.read_text()}f 1 2 {number}\n")
    with pytest.raises(RigError, match="is not valid OBJ"):
        load_rig(tmp_path)


def places(record, path=()):
    """The paths of all numbers in a JSON record."""
    items = record.items() if isinstance(record, dict) else enumerate(record)
    for key, value in items:
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))
        elif type(value) in (int, float):
            yield (*path, key)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [10**400, 2**63, 2**40, -1, 1e308, 0.5, 0])
def test_any_number_of_a_glb_is_taken_or_refused(tmp_path, number):
    path = save_rig(tiny_rig(), tmp_path / "rig.glb")
    whole = path.read_bytes()
    (length,) = struct.unpack_from("<I", whole, 12)
    text, rest = whole[20 : 20 + length], whole[20 + length :]
    for place in places(json.loads(text)):
        document = json.loads(text)
        for view in document["bufferViews"]:
            view.setdefault("byteStride", 12)
        holder = document
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = number
        changed = json.dumps(document).encode()
        changed += b" " * (-len(changed) % 4)
        sizes = (20 + len(changed) + len(rest), len(changed))
        path.write_bytes(struct.pack("<IIIII", 0x46546C67, 2, *sizes, 0x4E4F534A) + changed + rest)
        try:
            load_rig(path)
        except RigError as error:
            assert str(path) in str(error)


def test_a_billion_empty_names_are_refused(tmp_path):
    path = save_rig(tiny_rig(), tmp_path / "rig.npz")
    with np.load(path) as file:
        arrays = dict(file)
    arrays.pop("names")
    with path.open("wb") as file:
        np.savez(file, **arrays)
    head = io.BytesIO()
    claim = {"descr": "<U0", "fortran_order": False, "shape": (10**9,)}
    np.lib.format.write_array_header_1_0(head, claim)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("names.npy", head.getvalue())
    with pytest.raises(RigError, match=r"names\.npy claims the shape \[1000000000\]"):
        load_rig(path)


def test_a_stride_beyond_memory_of_a_single_row_is_taken_or_refused(tmp_path):
    path = save_rig(tiny_rig(), tmp_path / "rig.glb")
    whole = path.read_bytes()
    (length,) = struct.unpack_from("<I", whole, 12)
    document = json.loads(whole[20 : 20 + length])
    for accessor in document["accessors"]:
        accessor["count"] = 1
    for view in document["bufferViews"]:
        view["byteStride"] = 2**62
    changed = json.dumps(document).encode()
    changed += b" " * (-len(changed) % 4)
    rest = whole[20 + length :]
    sizes = (20 + len(changed) + len(rest), len(changed))
    path.write_bytes(struct.pack("<IIIII", 0x46546C67, 2, *sizes, 0x4E4F534A) + changed + rest)
    with pytest.raises(RigError, match="rig"):
        load_rig(path)
