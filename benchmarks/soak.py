"""A talker node for hours under the traffic that a robot has; exit status 1 if anything gives way.

    make soak                                     ten minutes
    make soak MINUTES=60
    python benchmarks/soak.py --minutes 5 --json soak.json

Speech and silences of random lengths, bursts as of a speech engine, changes of sample rate, format
and channels come over DDS as a microphone's driver sends them. Beside the talker a bare publisher
sends messages of the same size at the same rate, so that what the machine does to both can be told
from what the talker does. Needs ROS and a C compiler (the audio messages are built once).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PATHS = [str(ROOT), str(ROOT / "ros2_ws" / "src"), str(ROOT / "tests" / "stand_ins")]
sys.path[:0] = PATHS
# For the processes that are started from here, and before ROS is imported.
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
os.environ["PYTHONPATH"] = os.pathsep.join(PATHS)

import ros_interfaces
from audio_driver import Segment, Stream, sound_at
from dualtalker import Talker
from dualtalker.arkit import MOUTH_INDICES
from dualtalker.files import write_output
from dualtalker_ros.demo.domains import find_free_domain
from process_vitals import Vitals, read_vitals
from ros_processes import Listener
from ros_troupe import (
    Face,
    Process,
    closing_all,
    face_of,
    find_lag,
    interrupt_all,
    start_driver,
    start_talker,
    wait_for_begin,
)

MAX_MEMORY_GROWTH_MB = 10.0  # after the first minute, in which caches fill
WARM_UP_S = 60.0
AUDIO = "audio_common_msgs/msg/AudioStamped"
FORMATS = ((16000, 1, "S16LE"), (48000, 2, "S16LE"), (44100, 1, "F32LE"), (22050, 1, "S16LE"))
CHECKED_SEGMENTS = 8  # in which stamps are held against the audio, spread over the run
MIN_LIKENESS = 0.9  # Pearson r with the face of the same audio; below, a lag means nothing
MAX_WAIT_SHARE = 0.1  # of the time for a CPU; beyond, timing says something about the machine only
SEED = 11
FIELDS_OF_INTEREST = (
    "gaps", "overlaps", "late_frames", "stale_frames", "skipped_frames", "overdue_frames",
    "queue_drops", "reanchors", "clock_offsets", "clock_jumps", "delay_growths", "rate_changes",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What was recorded."""

    face: Face
    received_ns: np.ndarray  # [frames], system time, of the talker's
    bare_received_ns: np.ndarray  # [messages] of the bare publisher's
    bare_stamps_ns: np.ndarray  # [messages]
    vitals: list[tuple[float, Vitals]]
    status: dict[str, str]  # the last diagnostics
    counted_frames: int  # frames sent and frames heard between two diagnostics
    heard_frames: int
    exit_status: int | None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--model", default="", help="bundle (.onnx); default: the shipped model")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        return publish_bare(options.fps)
    missing = ros_interfaces.name_missing()
    if missing:
        sys.exit(f"the audio messages cannot be built: {missing}")
    os.environ["ROS_DOMAIN_ID"] = str(find_free_domain())
    segments = make_traffic(options.minutes * 60.0)
    with tempfile.TemporaryDirectory() as folder:
        run = record(segments, options, Path(folder))
    report = measure(run, segments, options)
    report["bounds"] = judge(report)
    print_table(report)
    if options.json:
        write_output(options.json, json.dumps(report, indent=2) + "\n")
    return 0 if all(bound["held"] for bound in report["bounds"]) else 1


def make_traffic(duration_s: float) -> list[Segment]:
    """Return utterances with silences between them; each tenth is a burst."""
    rng, segments, begin_s = np.random.default_rng(SEED), [], 0.0
    while begin_s < duration_s - 3.0:
        rate_hz, channels, sample_format = FORMATS[rng.integers(len(FORMATS))]
        burst = rng.random() < 0.1
        length_s = round(float(rng.uniform(1.0, 12.0)), 2)
        length_s = min(length_s, round(duration_s - begin_s, 2))
        chunk_s = length_s if burst else 0.02
        segments.append(
            Segment(begin_s, length_s, rate_hz, channels, sample_format, chunk_s, burst)
        )
        # Some formats change in mid-speech, without a pause.
        pause_s = 0.0 if rng.random() < 0.2 and not burst else float(rng.uniform(0.5, 6.0))
        begin_s = round(begin_s + length_s + pause_s, 2)
    return segments


