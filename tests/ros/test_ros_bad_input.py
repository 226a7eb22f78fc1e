"""A talker node in this process meets audio of all bad kinds: counted, told once, frames go on."""

from __future__ import annotations

import array
import json
import shutil
import subprocess
import time
from types import SimpleNamespace as Fields

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.audio import AudioFormat
from dualtalker.errors import BackendError
from ros_processes import TIMEOUT_S, command_of

RATE_HZ = 16000
JAW = ARKIT_INDEX["jawOpen"]

pytestmark = pytest.mark.usefixtures("ros")


class Theater:
    """An active talker node, fed by hand in real time; keeps what it publishes."""

    def __init__(self, node):
        from rclpy.executors import SingleThreadedExecutor

        self.node, self.jaw, self.sent_s = node, [], []
        self._send = node._face.send
        node._face.send = self._keep
        node._timers[1].cancel()  # diagnostics are looked at by `status`
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)

    def _keep(self, timed):
        self.sent_s.append(time.monotonic())
        self.jaw.append(float(timed.frame.weights[JAW]))
        self._send(timed)

    def spin(self, duration_s):
        deadline_s = time.monotonic() + duration_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def feed(self, messages, chunk_s=0.02):
        """Give one message every `chunk_s`, and look at what came of them."""
        self.jaw.clear()
        self.sent_s.clear()
        begun_s = time.monotonic()
        for number, message in enumerate(messages):
            self.node._audio.receive(message)
            self.spin(begun_s + (number + 1) * chunk_s - time.monotonic())

    def status(self):
        """Return level and values of the diagnostics since the last call."""
        node = self.node
        status = node._diagnostician.examine(node._published, node._face.sent).status[0]
        return status.level, {pair.key: pair.value for pair in status.values}

    def assert_alive(self):
        """Frames went on, also on a busy machine."""
        assert len(self.sent_s) > 0.6 * 30 * (self.sent_s[-1] - self.sent_s[0])
        assert np.diff(self.sent_s).max() < 1.0


@pytest.fixture(scope="module")
def context(ros_domain):
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    rclpy.try_shutdown(context=context)


@pytest.fixture
def theater(context, tiny):
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.parameter import Parameter

    from dualtalker_ros.nodes.talker_node import TalkerNode

    overrides = [Parameter("model", value=str(tiny))]
    node = TalkerNode(context=context, parameter_overrides=overrides)
    for transition in (node.trigger_configure, node.trigger_activate):
        assert transition() == TransitionCallbackReturn.SUCCESS
    theater = Theater(node)
    theater.spin(0.3)
    theater.status()
    yield theater
    theater._executor.shutdown()
    node.destroy_node()


def speech(duration_s, rate_hz=RATE_HZ):
    """Noise in syllables [n], -0.8 to 0.8."""
    noise = np.random.default_rng(0).uniform(-0.8, 0.8, round(duration_s * rate_hz))
    return noise * np.sin(np.arange(len(noise)) * 4 * np.pi / rate_hz) ** 2


def cut(values, size):
    return [values[first : first + size] for first in range(0, len(values), size)]


def std_array(typecode, values, **labels):
    dim = [Fields(label=label, size=size, stride=0) for label, size in labels.items()]
    data = array.array(typecode, values.tobytes())
    return Fields(layout=Fields(dim=dim, data_offset=0), data=data)


def stamped(samples, stamp_ns):
    pcm = (samples * 32767).astype("<i2")
    sec, nanosec = divmod(stamp_ns, 10**9)
    return Fields(
        header=Fields(stamp=Fields(sec=sec, nanosec=nanosec)),
        audio=Fields(data=array.array("B", pcm.tobytes())),
    )


def test_infinity_is_counted_and_what_comes_between_is_heard(theater):
    messages = []
    for chunk in cut(speech(1.0).astype(np.float32), 320):
        broken = chunk.copy()
        broken[7] = np.inf
        messages += [std_array("f", chunk), std_array("f", broken)]
    theater.feed(messages, chunk_s=0.01)
    level, values = theater.status()
    assert (level, values["nonfinite_messages"]) == (b"\x01", "50")
    assert max(theater.jaw) > 0.1
    theater.assert_alive()


