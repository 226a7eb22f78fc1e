"""What plays a known face, and speech as it comes, into a face server."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from dualtalker.display import (
    FacePlayer,
    LiveFace,
    Microphone,
    Performance,
    pace_recording,
    read_performance,
)
from dualtalker.display import live as live_module
from dualtalker.errors import MotionError
from dualtalker.evaluation import write_motion_csv
from dualtalker.stream import Talker, animate

RATE_HZ = 16000
FPS = 60.0


class Stage:
    """Stands in for a server: keeps what it is sent, and when."""

    def __init__(self, wants_sound=True):
        self.frames, self.sound, self.wants_sound = [], [], wants_sound

    def send_frame(self, index, show_at_s, weights, head=None, stamp_s=0.0):
        self.frames.append((time.monotonic(), index, show_at_s, np.array(weights), head, stamp_s))

    def send_sound(self, samples, rate_hz, sounds_at_s):
        self.sound.append((time.monotonic(), np.array(samples), rate_hz, sounds_at_s))


def make_performance(duration_s=0.6):
    times_s = np.arange(round(duration_s * FPS)) / FPS
    weights = np.tile(times_s[:, None], (1, 52)).astype(np.float32)
    samples = np.linspace(-1, 1, round(duration_s * RATE_HZ), dtype=np.float32)
    return Performance(times_s, weights, None, samples, RATE_HZ)


def test_frames_and_sound_go_out_before_they_are_due_and_together():
    stage, performance, progress = Stage(), make_performance(), []
    assert FacePlayer(stage).play(performance, progress.append)
    assert [frame[1] for frame in stage.frames] == list(range(len(performance.times_s)))
    start_s = stage.frames[0][2]
    for sent_s, _, show_at_s, weights, _, stamp_s in stage.frames:
        assert show_at_s - start_s == pytest.approx(stamp_s, abs=1e-6)
        assert weights[0] == np.float32(stamp_s)
        assert sent_s < show_at_s
    heard = np.concatenate([samples for _, samples, _, _ in stage.sound])
    assert np.array_equal(heard, performance.samples)
    begin = 0
    for _, samples, _, sounds_at_s in stage.sound:
        assert sounds_at_s == pytest.approx(start_s + begin / RATE_HZ, abs=1e-6)
        begin += len(samples)
    assert sum(progress) == pytest.approx(performance.duration_s)


def test_a_performance_that_is_stopped_ends_at_once():
    stop = threading.Event()
    stop.set()
    stage = Stage()
    assert not FacePlayer(stage, stop).play(make_performance(60.0))
    assert len(stage.frames) < 60


def test_one_performance_follows_the_other():
    stage = Stage()
    player = FacePlayer(stage)
    assert player.play(make_performance(0.1)) and player.play(make_performance(0.1))
    assert [frame[1] for frame in stage.frames] == list(range(12))


def test_a_csv_and_its_sound_are_read(tmp_path):
    import soundfile

    performance = make_performance()
    weights = np.clip(performance.weights, 0, 1)
    write_motion_csv(tmp_path / "face.csv", performance.times_s, weights, None)
    soundfile.write(tmp_path / "face.wav", performance.samples, RATE_HZ)
    read = read_performance(tmp_path / "face.csv", tmp_path / "face.wav")
    assert read.fps == FPS and read.rate_hz == RATE_HZ
    np.testing.assert_allclose(read.weights, weights, atol=1e-4)
    assert len(read.samples) == len(performance.samples)
    assert read_performance(tmp_path / "face.csv").samples is None
    with pytest.raises(MotionError):
        read_performance(tmp_path / "face.wav")


@pytest.mark.parametrize("begin_s", [-3.0, 0.0, 5000.0])
def test_a_csv_alone_begins_with_its_first_frame(tmp_path, begin_s):
    """Times of a CSV may be of a longer take, or of a day's clock."""
    import soundfile

    performance = make_performance(0.1)
    path, times_s = tmp_path / "face.csv", performance.times_s + begin_s
    write_motion_csv(path, times_s, np.clip(performance.weights, 0, 1), None)
    read = read_performance(path)
    np.testing.assert_allclose(read.times_s, performance.times_s, atol=2e-6)
    stage = Stage()
    assert FacePlayer(stage).play(read)
    assert len(stage.frames) == len(performance.times_s)
    soundfile.write(tmp_path / "face.wav", performance.samples, RATE_HZ)
    with_sound = read_performance(path, tmp_path / "face.wav")
    np.testing.assert_allclose(with_sound.times_s, times_s, atol=2e-6)


