"""What a talker node costs a robot: share of a core, start to first frame, evenness of frames.

    python benchmarks/node.py                          this checkout, about a minute
    python benchmarks/node.py --against ../before      another checkout too, in turn in one run
    python benchmarks/node.py --executor events --rounds 3 --json node.json

A talker node is started in a process of its own, and hears nothing for some seconds (idle); then
it hears speech over DDS as a microphone's driver sends it, stamped chunks of 20 ms, for as long.
One subscriber, in this process, takes its blendshapes. Shares of a core are user and system time
of all threads of the node's process by the kernel (/proc/PID/task/*/schedstat), over what went by.
Another program on the machine makes them larger by a little and the times by much, so checkouts
are compared by ratios from one run. Linux, with ROS.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "ros2_ws" / "src"), str(ROOT / "tests" / "stand_ins")]
# For the processes that are started from here, and before ROS is imported.
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

from dualtalker.files import write_output
from dualtalker_ros.demo.domains import find_free_domain
from process_vitals import read_vitals
from ros_processes import Listener, stamp_s
from ros_stage import AUDIO_TYPE, RATE_HZ, fill, speech
from ros_troupe import Process, closing_all, interrupt_all

CHUNK_S = 0.02
SETTLE_S = 2.0  # after the first frame and after the first word: imports and first allocations
ROWS = (
    ("speaking_share", "speaking, share of a core", 100.0, "%"),
    ("idle_share", "idle, share of a core", 100.0, "%"),
    ("start_s", "start to first frame heard", 1.0, "s"),
    ("start_cpu_s", "the same, processor time", 1.0, "s"),
    ("jitter_p99_ms", "jitter while speaking, p99", 1.0, "ms"),
    ("waited_share", "waited for a CPU while speaking", 100.0, "%"),
)


@dataclass(frozen=True)
class Setting:
    """How the nodes are run."""

    fps: float
    seconds: float  # of idling, and of speech
    executor: str
    model: str


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, help="another checkout, measured in turn")
    parser.add_argument("--seconds", type=float, default=15.0, help="idle, and speaking, each")
    parser.add_argument("--rounds", type=int, default=2, help="nodes started of each checkout")
    parser.add_argument("--fps", type=float, default=60.0)
    parser.add_argument("--executor", default="", help="parameter executor; default: the node's")
    parser.add_argument("--model", default="", help="bundle (.onnx); default: the shipped model")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    setting = Setting(options.fps, options.seconds, options.executor, options.model)
    checkouts = {"here": ROOT}
    if options.against:
        checkouts = {"before": options.against.resolve(), **checkouts}
    os.environ["ROS_DOMAIN_ID"] = str(find_free_domain())
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for name, root in checkouts.items():
                log = Path(folder, f"{name}_{number}.log")
                runs[name].append(measure_node(root, f"/{name}_{number}", log, setting))
    print_table(runs, setting)
    if options.json:
        write_output(options.json, json.dumps(runs, indent=2) + "\n")
    return 0


def measure_node(root: Path, namespace: str, log: Path, setting: Setting) -> dict[str, float]:
    """Start a checkout's talker node; return its numbers, by the names of ROWS."""
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Int16MultiArray

    listener = Listener(namespace.strip("/"))
    faces = listener.hear(JointState, f"{namespace}/blendshapes")
    audio = listener.node.create_publisher(Int16MultiArray, f"{namespace}/audio", 1000)
    with closing_all() as processes:
        begun_s = time.monotonic()
        node = start_node(root, namespace, log, setting)
        processes.append(node)
        listener.spin_until(lambda: faces or node.process.poll() is not None)
        if not faces:
            sys.exit(f"the node of {root} ended at once:\n{node.text()}")
        start_s, start_cpu_s = faces[0][0] - begun_s, read_cpu_s(node.pid)
        listener.meet(audio)
        listener.spin(SETTLE_S)
        idle = measure_share(node.pid, lambda: listener.spin(setting.seconds))
        speak(listener, audio, SETTLE_S)
        faces.clear()
        speaking = measure_share(node.pid, lambda: speak(listener, audio, setting.seconds))
        late_s = np.array([at_s - stamp_s(face) for at_s, face in faces])
        statuses = interrupt_all([node])
        if set(statuses.values()) != {0}:
            sys.exit(f"the node of {root} ended with {statuses}:\n{node.text()}")
    listener.close()
    return {
        "start_s": start_s,
        "start_cpu_s": start_cpu_s,
        "idle_share": idle[0],
        "speaking_share": speaking[0],
        "waited_share": speaking[1],
        "jitter_p99_ms": float(np.percentile(np.abs(late_s - np.median(late_s)), 99)) * 1e3,
        "frames_hz": len(faces) / setting.seconds,
    }


