"""`dualtalker face`, `live` and `speak --play` as people start them."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import dualtalker
from dualtalker.cli.main import main
from dualtalker.evaluation import write_motion_csv
from face_viewers import join, read_frames, run

RATE_HZ = 16000
PATIENCE_S = 60.0


@pytest.fixture
def recording(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, RATE_HZ // 2)
    soundfile.write(tmp_path / "speech.wav", noise, RATE_HZ)
    return tmp_path / "speech.wav"


def start(*words):
    command = [sys.executable, "-m", "dualtalker", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def find_port(process) -> int:
    lines = iter(process.stdout.readline, "")
    address = next((line for line in lines if "the face:" in line), None)
    assert address is not None, process.stderr.read()
    return int(re.search(r":(\d+)/", address)[1])


def watch(port, kinds, query="?audio=1"):
    async def look():
        viewer, hello = await join(port, query)
        assert hello["fps"] > 0
        seen: list[int] = []
        while set(seen) != kinds or len(seen) < 20:
            seen += [frame.kind for frame in await read_frames(viewer, 1)]
        viewer.close()

    run(look)


def end(process, status=0, by=signal.SIGINT):
    if by is not None:
        process.send_signal(by)
    try:
        assert process.wait(PATIENCE_S) == status
        errors = process.stderr.read()
        assert "Traceback" not in errors, errors
        return errors
    finally:
        process.kill()
        process.stdout.close()
        process.stderr.close()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_recording_is_shown_until_a_signal(recording, tiny, number):
    process = start("face", recording, "--model", tiny, "--port", 0)
    watch(find_port(process), {1, 2})
    end(process, by=number)


@pytest.mark.slow
def test_once_ends_by_itself_and_a_csv_is_silent(tmp_path, recording):
    times_s = np.arange(30) / 30
    write_motion_csv(tmp_path / "face.csv", times_s, np.full((30, 52), 0.5), None)
    process = start("face", tmp_path / "face.csv", "--port", 0, "--once")
    watch(find_port(process), {1})
    end(process, by=None)
    process = start("face", tmp_path / "face.csv", "--sound", recording, "--port", 0, "--once")
    watch(find_port(process), {1, 2})
    end(process, by=None)


@pytest.mark.slow
def test_live_hears_a_recording_and_ends_with_it(recording, tiny):
    process = start("live", "--wav", recording, "--model", tiny, "--port", 0)
    watch(find_port(process), {1, 2})
    end(process, by=None)


@pytest.mark.slow
def test_a_text_is_said_on_a_page(tiny):
    pytest.importorskip("espeakng_loader")
    process = start("speak", "Hello.", "--play", "page", "--model", tiny)
    watch(find_port(process), {1, 2})
    end(process, by=None)


def test_what_cannot_be_shown_is_told(recording, tmp_path, capsys):
    for words, expected in (
        (["face", recording, "--sound", recording], "--sound goes with a CSV"),
        (["face", tmp_path / "none.wav"], "none.wav"),
        (["face", recording, "--rig", tmp_path / "none.glb"], "none.glb: no such file"),
        (["face", recording, "--host", "http://x"], "expected an address"),
        (["speak", "Hello"], "-o DIR"),
    ):
        assert main([str(word) for word in words]) == 2
        assert expected in capsys.readouterr().err


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dualtalker {dualtalker.__version__}\n"


def receive(count):
    """A UDP socket on this machine, and what `count` datagrams hold."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(PATIENCE_S)
    return receiver, lambda: [receiver.recv(4096) for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["face", "live"])
def test_a_face_is_sent_without_a_page(recording, tiny, command):
    receiver, read = receive(25)
    with receiver:
        address = f"livelink://127.0.0.1:{receiver.getsockname()[1]}/robot"
        what = [recording, "--once"] if command == "face" else ["--wav", recording]
        process = start(command, *what, "--model", tiny, "--no-page", "--send", address)
        frames = read()
    assert all(b"\x00\x00\x00\x05robot" in frame for frame in frames)
    assert len({frame[-61 * 4 :] for frame in frames}) > 5  # it moves
    told = process.stdout.read()
    end(process, by=None)
    assert re.search(rf"{re.escape(address)}: sent \d+, full 0", told) and "the face:" not in told


def test_nobody_to_see_it_is_told(recording, tiny, capsys):
    assert main(["face", str(recording), "--model", str(tiny), "--no-page"]) == 2
    assert "--send livelink://HOST" in capsys.readouterr().err
    assert main(["face", str(recording), "--model", str(tiny), "--send", "unreal://host"]) == 2
    assert "'unreal://host' is no output" in capsys.readouterr().err
