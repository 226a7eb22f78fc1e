"""Every output of a talker process, received over DDS and decoded; unheard, none is computed."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest

from audio_driver import Segment, Stream
from checkout import ROOT
from dualtalker.rig import decimate
from dualtalker.rig.robot_head import build_head
from ros_processes import TIMEOUT_S, command_of, running, stamp_ns
from ros_stage import CHUNK, Stage, fill, speech
from ros_troupe import Process, closing_all, start_driver

TRIANGLES = 300  # Python reads markers slowly
ROS_AXES = [2, 0, 1]
STAMPED = "audio_common_msgs/msg/AudioDataStamped"
FACS = "hri_msgs/msg/FacialActionUnits"

pytestmark = pytest.mark.usefixtures("ros")


class Outputs(Stage):
    """A talker with all outputs, a listener, and a mouth to speak with."""

    def __init__(self, listener, process, log):
        super().__init__(listener, "", process)
        self.log = log
        self.speaking = self.hear_latched("std_msgs/msg/Bool", "talker/speaking")
        self.await_listening()

    def hear_latched(self, type_name, topic):
        from rclpy.qos import DurabilityPolicy, QoSProfile

        from dualtalker_ros.topics import import_type

        heard = []
        qos = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.listener.node.create_subscription(import_type(type_name), topic, heard.append, qos)
        return heard

    def say(self, samples, chunk=None):
        """Publish float samples [n] at once, in one message or in chunks; return what was sent.

        The talker plays them at speaking speed, whatever else this machine has to do.
        """
        sent, size = [], chunk or len(samples)
        for first in range(0, len(samples), size):
            message = fill(samples[first : first + size])
            self.audio.publish(message)
            sent.append(message.data.tobytes())
        return sent

    def weights_at(self, stamp):
        """Return the blendshapes [52] of a stamp in ns; None where that frame was not heard."""
        for _, face in reversed(self.faces):
            if stamp_ns(face) == stamp:
                return np.array(face.position, np.float32)
        return None


@pytest.fixture(scope="module")
def stage(listener, tiny, tmp_path_factory):
    log = tmp_path_factory.mktemp("outputs") / "node.log"
    parameters = {
        "model": tiny,
        "outputs": "[all]",
        "marker_triangles": TRIANGLES,
        "audio_type": "std_msgs/msg/Int16MultiArray",
        "frame_id": "head_link",
    }
    with running("talker_node", log, **parameters) as process:
        yield Outputs(listener, process, log)


def points_of(points):
    return np.array([[p.x, p.y, p.z] for p in points])


COSTLY = ("mouth_open", "vertices", "face_marker", "audio_synced")


def test_nothing_is_computed_for_nobody(stage):
    """Also while it speaks; the face itself goes out all the same."""
    stage.say(speech(0.8))
    stage.listener.spin(1.0)
    values = stage.status()[2]
    assert [int(values[f"sent {name}"]) for name in COSTLY] == [0, 0, 0, 0]
    assert int(values["sent blendshapes"]) > 15
    assert int(values["synced_audio_drops"]) == 0


def test_late_subscribers_get_the_topology(stage):
    meshes = stage.hear_latched("shape_msgs/msg/Mesh", "topology")
    stage.listener.spin_until(lambda: meshes)
    head = build_head()
    found = np.array([triangle.vertex_indices for triangle in meshes[0].triangles])
    np.testing.assert_array_equal(found, head.triangles)
    np.testing.assert_array_equal(points_of(meshes[0].vertices), head.neutral[:, ROS_AXES])


def test_vertices_are_the_rig_at_the_blendshapes_of_their_stamp(stage):
    from sensor_msgs.msg import PointCloud2, PointField

    clouds = []
    subscription = stage.listener.node.create_subscription(
        PointCloud2, "vertices", clouds.append, 100
    )
    stage.listener.spin_until(lambda: clouds)
    clouds.clear()
    stage.say(speech(1.0))
    stage.listener.spin_until(lambda: len(clouds) > 40)
    stage.listener.spin(0.3)
    head, moved_m, compared = build_head(), [], 0
    for cloud in clouds:
        weights = stage.weights_at(stamp_ns(cloud))
        if weights is None:  # the other topic's message of this frame is still on its way
            continue
        fields = [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields]
        assert fields == [(axis, 4 * i, PointField.FLOAT32, 1) for i, axis in enumerate("xyz")]
        assert (cloud.header.frame_id, cloud.width, cloud.row_step) == ("head_link", 7086, 85032)
        found = np.frombuffer(cloud.data, "<f4").reshape(-1, 3)
        np.testing.assert_allclose(found, head.pose(weights)[:, ROS_AXES], atol=1e-7)
        moved_m.append(np.abs(found - head.neutral[:, ROS_AXES]).max())
        compared += 1
    assert compared > 15
    assert max(moved_m) > 0.005, "it speaks"

    stage.listener.node.destroy_subscription(subscription)
    stage.listener.spin(0.5)
    before, after = (int(stage.status()[2]["sent vertices"]) for _ in range(2))
    assert before == after > 0, "and rests when nobody listens any more"


def test_markers_are_the_reduced_rig(stage):
    from visualization_msgs.msg import Marker

    markers = []
    subscription = stage.listener.node.create_subscription(
        Marker, "face_marker", markers.append, 10
    )
    stage.listener.spin_until(lambda: markers)
    stage.say(speech(0.5))
    stage.listener.spin_until(lambda: len(markers) > 10)
    stage.listener.node.destroy_subscription(subscription)
    stage.listener.spin(0.2)
    reduced = decimate(build_head(), TRIANGLES)
    corners, compared = reduced.triangles.ravel(), 0
    for marker in markers:
        weights = stage.weights_at(stamp_ns(marker))
        if weights is None:
            continue
        assert marker.type == Marker.TRIANGLE_LIST and marker.header.frame_id == "head_link"
        assert len(marker.points) == len(marker.colors) == 3 * len(reduced.triangles) <= 900
        expected = reduced.pose(weights)[corners][:, ROS_AXES]
        np.testing.assert_allclose(points_of(marker.points), expected, atol=1e-7)
        compared += 1
    assert compared >= 3


def test_audio_comes_again_bit_for_bit_and_never_before_its_face(stage):
    from std_msgs.msg import Int16MultiArray

    heard = stage.listener.hear(Int16MultiArray, "audio_synced")
    deadline_s = time.monotonic() + TIMEOUT_S
    while not heard:  # it does not see us at once
        assert time.monotonic() < deadline_s, "audio_synced stays silent"
        stage.say(speech(0.1))
        stage.listener.spin(0.5)
    stage.listener.spin(1.0)  # a new count of samples begins
    heard.clear()
    begin_s = time.monotonic()
    sent = stage.say(speech(1.5), CHUNK)
    stage.listener.spin_until(lambda: len(heard) >= len(sent))
    assert [message.data.tobytes() for _, message in heard] == sent
    # The first sample has the time of its arrival, and the others are counted from there.
    planned_s = float(stage.status()[2]["planned delay (ms)"]) / 1e3
    late_s = np.array([at_s for at_s, _ in heard]) - begin_s - 0.02 * np.arange(len(heard))
    assert late_s.min() > planned_s, "never before its face"


def test_speaking_is_latched_and_does_not_flicker(stage):
    stage.listener.spin_until(lambda: stage.speaking and not stage.speaking[-1].data)
    stage.speaking.clear()
    stage.say(speech(2.0))  # syllables with 0.25 s from peak to peak
    stage.listener.spin_until(lambda: len(stage.speaking) >= 2)
    stage.listener.spin(0.5)
    assert [message.data for message in stage.speaking] == [True, False]
    late = stage.hear_latched("std_msgs/msg/Bool", "talker/speaking")
    stage.listener.spin_until(lambda: late)
    assert [message.data for message in late] == [False]


def test_the_hold_is_live(stage):
    """With one of 3 s the same half second of speech lasts longer than with 0.3 s."""
    from rclpy.parameter import Parameter
    from rclpy.parameter_client import AsyncParameterClient

    client, lasted_s = AsyncParameterClient(stage.listener.node, "talker"), []
    stage.listener.spin_until(client.services_are_ready)
    for hold_ms in (3000.0, 300.0):
        answer = client.set_parameters([Parameter("speaking_hold_ms", value=hold_ms)])
        stage.listener.spin_until(answer.done)
        assert answer.result().results[0].successful
        stage.speaking.clear()
        stage.say(speech(0.5))
        stage.listener.spin_until(lambda: stage.speaking)
        begun_s = time.monotonic()
        stage.listener.spin_until(lambda: not stage.speaking[-1].data)
        lasted_s.append(time.monotonic() - begun_s)
        assert len(stage.speaking) == 2
    assert lasted_s[0] > 2.5 and lasted_s[0] > lasted_s[1]


@pytest.mark.skipif(find_spec("hri_msgs") is not None, reason="hri_msgs is installed here")
def test_without_hri_msgs_the_log_says_so_and_there_is_no_topic(stage):
    topics = [name for name, _ in stage.listener.node.get_topic_names_and_types()]
    assert "/facs" not in topics and "/vertices" in topics
    text = stage.log.read_text()
    assert text.count("no topic facs") == 1 and "install the ROS package hri_msgs" in text


def test_outputs_that_are_not_wanted_do_not_exist(listener, tiny, tmp_path):
    """By default the mesh; and those that a list leaves out."""
    from std_msgs.msg import Float32

    openings = listener.hear(Float32, "/one/mouth_open")
    defaults = listener.hear(Float32, "/two/mouth_open")
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    with (
        running("talker_node", one, ["__ns:=/one"], model=tiny, outputs="[mouth_open]"),
        running("talker_node", two, ["__ns:=/two"], model=tiny),
    ):
        listener.spin_until(lambda: openings and defaults)
        names = [name for name, _ in listener.node.get_topic_names_and_types()]
    assert {"/one/mouth_open", "/two/blendshapes", "/two/talker/speaking"} <= set(names)
    for absent in ("/one/blendshapes", "/one/talker/speaking", "/two/vertices", "/two/topology"):
        assert absent not in names


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"outputs": "[smell]"}, "expected one of: all, blendshapes"),
        ({"outputs": "[vertices]", "rig": "/no/such/rig.glb"}, "no such file"),
    ],
)
def test_errors_name_the_cause_and_end_with_1(ros_domain, tiny, parameters, says):
    done = subprocess.run(
        command_of("talker_node", model=tiny, **parameters),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 1
    assert says in done.stdout + done.stderr and "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def stamped(interfaces, listener, tiny, tmp_path_factory):
    """What a talker in `immediate` mode made of stamped audio: topics as (time, CDR) lists."""
    folder = tmp_path_factory.mktemp("stamped")
    parameters = {
        "model": tiny,
        "delivery": "immediate",
        "audio_type": STAMPED,
        "outputs": "[blendshapes,audio_synced,facs]",
    }
    # One folder for all interface packages that the processes need.
    layouts = interfaces["ros_drivers"], interfaces["ros4hri"]
    both = folder / "interfaces"
    both.mkdir()
    for layout in layouts:
        for package in layout.iterdir():
            (both / package.name).symlink_to(package)
    wanted = {
        # The first ones come before DDS has told of us.
        "/stamped/audio": [STAMPED, 30],
        "/stamped/audio_synced": [STAMPED, 30],
        "/stamped/facs": [FACS, 60],
        "/stamped/blendshapes": ["sensor_msgs/msg/JointState", 60],
    }
    with closing_all() as processes:
        command = [*command_of("talker_node", ["__ns:=/stamped"], **parameters)]
        processes.append(Process(command, folder / "node.log", both))
        node = listener.node
        listener.spin_until(lambda: node.count_publishers("/stamped/audio_synced"))
        ear = [sys.executable, str(ROOT / "tests" / "stand_ins" / "topic_ear.py")]
        ear += [str(folder / "heard.json"), json.dumps(wanted)]
        processes.append(Process(ear, folder / "ear.log", both))
        listener.spin_until(lambda: "ready" in processes[1].text())
        listener.spin(1.0)
        # Longer than needed: on a busy machine DDS takes seconds to bring all together.
        stream = Stream("/stamped/audio", STAMPED, [Segment(duration_s=20.0)])
        processes.append(start_driver([stream], folder, "driver", both))
        status = processes[1].process.wait(90)
        assert status == 0, "\n".join(process.text() for process in processes)
    heard = json.loads((folder / "heard.json").read_text("utf-8"))
    return {
        topic.rpartition("/")[2]: [(at_s, bytes.fromhex(raw)) for at_s, raw in messages]
        for topic, messages in heard.items()
    }


def cdr_stamp_ns(raw):
    seconds, nanoseconds = struct.unpack_from("<iI", raw, 4)
    return seconds * 10**9 + nanoseconds


def test_stamped_audio_comes_again_with_every_byte_and_the_stated_latency_later(stamped):
    came, went = stamped["audio"], stamped["audio_synced"]
    stamps_ns = [cdr_stamp_ns(raw) for _, raw in went]
    assert set(np.diff(stamps_ns)) == {20_000_000}
    original = {cdr_stamp_ns(raw): raw for _, raw in came}
    known = [(raw, original[at]) for (_, raw), at in zip(went, stamps_ns, strict=True)
             if at in original]  # fmt: skip
    assert len(known) > 10 and all(again == first for again, first in known)
    assert all(len(raw) > 2 * CHUNK for _, raw in went)
    late_s = np.array([at_s - cdr_stamp_ns(raw) / 1e9 for at_s, raw in went])
    assert late_s.min() > 0.1, "what the tiny model states"


def test_action_units_are_those_of_the_blendshapes_with_the_same_stamp(stamped):
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    from dualtalker_ros.talker.facs import SPEECH, intensities
    from ros_interfaces import LAYOUTS

    store = get_typestore(Stores.ROS2_JAZZY)
    fields = LAYOUTS["ros4hri"]["hri_msgs"]["FacialActionUnits"]
    store.register(get_types_from_msg(fields, FACS))
    faces = {
        cdr_stamp_ns(raw): store.deserialize_cdr(raw, "sensor_msgs/msg/JointState")
        for _, raw in stamped["blendshapes"]
    }
    spoken, compared = set(), 0
    for _, raw in stamped["facs"]:
        message, face = store.deserialize_cdr(raw, FACS), faces.get(cdr_stamp_ns(raw))
        if face is None:
            continue
        spoken.add(speaking := bool(message.intensity[SPEECH]))
        weights = face.position.astype(np.float32)
        np.testing.assert_array_equal(message.intensity, intensities(weights, speaking))
        assert message.header.frame_id == "face"
        assert (message.confidence[message.intensity > 0] == 1).all()
        compared += 1
    assert compared > 50 and True in spoken
