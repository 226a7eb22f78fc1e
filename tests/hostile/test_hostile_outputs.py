"""Commands whose outputs have the names of a user's own files: refused, and all is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from dualtalker.files import RECORD_NAME
from dualtalker.rig import save_rig
from limited_process import refuse, run_limited
from tiny_bundle import make_tiny_bundle
from tiny_rig import tiny_rig

PRECIOUS = b"a user's own"


@pytest.fixture
def speech(tmp_path) -> Path:
    path = tmp_path / "speech.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(8000)), 16000)
    return path


def occupy(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PRECIOUS)
    return path


@pytest.mark.parametrize("kind", ["csv", "json", "npz", "mp4"])
def test_animate_and_speak_refuse(tmp_path, speech, kind):
    theirs = occupy(tmp_path / "out" / f"speech.{kind}")
    options = ["-o", tmp_path / "out", "--vertices", "--video"]
    said = refuse("dualtalker", "animate", speech, *options, folder=tmp_path)
    assert str(theirs) in said and "move it away" in said
    refuse("dualtalker", "speak", "Hello.", *options, folder=tmp_path)
    assert theirs.read_bytes() == PRECIOUS


def test_speak_refuses_a_recording_of_its_name(tmp_path, speech):
    before = speech.read_bytes()
    said = refuse("dualtalker", "speak", "Hello.", "-o", tmp_path, folder=tmp_path)
    assert "speech.wav" in said and speech.read_bytes() == before


def test_a_second_run_writes_over_the_first_unless_it_was_edited(tmp_path, speech):
    out = tmp_path / "out"
    for fps in ("30", "50"):
        arguments = ("animate", speech, "-o", out, "--fps", fps, "--vertices")
        status, said = run_limited("dualtalker", *arguments, folder=tmp_path)
        assert status == 0, said
    lines = (out / "speech.csv").read_text().splitlines()
    assert len(lines) == 26
    edited = "\n".join([*lines[:9], *lines[10:]]) + "\n"
    (out / "speech.csv").write_text(edited)
    refuse("dualtalker", "animate", speech, "-o", out, folder=tmp_path)
    assert (out / "speech.csv").read_text() == edited


def test_inputs_are_no_outputs(tmp_path, speech):
    """Also where the input is a file that an earlier command wrote there."""
    out = tmp_path / "out"
    status, said = run_limited("dualtalker", "animate", speech, "-o", out, folder=tmp_path)
    assert status == 0, said
    model = make_tiny_bundle(out)
    for suffix in (".onnx", ".json"):
        (out / "speech").with_suffix(suffix).unlink(missing_ok=True)
        model.with_suffix(suffix).rename((out / "speech").with_suffix(suffix))
    sidecar = (out / "speech.json").read_bytes()
    with (out / RECORD_NAME).open("a") as record:  # as if it were ours
        import hashlib

        record.write(f"{hashlib.sha256(sidecar).hexdigest()}  speech.json\n")
    arguments = ("animate", speech, "-o", out, "--model", out / "speech.onnx")
    said = refuse("dualtalker", *arguments, folder=tmp_path)
    assert "is read, and would be written over" in said
    assert (out / "speech.json").read_bytes() == sidecar


@pytest.mark.parametrize("name", ["report.html", "report.json"])
def test_evaluate_refuses(tmp_path, speech, name):
    pytest.importorskip("rosbags")
    bag = tmp_path / "speech.mcap"
    status, said = run_limited("dualtalker", "bag", speech, bag, folder=tmp_path)
    assert status == 0, said
    theirs = occupy(tmp_path / "out" / name)
    refuse("dualtalker", "evaluate", bag, "-o", tmp_path / "out", folder=tmp_path)
    assert theirs.read_bytes() == PRECIOUS


def test_other_commands_refuse(tmp_path):
    pytest.importorskip("onnx")
    theirs = occupy(tmp_path / "mine.json")
    model = make_tiny_bundle(tmp_path)
    commands = (
        ("compare", model, "--json", theirs),
        ("benchmark", model, "--json", theirs),
        ("benchmark", model, "--plot", theirs),
        ("convert", model, "-o", tmp_path / "mine.onnx"),
    )
    for command in commands:
        refuse("dualtalker", "engine", *command, folder=tmp_path)
    picture = occupy(tmp_path / "mine.png")
    save_rig(tiny_rig(False), tmp_path / "rig.npz")
    refuse("dualtalker", "rig", tmp_path / "rig.npz", "-o", picture, folder=tmp_path)
    assert picture.read_bytes() == PRECIOUS
    assert theirs.read_bytes() == PRECIOUS


@pytest.mark.parametrize(
    "name", ["bag/notes.txt", "speech.wav", "curves.csv", "curves.png", "faces.png", "face.mp4"]
)
def test_the_demo_refuses(tmp_path, name):
    pytest.importorskip("rclpy")
    pytest.importorskip("rosbags")
    theirs = occupy(tmp_path / "out" / name)
    said = refuse("dualtalker_ros.demo", "-o", tmp_path / "out", folder=tmp_path)
    assert str(theirs) in said
    assert theirs.read_bytes() == PRECIOUS


def test_the_demo_knows_its_log(tmp_path, speech):
    pytest.importorskip("rclpy")
    pytest.importorskip("rosbags")
    theirs = occupy(tmp_path / "out" / "nodes.log")
    arguments = ("--wav", speech, "-o", tmp_path / "out")
    assert "nodes.log" in refuse("dualtalker_ros.demo", *arguments, folder=tmp_path)
    theirs.write_bytes(b"dualtalker_ros.demo: what the nodes say\nof a run that was killed\n")
    occupy(tmp_path / "out" / "face.mp4")
    assert "face.mp4" in refuse("dualtalker_ros.demo", *arguments, folder=tmp_path)
