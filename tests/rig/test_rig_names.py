"""Rigs with other programs' names: on several meshes, on primitives, as expressions of a VRM."""

from __future__ import annotations

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_NAMES, expand
from dualtalker.errors import RigError
from dualtalker.rig import VISEMES, Rig, load_rig
from dualtalker.rig.robot_head import build_head
from made_glb import edit_glb, set_in
from named_rigs import Mesh, mesh_of, write_meshes
from tiny_rig import tiny_rig, write_obj_folder

JAW, SMILE = ARKIT_NAMES.index("jawOpen"), ARKIT_NAMES.index("mouthSmileLeft")


def delta_of(rig: Rig, name: str) -> np.ndarray:
    return rig.deltas[rig.names.index(name)]


def teeth(names: list[str], **more) -> Mesh:
    """A strip behind the lips that follows the jaw."""
    neutral = np.array([[x, -0.004, -0.01] for x in np.linspace(-0.02, 0.02, 6)])
    triangles = np.array([[0, 1, 2], [2, 3, 4]])
    return Mesh(neutral, triangles, [np.tile([0, -0.03, 0.0], (6, 1))], names, **more)


def renamed(prefix: str) -> list[str]:
    return [prefix + name for name in tiny_rig().names]


@pytest.mark.parametrize(
    ("face", "other"),
    [
        ("blendShape1.", "blendShape2.jawOpen"),
        ("Face.M_F00_000_00_", "jaw_open"),
        ("A25_", "Jaw Open"),
        ("", "JAW-OPEN.001"),
    ],
)
def test_a_shape_of_two_meshes_is_one_whatever_its_prefixes(tmp_path, face, other):
    rig = tiny_rig()
    both = load_rig(
        write_meshes(tmp_path / "a.glb", [mesh_of(rig, renamed(face)), teeth([other])])
    )
    assert both.names == rig.names
    moved = delta_of(both, "jawOpen")
    np.testing.assert_allclose(moved[: len(rig.neutral)], delta_of(rig, "jawOpen"), atol=1e-7)
    np.testing.assert_allclose(moved[len(rig.neutral) :], np.tile([0, -0.03, 0], (6, 1)))
    assert not delta_of(both, "mouthSmileLeft")[len(rig.neutral) :].any()


@pytest.mark.parametrize("names_on", ["mesh", "primitive", "target"])
def test_names_are_found_wherever_exporters_put_them(tmp_path, names_on):
    rig = tiny_rig()
    path = write_meshes(tmp_path / "a.glb", [mesh_of(rig, rig.names, names_on=names_on)])
    assert load_rig(path).names == rig.names


def test_a_mesh_without_names_is_left_out_with_a_note(tmp_path, caplog):
    rig = tiny_rig()
    unnamed = teeth([])
    unnamed.names = None
    path = write_meshes(tmp_path / "a.glb", [unnamed, mesh_of(rig, rig.names)])
    assert len(load_rig(path).neutral) == len(rig.neutral)
    assert "1 morph targets with no names" in caplog.text
    with pytest.raises(RigError, match=r"no mesh with ARKit.*no names for them in extras"):
        load_rig(write_meshes(tmp_path / "b.glb", [unnamed]))


def test_doubles_of_what_means_nothing_do_not_matter(tmp_path):
    rig = tiny_rig()
    mesh = mesh_of(rig, rig.names)
    mesh.targets = [*mesh.targets, mesh.targets[0], mesh.targets[0]]
    mesh.names = [*mesh.names, "PupilDilate", "PupilDilate"]
    assert load_rig(write_meshes(tmp_path / "a.glb", [mesh])).names == rig.names


def test_the_nearest_of_two_names_is_used_and_equal_ones_are_refused(tmp_path):
    rig = tiny_rig()
    mesh = mesh_of(rig, rig.names)
    mesh.targets = [np.zeros_like(rig.neutral), *mesh.targets]
    mesh.names = ["corner_jawOpen1", *mesh.names]
    both = load_rig(write_meshes(tmp_path / "a.glb", [mesh]))
    np.testing.assert_allclose(delta_of(both, "jawOpen"), delta_of(rig, "jawOpen"), atol=1e-7)
    for first, second in (("jawOpen", "jawOpen"), ("Jaw_Open", "jaw-open")):
        mesh.names = [first, *[second if n == "jawOpen" else n for n in rig.names]]
        with pytest.raises(RigError, match=r"'Face'.*mean jawOpen; keep one"):
            load_rig(write_meshes(tmp_path / "b.glb", [mesh]))


