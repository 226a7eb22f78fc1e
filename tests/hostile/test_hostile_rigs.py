"""Rig files beyond floats, integers, memory or patience, and what is no file at all."""

from __future__ import annotations

import copy
import io
import os
import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import soundfile

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import RigError
from dualtalker.rig import load_rig, save_rig
from limited_process import refuse
from made_glb import read_container, write_container
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
    whole, binary = read_container(path)
    for place in places(whole):
        document = copy.deepcopy(whole)
        for view in document["bufferViews"]:
            view.setdefault("byteStride", 12)
        holder = document
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = number
        write_container(path, document, binary)
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
    document, binary = read_container(path)
    for accessor in document["accessors"]:
        accessor["count"] = 1
    for view in document["bufferViews"]:
        view["byteStride"] = 2**62
    write_container(path, document, binary)
    with pytest.raises(RigError, match="rig"):
        load_rig(path)


def zeros(count, kind="VEC3", component=5126):
    return {"componentType": component, "type": kind, "count": count}


def bomb(nodes=None, names=("jawOpen",), vertices=3, corners=3, primitives=1):
    """A document without a buffer: its accessors are zeros, and claim any size in a few bytes."""
    primitive = {
        "attributes": {"POSITION": 0},
        "indices": 1,
        "targets": [{"POSITION": 0}] * len(names),
    }
    return {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": nodes or [{"mesh": 0}],
        "accessors": [zeros(vertices), zeros(corners, "SCALAR", 5125)],
        "meshes": [
            {
                "primitives": [primitive] * primitives,
                "extras": {"targetNames": list(names)},
            }
        ],
    }


def star(count, **node):
    return [{"children": list(range(1, count))}, *[node] * (count - 1)]


def chain(count, **node):
    links = [{"children": [index + 1], **node} for index in range(count - 1)]
    return [*links, {"mesh": 0}]


def vrm(groups):
    return {"extensions": {"VRM": {"blendShapeMaster": {"blendShapeGroups": groups}}}}


TURN = {"rotation": [0, 0, 0.6, 0.8], "translation": [1, 0, 0], "scale": [1, 1, 1]}
GLB_BOMBS = {
    "shapes": (bomb(names=ARKIT_NAMES, vertices=250_000), "250000 vertices and 52 shapes"),
    "alike": (bomb(names=[f"{n}.jawOpen" for n in range(3000)], vertices=400_000), "keep one"),
    "names": (bomb(names=[f"hat{n}" for n in range(60_000)]), "over 20000 morph targets"),
    "primitives": (bomb(primitives=100_000), "over 20000 morph targets"),
    "instances": (bomb(nodes=star(40_000, mesh=0)), "over 2000 primitives"),
    "vertices": (bomb(nodes=star(1000, mesh=0), vertices=200_000), "at most 400000 vertices"),
    "corners": (bomb(nodes=star(1000, mesh=0), corners=4_800_000), "corners of triangles"),
    "chain": (bomb(nodes=chain(40_000, **TURN)), "spans 0 m"),
    "star": (bomb(nodes=star(600_000)), "at most 50000"),
    "ring": (bomb(nodes=[*chain(1000), {"children": [1001]}, {"children": [1000]}]), "circle"),
    "growth": (bomb(nodes=chain(2000, scale=[9, 9, 9])), "multiply"),
    "binds": (
        bomb(primitives=15_000)
        | vrm([{"name": "a", "binds": [{"mesh": 0, "index": 0}] * 100}] * 400),
        "over 2000 primitives",
    ),
    "expressions": (bomb() | vrm([{"name": "a"}] * 200_000), "over 2000 expressions"),
    "json": ({"extras": [[]] * 6_000_000}, "JSON chunk has"),
}


@pytest.fixture
def animate(tmp_path):
    """Animates a short recording on a rig that must be refused; returns what was said."""
    speech = tmp_path / "speech.wav"
    soundfile.write(speech, np.zeros(1600), 16000)

    def run(rig):
        arguments = ("animate", speech, "-o", tmp_path / "out", "--rig", rig, "--vertices")
        return refuse("dualtalker", *arguments, folder=tmp_path)

    return run


@pytest.mark.parametrize("name", GLB_BOMBS)
def test_little_json_that_asks_for_much_is_refused(tmp_path, animate, name):
    document, expected = GLB_BOMBS[name]
    path = write_container(tmp_path / "rig.glb", document)
    assert re.search(expected, said := animate(path)), said


