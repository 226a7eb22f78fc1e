"""The bridge node: frames of a topic to programs that speak other protocols."""

from __future__ import annotations

import importlib.util
import os
import socket
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from ros_processes import TIMEOUT_S, command_of, running

pytestmark = pytest.mark.usefixtures("ros")


@pytest.fixture
def receiver():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        found.settimeout(TIMEOUT_S)
        yield found


def test_frames_go_out_by_name_and_bad_ones_are_counted(listener, receiver, tmp_path):
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import JointState

    faces = listener.node.create_publisher(JointState, "/blendshapes", 100)
    told = listener.hear(DiagnosticArray, "/diagnostics")
    address = f"livelink://127.0.0.1:{receiver.getsockname()[1]}"

    def count(kind):
        values = {}
        for _, message in told:
            for status in message.status:
                if status.name.startswith("bridge:"):
                    values |= {pair.key: pair.value for pair in status.values}
        return int(values.get(kind, 0))

    log = tmp_path / "bridge.log"
    with running("bridge_node", log, send=f'["{address}"]'):
        listener.meet(faces)
        for name, value in (("ears", 1.0), ("jawOpen", float("nan"))):
            faces.publish(JointState(name=[name], position=[value]))
        faces.publish(JointState(name=["headYaw", "jawOpen"], position=[0.25, 0.5]))
        data = receiver.recv(4096)
        listener.spin_until(lambda: count("bad_frames") == 2 and count(f"{address}: sent") == 1)
    values = np.array(struct.unpack(">61f", data[-61 * 4 :]))
    assert values[ARKIT_INDEX["jawOpen"]] == 0.5 and values[len(ARKIT_NAMES)] == 0.25
    assert values.sum() == 0.75
    assert "Traceback" not in log.read_text() and log.read_text().count("only counted") == 1


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({}, "nowhere to send to"), ({"send": '["unreal://host"]'}, "is no output; expected vmc://")],
)
def test_addresses_that_mean_none_end_the_node(ros, parameters, said):
    done = subprocess.run(
        command_of("bridge_node", **parameters), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode not in (0, -11) and said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_addresses_in_a_file_need_no_quotes(ros, tmp_path):
    """As launch writes them."""
    path = tmp_path / "bridge.yaml"
    path.write_text("bridge:\n  ros__parameters:\n    send:\n    - unreal://host:1\n")
    command = [*command_of("bridge_node"), "--params-file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert "'unreal://host:1' is no output" in done.stdout + done.stderr


SERVOS = """
topic: /jaw/commands
rate_hz: 100
joints:
  lid: {shapes: {eyeBlink: -1}, limits: [-1, 1]}
  jaw: {shapes: {jawOpen: 1}, gain: 0.5, limits: [0, 0.4], lead_ms: 100}
"""


def publish_ramp(listener, faces, frames=90, fps=60):
    """A jaw that opens in 1.5 s, each frame sent when its audio is due; return the first stamp."""
    from sensor_msgs.msg import JointState

    began_s = time.time() + 0.05
    for k in range(frames):
        stamp_s = began_s + k / fps
        listener.spin(max(stamp_s - time.time(), 0.0))
        message = JointState(name=["jawOpen"], position=[k / frames])
        message.header.stamp.sec = int(stamp_s)
        message.header.stamp.nanosec = int((stamp_s % 1) * 1e9)
        faces.publish(message)
    return began_s


def test_servos_move_ahead_of_the_sound_by_the_lag_of_their_motors(listener, tmp_path):
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Float64MultiArray

    faces = listener.node.create_publisher(JointState, "/blendshapes", 100)
    told = listener.hear(DiagnosticArray, "/diagnostics")
    moved = listener.hear(Float64MultiArray, "/jaw/commands")
    file, log = tmp_path / "robot.yaml", tmp_path / "bridge.log"
    file.write_text(SERVOS)
    with running("bridge_node", log, servos=file, audio_delay_ms=250.0):
        listener.meet(faces)
        began_s = publish_ramp(listener, faces)
        listener.spin_until(lambda: moved and moved[-1][1].data[1] == 0.4 and told)
        values = {pair.key: pair.value for pair in told[-1][1].status[0].values}
    offset_s = time.time() - time.monotonic()
    at_s = np.array([came_s + offset_s for came_s, _ in moved])
    jaw = np.array([message.data[1] for _, message in moved])
    assert all(message.data[0] == 0.0 for _, message in moved)
    # Half of the way down is the face of 0.4 x 1.5 s, whose sound is heard 250 ms later: the
    # motor, which lags by 100 ms, is told 100 ms before.
    crossed_s = np.interp(0.2, jaw, at_s)
    assert crossed_s == pytest.approx(began_s + 0.4 * 1.5 + 0.25 - 0.1, abs=0.06)
    assert np.median(np.diff(at_s)) == pytest.approx(0.01, abs=0.002)
    assert 100 < float(values["lead available (ms)"]) <= 250 - 1000 / 60 + 1
    assert values["short_leads"] == "0"


def test_speech_that_is_known_far_ahead_keeps_its_time(listener, tmp_path):
    """Stamps that follow each other may go ahead; one alone so far ahead is of another clock."""
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Float64MultiArray

    faces = listener.node.create_publisher(JointState, "/blendshapes", 100)
    told = listener.hear(DiagnosticArray, "/diagnostics")
    moved = listener.hear(Float64MultiArray, "/jaw/commands")
    file, log = tmp_path / "robot.yaml", tmp_path / "bridge.log"
    file.write_text(SERVOS)

    def say(ahead_s, jaw):
        message = JointState(name=["jawOpen"], position=[jaw])
        message.header.stamp.sec = int(time.time() + ahead_s)
        faces.publish(message)

    def value(name):
        values = {pair.key: pair.value for pair in told[-1][1].status[0].values} if told else {}
        return int(values.get(name, 0))

    with running("bridge_node", log, servos=file, audio_delay_ms=250.0):
        listener.meet(faces)
        for second in range(30):
            say(second, float(second > 20))
        listener.spin_until(lambda: value("frames") == 30)
        assert value("foreign_stamps") == 0 and moved[-1][1].data[1] == 0.0
        say(100.0, 1.0)
        listener.spin_until(lambda: value("foreign_stamps") == 1)
        listener.spin_until(lambda: moved[-1][1].data[1] > 0.0)
    assert "taken for now" in log.read_text()


def test_a_lead_that_cannot_be_is_told(listener, tmp_path):
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import JointState

    faces = listener.node.create_publisher(JointState, "/blendshapes", 100)
    told = listener.hear(DiagnosticArray, "/diagnostics")
    file, log = tmp_path / "robot.yaml", tmp_path / "bridge.log"
    file.write_text(SERVOS)
    with running("bridge_node", log, servos=file, audio_delay_ms=60.0):
        listener.meet(faces)
        publish_ramp(listener, faces)
        listener.spin_until(
            lambda: any(status.level > b"\0" for _, m in told for status in m.status)
        )
    assert "short_leads: a joint is to move 100 ms before its sound" in log.read_text()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("jawOpen", "jawOpne", "joint jaw: no blendshape 'jawOpne'; did you mean jawOpen"),
        ("topic:", "message: trajectory\ntopic:", "trajectory_msgs"),
        ("/jaw/commands", "1jaw", "topic name"),
    ],
)
def test_servos_that_cannot_be_end_the_node(ros, tmp_path, old, new, said):
    if "trajectory" in new and importlib.util.find_spec("trajectory_msgs"):
        pytest.skip("trajectory_msgs is installed")
    file = tmp_path / "robot.yaml"
    file.write_text(SERVOS.replace(old, new))
    done = subprocess.run(
        command_of("bridge_node", servos=file), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode not in (0, -11) and said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_trajectories_where_their_messages_are_installed(listener, interfaces, tmp_path):
    """Of generated messages: with names, positions and velocities of the next step."""
    file = tmp_path / "robot.yaml"
    file.write_text("message: trajectory\n" + SERVOS)
    code = (
        "import sys, rclpy, numpy as np; from pathlib import Path; "
        "from dualtalker.outputs import load_servos; "
        "from dualtalker_ros.topics import ServoCommands; "
        "rclpy.init(); node = rclpy.create_node('n'); "
        "commands = ServoCommands(node, load_servos(Path(sys.argv[1]))); "
        "commands.send(np.array([0.25, 0.5]), np.array([1.0, -1.0])); print(commands._message)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        env={**os.environ, "PYTHONPATH": f"{interfaces['trajectory']}:{os.environ['PYTHONPATH']}"},
        capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    assert "joint_names=['lid', 'jaw']" in done.stdout, done.stderr
    assert "positions=[0.25, 0.5], velocities=[1.0, -1.0]" in done.stdout
    assert "nanosec=10000000" in done.stdout


def test_warnings_of_the_library_go_to_the_nodes_log(listener, receiver, tmp_path):
    from rcl_interfaces.msg import Log
    from sensor_msgs.msg import JointState

    faces = listener.node.create_publisher(JointState, "/robot/blendshapes", 100)
    heard = listener.hear(Log, "/rosout")
    port = receiver.getsockname()[1]
    receiver.close()
    log = tmp_path / "bridge.log"
    address = f'["livelink://127.0.0.1:{port}"]'
    with running("bridge_node", log, ["__ns:=/robot"], send=address):
        listener.meet(faces)

        def told():
            faces.publish(JointState(name=["jawOpen"], position=[0.5]))
            return [m for _, m in heard if m.name == "robot.bridge" and "unreachable" in m.msg]

        listener.spin_until(told)
