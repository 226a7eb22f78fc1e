"""Starts talker nodes: ros2 launch dualtalker talker.launch.py audio_topic:=/mic/audio

    ros2 launch dualtalker talker.launch.py --show-args
    ros2 launch dualtalker talker.launch.py microphone:=USB frame_rate:=60
    ros2 launch dualtalker talker.launch.py voices:=[anna,bob] namespace:=faces

An argument that is left empty keeps the value of `params_file`. May be included by other launch
files, also under a pushed namespace: all names but those of voices are relative.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue


def read_list(text: str) -> list[str]:
    """Return the texts of "[a, b]" or "a,b"."""
    return [item.strip() for item in text.strip().strip("[]").split(",") if item.strip()]


# Arguments that become parameters: what they mean, and the type that the node declares.
PARAMETERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "model": ("Model bundle: path of its .onnx; the .json lies beside it.", str),
    "engine": ("Backend that runs the model: auto, onnxruntime, tensorrt.", str),
    "frame_rate": ("Frames published per second (Hz), 1 to 120.", float),
    "outputs": ("Topics that exist: all, or a list such as [blendshapes,vertices].", read_list),
    "delivery": ("paced (steady, bursts in real time) or immediate (when computed).", str),
    "playout_delay_ms": (
        "From the audio's stamp to its frame's going out (ms); -1: stated latency and 5 ms.",
        float,
    ),
    "audio_type": ("Type of the audio topic; auto: that of its first publisher.", str),
    "sample_rate_hz": ("Sample rate of messages that do not carry their own (Hz).", int),
    "channels": ("Channels of messages that do not carry their own count.", int),
    "sample_format": ("Format of the samples in byte arrays, for example S16LE.", str),
    "channel": ("Channel that is heard, an index from 0; mix: the mean of all.", str),
    "idle_motion": (
        "true or false: blinks and glances while nothing is said.",
        lambda text: text.lower() in ("true", "1"),
    ),
}
CHOICES = {
    "engine": ("auto", "onnxruntime", "tensorrt"),
    "delivery": ("paced", "immediate"),
    "idle_motion": ("true", "false"),
}
MARKER = "face_marker"
# A voice becomes a namespace.
VOICE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the nodes."""
    config = get_package_share_directory("dualtalker") + "/config/talker.yaml"
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "namespace", default_value="", description="Namespace of nodes and topics."
            ),
            DeclareLaunchArgument(
                "audio_topic", default_value="audio", description="Topic with the speech."
            ),
            DeclareLaunchArgument(
                "voices",
                default_value="",
                description="Several talkers, [a,b]: one for each voice, in a namespace of its "
                "name, on /humans/voices/NAME/audio (REP-155). Empty: one, on audio_topic.",
            ),
            DeclareLaunchArgument(
                "microphone",
                default_value="false",
                description="true: a microphone node feeds audio_topic, from the default device; "
                "or the device's index or part of its name (microphone_node --list-devices).",
            ),
            DeclareLaunchArgument(
                "speaker",
                default_value="false",
                description="true: a speaker node plays audio_synced, the speech in time with "
                "the face, on the default device; or the device's index or part of its name.",
            ),
            DeclareLaunchArgument(
                "display",
                default_value="none",
                choices=["none", "face", "rviz"],
                description="face: a talking face for browsers, on face_host and face_port; "
                "rviz: face_marker in RViz, which must be installed.",
            ),
            DeclareLaunchArgument(
                "face_host",
                default_value="127.0.0.1",
                description="Address of display:=face: 127.0.0.1 is this machine alone, 0.0.0.0 "
                "all networks, by a token in the address that the node prints.",
            ),
            DeclareLaunchArgument(
                "face_port",
                default_value="7652",
                description="Port of display:=face; with voices each takes the next one.",
            ),
            DeclareLaunchArgument(
                "face_rig",
                default_value="",
                description="Face of display:=face: .glb, .npz or a folder of OBJs. Empty: the "
                "robot head.",
            ),
            DeclareLaunchArgument(
                "audio_delay_ms",
                default_value="-1.0",
                description="For display:=face and servos: from the audio's stamp to its sound "
                "(ms), where a player other than speaker:=true plays it; -1: not known.",
            ),
            DeclareLaunchArgument(
                "speaker_buffer_ms",
                default_value="",
                description="buffer_ms of speaker:=true: audio that waits before it is played "
                "(ms); motors that lag need some. Empty: as of speaker_node, 60.",
            ),
            DeclareLaunchArgument(
                "send",
                default_value="",
                description="A bridge node sends the face there, for example "
                "[vmc://192.168.1.20:39539,livelink://192.168.1.20]. Not with voices.",
            ),
            DeclareLaunchArgument(
                "servos",
                default_value="",
                description="YAML file of a robot's servos, which a bridge node moves "
                "(config/servos_example.yaml). Not with voices.",
            ),
            DeclareLaunchArgument(
                "params_file", default_value=config, description="Parameter file (YAML)."
            ),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="false",
                choices=["true", "false"],
                description="true: take the time from /clock, as with a played bag.",
            ),
            DeclareLaunchArgument(
                "autostart",
                default_value="true",
                choices=["true", "false"],
                description="false: leave configure and activate to a lifecycle manager.",
            ),
            DeclareLaunchArgument(
                "respawn",
                default_value="false",
                choices=["true", "false"],
                description="true: start a node that ended anew, two seconds later.",
            ),
            *(
                DeclareLaunchArgument(
                    name,
                    default_value="",
                    choices=["", *CHOICES[name]] if name in CHOICES else None,
                    description=f"{text} Empty: as in params_file.",
                )
                for name, (text, _) in PARAMETERS.items()
            ),
            OpaqueFunction(function=make_nodes),
        ]
    )