def start_node(root: Path, namespace: str, log: Path, setting: Setting) -> Process:
    """Start a checkout's talker node with this interpreter."""
    parameters = {"frame_rate": setting.fps, "audio_type": AUDIO_TYPE}
    parameters |= {"executor": setting.executor} if setting.executor else {}
    parameters |= {"model": setting.model} if setting.model else {}
    source = root / "ros2_ws" / "src"
    # Not by `-m`: that would find the folder that this program is called in before `root`.
    node = source / "dualtalker_ros" / "nodes" / "talker_node.py"
    command = [sys.executable, str(node), "--ros-args", "-r", f"__ns:={namespace}"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(root), str(source)])
    return Process(command, log)


def measure_share(pid: int, act: Any) -> tuple[float, float]:
    """Return a process's shares of the time that `act` takes: computing, waiting for a CPU."""
    before, before_s = read_vitals(pid), read_cpu_s(pid)
    act()
    after, after_s = read_vitals(pid), read_cpu_s(pid)
    return (after_s - before_s) / (after.at_s - before.at_s), after.wait_share(before)


def read_cpu_s(pid: int) -> float:
    """Return the time that a process's threads had on a CPU so far, by the nanosecond."""
    tasks = Path("/proc", str(pid), "task").iterdir()
    return sum(int((task / "schedstat").read_text("utf-8").split()[0]) for task in tasks) / 1e9


def speak(listener: Listener, audio: Any, seconds: float) -> None:
    """Send stamped chunks as they would be recorded, and listen meanwhile."""
    samples, size = speech(seconds), round(CHUNK_S * RATE_HZ)
    begun_s, begun_ns = time.monotonic(), time.time_ns()
    for number, first in enumerate(range(0, len(samples) - size + 1, size)):
        end_s = begun_s + (number + 1) * CHUNK_S
        listener.spin_until(lambda end_s=end_s: time.monotonic() >= end_s, must=False)
        stamp_ns = begun_ns + first * 10**9 // RATE_HZ
        audio.publish(fill(samples[first : first + size], stamp_ns))


def print_table(runs: dict[str, list[dict[str, float]]], setting: Setting) -> None:
    """Print the median of each number for each checkout, and how the two compare."""
    rounds = len(next(iter(runs.values())))
    kind = f", executor {setting.executor}" if setting.executor else ""
    print(f"{setting.fps:g} Hz, {setting.seconds:g} s each, {rounds} rounds, medians{kind}\n")
    heads = "".join(f"{name:>12}" for name in runs)
    print(f"{'':<34}{heads}{'ratio' if len(runs) > 1 else '':>9}")
    for key, label, scale, unit in ROWS:
        values = [float(np.median([row[key] for row in rows])) for rows in runs.values()]
        numbers = "".join(f"{value * scale:>10.2f} {unit:<1}" for value in values)
        ratio = f"{values[-1] / max(values[0], 1e-9):>9.2f}" if len(values) > 1 else ""
        print(f"{label:<34}{numbers}{ratio}")
    for name, rows in runs.items():
        rates = ", ".join(f"{row['frames_hz']:.2f}" for row in rows)
        print(f"frames a second, {name}: {rates}")


if __name__ == "__main__":
    sys.exit(main())
