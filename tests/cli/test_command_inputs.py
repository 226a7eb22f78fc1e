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


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.95])
def test_truncated_recordings(tiny, tmp_path, out, capsys, suffix, kept):
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, np.tile(TONE, 4), 16000)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert path.name in refused(capsys, "animate", path, "-o", out, "--model", tiny)
    assert not out.exists()


@pytest.mark.parametrize("suffix", ["flac", "ogg"])
@pytest.mark.parametrize("share", [0.4, 0.7])
def test_damaged_recordings(tiny, tmp_path, out, capsys, suffix, share):
    path = tmp_path / f"damaged.{suffix}"
    rng = np.random.default_rng(0)
    soundfile.write(path, np.tile(TONE, 4) + 0.1 * rng.standard_normal(64000), 16000)
    content = bytearray(path.read_bytes())
    at = int(len(content) * share)
    content[at : at + 200] = bytes(200)
    path.write_bytes(content)
    assert path.name in refused(capsys, "animate", path, "-o", out, "--model", tiny)
    assert not out.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none(tiny, tmp_path, out, capsys, value):
    path = tmp_path / "odd.wav"
    soundfile.write(path, np.array([0.0, value, 0.1]), 16000, subtype="FLOAT")
    assert "NaN or infinite" in refused(capsys, "animate", path, "-o", out, "--model", tiny)


def test_a_header_alone(tiny, tmp_path, out, capsys):
    path = tmp_path / "bare.wav"
    soundfile.write(path, np.zeros(0), 16000)
    assert "no samples" in refused(capsys, "animate", path, "-o", out, "--model", tiny)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 44100, 96000, 192000])
def test_every_usual_rate_is_taken(tiny, tmp_path, out, rate_hz):
    soundfile.write(tmp_path / "a.wav", np.resize(TONE, rate_hz // 2), rate_hz)
    assert run("animate", tmp_path / "a.wav", "-o", out, "--model", tiny) == 0
    assert json.loads((out / "a.json").read_text())["frames"] == 15


@pytest.mark.parametrize("rate_hz", [4000, 7999, 192001, 384000])
def test_rates_out_of_range(tiny, tmp_path, out, capsys, rate_hz):
    soundfile.write(tmp_path / "a.wav", TONE, rate_hz)
    error = refused(capsys, "animate", tmp_path / "a.wav", "-o", out, "--model", tiny)
    assert f"{rate_hz} Hz; expected 8000 to 192000" in error and "ffmpeg" in error


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_width_and_channel_count_gives_the_same_face(tiny, tmp_path, out, subtype, channels):
    soundfile.write(tmp_path / "plain.wav", TONE, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "a.wav", np.tile(TONE[:, None], channels), 16000, subtype=subtype)
    paths = [tmp_path / "plain.wav", tmp_path / "a.wav"]
    assert run("animate", *paths, "-o", out, "--model", tiny) == 0
    faces = [np.loadtxt(out / f"{path.stem}.csv", delimiter=",", skiprows=1) for path in paths]
    np.testing.assert_allclose(faces[1], faces[0], atol=0.02 if subtype == "PCM_U8" else 1e-3)


def test_a_bad_recording_among_good_ones_stops_all_before_the_first(
    tiny, wav, tmp_path, out, capsys
):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    assert "bad.wav" in refused(capsys, "animate", wav, bad, "-o", out, "--model", tiny)
    assert not out.exists()


def test_folders_and_pipes_are_called_so(tiny, tmp_path, out, capsys):
    os.mkfifo(tmp_path / "pipe.wav")
    pipe = refused(capsys, "animate", tmp_path / "pipe.wav", "-o", out, "--model", tiny)
    assert "not a regular file" in pipe
    assert "a folder" in refused(capsys, "animate", tmp_path, "-o", out, "--model", tiny)


@pytest.mark.parametrize(
    "field, value",
    [("lookahead_samples", 0), ("hop_samples", 160), ("kind", "windowed"), ("extra", 1)],
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
    "option, value",
    [("--smoothing-ms", "nan"), ("--smoothing-ms", "inf"), ("--fps", "inf"), ("--seed", "-7")],
)
def test_numbers_out_of_range(tiny, wav, out, capsys, option, value):
    error = refused(capsys, "animate", wav, "-o", out, "--model", tiny, option, value)
    assert option.lstrip("-").split("-")[0] in error and "expected" in error


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
