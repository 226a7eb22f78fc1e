"""Tells from a rosbag how good the face is: ros2 launch dualtalker replay.launch.py bag:=talk/

    ros2 launch dualtalker replay.launch.py bag:=talk/ reference:=captured.csv output:=report/
    ros2 launch dualtalker replay.launch.py bag:=talk/ live:=true audio_topic:=/mic/audio

By default the bag is evaluated as it is, by the talker's own code and faster than real time. With
`live` it is played to a talker node in simulated time, what the node sends is recorded to
OUTPUT/bag, and that is evaluated. The report is OUTPUT/report.html; where there is none, the
launch ends with status 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.events import matches_action
from launch.events.process import ShutdownProcess
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from dualtalker.bags import REFERENCE_ENDING, Bag, find_audio_topic
from dualtalker.errors import BagError

# Arguments handed on to `dualtalker evaluate`, and to the talker where it is live.
OPTIONS = {
    "reference": "Motion to compare with, a topic of the bag or a CSV file.",
    "channel": "Channel of the speech that is heard, an index from 0.",
    "model": "Model bundle: path of its .onnx; the .json lies beside it.",
    "engine": "Backend that runs the model: auto, onnxruntime, tensorrt.",
    "playout_delay_ms": "From the audio's stamp to its frame's going out (ms); more where a busy "
    "machine makes frames late.",
}
# What the talker sends, and what it is told of the audio.
RECORDED = ("audio_info", "phones", "blendshapes", "mouth_open", "/diagnostics")


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the processes."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "bag", description="rosbag2 with speech: its folder, or an .mcap or .db3 file."
            ),
            DeclareLaunchArgument(
                "output", default_value="report", description="Folder of the report."
            ),
            DeclareLaunchArgument(
                "audio_topic",
                default_value="",
                description="Topic of the speech in the bag. Empty: the only one of a known "
                "type, or else the one that is called audio.",
            ),
            DeclareLaunchArgument(
                "live",
                default_value="false",
                choices=["true", "false"],
                description="true: play the bag to a talker node, and evaluate what it sends.",
            ),
            *(
                DeclareLaunchArgument(
                    name, default_value="", description=f"{text} Empty: the default."
                )
                for name, text in OPTIONS.items()
            ),
            OpaqueFunction(function=make_actions),
        ]
    )


def make_actions(context: Any) -> list[Any]:
    """Return what the arguments ask for; BagError where the bag is not what they say."""
    bag, output, topic = (
        LaunchConfiguration(name).perform(context) for name in ("bag", "output", "audio_topic")
    )
    if LaunchConfiguration("live").perform(context).lower() != "true":
        evaluation = make_evaluation(context, bag, output, topic)
        return [evaluation, run_in_turn({evaluation: []})]
    return make_live(context, bag, output, topic)


def make_evaluation(context: Any, bag: str, output: str, topic: str) -> ExecuteProcess:
    """Return the process of `dualtalker evaluate`; works without ROS, too."""
    command = ["python3", "-m", "dualtalker", "evaluate", bag, "--out", output]
    for name in OPTIONS:
        value = LaunchConfiguration(name).perform(context)
        command += [f"--{name.replace('_', '-')}", value] if value else []
    command += ["--audio-topic", topic] if topic else []
    return ExecuteProcess(cmd=command, output="screen")


def run_in_turn(followers: dict[Any, list[Any]]) -> RegisterEventHandler:
    """Return what starts, at the end of each process, what follows it; after the last, the end.

    A process that fails, or that ends and nothing is to follow it, ends the launch with status 1.
    """

    def go_on(event: Any, context: Any) -> list[Any] | None:
        if context.is_shutdown:
            return None
        if event.returncode != 0 or event.action not in followers:
            raise RuntimeError(f"{event.process_name} ended, status {event.returncode}: no report")
        return followers[event.action] or [Shutdown(reason="the report is finished")]

    return RegisterEventHandler(OnProcessExit(on_exit=go_on))


def find_topics(bag: str, topic: str, reference: str) -> tuple[str, list[str]]:
    """Return the topic of the speech in a bag, and those of motions to compare with."""
    with Bag(Path(bag)) as opened:
        speech = find_audio_topic(opened, topic or None)
        found = {name for name in opened.topics if name.endswith(REFERENCE_ENDING)}
        if reference.lower().endswith(".csv"):
            if not Path(reference).is_file():
                raise FileNotFoundError(f"reference:={reference}: no such file")
        elif reference:
            name = f"/{reference.lstrip('/')}"
            if name not in opened.topics:
                raise BagError(f"{bag} has no topic {name}; it holds {opened.describe()}")
            if name.lstrip("/") in RECORDED:
                raise BagError(f"reference:={name} is where the talker sends; rename it in {bag}")
            found.add(name)
    return speech, sorted(found)


def make_live(context: Any, bag: str, output: str, topic: str) -> list[Any]:
    """Return talker, recorder and player; the player waits for both."""
    recorded = Path(output) / "bag"
    if recorded.exists():
        raise FileExistsError(f"{recorded} exists; remove it or choose another output:=")
    reference = LaunchConfiguration("reference").perform(context)
    topic, references = find_topics(bag, topic, reference)
    recorded.parent.mkdir(parents=True, exist_ok=True)
    talker = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            get_package_share_directory("dualtalker") + "/launch/talker.launch.py"
        ),
        launch_arguments={"use_sim_time": "true", "audio_topic": topic}.items(),
    )
    recorder = make_node(
        "recorder",
        output=str(recorded),
        topics=[topic, *references, *RECORDED],
        use_sim_time=True,
    )
    player = make_node(
        "bag_player",
        bag=bag,
        audio_topic=topic,
        topics=[topic, *references],
        wait_for_subscribers=2,
    )
    stop = EmitEvent(event=ShutdownProcess(process_matcher=matches_action(recorder)))
    evaluation = make_evaluation(context, str(recorded), output, topic)
    order = {player: [stop], recorder: [evaluation], evaluation: []}
    return [talker, recorder, player, run_in_turn(order)]


def make_node(name: str, **parameters: Any) -> Node:
    """Return one of the package's nodes."""
    return Node(
        package="dualtalker",
        executable=f"{name}_node",
        name=name,
        parameters=[parameters],
        output="screen",
    )
