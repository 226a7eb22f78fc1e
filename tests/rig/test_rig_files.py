"""Rig files: round trips, OBJ folders in any unit, damaged and hostile .npz files."""

from __future__ import annotations

import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkout import ROOT
from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import RigError
from dualtalker.rig import Rig, load_rig, save_rig
from dualtalker.rig.shape_names import read_name
from tiny_rig import parts, tiny_rig, write_obj, write_obj_folder

SHARED = ROOT.parent / "shared" / "data" / "face"


def assert_same(one: Rig, other: Rig) -> None:
    assert one.names == other.names
    for field in ("neutral", "triangles", "deltas", "lip_upper", "lip_lower", "lip_vertices"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), err_msg=field)
    np.testing.assert_array_equal(one.upper_face_vertices, other.upper_face_vertices)
    if one.colors is None or other.colors is None:
        assert one.colors is other.colors
    else:
        np.testing.assert_array_equal(one.colors, other.colors)


@pytest.mark.parametrize("colored", [True, False])
@pytest.mark.parametrize("ending", ["npz", "glb"])
def test_round_trip_is_identity(tmp_path, ending, colored):
    rig = tiny_rig(colored)
    path = tmp_path / f"rig.{ending}"
    save_rig(rig, path)
    assert_same(rig, load_rig(path))


@pytest.mark.parametrize("units_per_m", [1.0, 10.0, 100.0, 1000.0])
def test_obj_folder_in_any_unit_is_the_same_rig(tmp_path, units_per_m):
    rig = tiny_rig()
    write_obj_folder(tmp_path, rig, units_per_m)
    loaded = load_rig(tmp_path)
    assert set(loaded.names) == set(rig.names)
    np.testing.assert_allclose(loaded.neutral, rig.neutral, atol=2e-6)
    weights = np.random.default_rng(3).random(52)
    np.testing.assert_allclose(loaded.pose(weights), rig.pose(weights), atol=1e-5)
    assert len(loaded.triangles) == 64  # quads were cut in two


def test_obj_with_another_vertex_count_is_named(tmp_path):
    rig = tiny_rig()
    write_obj_folder(tmp_path, rig)
    write_obj(tmp_path / "browDownLeft.obj", rig.neutral[:-1], "")
    with pytest.raises(RigError, match=r"browDownLeft.obj: found 44 vertices; expected 45"):
        load_rig(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v 0 0\n", "x y z"),
        ("v 0 0 nan\n", "NaN"),
        ("v 0 0 zero\n", "line 1"),
        ("v 0 0 0\nf 1 2\n", "line 2"),
        ("v 0 0 0\nf 0 1 1\n", "line 2"),
        ("v 0 0 0\n", "no faces"),
        ("", "0 vertices"),
    ],
)
def test_damaged_obj_is_refused(tmp_path, text, expected):
    (tmp_path / "neutral.obj").write_text(text)
    with pytest.raises(RigError, match=expected):
        load_rig(tmp_path)


def test_folder_without_neutral_is_refused(tmp_path):
    with pytest.raises(RigError, match=r"neutral\.obj"):
        load_rig(tmp_path)


def test_obj_face_beyond_the_vertices_is_refused(tmp_path):
    write_obj_folder(tmp_path, tiny_rig())
    with (tmp_path / "Neutral.obj").open("a") as file:
        file.write("f 1 2 99\n")
    with pytest.raises(RigError, match="triangles"):
        load_rig(tmp_path)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("jawOpen", ("jawOpen", "")),
        ("head.MOUTHSMILELEFT", ("mouthSmileLeft", "")),
        ("eyeBlink_R", ("eyeBlinkRight", "")),
        ("browInnerUp_L", ("browInnerUp", "left")),
        ("cheekPuff_R", ("cheekPuff", "right")),
        ("PupilDilate_L", None),
    ],
)
def test_names_of_other_tools_are_understood(raw, expected):
    meaning = read_name(raw)
    assert (meaning and (meaning.name, meaning.part)) == expected


def test_npz_without_an_array_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", neutral=np.zeros((3, 3)))
    with pytest.raises(RigError, match=r"without \['triangles', 'names', 'deltas'\]"):
        load_rig(tmp_path / "a.npz")


def test_npz_with_pickled_objects_is_refused(tmp_path):
    rig = tiny_rig()
    arrays = parts(rig) | {"names": np.array(rig.names, dtype=object)}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(RigError, match="cannot be read"):
        load_rig(tmp_path / "a.npz")


def test_unknown_ending_and_missing_file_are_refused(tmp_path):
    (tmp_path / "face.fbx").write_bytes(b"Kaydara")
    with pytest.raises(RigError, match=r"expected \.npz, \.glb"):
        load_rig(tmp_path / "face.fbx")
    with pytest.raises(RigError, match="no such file"):
        load_rig(tmp_path / "gone.glb")


