"""The tutorials run as they are written, and the commands of all pages exist.

Recordings and faces are made here.

A block without a mark runs as it stands. One below `<!-- needs ... -->` is for a machine that has
what the mark names: its commands and options are checked, and a stand-in for the machine runs it
where there can be one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import signal
import time

import numpy as np
import pytest
import soundfile

from checkout import ROOT
from doc_blocks import Desk, read_blocks, read_entry_points, read_options
from launch_sources import declared_arguments
from spoken_phrases import RATE_HZ, speak_phrases
from tiny_rig import tiny_rig

FOLDER = ROOT / "docs" / "tutorials"
BLOCKS = {path.stem: read_blocks(path) for path in sorted(FOLDER.glob("*.md"))}

# What a machine's own programs are called with is not ours to check.
OTHERS = {
    *(
        ".",
        "cd",
        "colcon",
        "cp",
        "export",
        "git",
        "mkdir",
        "python3",
        "sudo",
        "tegrastats",
        "touch",
    )
}
# All pages but those that tell of the past.
PAGES = [
    path
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    if path.name != "CHANGELOG.md" and path.parent.name != "log"
]
# What a program does where it is not told what.
DEFAULTS = {"training.train": ["default"]}

SOUND_CARD = """
import time, soundfile
class InputStream:
    def __init__(self, samplerate, blocksize, channels, callback):
        samples, rate_hz = soundfile.read("speech.wav", dtype="float32", always_2d=True)
        assert (rate_hz, channels) == (samplerate, 1)
        self._blocks = [samples[i:i + blocksize] for i in range(0, len(samples), blocksize)]
        self._callback = callback
    def __enter__(self):
        for block in (self._blocks * 20)[:600]:
            self._callback(block, len(block), None, None)
    def __exit__(self, *error):
        pass
"""
BLENDER = """
import json
from types import SimpleNamespace as Any
class Key:
    def __init__(self):
        self.value, self.set = 0.0, {}
    def keyframe_insert(self, path, frame):
        assert path == "value"
        self.set[frame] = self.value
        json.dump({n: k.set for n, k in keys.items()}, open("keys.json", "w"))
