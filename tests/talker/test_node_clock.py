"""The clock of a node: steady while the system's is set, and when what waited has arrived."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="the clock is chosen by that of a node")

from dualtalker_ros.talker import NodeClock


class FakeRosClock:
    """A node's clock without ROS."""

    def __init__(self):
        self.ros_time_is_active, self.at_ns = False, 0

    def now(self):
        return type("Time", (), {"nanoseconds": self.at_ns})()


def test_a_system_clock_that_is_set_moves_no_time():
    system, steady, sim = [10**18], [5], FakeRosClock()
    clock = NodeClock(sim, lambda: system[0], lambda: steady[0])
    for step_s in (-3600, 86400, 0):
        begun_ns = clock.now_ns()
        system[0] += 10**9 + step_s * 10**9
        steady[0] += 10**9
        assert clock.now_ns() == begun_ns + 10**9
        assert clock.step_s == pytest.approx(step_s)
        clock.start()
        assert clock.step_s == 0 and clock.now_ns() == system[0]
    sim.ros_time_is_active, sim.at_ns = True, 42
    clock.look()
    assert (clock.now_ns(), clock.step_s, clock.timer_clock) == (42, 0.0, sim)


def test_time_that_passes_between_two_readings_is_no_step_of_the_clock():
    """A busy machine may stop the process between the readings of the two clocks."""
    pauses_ns, elapsed = [], [0]

    def read(origin_ns):
        elapsed[0] += pauses_ns.pop(0) if pauses_ns else 0
        return origin_ns + elapsed[0]

    set_by = [0]
    clock = NodeClock(FakeRosClock(), lambda: read(10**18 + set_by[0]), lambda: read(5))
    for held_up in ([0, 10**9, 0], [0, 0, 10**9], [10**9, 10**8, 10**9]):
        pauses_ns[:] = held_up
        assert clock.step_s == 0.0
    set_by[0] = -7 * 10**9
    pauses_ns[:] = [0, 10**9, 0]
    assert clock.step_s == pytest.approx(-6.0)  # at least that
    assert clock.step_s == pytest.approx(-7.0)
    pauses_ns[:] = [0, 10**9, 0]  # held up in `start`, whose other readings were quick
    clock.start()
    assert clock.step_s == 0.0


def test_arrivals_are_told_in_the_time_of_the_node():
    system, steady, sim = [10**18], [5], FakeRosClock()
    clock = NodeClock(sim, lambda: system[0], lambda: steady[0])
    system[0] += 3 * 10**9
    steady[0] += 3 * 10**9
    for waited_ns in (0, 1, 10**8, 2 * 10**9):
        assert clock.now_ns() - clock.find_arrival_ns(system[0] - waited_ns) == waited_ns
    # Received by another clock, or DDS does not say when.
    for received_ns in (0, system[0] + 10**9, system[0] - 3600 * 10**9):
        assert clock.find_arrival_ns(received_ns) == clock.now_ns()
    sim.ros_time_is_active, sim.at_ns = True, 42
    clock.look()
    assert clock.find_arrival_ns(np.int64(system[0] - 10**8)) == 42
