"""A node without a CPU takes what lay in its queue meanwhile as it came, not as it was read."""

from __future__ import annotations

import numpy as np
import pytest
from test_delivery_steering import FPS, FakeRosClock, Run, make  # noqa: F401

from simulated_delivery import START_NS, chunks_of, speak

SPOKEN_S = 3.0


def read_late(delivery, came_s, stall_s):
    """Orders: a first chunk at 1 s; the others come at `came_s`, and are read after a stall."""
    (_, first), *others = chunks_of(speak(SPOKEN_S), 1.0, stamped=False)
    came_ns = START_NS + round(came_s * 1e9)
    return [
        (1.0, lambda now_ns: delivery.add(first, now_ns)),
        *(
            (came_s + stall_s, lambda now_ns, chunk=chunk: delivery.add(chunk, now_ns, came_ns))
            for _, chunk in others
        ),
    ]


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("stall_s", [0.0, 0.3, 0.9, 2.0])
def test_a_burst_without_stamps_stays_one(make, stall_s, replaces):  # noqa: F811
    delivery = make(replace_utterances=replaces)
    run = Run(delivery, [], 6.0, read_late(delivery, 1.001, stall_s))
    spoken_s = run.stamps_s[~run.idle]
    assert spoken_s.max() == pytest.approx(1.0 + SPOKEN_S, abs=0.05), "counted from the first"
    assert delivery.interruptions == delivery.talker.counters["gaps"] == 0
    # What was due while nobody computed is missing; the rest is as it would have been.
    rest_s = spoken_s[spoken_s > 1.0 + stall_s + 0.5]
    np.testing.assert_allclose(np.diff(rest_s), 1 / FPS, atol=1e-6)
    assert len(rest_s) == pytest.approx((SPOKEN_S - stall_s - 0.5) * FPS, abs=2)


def test_a_burst_that_comes_late_begins_when_it_comes(make):  # noqa: F811
    delivery = make()
    run = Run(delivery, [], 6.0, read_late(delivery, 1.4, 0.0))
    assert run.stamps_s[~run.idle].max() == pytest.approx(1.4 + SPOKEN_S - 0.02, abs=0.05)


def test_arrivals_are_told_in_the_time_of_the_node(ros):
    from dualtalker_ros.talker import NodeClock

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
    assert clock.find_arrival_ns(np.int64(system[0] - 10**8)) == 42
