"""Talker and driver processes together, and how their faces compare with what was said.

What is expected of them lies in the tests.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audio_driver import Stream, sound_at, write_plan
from dualtalker.arkit import MOUTH_INDICES
from dualtalker.stream import Talker
from process_vitals import Vitals
from ros_processes import TIMEOUT_S, command_of

TESTS = Path(__file__).resolve().parent
MOUTH = list(MOUTH_INDICES)
START_TIMEOUT_S = 90.0  # several processes start at once, on machines that are busy
MAX_LAG_S = 0.5  # how far curves are shifted against each other in the search for their lag
LAG_STEP_S = 0.002
MAX_WAIT_SHARE = 0.1  # of the time; talkers that wait longer for a CPU are late through no fault


@dataclass(frozen=True)
class Face:
    """What a talker sent: when each frame came, what it depicts."""

    received_s: np.ndarray  # [frames], monotonic
    stamps_s: np.ndarray  # [frames], seconds after the first sample of the audio
    weights: np.ndarray  # [frames, 52]

    def between(self, begin_s: float, end_s: float) -> Face:
        """Return the frames that depict a stretch of the audio."""
        kept = (self.stamps_s >= begin_s) & (self.stamps_s < end_s)
        return Face(self.received_s[kept], self.stamps_s[kept], self.weights[kept])

    @property
    def mouth(self) -> np.ndarray:
        """Mean of the mouth's weights [frames]."""
        return self.weights[:, MOUTH].mean(axis=1)


def face_of(heard: list, begin_ns: int) -> Face:
    """Return what a `Listener` heard on a topic of blendshapes."""
    stamps_ns = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec - begin_ns for _, m in heard]
    return Face(
        np.array([at_s for at_s, _ in heard]),
        np.array(stamps_ns) / 1e9,
        np.array([message.position for _, message in heard]).reshape(len(heard), -1),
    )


def expected_mouth(
    model: Path, duration_s: float, seed: int, fps: float = 30.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return times [frames] and the mouth [frames] of what a driver says, without any fault."""
    talker = Talker(model, fps=fps)
    talker.push(sound_at(np.arange(round(duration_s * 16000)) / 16000, seed), 16000)
    frames = talker.flush()
    weights = np.array([frame.weights for frame in frames])
    return np.array([frame.time_s for frame in frames]), weights[:, MOUTH].mean(axis=1)


def find_lag(face: Face, times_s: np.ndarray, mouth: np.ndarray) -> tuple[float, float]:
    """Return how late (s) a face is against the expected mouth, and how alike (Pearson r)."""
    if len(face.stamps_s) < 3 or np.ptp(face.mouth) == 0:
        return 0.0, 0.0
    lags_s = np.arange(-MAX_LAG_S, MAX_LAG_S + LAG_STEP_S / 2, LAG_STEP_S)
    likeness = [
        np.corrcoef(face.mouth, np.interp(face.stamps_s - lag_s, times_s, mouth))[0, 1]
        for lag_s in lags_s
    ]
    best = int(np.argmax(likeness))
    return float(lags_s[best]), float(likeness[best])


def name_stall(before: Vitals, after: Vitals, most_s: float = math.inf) -> str | None:
    """Return in words that the machine was too busy to judge a node's timing; None if not.

    `most_s` is what it may have waited in all, where one pause of that length is heard.
    """
    share, waited_s = after.wait_share(before), after.waited_s - before.waited_s
    if share < MAX_WAIT_SHARE and waited_s < most_s:
        return None
    return (
        f"the machine is too busy: a node waited {share:.0%} of the time for a CPU, "
        f"{waited_s:.2f} s"
    )


class Process:
    """A process of ours with its output in a file; ended at the latest when `close` is called."""

    def __init__(self, command: list[str], log: Path, layout: Path | None = None) -> None:
        """`layout` is a folder of interface packages."""
        environment = dict(os.environ)
        if layout is not None:
            environment["PYTHONPATH"] += os.pathsep + str(layout)
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return the exit status."""
        return self.process.wait(TIMEOUT_S)

    def text(self) -> str:
        """Return what it has said so far."""
        return self.log.read_text("utf-8", errors="replace")

    def close(self) -> None:
        """End it whatever it does; nothing if it has ended."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def closing_all():
    """Give a list for processes; end all of them afterwards."""
    processes: list[Process] = []
    try:
        yield processes
    finally:
        for process in processes:
            process.close()


def start_driver(
    streams: list[Stream], folder: Path, name: str, layout: Path | None, in_turn: bool = False
) -> Process:
    """Start publishing as planned; the plan and the log go to `folder`."""
    plan = write_plan(folder / f"{name}.json", streams)
    command = [sys.executable, str(TESTS / "audio_driver.py"), str(plan)]
    return Process(command + ["--in-turn"] * in_turn, folder / f"{name}.log", layout)


def start_talker(namespace: str, folder: Path, layout: Path | None, **parameters) -> Process:
    """Start a talker node; its log in `folder` has the namespace's name."""
    command = command_of("talker_node", [f"__ns:={namespace}"], **parameters)
    return Process(command, folder / f"{namespace.strip('/')}.log", layout)


def wait_for_begin(driver: Process, listener, turn: int = 0) -> int:
    """Listen until the driver begins (its `turn`); return the time of the first sample in ns."""

    def told() -> list[str]:
        return [line for line in driver.text().splitlines() if line.startswith('{"begin_ns"')]

    listener.spin_until(
        lambda: len(told()) > turn or driver.process.poll() is not None, START_TIMEOUT_S
    )
    assert len(told()) > turn, driver.text()
    return json.loads(told()[turn])["begin_ns"]


def interrupt_all(processes: list[Process], numbers=(signal.SIGINT,)) -> dict[str, int | None]:
    """Send the signals in turn to all; return exit statuses by their logs' names, None: none."""
    for index, process in enumerate(processes):
        process.send(numbers[index % len(numbers)])
    deadline_s = time.monotonic() + TIMEOUT_S
    while any(p.process.poll() is None for p in processes) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return {process.log.stem: process.process.poll() for process in processes}
