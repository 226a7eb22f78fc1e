"""Everything bad that can be given to the command: one line that helps, code 2, no traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import soundfile

from checkout import ROOT
from dualtalker.cli.main import main
from dualtalker.rig import save_rig
from tiny_bundle import make_tiny_bundle
from tiny_rig import parts, tiny_rig, write_obj, write_obj_folder

TONE = 0.4 * np.sin(2 * np.pi * 300 * np.arange(16000) / 16000)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def wav(tmp_path):
    soundfile.write(tmp_path / "good.wav", TONE[:3200], 16000)
    return tmp_path / "good.wav"


def run(*arguments):
    return main([str(item) for item in arguments])


def refused(capsys, *arguments):
    """Run the command; return its error, after checking that it is one."""
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("dualtalker: error: ") and error.count("\n") == 1
    assert "[Errno" not in error and "Traceback" not in error
    return error


def spoil(path, kind):
    """Write a recording that is none, of a kind that `REFUSED` names."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("empty", "noise"):
        path.write_bytes(bytes(range(256)) * 10 if kind == "noise" else b"")
    elif kind != "missing":
        sound = {"bare": TONE[:0], "nan": np.array([0.0, np.nan, 0.1])}.get(kind, TONE)
        rate_hz = 4000 if kind == "slow" else 16000
        soundfile.write(path, sound, rate_hz, subtype="FLOAT")
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:30000])


