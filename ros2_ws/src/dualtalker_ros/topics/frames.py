"""Points of other frames, brought to one frame by tf2 where that is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
from rclpy.time import Time


class PointTransformer:
    """Listens to /tf from the first point on: all of it goes through Python."""

    def __init__(self, node: Any, frame_id: str) -> None:
        """`frame_id` is the frame that points are brought to."""
        self._node, self._frame_id = node, frame_id
        self._buffer: Any = None

    @property
    def listens(self) -> bool:
        """Whether it may know more later."""
        return self._buffer is not None

    def transform(self, message: Any) -> tuple[float, float, float]:
        """Return the point of a PointStamped in the frame.

        It is as of its stamp, or where that is not known, as of the latest transforms.

        Raises:
            LookupError: tf2 is missing, or does not know the way from frame to frame, or not yet.
        """
        source = message.header.frame_id
        try:
            import tf2_ros
        except ImportError as error:
            raise LookupError(
                f"{source!r} is another frame than {self._frame_id!r}, and there is no tf2_ros "
                f"here ({error}): transform it first, or install ros-$ROS_DISTRO-tf2-ros-py"
            ) from error
        if self._buffer is None:
            self._buffer = tf2_ros.Buffer()
            self._listener = tf2_ros.TransformListener(self._buffer, self._node)
        reason: Exception | None = None
        stamp = message.header.stamp
        stamp_ns = max(stamp.sec, 0) * 10**9 + stamp.nanosec
        for time_ns in dict.fromkeys((stamp_ns, 0)):  # 0: the latest
            try:
                time = Time(nanoseconds=time_ns)
                found = self._buffer.lookup_transform(self._frame_id, source, time)
            except tf2_ros.TransformException as error:
                reason = error
            else:
                return _move(found.transform, message.point)
        raise LookupError(
            f"tf2 cannot transform {source!r} to {self._frame_id!r} ({reason}); is frame_id the "
            "frame of the head?"
        )

    def close(self) -> None:
        """Listen no more."""
        if self._buffer is not None:
            self._listener.unregister()
            self._buffer = None


def _move(transform: Any, point: Any) -> tuple[float, float, float]:
    """Turn a point by the quaternion q of a Transform, v + 2 q x (q x v + w v), and shift it."""
    turn, shift = transform.rotation, transform.translation
    place, axis = np.array([point.x, point.y, point.z]), np.array([turn.x, turn.y, turn.z])
    place += 2.0 * np.cross(axis, np.cross(axis, place) + turn.w * place)
    place += np.array([shift.x, shift.y, shift.z])
    x, y, z = place.tolist()
    return x, y, z