def record(segments: list[Segment], options: argparse.Namespace, folder: Path) -> Run:
    """Run talker, driver and bare publisher for as long as the traffic lasts."""
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import JointState

    cache = ROOT / ".pytest_cache" / "d" / "ros_interfaces" / ros_interfaces.digest()
    layout = ros_interfaces.Built(cache)["mgonzs13"]
    listener = Listener()
    heard = listener.hear(JointState, "/soak/blendshapes")
    bare = listener.hear(JointState, "/bare/blendshapes")
    diagnostics = listener.hear(DiagnosticArray, "/diagnostics")
    vitals: list[tuple[float, Vitals]] = []
    with closing_all() as processes:
        parameters = {"model": options.model} if options.model else {}
        talker = start_talker("/soak", folder, layout, frame_rate=options.fps, **parameters)
        command = [sys.executable, __file__, "--bare", "--fps", str(options.fps)]
        processes += [talker, Process(command, folder / "bare.log")]
        listener.spin_until(lambda: len(heard) > 10 and len(bare) > 10)
        driver = start_driver(
            [Stream("/soak/audio", AUDIO, segments, SEED)], folder, "driver", layout
        )
        processes.append(driver)
        begin_ns = wait_for_begin(driver, listener)
        offset_ns = time.time_ns() - time.monotonic_ns()
        for kept in (heard, bare, diagnostics):
            kept.clear()
        begun_s, end_s = time.monotonic(), segments[-1].begin_s + segments[-1].duration_s + 2.0
        while (at_s := time.monotonic() - begun_s) < end_s:
            vitals.append((at_s, read_vitals(talker.pid)))
            listener.spin(1.0)
        exit_status = interrupt_all([talker])["soak"]
        if exit_status:
            print(talker.text(), file=sys.stderr)
    face, bare_face = face_of(heard, begin_ns), face_of(bare, 0)
    counted, frames_heard = _count_frames(diagnostics, heard)
    listener.close()
    return Run(
        face,
        face.received_s * 1e9 + offset_ns,
        bare_face.received_s * 1e9 + offset_ns,
        bare_face.stamps_s * 1e9,
        vitals,
        {pair.key: pair.value for pair in diagnostics[-1][1].status[0].values},
        counted,
        frames_heard,
        exit_status,
    )


def _count_frames(diagnostics: list, heard: list) -> tuple[int, int]:
    """Return how many frames were sent and heard between the first and last diagnostics."""
    sent = [
        int(next(pair.value for pair in message.status[0].values if pair.key == "frames"))
        for _, message in diagnostics
    ]
    between = [d for d, _ in heard if diagnostics[0][0] < d <= diagnostics[-1][0]]
    return sent[-1] - sent[0], len(between)