@pytest.mark.parametrize("ending", ["npz", "glb"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_truncated_files_are_refused(tmp_path_factory, ending, data):
    folder = tmp_path_factory.mktemp("rig")
    path = folder / f"whole.{ending}"
    rig = tiny_rig()
    save_rig(rig, path)
    content = path.read_bytes()
    cut = folder / f"cut.{ending}"
    cut.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(RigError, match=str(cut)):
        load_rig(cut)


def test_a_folder_of_another_topology(tmp_path):
    """The MakeHuman base mesh (a whole body, in decimetres) with a few ARKit targets."""
    folder = SHARED / "makehuman"
    if not folder.exists():
        pytest.skip("needs ../shared/data/face/makehuman beside the checkout")
    lines = (folder / "base.obj").read_text().splitlines()
    base = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], dtype=float)
    faces = "".join(f"{line}\n" for line in lines if line.startswith("f "))
    write_obj(tmp_path / "base.obj", base, faces)
    with zipfile.ZipFile(folder / "talkinghead-targets.zip") as archive:
        for name in ("jawOpen", "mouthClose", "mouthPucker", "eyeBlinkLeft"):
            posed = base.copy()
            for line in archive.read(f"final-talkinghead/{name}.target").decode().splitlines():
                if line[:1].isdigit():
                    vertex, *moved = line.split()
                    posed[int(vertex)] += np.array(moved, dtype=float)
            write_obj(tmp_path / f"{name}.obj", posed, "")
    rig = load_rig(tmp_path)
    assert rig.neutral.shape == (19158, 3)
    assert 1.5 < np.ptp(rig.neutral[:, 1]) < 2.0  # a person, in metres
    weights = np.zeros((3, 52))
    weights[1:, ARKIT_NAMES.index("jawOpen")] = 1
    weights[2, ARKIT_NAMES.index("mouthClose")] = 1
    rest, opened, shut = 1000 * rig.lip_gap(weights)
    assert 0 <= rest < 2
    assert 25 < opened - rest < 45
    assert abs(shut - rest) < 0.05 * (opened - rest)


def write_npz(path, **changes):
    arrays = {key: value for key, value in parts(tiny_rig()).items() if key != "name"}
    np.savez(path, **(arrays | {"names": np.array(arrays["names"])} | changes))
    return path


def npy(shape, descr="<f4", data=b""):
    """An .npy member whose header claims any shape."""
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    "shape", [(10**12, 3), (2**63, 3), (10**30, 10**30), (-5, 3), (2**40, 2**40), (12,), "rubbish"]
)
def test_npz_headers_that_claim_the_impossible_are_refused(tmp_path, shape):
    path = write_npz(tmp_path / "a.npz")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["neutral.npy"] = npy(shape)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(RigError, match=r"a\.npz"):
        load_rig(path)


@settings(max_examples=100, deadline=None)
@given(header=st.binary(max_size=60) | st.text("{}()[]'\",:-<f48 descrshapeT", max_size=60))
def test_any_npy_header_is_read_or_refused(tmp_path_factory, header):
    path = tmp_path_factory.getbasetemp() / "header.npz"
    raw = header if isinstance(header, bytes) else header.encode()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("neutral.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw)
    with pytest.raises(RigError, match=r"header\.npz"):
        load_rig(path)


def test_an_encrypted_npz_is_refused(tmp_path):
    """The flag is set in both of a member's headers, as an archiver with a password does."""
    path = write_npz(tmp_path / "a.npz")
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(mark)
        while start >= 0:
            content[start + at] |= 1
            start = content.find(mark, start + 4)
    path.write_bytes(content)
    with pytest.raises(RigError, match=r"cannot be read as \.npz.*encrypted"):
        load_rig(path)


@pytest.mark.parametrize("field", ["neutral", "deltas"])
def test_numbers_beyond_float32_are_refused(tmp_path, field):
    huge = parts(tiny_rig())[field].astype(np.float64)
    huge[..., 0, 0] = 1e39
    with pytest.raises(RigError, match=rf"{field}: found NaN or infinite"):
        load_rig(write_npz(tmp_path / "a.npz", **{field: huge}))


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e9])
def test_a_face_of_no_size_or_of_planetary_size_is_refused(tmp_path, scale):
    neutral = parts(tiny_rig())["neutral"] * scale
    with pytest.raises(RigError, match=r"spans .* m; expected 0.001 to 1000 m"):
        load_rig(write_npz(tmp_path / "a.npz", neutral=neutral))
