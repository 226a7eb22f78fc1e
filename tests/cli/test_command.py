"""The command from end to end with a tiny model: files, refusals, exit codes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import soundfile

from checkout import ROOT
from dualtalker import animate
from dualtalker.arkit import ARKIT_NAMES, HEAD_NAMES
from dualtalker.cli.main import main
from dualtalker.evaluation import read_motion_csv
from dualtalker.files import RECORD_NAME
from dualtalker.rig import save_rig
from dualtalker.rig.robot_head import build_head
from made_glb import read_container


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "hello there.wav"
    rng = np.random.default_rng(0)
    soundfile.write(path, rng.uniform(-0.3, 0.3, (11025, 2)), 22050)  # half a second
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "deep" / "out"


def run(*arguments):
    return main([str(item) for item in arguments])


def read_csv(path):
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    return header, np.array(rows, dtype=float)


def test_animate_writes_curves_and_a_report(tiny, wav, out, capsys):
    assert run("animate", wav, "-o", out, "--model", tiny, "--fps", 60) == 0
    header, rows = read_csv(out / "hello there.csv")
    assert header == ["time_s", *ARKIT_NAMES]
    expected = animate(wav, model=tiny, fps=60)
    np.testing.assert_allclose(rows[:, 0], np.arange(30) / 60, atol=1e-6)
    np.testing.assert_allclose(rows[:, 1:], expected.weights, atol=1e-5)
    report = json.loads((out / "hello there.json").read_text())
    assert report["model_sha256"] == expected.bundle.digest
    assert report["fps"] == 60 and report["frames"] == 30 and report["duration_s"] == 0.5
    assert report["backend"].startswith("onnxruntime")
    assert report["lookahead_s"] == pytest.approx(0.08)
    assert report["latency_s"] > report["lookahead_s"]
    assert 0 < report["real_time_factor"] < 50
    assert report["source"] == str(wav) and report["versions"]["numpy"] == np.__version__
    assert set(report["counters"].values()) == {0}
    printed = capsys.readouterr().out
    assert "30 frames at 60 fps" in printed and str(out / "hello there.csv") in printed
    written = {path.name for path in out.iterdir()} - {RECORD_NAME}
    assert written == {"hello there.csv", "hello there.json"}


def test_animate_loads_nothing_that_draws(tiny, wav, out):
    """It takes as long to import as some seconds of speech to animate."""
    arguments = ["animate", str(wav), "-o", str(out), "--model", str(tiny)]
    code = (
        "import sys; from dualtalker.cli.main import main\n"
        f"assert main({arguments!r}) == 0\n"
        "heavy = {f'dualtalker.{wing}' for wing in ('rig', 'drawing', 'outputs', 'display')}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert (out / "hello there.csv").exists()


def test_several_recordings_at_once(tiny, wav, out):
    second = wav.with_name("second.flac")
    soundfile.write(second, np.zeros(800), 8000)
    assert run("animate", wav, second, "-o", out, "--model", tiny) == 0
    assert len(read_csv(out / "second.csv")[1]) == 3
    assert len(read_csv(out / "hello there.csv")[1]) == 15


def test_idle_motion_can_be_switched_off(tiny, wav, out):
    silence = wav.with_name("silence.wav")
    soundfile.write(silence, np.zeros(16000 * 4), 16000)
    assert run("animate", silence, "-o", out, "--model", tiny, "--no-idle-motion") == 0
    still = read_csv(out / "silence.csv")[1][5:, 1:]
    assert np.ptp(still, axis=0).max() < 1e-3
    assert run("animate", silence, "-o", out, "--model", tiny, "--seed", 3) == 0
    assert np.ptp(read_csv(out / "silence.csv")[1][5:, 1:], axis=0).max() > 0.5


def test_head_motion_adds_three_columns(tiny, wav, out):
    plain = ["animate", wav, "-o", out, "--model", tiny]
    assert run(*plain) == 0
    names, rows = read_csv(out / "hello there.csv")
    assert len(names) == 53
    assert run(*plain, "--head-motion") == 0
    more, moved = read_csv(out / "hello there.csv")
    assert more == [*names, *HEAD_NAMES]
    np.testing.assert_array_equal(moved[:, :53], rows)
    assert 0 < np.abs(moved[:, 53:]).max() < 0.3
    assert json.loads((out / "hello there.json").read_text())["names"] == more[1:]
    assert run(*plain, "--no-prosody") == 0
    assert run(*plain, "--no-idle-motion", "--head-motion") != 0


def test_the_motion_as_live_link_face_writes_it(tiny, wav, out, capsys):
    assert run("animate", wav, "-o", out, "--model", tiny, "--format", "livelink") == 0
    times_s, weights = read_motion_csv(out / "hello there.csv")
    expected = animate(wav, model=tiny, fps=60)  # the app's rate, where none is given
    np.testing.assert_array_equal(weights.astype(np.float32), expected.weights)
    np.testing.assert_allclose(times_s, expected.times_s, atol=1e-9)
    assert (out / "hello there.csv").read_text().startswith("Timecode,BlendShapeCount,")
    assert json.loads((out / "hello there.json").read_text())["fps"] == 60
    before = {path: path.read_bytes() for path in out.iterdir()}
    assert run("animate", wav, "-o", out, "--format", "livelink", "--fps", 29.97) == 2
    assert "--fps 60" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_the_face_itself_moving(tiny, wav, out):
    face = save_rig(build_head(), wav.with_name("face.glb"))
    arguments = ["animate", wav, "-o", out, "--model", tiny, "--format", "glb"]
    for rig in ([], ["--rig", face]):
        assert run(*arguments, *rig) == 0
        written = {path.name for path in out.iterdir()} - {RECORD_NAME}
        assert written == {"hello there.glb", "hello there.json"}
        document, _ = read_container(out / "hello there.glb")
        [animation] = document["animations"]
        assert animation["extras"] == {"sound": "hello there.wav", "fps": 30.0}
        [sampler] = animation["samplers"]
        assert document["accessors"][sampler["input"]]["count"] == 15
        assert document["accessors"][sampler["output"]]["count"] == 15 * 52


def test_vertices_of_the_robot_head(tiny, wav, out):
    assert run("animate", wav, "-o", out, "--model", tiny, "--vertices", "--fps", 25) == 0
    with np.load(out / "hello there.npz", allow_pickle=False) as arrays:
        vertices, triangles, fps = arrays["vertices"], arrays["triangles"], arrays["fps"]
    rig = build_head()
    assert vertices.shape == (13, *rig.neutral.shape) and vertices.dtype == np.float32
    np.testing.assert_array_equal(triangles, rig.triangles)
    assert fps == 25
    weights = animate(wav, model=tiny, fps=25).weights
    np.testing.assert_allclose(vertices, rig.pose(weights), atol=1e-6)


def test_video_of_the_robot_head(tiny, wav, out):
    import av

    assert run("animate", wav, "-o", out, "--model", tiny, "--video", "--fps", 10) == 0
    with av.open(str(out / "hello there.mp4")) as container:
        pictures = list(container.decode(video=0))
        assert container.streams.audio
    assert len(pictures) == 5


def test_two_recordings_of_one_name_are_refused_before_any_work(tiny, wav, out, capsys):
    other = wav.with_name("HELLO there.flac")
    soundfile.write(other, np.zeros(800), 8000)
    assert run("animate", wav, other, "-o", out, "--model", tiny) == 2
    error = capsys.readouterr().err
    assert "hello there.wav" in error and "HELLO there.flac" in error
    assert not out.exists()


def test_a_missing_rig_is_refused(tiny, wav, out, capsys):
    missing = wav.with_name("no.glb")
    assert run("animate", wav, "-o", out, "--model", tiny, "--rig", missing, "--video") == 2
    assert "no.glb" in capsys.readouterr().err


def test_wrong_use_exits_with_2_and_help_with_0(capsys):
    for arguments in (["bogus"], ["animate"], ["speak"], ["animate", "a.wav", "-o", "x", "--bad"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
    for arguments in (["--help"], ["animate", "--help"], ["speak", "--help"], ["info", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0
    assert "espeak-ng" in capsys.readouterr().out


def test_no_recording_is_told(out, capsys):
    assert run("animate", "-o", out) == 2
    assert "dualtalker animate speech.wav" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="needs the [speech] extra")
def test_speak_writes_sound_and_curves(tiny, out):
    text = "Hello, I am a robot."
    assert run("speak", text, "-o", out, "--model", tiny, "--rate-wpm", 200) == 0
    samples, rate_hz = soundfile.read(out / "speech.wav")
    assert np.abs(samples).max() > 0.05
    rows = read_csv(out / "speech.csv")[1]
    assert len(rows) == int(np.ceil(len(samples) / rate_hz * 30))
    report = json.loads((out / "speech.json").read_text())
    assert report["text"] == text and report["voice"] == "en-us"


@pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="needs the [speech] extra")
@pytest.mark.parametrize("arguments", [["", "--voice", "en-us"], ["Hi", "--voice", "klingonish"]])
def test_speech_that_cannot_be_made_is_told(tiny, out, capsys, arguments):
    assert run("speak", *arguments, "-o", out, "--model", tiny) == 2
    assert capsys.readouterr().err.startswith("dualtalker: error: ")


def test_speak_takes_no_path_for_a_name(tiny, out, capsys):
    assert run("speak", "Hi", "-o", out, "--model", tiny, "--name", "../x") == 2
    assert "file name" in capsys.readouterr().err


def test_info_tells_what_a_bug_report_needs(capsys):
    assert run("info", "--json") == 0
    info = json.loads(capsys.readouterr().out)
    assert info["backends"]["onnxruntime"] == "available"
    assert info["backends"]["tensorrt"].startswith("not available")
    assert info["packages"]["numpy"] == np.__version__
    assert {"default_model", "ros", "speech", "platform", "python"} <= set(info)
    assert run("info") == 0
    assert "onnxruntime" in capsys.readouterr().out


def test_the_module_runs_as_a_program():
    """In a process of its own: exit code and stderr are those of a shell."""
    command = [sys.executable, "-m", "dualtalker.cli.main", "animate", "none.wav", "-o", "x"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"}
    )
    assert done.returncode == 2 and done.stdout == ""
    assert "Traceback" not in done.stderr and "error" in done.stderr


def test_what_is_odd_about_a_recording_is_told_once(tiny, tmp_path, out, caplog):
    """Though it is read twice."""
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.full((16000, 2), (1.5, -1.5)), 16000, subtype="FLOAT")
    assert run("animate", path, "-o", out, "--model", tiny) == 0
    told = [record.getMessage() for record in caplog.records]
    assert sum("clipped" in text for text in told) == sum("cancel" in text for text in told) == 1
    assert sum("it is silent" in text for text in told) == 1


def test_animate_loads_only_what_it_needs(wav, out):
    """Each of these takes as long to import as some seconds of speech to animate."""
    code = (
        "import sys, numpy, tyro\n"
        "own = set(sys.modules)\n"  # numpy 1.24 and tyro 0.9 load some of it whoever asks
        "from dualtalker.cli.main import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "heavy = {'asyncio', 'multiprocessing', 'numpy.fft', 'scipy', 'tqdm', 'typeguard'}\n"
        "heavy |= {'dualtalker.evaluation.table', 'dualtalker.rig'}\n"
        "found = heavy & set(sys.modules) - own\n"
        "assert not found, found"
    )
    command = [sys.executable, "-c", code, "animate", str(wav), "-o", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