def labeled(samples, rate_hz):
    message = std_array("h", (samples * 32767).astype(np.int16))
    label = Fields(label=f"sample_rate_hz={rate_hz}", size=1, stride=1)
    return Fields(layout=Fields(dim=[label], data_offset=0), data=message.data)


def test_the_highest_rate_is_heard(theater):
    samples = np.repeat(speech(1.0), 12)
    theater.feed([labeled(chunk, 192000) for chunk in cut(samples, 3840)])
    values = theater.status()[1]
    assert values["undecodable_messages"] == "0"
    assert max(theater.jaw) > 0.1
    theater.assert_alive()


def test_rates_beyond_are_refused(theater):
    rates_hz = [7999, 192001, 5_000_000]
    chunks = enumerate(cut(speech(0.5), 320))
    theater.feed([labeled(chunk, rates_hz[number % 3]) for number, chunk in chunks])
    level, values = theater.status()
    assert (level, values["undecodable_messages"]) == (b"\x01", "25")
    assert max(theater.jaw) < 0.02
    theater.assert_alive()


def as_bytes(samples, sample_format):
    if sample_format == "U8":
        return ((samples * 127) + 128).astype(np.uint8).tobytes()
    if sample_format == "S8":
        return (samples * 127).astype(np.int8).tobytes()
    wide = (samples * (2**23 - 1)).astype("<i4")
    return wide.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()  # S24LE


@pytest.mark.parametrize("sample_format", ["S24LE", "U8", "S8"])
def test_byte_formats_are_heard(theater, sample_format):
    theater.node._audio.format = AudioFormat(RATE_HZ, 1, sample_format)
    theater.feed(
        [
            Fields(data=array.array("B", as_bytes(chunk, sample_format)))
            for chunk in cut(speech(1.0), 320)
        ]
    )
    assert theater.status()[1]["undecodable_messages"] == "0"
    assert max(theater.jaw) > 0.1
    theater.assert_alive()


def test_six_channels_are_mixed(theater):
    six = np.repeat((speech(1.0) * 32767).astype(np.int16)[:, None], 6, axis=1)
    theater.feed([std_array("h", chunk, channels=6) for chunk in cut(six, 320)])
    assert theater.status()[1]["undecodable_messages"] == "0"
    assert max(theater.jaw) > 0.1
    theater.assert_alive()


