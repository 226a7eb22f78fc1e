"""Devices without hardware: the playout queue, choice, messages, errors of the nodes."""

from __future__ import annotations

import builtins
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.devices import Block, PlayoutQueue, format_devices, import_sounddevice
from dualtalker.devices.playback import RESUME_S
from dualtalker.devices.portaudio import SoundDevice, find_device
from dualtalker.errors import AudioError, DeviceError
from ros_processes import TIMEOUT_S, command_of

RATE_HZ = 16000
CHUNK = 320
ARRAYS = "std_msgs/msg/Int16MultiArray"
CHUNK_S = CHUNK / RATE_HZ


def make_ramp(count, start=0):
    """Samples that tell their own place."""
    return ((np.arange(start, start + count) % 30000) / 30000).astype(np.float32)


@given(st.lists(st.integers(1, 900), min_size=1, max_size=20), st.integers(1, 700))
@settings(max_examples=50, deadline=None)
def test_what_goes_in_comes_out_in_order(sizes, pull):
    queue = PlayoutQueue(RATE_HZ, 0.0, 10.0)
    samples = make_ramp(sum(sizes)) + 1e-3
    for size, end in zip(sizes, np.cumsum(sizes), strict=True):
        queue.add(samples[end - size : end], RATE_HZ, 0.0, 0.0)
    pulls = [queue.pull(pull, 0.0, 0.0) for _ in range(len(samples) // pull + 2)]
    out = np.concatenate(pulls)
    np.testing.assert_array_equal(out[: len(samples)], samples)
    assert not out[len(samples) :].any() and queue.queued_s == 0
    assert queue.counters["underruns"] == queue.counters["overruns"] == 0


def test_another_rate_is_converted_to_its_last_sample():
    queue = PlayoutQueue(48000, 0.0, 10.0)
    tone = np.sin(np.arange(16000) * 2 * np.pi * 440 / 16000).astype(np.float32)
    for first in range(0, 16000, CHUNK):
        queue.add(tone[first : first + CHUNK], 16000, 0.0, 0.0)
    out = queue.pull(48000 + 480, 0.0, 0.0)
    expected = np.sin(np.arange(48000) * 2 * np.pi * 440 / 48000)
    # The resampler knows its phase to 0.12 ms.
    assert np.abs(out[2000:46000] - expected[2000:46000]).max() < 0.05
    assert np.abs(out[46000:47990]).max() > 0.9 and not out[48001:].any()


def test_playing_begins_with_the_buffer_full_or_after_its_length():
    queue = PlayoutQueue(RATE_HZ, 0.06, 10.0)
    queue.add(make_ramp(CHUNK) + 0.1, RATE_HZ, 0.0, 10.0)
    assert not queue.pull(CHUNK, 0.0, 10.0).any()
    queue.add(make_ramp(2 * CHUNK) + 0.1, RATE_HZ, 0.0, 10.02)
    assert queue.pull(CHUNK, 0.0, 10.02).all()
    short = PlayoutQueue(RATE_HZ, 0.06, 10.0)
    short.add(make_ramp(CHUNK) + 0.1, RATE_HZ, 0.0, 10.0)
    assert not short.pull(CHUNK, 0.0, 10.05).any()
    assert short.pull(CHUNK, 0.0, 10.061).all()


def test_running_dry_is_an_underrun_only_where_audio_goes_on():
    queue = PlayoutQueue(RATE_HZ, 0.0, 10.0)
    for pause_s, underruns in ((RESUME_S + 0.1, 0), (RESUME_S / 2, 1)):
        queue.add(make_ramp(CHUNK), RATE_HZ, 0.0, 1.0)
        queue.pull(CHUNK, 0.0, 1.0)
        queue.pull(CHUNK, 0.0, 1.0)
        queue.add(make_ramp(CHUNK), RATE_HZ, 0.0, 1.0 + pause_s)
        queue.clear()
        assert queue.counters["underruns"] == underruns


def test_the_queue_is_bounded_and_says_what_it_drops():
    queue = PlayoutQueue(RATE_HZ, 0.0, 1.0)
    for _ in range(100):
        queue.add(make_ramp(CHUNK), RATE_HZ, 0.0, 0.0)
    assert queue.queued_s == 1.0
    assert queue.counters["overruns"] == 50 and queue.counters["dropped_ms"] == 1000
    assert queue.clear() == 1.0 and queue.queued_s == 0
    with pytest.raises(AudioError, match="8000"):
        queue.add(make_ramp(CHUNK), 4000, 0.0, 0.0)


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 48000])
def test_latency_is_from_the_audio_to_its_sounding(rate_hz):
    queue = PlayoutQueue(rate_hz, 0.04, 10.0)
    for i in range(150):
        now_s = 5.0 + i * CHUNK_S
        queue.add(make_ramp(CHUNK) + 0.1, RATE_HZ, now_s - CHUNK_S, now_s)
        queue.pull(round(CHUNK_S * rate_hz), now_s + 0.03, now_s)
    # A chunk's length, one chunk of buffer, the device; the resampler's delay on top.
    least_s = CHUNK_S + 0.02 + 0.03
    assert least_s - 1e-6 <= queue.latency_s() <= least_s + 0.02


