"""Laws of the rig and of its files: posing, landmarks, round trips, damaged and hostile files."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import RigError
from dualtalker.head import build_head
from dualtalker.rig import Rig, build_rig, load_rig
from dualtalker.rig_files import arkit_name

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "face"
SHAPES = ("mouthSmileLeft", "jawOpen", "mouthRollUpper", "mouthRollLower", "browDownLeft")


def tiny_rig(colored: bool = True) -> Rig:
    """Two strips of lip vertices 1 mm apart, a chin below and a brow above."""
    x = np.linspace(-0.025, 0.025, 9)
    rows = [(0.05, 0.0), (0.010, 0.0), (0.0005, 0.005), (-0.0005, 0.005), (-0.03, 0.0)]
    neutral = np.array([[across, y, z] for y, z in rows for across in x])
    cells = [(row * 9 + column) for row in range(4) for column in range(8)]
    triangles = [(cell, cell + 9, cell + 10) for cell in cells]
    triangles += [(cell, cell + 10, cell + 1) for cell in cells]
    deltas = np.zeros((len(SHAPES), len(neutral), 3))
    row = np.arange(len(neutral)) // 9
    deltas[1, row >= 3, 1] = -0.03
    deltas[0, (row >= 1) & (neutral[:, 0] > 0.01)] = [0.004, 0.006, -0.002]
    deltas[2, row == 2, 2] = -0.004
    deltas[3, row == 3, 2] = -0.004
    deltas[4, (row == 0) & (neutral[:, 0] > 0), 1] = -0.008
    colors = (np.arange(neutral.size).reshape(-1, 3) * 7 % 256).astype(np.uint8)
    return build_rig(
        "tiny", neutral, np.array(triangles), SHAPES, deltas, colors if colored else None
    )


def assert_same(one: Rig, other: Rig) -> None:
    assert one.names == other.names
    for field in ("neutral", "triangles", "deltas", "lip_upper", "lip_lower", "lip_vertices"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), err_msg=field)
    np.testing.assert_array_equal(one.upper_face_vertices, other.upper_face_vertices)
    if one.colors is None or other.colors is None:
        assert one.colors is other.colors
    else:
        np.testing.assert_array_equal(one.colors, other.colors)


@pytest.mark.parametrize("build", [tiny_rig, build_head])
def test_zero_weights_are_neutral(build):
    rig = build()
    np.testing.assert_array_equal(rig.pose(np.zeros(len(ARKIT_NAMES))), rig.neutral)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-1, 2))
def test_pose_is_linear(seed, share):
    rig = tiny_rig()
    rng = np.random.default_rng(seed)
    one, other = rng.random((2, len(ARKIT_NAMES)))
    blend = rig.pose(share * one + (1 - share) * other)
    expected = share * rig.pose(one) + (1 - share) * rig.pose(other)
    np.testing.assert_allclose(blend, expected, atol=1e-6)


def test_pose_takes_batches_and_any_order_of_names():
    rig = tiny_rig()
    weights = np.random.default_rng(0).random((2, 3, len(ARKIT_NAMES)))
    posed = rig.pose(weights)
    assert posed.shape == (2, 3, len(rig.neutral), 3)
    np.testing.assert_allclose(posed[1, 2], rig.pose(weights[1, 2]), atol=1e-7)
    order = np.random.default_rng(1).permutation(len(ARKIT_NAMES))
    names = [ARKIT_NAMES[index] for index in order]
    np.testing.assert_allclose(rig.pose(weights[..., order], names), posed, atol=1e-7)
    np.testing.assert_allclose(rig.lip_gap(weights[..., order], names), rig.lip_gap(weights))


def test_pose_refuses_weights_of_another_length():
    with pytest.raises(RigError, match=r"\[3, 51\].*52"):
        tiny_rig().pose(np.zeros((3, 51)))


def test_missing_lists_what_posing_ignores():
    rig = tiny_rig()
    assert set(rig.missing) == set(ARKIT_NAMES) - set(SHAPES)
    weights = np.zeros(len(ARKIT_NAMES))
    weights[ARKIT_NAMES.index("tongueOut")] = 1
    np.testing.assert_array_equal(rig.pose(weights), rig.neutral)


def test_lip_gap_is_measured_on_the_posed_mesh():
    rig = tiny_rig()
    weights = np.random.default_rng(2).random((20, len(ARKIT_NAMES)))
    upper, lower = rig.central_lip_pairs
    posed = rig.pose(weights)
    expected = (posed[:, upper, 1] - posed[:, lower, 1]).mean(axis=1)
    np.testing.assert_allclose(rig.lip_gap(weights), expected, atol=1e-7)
    assert rig.lip_gap(np.zeros(52)) == pytest.approx(0.001, abs=1e-6)


def test_landmarks_are_found_from_the_shapes():
    rig = tiny_rig()
    np.testing.assert_array_equal(rig.lip_vertices, np.arange(18, 36))
    assert set(rig.lip_upper) <= set(range(18, 27))
    np.testing.assert_array_equal(rig.lip_lower, rig.lip_upper + 9)
    np.testing.assert_array_equal(rig.upper_face_vertices, np.arange(5, 9))


@pytest.mark.parametrize("colored", [True, False])
@pytest.mark.parametrize("ending", ["npz", "glb"])
def test_round_trip_is_identity(tmp_path, ending, colored):
    rig = tiny_rig(colored)
    path = tmp_path / f"rig.{ending}"
    (rig.save_npz if ending == "npz" else rig.save_glb)(path)
    assert_same(rig, load_rig(path))


def test_every_color_survives_glb(tmp_path):
    rig = tiny_rig()
    rig.colors[:] = np.arange(rig.colors.size).reshape(-1, 3) % 256
    for shift in (0, 135):
        rig.colors[:] = (np.arange(rig.colors.size).reshape(-1, 3) + shift) % 256
        np.testing.assert_array_equal(
            load_rig(rig.save_glb(tmp_path / "c.glb")).colors, rig.colors
        )


def write_obj(path: Path, vertices: np.ndarray, faces: str) -> None:
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    path.write_text("# made by a test\n" + "\n".join(lines) + "\n" + faces)


def write_obj_folder(folder: Path, rig: Rig, units_per_m: float = 1.0) -> None:
    quads = [(c, c + 9, c + 10, c + 1) for r in range(4) for c in range(r * 9, r * 9 + 8)]
    faces = "".join("f " + " ".join(f"{v + 1}/{v + 1}" for v in quad) + "\n" for quad in quads)
    write_obj(folder / "Neutral.obj", rig.neutral * units_per_m, faces)
    spelled = {"mouthSmileLeft": "mouthSmile_L", "jawOpen": "JAWOPEN"}
    for name, delta in zip(rig.names, rig.deltas, strict=True):
        posed = (rig.neutral + delta) * units_per_m
        write_obj(folder / f"{spelled.get(name, name)}.obj", posed, faces)


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
        ("jawOpen", ("jawOpen", False)),
        ("head.MOUTHSMILELEFT", ("mouthSmileLeft", False)),
        ("eyeBlink_R", ("eyeBlinkRight", False)),
        ("browInnerUp_L", ("browInnerUp", True)),
        ("cheekPuff_R", ("cheekPuff", True)),
        ("PupilDilate_L", (None, False)),
    ],
)
def test_names_of_other_tools_are_understood(raw, expected):
    assert arkit_name(raw) == expected


def parts(rig: Rig) -> dict:
    return {
        "name": "changed",
        "neutral": rig.neutral.copy(),
        "triangles": rig.triangles.copy(),
        "names": rig.names,
        "deltas": rig.deltas.copy(),
    }


@pytest.mark.parametrize(
    ("field", "change", "expected"),
    [
        ("neutral", lambda a: np.concatenate([a, a]), "deltas"),
        ("neutral", lambda a: a[:, :2], r"expected numbers \['any', 3\]"),
        ("neutral", lambda a: a * np.nan, "NaN"),
        ("deltas", lambda a: a[:-1], r"expected numbers \[5, 45, 3\]"),
        ("deltas", lambda a: a * np.inf, "NaN or infinite"),
        ("triangles", lambda a: a + 1, "expected 0 to 44"),
        ("triangles", lambda a: a - 1, "expected 0 to 44"),
        ("triangles", lambda a: a.astype(float), "whole numbers"),
        ("names", lambda names: ("jawOpn", *names[1:]), "jawOpn"),
        ("names", lambda names: (names[1], *names[1:]), "distinct"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_parts_that_do_not_fit_are_refused(field, change, expected):
    changed = parts(tiny_rig())
    changed[field] = change(changed[field])
    with pytest.raises(RigError, match=expected):
        build_rig(**changed)


def test_a_rig_whose_lips_do_not_part_is_refused():
    changed = parts(tiny_rig())
    changed["deltas"][changed["names"].index("jawOpen")] *= -1
    with pytest.raises(RigError, match="jawOpen does not part"):
        build_rig(**changed)


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
    (rig.save_npz if ending == "npz" else rig.save_glb)(path)
    content = path.read_bytes()
    cut = folder / f"cut.{ending}"
    cut.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(RigError, match=str(cut)):
        load_rig(cut)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_flipped_bytes_give_a_rig_or_a_rig_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("rig") / "rig.glb"
    tiny_rig().save_glb(path)
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


def edit_glb(path: Path, change) -> None:
    """Rewrite the JSON of a .glb with consistent lengths."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    document = json.loads(content[20 : 20 + length])
    change(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + length :]
    head = struct.pack("<IIIII", 0x46546C67, 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A)
    path.write_bytes(head + text + rest)


