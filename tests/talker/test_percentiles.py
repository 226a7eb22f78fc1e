"""Percentiles of the diagnostics."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000])
def test_they_are_those_of_numpy(count):
    pytest.importorskip("rclpy")
    from dualtalker_ros.talker.diagnostics import find_percentile

    values = np.random.default_rng(count).normal(size=count)
    for percentile in (0, 50, 90, 99, 100):
        assert find_percentile(values.tolist(), percentile) == pytest.approx(
            np.percentile(values, percentile), abs=1e-12
        )
