"""What the talker sends for each frame: which topics exist, and who of them has work to do."""

from __future__ import annotations

import array
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState, PointCloud2
from std_msgs.msg import Bool, Float32

from dualtalker.arkit import ARKIT_INDEX, HEAD_NAMES
from dualtalker.delivery import NEVER_NS
from dualtalker.stream import Frame, TimedFrame
from dualtalker_ros.talker.facs import FACS_TYPE, ActionUnitEncoder
from dualtalker_ros.talker.parameters import OUTPUTS
from dualtalker_ros.talker.speaking import SpeechWatch
from dualtalker_ros.talker.synced_audio import SyncedAudio
from dualtalker_ros.topics import import_type

if TYPE_CHECKING:  # rigs and their messages load where an output needs them: not by default
    from dualtalker.rig import Rig

_QUEUE_DEPTH = 10
# Audio that is sent late is worse than audio that waits in a queue for a moment.
AUDIO_QUEUE_DEPTH = 100
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass
class Output:
    """A topic with a message for each frame; a `costly` one only while someone subscribes.

    To make a message and hand it to DDS costs more than to ask whether anyone does.
    """

    publisher: Any
    encode: Callable[[Frame, int], Any]  # takes the stamp in ns
    costly: bool = False
    sent: int = 0

    def send(self, frame: Frame, stamp_ns: int) -> None:
        """Make the message of a frame and publish it, if that is wanted."""
        if self.costly and self.publisher.get_subscription_count() == 0:
            return
        self.publisher.publish(self.encode(frame, stamp_ns))
        self.sent += 1


class SerializedJoints:
    """A JointState that is serialized once; each frame's numbers are put into their places.

    rclpy would convert all of the names again for each message.
    """

    def __init__(self, names: Sequence[str], frame_id: str) -> None:
        """`names` are those of the positions."""
        marks = np.arange(len(names)) + 0.5
        stamp = Time(sec=0x1A2B3C4D, nanosec=0x2B3C4D5E)
        message = JointState(name=list(names), position=array.array("d", marks.tobytes()))
        message.header.frame_id, message.header.stamp = frame_id, stamp
        self._content = bytearray(serialize_message(message))
        self._stamp_at = self._content.index(struct.pack("=iI", stamp.sec, stamp.nanosec))
        first = self._content.index(marks.tobytes())
        self._positions = slice(first, first + marks.nbytes)
        # Two empty sequences follow, of which Fast CDR keeps room to align what they lack: strict
        # readers of bags take such bytes for a fault.
        del self._content[self._positions.stop + 2 * 4 :]

    def encode(self, positions: np.ndarray, stamp_ns: int) -> bytes:
        """Return the message of positions [names], to be published as it is."""
        struct.pack_into("=iI", self._content, self._stamp_at, *divmod(stamp_ns, 10**9))
        self._content[self._positions] = positions.astype(np.float64).tobytes()
        return bytes(self._content)


def open_rig(node: Any) -> Rig | None:
    """Return the rig that the parameters name, or None where no output needs one.

    Raises:
        RigError: it cannot be loaded.
    """
    if _wanted_outputs(node).isdisjoint(("vertices", "face_marker")):
        return None
    from dualtalker.rig import load_rig

    path = node.get_parameter("rig").value
    if path:
        rig = load_rig(path)
    else:
        from dualtalker.rig.robot_head import build_head

        rig = build_head()
    node.get_logger().info(
        f"rig {rig.name!r}: {len(rig.neutral)} vertices, {len(rig.triangles)} triangles, "
        f"{len(rig.names)} shapes"
    )
    return rig


