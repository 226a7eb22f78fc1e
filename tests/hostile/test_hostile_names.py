"""Floods of names and expressions in rigs, and tables of motion whose columns make no sense."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
import soundfile

from dualtalker.errors import MotionError
from dualtalker.evaluation import read_motion_csv
from limited_process import refuse
from made_glb import write_container

COUNT = 49_990


def write_names(path, names, extensions=None):
    document = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [
            {
                "extras": {"targetNames": names},
                "primitives": [{"attributes": {"POSITION": 0}, "targets": [{}] * len(names)}],
            }
        ],
    }
    return write_container(path, document | ({"extensions": extensions} if extensions else {}))


FLOODS = {
    "long": [f"shape {index} " + "x_y." * 60 for index in range(COUNT)],
    "nested": ["Jaw_Open_" * 20 + str(index) for index in range(COUNT)],
    "alike": [f"m{index}.jawOpen" for index in range(COUNT)],
    "controls": ["\x1b[2J\x07"] * COUNT,
    "blank": [""] * COUNT,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_floods_of_names_are_refused(tmp_path, kind):
    path = write_names(tmp_path / "a.glb", FLOODS[kind])
    said = refuse("dualtalker", "rig", path, folder=tmp_path)
    assert "\x1b" not in said and len(said.splitlines()[-1]) < 2000
    assert str(path) in said.splitlines()[-1]


def test_floods_of_expressions_are_refused(tmp_path):
    bind = {"node": 0, "index": 0, "weight": 1}
    custom = {f"jawOpen.{k:05d}": {"morphTargetBinds": [bind] * 8} for k in range(20_000)}
    extensions = {"VRMC_vrm": {"expressions": {"custom": custom}}}
    path = write_names(tmp_path / "a.vrm", ["x"], extensions)
    assert str(path) in refuse("dualtalker", "rig", path, folder=tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        "timeCode," + ",".join(f"m{index}.jawOpen" for index in range(50_000)),
        "timeCode," + ",".join(["jawOpen"] * 50_000),
        "timeCode," + "a_" * 500_000,
        "," * 50_000,
    ],
    ids=["meshes", "repeated", "long", "empty"],  # pytest 8.0 gives the id to every process
)
def test_tables_whose_columns_make_no_sense_are_refused(tmp_path, header):
    width = header.count(",")
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n0{',0' * width}\n1{',1' * width}\n")
    (tmp_path / "speech.wav").write_bytes(silence())
    arguments = ("bag", tmp_path / "speech.wav", path, "-o", tmp_path / "a.mcap")
    said = refuse("dualtalker", *arguments, folder=tmp_path)
    assert "a.csv" in said and len(said) < 20_000


@pytest.mark.parametrize("kind", ["pipe", "folder", "missing", "large"])
def test_what_is_no_table_is_refused_without_waiting(tmp_path, kind):
    path = tmp_path / "a.csv"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(1 << 31)
    with pytest.raises(MotionError, match=r"a\.csv"):
        read_motion_csv(path)


def silence() -> bytes:
    """A second of silence, as a wav file."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(16000), 16000, format="WAV")
    return file.getvalue()
