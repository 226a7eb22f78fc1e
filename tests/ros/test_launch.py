"""The launch files, executed: what they start, refuse, and make of a bag."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from checkout import ROOT
from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import BagError
from launch_sources import declared_arguments, path_of

# This needs launch_ros. `launch` alone proves nothing: our own folder of that name is
# found as a namespace.


@pytest.fixture
def launching(ros, monkeypatch):
    """Return a function that executes a launch file with arguments and returns its actions."""
    pytest.importorskip(
        "launch_ros", reason="launch_ros is not on PyPI; comes with ROS's packages"
    )
    import ament_index_python.packages
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    monkeypatch.setattr(
        ament_index_python.packages, "get_package_share_directory", lambda name: str(ROOT)
    )

    def execute(launch_file, **arguments):
        spec = importlib.util.spec_from_file_location(
            f"{launch_file}_launch", path_of(launch_file)
        )
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        context = LaunchContext()
        context.launch_configurations.update(arguments)
        actions, declared = [], []
        for entity in module.generate_launch_description().entities:
            if isinstance(entity, DeclareLaunchArgument):
                assert entity.description
                declared.append(entity.name)
                entity.visit(context)
            elif isinstance(entity, OpaqueFunction):
                actions += entity.execute(context)
        assert declared == declared_arguments(launch_file)
        return context, actions

    return execute


def expand(context, node):
    """Return (executable, full name, remappings, parameters) of a node action."""
    node._perform_substitutions(context)
    parameters = {}
    for entry, is_file in node._Node__expanded_parameter_arguments or []:
        if is_file:
            # rcl, who reads these files, ignores tags.
            text = Path(entry).read_text("utf-8").replace("!!python/tuple", "")
            for section in yaml.safe_load(text).values():
                parameters.update(section["ros__parameters"])
    full_name = node.node_name if node.node_name.startswith("/") else f"/{node.node_name}"
    return node.node_executable, full_name, node.expanded_remapping_rules, parameters


def test_one_talker(launching):
    context, [node] = launching("talker", frame_rate="60", outputs="[blendshapes,vertices]")
    executable, name, remappings, parameters = expand(context, node)
    assert (executable, name) == ("talker_node", "/talker")
    assert remappings == [("audio", "audio")]
    assert parameters["frame_rate"] == 60.0 and isinstance(parameters["frame_rate"], float)
    assert list(parameters["outputs"]) == ["blendshapes", "vertices"]
    assert parameters["delivery"] == "paced"
    assert parameters["autostart"] is True and parameters["use_sim_time"] is False


def test_microphone_and_speaker_share_its_topics(launching):
    context, nodes = launching(
        "talker",
        namespace="robot",
        audio_topic="/mic",
        microphone="3",
        speaker="true",
        channels="6",
        channel="0",
    )
    found = {expand(context, node)[:2]: expand(context, node)[2:] for node in nodes}
    assert set(found) == {
        ("talker_node", "/robot/talker"),
        ("microphone_node", "/robot/microphone"),
        ("speaker_node", "/robot/speaker"),
    }
    remappings, parameters = found["microphone_node", "/robot/microphone"]
    assert (remappings, parameters["device"]) == ([("audio", "/mic")], 3)
    assert parameters["channels"] == 6 and "channel" not in parameters
    remappings, parameters = found["speaker_node", "/robot/speaker"]
    assert (remappings, parameters["device"]) == ([("audio", "audio_synced")], "")
    assert str(parameters["channel"]) == "0" and "channels" not in parameters


@pytest.mark.parametrize("namespace", ["", "faces"])
def test_one_talker_for_each_voice(launching, namespace):
    context, nodes = launching("talker", voices="[anna, bob]", namespace=namespace)
    found = [expand(context, node)[1:3] for node in nodes]
    prefix = f"/{namespace}" if namespace else ""
    assert found == [
        (f"{prefix}/{voice}/talker", [("audio", f"/humans/voices/{voice}/audio")])
        for voice in ("anna", "bob")
    ]


def test_display_adds_a_face_for_browsers(launching):
    context, nodes = launching(
        "talker", display="face", face_host="0.0.0.0", face_rig="my.glb", audio_delay_ms="200"
    )
    executable, name, remappings, parameters = expand(context, nodes[-1])
    assert (executable, name) == ("face_node", "/face")
    assert remappings == [("audio", "audio_synced")]
    assert parameters == {
        "host": "0.0.0.0",
        "port": 7652,
        "rig": "my.glb",
        "audio_delay_ms": 200.0,
        "use_sim_time": False,
    }
    # The talker's outputs are as they were: no marker.
    assert "face_marker" not in expand(context, nodes[0])[3].get("outputs", [])


def test_each_voice_has_a_face_of_its_own(launching):
    context, nodes = launching("talker", display="face", voices="[anna,bob]", face_port="7700")
    faces = [expand(context, node) for node in nodes if node.node_executable == "face_node"]
    assert [face[1] for face in faces] == ["/anna/face", "/bob/face"]
    assert [face[3]["port"] for face in faces] == [7700, 7701]


def test_send_adds_a_bridge_to_other_programs(launching):
    context, nodes = launching("talker", send="[vmc://10.0.0.2:39539, livelink://unreal]")
    executable, name, _, parameters = expand(context, nodes[-1])
    assert (executable, name) == ("bridge_node", "/bridge")
    assert list(parameters["send"]) == ["vmc://10.0.0.2:39539", "livelink://unreal"]


def test_servos_add_a_bridge_that_knows_when_sound_is_heard(launching):
    given = {"servos": "my_robot.yaml", "speaker": "true", "speaker_buffer_ms": "120"}
    context, nodes = launching("talker", audio_delay_ms="250", **given)
    executable, _, _, parameters = expand(context, nodes[-1])
    assert executable == "bridge_node" and "send" not in parameters
    assert (parameters["servos"], parameters["audio_delay_ms"]) == ("my_robot.yaml", 250.0)
    [speaker] = [node for node in nodes if node.node_executable == "speaker_node"]
    assert expand(context, speaker)[3]["buffer_ms"] == 120.0


def test_display_adds_the_marker_and_rviz(launching):
    context, nodes = launching("talker", display="rviz", namespace="face")
    assert [expand(context, node)[1] for node in nodes] == ["/face/talker", "/face/face_display"]
    _, nodes = launching("talker", display="none")
    assert len(nodes) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"voices": "[a-b]"}, "no name for a namespace"),
        ({"voices": "[a]", "microphone": "true"}, "microphone goes with one talker"),
        ({"voices": "[a]", "send": "[vmc://host]"}, "send goes with one talker"),
        ({"voices": "[a]", "servos": "a.yaml"}, "servos goes with one talker"),
        ({"engine": "abacus"}, "abacus"),
        ({"autostart": "perhaps"}, "perhaps"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(launching, arguments, says):
    with pytest.raises((ValueError, RuntimeError), match=says):
        launching("talker", **arguments)


def test_replay_evaluates(launching, tmp_path):
    from launch.actions import ExecuteProcess, RegisterEventHandler

    context, [process, handler] = launching(
        "replay", bag="talk", output=str(tmp_path), reference="captured.csv"
    )
    assert isinstance(process, ExecuteProcess) and isinstance(handler, RegisterEventHandler)
    words = ["".join(part.perform(context) for part in word) for word in process.cmd]
    assert words[1:6] == ["-m", "dualtalker", "evaluate", "talk", "--out"]
    assert words[-2:] == ["--reference", "captured.csv"]


def write_talk(path, audio_type="Int16MultiArray"):
    """Write two seconds of speech and a reference to a bag."""
    from dualtalker.bags import Motion, write_bag

    rng = np.random.default_rng(1)
    speech = rng.uniform(-0.5, 0.5, 32000) * np.sin(np.arange(32000) / 1500) ** 2
    motion = Motion(np.arange(60) / 30, rng.uniform(0, 0.5, (60, 52)))
    write_bag(path, speech, 16000, motion, audio_type=audio_type)
    return str(path)


def test_replay_plays_to_a_live_talker(launching, tmp_path):
    from launch.actions import IncludeLaunchDescription, RegisterEventHandler

    bag = write_talk(tmp_path / "talk.mcap")
    given = {"bag": bag, "output": str(tmp_path), "live": "true"}
    (tmp_path / "captured.csv").touch()
    context, actions = launching("replay", **given, reference=str(tmp_path / "captured.csv"))
    include, recorder, player, handler = actions
    assert isinstance(include, IncludeLaunchDescription)
    assert isinstance(handler, RegisterEventHandler)
    name, _, _, parameters = expand(context, recorder)
    assert name == "recorder_node" and parameters["use_sim_time"] is True
    told = {"/audio", "/reference/blendshapes", "audio_info", "phones"}
    assert told <= set(parameters["topics"])
    name, _, _, parameters = expand(context, player)
    assert name == "bag_player_node" and parameters["wait_for_subscribers"] == 2
    assert (parameters["bag"], parameters["audio_topic"]) == (bag, "/audio")
    assert list(parameters["topics"]) == ["/audio", "/reference/blendshapes"]
    (tmp_path / "bag").mkdir()
    with pytest.raises(FileExistsError, match="another output"):
        launching("replay", **given)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"bag": "none"}, "does not exist"),
        ({"audio_topic": "/mic"}, "no topic /mic"),
        ({"reference": "truth"}, "no topic /truth"),
        ({"reference": "/blendshapes"}, "where the talker sends"),
        ({"reference": "none.csv"}, "none.csv: no such file"),
    ],
)
def test_replay_refuses_before_it_starts_anything(launching, tmp_path, arguments, says):
    from bag_messages import face_message, int16_message, write_topics

    bag = tmp_path / "talk"
    face = ("sensor_msgs/msg/JointState", [(1, face_message(ARKIT_NAMES, np.zeros(52), 1))])
    audio = ("std_msgs/msg/Int16MultiArray", [(1, int16_message([1, 2]))])
    write_topics(bag, {"/audio": audio, "/blendshapes": face})
    given = {"bag": str(bag), "output": str(tmp_path / "out"), "live": "true", **arguments}
    with pytest.raises((BagError, FileNotFoundError), match=says):
        launching("replay", **given)
    assert not (tmp_path / "out").exists()


# Runs a launch file as `ros2 launch` does, and ends with its status.
LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

arguments = [text.split(":=", 1) for text in sys.argv[2:]]
source = PythonLaunchDescriptionSource(sys.argv[1])
included = IncludeLaunchDescription(source, launch_arguments=arguments)
service = LaunchService(noninteractive=True)
service.include_launch_description(LaunchDescription([included]))
sys.exit(service.run())
"""


