"""Simulated time between its ticks."""

from __future__ import annotations

import numpy as np
import pytest

from dualtalker.display import SteppedClock

START_S = 1000.0


@pytest.mark.parametrize("tick_s", [0.001, 0.025, 0.1])
def test_time_runs_on_between_ticks(tick_s):
    clock = SteppedClock()
    times_s = START_S + np.arange(600) / 73.0
    stepped_s = np.floor(times_s / tick_s) * tick_s - 900.0
    read_s = np.array([clock.read(s, t) for s, t in zip(stepped_s, times_s, strict=True)])
    error_s = (read_s - (times_s - 900.0))[60:]
    assert np.abs(np.diff(error_s)).max() < 0.2 * tick_s
    assert np.abs(error_s).max() < 0.2 * tick_s
    # Read as it is, it jumps by nearly a tick.
    assert np.abs(np.diff(stepped_s - times_s))[60:].max() > 0.5 * min(tick_s, 1 / 73.0)


@pytest.mark.parametrize("step_s", [-5.0, 5.0])
def test_a_time_that_is_set_counts_at_once(step_s):
    clock = SteppedClock()
    for k in range(20):
        clock.read(k * 0.01, START_S + k * 0.01)
    assert clock.read(0.2 + step_s, START_S + 0.2) == pytest.approx(0.2 + step_s)


def test_a_paused_time_stands_still_soon():
    clock = SteppedClock()
    assert clock.read(7.0, START_S) == 7.0
    for k in range(200):
        last_s = clock.read(7.0, START_S + k * 0.01)
    assert last_s == pytest.approx(7.5, abs=0.02)  # as far as it was thought to run on
