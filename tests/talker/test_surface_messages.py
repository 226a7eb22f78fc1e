"""A rig as ROS messages: what ROS's own deserializer finds in them is the rig's pose."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dualtalker.rig import decimate
from tiny_rig import tiny_rig

pytestmark = pytest.mark.usefixtures("ros")

WEIGHTS = arrays(np.float32, 52, elements=st.floats(0, 1, width=32))
STAMPS = st.integers(0, 2**31 * 10**9 - 1)


def time_of(stamp_ns):
    from builtin_interfaces.msg import Time

    return Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)


def points_of(points):
    return np.array([[p.x, p.y, p.z] for p in points])


@settings(deadline=None, max_examples=20)
@given(WEIGHTS, STAMPS)
def test_clouds_are_poses_in_ros_axes(weights, stamp_ns):
    """Forward, left, up are a rig's z, x, y."""
    from dualtalker_ros.talker.surface import CloudEncoder

    rig = tiny_rig()
    message = CloudEncoder(rig, "head_link").encode(weights, time_of(stamp_ns))
    assert message.header.frame_id == "head_link"
    assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == stamp_ns
    assert (message.width, message.height, message.point_step) == (45, 1, 12)
    found = np.frombuffer(message.data, "<f4").reshape(-1, 3)
    np.testing.assert_array_equal(found, rig.pose(weights)[:, [2, 0, 1]])


@settings(deadline=None, max_examples=20)
@given(WEIGHTS, STAMPS, st.booleans(), st.sampled_from(["f", "face", "robot/head_link"]))
def test_markers_are_read_by_ros_as_what_they_are_made_of(weights, stamp_ns, colored, frame_id):
    from rclpy.serialization import deserialize_message
    from visualization_msgs.msg import Marker

    from dualtalker_ros.talker.surface import MarkerEncoder

    rig = tiny_rig(colored)
    encoder = MarkerEncoder(rig, 40, frame_id)
    encoder.encode(np.ones(52, np.float32), time_of(5))  # nothing of an earlier frame stays
    marker = deserialize_message(encoder.encode(weights, time_of(stamp_ns)), Marker)
    reduced = decimate(rig, 40)
    assert encoder.triangle_count == len(reduced.triangles) <= 40
    assert (marker.type, marker.action) == (Marker.TRIANGLE_LIST, Marker.ADD)
    assert marker.header.frame_id == frame_id
    assert marker.header.stamp.sec * 10**9 + marker.header.stamp.nanosec == stamp_ns
    assert marker.scale.x == marker.scale.y == marker.scale.z == marker.pose.orientation.w == 1
    corners = reduced.triangles.ravel()
    expected = reduced.pose(weights)[corners][:, [2, 0, 1]]
    np.testing.assert_array_equal(points_of(marker.points), expected)
    if colored:
        colors = np.array([[c.r, c.g, c.b, c.a] for c in marker.colors])
        np.testing.assert_allclose(colors[:, :3], reduced.colors[corners] / 255, atol=1e-6)
        assert (colors[:, 3] == 1).all()
    else:
        assert len(marker.colors) == 0 and marker.color.a == 1


@pytest.mark.parametrize("count", [1, 2, 63, 64])
def test_topologies_are_read_by_ros_as_triangles_and_neutral(count):
    """Of even and odd numbers of triangles: what follows them is aligned."""
    from rclpy.serialization import deserialize_message
    from shape_msgs.msg import Mesh

    from dualtalker_ros.talker.surface import encode_topology

    rig = dataclasses.replace(tiny_rig(), triangles=tiny_rig().triangles[:count])
    mesh = deserialize_message(encode_topology(rig), Mesh)
    found = np.array([triangle.vertex_indices for triangle in mesh.triangles])
    np.testing.assert_array_equal(found, rig.triangles)
    np.testing.assert_array_equal(points_of(mesh.vertices), rig.neutral[:, [2, 0, 1]])