def set_in(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(document):
        place = document
        for key in keys:
            place = place[key]
        place[last] = value

    return change


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
        (
            set_in("meshes", 0, "primitives", 0, "extensions", {"KHR_draco_mesh_compression": {}}),
            "without compression",
        ),
        (set_in("meshes", 0, "primitives", 0, "attributes", {}), "damaged"),
        (set_in("meshes", {}), "meshes"),
        (set_in("scenes", 7), "damaged"),
    ],
)
def test_hostile_glb_is_refused(tmp_path, change, expected):
    path = tiny_rig().save_glb(tmp_path / "rig.glb")
    edit_glb(path, change)
    with pytest.raises(RigError, match=expected):
        load_rig(path)


def test_glb_node_transforms_are_applied(tmp_path):
    rig = tiny_rig()
    path = rig.save_glb(tmp_path / "rig.glb")
    quarter = [0, 0, float(np.sqrt(0.5)), float(np.sqrt(0.5))]  # 90 degrees about z
    edit_glb(path, set_in("nodes", 0, "rotation", quarter))
    edit_glb(path, set_in("nodes", 0, "translation", [1, 2, 3]))
    turned = load_rig(path)
    x, y, z = rig.neutral.T
    np.testing.assert_allclose(turned.neutral, np.stack([1 - y, 2 + x, 3 + z], 1), atol=1e-6)
    np.testing.assert_allclose(turned.deltas[:, :, 0], -rig.deltas[:, :, 1], atol=1e-7)


