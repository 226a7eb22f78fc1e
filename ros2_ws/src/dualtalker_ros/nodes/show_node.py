"""What nodes that show a face share: its frames, the time of their sound, diagnostics."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import JointState
from std_msgs.msg import Float32

from dualtalker.display import ShowDelay, SteppedClock
from dualtalker.faults import Faults
from dualtalker_ros.parameters import Parameter, ParameterNode
from dualtalker_ros.topics import FaceReader, Growth, judge_growth, make_diagnostics

# Stamps further from now than this are of another clock: then arrival counts.
_FOREIGN_STAMP_S = 10.0
# But stamps that follow each other may go further ahead: speech that was computed ahead.
_FURTHEST_AHEAD_S = 600.0
_QUEUE_DEPTH = 100  # frames: a moment that the machine has no time must lose none

DELAY_PARAMETER = Parameter(
    "audio_delay_ms",
    -1.0,
    "From the audio's stamp to its sound (ms), of a player that does not tell; -1: what "
    "speaker/latency tells, else frames are shown as soon as all have come.",
    -1.0,
    5000.0,
    read_only=True,
)


class ShowNode(ParameterNode):
    """Hears `blendshapes` and the speaker's latency; subclasses show the frames."""

    part = ""  # of the diagnostics

    def __init__(
        self, name: str, parameters: tuple[Parameter, ...], kinds: tuple[str, ...] = ()
    ) -> None:
        """Raises ValueError for parameters, DELAY_PARAMETER among them.

        `kinds` are further faults that are counted.
        """
        super().__init__(name, parameters)
        delay_ms = self.value("audio_delay_ms")
        self.delay = ShowDelay(delay_ms / 1e3 if delay_ms >= 0 else None)
        self.shown = 0
        faults = Faults(("foreign_stamps", "bad_frames", *kinds), self.get_logger().warning)
        self.counters, self.count = faults.counters, faults.count
        self.steady = Clock(clock_type=ClockType.STEADY_TIME)  # one that /clock does not stop
        self._simulated = SteppedClock()
        self._reader = FaceReader()
        self._last_ns, self._is_foreign = 0, False  # of the last frame
        self._growth = Growth()

    def listen(self) -> None:
        """Hear from now on: what shows the frames is there."""
        self.create_subscription(JointState, "blendshapes", self._hear, _QUEUE_DEPTH)
        for topic, after in (("latency", "stamp"), ("latency_after_arrival", "arrival")):
            follow = partial(self._follow_speaker, after)
            self.create_subscription(Float32, f"speaker/{topic}", follow, 10)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(1.0, self._report, clock=self.steady)

    def show(self, stamp_ns: int, values: np.ndarray, has_head: bool) -> None:
        """Show a frame, weights and the head's angles [55]; without `has_head` they are 0."""
        raise NotImplementedError

    def describe(self) -> tuple[str, dict[str, Any], dict[str, int]]:
        """Return for the diagnostics a text where all is well, values, and counters of faults."""
        raise NotImplementedError

    def find_show_s(self, stamp_ns: int) -> tuple[float, float]:
        """Return when the sound of a frame that came now is heard, and now: monotonic time."""
        follows = not self._is_foreign and 0 <= stamp_ns - self._last_ns <= 10**9
        now_s, age_s = self._read_age(stamp_ns, _FURTHEST_AHEAD_S if follows else _FOREIGN_STAMP_S)
        self._last_ns, self._is_foreign = stamp_ns, age_s is None
        age_s = age_s or 0.0
        return now_s - age_s + self.delay.note_frame(age_s, now_s), now_s

    def read_age(self, stamp_ns: int) -> tuple[float, float]:
        """Return the monotonic time, and how long ago a stamp was; 0 for one of another clock."""
        now_s, age_s = self._read_age(stamp_ns, _FOREIGN_STAMP_S)
        return now_s, age_s or 0.0

    def _read_age(self, stamp_ns: int, ahead_s: float) -> tuple[float, float | None]:
        """Return the same; None for a stamp that is old, or more than `ahead_s` ahead."""
        now_s, clock = time.monotonic(), self.get_clock()
        age_s = (clock.now().nanoseconds - stamp_ns) / 1e9
        if clock.ros_time_is_active:
            stamp_s = stamp_ns / 1e9
            age_s = self._simulated.read(age_s + stamp_s, now_s) - stamp_s
        if -ahead_s <= age_s <= _FOREIGN_STAMP_S:
            return now_s, age_s
        self.count("foreign_stamps", f"a stamp is {age_s:.1f} s old: taken for now")
        return now_s, None

    def _hear(self, message: JointState) -> None:
        try:
            values = self._reader.read(message)
        except ValueError as error:
            self.count("bad_frames", str(error))
            return
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        self.show(stamp_ns, values, self._reader.has_head)
        self.shown += 1

    def _follow_speaker(self, after: str, message: Float32) -> None:
        if 0.0 <= message.data < _FOREIGN_STAMP_S:
            self.delay.note_latency(float(message.data), time.monotonic(), after)

    def _report(self) -> None:
        otherwise, values, faults = self.describe()
        faults = {**self.counters, **faults}
        level, text = judge_growth(self._growth.look(faults), otherwise)
        values = {**values, **faults}
        self._diagnostics.publish(make_diagnostics(self, self.part, level, text, values))