def test_arrays_carry_stamp_channels_and_exact_samples(ros):
    """What the microphone sends without audio_common_msgs is read as it was recorded."""
    from std_msgs.msg import Int16MultiArray

    from dualtalker.audio import AudioFormat, read_message
    from dualtalker_ros.topics import fill_message

    pcm = np.array([[-32768, 32767], [100, -300], [7, 9]], np.int16)
    stamp_ns = 1_700_000_000_123_456_789
    message = fill_message(Int16MultiArray(), pcm, 44100, stamp_ns, stamp_layout=True)
    np.testing.assert_array_equal(np.array(message.data).reshape(-1, 2), pcm)
    assert message.layout.dim[-1].label == "channels" and message.layout.dim[-1].size == 2
    chunk = read_message(message, AudioFormat())
    assert (chunk.rate_hz, chunk.stamp_ns) == (44100, stamp_ns)
    np.testing.assert_array_equal(chunk.samples, pcm)
    assert (
        read_message(fill_message(Int16MultiArray(), pcm, 8000, 5), AudioFormat()).stamp_ns is None
    )
    message.layout.dim[1].label = "stamp_ns=now"
    with pytest.raises(AudioError, match="stamp_ns=now"):
        read_message(message, AudioFormat())


DEVICES = [
    SoundDevice(0, "HDA Intel: ALC (hw:0,0)", 2, 2, 48000),
    SoundDevice(1, "USB Audio Device (hw:1,0)", 1, 0, 44100),
    SoundDevice(2, "USB Audio Speaker (hw:2,0)", 0, 2, 48000),
    SoundDevice(3, "default", 32, 32, 44100, ("input", "output")),
    SoundDevice(4, "default (copy)", 32, 32, 44100),
]


@pytest.mark.parametrize(
    ("wanted", "direction", "index"),
    [
        ("", "input", 3),
        ("1", "input", 1),
        ("usb", "input", 1),
        ("usb", "output", 2),
        ("default", "output", 3),
        ("ALC", "output", 0),
    ],
)
def test_devices_by_index_name_or_part(wanted, direction, index):
    assert find_device(DEVICES, wanted, direction).index == index


@pytest.mark.parametrize(
    ("wanted", "direction", "says"),
    [("usb", "both", "none"), ("2", "input", "none of the input"), ("hw:", "input", "fits 2")],
)
def test_devices_that_do_not_fit_are_listed(wanted, direction, says):
    devices = DEVICES if direction != "both" else DEVICES[:1]
    direction = "input" if direction == "both" else direction
    with pytest.raises(DeviceError, match=says) as caught:
        find_device(devices, wanted, direction)
    assert "HDA Intel" in str(caught.value)
    with pytest.raises(DeviceError, match="no input device"):
        find_device([], wanted, "input")


def test_the_list_shows_what_is_needed():
    lines = format_devices(DEVICES).splitlines()
    assert len(lines) == 5 and lines[3].startswith("*  3  default")
    assert "(1 in, 0 out, 44100 Hz)" in lines[1]
    assert format_devices([]) == "no audio devices"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ImportError("No module named 'sounddevice'"), r"pip install .*devices"),
        (OSError("PortAudio library not found"), "sudo apt install libportaudio2"),
    ],
)
def test_what_is_missing_is_named_with_its_command(monkeypatch, error, says):
    real_import = builtins.__import__

    def refuse(name, *arguments, **keywords):
        if name == "sounddevice":
            raise error
        return real_import(name, *arguments, **keywords)

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DeviceError, match=says):
        import_sounddevice()