def make_nodes(context: Any) -> list[Node]:
    """Return the nodes with the arguments that were given."""
    voices = read_list(LaunchConfiguration("voices").perform(context))
    namespace = LaunchConfiguration("namespace").perform(context)
    devices = [
        name
        for name in ("microphone", "speaker")
        if LaunchConfiguration(name).perform(context).lower() != "false"
    ]
    if not voices:
        topic = LaunchConfiguration("audio_topic").perform(context)
        nodes = [make_talker(context, namespace, topic)]
        nodes += [make_device(context, name, namespace, topic) for name in devices]
        return nodes + make_display(context, namespace) + make_bridge(context, namespace)
    for voice in voices:
        if not VOICE.fullmatch(voice):
            raise ValueError(
                f"voices: {voice!r} is no name for a namespace; expected letters, digits and _, "
                "a letter first, for example voices:=[anna,bob]"
            )
    if devices:
        raise ValueError(f"{devices[0]} goes with one talker; leave out voices, or start it apart")
    for name in ("send", "servos"):
        if LaunchConfiguration(name).perform(context):
            raise ValueError(
                f"{name} goes with one talker; leave out voices, or start bridge_node apart"
            )
    nodes = []
    for index, voice in enumerate(voices):
        own = "/".join(part for part in (namespace.rstrip("/"), voice) if part)
        nodes.append(make_talker(context, own, f"/humans/voices/{voice}/audio"))
        nodes += make_display(context, own, index)
    return nodes


