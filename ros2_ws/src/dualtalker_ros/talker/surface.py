"""A rig's moving surface as messages: vertices, topology, marker.

In ROS axes (REP 103): x forward, y to the face's own left, z up, in metres. A rig has x to its own
left, y up and z forward, so a rig's (x, y, z) becomes (z, x, y).
"""

from __future__ import annotations

import array
import struct
import sys
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from rclpy.serialization import serialize_message
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA

from dualtalker.rig import Rig, decimate
from dualtalker_ros.topics import import_type

TOPOLOGY_TYPE = "shape_msgs/msg/Mesh"
MARKER_TYPE = "visualization_msgs/msg/Marker"

# Which of a rig's axes are forward, left and up.
_ROS_AXES = (2, 0, 1)
# Four bytes before every serialized message: plain CDR, little-endian.
_LITTLE_ENDIAN = b"\x00\x01\x00\x00"
# Where Time's seconds and nanoseconds lie in a serialized message that begins with a header.
_STAMP = slice(4, 12)
# Of a rig without colors: light gray.
_PLAIN_RGBA = (0.8, 0.8, 0.82, 1.0)


def to_ros_axes(positions: np.ndarray) -> np.ndarray:
    """Return a rig's positions [..., 3] (left, up, forward) as (forward, left, up)."""
    return positions[..., _ROS_AXES]


class CloudEncoder:
    """Poses a rig and makes PointCloud2 of its vertices, in the rig's own order."""

    def __init__(self, rig: Rig, frame_id: str) -> None:
        self._rig = rig
        count = len(rig.neutral)
        self._message = PointCloud2(height=1, width=count, is_dense=True, is_bigendian=False)
        self._message.header.frame_id = frame_id
        self._message.fields = [
            PointField(name=axis, offset=4 * index, datatype=PointField.FLOAT32, count=1)
            for index, axis in enumerate("xyz")
        ]
        self._message.point_step, self._message.row_step = 12, 12 * count

    def encode(self, weights: np.ndarray, stamp: Time) -> PointCloud2:
        """Return the vertices at ARKit weights [52]; the same message object each time."""
        vertices = to_ros_axes(self._rig.pose(weights)).astype("<f4", copy=False)
        self._message.header.stamp = stamp
        # An array.array is copied as it is; assigning numpy or lists costs a thousand times more.
        data = array.array("B")
        data.frombytes(vertices.tobytes())
        self._message.data = data
        return self._message


def encode_topology(rig: Rig) -> bytes:
    """Return a serialized shape_msgs/Mesh: the triangles, and the vertices of the face at rest.

    Made by hand, because 13,000 MeshTriangle objects take 0.1 s. CDR has sequences as a count
    (uint32) and elements; triangles are three uint32, points three float64 aligned to 8 bytes,
    counted from behind the four bytes of encapsulation.
    """
    triangles = np.ascontiguousarray(rig.triangles, dtype="<u4")
    body = struct.pack("<I", len(triangles)) + triangles.tobytes()
    body += struct.pack("<I", len(rig.neutral))
    body += bytes(-len(body) % 8)
    points = np.ascontiguousarray(to_ros_axes(rig.neutral), dtype="<f8")
    return _LITTLE_ENDIAN + body + points.tobytes()


class MarkerEncoder:
    """Poses a reduced rig and makes serialized TRIANGLE_LIST markers of it.

    A marker of 5,000 triangles has 15,000 Point objects, which take 30 ms a frame. So one marker
    is serialized by ROS with points of known values; where these bytes and the stamp's lie in it,
    later ones are written.
    """

    def __init__(self, rig: Rig, max_triangles: int, frame_id: str) -> None:
        """ImportError where visualization_msgs is not installed."""
        marker_class = import_type(MARKER_TYPE)
        self._rig = decimate(rig, max_triangles)
        self._corners = self._rig.triangles.ravel()
        known = np.arange(1.0, 3 * len(self._corners) + 1).reshape(-1, 3)
        marker = _make_marker(marker_class, self._rig, frame_id, known)
        template = serialize_message(marker)
        begin = template.find(known.astype("<f8").tobytes())
        if begin < 0 or template[:4] != _LITTLE_ENDIAN or template[_STAMP] != bytes(8):
            raise ImportError(
                f"{MARKER_TYPE} is serialized here (by {sys.byteorder}-endian ROS) as this "
                "version does not know; leave face_marker out of the outputs"
            )
        self._buffer = bytearray(template)
        self._points = np.frombuffer(
            self._buffer, dtype="<f8", count=known.size, offset=begin
        ).reshape(known.shape)

    @property
    def triangle_count(self) -> int:
        """Triangles of the marker; no more than asked for."""
        return len(self._rig.triangles)

    def encode(self, weights: np.ndarray, stamp: Time) -> bytes:
        """Return the serialized marker of the face at ARKit weights [52]."""
        self._buffer[_STAMP] = struct.pack("<iI", stamp.sec, stamp.nanosec)
        self._points[:] = to_ros_axes(self._rig.pose(weights))[self._corners]
        return bytes(self._buffer)


def _make_marker(marker_class: Any, rig: Rig, frame_id: str, points: np.ndarray) -> Any:
    """Return a marker with `points` [3 * triangles, 3] and the rig's colors."""
    marker = marker_class(ns="face", id=0, type=marker_class.TRIANGLE_LIST)
    marker.action = marker_class.ADD
    marker.header.frame_id = frame_id
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = 1.0
    marker.color = ColorRGBA(**dict(zip("rgba", _PLAIN_RGBA, strict=True)))
    marker.points = [Point(x=x, y=y, z=z) for x, y, z in points.tolist()]
    if rig.colors is not None:
        corner_colors = rig.colors[rig.triangles.ravel()] / 255.0
        marker.colors = [ColorRGBA(r=r, g=g, b=b, a=1.0) for r, g, b in corner_colors.tolist()]
    return marker
