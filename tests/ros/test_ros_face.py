"""The face node: frames of a topic on screens, at the time of their sound."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import socket
import subprocess
import threading
import time

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, HEAD_NAMES
from dualtalker_ros.topics import fill_message
from face_viewers import Seen, join, read_binary
from ros_processes import TIMEOUT_S, command_of, running

pytestmark = pytest.mark.usefixtures("ros")

RATE_HZ = 16000
LATENCY_S = 0.31
TYPED = "audio_common_msgs/msg/AudioData"
MISSING_TYPE = (
    []
    if importlib.util.find_spec("audio_common_msgs")
    else [({"port": 0, "audio_type": TYPED}, f"no Python messages for {TYPED}")]
)


class Screen:
    """A viewer in a thread of its own; `frames` and `sound` grow."""

    def __init__(self, port: int, query: str = ""):
        self.frames: list[Seen] = []
        self.sound: list[Seen] = []
        self._port, self._query = port, query
        self._stop = threading.Event()
        self._joined = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._watch()))

    def __enter__(self):
        self._thread.start()
        assert self._joined.wait(TIMEOUT_S)
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()

    async def _watch(self):
        viewer, self.hello = await join(self._port, self._query)
        self._joined.set()
        message = None
        while not self._stop.is_set():
            message = asyncio.ensure_future(viewer.read_message()) if message is None else message
            done, _ = await asyncio.wait({message}, timeout=0.1)
            if done:
                read, message = message.result(), None
                if read is None:
                    return
                if isinstance(read, bytes):
                    seen = read_binary(read)
                    (self.frames if seen.kind == 1 else self.sound).append(seen)
        viewer.close()


class Wire:
    """A face node, what it tells, and the means to speak to it."""

    def __init__(self, listener, log, port):
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Float32, Int16MultiArray

        self.listener, self.log, self.port = listener, log, port
        node = listener.node
        self.faces = node.create_publisher(JointState, "/blendshapes", 100)
        self.latency = node.create_publisher(Float32, "/speaker/latency", 10)
        self.speech = node.create_publisher(Int16MultiArray, "/audio", 100)
        self.diagnostics = listener.hear(DiagnosticArray, "/diagnostics")
        listener.meet(self.faces)

    def show(self, weights, stamp_s=None, names=ARKIT_NAMES):
        from sensor_msgs.msg import JointState

        message = JointState(name=list(names), position=[float(w) for w in weights])
        stamp_s = time.time() if stamp_s is None else stamp_s
        message.header.stamp.sec = int(stamp_s)
        message.header.stamp.nanosec = int((stamp_s % 1) * 1e9)
        self.faces.publish(message)

    def value(self, key):
        for _, message in reversed(self.diagnostics):
            for status in message.status:
                if status.name.startswith("face:"):
                    return {pair.key: pair.value for pair in status.values}[key]
        return None


@pytest.fixture
def wire(listener, tmp_path):
    log = tmp_path / "face.log"
    with running("face_node", log, port=0):
        listener.spin_until(lambda: "the face:" in log.read_text())
        yield Wire(listener, log, int(re.search(r":(\d+)/", log.read_text())[1]))
    assert "Traceback" not in log.read_text()


def test_frames_are_shown_with_the_sound_of_the_speaker(wire):
    from std_msgs.msg import Float32

    wire.listener.meet(wire.latency)
    wire.latency.publish(Float32(data=LATENCY_S))
    wire.listener.spin_until(lambda: wire.value("show delay is of") == "speaker")
    weights = np.zeros(52)
    weights[ARKIT_INDEX["jawOpen"]] = 0.5
    with Screen(wire.port) as screen:
        assert screen.hello["names"] == [*ARKIT_NAMES, *HEAD_NAMES]
        offset_s = time.time() - time.monotonic()
        stamps_s = [time.time() - 0.15 + k / 60 for k in range(20)]
        for stamp_s in stamps_s:
            wire.show(weights, stamp_s)
        wire.listener.spin_until(lambda: len(screen.frames) >= 20)
        shown = screen.frames[-20:]
    for frame, stamp_s in zip(shown, stamps_s, strict=True):
        assert frame.stamp == pytest.approx(stamp_s, abs=1e-6)
        assert frame.at_s + offset_s == pytest.approx(stamp_s + LATENCY_S, abs=1.5e-3)
        assert frame.values[ARKIT_INDEX["jawOpen"]] == 0.5
        assert frame.values.sum() == 0.5


def test_values_find_their_place_by_name(wire):
    names = ["headYaw", "jawOpen", "ears", "headRoll"]
    with Screen(wire.port) as screen:
        wire.show([0.1, 0.2, 0.3, -0.4], names=names)
        wire.listener.spin_until(lambda: screen.frames)
    values = dict(zip([*ARKIT_NAMES, *HEAD_NAMES], screen.frames[-1].values.tolist(), strict=True))
    expected = {"headYaw": 0.1, "jawOpen": 0.2, "headRoll": -0.4}
    assert {name: round(v, 5) for name, v in values.items() if v} == expected


def test_bad_frames_are_counted_and_the_node_lives_on(wire):
    with Screen(wire.port) as screen:
        wire.show([0.5], names=["jawOpen", "mouthClose"])
        wire.show([float("nan")], names=["jawOpen"])
        wire.show([0.5], names=["left_arm"])
        wire.show([0.5], 12.0, names=["jawOpen"])  # of another clock: shown as it comes
        wire.listener.spin_until(lambda: screen.frames)
        assert abs(screen.frames[-1].at_s - time.monotonic()) < 5.0
        wire.listener.spin_until(lambda: wire.value("bad_frames") == "3")
    assert wire.value("foreign_stamps") == "1"
    assert len(screen.frames) == 1


def test_sound_is_heard_only_while_a_screen_is_a_loudspeaker(wire):
    def listeners():
        return wire.speech.get_subscription_count()

    with Screen(wire.port) as screen:
        wire.listener.spin(1.0)
        assert listeners() == 0
    with Screen(wire.port, "?audio=1") as screen:
        wire.listener.spin_until(listeners)
        wire.listener.meet(wire.speech)
        wire.show(np.zeros(52), time.time() - 0.1)
        stamp_ns = time.time_ns()
        offset_s = time.time() - time.monotonic()
        for k in range(5):
            wire.speech.publish(_speak(stamp_ns + k * 20_000_000))
        wire.listener.spin_until(lambda: len(screen.sound) >= 5)
        first = screen.sound[0]
        # Frame and sound of one instant are shown at one time.
        frame = screen.frames[-1]
        assert first.at_s + offset_s - stamp_ns / 1e9 == pytest.approx(
            frame.at_s + offset_s - frame.stamp, abs=2e-3
        )
        assert [piece.stamp for piece in screen.sound] == [320.0 * k for k in range(5)]
    wire.listener.spin_until(lambda: listeners() == 0)


def _speak(stamp_ns):
    from std_msgs.msg import Int16MultiArray

    samples = np.full(320, 0.25, np.float32)
    return fill_message(Int16MultiArray(), samples, RATE_HZ, stamp_ns, stamp_layout=True)


def test_simulated_time_that_ticks_slowly_makes_no_frame_jump(listener, tmp_path):
    """Frames stand on the screens' time as their stamps do, not as the ticks of /clock."""
    from rosgraph_msgs.msg import Clock

    log, begin_s = tmp_path / "face.log", time.monotonic() - 50.0
    with running("face_node", log, port=0, use_sim_time=True):
        listener.spin_until(lambda: "the face:" in log.read_text())
        wire = Wire(listener, log, int(re.search(r":(\d+)/", log.read_text())[1]))
        ticks = listener.node.create_publisher(Clock, "/clock", 10)
        listener.meet(ticks)
        with Screen(wire.port) as screen:
            tick_s = 0.0
            for _ in range(150):
                now_s = time.monotonic() - begin_s
                if now_s - tick_s >= 0.1:
                    tick_s, message = now_s, Clock()
                    message.clock.sec, message.clock.nanosec = divmod(int(now_s * 1e9), 10**9)
                    ticks.publish(message)
                wire.show(np.zeros(52), now_s)
                listener.spin(0.02)
            listener.spin_until(lambda: len(screen.frames) >= 100)
            frames = screen.frames[60:]
    apart_s = np.diff([frame.at_s for frame in frames])
    np.testing.assert_allclose(apart_s, np.diff([f.stamp for f in frames]), atol=0.03)


def test_parameters_that_would_take_no_effect_are_not_taken(wire):
    """The face reads them once, at its start."""
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    node = wire.listener.node
    client = node.create_client(SetParameters, "/face/set_parameters")
    wire.listener.spin_until(client.service_is_ready)
    for given in (
        Parameter("channels", value=2),
        Parameter("audio_type", value="std_msgs/msg/Int16MultiArray"),
        Parameter("audio_delay_ms", value=200),
    ):
        request = SetParameters.Request(parameters=[given.to_parameter_msg()])
        done = client.call_async(request)
        wire.listener.spin_until(done.done)
        assert not done.result().results[0].successful, given.name


def test_a_taken_port_and_a_missing_rig_end_the_node_with_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for parameters, expected in (
            ({"port": port}, f"cannot listen on 127.0.0.1:{port}"),
            ({"port": 0, "rig": "missing.glb"}, "missing.glb: no such file"),
            ({"port": 0, "audio_type": "audio/msg/Other"}, "expected one of: auto, std_msgs"),
            *MISSING_TYPE,
        ):
            done = subprocess.run(
                command_of("face_node", **parameters),
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
            )
            assert done.returncode == 1
            assert expected in done.stderr
            assert "Traceback" not in done.stderr
