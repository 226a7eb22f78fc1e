"""Every type of audio message, as real interface packages over real DDS, moves a talker's face."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from audio_driver import Segment, Stream
from ros_interfaces import LAYOUTS
from ros_processes import TIMEOUT_S, Listener, stamp_ns
from ros_troupe import (
    START_TIMEOUT_S,
    expected_mouth,
    face_of,
    find_lag,
    interrupt_all,
    start_driver,
    start_talker,
    wait_for_begin,
)

DATA = "audio_common_msgs/msg/AudioData"
DATA_STAMPED = "audio_common_msgs/msg/AudioDataStamped"
STAMPED = "audio_common_msgs/msg/AudioStamped"
FPS = 30.0
AHEAD_S = 0.5  # stamps, so that a busy machine still is in time
SPOKEN_S = 1.4
SEED = 5
# Without stamps all is one message: between two a busy machine would make a pause. None is of
# more than 360 kB: what is too large for shared memory (512 kB) goes in pieces by UDP, and of
# those a busy machine drops some, which DDS sends again seconds later.
CHUNK_S = {DATA_STAMPED: 0.25, STAMPED: 0.25}

# Type, sample format, rate, channels. Bytes need the node's parameters to tell them. Neighbors
# are of different types: a driver knows by the type that its turn has come.
BYTES = [
    (DATA, "S16LE", 16000, 1),
    (DATA_STAMPED, "S16LE", 16000, 1),
    (DATA, "S8", 16000, 1),
    (DATA_STAMPED, "S16BE", 22050, 1),
    (DATA, "U8", 16000, 3),
    (DATA_STAMPED, "S24LE", 48000, 2),
    (DATA, "S24_32LE", 32000, 2),
    (DATA_STAMPED, "F32LE", 44100, 2),
    (DATA, "F64LE", 8000, 1),
    ("std_msgs/msg/UInt8MultiArray", "S24LE", 24000, 1),
    (DATA, "MP3", 44100, 1),
    (DATA_STAMPED, "S32LE", 96000, 1),
]
TYPED = [
    (STAMPED, "S16LE", 16000, 1),
    ("std_msgs/msg/Int16MultiArray", "S16LE", 48000, 2),
    (STAMPED, "F32LE", 48000, 2),
    ("std_msgs/msg/Int8MultiArray", "S8", 16000, 1),
    (STAMPED, "S32LE", 44100, 6),
    ("std_msgs/msg/Int32MultiArray", "S32LE", 22050, 1),
    (STAMPED, "S8", 16000, 1),
    ("std_msgs/msg/Float32MultiArray", "F32LE", 44100, 1),
    (STAMPED, "U8", 22050, 2),
    ("std_msgs/msg/Float64MultiArray", "F64LE", 8000, 4),
]

# Several at a time: what takes long is listening.
STAGES = {
    "bytes": ("ros_drivers", BYTES[:6]),
    "more_bytes": ("ros_drivers", BYTES[6:]),
    "typed": ("mgonzs13", TYPED[:5]),
    "more_typed": ("mgonzs13", TYPED[5:]),
}


def _plan_stream(topic, message_type, sample_format, rate_hz, channels):
    chunk_s = CHUNK_S.get(message_type, SPOKEN_S)
    segment = Segment(0.0, SPOKEN_S, rate_hz, channels, sample_format, chunk_s, burst=True)
    return Stream(topic, message_type, [segment], SEED, ahead_s=AHEAD_S)


class Stage:
    """A talker that is configured for one input after the other, and a driver that follows it."""

    def __init__(self, name, layout, inputs, folder, tiny, interfaces):
        from lifecycle_msgs.srv import ChangeState
        from rcl_interfaces.srv import SetParameters
        from sensor_msgs.msg import JointState

        self.inputs, self.listener = inputs, Listener()
        streams = [_plan_stream(f"/{name}/audio", *given) for given in inputs]
        path = interfaces[layout]
        self.talker = start_talker(f"/{name}", folder, path, model=tiny, autostart=False)
        self.driver = start_driver(streams, folder, f"{name}_driver", path, in_turn=True)
        self.heard = self.listener.hear(JointState, f"/{name}/blendshapes")
        node, talker = self.listener.node, f"/{name}/talker"
        self._change = node.create_client(ChangeState, f"{talker}/change_state")
        self._set = node.create_client(SetParameters, f"{talker}/set_parameters")

    def perform(self):
        """Play all inputs; return the face of each, and the talker's exit status."""
        from lifecycle_msgs.msg import Transition

        faces = {}
        for client in (self._change, self._set):
            self.listener.spin_until(client.service_is_ready, START_TIMEOUT_S)
        for turn, given in enumerate(self.inputs):
            self.listener.spin_until(self._configure(given).done)
            for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
                self._change_state(transition)
            begin_ns = wait_for_begin(self.driver, self.listener, turn)
            end_ns = begin_ns + int((AHEAD_S + SPOKEN_S + 0.5) * 1e9)
            heard = self.heard
            self.listener.spin_until(lambda: heard and stamp_ns(heard[-1][1]) > end_ns)  # noqa: B023
            for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
                self._change_state(transition)
            faces[given] = face_of(heard, begin_ns)
            heard.clear()
        return faces, interrupt_all([self.talker])[self.talker.log.stem]

    def _configure(self, given):
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        message_type, sample_format, rate_hz, channels = given
        values = {"audio_type": message_type}
        if given in BYTES and sample_format != "MP3":
            values |= {
                "sample_rate_hz": rate_hz,
                "channels": channels,
                "sample_format": sample_format,
            }
        parameters = [Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
        return self._set.call_async(SetParameters.Request(parameters=parameters))

    def _change_state(self, transition):
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        request = ChangeState.Request(transition=Transition(id=transition))
        future = self._change.call_async(request)
        self.listener.spin_until(future.done)
        assert future.result().success, self.talker.text()

    def close(self):
        self.driver.close()
        self.talker.close()
        self.listener.close()


@pytest.fixture(scope="module")
def played(ros_domain, interfaces, tiny, tmp_path_factory):
    """The face for each input, the logs, the exit statuses."""
    folder = tmp_path_factory.mktemp("inputs")
    stages = []
    try:
        for name, (layout, inputs) in STAGES.items():
            stages.append(Stage(name, layout, inputs, folder, tiny, interfaces))
        with ThreadPoolExecutor() as pool:
            performed = list(pool.map(Stage.perform, stages))
        logs = "\n".join(stage.talker.text() for stage in stages)
    except AssertionError as error:
        said = [f"{stage.talker.text()}\n{stage.driver.text()}" for stage in stages]
        raise AssertionError("\n".join([str(error), *said])) from error
    finally:
        for stage in stages:
            stage.close()
    return (
        {k: v for faces, _ in performed for k, v in faces.items()},
        logs,
        [status for _, status in performed],
    )


@pytest.fixture(scope="module")
def said(tiny):
    return expected_mouth(tiny, SPOKEN_S, SEED, FPS)


@pytest.mark.parametrize("given", [g for g in BYTES + TYPED if g[1] != "MP3"], ids=str)
def test_every_type_format_rate_and_channel_count_gives_the_same_face(played, given, said):
    faces, logs, _ = played
    face, begin_s = faces[given], AHEAD_S
    if given[0] not in (DATA_STAMPED, STAMPED):  # frames have the time of the audio's arrival
        opening = np.argmax(face.mouth > said[1].max() / 4)
        begin_s = face.stamps_s[opening] - said[0][np.argmax(said[1] > said[1].max() / 4)]
    # Not the fades from and to the idle face.
    face = face.between(begin_s + 0.2, begin_s + SPOKEN_S - 0.2)
    assert len(face.stamps_s) == pytest.approx(FPS * (SPOKEN_S - 0.4), abs=1), logs
    lag_s, likeness = find_lag(face, said[0] + begin_s, said[1])
    assert likeness > 0.95, f"it says something else\n{logs}"
    assert abs(lag_s) <= (0.004 if begin_s == AHEAD_S else 1 / FPS)


def test_mp3_is_refused_and_the_fix_is_named(played):
    faces, logs, _ = played
    face = faces[DATA, "MP3", 44100, 1]
    assert len(face.stamps_s) > SPOKEN_S * FPS
    assert face.mouth.max() < 0.02
    assert logs.count("the data is MP3") == 1
    assert "format:=wave" in logs


def test_all_ends_well(played):
    _, logs, statuses = played
    assert statuses == [0] * len(STAGES), logs
    assert "Traceback" not in logs


# Prints what DDS tells of each type, and the bytes of a message.
PROBE = """
import sys
import rclpy
from importlib import import_module
from rclpy.serialization import serialize_message

rclpy.init()
node = rclpy.create_node("probe")
for name in sys.argv[2:]:
    message_class = getattr(import_module(sys.argv[1] + ".msg"), name)
    publisher = node.create_publisher(message_class, name, 1)
    told = node.get_publishers_info_by_topic("/" + name)[0]
    print(told.topic_type, told.topic_type_hash, serialize_message(message_class()).hex())
"""


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_built_packages_are_the_types_that_others_know(interfaces, ros_domain, layout):
    """Type hash and wire format as rosbags, an independent implementation, has them."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    for package, messages in LAYOUTS[layout].items():
        for name, text in messages.items():
            store.register(get_types_from_msg(text, f"{package}/msg/{name}"))
        done = subprocess.run(
            [sys.executable, "-c", PROBE, package, *messages],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env={**os.environ, "PYTHONPATH": str(interfaces[layout])},
        )
        assert done.returncode == 0, done.stderr
        told = [line.split() for line in done.stdout.splitlines()]
        assert [name for name, _, _ in told] == [f"{package}/msg/{name}" for name in messages]
        for name, type_hash, raw in told:
            assert type_hash == store.hash_rihs01(name)
            content = bytes.fromhex(raw)
            decoded, spare = decode(store, content, name)
            # Not the bytes themselves: those between fields mean nothing.
            assert len(store.serialize_cdr(decoded, name)) == len(content) - spare


def decode(store, content, name):
    """The message, and how many bytes follow it: Fast CDR reserves room to align doubles of
    sequences that are empty."""
    from rosbags.serde import SerdeError

    for spare in range(0, 33, 4):
        with contextlib.suppress(SerdeError):
            return store.deserialize_cdr(content[: len(content) - spare], name), spare
    raise AssertionError(f"{name}: {content.hex()}")