def archive(path, **arrays):
    """A rig's .npz with some arrays changed."""
    rig = tiny_rig()
    whole = {key: getattr(rig, key) for key in ("neutral", "triangles", "deltas")}
    with path.open("wb") as file:
        np.savez_compressed(file, **(whole | {"names": np.array(rig.names)} | arrays))
    return path


def many_members(path):
    with zipfile.ZipFile(path, "w") as file:
        for index in range(70_000):
            file.writestr(zipfile.ZipInfo(f"{index}.npy"), b"")


def packed_by_lzma(path):
    with np.load(archive(path)) as file:
        arrays = dict(file)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        for key, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array)
            file.writestr(f"{key}.npy", content.getvalue())


NPZ_BOMBS = {
    "names": (lambda path: archive(path, names=np.zeros(30_000_000, "<U1")), "at most 52"),
    "title": (lambda path: archive(path, name=np.array("x" * 30_000_000)), "1000 characters"),
    "shapes": (lambda path: archive(path, deltas=np.zeros((90, 120_000, 3), "f4")), "at most 312"),
    "numbers": (lambda path: archive(path, lip_upper=np.zeros(10**7, "i4")), "at most 400000"),
    "members": (many_members, "bytes of members"),
    "lzma": (packed_by_lzma, "packed by method 14"),
}


@pytest.mark.parametrize("name", NPZ_BOMBS)
def test_a_small_archive_that_asks_for_much_is_refused(tmp_path, animate, name):
    make, expected = NPZ_BOMBS[name]
    path = tmp_path / "rig.npz"
    make(path)
    assert re.search(expected, said := animate(path)), said


OBJ_BOMBS = {
    "vertices": ("v 0 0 0\n" * 400_001, "over 400000 vertices"),
    "triangles": ("v 0 0 0\n" + ("f" + " 1" * 30_000 + "\n") * 36, "corners of"),
    "row": ("v" + " 0" * 1000, "line 1"),
    "line": ("v 0 0 0 #" + "x" * 100_000, "a line of over"),
    "size": ("#" * (1 << 26) + "\n\n", "expected at most 67108864"),
}


@pytest.mark.parametrize("name", OBJ_BOMBS)
def test_an_endless_obj_is_refused(tmp_path, name):
    text, expected = OBJ_BOMBS[name]
    (tmp_path / "neutral.obj").write_text(text)
    (tmp_path / "jawOpen.obj").write_text("v 0 0 0\n")
    with pytest.raises(RigError, match=expected):
        load_rig(tmp_path)


def test_only_shapes_of_a_folder_are_opened(tmp_path):
    write_obj_folder(tmp_path, tiny_rig())
    os.mkfifo(tmp_path / "hat.obj")  # to open it would wait for ever
    assert load_rig(tmp_path).names == tiny_rig().names


@pytest.mark.parametrize("ending", ["npz", "glb", "obj"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path, ending):
    name = f"jawOpen.{ending}"
    kinds = {"pipe": os.mkfifo, "zero": lambda path: path.symlink_to("/dev/zero")}
    kinds |= {"null": lambda path: path.symlink_to("/dev/null"), "folder": os.mkdir}
    kinds |= {"loop": lambda path: path.symlink_to(path)}
    for kind, make in kinds.items():
        folder = tmp_path / kind
        folder.mkdir()
        write_obj_folder(folder, tiny_rig())
        (folder / "JAWOPEN.obj").unlink()
        make(folder / name)
        with pytest.raises(RigError, match=r"pipe or device|a folder|Too many|0 OBJ files"):
            load_rig(folder if ending == "obj" else folder / name)


@pytest.mark.parametrize("name", ["x" * 300 + ".glb", "a\0b.glb"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name):
    with pytest.raises(RigError, match="cannot be read"):
        load_rig(tmp_path / name)


def test_textures_of_gigabytes_are_not_read(tmp_path):
    path = save_rig(tiny_rig(), tmp_path / "rig.glb")
    document, binary = read_container(path)
    write_container(path, document, binary)
    with path.open("r+b") as file:  # the buffer ends in a hole that takes no room on the disk
        size = path.stat().st_size
        file.truncate(size + (3 << 30))
        file.seek(8)
        file.write(struct.pack("<I", size + (3 << 30)))
        (length,) = struct.unpack("<I", read_at(file, 12, 4))
        file.seek(20 + length)
        file.write(struct.pack("<I", len(binary) + (3 << 30)))
    tracemalloc.start()
    assert load_rig(path).names == tiny_rig().names
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def read_at(file, place, count):
    file.seek(place)
    return file.read(count)
