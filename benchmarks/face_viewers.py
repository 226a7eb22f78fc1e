"""What a face costs its server: processor time and memory with many screens, at frame rate.

    python benchmarks/face_viewers.py                    eight viewers at 60 Hz for a minute
    python benchmarks/face_viewers.py --minutes 10 --viewers 8 --stalled 1

The server runs in a process of its own, as in face_node; the viewers are connections that read all
that they get (and `--stalled` ones that read nothing). Times of the operating system's accounting.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "stand_ins")]

from face_viewers import join, read_binary, stall
from process_vitals import read_vitals

SERVE = """
import sys, time
import numpy as np
from dualtalker.display import FaceServer, load_face

fps = float(sys.argv[1])
with FaceServer(load_face(), fps=fps, port=0) as server:
    print(server.port, flush=True)
    weights = np.random.default_rng(0).random((600, 52)).astype(np.float32)
    begun_s, index = time.monotonic(), 0
    while True:
        due_s = begun_s + index / fps
        time.sleep(max(due_s - time.monotonic(), 0))
        server.send_frame(index, due_s + 0.05, weights[index % 600])
        index += 1
"""


async def watch(port: int, count: int, end_s: float, bar: tqdm) -> tuple[np.ndarray, int]:
    """Return how long each frame took from its sending to each viewer (s), and how many lack."""

    async def read_all() -> tuple[list[float], int]:
        viewer, _ = await join(port)
        transits, numbers = [], []
        while time.monotonic() < end_s:
            message = await viewer.read_message()
            if isinstance(message, bytes):
                seen = read_binary(message)
                transits.append(seen.received_s - (seen.at_s - 0.05))
                numbers.append(seen.number)
        viewer.close()
        transits, numbers = transits[1:], numbers[1:]  # the first is old
        return transits, numbers[-1] - numbers[0] + 1 - len(numbers)

    async def tell() -> None:
        while time.monotonic() < end_s:
            await asyncio.sleep(1.0)
            bar.update(1)

    viewers = asyncio.gather(*(read_all() for _ in range(count)))
    found, _ = await asyncio.gather(viewers, tell())
    missing = sum(lacking for _, lacking in found)
    return np.concatenate([np.array(transits) for transits, _ in found]), missing


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--viewers", type=int, default=8)
    parser.add_argument("--stalled", type=int, default=0, help="viewers that read nothing")
    parser.add_argument("--fps", type=float, default=60.0)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(options.fps)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert server.stdout is not None
    port = int(server.stdout.readline())
    stalled = [stall(port) for _ in range(options.stalled)]
    time.sleep(2.0)
    before, begun_s = read_vitals(server.pid), time.monotonic()
    total_s = options.minutes * 60
    with tqdm(total=round(total_s), unit="s", disable=None) as bar:
        transits_s, missing = asyncio.run(watch(port, options.viewers, begun_s + total_s, bar))
    after, wall_s = read_vitals(server.pid), time.monotonic() - begun_s
    server.kill()
    for connection in stalled:
        connection.close()
    figures = {
        "share of a core %": 100 * (after.cpu_s - before.cpu_s) / wall_s,
        "memory at first MB": before.rss_mb,
        "memory growth MB": after.rss_mb - before.rss_mb,
        "frames received": len(transits_s),
        "frames missing": missing,
        "transit p50 ms": 1e3 * float(np.percentile(transits_s, 50)),
        "transit p99 ms": 1e3 * float(np.percentile(transits_s, 99)),
    }
    for name, value in figures.items():
        print(f"{name:20} {value:10.2f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