class FacePublishers:
    """All topics of a talker's face: made in `configure`, used while active, then destroyed.

    `synced_audio` is to follow the node's `Delivery`.
    """

    def __init__(self, node: Any, names: Sequence[str], rig: Rig | None) -> None:
        """`names` are those of the weights, `rig` is of `open_rig`; parameters tell the rest."""
        self._node = node
        self._frame_id = self._value("frame_id")
        self._watch = SpeechWatch(self._value("speaking_hold_ms") / 1e3)
        self._outputs: dict[str, Output] = {}
        self._latched: list[Any] = []
        self._speaking: Any = None
        self._told: bool | None = None  # what was last said on ~/speaking
        self._topology: tuple[Any, bytes] | None = None
        self.synced_audio = SyncedAudio(self._value("max_queue_s"))
        self._wanted = _wanted_outputs(node)
        if "blendshapes" in self._wanted:
            # Without the head's angles, and with them.
            self._joints = [
                SerializedJoints([*names, *head], self._frame_id) for head in ((), HEAD_NAMES)
            ]
            self._add("blendshapes", JointState, self._encode_joints)
        if "mouth_open" in self._wanted:
            self._add("mouth_open", Float32, _encode_opening, costly=True)
        if "speaking" in self._wanted:
            self._speaking = self._latch(Bool, "~/speaking")
        if "facs" in self._wanted:
            self._add_facs()
        if rig is not None:
            self._add_surface(rig)

    @property
    def faults(self) -> dict[str, int]:
        """Counters of what should not happen; the same object all the time."""
        return self.synced_audio.counters

    @property
    def sent(self) -> dict[str, int]:
        """How many messages were made for each topic so far: none where nobody wants them."""
        counts = {name: output.sent for name, output in self._outputs.items()}
        if "audio_synced" in self._wanted:
            counts["audio_synced"] = self.synced_audio.sent
        return counts

    def retune(self) -> None:
        """Take the parameters that are live as they are now."""
        self._watch.hold_s = self._value("speaking_hold_ms") / 1e3
        self.synced_audio.max_queue_s = self._value("max_queue_s")

    def start(self) -> None:
        """The node became active: tell what is latched."""
        self._watch.reset()
        self._tell(False)
        if self._topology is not None:
            publisher, message = self._topology
            publisher.publish(message)

    def listen(self, audio_class: Any) -> None:
        """The node hears audio of this type: it can go out again."""
        if "audio_synced" in self._wanted:
            publisher = self._node.create_publisher(audio_class, "audio_synced", AUDIO_QUEUE_DEPTH)
            self.synced_audio.open(publisher)

    def send(self, timed: TimedFrame) -> None:
        """Publish a frame on each topic that exists and has work to do."""
        frame = timed.frame
        self._tell(self._watch.update(frame.weights, timed.depicted_ns / 1e9, frame.idle))
        for output in self._outputs.values():
            output.send(frame, timed.stamp_ns)

    def send_audio(self, now_ns: int, delay_s: float) -> int:
        """Send the audio that is due `delay_s` after its time; return when more will be (ns)."""
        if not self.synced_audio.waits:
            return NEVER_NS
        self.synced_audio.send_due(now_ns, delay_s)
        due_ns = self.synced_audio.next_due_ns(delay_s)
        return NEVER_NS if due_ns is None else due_ns

    def stop(self) -> None:
        """The node is about to be inactive: nobody speaks, no audio waits."""
        self._watch.reset()
        if self._told:
            self._tell(False)
        self._told = None
        publisher = self.synced_audio.close()
        if publisher is not None:
            self._node.destroy_publisher(publisher)

    def destroy(self) -> None:
        """Free rig and publishers."""
        for publisher in [*self._latched, *(o.publisher for o in self._outputs.values())]:
            self._node.destroy_lifecycle_publisher(publisher)
        self._outputs, self._latched, self._speaking, self._topology = {}, [], None, None

    def _add(
        self,
        name: str,
        message_class: Any,
        encode: Callable[[Frame, int], Any],
        costly: bool = False,
    ) -> None:
        publisher = self._node.create_lifecycle_publisher(message_class, name, _QUEUE_DEPTH)
        self._outputs[name] = Output(publisher, encode, costly)

    def _latch(self, message_class: Any, name: str) -> Any:
        """Return a publisher whose last message reaches late subscribers, too."""
        publisher = self._node.create_lifecycle_publisher(message_class, name, LATCHED)
        self._latched.append(publisher)
        return publisher

    def _add_facs(self) -> None:
        try:
            encoder = ActionUnitEncoder(self._frame_id)
        except ImportError as error:
            self._node.get_logger().info(f"no topic facs: {error}")
            return
        self._add(
            "facs",
            import_type(FACS_TYPE),
            lambda frame, stamp_ns: encoder.encode(
                frame.weights, _to_stamp(stamp_ns), self._watch.speaking
            ),
            costly=True,
        )

    def _add_surface(self, rig: Rig) -> None:
        from dualtalker_ros.talker.surface import CloudEncoder

        if "vertices" in self._wanted:
            cloud = CloudEncoder(rig, self._frame_id)
            self._add(
                "vertices",
                PointCloud2,
                lambda frame, stamp_ns: cloud.encode(frame.weights, _to_stamp(stamp_ns)),
                costly=True,
            )
            self._add_topology(rig)
        if "face_marker" in self._wanted:
            self._add_marker(rig)

    def _add_topology(self, rig: Rig) -> None:
        from dualtalker_ros.talker.surface import TOPOLOGY_TYPE, encode_topology

        try:
            mesh_class = import_type(TOPOLOGY_TYPE)
        except ImportError as error:
            self._node.get_logger().warning(f"no topic topology: {error}")
            return
        self._topology = (self._latch(mesh_class, "topology"), encode_topology(rig))

    def _add_marker(self, rig: Rig) -> None:
        from dualtalker_ros.talker.surface import MARKER_TYPE, MarkerEncoder

        try:
            marker = MarkerEncoder(rig, self._value("marker_triangles"), self._frame_id)
        except ImportError as error:
            self._node.get_logger().warning(f"no topic face_marker: {error}")
            return
        self._add(
            "face_marker",
            import_type(MARKER_TYPE),
            lambda frame, stamp_ns: marker.encode(frame.weights, _to_stamp(stamp_ns)),
            costly=True,
        )
        self._node.get_logger().info(f"face_marker of {marker.triangle_count} triangles")

    def _encode_joints(self, frame: Frame, stamp_ns: int) -> bytes:
        values = frame.weights
        if frame.head is not None:
            values = np.concatenate([values, frame.head])
        return self._joints[frame.head is not None].encode(values, stamp_ns)

    def _tell(self, speaking: bool) -> None:
        if self._speaking is not None and speaking != self._told:
            self._speaking.publish(Bool(data=speaking))
            self._told = speaking

    def _value(self, name: str) -> Any:
        return self._node.get_parameter(name).value


def _wanted_outputs(node: Any) -> frozenset[str]:
    wanted = node.get_parameter("outputs").value
    return frozenset(OUTPUTS if "all" in wanted else wanted)


def _to_stamp(stamp_ns: int) -> Time:
    return Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)


def _encode_opening(frame: Frame, stamp_ns: int) -> Float32:
    opening = frame.weights[ARKIT_INDEX["jawOpen"]] - frame.weights[ARKIT_INDEX["mouthClose"]]
    return Float32(data=max(float(opening), 0.0))