def measure(run: Run, segments: list[Segment], options: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    fps, status = options.fps, run.status
    steps = np.rint(np.diff(run.face.stamps_s) * fps).astype(int)
    missing = int(np.maximum(steps - 1, 0).sum())
    explained = sum(int(status.get(key, 0)) for key in ("skipped_frames", "stale_frames"))
    lags = _measure_lags(run.face, segments, options)
    lags_s = np.array([lag_s for lag_s, likeness in lags if likeness > MIN_LIKENESS])
    spoken = np.zeros(len(run.face.stamps_s), bool)
    for segment in segments:
        end_s = segment.begin_s + segment.duration_s - 0.3  # the end waits for starvation
        spoken |= (run.face.stamps_s >= segment.begin_s) & (run.face.stamps_s < end_s)
    age_ms = (run.received_ns - (run.face.stamps_s * 1e9 + _begin_ns(run))) / 1e6
    late_ms = age_ms[spoken] - float(status["stated latency (ms)"])
    bare_ms = (run.bare_received_ns - run.bare_stamps_ns) / 1e6
    warm = [(at_s, v) for at_s, v in run.vitals if at_s >= min(WARM_UP_S, run.vitals[-1][0] / 2)]
    (first_s, first), (last_s, last) = warm[0], warm[-1]
    return {
        "minutes": options.minutes,
        "commit": _commit(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "load_average": os.getloadavg()[1],
        "model": status["model digest"][:12],
        "frames": len(run.face.stamps_s),
        "segments": len(segments),
        "audio_s": sum(segment.duration_s for segment in segments),
        "frames_missing": missing,
        "frames_missing_unexplained": max(missing - explained, 0),
        "frames_lost_on_the_way": run.counted_frames - run.heard_frames,
        "longest_gap_ms": float(np.diff(run.face.received_s).max() * 1e3),
        "bare_longest_gap_ms": float(np.diff(run.bare_received_ns).max() / 1e6),
        "lags_ms": [round(float(lag_s) * 1e3, 1) for lag_s in lags_s],
        "likeness": [round(likeness, 3) for _, likeness in lags],
        "drift_ms": float((lags_s[-1] - lags_s[0]) * 1e3) if len(lags_s) else None,
        "frame_ms": 1e3 / fps,
        "planned_delay_ms": float(status["planned delay (ms)"]),
        "stated_latency_ms": float(status["stated latency (ms)"]),
        "jitter_ms": _percentiles(np.abs(np.diff(run.received_ns) / 1e6 - 1e3 / fps)),
        "bare_jitter_ms": _percentiles(np.abs(np.diff(run.bare_received_ns) / 1e6 - 1e3 / fps)),
        "beyond_stated_ms": _percentiles(late_ms),
        "bare_latency_ms": _percentiles(bare_ms),
        "rss_mb": [first.rss_mb, max(v.rss_mb for _, v in warm), last.rss_mb],
        "open_files": [first.open_files, last.open_files],
        "threads": [first.threads, last.threads],
        "cpu_wait_share": last.wait_share(first),
        "cpu_share": (last.cpu_s - first.cpu_s) / max(last_s - first_s, 1e-9),
        "counters": {key: int(status.get(key, 0)) for key in FIELDS_OF_INTEREST},
        "exit_status": run.exit_status,
    }


def _begin_ns(run: Run) -> float:
    """The driver's first sample: the audio's stamp as the talker tells it."""
    return float(run.status["first audio (ns)"])


def _measure_lags(
    face: Face, segments: list[Segment], options: argparse.Namespace
) -> list[tuple[float, float]]:
    """Return how late (s) stamps are against the audio, and how alike, from first to last."""
    long = [segment for segment in segments if segment.duration_s > 3.0]
    picked = np.unique(np.linspace(0, len(long) - 1, CHECKED_SEGMENTS).astype(int))
    talker, lags = Talker(options.model or None, fps=options.fps), []
    for index in picked:
        segment = long[index]
        count = round(segment.duration_s * 16000)
        talker.reset()
        talker.push(sound_at(segment.begin_s + np.arange(count) / 16000, SEED), 16000)
        frames = talker.flush()
        times_s = segment.begin_s + np.array([frame.time_s for frame in frames])
        mouth = np.array([frame.weights[list(MOUTH_INDICES)].mean() for frame in frames])
        inner = face.between(segment.begin_s + 0.5, segment.begin_s + segment.duration_s - 0.5)
        lags.append(find_lag(inner, times_s, mouth))
    return lags


def judge(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what must hold, and whether it did."""
    growth_mb = report["rss_mb"][2] - report["rss_mb"][0]
    lags_ms, drift_ms = report["lags_ms"], report["drift_ms"]
    unlike = sum(likeness <= MIN_LIKENESS for likeness in report["likeness"])
    bounds = [
        ("memory grows by less than (MB)", growth_mb, MAX_MEMORY_GROWTH_MB),
        ("open files grow by", report["open_files"][1] - report["open_files"][0], 0),
        ("threads grow by", report["threads"][1] - report["threads"][0], 0),
        ("waits for a CPU, share of the time", report["cpu_wait_share"], MAX_WAIT_SHARE),
        ("checked utterances whose face is another", unlike, 0),
        ("drift of stamps against the audio (ms)", abs(drift_ms or 0.0), report["frame_ms"]),
        (
            "stamps are off the audio by (ms)",
            max(map(abs, lags_ms), default=0.0),
            report["frame_ms"],
        ),
        ("frames missing, unexplained", report["frames_missing_unexplained"], 0),
        ("frames lost on the way", report["frames_lost_on_the_way"], 2),
        ("exit status", report["exit_status"], 0),
    ]
    return [
        {"what": what, "value": value, "bound": bound, "held": bool(value <= bound)}
        for what, value, bound in bounds
    ]


def print_table(report: dict[str, Any]) -> None:
    """Print the figures and the bounds."""
    rows = [(key, value) for key, value in report.items() if key not in ("bounds", "counters")]
    rows += [(key, value) for key, value in report["counters"].items() if value]
    for key, value in rows:
        text = f"{value:.2f}" if isinstance(value, float) else str(value)
        print(f"{key.replace('_', ' '):<28} {text}")
    for bound in report["bounds"]:
        verdict = "ok  " if bound["held"] else "FAIL"
        print(f"{verdict} {bound['what']}: {bound['value']:g} (at most {bound['bound']:g})")


def publish_bare(fps: float) -> int:
    """Send messages of the talker's size, stamped with the time of sending; do nothing else."""
    import rclpy
    from sensor_msgs.msg import JointState

    from dualtalker.arkit import ARKIT_NAMES
    from dualtalker_ros.processes import ros_running

    with ros_running(None):
        node = rclpy.create_node("bare")
        publisher = node.create_publisher(JointState, "/bare/blendshapes", 10)
        message = JointState(name=list(ARKIT_NAMES), position=[0.5] * len(ARKIT_NAMES))
        next_s = time.monotonic()
        while True:
            next_s += 1.0 / fps
            time.sleep(max(next_s - time.monotonic(), 0.0))
            message.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(message)
    return 0


def _percentiles(values: np.ndarray) -> list[float]:
    """Return p50, p99 and the largest."""
    return [round(float(value), 2) for value in np.percentile(values, [50, 99, 100])]


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
