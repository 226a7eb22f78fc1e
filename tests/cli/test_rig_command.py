"""`dualtalker rig`: shapes and their meaning, what is missing, whether lips meet, the picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.cli.main import main
from dualtalker.evaluation import measure_mouth
from dualtalker.rig import load_rig, save_rig
from dualtalker.rig.robot_head import build_head
from named_rigs import Mesh, mesh_of, write_meshes
from tiny_rig import tiny_rig, write_obj_folder


def run(capsys, *arguments) -> tuple[int, str, str]:
    status = main(["rig", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def parted_rig(gap_m: float):
    """The tiny rig with its upper lip and brow this much higher."""
    rig = tiny_rig()
    rig.neutral[:27, 1] += gap_m
    return rig


def test_the_robot_head_is_complete_and_its_lips_meet(tmp_path, capsys):
    path = save_rig(build_head(), tmp_path / "head.npz")
    status, out, _ = run(capsys, path)
    assert status == 0
    assert "52 of ARKit's 52 shapes; missing: none" in out
    assert "the lips meet in /p b m/" in out and "never" not in out
    for name in ARKIT_NAMES:
        assert name in out
    assert "7086 vertices" in out and "0.297 m high" in out


def test_every_shape_is_listed_with_what_it_means(tmp_path, capsys):
    rig = tiny_rig()
    face = mesh_of(rig, [f"blendShape1.{name}" for name in rig.names])
    face.names = [*face.names, "PupilDilate\x1b[31m", "head_jawOpen2"]
    face.targets = [*face.targets, rig.deltas[0], rig.deltas[0]]
    teeth = mesh_of(rig, ["Jaw_Open", "browInnerUp_L", "a", "b", "c"], name="Teeth")
    bare = Mesh(rig.neutral, rig.triangles, list(rig.deltas), name="Lashes")
    status, out, _ = run(capsys, write_meshes(tmp_path / "a.glb", [face, teeth, bare]))
    assert status == 0 and "\x1b" not in out
    lines = {tuple(line.split(maxsplit=2)) for line in out.splitlines()}
    assert ("blendShape1.jawOpen", "->", "jawOpen") in lines
    assert ("head_jawOpen2", "->", "jawOpen (blendShape1.jawOpen is used)") in lines
    assert ("browInnerUp_L", "->", "browInnerUp, left part") in lines
    assert "PupilDilate" in out and "mesh 'Teeth': 5 shapes" in out
    assert "mesh 'Lashes': left out: 5 morph targets with no names" in out
    assert "6 of ARKit's 52 shapes; missing: 46" in out


def test_vowels_are_told_as_what_they_stand_in_for(tmp_path, capsys):
    rig = tiny_rig()
    jaw = rig.deltas[rig.names.index("jawOpen")]
    pout = 0.5 * jaw
    pout[18:36, 2] += 0.006
    mesh = Mesh(rig.neutral, rig.triangles, [jaw, pout, jaw], ["viseme_aa", "viseme_O", "x"])
    status, out, _ = run(capsys, write_meshes(tmp_path / "a.glb", [mesh]))
    assert status == 0
    assert "viseme_aa" in out and "-> aa" in out
    assert "jawOpen                 1.25 x aa" in out
    assert "mouthFunnel             oh without its opening" in out


@pytest.mark.parametrize(
    ("gap_m", "expected"),
    [
        (0.006, "note: the lips never meet"),
        (0.0, "note: the lips meet at rest, but not in /p b m/"),
    ],
)
def test_lips_that_do_not_meet_are_told(tmp_path, capsys, gap_m, expected):
    path = save_rig(parted_rig(gap_m), tmp_path / "a.npz")
    status, out, _ = run(capsys, path)
    assert status == 0 and expected in out and "needs mouthClose" in out
    mouth = measure_mouth(load_rig(path))
    assert mouth.rest_m == pytest.approx(0.001 + gap_m, abs=1e-6)
    assert f"{1e3 * mouth.gaps_m['PP']:.1f} mm apart" in out


def test_a_mouth_of_another_size_and_a_jaw_that_does_nothing_are_told(tmp_path, capsys):
    rig = tiny_rig()
    path = write_meshes(tmp_path / "a.glb", [mesh_of(rig, rig.names)])
    assert "give --scale" not in run(capsys, path)[1]
    assert "give --scale" in run(capsys, path, "--scale", "100")[1]
    assert "0.000" not in run(capsys, path, "--scale", "1")[1].split("mouth:")[1]
    still = tiny_rig()
    still.deltas[still.names.index("jawOpen")] *= 0.02
    assert "jawOpen hardly parts the lips" in run(capsys, save_rig(still, tmp_path / "b.npz"))[1]


def test_the_picture_shows_eight_different_mouths(tmp_path, capsys):
    path = save_rig(build_head(), tmp_path / "head.npz")
    picture = tmp_path / "mouth.png"
    status, out, _ = run(capsys, path, "-o", picture)
    assert status == 0 and f"drawn: {picture}" in out
    assert_cells_differ(picture, 2, 4)


def test_the_sheet_shows_25_different_expressions(tmp_path, capsys):
    path = save_rig(build_head(), tmp_path / "head.npz")
    sheet = tmp_path / "moods.png"
    status, out, _ = run(capsys, path, "--expressions", sheet)
    assert status == 0 and f"drawn: {sheet}" in out
    assert_cells_differ(sheet, 5, 5)
    status, _, error = run(capsys, path, "--expressions", sheet, "-o", sheet)
    assert status == 2 and "give two names" in error


def assert_cells_differ(picture, row_count, column_count):
    pixels = np.asarray(Image.open(picture).convert("RGB"), dtype=np.int16)
    rows = np.array_split(np.arange(pixels.shape[0]), row_count)
    columns = np.array_split(np.arange(pixels.shape[1]), column_count)
    cells = [pixels[r[0] : r[-1], c[0] : c[-1]] for r in rows for c in columns]
    for first in range(len(cells)):
        for second in range(first):
            one, two = cells[first], cells[second]
            height, width = np.minimum(one.shape[:2], two.shape[:2])
            assert (np.abs(one[:height, :width] - two[:height, :width]) > 60).any(
                axis=2
            ).sum() > 40, (first, second)


def test_what_is_found_is_told_also_where_no_rig_can_be_made(tmp_path, capsys):
    rig = tiny_rig()
    names = ["smirk", "mouthSmile_L", "frown", "A33_Mouth_Roll_Upper", "x"]
    status, out, err = run(capsys, write_meshes(tmp_path / "a.glb", [mesh_of(rig, names)]))
    assert status == 2
    assert "A33_Mouth_Roll_Upper" in out and "jawOpen" in out.split("missing")[1]
    assert "no jawOpen shape" in err and "Traceback" not in err


def test_a_folder_of_objs(tmp_path, capsys, caplog):
    folder = tmp_path / "head"
    folder.mkdir()
    write_obj_folder(folder, tiny_rig(), 100.0)
    status, out, _ = run(capsys, folder)
    assert status == 0 and "JAWOPEN" in out and "files: 5 shapes" in out
    assert "50 mm wide" in out and "one unit taken as 0.01 m" in caplog.text


def test_the_table_of_names_is_printed(capsys):
    status, out, _ = run(capsys, "--names")
    assert status == 0
    for word in (*ARKIT_NAMES, "Brow_Drop_L", "Mouth_Funnel_Up_L", "viseme_aa", "Fcl_MTH_O"):
        assert word in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "no file given"),
        (["gone.glb"], "no such file"),
        (["{npz}", "-o", "mouth.jpg"], "expected a picture's name, such as mouth.png"),
        (["{npz}", "-o", "gone/mouth.png"], "there is no folder gone"),
        (["{npz}", "--scale", "0"], "expected the metres in one unit"),
        (["{npz}", "--scale", "nan"], "expected the metres in one unit"),
        (["{text}"], "found the ending '.txt'"),
    ],
)
def test_wrong_use_is_told_in_one_line(tmp_path, capsys, arguments, expected):
    npz, text = save_rig(tiny_rig(), tmp_path / "a.npz"), tmp_path / "a.txt"
    text.write_text("no rig")
    status, out, err = run(capsys, *(a.format(npz=npz, text=text) for a in arguments))
    assert status == 2 and not out and expected in err and err.count("\n") == 1
