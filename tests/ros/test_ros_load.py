"""Publishers that die, listeners that do not listen, twins and hogs: real processes, real load."""

from __future__ import annotations

import os
import signal
import sys

import numpy as np
import pytest

from audio_driver import Segment, Stream
from process_vitals import read_vitals
from ros_troupe import (
    MOUTH,
    START_TIMEOUT_S,
    Process,
    closing_all,
    expected_mouth,
    face_of,
    find_lag,
    interrupt_all,
    name_stall,
    start_driver,
    start_talker,
    wait_for_begin,
)

FPS = 30.0
SEED = 9
STARVATION_S = 0.1  # a pause of so long in the audio lets the mouth close
AUDIO = "audio_common_msgs/msg/AudioStamped"
HOG_S = 2.0
HOG = "while True: pass"
# Subscribes reliably, and then never takes a message.
DEAF = """
import time
import rclpy
from sensor_msgs.msg import JointState

rclpy.init()
node = rclpy.create_node("deaf")
node.create_subscription(JointState, "/unheard/blendshapes", print, 10)
print("subscribed", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def layout(interfaces):
    return interfaces["mgonzs13"]


@pytest.fixture
def processes():
    with closing_all() as processes:
        yield processes


def speech(topic, duration_s):
    return Stream(topic, AUDIO, [Segment(0.0, duration_s)], SEED)


def steps_of(face):
    """Return steps from frame to frame, in frames, after the first audio has set their grid."""
    return np.diff(face.stamps_s[face.stamps_s > 0.1]) * FPS


def test_a_publisher_is_killed_and_comes_again(listener, layout, tiny, tmp_path, processes):
    """And a frozen subscriber listens all the while; then comes SIGTERM in mid-speech."""
    from sensor_msgs.msg import JointState

    said = expected_mouth(tiny, 8.0, SEED, FPS)
    heard = listener.hear(JointState, "/unheard/blendshapes")
    talker = start_talker("/unheard", tmp_path, layout, model=tiny)
    deaf = Process([sys.executable, "-c", DEAF], tmp_path / "deaf.log")
    processes += [talker, deaf]
    listener.spin_until(lambda: len(heard) > 10 and deaf.text(), START_TIMEOUT_S)
    streams = [speech("/unheard/audio", 8.0)]
    first = start_driver(streams, tmp_path, "first", layout)
    processes.append(first)
    begin_ns = wait_for_begin(first, listener)
    # A driver that waits for a CPU speaks late, and the talker has pauses for it.
    early = [(process, read_vitals(process.pid)) for process in (talker, first)]
    listener.spin(1.0)
    before = read_vitals(talker.pid)
    deaf.send(signal.SIGSTOP)
    listener.spin(0.8)
    stalls = [name_stall(then, read_vitals(process.pid), STARVATION_S) for process, then in early]
    first.send(signal.SIGKILL)
    second = start_driver(streams, tmp_path, "second", layout)
    processes.append(second)
    again_ns = wait_for_begin(second, listener)
    early = [(process, read_vitals(process.pid)) for process in (talker, second)]
    listener.spin(3.0)
    after = read_vitals(talker.pid)
    stalls += [name_stall(then, read_vitals(process.pid), STARVATION_S) for process, then in early]
    assert interrupt_all([talker], [signal.SIGTERM]) == {"unheard": 0}, talker.text()

    face = face_of(heard, begin_ns)
    steps = steps_of(face)
    assert (steps > 0).all()
    assert np.diff(face.received_s).max() < 2.0
    assert after.open_files <= before.open_files and after.threads <= before.threads
    assert after.rss_mb - before.rss_mb < 20
    if any(stalls):
        pytest.skip(f"signals, leaks and steps were judged, timing not: {stalls}")
    # Where speech begins again after a pause, nothing is left out.
    assert steps.max() < 1.5
    for since_ns, end_s in ((begin_ns, 1.5), (again_ns, 2.5)):
        part = face_of(heard, since_ns).between(0.4, end_s)
        lag_s, likeness = find_lag(part, *said)
        assert likeness > 0.85 and abs(lag_s) < 1 / FPS
    between = face.between(2.2, (again_ns - begin_ns) / 1e9 - 0.1)
    assert not len(between.mouth) or between.mouth.max() < 0.02, "the mouth shuts meanwhile"


def test_two_talkers_of_one_name_and_a_hog_on_every_core(
    listener, layout, tiny, tmp_path, processes
):
    from sensor_msgs.msg import JointState

    heard = listener.hear(JointState, "/twin/blendshapes")
    twins = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        twins.append(start_talker("/twin", tmp_path / name, layout, model=tiny))
    processes += twins
    listener.spin_until(lambda: len(heard) > 60, START_TIMEOUT_S)
    listener.spin_until(lambda: listener.node.count_publishers("/twin/blendshapes") == 2)
    driver = start_driver([speech("/twin/audio", 12.0)], tmp_path, "driver", layout)
    processes.append(driver)
    begin_ns = wait_for_begin(driver, listener)
    heard.clear()
    listener.spin(0.3)
    before = [read_vitals(twin.pid) for twin in twins]
    listener.spin(1.7)
    stalls = [name_stall(b, read_vitals(t.pid)) for b, t in zip(before, twins, strict=True)]
    both = face_of(heard, begin_ns).between(0.3, 1.7)
    assert interrupt_all(twins[1:]) == {"twin": 0}, twins[1].text()
    listener.spin(0.5)  # what it still sent
    heard.clear()

    hogs = [
        Process([sys.executable, "-c", HOG], tmp_path / f"hog{core}.log")
        for core in range(os.cpu_count() or 1)
    ]
    processes += hogs
    listener.spin(HOG_S)
    for hog in hogs:
        hog.close()
    listener.spin(1.0)
    alone = face_of(heard, begin_ns)
    assert interrupt_all(twins[:1]) == {"twin": 0}, twins[0].text()
    assert "Traceback" not in "".join(twin.text() for twin in twins)

    assert (steps_of(alone) > 0).all()
    assert np.diff(alone.received_s).max() < 2.0
    assert len(alone.stamps_s) > 0.2 * FPS * (HOG_S + 1.0)
    if any(stalls):
        pytest.skip(f"signals, steps and rate were judged, faces not: {stalls}")
    # Two faces of the same instants, and their mouths are the same; blinks are each one's own.
    for stamp_s in np.unique(both.stamps_s):
        weights = both.weights[both.stamps_s == stamp_s][:, MOUTH]
        assert len(weights) <= 2
        np.testing.assert_allclose(weights, weights[:1].repeat(len(weights), 0), atol=1e-5)
    # A twin that missed the first chunk has a grid of its own.
    assert len(both.stamps_s) > 1.5 * FPS * np.ptp(both.stamps_s)
    lag_s, likeness = find_lag(alone, *expected_mouth(tiny, 12.0, SEED, FPS))
    assert likeness > 0.6 and abs(lag_s) < 1 / FPS, "stamps are the audio's under any load"
