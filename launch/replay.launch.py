"""Tells from a rosbag how good the face is: ros2 launch dualtalker replay.launch.py bag:=talk/

    ros2 launch dualtalker replay.launch.py bag:=talk/ reference:=captured.csv output:=report/
    ros2 launch dualtalker replay.launch.py bag:=talk/ live:=true audio_topic:=/mic/audio

By default the bag is evaluated as it is, by the talker's own code and faster than real time. With
`live` it is played (by `ros2 bag`) to a talker node in simulated time, what the node sends is
recorded to OUTPUT/bag, and that is evaluated. The report is OUTPUT/report.html.
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
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import matches_action
from launch.events.process import ShutdownProcess
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

# Arguments handed on to `dualtalker evaluate`, and to the talker where it is live.
OPTIONS = {
    "reference": "Motion to compare with, a topic of the bag or a CSV file.",
    "model": "Model bundle: path of its .onnx; the .json lies beside it.",
    "engine": "Backend that runs the model: auto, onnxruntime, tensorrt.",
}
# The talker loads its model before the bag begins, and sends its last frames after its end.
BEFORE_S = 5.0
AFTER_S = 1.0
REFERENCE_TOPIC = "/reference/blendshapes"


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
    """Return what the arguments ask for."""
    bag, output, topic = (
        LaunchConfiguration(name).perform(context) for name in ("bag", "output", "audio_topic")
    )
    if LaunchConfiguration("live").perform(context).lower() != "true":
        return finish_with(make_evaluation(context, bag, output, topic))
    return make_live(context, bag, output, topic or "/audio")


def make_evaluation(context: Any, bag: str, output: str, topic: str) -> ExecuteProcess:
    """Return the process of `dualtalker evaluate`; works without ROS, too."""
    command = ["python3", "-m", "dualtalker.command", "evaluate", bag, "--out", output]
    for name in OPTIONS:
        value = LaunchConfiguration(name).perform(context)
        command += [f"--{name}", value] if value else []
    command += ["--audio-topic", topic] if topic else []
    return ExecuteProcess(cmd=command, output="screen")


def finish_with(last: ExecuteProcess) -> list[Any]:
    """Return the last process, and what ends the launch after it."""
    done = Shutdown(reason="the report is finished")
    return [last, RegisterEventHandler(OnProcessExit(target_action=last, on_exit=[done]))]


def make_live(context: Any, bag: str, output: str, topic: str) -> list[Any]:
    """Return talker, recorder and player; each one's end starts what comes after it."""
    recorded = Path(output) / "bag"
    if recorded.exists():
        raise FileExistsError(f"{recorded} exists; remove it or choose another output:=")
    recorded.parent.mkdir(parents=True, exist_ok=True)
    talker = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            get_package_share_directory("dualtalker") + "/launch/talker.launch.py"
        ),
        launch_arguments={"use_sim_time": "true", "audio_topic": topic}.items(),
    )
    recorder = Node(
        package="dualtalker",
        executable="recorder_node",
        name="recorder",
        parameters=[
            {
                "output": str(recorded),
                "topics": [topic, "blendshapes", "mouth_open", "/diagnostics", REFERENCE_TOPIC],
            }
        ],
        output="screen",
    )
    play = ["ros2", "bag", "play", bag, "--clock", "100", "--topics", topic, REFERENCE_TOPIC]
    player = ExecuteProcess(cmd=play, output="screen")
    stop = EmitEvent(event=ShutdownProcess(process_matcher=matches_action(recorder)))
    evaluation = make_evaluation(context, str(recorded), output, topic)
    return [
        talker,
        recorder,
        TimerAction(period=BEFORE_S, actions=[player]),
        RegisterEventHandler(
            OnProcessExit(
                target_action=player, on_exit=[TimerAction(period=AFTER_S, actions=[stop])]
            )
        ),
        RegisterEventHandler(
            OnProcessExit(target_action=recorder, on_exit=finish_with(evaluation))
        ),
    ]
