"""Starts the talker node: ros2 launch dualtalker talker.launch.py audio_topic:=/mic/audio

    ros2 launch dualtalker talker.launch.py --show-args

An argument that is left empty keeps the value of `params_file`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

# Arguments that become parameters: what they mean, and the type that the node declares.
PARAMETERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "model": ("Model bundle: path of its .onnx; the .json lies beside it.", str),
    "engine": ("Backend that runs the model: auto, onnxruntime, tensorrt.", str),
    "frame_rate": ("Frames published per second (Hz), 1 to 120.", float),
    "delivery": ("paced (steady, bursts in real time) or immediate (when computed).", str),
    "playout_delay_ms": (
        "From the audio's stamp to its frame's going out (ms); -1: stated latency and 5 ms.",
        float,
    ),
    "audio_type": ("Type of the audio topic; auto: that of its first publisher.", str),
    "sample_rate_hz": ("Sample rate of messages that do not carry their own (Hz).", int),
    "channels": ("Channels of messages that do not carry their own count.", int),
    "sample_format": ("Format of the samples in byte arrays, for example S16LE.", str),
    "idle_motion": (
        "true or false: blinks and glances while nothing is said.",
        lambda text: text.lower() in ("true", "1"),
    ),
}


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    config = get_package_share_directory("dualtalker") + "/config/talker.yaml"
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "namespace", default_value="", description="Namespace of node and topics."
            ),
            DeclareLaunchArgument(
                "audio_topic", default_value="audio", description="Topic with the speech."
            ),
            DeclareLaunchArgument(
                "params_file", default_value=config, description="Parameter file (YAML)."
            ),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="false",
                description="true: take the time from /clock, as with a played bag.",
            ),
            DeclareLaunchArgument(
                "autostart",
                default_value="true",
                description="false: leave configure and activate to a lifecycle manager.",
            ),
            *(
                DeclareLaunchArgument(
                    name, default_value="", description=f"{text} Empty: as in params_file."
                )
                for name, (text, _) in PARAMETERS.items()
            ),
            OpaqueFunction(function=make_node),
        ]
    )


def make_node(context: Any) -> list[Node]:
    """Return the node with the arguments that were given."""

    def value(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    given = {
        name: convert(value(name)) for name, (_, convert) in PARAMETERS.items() if value(name)
    }
    given["use_sim_time"] = value("use_sim_time").lower() == "true"
    given["autostart"] = value("autostart").lower() == "true"
    return [
        Node(
            package="dualtalker",
            executable="talker_node",
            name="talker",
            namespace=value("namespace"),
            parameters=[value("params_file"), given],
            remappings=[("audio", value("audio_topic"))],
            output="screen",
        )
    ]
