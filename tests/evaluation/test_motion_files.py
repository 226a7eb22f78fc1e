"""Motion as other programs write it: Audio2Face, MediaPipe, names in other spellings, doubles."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.errors import MotionError
from dualtalker.evaluation import read_motion_csv, write_motion_csv

FRAMES = 6
SECONDS = np.arange(FRAMES) / 30
WEIGHTS = np.round(np.random.default_rng(4).random((FRAMES, 52)), 4)


def write(path: Path, columns: list[tuple[str, object]]) -> Path:
    """Columns may share a name."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([name for name, _ in columns])
        rows.writerows(zip(*(values for _, values in columns), strict=True))
    return path


def weights_of(path: Path, name: str) -> np.ndarray:
    return read_motion_csv(path)[1][:, ARKIT_INDEX[name]]


def capital(name: str) -> str:
    return name[0].upper() + name[1:]


@pytest.mark.parametrize("with_rows", [False, True], ids=["plain", "pandas"])
def test_audio2face_is_read(tmp_path, with_rows):
    """Its client writes with pandas, whose first column has no name and counts the rows."""
    columns = [("", range(FRAMES))] if with_rows else []
    columns += [("timeCode", SECONDS + 0.5)]
    columns += [(f"blendShapes.{capital(n)}", WEIGHTS[:, i]) for i, n in enumerate(ARKIT_NAMES)]
    columns += [("blendShapes.TongueTipUp", np.ones(FRAMES)), ("TongueIn", np.ones(FRAMES))]
    times_s, weights = read_motion_csv(write(tmp_path / "a.csv", columns))
    np.testing.assert_allclose(times_s, SECONDS + 0.5)
    np.testing.assert_allclose(weights, WEIGHTS)


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("time_s", SECONDS),
        ("timestamp_ms", SECONDS * 1000),
        ("timestamp", np.round(SECONDS * 1000)),
        ("time", SECONDS),
        ("timestamp_s", SECONDS),
    ],
)
def test_mediapipe_with_a_time_is_read(tmp_path, name, times):
    """Its 52 categories: a rest, and ARKit's without the tongue."""
    columns = [(name, times), ("_neutral", np.full(FRAMES, 0.9))]
    columns += [(n, WEIGHTS[:, ARKIT_INDEX[n]]) for n in sorted(ARKIT_NAMES[:-1])]
    times_s, weights = read_motion_csv(write(tmp_path / "a.csv", columns))
    np.testing.assert_allclose(times_s, SECONDS, atol=5e-4)
    np.testing.assert_allclose(weights[:, :-1], WEIGHTS[:, :-1])
    assert not weights[:, -1].any()


def test_what_the_numbers_of_a_time_are_taken_for_is_told(tmp_path, caplog):
    columns = [("frame", range(FRAMES)), ("timestamp", range(0, 33 * FRAMES, 33))]
    path = write(tmp_path / "a.csv", [*columns, ("jawOpen", WEIGHTS[:, 0])])
    np.testing.assert_allclose(read_motion_csv(path)[0], np.arange(FRAMES) * 0.033)
    assert "'timestamp' taken as ms" in caplog.text


@pytest.mark.parametrize(
    "name", ["jaw_open", "JAWOPEN", "Jaw Open", "A25_Jaw_Open", "face.jawOpen"]
)
def test_names_are_read_as_those_of_rigs(tmp_path, name):
    path = write(tmp_path / "a.csv", [("time_s", SECONDS), (name, WEIGHTS[:, 0])])
    np.testing.assert_allclose(weights_of(path, "jawOpen"), WEIGHTS[:, 0])


def test_halves_of_a_shape_are_averaged_and_both_sides_are_set_by_one_name(tmp_path):
    left, right, smile = WEIGHTS[:, :3].T
    columns = [("time_s", SECONDS), ("browInnerUp_L", left), ("browInnerUp_R", right)]
    columns += [("mouthSmile", smile), ("cheekPuff_L", left)]
    path = write(tmp_path / "a.csv", columns)
    np.testing.assert_allclose(weights_of(path, "browInnerUp"), (left + right) / 2)
    np.testing.assert_allclose(weights_of(path, "cheekPuff"), left)
    np.testing.assert_allclose(weights_of(path, "mouthSmileLeft"), smile)
    np.testing.assert_allclose(weights_of(path, "mouthSmileRight"), smile)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["jawOpen", "jawOpen"], "more than one column 'jawOpen'; keep one"),
        (["jawOpen", "JawOpen"], "'jawOpen' and 'JawOpen' both mean jawOpen"),
        (["jawOpen", "jawOpen.1"], "'jawOpen' and 'jawOpen.1' both mean jawOpen"),
        (["eyeBlink_L", "eyeBlinkLeft"], "'eyeBlink_L' and 'eyeBlinkLeft' both mean eyeBlinkLeft"),
        (["mouthSmileRight", "mouthSmile"], "both mean mouthSmileRight"),
        (["browInnerUp", "browInnerUp_L"], "both mean browInnerUp"),
        (["browInnerUp_L", "browInnerUp"], "both mean browInnerUp"),
        (["browInnerUp_L", "brow_inner_up_left"], "both mean browInnerUp"),
        (["jawOpen", "x_mouth_oh_c", "x_mouth_oh_c"], "more than one column 'x_mouth_oh_c'"),
        (["jawOpen", "time_s"], "more than one column 'time_s'"),
        (["jawOpen", "headYaw", "headYaw"], "more than one column 'headYaw'"),
        (["jawOpen", "aa"], "'aa' is no ARKit name"),
        (["jawOpen", ""], "'' is no ARKit name"),
    ],
)
def test_two_columns_of_one_meaning_are_refused_by_their_names(tmp_path, names, expected):
    columns = [("time_s", SECONDS), *((name, WEIGHTS[:, 0]) for name in names)]
    with pytest.raises(MotionError, match=expected):
        read_motion_csv(write(tmp_path / "a.csv", columns))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("frame,jawOpen", "first column is 'frame', expected time_s"),
        ("_neutral,jawOpen", "first column is '_neutral'"),
        (",jawOpen", "first column is ''"),
        ("timeCode,_neutral", "no column is an ARKit name"),
    ],
)
def test_a_table_without_time_or_shapes_is_refused(tmp_path, header, expected):
    (tmp_path / "a.csv").write_text(f"{header}\n0,0\n1,1\n")
    with pytest.raises(MotionError, match=expected):
        read_motion_csv(tmp_path / "a.csv")


def test_a_timecode_that_is_none_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("timeCode,jawOpen\nnow,0\nthen,1\n")
    with pytest.raises(MotionError, match=r"'now'.*a timecode is HH:MM:SS:FRAME, or a number"):
        read_motion_csv(tmp_path / "a.csv")


def test_our_own_table_is_read_as_it_was_written(tmp_path):
    head = np.zeros((FRAMES, 3))
    write_motion_csv(tmp_path / "a.csv", SECONDS, WEIGHTS, head)
    times_s, weights = read_motion_csv(tmp_path / "a.csv")
    np.testing.assert_allclose(times_s, SECONDS, atol=1e-6)
    np.testing.assert_allclose(weights, WEIGHTS, atol=1e-6)