def test_time_that_goes_back_is_counted_and_told(theater, caplog):
    begun_ns = time.time_ns()
    messages = []
    for number, chunk in enumerate(cut(speech(2.0), 320)):
        step_ns = -5 * 10**9 if number >= 50 else 0
        messages.append(stamped(chunk, begun_ns + number * 20_000_000 + step_ns))
    theater.feed(messages)
    level, values = theater.status()
    assert level >= b"\x01"  # an error where the machine is too busy for its frames
    assert values["clock_offsets"] == "1"
    assert caplog.text.count("clock_offsets") == 1
    assert max(theater.jaw[len(theater.jaw) // 2 + 3 :]) > 0.1, "speech after the step is heard"
    theater.assert_alive()


def test_long_chunks_stamped_with_their_first_sample_are_waited_for(theater, caplog):
    """200 ms each, sent when full: not bad, but as late as audio that has stopped."""
    noise = np.random.default_rng(0).uniform(-0.8, 0.8, 3 * RATE_HZ)
    begun_ns = time.time_ns()
    messages = [
        stamped(chunk, begun_ns + (number - 1) * 200_000_000)
        for number, chunk in enumerate(cut(noise, 3200))
    ]
    theater.feed(messages, chunk_s=0.2)
    values = theater.status()[1]
    assert values["delay_growths"] == "1"
    growth_ms = float(values["planned delay (ms)"]) - float(values["stated latency (ms)"])
    assert growth_ms == pytest.approx(205, abs=5)
    assert float(values["starvation (ms)"]) == 300
    assert caplog.text.count("chunks of 200 ms") == 1
    spoken = np.flatnonzero(np.array(theater.jaw) > 0.1)
    assert (np.diff(spoken) == 1).all() and len(spoken) > 60, "the mouth never shuts in between"
    theater.assert_alive()


def test_a_model_that_fails_in_mid_stream_does_not_end_the_node(theater, monkeypatch, caplog):
    def fail(audio, state, style=None):
        raise BackendError("the device is gone")

    backend = theater.node._delivery.talker._backend
    messages = [std_array("f", chunk) for chunk in cut(speech(1.0).astype(np.float32), 320)]
    with monkeypatch.context() as patch:
        patch.setattr(backend, "step", fail)
        theater.feed(messages)
        theater.spin(0.3)
        level, values = theater.status()
        assert level == b"\x02"
        assert int(values["backend_errors"]) >= 45
        assert caplog.text.count("the device is gone") == 1
        assert max(theater.jaw) < 0.02
        theater.assert_alive()
    theater.feed(messages)
    assert max(theater.jaw) > 0.1, "once the model works again, the face speaks"
    theater.assert_alive()


def test_a_lying_sidecar_is_refused_by_name(ros_domain, tiny, tmp_path):
    model = tmp_path / "liar.onnx"
    shutil.copy(tiny, model)
    sidecar = json.loads(tiny.with_suffix(".json").read_text("utf-8"))
    model.with_suffix(".json").write_text(json.dumps({**sidecar, "hop_samples": 160}), "utf-8")
    done = subprocess.run(
        command_of("talker_node", model=model), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 1
    assert "cannot configure" in done.stderr
    assert "liar" in done.stderr and "samples" in done.stderr
    assert "Traceback" not in done.stderr


def test_head_motion_keeps_the_idle_motion_that_it_is_part_of(context, tiny):
    """An exception after the parameter was set would end the node."""
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.parameter import Parameter

    from dualtalker_ros.nodes.talker_node import TalkerNode

    overrides = [Parameter("model", value=str(tiny)), Parameter("head_motion", value=True)]
    node = TalkerNode(context=context, parameter_overrides=overrides)
    try:
        for transition in (node.trigger_configure, node.trigger_activate):
            assert transition() == TransitionCallbackReturn.SUCCESS
        result = node.set_parameters([Parameter("idle_motion", value=False)])[0]
        assert not result.successful and "head_motion is part of it" in result.reason
        assert node.get_parameter("idle_motion").value
        node._on_timer()
        both_off = [Parameter(name, value=False) for name in ("idle_motion", "head_motion")]
        assert node.set_parameters_atomically(both_off).successful
        node._on_timer()
        result = node.set_parameters([Parameter("head_motion", value=True)])[0]
        assert not result.successful and "idle_motion on" in result.reason
        node._on_timer()
    finally:
        node.destroy_node()


def test_a_failed_activation_leaves_nothing_running(context, tiny, monkeypatch):
    """Timers that stay would publish from an inactive node, and double with the next try."""
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.parameter import Parameter

    from dualtalker_ros.nodes import talker_node
    from dualtalker_ros.topics import audio_input

    def fail(name):
        raise ImportError(f"no Python messages for {name} here")

    audio_type = Parameter("audio_type", value="audio_common_msgs/msg/AudioData")
    overrides = [Parameter("model", value=str(tiny)), audio_type]
    node = talker_node.TalkerNode(context=context, parameter_overrides=overrides)
    try:
        with monkeypatch.context() as missing:
            missing.setattr(audio_input, "import_type", fail)
            assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
            assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
        assert not node._active and list(node.timers) == []
        node.set_parameters([Parameter("audio_type", value="std_msgs/msg/Int16MultiArray")])
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        assert len(list(node.timers)) == 2
    finally:
        node.destroy_node()
