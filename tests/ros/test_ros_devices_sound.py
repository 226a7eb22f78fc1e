"""Microphone and loudspeaker nodes on a sound server without hardware: what is played is heard."""

from __future__ import annotations

import array
import subprocess
import time

import numpy as np
import pytest

from dualtalker.audio import AudioFormat, mix_to_mono, read_message
from dualtalker_ros.topics import fill_message
from null_sink import NullSink, why_not
from ros_processes import TIMEOUT_S, command_of, running

RATE_HZ = 16000
CHUNK_MS = 50.0
CHUNK = 800

pytestmark = [
    pytest.mark.usefixtures("ros"),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]


@pytest.fixture(scope="module")
def sink(tmp_path_factory):
    """A running server, and an environment that leads all nodes to it."""
    # A short path: sockets allow 108 characters.
    sink = NullSink(tmp_path_factory.mktemp("pulse"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sink.environment.items():
            patch.setenv(name, value)
        sink.start()
        yield sink
        sink.kill()


class Wire:
    """Both nodes on the null sink, with what they say and what the microphone heard."""

    def __init__(self, listener, logs):
        from diagnostic_msgs.msg import DiagnosticArray
        from std_msgs.msg import Float32, Int16MultiArray

        self.listener, self.logs = listener, logs
        self.heard = listener.hear(Int16MultiArray, "/heard")
        self.latencies = listener.hear(Float32, "/speaker/latency")
        self.diagnostics = listener.hear(DiagnosticArray, "/diagnostics")
        self.speech = listener.node.create_publisher(Int16MultiArray, "/speech", 1000)

    def status(self, name):
        """Return the last diagnostics of a node: level, message, values."""
        for _, message in reversed(self.diagnostics):
            for status in message.status:
                if status.name.startswith(f"{name}:"):
                    values = {pair.key: pair.value for pair in status.values}
                    return status.level, status.message, values
        return None

    def is_ok(self, name):
        status = self.status(name)
        return status is not None and status[0] == b"\x00"

    def describe(self):
        """Return what a failed test should show."""
        logs = "".join(log.read_text() for log in self.logs.values())
        states = [str(self.status(name)) for name in self.logs]
        return "\n".join([logs, *states])

    def say(self, samples, rate_hz):
        """Publish samples [n] in one message, as a speech engine does; return its stamp (ns)."""
        from std_msgs.msg import Int16MultiArray

        stamp_ns = time.time_ns()
        message = fill_message(Int16MultiArray(), samples, rate_hz, stamp_ns, stamp_layout=True)
        self.speech.publish(message)
        return stamp_ns

    def play(self, said, rate_hz):
        """Say [n] until it is heard as it was; return delay (s) and correlation.

        More than once only because a crowded machine makes the sound server itself skip.
        """
        for _ in range(3):
            self.heard.clear()
            begun_ns = self.say(said, rate_hz)
            end_ns = begun_ns + round((len(said) / rate_hz + 1.5) * 1e9)
            self.listener.spin_until(lambda end_ns=end_ns: self.newest_ns() > end_ns)
            recording, stamps = self.recording()
            lag, correlation = find(recording, resample(said, rate_hz))
            if correlation > 0.95:
                chunk, rest = divmod(lag, CHUNK)
                return (stamps[chunk] - begun_ns) / 1e9 + rest / RATE_HZ, correlation
        raise AssertionError(f"not heard: correlation {correlation:.3f}\n{self.describe()}")

    def newest_ns(self):
        """Return the stamp of what was heard last; a busy machine may hear it much later."""
        return read_message(self.heard[-1][1], AudioFormat()).stamp_ns if self.heard else 0

    def recording(self):
        """Return what was heard as samples [n] at RATE_HZ and each message's stamp (ns)."""
        chunks = [read_message(message, AudioFormat()) for _, message in self.heard]
        if not chunks:
            return np.zeros(0, np.float32), np.zeros(0)
        assert all(chunk.rate_hz == RATE_HZ for chunk in chunks)
        stamps = np.array([chunk.stamp_ns for chunk in chunks])
        return np.concatenate([mix_to_mono(chunk.samples)[0] for chunk in chunks]), stamps


@pytest.fixture(scope="module")
def wire(sink, listener, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nodes")
    logs = {name: folder / f"{name}.log" for name in ("microphone", "speaker")}
    # Buffers that a crowded test machine cannot empty.
    parameters = {"device": "pulse", "reconnect_s": 1.0, "device_latency_ms": 300.0}
    listening = {"chunk_ms": CHUNK_MS, **parameters}
    microphone = running("microphone_node", logs["microphone"], ["audio:=/heard"], **listening)
    speaker = running("speaker_node", logs["speaker"], ["audio:=/speech"], **parameters)
    with microphone, speaker:
        wire = Wire(listener, logs)
        listener.spin_until(lambda: wire.speech.get_subscription_count() and len(wire.heard) > 20)
        listener.spin_until(lambda: wire.is_ok("speaker"))
        yield wire
    assert not any("Traceback" in log.read_text() for log in logs.values())


def make_noise(duration_s, rate_hz, seed=0):
    """Noise below 2 kHz, so that no conversion of rates takes any of it away."""
    from scipy.signal import firwin, lfilter

    noise = np.random.default_rng(seed).normal(size=round(duration_s * rate_hz))
    return (0.3 * lfilter(firwin(201, 2000, fs=rate_hz), 1, noise)).astype(np.float32)


def find(recording, said):
    """Return where `said` [n] begins in the recording, and the correlation there.

    Medians over pieces of a quarter second: on a crowded machine the server itself skips at times.
    """
    if len(recording) < len(said):
        return 0, 0.0
    found = [find_piece(recording, piece) for piece in np.array_split(said, len(said) // 4000)]
    starts = np.cumsum([0] + [len(piece) for piece in np.array_split(said, len(said) // 4000)])
    lags = [lag - start for (lag, _), start in zip(found, starts, strict=False)]
    return int(np.median(lags)), float(np.median([r for _, r in found]))


def find_piece(recording, piece):
    size = len(recording) + len(piece)
    spectrum = np.fft.rfft(recording, size) * np.conj(np.fft.rfft(piece, size))
    lag = int(np.argmax(np.fft.irfft(spectrum, size)[: len(recording) - len(piece) + 1]))
    part = recording[lag : lag + len(piece)]
    power = float((part @ part) * (piece @ piece))
    return lag, float(part @ piece) / power**0.5 if power > 0 else 0.0


def resample(samples, rate_hz):
    from dualtalker.audio import StreamingResampler

    if rate_hz == RATE_HZ:
        return samples
    converter = StreamingResampler(rate_hz, RATE_HZ)
    return np.concatenate([converter.push(samples), converter.flush()])


@pytest.mark.parametrize("rate_hz", [16000, 22050])
def test_what_is_played_is_heard(wire, rate_hz, record_property):
    wire.listener.spin(0.7)
    delay_s, correlation = wire.play(make_noise(2.0, rate_hz, seed=rate_hz), rate_hz)
    wire.listener.spin_until(lambda: wire.latencies)
    stated_s = wire.latencies[-1][1].data
    record_property("correlation", correlation)
    record_property("delay_s", delay_s)
    record_property("stated_s", stated_s)
    print(
        f"{rate_hz} Hz: r {correlation:.4f}, heard after {delay_s * 1e3:.1f} ms, "
        f"stated {stated_s * 1e3:.1f} ms"
    )
    assert 0 < delay_s < 1.0
    # The server knows its own delays to some milliseconds.
    assert stated_s == pytest.approx(delay_s, abs=0.1)


def test_stamps_count_samples(wire):
    """From message to message one chunk, to about a thousandth of it; and none from the future."""
    wire.listener.spin(0.5)
    wire.heard.clear()
    wire.listener.spin_until(lambda: len(wire.heard) > 40)
    _, stamps = wire.recording()
    assert len(stamps) > 40
    steps_ns = np.diff(stamps)
    assert np.median(np.abs(steps_ns - 50_000_000)) < 60_000
    # A busy server loses samples, or is wrong about its delays: the node then counts a step.
    wire.listener.spin(1.5)
    assert np.count_nonzero(steps_ns <= 0) <= int(wire.status("microphone")[2]["clock_steps"])
    assert time.time_ns() - stamps[-1] > 50_000_000


def test_unplugged_devices_return(wire, sink):
    """The server dies and comes again: both nodes notice, say so, and go on by themselves."""
    wire.heard.clear()
    sink.kill()
    for name in ("microphone", "speaker"):
        wire.listener.spin_until(lambda name=name: wire.status(name)[0] == b"\x02")
        assert "no device" in wire.status(name)[1]
    wire.heard.clear()
    wire.say(make_noise(0.2, RATE_HZ), RATE_HZ)
    sink.start()
    wire.listener.spin_until(
        lambda: wire.is_ok("microphone") and wire.is_ok("speaker") and len(wire.heard) > 10
    )
    wire.play(make_noise(1.0, RATE_HZ, seed=5), RATE_HZ)
    for name in ("microphone", "speaker"):
        values = wire.status(name)[2]
        assert int(values["device_losses"]) == 1 and int(values["device_opens"]) == 2
        text = wire.logs[name].read_text()
        assert text.count("lost the device") == 1 and text.count("opened pulse") == 2
    assert int(wire.status("speaker")[2]["unheard_ms"]) >= 200


def test_bad_audio_is_counted(wire):
    from std_msgs.msg import Int16MultiArray

    wire.speech.publish(Int16MultiArray())
    wire.speech.publish(Int16MultiArray(data=array.array("h", [1, 2])))
    wire.listener.spin_until(lambda: int(wire.status("speaker")[2]["empty_messages"]) == 1)


def test_channels_that_cancel_are_told(wire):
    noise = make_noise(0.2, RATE_HZ)
    for _ in range(2):
        wire.say(np.stack([noise, -noise], axis=1), RATE_HZ)
    wire.listener.spin_until(
        lambda: int(wire.status("speaker")[2]["cancelled_audio"]) == 2 * len(noise)
    )
    assert wire.logs["speaker"].read_text().count("cancelled_audio: the channels cancel") == 1


def test_devices_are_listed(sink):
    done = subprocess.run(
        [*command_of("speaker_node"), "-p", "list_devices:=true"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0 and "pulse" in done.stdout
