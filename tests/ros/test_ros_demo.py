"""The demo's road from a recording to tables and pictures, and the measures it prints."""

from __future__ import annotations

import csv
import os
import pty
import signal
import subprocess
import sys

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_NAMES

pytest.importorskip("rosbags", reason="no rosbags here; `make test` installs it")

from dualtalker_ros.demo.pictures import choose_moments
from dualtalker_ros.demo.recording import Recording, read_recording
from face_viewers import join, read_frames, run

FPS = 30.0


def test_moments_of_the_sheet():
    times_s = np.arange(60) / FPS
    weights = np.linspace(0, 1, 60, dtype=np.float32)[:, None] * np.ones(52, np.float32)
    recording = Recording(np.zeros(32000, np.float32), 16000, FPS, times_s, weights, {})
    marks = [(i / 20, f"p{i}") for i in range(40)]
    times_s, labels = choose_moments(recording, marks)
    assert labels[0] == "p0" and labels[-1] == "p39" and len(labels) == 12
    assert (np.diff(times_s) > 0).all()
    times_s, labels = choose_moments(recording, [])
    assert len(times_s) == len(labels) == 12
    assert 0 <= times_s[0] and times_s[-1] < 2.0
    assert (np.diff(times_s) > 0).all()


SHOW = """
import sys
import numpy as np
from dualtalker_ros.demo.page import is_watched, show_recording
from dualtalker_ros.demo.recording import Recording

if not is_watched():
    sys.exit("nobody watches")
times_s = np.arange(90) / 30
weights = np.full((90, 52), 0.25, np.float32)
show_recording(Recording(np.zeros(48000, np.float32), 16000, 30.0, times_s, weights, {}))
"""


def test_at_a_terminal_the_demo_ends_in_a_page_that_talks():
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SHOW], stdin=end, stdout=subprocess.PIPE, text=True
    )
    try:
        lines = iter(process.stdout.readline, "")
        address = next(line for line in lines if "the face:" in line)
        assert "audio=1" in address

        async def look():
            viewer, hello = await join(7652, "?audio=1")
            assert hello["fps"] == 30.0
            seen = await read_frames(viewer, 60)
            assert {frame.kind for frame in seen} == {1, 2}
            assert any(frame.values[0] == 0.25 for frame in seen if frame.kind == 1)

        run(look)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
        os.close(end)


@pytest.mark.parametrize(("once", "terminal"), [("1", True), ("", False)])
def test_the_demo_ends_where_nobody_watches(once, terminal):
    master, end = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        stdin=end if terminal else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "DEMO_ONCE": once},
        timeout=60,
    )
    os.close(master)
    os.close(end)
    assert done.returncode == 1 and "nobody watches" in done.stderr


@pytest.fixture(scope="module")
def folder(ros, ros_domain, tiny, tmp_path_factory):
    """Results of the demo on a second of stereo noise at 44.1 kHz."""
    import soundfile

    folder = tmp_path_factory.mktemp("demo")
    noise = np.random.default_rng(0).uniform(-0.7, 0.7, (44100, 2))
    soundfile.write(folder / "my own: voice.wav", noise, 44100)
    options = ["--wav", str(folder / "my own: voice.wav"), "--fps", "60", "--model", str(tiny)]
    command = [sys.executable, "-m", "dualtalker_ros.demo", *options, "-o", str(folder / "out")]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out", done.stdout


def test_demo_prints_its_table_and_paths(folder):
    out, printed = folder
    for word in ("frame rate", "jitter p50 / p99", "beyond it p50 / p99", "frames missing"):
        assert word in printed
    for name in ("bag", "curves.csv", "curves.png", "faces.png", "face.mp4"):
        assert str(out / name) in printed
        assert (out / name).exists()


def test_demo_records_every_frame(folder):
    recording = read_recording(folder[0] / "bag")
    assert recording.rate_hz == 44100
    assert recording.duration_s == pytest.approx(1.0, abs=0.001)
    speech = recording.times_s < 1.0
    assert speech.sum() == pytest.approx(60, abs=2)
    assert recording.figures["missing frames"] == 0
    assert np.ptp(recording.weights) > 0.2


def test_demo_writes_curves_as_the_command_does(folder):
    rows = list(csv.reader((folder[0] / "curves.csv").open()))
    assert rows[0] == ["time_s", *ARKIT_NAMES]
    times_s = np.array([float(row[0]) for row in rows[1:]])
    np.testing.assert_allclose(np.diff(times_s), 1 / 60, atol=1e-4)


def test_demo_video_has_picture_and_sound(folder):
    av = pytest.importorskip("av")
    with av.open(str(folder[0] / "face.mp4")) as video:
        kinds = {stream.type for stream in video.streams}
        assert kinds == {"video", "audio"}
        assert float(video.streams.video[0].average_rate) == pytest.approx(60, rel=0.01)


def test_a_missing_recording_is_named(ros, tiny, tmp_path):
    options = ["--wav", "no.wav", "--model", str(tiny), "-o", str(tmp_path / "out")]
    command = [sys.executable, "-m", "dualtalker_ros.demo", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    told = "demo: no.wav: no such file; expected a wav, flac, ogg or mp3 recording"
    assert done.stderr.strip().splitlines()[-1] == told
    assert "Traceback" not in done.stderr


def test_a_missing_model_is_named(ros, tmp_path):
    options = ["--wav", "no.wav", "--model", "no.onnx", "-o", str(tmp_path / "out")]
    command = [sys.executable, "-m", "dualtalker_ros.demo", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("demo: no.onnx")
