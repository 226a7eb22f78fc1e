"""The time that a talker lives by: /clock where it is simulated, else one that never steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType

# Messages that seem to have waited longer were received by a clock that was set since.
MAX_WAIT_NS = 5 * 10**9
# Of so many readings of both clocks the quickest counts.
READINGS = 5


class NodeClock:
    """System time as it was at `start`, counted on steadily; simulated time as it comes.

    The system's clock is set now and then (a robot without a battery for it gets its time from
    the network, long after the start). Timers and plans on that clock would stop for as long as
    it goes back. Slow corrections are in the steady clock, too, so nothing drifts.
    """

    def __init__(
        self,
        ros_clock: Any,
        system_ns: Callable[[], int] = time.time_ns,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`ros_clock` is the node's; the others are its sources where nothing is simulated."""
        self._ros_clock = ros_clock
        self._system_ns, self._steady_ns = system_ns, steady_ns
        # On time that goes on whatever happens; also what timers of the node take their time from.
        self.steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.start()

    def look(self) -> None:
        """See whether the time is that of /clock, as a parameter may say at any time.

        To ask rclpy costs more than to read a clock.
        """
        self.simulated = bool(self._ros_clock.ros_time_is_active)

    @property
    def timer_clock(self) -> Any:
        """The clock for timers that wait for `now_ns`."""
        return self._ros_clock if self.simulated else self.steady

    @property
    def step_s(self) -> float:
        """By how much the system's clock was set since `start`; 0 where time is simulated.

        Two clocks cannot be read at once, and a busy machine may let long pass in between: of all
        steps that fit the readings it is the smallest.
        """
        if self.simulated:
            return 0.0
        before_ns, system_ns, after_ns = self._read_both()
        most_ns = system_ns - self._offset_ns - before_ns
        least_ns = system_ns - self._offset_ns - after_ns
        return min(max(0, least_ns), most_ns) / 1e9

    def start(self) -> None:
        """Take the system's time anew."""
        self.look()
        readings = (self._read_both() for _ in range(READINGS))
        before_ns, system_ns, after_ns = min(readings, key=lambda reading: reading[2] - reading[0])
        self._offset_ns = system_ns - (before_ns + after_ns) // 2

    def _read_both(self) -> tuple[int, int, int]:
        """Return steady, system and steady time in ns, read one after the other."""
        return self._steady_ns(), self._system_ns(), self._steady_ns()

    def now_ns(self) -> int:
        """Return the time in ns; 0 while nothing was heard from /clock."""
        if self.simulated:
            return int(self._ros_clock.now().nanoseconds)
        return self._steady_ns() + self._offset_ns

    def find_arrival_ns(self, received_ns: int) -> int:
        """Return when a message arrived that DDS received at `received_ns`, system time.

        It may have waited since, for a node that had no CPU. Simulated time of that instant is
        not known: then it arrived now; so too where DDS tells no time (0).
        """
        now_ns, waited_ns = self.now_ns(), self._system_ns() - received_ns
        if self.simulated or not 0 <= waited_ns <= MAX_WAIT_NS:
            return now_ns
        return now_ns - waited_ns