def test_quarters_and_halves_add_up(tmp_path):
    rig = tiny_rig()
    quarters = [np.zeros_like(rig.neutral) for _ in range(4)]
    for number, quarter in enumerate(quarters):
        quarter[9 + number, 2] = 0.004
    mesh = mesh_of(rig, rig.names)
    mesh.targets = [*mesh.targets, *quarters]
    mesh.names = [*mesh.names, *(f"Mouth_Funnel_{a}_{b}" for a in ("Up", "Down") for b in "LR")]
    funnel = delta_of(load_rig(write_meshes(tmp_path / "a.glb", [mesh])), "mouthFunnel")
    np.testing.assert_allclose(funnel, sum(quarters), atol=1e-7)


def test_a_shape_without_a_side_is_cut_in_two_that_add_up(tmp_path):
    rig = tiny_rig()
    smile = np.zeros_like(rig.neutral)
    smile[9:36] = [0, 0.01, 0]
    mesh = mesh_of(rig, rig.names)
    at = list(rig.names).index("mouthSmileLeft")
    mesh.targets[at] = smile
    mesh.names[at] = "Mouth_Smile"
    cut = load_rig(write_meshes(tmp_path / "a.glb", [mesh]))
    left, right = delta_of(cut, "mouthSmileLeft"), delta_of(cut, "mouthSmileRight")
    np.testing.assert_allclose(left + right, smile, atol=1e-7)
    x = rig.neutral[:, 0]
    assert not left[x < -0.02].any() and not right[x > 0.02].any()
    assert left[9:36][x[9:36] > 0.02].all(axis=0)[1]


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_a_head_of_five_vowels_speaks_much_as_the_whole_one(tmp_path, strength):
    """In each viseme its lips move the way of all 52 shapes, about as far.

    `strength` is how much of the jaw the avatar's own "aa" opens: authors differ.
    """
    head = build_head()
    full = {"aa": "AA", "ih": "IY", "ou": "UW", "ee": "EH", "oh": "OW"}
    strongest = {"aa": VISEMES["AA"]["jawOpen"], "ou": 0.75}
    targets = [
        head.pose(expand(VISEMES[viseme]) * strength / strongest.get(vowel, 1.0)) - head.neutral
        for vowel, viseme in full.items()
    ]
    mesh = Mesh(
        head.neutral, head.triangles, targets, [f"viseme_{v}" for v in ("aa", "I", "U", "E", "O")]
    )
    vowels = load_rig(write_meshes(tmp_path / "a.glb", [mesh]))
    for viseme in full.values():
        weights = expand(VISEMES[viseme])
        there = (head.pose(weights) - head.neutral)[head.lip_vertices]
        here = (vowels.pose(weights) - head.neutral)[head.lip_vertices]
        assert np.sum(here * there) > 0.9 * np.linalg.norm(here) * np.linalg.norm(there), viseme
        assert 0.4 < np.linalg.norm(here) / np.linalg.norm(there) < 1.5, viseme
    gaps = [vowels.lip_gap(expand(VISEMES[v])) for v in ("AA", "EH", "OW", "UW", "PP")]
    assert gaps[0] > gaps[1] > gaps[3] > gaps[4] and gaps[0] > gaps[2] > gaps[3]
    assert gaps[4] == pytest.approx(float(vowels.lip_gap(np.zeros(52))), abs=1e-6)


# ---- VRM ----------------------------------------------------------------------------------------

VOWELS = ("aa", "ih", "ou", "ee", "oh", "blink")


def vowel_mesh() -> Mesh:
    """The tiny rig with the shapes of an anime face: five vowels that all open, and a blink."""
    rig = tiny_rig()
    row, x = np.arange(len(rig.neutral)) // 9, rig.neutral[:, :1]
    opening = delta_of(rig, "jawOpen")
    lips = ((row == 2) | (row == 3))[:, None]
    spread = np.where(lips, x * [0.3, 0, 0], 0)
    pout = np.where(lips, -x * [0.4, 0, 0] + [0, 0, 0.006], 0)
    blink = np.where((row == 0)[:, None], [0, -0.01, 0.0], 0)
    shapes = [
        *(opening, 0.2 * opening + spread, 0.2 * opening + pout),
        *(0.4 * opening + 0.5 * spread, 0.5 * opening + 0.6 * pout, blink),
    ]
    return Mesh(rig.neutral, rig.triangles, shapes, [f"Fcl_{k}" for k in range(6)])