def test_speech_as_it_comes_is_the_recordings_face(tiny):
    """Frames are those of `animate`, each a fixed time after its sound; sound goes with them."""
    rng = np.random.default_rng(0)
    samples = (0.5 * rng.standard_normal(RATE_HZ)).clip(-1, 1).astype(np.float32)
    expected = animate(samples, RATE_HZ, model=tiny, fps=30.0, idle_motion=False)
    stage = Stage()
    talker = Talker(tiny, fps=30.0, idle_motion=False)
    with LiveFace(stage, talker, is_heard=True) as face:
        given_s = sum(pace_recording(face, samples, RATE_HZ, threading.Event()))
        time.sleep(face.delay_s + 0.4)
        delay_s = face.delay_s
    assert given_s == pytest.approx(1.0)
    first_s = stage.sound[0][3]  # when the first sample is to be heard
    # Before, the face idles; it goes over into speech for a moment.
    speech = [frame for frame in stage.frames if 0.35 <= frame[2] - first_s < 0.85]
    for frame in speech:
        at_s = frame[2] - first_s
        now = np.array([np.interp(at_s, expected.times_s, w) for w in expected.weights.T])
        np.testing.assert_allclose(frame[3], now, atol=0.08)
    assert len(speech) > 10
    assert abs(first_s - (stage.sound[0][0] + delay_s)) < 0.3
    heard = np.concatenate([piece for _, piece, _, _ in stage.sound])
    assert np.array_equal(heard, samples)


def test_nobody_hears_what_is_not_to_be_heard(tiny):
    stage = Stage(wants_sound=False)
    with LiveFace(stage, Talker(tiny, idle_motion=False), is_heard=True) as face:
        face.push(np.zeros(320, np.float32), RATE_HZ, time.monotonic())
        time.sleep(0.3)
    assert not stage.sound and stage.frames


def test_a_microphones_blocks_reach_the_face(tiny, monkeypatch):
    from dualtalker.devices import Block

    opened = threading.Event()
    calls = []

    class Stream:
        name, rate_hz, latency_s, last_call_s = "stand-in", RATE_HZ, 0.01, 0.0

        def is_active(self):
            self.last_call_s = time.monotonic()
            return True

        def close(self):
            calls.append("closed")

    def open_microphone(wanted, rate_hz, channels, frames, on_block, latency_s):
        calls.append((wanted, rate_hz, channels, frames))
        calls.append(on_block)
        opened.set()
        return Stream()

    monkeypatch.setattr(live_module, "open_microphone", open_microphone)
    pushed = []

    class Face:
        def push(self, samples, rate_hz, taken_s):
            pushed.append((samples, rate_hz, taken_s))

    with Microphone(Face(), "USB", RATE_HZ):
        assert opened.wait(10.0)
        assert calls[0] == ("USB", RATE_HZ, 1, 320)
        stream, begin_s = Stream(), time.monotonic()
        pcm = np.full(320, 8192, np.int16)
        for k in range(30):
            taken_s = begin_s + k * 0.02
            block = Block(pcm.tobytes(), 320, taken_s + 0.025, taken_s, False)
            calls[1](stream, block)
    assert "closed" in calls
    assert len(pushed) > 10
    assert pushed[0][1] == RATE_HZ and np.all(pushed[0][0] == 0.25)
    steps = np.diff([entry[2] for entry in pushed])
    np.testing.assert_allclose(steps, 0.02, atol=1e-3)


class Notes:
    """An output that keeps when each frame came."""

    def __init__(self):
        self.frames = []

    def send(self, frame):
        self.frames.append((time.monotonic(), frame))


def test_outputs_get_each_frame_once_when_it_is_due():
    stage, notes, performance = Stage(), Notes(), make_performance()
    assert FacePlayer(stage, outputs=[notes]).play(performance)
    assert len(stage.frames) == len(notes.frames) == len(performance.times_s)
    due = {frame[1]: frame[2] for frame in stage.frames}
    for _, frame in notes.frames:
        assert frame.time_s == performance.times_s[frame.index]
        np.testing.assert_array_equal(frame.weights, performance.weights[frame.index])
    late_s = [came_s - due[frame.index] for came_s, frame in notes.frames]
    assert min(late_s) > -1e-3 and np.median(late_s) < 0.02
    alone = Notes()
    assert FacePlayer(None, outputs=[alone]).play(performance)
    assert len(alone.frames) == len(performance.times_s)
