"""How nodes are started by people: values as they are typed, and starts that cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import soundfile

from ros_processes import TIMEOUT_S, Listener, running
from ros_stage import AUDIO_TYPE, Stage

NODES = (
    "talker_node",
    "wav_publisher_node",
    "recorder_node",
    "bag_player_node",
    "microphone_node",
    "speaker_node",
    "face_node",
    "bridge_node",
)

NO_DOUBLES = ("recorder_node",)

pytestmark = pytest.mark.usefixtures("ros_domain")


def begin(module, *words, cwd=None, **environment):
    """Run a node that ends by itself; return its status and all that it says."""
    command = [sys.executable, "-m", f"dualtalker_ros.nodes.{module}", *map(str, words)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout + done.stderr


def doubles_of(module):
    """Return the parameters of a node whose default is a double."""
    nodes = import_module(f"dualtalker_ros.nodes.{module}")
    parameters = list(getattr(nodes, "PARAMETERS", ()))
    if module == "talker_node":
        from dualtalker_ros.talker import TALKER_PARAMETERS as parameters
    elif module in ("microphone_node", "speaker_node"):
        from dualtalker_ros.nodes.device_node import DEVICE_PARAMETERS

        parameters += DEVICE_PARAMETERS
    return [parameter for parameter in parameters if isinstance(parameter.default, float)]


@pytest.mark.parametrize("module", [name for name in NODES if name != "talker_node"])
def test_what_cannot_change_is_read_only(module):
    """Nodes without a lifecycle have no `configure` in which a change could take effect."""
    parameters = import_module(f"dualtalker_ros.nodes.{module}").PARAMETERS
    assert [p.name for p in parameters if not (p.read_only or p.changes == "live")] == []


DECLARING = """
import importlib, json, sys, rclpy
from dualtalker_ros.parameters import Parameter, ParameterNode
found = json.loads(sys.argv[1])
rclpy.init(args=sys.argv[2:])
node = ParameterNode("declared", tuple(Parameter(**one) for one in found))
print(json.dumps({one["name"]: repr(node.value(one["name"])) for one in found}))
"""


@pytest.mark.parametrize("module", [name for name in NODES if name not in NO_DOUBLES])
@pytest.mark.parametrize("way", ["option", "file"])
def test_every_double_takes_an_integer(tmp_path, module, way):
    found = [
        {"name": p.name, "default": p.default, "description": "", "low": p.low, "high": p.high}
        for p in doubles_of(module)
    ]
    wanted = {one["name"]: int(np.ceil(one["low"])) for one in found}
    options = ["--ros-args"]
    if way == "option":
        for name, number in wanted.items():
            options += ["-p", f"{name}:={number}"]
    else:
        lines = [f"    {name}: {number}" for name, number in wanted.items()]
        file = tmp_path / "parameters.yaml"
        file.write_text("declared:\n  ros__parameters:\n" + "\n".join(lines) + "\n")
        options += ["--params-file", str(file)]
    done = subprocess.run(
        [sys.executable, "-c", DECLARING, json.dumps(found), *options],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {n: repr(float(number)) for n, number in wanted.items()}


def test_a_talker_takes_integers_at_its_start_and_while_it_runs(tiny, tmp_path, listener):
    log = tmp_path / "node.log"
    parameters = {"model": tiny, "audio_type": AUDIO_TYPE, "frame_rate": 60}
    with running("talker_node", log, ["__ns:=/whole"], **parameters) as process:
        stage = Stage(listener, "/whole", process)
        listener.spin_until(lambda: len(stage.faces) > 3)
        assert "60 Hz" in log.read_text()
        assert stage.set(intensity=2, max_queue_s=20, playout_delay_ms=-1) == []
        assert float(stage.status()[2]["intensity"]) == 2.0
        [reason] = stage.set(intensity=3)
        assert "range" in reason
        [reason] = stage.set(sample_rate_hz=16000.0)
        assert "INTEGER" in reason


@pytest.mark.parametrize(
    ("module", "words", "says"),
    [
        ("talker_node", ["frame_rate:=fast"], ["frame_rate", "'fast'", "DOUBLE"]),
        ("talker_node", ["frame_rate:=true"], ["frame_rate", "BOOL", "DOUBLE"]),
        ("talker_node", ["frame_rate:=1000"], ["frame_rate", "1000", "120"]),
        ("talker_node", ["frame_rate:=.nan"], ["frame_rate", "nan", "120"]),
        ("talker_node", ["sample_rate_hz:=16000.0"], ["sample_rate_hz", "DOUBLE", "INTEGER"]),
        ("talker_node", ["outputs:=[]"], ["outputs", "blendshapes"]),
        ("talker_node", ["outputs:=[1]"], ["outputs", "STRING_ARRAY"]),
        ("talker_node", ["use_sim_time:=1"], ["use_sim_time", "BOOL"]),
        ("talker_node", ["executor:=x"], ["executor", "single"]),
        ("speaker_node", ["buffer_ms:=long"], ["buffer_ms", "DOUBLE"]),
        ("recorder_node", ["output:=''"], ["output", "folder"]),
    ],
)
def test_values_that_a_parameter_does_not_take(module, words, says):
    status, said = begin(module, "--ros-args", *(w for word in words for w in ("-p", word)))
    assert status == 1 and "Traceback" not in said
    assert all(part in said.splitlines()[-1] for part in says), said


@pytest.mark.parametrize(
    "options",
    [["-p", ":=3"], ["--params-file", "/no/such.yaml"], ["-r", "__node:=a-b"], ["--foo"]],
)
def test_arguments_that_ros_does_not_take(options):
    status, said = begin("talker_node", "--ros-args", *options)
    assert status == 1 and "Traceback" not in said
    assert options[-1] in said.splitlines()[-1]


def test_a_file_is_given_as_a_word(tmp_path):
    """By any name, before or after what ROS is given; its folder is the one where it is typed."""
    from std_msgs.msg import Int16MultiArray

    listener = Listener("hearer")
    heard = listener.hear(Int16MultiArray, "audio")
    tone = np.sin(np.arange(1600) / 3) / 2
    for number, name in enumerate(["tone.wav", 'a "b": #\\ä.wav', "[1, 2].wav", "5"]):
        soundfile.write(tmp_path / name, tone, 16000 + number, format="WAV")
        options = ["--ros-args", "-p", "speed:=0", "-p", "lead_in_s:=1"]
        words = [*options, "--", name] if number % 2 else [name, *options]
        command = [sys.executable, "-m", "dualtalker_ros.nodes.wav_publisher_node", *words]
        process = subprocess.Popen(command, cwd=tmp_path)
        try:
            listener.spin_until(lambda p=process: p.poll() is not None)
        finally:
            process.kill()
        assert process.wait() == 0
        assert sum(len(message.data) for _, message in heard) == len(tone), name
        heard.clear()
    listener.close()


@pytest.mark.parametrize("module", NODES)
def test_words_that_mean_nothing(module):
    for words in (["--nonsense"], ["one", "two"]):
        status, said = begin(module, *words)
        assert status == 1 and "Traceback" not in said
        assert " ".join(words) in said and "--ros-args -p name:=value" in said


def test_what_is_missing_is_named(tmp_path):
    status, said = begin("wav_publisher_node")
    assert status == 1 and "wav_publisher_node speech.wav" in said
    status, said = begin("bag_player_node")
    assert status == 1 and "bag_player_node talk/" in said
    (tmp_path / "there").mkdir()
    status, said = begin("recorder_node", "there", cwd=tmp_path)
    assert status == 1 and "there exists" in said
    status, said = begin("bag_player_node", "nowhere", cwd=tmp_path)
    assert status == 1 and "nowhere does not exist" in said


@pytest.mark.parametrize("module", NODES)
def test_a_user_without_a_home_is_told_of_the_log_folder(module, tmp_path):
    (tmp_path / "file").touch()
    none = {"HOME": "", "ROS_HOME": "", "ROS_LOG_DIR": ""}
    for environment in (
        none,
        {**none, "HOME": "/proc/self"},
        {**none, "HOME": str(tmp_path / "file")},
        {**none, "ROS_HOME": "/proc/self/x"},
        {**none, "ROS_LOG_DIR": "/proc/self"},  # is there, but nobody can write to it
    ):
        status, said = begin(module, **environment)
        assert status == 1
        [line] = said.splitlines()
        assert "FATAL" in line and "set ROS_LOG_DIR to" in line
        if module != "talker_node":
            break


def test_a_log_folder_is_enough_for_a_user_without_a_home(tmp_path):
    none = {"HOME": "", "ROS_HOME": "", "ROS_LOG_DIR": str(tmp_path)}
    status, said = begin("wav_publisher_node", **none)
    assert status == 1 and "no recording given" in said
    assert any(tmp_path.iterdir())
    none["ROS_LOG_DIR"] = ""
    status, said = begin("wav_publisher_node", "--ros-args", "--disable-external-lib-logs", **none)
    assert status == 1 and "no recording given" in said