def vrm_1(**custom):
    def expression(index, weight=1.0):
        return {"morphTargetBinds": [{"node": 0, "index": index, "weight": weight}]}

    preset = {name: expression(index) for index, name in enumerate(VOWELS)}
    preset["happy"] = expression(3)
    preset["neutral"] = {"isBinary": False}
    own = {name: expression(*bind) for name, bind in custom.items()}
    return {"VRMC_vrm": {"specVersion": "1.0", "expressions": {"preset": preset, "custom": own}}}


def vrm_0(weight=100):
    groups = [
        {
            "name": name.upper(),
            "presetName": name,
            "binds": [{"mesh": 0, "index": index, "weight": weight}],
            "materialValues": [],
        }
        for index, name in enumerate(("a", "i", "u", "e", "o", "blink"))
    ]
    groups.append({"name": "Neutral", "presetName": "neutral", "binds": []})
    return {"VRM": {"specVersion": "0.0", "blendShapeMaster": {"blendShapeGroups": groups}}}


@pytest.fixture
def vowel_rig(tmp_path):
    return load_rig(write_meshes(tmp_path / "a.vrm", [vowel_mesh()], vrm_1()))


def test_vowels_stand_in_for_arkit(vowel_rig):
    mesh = vowel_mesh()
    opening = mesh.targets[0]
    assert {"jawOpen", "mouthClose", "mouthFunnel", "mouthPucker"} <= set(vowel_rig.names)
    assert {"mouthStretchLeft", "eyeBlinkRight", "mouthLowerDownLeft"} <= set(vowel_rig.names)
    np.testing.assert_allclose(delta_of(vowel_rig, "jawOpen"), 1.25 * opening, atol=1e-7)
    blink = delta_of(vowel_rig, "eyeBlinkLeft") + delta_of(vowel_rig, "eyeBlinkRight")
    np.testing.assert_allclose(blink, mesh.targets[5], atol=1e-7)


def test_rounding_and_spreading_do_not_open_a_mouth_of_vowels(vowel_rig):
    opening = vowel_mesh().targets[0]
    for name in ("mouthFunnel", "mouthPucker", "mouthStretchLeft", "mouthLowerDownRight"):
        delta = delta_of(vowel_rig, name)
        assert np.abs(delta).max() > 1e-3
    for names in (["mouthFunnel"], ["mouthPucker"], ["mouthStretchLeft", "mouthStretchRight"]):
        delta = sum(delta_of(vowel_rig, name) for name in names)
        assert abs((delta * opening).sum()) < 1e-3 * (opening * opening).sum()


def test_a_vowel_that_only_opens_rounds_nothing(tmp_path):
    mesh = vowel_mesh()
    mesh.targets[4] = 0.5 * mesh.targets[0]
    rig = load_rig(write_meshes(tmp_path / "a.vrm", [mesh], vrm_1()))
    assert "mouthFunnel" not in rig.names and "mouthPucker" in rig.names


@pytest.mark.parametrize("ending", ["glb", "obj"])
def test_expressions_that_move_nothing_are_refused(tmp_path, ending):
    rig = tiny_rig()
    if ending == "glb":
        still = Mesh(rig.neutral, rig.triangles, [0 * rig.neutral], ["viseme_O"])
        path = write_meshes(tmp_path / "a.glb", [still])
    else:
        path = tmp_path / "objs"
        path.mkdir()
        write_obj_folder(path, rig)
        for file in path.glob("*.obj"):
            if file.stem != "Neutral":
                file.unlink()
        (path / "viseme_O.obj").write_bytes((path / "Neutral.obj").read_bytes())
    with pytest.raises(RigError, match="move no vertex"):
        load_rig(path)


def test_lips_of_a_mouth_of_vowels_part_and_meet(vowel_rig):
    weights = np.zeros((3, 52))
    weights[1:, JAW] = 0.6
    weights[2, ARKIT_NAMES.index("mouthClose")] = 0.6
    rest, parted, shut = vowel_rig.lip_gap(weights)
    assert parted - rest > 0.01
    assert shut == pytest.approx(rest, abs=1e-6)


@pytest.mark.parametrize("weight", [100, 50])
def test_vrm_0_and_its_weights_in_percent_are_read_and_it_is_turned_around(tmp_path, weight):
    """VRM 0 looks along -z, VRM 1 along +z."""
    mesh = vowel_mesh()
    back = np.array([-1, 1, -1])
    turned = Mesh(
        mesh.neutral * back, mesh.triangles, [t * back for t in mesh.targets], mesh.names
    )
    old = load_rig(write_meshes(tmp_path / "old.vrm", [turned], vrm_0(weight)))
    new = load_rig(write_meshes(tmp_path / "new.vrm", [mesh], vrm_1()))
    assert old.names == new.names
    np.testing.assert_allclose(old.neutral, new.neutral, atol=1e-7)
    np.testing.assert_allclose(old.deltas, new.deltas * weight / 100, atol=1e-6)


