"""How far the mouth on the screen is from its sound: clicks against pixels, end to end.

    python benchmarks/face_sync.py                    both loudspeakers, a minute each
    python benchmarks/face_sync.py --minutes 30 --speakers node
    python benchmarks/face_sync.py --face 3d --fps 30

A track of clicks is published as speech; a model that opens the mouth while it hears one takes the
place of the talker's; a browser shows the face. Its pixels are read right after each picture is
drawn, and the clicks at the monitor of a PulseAudio null sink, which the page (`--speakers page`)
or speaker_node (`node`) plays on. Needs ROS, chromium, playwright and pulseaudio (`parec`).

What a panel adds after the picture is drawn is not in these figures: `display_ms` is for that.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
PATHS = [str(ROOT), str(ROOT / "ros2_ws" / "src"), str(ROOT / "tests" / "stand_ins")]
sys.path[:0] = PATHS
# For the processes that are started from here, and before ROS is imported.
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
os.environ["PYTHONPATH"] = os.pathsep.join(PATHS)

from dualtalker import animate
from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.engine import write_sidecar
from dualtalker_ros.demo.domains import find_free_domain
from face_pages import CHROMIUM, Face, browser_running, why_not
from null_sink import NullSink
from null_sink import why_not as why_no_sound
from ros_processes import command_of

RATE_HZ, HOP = 16000, 320
CLICK_S, PERIOD_S = 0.2, 1.0
SINK_HZ = 48000
JAW = ARKIT_INDEX["jawOpen"]


def make_flash_bundle(folder: Path) -> Path:
    """Write a bundle whose jaw is open while there is sound: of the middle of a hop, at once."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    open_jaw = np.zeros((1, 1, len(ARKIT_NAMES)), np.float32)
    open_jaw[0, 0, JAW] = 0.8
    constants = {"limit": np.float32(0.1), "open": open_jaw, "axis": np.array([1, 2])}
    nodes = [
        helper.make_node("Abs", ["audio"], ["loud"]),
        helper.make_node("ReduceMax", ["loud"], ["peak"], axes=[1], keepdims=1),
        helper.make_node("Greater", ["peak", "limit"], ["heard"]),
        helper.make_node("Cast", ["heard"], ["gate"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["open", "gate"], ["motion"]),
        helper.make_node("Identity", ["peak_before"], ["unused"]),
        helper.make_node("Max", ["peak", "unused"], ["peak_next"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "flash",
        [value("audio", 1, [1, HOP]), value("peak_before", 1, [1, 1])],
        [value("motion", 1, [1, 1, len(ARKIT_NAMES)]), value("peak_next", 1, [1, 1])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k != "axis"],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = folder / "flash.onnx"
    onnx.save(model, str(path))
    states = [{"input": "peak_before", "output": "peak_next", "shape": [1, 1], "dtype": "float32"}]
    write_sidecar(path, states, lookahead_samples=HOP // 2, frames_per_step=1, model_rate_hz=50.0)
    return path


def make_clicks(path: Path, duration_s: float) -> np.ndarray:
    """Write a track of bursts of noise, one a second; return their times (s)."""
    begins_s = np.arange(0.5, duration_s - 0.5, PERIOD_S)
    samples = np.zeros(round(duration_s * RATE_HZ), np.float32)
    noise = np.random.default_rng(0).uniform(-0.6, 0.6, round(CLICK_S * RATE_HZ))
    for begin_s in begins_s:
        first = round(begin_s * RATE_HZ)
        samples[first : first + len(noise)] = noise
    soundfile.write(path, samples, RATE_HZ)
    return begins_s


def find_rises(times_s: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return when values [n] rise beyond the middle of their range; the first time beyond it."""
    low, high = np.percentile(values, [5, 95])
    beyond = values > 0.5 * (low + high)
    return times_s[1:][beyond[1:] & ~beyond[:-1]]


class Monitor:
    """Reads what sounds on the null sink, in a thread."""

    def __init__(self, environment: dict[str, str]):
        command = ["parec", "--raw", "--format=s16le", f"--rate={SINK_HZ}", "--channels=1"]
        command += ["--latency-msec=5", "-d", "wire.monitor"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env={**os.environ, **environment}
        )
        self._blocks: list[np.ndarray] = []
        self._reports: list[tuple[float, int]] = []  # arrival, samples up to then
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        stream, count = self._process.stdout, 0
        assert stream is not None
        while data := os.read(stream.fileno(), 65536):
            block = np.frombuffer(data[: len(data) // 2 * 2], np.int16)
            count += len(block)
            self._reports.append((time.monotonic(), count))
            self._blocks.append(block)

    def find_clicks(self) -> np.ndarray:
        """Return when clicks sounded (monotonic s); no block arrives before it was played."""
        self._process.kill()
        self._thread.join()
        samples = np.abs(np.concatenate(self._blocks).astype(np.int32))
        loud = np.flatnonzero(samples > 3000)
        firsts = loud[np.diff(loud, prepend=-(10**9)) > SINK_HZ // 4]
        arrivals, counts = np.array(self._reports).T
        return np.array([self._time_of(n, arrivals, counts) for n in firsts])

    @staticmethod
    def _time_of(sample: int, arrivals: np.ndarray, counts: np.ndarray) -> float:
        near = np.abs(counts - sample) < 5 * SINK_HZ  # the two clocks may drift
        return float(np.min(arrivals[near] - counts[near] / SINK_HZ) + sample / SINK_HZ)


def relate_clocks(page: Any) -> float:
    """Return monotonic time less the page's (s), of the quickest of some questions."""
    found = []
    for _ in range(30):
        before_s = time.monotonic()
        page_s = page.evaluate("performance.now() / 1000")
        after_s = time.monotonic()
        found.append((after_s - before_s, 0.5 * (before_s + after_s) - page_s))
    return min(found)[1]


@contextlib.contextmanager
def nodes_running(domain: int, log: Path) -> Iterator[Any]:
    """Give what starts a node; all end after the `with`."""
    processes: list[subprocess.Popen[bytes]] = []
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
    with log.open("wb") as output:

        def start(module: str, remaps: tuple[str, ...] = (), **parameters: Any) -> Any:
            process = subprocess.Popen(
                command_of(module, remaps, **parameters),
                stdout=output,
                stderr=output,
                env=environment,
            )
            processes.append(process)
            return process

        try:
            yield start
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                process.wait()


def find_address(log: Path) -> str:
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        for line in log.read_text("utf-8", errors="replace").splitlines():
            if "the face: " in line:
                return line.rpartition("the face: ")[2]
        time.sleep(0.05)
    raise SystemExit(f"no face node; see {log.read_text()}")


def measure(speaker: str, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Play the clicks on one loudspeaker; return the figures."""
    duration_s = options.minutes * 60.0
    begins_s = make_clicks(folder / "clicks.wav", duration_s)
    bundle = make_flash_bundle(folder)
    still = animate(folder / "clicks.wav", model=bundle, fps=options.fps, idle_motion=False)
    own_s = np.median(find_rises(still.times_s, still.weights[:, JAW]) - begins_s)
    sink = NullSink(folder)
    os.environ.update(sink.environment)
    sink.start()
    log = folder / f"{speaker}.log"
    try:
        monitor = Monitor(sink.environment)
        with (
            nodes_running(find_free_domain(), log) as start,
            # Pixels of a canvas on the processor are read at once, those of one on the GPU late.
            browser_running("--disable-accelerated-2d-canvas") as browser,
        ):
            start("face_node", ("audio:=audio_synced",), port=0)
            if speaker == "node":
                # A buffer that a busy machine does not empty.
                start(
                    "speaker_node",
                    ("audio:=audio_synced",),
                    device="pulse",
                    device_latency_ms=100.0,
                )
            start("talker_node", model=bundle, frame_rate=float(options.fps), idle_motion=False)
            query = f"?face={options.face}" + ("&audio=1" if speaker == "page" else "")
            face = Face(browser, find_address(log).rstrip("/") + "/" + query).__enter__()
            page = face.page
            before = time.monotonic(), relate_clocks(page)
            face.watch_pixels(0.25, 0.5, 0.5, 0.5)
            publisher = start(
                "wav_publisher_node",
                file=folder / "clicks.wav",
                wait_for_subscribers=1,
                lead_in_s=3.0,
            )
            with tqdm(total=round(duration_s), unit="s", desc=speaker, disable=None) as bar:
                while publisher.poll() is None:
                    time.sleep(1.0)
                    bar.update(1)
            time.sleep(1.0)
            rows = face.rows()
            statistics = page.evaluate("window.dualtalkerFace.statistics()")
            after = time.monotonic(), relate_clocks(page)
        heard_s = monitor.find_clicks()
    finally:
        sink.kill()
    page_s = rows[:, 1]  # when the picture was there
    at_s, offsets_s = zip(before, after, strict=True)
    monotonic_s = page_s + np.interp(page_s + before[1], at_s, offsets_s)
    shown_s = find_rises(monotonic_s, -rows[:, 4])
    return describe(heard_s, shown_s, own_s, rows, statistics)


def describe(
    heard_s: np.ndarray,
    shown_s: np.ndarray,
    own_s: float,
    rows: np.ndarray,
    statistics: dict[str, float],
) -> dict[str, float]:
    """Return errors of the mouth against the sound, positive where it is late."""
    nearest = np.abs(shown_s[:, None] - own_s - heard_s[None]).argmin(0)
    errors_s = shown_s[nearest] - own_s - heard_s
    matched = np.abs(errors_s) < 0.4 * PERIOD_S
    errors_ms = 1e3 * errors_s[matched]
    minutes = (heard_s[matched] - heard_s[0]) / 60
    drift = np.polyfit(minutes, errors_ms, 1)[0] if len(errors_ms) > 2 else float("nan")
    return {
        "clicks": len(heard_s),
        "unmatched": int((~matched).sum()),
        "mean ms": float(errors_ms.mean()),
        "median ms": float(np.median(errors_ms)),
        "p1 ms": float(np.percentile(errors_ms, 1)),
        "p99 ms": float(np.percentile(errors_ms, 99)),
        "p99 from median ms": float(np.percentile(np.abs(errors_ms - np.median(errors_ms)), 99)),
        "drift ms/min": float(drift),
        "pictures Hz": 1.0 / float(np.median(np.diff(rows[:, 0]))),
        "page delay ms": statistics["delay_ms"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="length of the track")
    parser.add_argument("--speakers", nargs="+", default=["page", "node"], help="page, node")
    parser.add_argument("--face", choices=("2d", "3d"), default="2d", help="which face is drawn")
    parser.add_argument("--fps", type=int, default=60, help="the talker's frames per second")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    missing = why_not() or why_no_sound()
    if missing:
        raise SystemExit(missing)
    results = {}
    for speaker in options.speakers:
        with tempfile.TemporaryDirectory() as folder:
            results[speaker] = measure(speaker, options, Path(folder))
    names = list(next(iter(results.values())))
    print(f"\n| mouth on the screen less its sound ({CHROMIUM}) | " + " | ".join(results) + " |")
    print("|---|" + "---|" * len(results))
    for name in names:
        print(f"| {name} | " + " | ".join(f"{r[name]:.1f}" for r in results.values()) + " |")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