keys = {"Basis": Key(), "jawOpen": Key()}
context = Any(
    object=Any(data=Any(shape_keys=Any(key_blocks=keys))), scene=Any(render=Any(fps=30))
)
"""


@pytest.fixture
def desk(tmp_path):
    """A folder with four seconds of made speech."""
    soundfile.write(tmp_path / "speech.wav", speak_phrases(3.0).samples, RATE_HZ)
    return Desk(tmp_path)


def find(page, *words):
    """Return the one block that has these words."""
    [block] = [b for b in BLOCKS[page] if all(word in b.text for word in words)]
    return block


def check_options(command):
    """The program exists and knows every option that is given to it."""
    choice = [word for word in command[1:2] if word.isidentifier()]
    known = read_options(command[0], *(choice or DEFAULTS.get(command[0], [])))
    given = [word.split("=")[0] for word in command[1:] if word.startswith("-")]
    missing = [w for w in given if w not in known and not w.lstrip("-").isdigit()]
    assert not missing, command


def check_make(command):
    """A goal of the Makefile, and variables that it sets."""
    text = (ROOT / "Makefile").read_text("utf-8")
    for word in command[1:]:
        name, is_variable, _ = word.partition("=")
        line = rf"^{name} \?=" if is_variable else rf"^{name}:"
        assert re.search(line, text, re.MULTILINE), word


def check_node(command):
    """A node of ours with parameters that it has."""
    assert command[0] in read_entry_points(), command
    page = (ROOT / "docs" / "ros_api.md").read_text("utf-8")
    for before, word in itertools.pairwise(command):
        if before == "-p":
            assert f"`{word.split(':=')[0]}`" in page, command


def check_ros(command):
    """A node or launch file of ours with arguments and parameters that it has."""
    if command[1] == "launch":
        name = command[3].removesuffix(".launch.py")
        given = {word.split(":=")[0] for word in command[4:] if ":=" in word}
        assert command[2] == "dualtalker" and given <= set(declared_arguments(name)), command
    elif command[1] == "run":
        assert command[2] == "dualtalker", command
        check_node(command[3:])
    else:
        assert command[1] in ("topic", "param", "service"), command


def check_command(command):
    entry_points = read_entry_points()
    if command[0] in ("python", ".venv/bin/python", "torchrun") and "-m" in command:
        run = command[command.index("-m") + 1 :]
        if run[0] != "pytest":
            check_options(run)
    elif command[0] == "python":
        assert (ROOT / command[1]).is_file(), command
    elif command[0] == "make":
        check_make(command)
    elif command[0].endswith("_node"):
        check_node(command)
    elif command[0] == "dualtalker":
        check_options([entry_points["dualtalker"].split(":")[0], *command[1:]])
    elif command[0] == "ros2":
        check_ros(command)
    elif command[0] == "pip":
        text = (ROOT / "setup.py").read_text("utf-8")
        extras = command[-1].partition("[")[2].rstrip("]").split(",")
        assert all(f'"{extra}": ' in text for extra in extras if extra), command
    else:
        assert command[0] in OTHERS, command


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_command_of_a_page_exists_and_knows_its_options(path):
    pytest.importorskip("torch")
    for block in read_blocks(path):
        if block.language == "bash":
            for command in block.commands:
                check_command(command)


@pytest.mark.parametrize("page", BLOCKS)
def test_python_blocks_are_python(page):
    for block in BLOCKS[page]:
        assert block.language in ("bash", "python"), block
        if block.language == "python":
            compile(block.text, f"{block.page}:{block.line}", "exec")


@pytest.mark.slow
def test_the_avatar_tutorial_runs(desk):
    pytest.importorskip("espeakng_loader")
    from dualtalker import save_rig

    save_rig(tiny_rig(), desk.folder / "my_face.glb")
    (desk.modules / "sounddevice.py").write_text(SOUND_CARD)
    (desk.modules / "bpy.py").write_text(BLENDER)
    printed = {}
    for block in BLOCKS["avatar"]:
        if block.needs != "the network":
            printed[block.line] = desk.run(block.text, block.language)
    names = ("speech.csv", "speech.mp4", "speech.npz", "hello.csv", "hello.wav")
    assert all((desk.folder / "out" / name).stat().st_size > 100 for name in names)
    live = printed[find("avatar", "sounddevice.InputStream").line].splitlines()
    assert len(live) > 580 and len({len(line) for line in live}) > 5
    keys = json.loads((desk.folder / "keys.json").read_text())
    assert len(keys["jawOpen"]) > 80 and max(keys["jawOpen"].values()) > 0.1
    assert not keys["Basis"]


# The networks of this test are small, and what takes hours takes seconds.
SMALLER = {
    "--hours 1 --languages en-us en-gb": "--hours 0.004 --languages en-us",
    "--steps 2000": "--steps 6 --network.channels 16 --network.motion-channels 12 "
    "--network.encoder-dilations 1 2 --network.decoder-dilations 1 --network.units 6 "
    "--data.batch 2 --data.segment-s 1.0 --loader-workers 0 --threads 1",
    "step_0002000": "step_0000006",
    "--style me\n": "--style me --steps 4 --batch 2 --segment-s 1.0 --loader-workers 0 "
    "--threads 1\n",
    "step_0000400": "step_0000004",
    "--style captured:me 1": "--style captured:me 1 --steps 20",
}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_your_own_voice_or_face_runs(desk):
    for name in ("torch", "espeakng_loader"):
        pytest.importorskip(name)
    from recorded_files import make_take, write_live_link

    takes = desk.folder / "takes"
    takes.mkdir()
    for number in range(1, 6):
        opening, samples = make_take(6.0, seed=number)
        write_live_link(takes / f"MySlate_{number}_iPhone.csv", opening)
        soundfile.write(takes / f"MySlate_{number}_iPhone.wav", samples, 16000)
    text = "".join(block.text for block in BLOCKS["own_voice_or_face"] if not block.needs)
    for long, short in SMALLER.items():
        assert long in text
        text = text.replace(long, short)
    lines = text.splitlines()
    desk.run_modules([line for line in lines if line.startswith("python -m ")])
    [rest] = [line for line in lines if not line.startswith("python -m ")]
    desk.run(rest)
    sidecar = json.loads((desk.folder / "me.json").read_text())
    assert "captured:me" in sidecar["style_names"]
    rows = np.loadtxt(desk.folder / "out" / "speech.csv", delimiter=",", skiprows=1)
    assert len(rows) > 80 and rows[:, 1:].std() > 0


@pytest.mark.slow
def test_the_robot_tutorial_speaks_and_moves(desk, ros_domain):
    """Its speech engine, and its motors; the talker is started as its launch file does."""
    log = desk.folder / "jaw.log"
    talker = ("ros2 run dualtalker talker_node --ros-args -r audio:=/tts", "bash")
    motors = (find("robot", "def move").text, "python")
    with running(desk, [talker]), running(desk, [motors], log):
        wait_for(lambda: b"jaw" in log.read_bytes())
        desk.run(find("robot", "Int16MultiArray(").text, "python")
        wait_for(lambda: re.search(rb"jaw 0\.[1-9]", log.read_bytes()))


@pytest.mark.slow
def test_the_robot_tutorial_records_and_evaluates(desk, ros_domain):
    *nodes, voice = [(line, "bash") for line in find("robot", "recorder_node").stated]
    with running(desk, nodes):
        desk.run(voice[0])
        time.sleep(1.0)  # the last frames
    desk.run(find("robot", "dualtalker evaluate talk").text)
    live = json.loads((desk.folder / "report" / "report.json").read_text())["live"]
    assert live["heard_all_audio"] and live["equality"]["compared"] > 80
    assert (desk.folder / "report" / "report.html").stat().st_size > 10_000


@contextlib.contextmanager
def running(desk, programs, log=None):
    """Run programs, each (text, language), until the end; a signal must end them well."""
    logs = [log or desk.folder / f"{number}.log" for number, _ in enumerate(programs)]
    processes = [
        desk.start(text, own, language)
        for (text, language), own in zip(programs, logs, strict=True)
    ]
    try:
        yield
        for process in processes:
            process.send_signal(signal.SIGINT)
        ends = [process.wait(30) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert not any(ends), [own.read_text()[-2000:] for own in logs]


def wait_for(happened, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.1)