def test_glb_is_what_other_readers_expect(tmp_path):
    rig = build_head()
    path = rig.save_glb(tmp_path / "head.glb")
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    document = json.loads(content[20 : 20 + length])
    mesh = document["meshes"][0]
    assert mesh["extras"]["targetNames"] == list(ARKIT_NAMES)
    assert len(mesh["primitives"][0]["targets"]) == len(mesh["weights"]) == 52
    for view in document["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
    for target in mesh["primitives"][0]["targets"]:
        accessor = document["accessors"][target["POSITION"]]
        assert len(accessor["min"]) == len(accessor["max"]) == 3
    assert len(content) < 3_000_000


def ict_rig() -> Rig:
    """The ICT-FaceKit face; centimetres in the file."""
    folder = SHARED / "ict_facekit"
    if not folder.exists():
        pytest.skip("needs ../shared/data/face/ict_facekit beside the checkout")
    data = np.load(folder / "ict_facekit_light.npz")
    mapping = json.loads((folder / "arkit52_to_ict.json").read_text())
    row = {str(name): index for index, name in enumerate(data["expression_names"])}
    names = [name for name in ARKIT_NAMES if mapping[name]]
    to_m = 0.01 * float(data["expression_scale"])
    deltas = [
        sum(data["expression_delta"][row[n]] * to_m for n in mapping[name]) for name in names
    ]
    quads = data["faces"]
    full = quads[quads[:, 3] >= 0]
    triangles = np.concatenate([quads[:, :3], full[:, [0, 2, 3]]])
    return build_rig("ICT", data["neutral"] * 0.01, triangles, names, np.stack(deltas))


def test_landmarks_on_a_scanned_face():
    rig = ict_rig()
    assert rig.missing == ("tongueOut",)
    gap_mm = 1000 * rig.lip_gap(np.eye(52))
    rest_mm = 1000 * rig.lip_gap(np.zeros(52))
    change = dict(zip(ARKIT_NAMES, gap_mm - rest_mm, strict=True))
    assert 0 <= rest_mm < 2
    assert 25 < change["jawOpen"] < 40
    assert change["mouthClose"] < -25
    assert change["mouthUpperUpLeft"] == pytest.approx(change["mouthUpperUpRight"], abs=0.1)
    assert abs(change["browDownLeft"]) < 0.01
    x = rig.neutral[rig.lip_upper, 0]
    assert x.max() - x.min() > 0.03


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