REFUSED = {
    "missing": "no such file",
    "empty": "not readable as audio",
    "noise": "not readable as audio",
    "cut": "truncated",
    "bare": "no samples",
    "nan": "NaN or infinite",
    "slow": "4000 Hz; expected 8000 to 192000",
    "pipe": "not a regular file",
    "folder": "a folder",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_recordings_that_are_none(tiny, tmp_path, out, capsys, kind):
    path = tmp_path / f"{kind}.wav"
    spoil(path, kind)
    error = refused(capsys, "animate", path, "-o", out, "--model", tiny)
    assert path.name in error and REFUSED[kind] in error
    assert not out.exists()


def test_every_width_and_channel_count_gives_the_same_face(tiny, tmp_path, out):
    kinds = [("FLOAT", 1), ("DOUBLE", 1), ("PCM_32", 2), ("PCM_24", 6), ("PCM_16", 2)]
    names = [subtype for subtype, _ in kinds]
    for subtype, channels in kinds:
        sound = np.tile(TONE[:, None], channels)
        soundfile.write(tmp_path / f"{subtype}.wav", sound, 16000, subtype=subtype)
    paths = [tmp_path / f"{name}.wav" for name in names]
    assert run("animate", *paths, "-o", out, "--model", tiny) == 0
    faces = [np.loadtxt(out / f"{name}.csv", delimiter=",", skiprows=1) for name in names]
    for face in faces[1:]:
        np.testing.assert_allclose(face, faces[0], atol=1e-3)


def test_every_usual_rate_is_taken(tiny, tmp_path, out):
    rates_hz = [8000, 11025, 44100, 96000, 192000]
    for rate_hz in rates_hz:
        soundfile.write(tmp_path / f"{rate_hz}.wav", np.resize(TONE, rate_hz // 2), rate_hz)
    paths = [tmp_path / f"{rate_hz}.wav" for rate_hz in rates_hz]
    assert run("animate", *paths, "-o", out, "--model", tiny) == 0
    for rate_hz in rates_hz:
        assert json.loads((out / f"{rate_hz}.json").read_text())["frames"] == 15


def test_a_bad_recording_among_good_ones_stops_all_before_the_first(
    tiny, wav, tmp_path, out, capsys
):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    assert "bad.wav" in refused(capsys, "animate", wav, bad, "-o", out, "--model", tiny)
    assert not out.exists()


@pytest.mark.parametrize(
    "field, value",
    [("hop_samples", 160), ("extra", 1)],
)
def test_a_lying_sidecar(tiny, wav, tmp_path, out, capsys, field, value):
    for suffix in (".onnx", ".json"):
        shutil.copy(tiny.with_suffix(suffix), tmp_path / f"lie{suffix}")
    record = json.loads((tmp_path / "lie.json").read_text()) | {field: value}
    (tmp_path / "lie.json").write_text(json.dumps(record))
    error = refused(capsys, "animate", wav, "-o", out, "--model", tmp_path / "lie.onnx")
    assert "lie.json: field " in error and "python -m engines.export_onnx" in error


@pytest.mark.parametrize("name", [".", "/", "", "face.v2", "face.engine", "..", "face"])
def test_models_that_are_none(wav, tmp_path, out, capsys, name, monkeypatch):
    make_tiny_bundle(tmp_path, name="face")
    monkeypatch.chdir(tmp_path)
    error = refused(capsys, "animate", wav, "-o", out, "--model", name)
    assert "expected NAME.onnx" in error


def test_a_rig_folder_with_a_wrong_vertex_count(tiny, wav, tmp_path, out, capsys):
    folder = tmp_path / "face"
    folder.mkdir()
    write_obj_folder(folder, tiny_rig())
    write_obj(folder / "jawOpen.obj", tiny_rig().neutral[:-1], "")
    for options in ([], ["--vertices"]):
        error = refused(
            capsys, "animate", wav, "-o", out, "--model", tiny, "--rig", folder, *options
        )
        assert "jawOpen.obj: found 44 vertices; expected 45" in error
    assert not out.exists()


def test_an_npz_rig_with_a_wrong_vertex_count(tiny, wav, tmp_path, out, capsys):
    arrays = parts(tiny_rig())
    arrays["deltas"] = arrays["deltas"][:, :-1]
    path = tmp_path / "face.npz"
    np.savez(path, **{key: value for key, value in arrays.items() if key != "name"})
    error = refused(capsys, "animate", wav, "-o", out, "--model", tiny, "--rig", path, "--video")
    assert "deltas: found float32 [5, 44, 3]" in error


def test_a_rig_of_no_size_is_refused_before_it_is_drawn(tiny, wav, tmp_path, out, capsys):
    arrays = parts(tiny_rig())
    arrays["neutral"] *= 0
    path = tmp_path / "point.npz"
    np.savez(path, **{key: value for key, value in arrays.items() if key != "name"})
    error = refused(capsys, "animate", wav, "-o", out, "--model", tiny, "--rig", path, "--video")
    assert "spans 0 m" in error


def test_a_good_rig_without_use_is_told(tiny, wav, tmp_path, out, caplog):
    rig = save_rig(tiny_rig(), tmp_path / "face.npz")
    assert run("animate", wav, "-o", out, "--model", tiny, "--rig", rig) == 0
    assert "changes nothing without --vertices or --video" in caplog.text
    assert run("animate", wav, "-o", out, "--model", tiny, "--rig", rig, "--vertices") == 0
    with np.load(out / "good.npz", allow_pickle=False) as arrays:
        assert arrays["vertices"].shape == (6, 45, 3)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--fps", "0"),
        ("--fps", "121"),
        ("--fps", "nan"),
        ("--engine", "tensorrt"),
        ("--engine", "cuda"),
        ("--seed", "-1"),
        ("--smoothing-ms", "-5"),
        ("--smoothing-ms", "inf"),
    ],
)
def test_options_out_of_range(tiny, wav, out, capsys, option, value):
    error = refused(capsys, "animate", wav, "-o", out, "--model", tiny, option, value)
    assert (value if option == "--engine" else option.lstrip("-").split("-")[0]) in error


def test_names_that_the_system_refuses(tiny, wav, tmp_path, out, capsys):
    long = tmp_path / ("x" * 300)
    assert "file name too long; give" in refused(
        capsys, "animate", wav, "-o", long, "--model", tiny
    )
    (tmp_path / "file").write_text("")
    error = refused(capsys, "animate", wav, "-o", tmp_path / "file" / "x", "--model", tiny)
    assert "give another folder with -o" in error


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\nb", "a\0b", "\udcff"])
def test_names_that_are_no_file_name(tiny, out, capsys, name):
    error = refused(capsys, "speak", "Hi", "-o", out, "--model", tiny, "--name", name)
    assert "plain file name" in error
    assert not out.exists()


@pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="needs the [speech] extra")
@pytest.mark.skipif(sys.platform == "win32", reason="arguments are bytes only on POSIX")
def test_a_text_that_is_no_utf_8(tiny, out):
    """In a process of its own, with the bytes as a shell gives them."""
    command = [sys.executable, "-m", "dualtalker", "speak", b"\xff", "-o", str(out)]
    done = subprocess.run([*command, "--model", str(tiny)], cwd=ROOT, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.startswith(b"dualtalker: error: the text to speak is not valid Unicode")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="file names are bytes only on POSIX")
def test_a_file_name_that_is_no_utf_8(tiny, wav, out):
    odd = os.fsencode(wav.parent) + b"/\xff.wav"
    os.rename(wav, odd)
    command = [sys.executable, "-m", "dualtalker.cli.main", "animate", odd, "-o", str(out)]
    done = subprocess.run([*command, "--model", str(tiny)], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"\xff.csv" in os.listdir(os.fsencode(out))
