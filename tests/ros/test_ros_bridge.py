"""The bridge node: frames of a topic to programs that speak other protocols."""

from __future__ import annotations

import socket
import struct
import subprocess

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