def make_talker(context: Any, namespace: str, audio_topic: str) -> Node:
    """Return a talker node."""

    def value(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    given = {
        name: convert(value(name)) for name, (_, convert) in PARAMETERS.items() if value(name)
    }
    given["use_sim_time"] = value("use_sim_time").lower() == "true"
    given["autostart"] = value("autostart").lower() == "true"
    if value("display") == "rviz":
        wanted = given.get("outputs") or read_outputs(value("params_file"))
        given["outputs"] = list(dict.fromkeys([*wanted, MARKER]))
    return Node(
        package="dualtalker",
        executable="talker_node",
        name="talker",
        namespace=namespace,
        parameters=[value("params_file"), given],
        remappings=[("audio", audio_topic)],
        respawn=value("respawn").lower() == "true",
        respawn_delay=2.0,
        output="screen",
    )


def read_outputs(params_file: str) -> list[str]:
    """Return `outputs` of a parameter file; without any, what the marker needs beside it."""
    if not os.path.isfile(params_file):  # a pipe may never end
        raise FileNotFoundError(f"params_file:={params_file}: no such file, or a pipe or device")
    with open(params_file, encoding="utf-8") as file:
        content = yaml.safe_load(file) or {}
    for parameters in content.values():
        outputs = (parameters or {}).get("ros__parameters", {}).get("outputs")
        if outputs:
            return [str(name) for name in outputs]
    return ["blendshapes"]


def make_display(context: Any, namespace: str, index: int = 0) -> list[Node]:
    """Return what shows the face of one talker, the `index`-th: nothing, a page or RViz."""
    display = LaunchConfiguration("display").perform(context)
    if display == "none":
        return []
    make = {"face": make_face, "rviz": make_rviz}[display]
    return [make(context, namespace, index)]


def make_face(context: Any, namespace: str, index: int) -> Node:
    """Return the node that serves the face to browsers."""

    def value(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    return Node(
        package="dualtalker",
        executable="face_node",
        name="face",
        namespace=namespace,
        parameters=[
            ({"channel": value("channel")} if value("channel") else {})
            | {
                "host": ParameterValue(value("face_host"), value_type=str),
                "port": int(value("face_port")) + index,
                "rig": ParameterValue(value("face_rig"), value_type=str),
                "audio_delay_ms": float(value("audio_delay_ms")),
                "use_sim_time": value("use_sim_time") == "true",
            }
        ],
        remappings=[("audio", "audio_synced")],
        respawn=value("respawn").lower() == "true",
        respawn_delay=2.0,
        output="screen",
    )


def make_bridge(context: Any, namespace: str) -> list[Node]:
    """Return the node that sends the face to programs and servos, where that is wanted."""

    def value(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    addresses = read_list(value("send"))
    if not addresses and not value("servos"):
        return []
    given: dict[str, Any] = {"send": addresses} if addresses else {}
    given["servos"] = ParameterValue(value("servos"), value_type=str)
    given["audio_delay_ms"] = float(value("audio_delay_ms"))
    given["use_sim_time"] = value("use_sim_time") == "true"
    return [
        Node(
            package="dualtalker",
            executable="bridge_node",
            name="bridge",
            namespace=namespace,
            parameters=[given],
            respawn=value("respawn").lower() == "true",
            respawn_delay=2.0,
            output="screen",
        )
    ]


def make_rviz(context: Any, namespace: str, index: int) -> Node:
    """Return RViz with the face's marker."""
    config = get_package_share_directory("dualtalker") + "/config/talker.rviz"
    return Node(
        package="rviz2",
        executable="rviz2",
        name="face_display",
        namespace=namespace,
        arguments=["-d", config],
        parameters=[
            {"use_sim_time": LaunchConfiguration("use_sim_time").perform(context) == "true"}
        ],
    )


def make_device(context: Any, name: str, namespace: str, audio_topic: str) -> Node:
    """Return the node `name`, microphone or speaker, on the device that its argument names."""
    device = LaunchConfiguration(name).perform(context)
    # A default device has no name; a number stays an index.
    given = {"device": "" if device.lower() == "true" else yaml.safe_load(device)}
    # All channels are recorded and sent on; who hears them takes one.
    shared = "channels" if name == "microphone" else "channel"
    if value := LaunchConfiguration(shared).perform(context):
        given[shared] = PARAMETERS[shared][1](value)
    if name == "speaker" and (value := LaunchConfiguration("speaker_buffer_ms").perform(context)):
        given["buffer_ms"] = float(value)
    return Node(
        package="dualtalker",
        executable=f"{name}_node",
        name=name,
        namespace=namespace,
        parameters=[given],
        remappings=[("audio", audio_topic if name == "microphone" else "audio_synced")],
        respawn=LaunchConfiguration("respawn").perform(context).lower() == "true",
        respawn_delay=2.0,
        output="screen",
    )
