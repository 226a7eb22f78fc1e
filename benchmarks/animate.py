"""What `dualtalker animate` costs: processor time and memory of the whole process, by length.

    python benchmarks/animate.py                       this checkout, 60 and 600 s
    python benchmarks/animate.py --before ../older     beside another checkout, in turn

Each run is a process of its own that reads a WAV file and writes a CSV; the operating system
accounts for it. Processor time per second of audio suffers least from neighbors on the machine; of
some runs, taken in turn so that both checkouts meet the same neighbors, the smallest counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import wave
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from stream import make_sound  # type: ignore[import-not-found]  # beside this file

from dualtalker.files import write_output

RATE_HZ = 16000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="another checkout, to compare with")
    parser.add_argument("--lengths-s", type=int, nargs="+", default=[60, 600])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    checkouts = {"now": ROOT}
    if options.before:
        checkouts = {"before": options.before.resolve(), **checkouts}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for length_s in options.lengths_s:
            wav = Path(folder) / f"{length_s}.wav"
            write_sound(wav, length_s)
            measured: dict[str, list[Any]] = {name: [] for name in checkouts}
            for _ in range(options.runs):
                for name, checkout in checkouts.items():
                    measured[name].append(run_animate(checkout, wav, Path(folder) / name))
            for name, runs in measured.items():
                rows.append(
                    {
                        "checkout": name,
                        "length_s": length_s,
                        "cpu_factor": min(cpu_s for cpu_s, _ in runs) / length_s,
                        "peak_memory_mb": min(memory for _, memory in runs),
                    }
                )
    print(f"{'checkout':<10}{'length s':>9}{'CPU s per s':>13}{'peak memory MB':>16}")
    for row in rows:
        print(
            f"{row['checkout']:<10}{row['length_s']:>9}{row['cpu_factor']:>13.4f}"
            f"{row['peak_memory_mb']:>16.1f}"
        )
    if options.json:
        write_output(options.json, json.dumps(rows, indent=2) + "\n")


def write_sound(path: Path, length_s: int) -> None:
    """Write syllable-like bursts, mono in 16 bits."""
    sound = np.resize(np.int16(32767 * np.clip(make_sound(RATE_HZ), -1, 1)), length_s * RATE_HZ)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(sound.tobytes())


def run_animate(checkout: Path, wav: Path, out: Path) -> tuple[float, float]:
    """Return the seconds of processor time and the peak memory in MB of one run."""
    command = [sys.executable, "-m", "dualtalker", "animate", str(wav), "-o", str(out)]
    process = subprocess.Popen(
        command, cwd=checkout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} in {checkout}: exit status {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
