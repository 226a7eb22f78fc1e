"""Reads the face of a JointState by its names."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import JointState

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, HEAD_NAMES

_PLACES = {**ARKIT_INDEX}
_PLACES |= {name: len(ARKIT_NAMES) + index for index, name in enumerate(HEAD_NAMES)}


class FaceReader:
    """Finds ARKit's weights and the head's angles in messages, whatever their order."""

    def __init__(self) -> None:
        self._names: list[str] = []  # of the last message, and where its values belong
        self._places = np.zeros(0, np.int64)
        self.has_head = False  # the last message told the head's angles

    def read(self, message: JointState) -> np.ndarray:
        """Return weights and the head's angles [55] float32, 0 for what is not told.

        Raises:
            ValueError: it has no ARKit name, or values that are no numbers or of another count.
        """
        if message.name != self._names:
            self._names = list(message.name)
            self._places = np.array([_PLACES.get(name, -1) for name in self._names], np.int64)
            self.has_head = bool(set(self._names) & set(HEAD_NAMES))
        position = np.asarray(message.position, np.float32)
        if len(position) != len(self._names) or not np.isfinite(position).all():
            raise ValueError("a frame has another count of values than names, or NaN")
        known = self._places >= 0
        if not known.any():
            raise ValueError(f"a frame has no ARKit name among {self._names[:3]}")
        values = np.zeros(len(_PLACES), np.float32)
        values[self._places[known]] = position[known]
        return values
