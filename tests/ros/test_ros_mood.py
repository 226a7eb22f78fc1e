"""The topics `expression` and `look_at` of a running node."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX
from ros_processes import running

pytestmark = pytest.mark.usefixtures("ros")


class Face:
    """A talker's frames and counters, and the means to move it."""

    def __init__(self, listener, log, namespace=""):
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import PointStamped
        from sensor_msgs.msg import JointState
        from std_msgs.msg import String

        self.listener, self.log, self._namespace = listener, log, namespace
        self.frames = listener.hear(JointState, f"{namespace}/blendshapes")
        self.diagnostics = listener.hear(DiagnosticArray, "/diagnostics")
        self._mood = listener.node.create_publisher(String, f"{namespace}/expression", 10)
        self._target = listener.node.create_publisher(PointStamped, f"{namespace}/look_at", 10)
        listener.meet(self._mood)
        listener.meet(self._target)

    def feel(self, text):
        from std_msgs.msg import String

        self._mood.publish(String(data=text))

    def look(self, x, y, z, frame_id=""):
        from geometry_msgs.msg import PointStamped

        message = PointStamped()
        message.header.frame_id = frame_id
        message.point.x, message.point.y, message.point.z = x, y, z
        self._target.publish(message)

    def wait(self, condition):
        """Wait for a frame whose values by name fit."""
        seen = len(self.frames)

        def fits():
            return any(
                condition(dict(zip(m.name, m.position, strict=True)))
                for _, m in self.frames[seen:]
            )

        self.listener.spin_until(fits)

    def count(self, kind):
        for _, message in reversed(self.diagnostics):
            for status in message.status:
                if status.name.startswith("talker") is bool(self._namespace):
                    continue
                values = {pair.key: pair.value for pair in status.values}
                if kind in values:
                    return int(values[kind])
        return 0


@pytest.fixture(scope="module")
def face(listener, tiny, tmp_path_factory):
    log = tmp_path_factory.mktemp("mood") / "log"
    with running("talker_node", log, model=tiny, idle_motion=True, head_motion=True):
        listener.spin_until(
            lambda: "listening" in log.read_text() or "executor" in log.read_text()
        )
        yield Face(listener, log)
    assert "Traceback" not in log.read_text()


def test_an_expression_comes_and_goes(face):
    face.feel("happy")
    face.wait(lambda w: w["mouthSmileLeft"] > 0.55 and w["cheekSquintRight"] > 0.4)
    face.feel("surprised:0.5, scared:0.5")
    face.wait(lambda w: w["eyeWideLeft"] > 0.6 and w["mouthSmileLeft"] < 0.01)
    face.feel("")
    face.wait(lambda w: w["eyeWideLeft"] < 0.2 and w["jawOpen"] < 0.01)


def test_eyes_and_head_turn_to_a_point(face):
    face.look(1.0, 0.5, 0.0)
    face.wait(lambda w: w["eyeLookOutLeft"] > 0.3)
    face.wait(lambda w: w["headYaw"] > 0.15)
    face.look(0.0, 0.0, 0.0)
    face.wait(lambda w: w["headYaw"] < 0.1 and w["eyeLookOutLeft"] < 0.25)


def test_what_makes_no_sense_is_counted_and_the_face_lives_on(face):
    refused = face.count("refused_expressions"), face.count("refused_targets")
    face.feel("hapy")
    face.feel("happy:nan")
    face.look(1.0, 0.0, 0.0, "map")
    face.look(float("nan"), 0.0, 0.0)
    face.listener.spin_until(
        lambda: (
            face.count("refused_expressions") == refused[0] + 2
            and face.count("refused_targets") == refused[1] + 2
        )
    )
    text = face.log.read_text()
    assert "did you mean happy" in text
    assert "'map'" in text and "transform" in text
    before = len(face.frames)
    face.listener.spin_until(lambda: len(face.frames) > before + 5)
    values = np.array(face.frames[-1][1].position[:52])
    assert np.isfinite(values).all() and values[ARKIT_INDEX["mouthSmileLeft"]] < 0.05


# A tf2_ros of the names that are used: it knows the way from `map` from the third look on. Its
# map lies 2 m behind the head's frame and is turned to the right.
TF2_ROS = """
from geometry_msgs.msg import TransformStamped

class TransformException(Exception):
    pass

class Buffer:
    looks = 0
    def lookup_transform(self, target, source, time):
        assert target == "face"
        self.looks += time.nanoseconds == 0
        if source != "map" or time.nanoseconds or self.looks < 3:
            raise TransformException(f"{source} is not there yet")
        found = TransformStamped()
        found.transform.translation.x = -2.0
        found.transform.rotation.z = found.transform.rotation.w = 0.5 ** 0.5
        return found

class TransformListener:
    def __init__(self, buffer, node):
        print("tf2 is heard", flush=True)
    def unregister(self):
        pass
"""


def test_points_of_other_frames_are_transformed(listener, tiny, tmp_path, monkeypatch):
    (tmp_path / "tf2_ros.py").write_text(TF2_ROS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ['PYTHONPATH']}")
    log = tmp_path / "log"
    with running("talker_node", log, ["__ns:=/turned"], model=tiny, head_motion=True):
        listener.spin_until(lambda: "executor" in log.read_text())
        face = Face(listener, log, "/turned")
        face.look(1.0, 0.5, 0.0)  # in its own frame: nothing of tf2
        face.wait(lambda w: w["eyeLookOutLeft"] > 0.3)
        assert "tf2 is heard" not in log.read_text()
        face.look(-1.0, -4.0, 0.0, "map")  # turned by 90 degrees to (4, -1), less 2: (2, -1)
        face.wait(lambda w: w["eyeLookOutRight"] > 0.3 and w["headYaw"] < -0.1)
        face.look(1.0, 0.0, 0.0, "moon")
        listener.spin_until(lambda: face.count("refused_targets") == 1)
    text = log.read_text()
    assert "moon is not there yet" in text and "Traceback" not in text


def test_the_skill_sets_an_expression_where_its_messages_are(
    listener, interfaces, tiny, tmp_path, monkeypatch
):
    """Said by a process of its own, as the test's has no such messages."""
    path = f"{interfaces['skills']}:{os.environ['PYTHONPATH']}"
    monkeypatch.setenv("PYTHONPATH", path)
    code = (
        "import time, rclpy; from interaction_skills.msg import SetExpression; "
        "rclpy.init(); node = rclpy.create_node('skill'); "
        "said = node.create_publisher(SetExpression, '/skilled/set_expression', 10); "
        "message = SetExpression(); message.expression.expression = 'happy'; "
        "[(said.publish(message), time.sleep(0.1)) for _ in range(50)]"
    )
    log = tmp_path / "log"
    with running("talker_node", log, ["__ns:=/skilled"], model=tiny):
        listener.spin_until(lambda: "executor" in log.read_text())
        face = Face(listener, log, "/skilled")
        with subprocess.Popen([sys.executable, "-c", code]) as speaker:
            face.wait(lambda w: w["mouthSmileLeft"] > 0.55)
            speaker.kill()
        listener.spin(0.3)  # what was on its way arrives
        face.feel("")  # as before, on the topic of its own
        face.wait(lambda w: w["mouthSmileLeft"] < 0.1)
    assert "Traceback" not in log.read_text()
