"""The time that a talker lives by: /clock where it is simulated, else one that never steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType


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

    @property
    def simulated(self) -> bool:
        """Whether the time is that of /clock."""
        return bool(self._ros_clock.ros_time_is_active)

    @property
    def timer_clock(self) -> Any:
        """The clock for timers that wait for `now_ns`."""
        return self._ros_clock if self.simulated else self.steady

    @property
    def step_s(self) -> float:
        """By how much the system's clock was set since `start`; 0 where time is simulated."""
        return 0.0 if self.simulated else (self._system_ns() - self.now_ns()) / 1e9

    def start(self) -> None:
        """Take the system's time anew."""
        self._offset_ns = self._system_ns() - self._steady_ns()

    def now_ns(self) -> int:
        """Return the time in ns; 0 while nothing was heard from /clock."""
        if self.simulated:
            return int(self._ros_clock.now().nanoseconds)
        return self._steady_ns() + self._offset_ns
