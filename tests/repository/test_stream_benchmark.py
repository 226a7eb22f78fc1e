"""The stream benchmark says whether each aim is met, and calls too few samples too few."""

from __future__ import annotations

import pytest

from benchmarks.stream import judge


def make_report(p99_ms=2.0, ticks=1200, factors=(0.02, 0.02), memory_mb=(90.0, 90.5)):
    rows = [
        {"real_time_factor": factor, "cpu_factor": factor, "peak_memory_mb": peak_mb}
        for factor, peak_mb in zip(factors, memory_mb, strict=False)
    ]
    tick = {"p99_ms": p99_ms, "ticks": ticks}
    return {
        "ticks": {"paced 30 Hz": tick, "hot 30 Hz": {"p99_ms": 99.0, "ticks": 9}},
        "lengths": {f"{i} s": row for i, row in enumerate(rows)},
    }


def missed(report):
    return [aim["aim"] for aim in judge(report) if not aim["met"]]


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, []),
        ({"p99_ms": 5.1}, ["p99 of a frame, paced 30 Hz, ms"]),
        ({"ticks": 500}, ["p99 of a frame, paced 30 Hz, ms"]),
        ({"factors": (0.06, 0.06)}, ["real-time factor, worst"]),
        ({"factors": (0.02, 0.022)}, ["its growth with length, CPU time"]),
        ({"memory_mb": (90.0, 93.0)}, ["memory's growth with length, MB"]),
        (
            {"factors": (0.02,)},
            ["its growth with length, CPU time", "memory's growth with length, MB"],
        ),
    ],
)
def test_each_aim_is_judged(changes, expected):
    assert missed(make_report(**changes)) == expected
