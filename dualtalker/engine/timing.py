"""Measures opened backends: latency, pacing, several streams, cold start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.engine.signals import make_test_signal
from dualtalker.errors import BackendError
from dualtalker.model import Sidecar
from dualtalker.model.backends import Backend

WARM_UP_STEPS = 20


@dataclass(frozen=True)
class Latency:
    """Distribution of some durations, ms."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    count: int


def summarize(durations_s: list[float]) -> Latency:
    """Turn durations in seconds into their distribution."""
    times_ms = 1000.0 * np.asarray(durations_s)
    p50, p99 = np.percentile(times_ms, [50, 99])
    return Latency(float(p50), float(p99), float(times_ms.max()), len(times_ms))


def time_calls(
    call: Callable[[int], object], count: int, warm_up: int = WARM_UP_STEPS
) -> list[float]:
    """Return the durations (s) of `count` calls, which get their number; `warm_up` come before."""
    durations_s = []
    for index in range(warm_up + count):
        start_s = time.perf_counter()
        call(index)
        durations_s.append(time.perf_counter() - start_s)
    return durations_s[warm_up:]


def make_hops(sidecar: Sidecar, seconds: float = 4.0) -> list[np.ndarray]:
    """Return hops `[1, hop]` of a speech-like signal, to be used round and round."""
    hop = sidecar.hop_samples
    steps = max(2, round(seconds * sidecar.sample_rate_hz / hop))
    return list(make_test_signal(steps * hop).reshape(steps, 1, hop))


def time_hot(backend: Backend, sidecar: Sidecar, steps: int) -> Latency:
    """Time steps that follow each other at once: caches warm and clocks up, the best case."""
    hops, state = make_hops(sidecar), backend.new_state()

    def step(index: int) -> None:
        nonlocal state
        _, state = backend.step(hops[index % len(hops)], state)

    return summarize(time_calls(step, steps))


def time_paced(backend: Backend, sidecar: Sidecar, rate_hz: float, seconds: float) -> Latency:
    """Time the steps due at each tick of a frame clock, sleeping in between, as a robot does."""
    hops, state = make_hops(sidecar), backend.new_state()
    hops_per_s = sidecar.sample_rate_hz / sidecar.hop_samples
    durations_s, done = [], 0
    begin_s = time.perf_counter()
    for tick in range(1, 1 + round(seconds * rate_hz)):
        time.sleep(max(0.0, begin_s + tick / rate_hz - time.perf_counter()))
        due = int(tick / rate_hz * hops_per_s)
        start_s = time.perf_counter()
        for index in range(done, due):
            _, state = backend.step(hops[index % len(hops)], state)
        if due > done:
            durations_s.append(time.perf_counter() - start_s)
        done = due
    return summarize(durations_s[len(durations_s) // 10 :])


def time_streams(backend: Any, sidecar: Sidecar, streams: int, rounds: int) -> float:
    """Return how many seconds of audio a second serves, with `streams` faces on one engine.

    Their steps are taken in turn; TensorRT queues them all before it waits for the GPU.
    """
    hops = make_hops(sidecar)
    states = [backend.new_state() for _ in range(streams)]
    together = getattr(backend, "step_many", None)

    def serve(index: int) -> None:
        hop = hops[index % len(hops)]
        if together is not None:
            together([hop] * streams, states)
            return
        for stream in range(streams):
            _, states[stream] = backend.step(hop, states[stream])

    # The median: one round that the machine's other work held up must not count for all.
    return float(streams * sidecar.hop_s / np.median(time_calls(serve, rounds, warm_up=3)))


_COLD_START = """
import json, resource, sys, time
start = time.perf_counter()
import numpy as np
from dualtalker.model import load_bundle
from dualtalker.model.backends import open_backend
bundle = load_bundle(sys.argv[1])
backend = open_backend(bundle, sys.argv[2])
backend.step(np.zeros((1, bundle.sidecar.hop_samples), np.float32), backend.new_state())
spent = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"cold_start_s": spent, "peak_memory_mb": peak}))
"""


def measure_cold_start(onnx_path: Path, engine: str) -> dict[str, float]:
    """Time a new process from its first line to its first face; and its peak memory, MB.

    Raises:
        BackendError: the process failed.
    """
    root = Path(__file__).resolve().parents[2]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", _COLD_START, str(onnx_path.resolve()), engine],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise BackendError(f"a new process could not run {engine}: {last[0]}")
    return json.loads(done.stdout)