def test_expressions_with_arkit_names_go_before_targets_and_recipes(tmp_path):
    mesh = vowel_mesh()
    mesh.names = ["jawOpen", *mesh.names[1:]]
    path = write_meshes(tmp_path / "a.vrm", [mesh], vrm_1(JawOpen=(0, 0.5), mouth_pucker=(2,)))
    rig = load_rig(path)
    np.testing.assert_allclose(delta_of(rig, "jawOpen"), 0.5 * mesh.targets[0], atol=1e-7)
    np.testing.assert_allclose(delta_of(rig, "mouthPucker"), mesh.targets[2], atol=1e-7)
    assert "mouthClose" not in rig.names  # nothing says what would undo a jawOpen of its own


def test_a_vrm_needs_no_names_of_targets(tmp_path):
    mesh = vowel_mesh()
    mesh.names = None
    rig = load_rig(write_meshes(tmp_path / "a.vrm", [mesh], vrm_1()))
    assert "jawOpen" in rig.names


def test_vrm_0_groups_without_a_preset_go_by_their_names(tmp_path):
    extensions = vrm_0()
    for group in extensions["VRM"]["blendShapeMaster"]["blendShapeGroups"]:
        group["presetName"] = "unknown"
    rig = load_rig(write_meshes(tmp_path / "a.vrm", [vowel_mesh()], extensions))
    assert {"jawOpen", "mouthPucker", "eyeBlinkLeft"} <= set(rig.names)


@pytest.mark.parametrize("extras", ["made by hand", 7, [], None, {"targetNames": None}])
def test_extras_of_any_kind_are_no_damage(tmp_path, extras):
    rig = tiny_rig()
    path = write_meshes(tmp_path / "a.glb", [mesh_of(rig, rig.names, names_on="primitive")])
    edit_glb(path, set_in("meshes", 0, "extras", extras))
    assert load_rig(path).names == rig.names


def test_visemes_by_name_stand_in_too(tmp_path):
    mesh = vowel_mesh()
    mesh.names = ["viseme_aa", "viseme_I", "viseme_U", "viseme_E", "viseme_O", "eyesClosed"]
    rig = load_rig(write_meshes(tmp_path / "a.glb", [mesh]))
    np.testing.assert_allclose(delta_of(rig, "jawOpen"), 1.25 * mesh.targets[0], atol=1e-7)


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ({"index": 99}, "moves the morph target 99 of mesh 0, which has 6"),
        ({"index": True}, "morph target True"),
        ({"weight": float("inf")}, "weight inf; expected 0 to 1"),
        ({"weight": "1"}, "weight '1'"),
        ({"weight": -1}, "weight -1"),
        ({"node": 7}, "does not exist"),
        ({"node": None}, "does not exist"),
    ],
)
def test_a_damaged_expression_is_refused(tmp_path, bind, expected):
    extensions = vrm_1()
    preset = extensions["VRMC_vrm"]["expressions"]["preset"]
    preset["aa"]["morphTargetBinds"][0] |= bind
    with pytest.raises(RigError, match=expected):
        load_rig(write_meshes(tmp_path / "a.vrm", [vowel_mesh()], extensions))


@pytest.mark.parametrize("place", ["VRM", "VRMC_vrm"])
@pytest.mark.parametrize("value", [None, [], 7, "x", {"blendShapeMaster": 3, "expressions": [1]}])
def test_a_damaged_extension_is_refused(tmp_path, place, value):
    with pytest.raises(RigError, match=r"a\.vrm"):
        load_rig(write_meshes(tmp_path / "a.vrm", [vowel_mesh()], {place: value}))


def test_a_flood_of_binds_is_refused(tmp_path):
    mesh = vowel_mesh()
    mesh.targets = [mesh.targets[0]] * 100
    mesh.names = [f"k{index}" for index in range(100)]
    extensions = vrm_1()
    extensions["VRMC_vrm"]["expressions"]["preset"]["aa"] = {
        "morphTargetBinds": [{"node": 0, "index": index, "weight": 1} for index in range(100)]
    }
    with pytest.raises(RigError, match="moves over 64 targets"):
        load_rig(write_meshes(tmp_path / "a.vrm", [mesh], extensions))