@pytest.mark.parametrize("module", ["microphone_node", "speaker_node"])
def test_bad_parameters_end_a_node_with_1(ros_domain, module):
    done = subprocess.run(
        command_of(module, audio_type="std_msgs/msg/String"),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 1
    assert "audio_type" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture()
def start_node(ros_domain, monkeypatch):
    """Make a node of parameters (NAME:=VALUE) that opens no device; free it afterwards."""
    import rclpy

    from dualtalker_ros.nodes import device_node, microphone_node, speaker_node

    monkeypatch.setattr(device_node, "import_sounddevice", lambda: None)
    kinds = {"microphone": microphone_node.MicrophoneNode, "speaker": speaker_node.SpeakerNode}
    nodes = []

    def start(name, *options):
        rclpy.init(args=["--ros-args", *(word for option in options for word in ("-p", option))])
        nodes.append(kinds[name]())
        return nodes[0]

    try:
        yield start
        for node in nodes:
            node.close()
            node.destroy_node()
    finally:
        rclpy.try_shutdown()


class Ear:
    """Gives a microphone's node blocks and hears what it publishes of them."""

    def __init__(self, node):
        from rclpy.executors import SingleThreadedExecutor
        from std_msgs.msg import Int16MultiArray

        self.node, self.heard = node, []
        self.stream = SimpleNamespace(rate_hz=RATE_HZ, latency_s=0.0)
        node.create_subscription(Int16MultiArray, "audio", self.heard.append, 10)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(node)

    def give_until_heard(self, pcm):
        until = time.monotonic() + TIMEOUT_S
        self.heard.clear()
        while not self.heard and time.monotonic() < until:
            now_s = time.monotonic()
            self.node._on_block(self.stream, Block(pcm.tobytes(), CHUNK, now_s, now_s, False))
            self.executor.spin_once(timeout_sec=0.05)
        return self.heard[0]


def test_a_microphone_ends_though_nobody_takes_its_blocks(start_node):
    """The publishing thread ends with ROS, while the driver goes on to fill the queue."""
    node = start_node("microphone")
    node._blocks.put(None)
    node._publisher.join(30.0)
    while not node._blocks.full():
        node._on_block(None, None)
    node._on_block(None, None)
    assert node._counters["dropped_blocks"] == 1
    closing = threading.Thread(target=node.close, daemon=True)
    closing.start()
    closing.join(30.0)
    assert not closing.is_alive()


@pytest.mark.parametrize(("channel", "sent"), [("mix", [0, 1, 2]), (1, [1])])
def test_a_microphone_sends_all_channels_or_one(start_node, channel, sent):
    from dualtalker.audio import AudioFormat, read_message

    ear = Ear(
        start_node("microphone", f"channel:={channel}", "channels:=3", f"audio_type:={ARRAYS}")
    )
    pcm = np.arange(3 * CHUNK, dtype=np.int16).reshape(-1, 3)
    chunk = read_message(ear.give_until_heard(pcm), AudioFormat())
    np.testing.assert_array_equal(chunk.samples, pcm[:, sent])


def test_a_microphone_goes_on_after_a_block_that_it_cannot_publish(start_node, capfd):
    ear = Ear(start_node("microphone", f"audio_type:={ARRAYS}"))
    pcm = np.arange(CHUNK, dtype=np.int16)
    ear.give_until_heard(pcm)
    for _ in range(2):
        ear.node._on_block(ear.stream, Block(b"\0" * 3, CHUNK, 0.0, 0.0, False))
    assert ear.give_until_heard(pcm).data.tolist() == pcm.tolist()
    assert ear.node.counters()["failed_blocks"] == 2
    assert capfd.readouterr().err.count("failed_blocks: ValueError") == 1


def test_devices_are_diagnosed_and_latency_told_while_clock_stands(start_node):
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.executors import SingleThreadedExecutor
    from std_msgs.msg import Float32

    node = start_node("speaker", "use_sim_time:=true")
    node._queue = SimpleNamespace(latency_s=lambda: 0.25, queued_s=0.0, counters={})
    states, latencies = [], []
    node.create_subscription(DiagnosticArray, "/diagnostics", states.append, 10)
    node.create_subscription(Float32, "~/latency", latencies.append, 10)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    until = time.monotonic() + TIMEOUT_S
    while not (states and latencies) and time.monotonic() < until:
        executor.spin_once(timeout_sec=0.1)
    assert "no device" in states[0].status[0].message
    assert latencies[0].data == 0.25


def test_a_microphone_without_the_channel_is_refused(start_node):
    with pytest.raises(ValueError, match="channel is 6, but channels is 6"):
        start_node("microphone", "channel:=6", "channels:=6")
