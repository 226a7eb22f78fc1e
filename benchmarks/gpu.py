"""Everything about one NVIDIA GPU in one command and one table:

    python benchmarks/gpu.py                        the shipped model
    python benchmarks/gpu.py my.onnx --json gpu.json
    python benchmarks/gpu.py --checkpoint X.safetensors    torch on CUDA as well

Builds the fp32 and fp16 engines (or finds them), compares them with onnxruntime over 60 s of
unbroken state, times steps with and without CUDA graph, serves 1 to 64 faces, and watches the
GPU's memory over 10,000 steps. Without a GPU it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from dualtalker.engine import (
    build,
    measure_difference,
    read_speech,
    run_stream,
    summarize,
    time_calls,
    time_hot,
    time_streams,
)
from dualtalker.errors import DualtalkerError
from dualtalker.files import write_output
from dualtalker.model import (
    Bundle,
    load_bundle,
    mix_style,
)
from dualtalker.model.backends import (
    OnnxRuntimeBackend,
    SlidingWindow,
)
from dualtalker.model.backends import tensorrt as runner

STREAMS = (1, 2, 4, 8, 16, 32, 64)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", help="bundle (.onnx); default: the shipped model")
    parser.add_argument("--audio", type=Path, help="speech for the comparison")
    parser.add_argument("--style", help="style of the comparison; default: the model's own")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the comparison")
    parser.add_argument("--steps", type=int, default=10000, help="steps of the leak test")
    parser.add_argument("--checkpoint", type=Path, help="also time torch on CUDA with this")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    rows: list[dict] = []
    try:
        bundle = load_bundle(options.model)
        if options.checkpoint:
            rows.append(time_torch(options.checkpoint))
            print_row(rows[-1])
        with tempfile.TemporaryDirectory() as folder:
            for precision in ("fp32", "fp16"):
                rows.append(measure(bundle, precision, Path(folder), options))
                print_row(rows[-1])
    except DualtalkerError as error:
        sys.exit(f"gpu.py: {error}")
    if options.json:
        write_output(options.json, json.dumps(rows, indent=2) + "\n")


def measure(
    bundle: Bundle, precision: str, folder: Path, options: argparse.Namespace, trt=None
) -> dict:
    """Build and measure one precision."""
    built = build(bundle.onnx_path, folder, precision, trt=trt)
    backend = runner.TensorRtBackend(bundle, engine=built.path, trt=trt)
    plain = runner.TensorRtBackend(bundle, engine=built.path, trt=trt, cuda_graph=False)
    sidecar = bundle.sidecar
    row = {
        "engine": backend.name,
        "build s": built.seconds,
        "engine MB": built.path.stat().st_size / 1e6,
        **compare_with_cpu(backend, bundle, options.audio, options.seconds, options.style),
        **{
            f"{name} {key} ms": value
            for name, used in (("graph", backend), ("no graph", plain))
            for key, value in time_backend(used, bundle).items()
        },
        **{
            f"{count} faces x real time": time_streams(backend, sidecar, count, 50)
            for count in STREAMS
        },
        **watch_memory(backend, bundle, options.steps),
    }
    plain.close()
    backend.close()
    return row


def slide(backend, bundle: Bundle):
    """A windowed graph takes hops through this, as in the runtime."""
    stateful = bundle.sidecar.kind == "stateful"
    return backend if stateful else SlidingWindow(backend, bundle.sidecar)


def time_backend(backend, bundle: Bundle) -> dict[str, float]:
    times = time_hot(slide(backend, bundle), bundle.sidecar, 1000)
    return {"p50": times.p50_ms, "p99": times.p99_ms}


def compare_with_cpu(
    backend, bundle: Bundle, audio_path, seconds: float, style=None
) -> dict[str, float]:
    weights = mix_style(style, bundle.sidecar)
    audio = read_speech(audio_path, seconds, bundle.sidecar.sample_rate_hz)
    motions = [
        run_stream(slide(used, bundle), bundle.sidecar, audio, weights)
        for used in (OnnxRuntimeBackend(bundle), backend)
    ]
    difference = measure_difference(*motions)
    return {
        "lip gap max mm": difference.lip_gap_max_mm,
        "weights max": difference.largest,
        "first sixth max": difference.first_max,
        "last sixth max": difference.last_max,
    }


def watch_memory(backend, bundle: Bundle, steps: int) -> dict[str, float]:
    """Run on; a leak of even one buffer a step would show in the GPU's memory."""
    used = slide(backend, bundle)
    hop = np.zeros((1, bundle.sidecar.hop_samples), np.float32)
    state = used.new_state()
    with backend.device.active():
        before = backend.device.used_bytes()
    for _ in range(steps):
        _, state = used.step(hop, state)
    with backend.device.active():
        after = backend.device.used_bytes()
    return {"GPU MB in use": after / 1e6, f"GPU MB grown in {steps} steps": (after - before) / 1e6}


def time_torch(checkpoint: Path, steps: int = 1000) -> dict:
    """Time the trained network's step in torch on CUDA, as it comes and as a CUDA graph."""
    import torch

    from training.learning import load_network
    from training.network import StreamingTalker

    if not torch.cuda.is_available():
        raise DualtalkerError("torch sees no CUDA GPU: install a CUDA build of torch")
    network, _ = load_network(checkpoint)
    mixture = dict.fromkeys(network.animation.styles, 1.0)
    talker = StreamingTalker(network, mixture, smooth=True).eval().cuda()
    hop = torch.zeros(1, network.config.hop_samples, device="cuda")
    state = [part.cuda() for part in talker.new_state()]
    with torch.inference_mode():
        for _ in range(20):
            talker(hop, *state)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            talker(hop, *state)
        row: dict = {"engine": f"torch {torch.__version__} {torch.cuda.get_device_name(0)}"}
        for name, run in (("no graph", lambda: talker(hop, *state)), ("graph", graph.replay)):

            def step(_: int, run=run) -> None:
                run()
                torch.cuda.synchronize()

            times = summarize(time_calls(step, steps))
            row |= {f"{name} p50 ms": times.p50_ms, f"{name} p99 ms": times.p99_ms}
    return row


def print_row(row: dict) -> None:
    print(f"\n{row['engine']}")
    for name, value in row.items():
        if name != "engine":
            print(f"  {name:<32}{value:>12.4g}")


if __name__ == "__main__":
    main()