@pytest.fixture
def launch_replay(launching, ros_domain, tmp_path, monkeypatch):
    """Return a function that runs replay.launch.py of a package laid out as colcon does it."""
    import launch_ros

    prefix = tmp_path / "prefix"
    share, scripts = prefix / "share" / "dualtalker", prefix / "lib" / "dualtalker"
    markers = prefix / "share" / "ament_index" / "resource_index" / "packages"
    for folder in (share, scripts, markers):
        folder.mkdir(parents=True)
    (markers / "dualtalker").touch()
    for name in ("launch", "config"):
        (share / name).symlink_to(ROOT / name)
    for name in ("talker_node", "recorder_node", "bag_player_node"):
        main = f"from dualtalker_ros.nodes.{name} import main\nraise SystemExit(main())\n"
        (scripts / name).write_text(f"#!{sys.executable}\n{main}", "utf-8")
        (scripts / name).chmod(0o755)
    # python3 of the launch file is the one that runs the tests.
    (prefix / "bin").mkdir()
    (prefix / "bin" / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (prefix / "bin" / "python3").chmod(0o755)
    paths = [os.environ["PYTHONPATH"], str(Path(launch_ros.__file__).parent.parent)]
    for name, first in (("AMENT_PREFIX_PATH", prefix), ("PATH", prefix / "bin")):
        monkeypatch.setenv(name, f"{first}{os.pathsep}{os.environ[name]}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))

    def run(**arguments):
        given = [f"{name}:={value}" for name, value in arguments.items()]
        command = [sys.executable, "-c", LAUNCH, str(path_of("replay")), *given]
        # In a folder where `launch` is not that of the checkout.
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180)

    return run


def test_a_live_replay_from_bag_to_report(launch_replay, tiny, tmp_path):
    bag, out = write_talk(tmp_path / "talk.mcap"), tmp_path / "out"
    given = {"bag": bag, "output": out, "model": tiny}
    done = launch_replay(**given, live="true", playout_delay_ms=1500, engine="onnxruntime")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((out / "report.json").read_text())
    assert report["reference"] == "/reference/blendshapes"
    assert report["judged_frames"] >= 58 and report["live"]["heard_all_audio"]
    assert report["figures"]["live"]["missing frames"] == 0
    status = report["live"]["status"]
    assert (status["planned delay (ms)"], status["backend"][:11]) == ("1500.00", "onnxruntime")
    [made] = report["replays"].values()
    assert made["model_sha256"] == status["model digest"]
    assert (out / "report.html").is_file()


def test_a_launch_without_a_report_fails(launch_replay, tiny, tmp_path):
    bag, out = write_talk(tmp_path / "talk.mcap"), tmp_path / "out"
    done = launch_replay(bag=tmp_path / "none.mcap", output=out)
    assert done.returncode == 1 and "does not exist" in done.stdout + done.stderr
    # The talker ends; what waits for it does, too.
    done = launch_replay(bag=bag, output=out, live="true", model="/none.onnx")
    assert done.returncode == 1 and "none.onnx: no such file" in done.stdout + done.stderr


def test_it_can_be_included_under_a_namespace(launching):
    """As other launch files do: the namespace of a group comes before the talker's own."""
    from launch import LaunchContext
    from launch.actions import GroupAction, IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch_ros.actions import Node, PushRosNamespace

    context = LaunchContext()
    include = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(path_of("talker"))),
        launch_arguments={"namespace": "face"}.items(),
    )
    queue, nodes = [GroupAction([PushRosNamespace("robot"), include])], []
    while queue:
        entity = queue.pop(0)
        if isinstance(entity, Node):
            entity._perform_substitutions(context)
            nodes.append(entity.node_name)
        else:
            queue = [*(entity.visit(context) or []), *queue]
    assert nodes == ["/robot/face/talker"]
