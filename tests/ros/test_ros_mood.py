"""The topics `expression` and `look_at` of a running node."""

from __future__ import annotations

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX
from ros_processes import running

pytestmark = pytest.mark.usefixtures("ros")


class Face:
    """A talker's frames and counters, and the means to move it."""

    def __init__(self, listener, log):
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import PointStamped
        from sensor_msgs.msg import JointState
        from std_msgs.msg import String

        self.listener, self.log = listener, log
        self.frames = listener.hear(JointState, "/blendshapes")
        self.diagnostics = listener.hear(DiagnosticArray, "/diagnostics")
        self._mood = listener.node.create_publisher(String, "/expression", 10)
        self._target = listener.node.create_publisher(PointStamped, "/look_at", 10)
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
