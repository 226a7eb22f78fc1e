"""What vertices cost on the CPU, beside the step of the model that moves them:

    python benchmarks/pose.py                     the default head, the shipped model
    python benchmarks/pose.py --rig head.glb --model my.onnx

It is one product with the blendshapes laid out weight by weight (`Rig.pose`); beside it stand the
same product with them the other way round, and a step of the model. One thread: set
OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.engine import summarize, time_calls
from dualtalker.errors import DualtalkerError
from dualtalker.model import Bundle, load_bundle
from dualtalker.model.backends import OnnxRuntimeBackend
from dualtalker.rig import load_rig
from dualtalker.rig.robot_head import build_head


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rig", type=Path, help="default: the head that comes with dualtalker")
    parser.add_argument("--model", type=Path, help="bundle (.onnx); default: the shipped model")
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    try:
        rig = load_rig(options.rig) if options.rig else build_head()
        bundle = load_bundle(options.model)
    except DualtalkerError as error:
        sys.exit(f"pose.py: {error}")
    weights = np.random.default_rng(0).uniform(0, 1, (64, len(ARKIT_NAMES))).astype(np.float32)
    own = weights[:, [ARKIT_NAMES.index(name) for name in rig.names]]
    turned = np.ascontiguousarray(rig.deltas.reshape(len(rig.names), -1).T)
    flat = rig.neutral.reshape(-1)
    rows = {
        "Rig.pose": time_calls(lambda i: rig.pose(weights[i % 64]), options.steps),
        "blendshapes not transposed": time_calls(
            lambda i: turned @ own[i % 64] + flat, options.steps
        ),
        "step of the model": time_steps(bundle, options.steps),
    }
    print(f"{rig.name}: {len(rig.neutral)} vertices, {len(rig.names)} shapes; ms, hot, one thread")
    print(f"{'':<32}{'p50':>8}{'p99':>8}")
    for name, durations_s in rows.items():
        times = summarize(durations_s)
        print(f"{name:<32}{times.p50_ms:>8.3f}{times.p99_ms:>8.3f}")


def time_steps(bundle: Bundle, steps: int) -> list[float]:
    """Time the graph alone, on noise; a windowed graph takes a whole window."""
    backend = OnnxRuntimeBackend(bundle)
    samples = bundle.sidecar.input_samples
    noise = np.random.default_rng(1).uniform(-0.1, 0.1, (16, 1, samples)).astype(np.float32)
    state = backend.new_state()

    def step(index: int) -> None:
        nonlocal state
        _, state = backend.step(noise[index % 16], state)

    durations_s = time_calls(step, steps)
    backend.close()
    return durations_s


if __name__ == "__main__":
    main()
