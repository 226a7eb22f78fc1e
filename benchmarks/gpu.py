"""Everything about one NVIDIA GPU in one command and one table:

    python benchmarks/gpu.py                        the shipped model
    python benchmarks/gpu.py my.onnx --json gpu.json
    python benchmarks/gpu.py --checkpoint X.safetensors    torch on CUDA with these weights

Times a hop's way to the GPU and back through each CUDA binding, and the network's step in torch on
CUDA, of the model's sizes with random weights unless a checkpoint is given. Then builds the fp32
and fp16 engines (or finds them), compares them with onnxruntime over 60 s of unbroken state, times
steps with and without CUDA graph, serves 1 to 64 faces, and watches the GPU's memory over 10,000
steps. What cannot be measured here is told with its reason, as TensorRT on a GPU that it does not
serve. Without a GPU it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
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
from dualtalker.engine.tensorrt_builder import BuildInterrupted
from dualtalker.errors import BackendError, DualtalkerError
from dualtalker.files import write_output
from dualtalker.model import (
    Bundle,
    load_bundle,
    mix_style,
)
from dualtalker.model.backends import (
    OnnxRuntimeBackend,
    SlidingWindow,
    open_cuda_bindings,
    open_pycuda,
)
from dualtalker.model.backends import tensorrt as runner
from dualtalker.model.backends.cuda import Device

STREAMS = (1, 2, 4, 8, 16, 32, 64)
DEVICES = {"cuda-bindings": open_cuda_bindings, "pycuda": open_pycuda}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", help="bundle (.onnx); default: the shipped model")
    parser.add_argument("--audio", type=Path, help="speech for the comparison")
    parser.add_argument("--style", help="style of the comparison; default: the model's own")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the comparison")
    parser.add_argument("--steps", type=int, default=10000, help="steps of the leak test")
    parser.add_argument("--checkpoint", type=Path, help="weights for torch; default: random ones")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    try:
        bundle = load_bundle(options.model)
        rows = measure_all(bundle, options)
    except DualtalkerError as error:
        sys.exit(f"gpu.py: {error}")
    if options.json:
        write_output(options.json, json.dumps(rows, indent=2) + "\n")


def measure_all(bundle: Bundle, options: argparse.Namespace) -> list[dict]:
    """Measure what can be measured here, and print each row as it comes.

    Raises:
        DualtalkerError: no CUDA binding opens a GPU.
    """
    rows = [measure_device(name, open_one, bundle) for name, open_one in DEVICES.items()]
    if all("not measured" in row for row in rows):
        raise DualtalkerError("; ".join(f"{row['engine']}: {row['not measured']}" for row in rows))
    for row in rows:
        print_row(row)

    def add(name: str, run: Callable[[], dict]) -> None:
        try:
            row = run()
        except BuildInterrupted:
            raise
        except (DualtalkerError, ImportError) as error:
            row = {"engine": name, "not measured": str(error)}
        rows.append(row)
        print_row(row)

    add("torch on CUDA", lambda: time_torch(bundle, options.checkpoint))
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("fp32", "fp16"):
            built = partial(measure, bundle, precision, Path(folder), options)
            add(f"TensorRT {precision}", built)
    return rows


def measure_device(name: str, open_one: Callable[[], Device], bundle: Bundle) -> dict:
    """Open the GPU through one binding and time a hop's way there and back."""
    try:
        device = open_one()
    except (ImportError, BackendError) as error:
        return {"engine": name, "not measured": str(error)}
    try:
        return {
            "engine": f"{device.binding} on {device.gpu}, compute capability "
            f"{device.compute_capability}, {device.multiprocessors} multiprocessors",
            **time_round_trip(device, bundle),
        }
    finally:
        device.close()


def time_round_trip(device: Device, bundle: Bundle, steps: int = 1000) -> dict:
    """Time the copy of a hop to the GPU and back; as a recorded graph, too, where there are such.

    Raises:
        BackendError: what comes back is not what was sent.
    """
    row: dict[str, float] = {}
    with device.active():
        sent = device.pin((1, bundle.sidecar.input_samples))
        received = device.pin(sent.shape)
        address = device.allocate(sent.nbytes)

        def queue() -> None:
            device.upload(address, sent)
            device.download(received, address)

        graph = device.record(queue)
        for name, start in (("queued", queue), ("graph", graph and graph.launch)):
            if start is None:
                continue

            def step(index: int, start=start) -> None:
                sent[...] = index
                start()
                device.synchronize()
                if received[0, 0] != index or received[0, -1] != index:
                    raise BackendError(f"{device.binding}: hop {index} came back changed")

            times = summarize(time_calls(step, steps))
            row |= {f"{name} p50 ms": times.p50_ms, f"{name} p99 ms": times.p99_ms}
        if graph is not None:
            graph.close()
        device.free(address)
        device.unpin(sent)
        device.unpin(received)
    return row


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


def time_torch(bundle: Bundle, checkpoint: Path | None) -> dict:
    """Time the network's step in torch on CUDA, as it comes and as a CUDA graph.

    Raises:
        DualtalkerError: torch sees no GPU, or the model is not of this trainer's kind.
    """
    import torch

    if not torch.cuda.is_available():
        raise DualtalkerError(f"torch {torch.__version__} sees no CUDA GPU: install a CUDA build")
    talker = make_talker(bundle, checkpoint).eval().cuda()
    hop = torch.zeros(1, talker.encoder.config.hop_samples, device="cuda")
    state = [part.cuda() for part in talker.new_state()]
    weights = "random weights" if checkpoint is None else checkpoint.name
    row: dict = {"engine": f"torch {torch.__version__} {torch.cuda.get_device_name(0)}, {weights}"}
    with torch.inference_mode():
        for _ in range(20):
            talker(hop, *state)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            talker(hop, *state)
        for name, run in (("no graph", lambda: talker(hop, *state)), ("graph", graph.replay)):

            def step(_: int, run=run) -> None:
                run()
                torch.cuda.synchronize()

            times = summarize(time_calls(step, 1000))
            row |= {f"{name} p50 ms": times.p50_ms, f"{name} p99 ms": times.p99_ms}
    return row


def make_talker(bundle: Bundle, checkpoint: Path | None):
    """Return the network that is exported: a checkpoint's, or one of the bundle's sizes.

    The latter has random weights, since no checkpoint comes with a bundle; they cost the same.

    Raises:
        DualtalkerError: the bundle does not say its sizes, or its network keeps no state.
    """
    from training.configs import NetworkConfig, from_plain
    from training.learning import load_network
    from training.network import DualTalker, StreamingTalker

    if checkpoint is not None:
        network, _ = load_network(checkpoint)
        return StreamingTalker(network, dict.fromkeys(network.animation.styles, 1.0), smooth=True)
    plain = bundle.sidecar.training.get("config", {}).get("network")
    if plain is None or bundle.sidecar.kind != "stateful":
        raise DualtalkerError(
            f"{bundle.onnx_path.name} does not say the sizes of its network; give --checkpoint"
        )
    styles = list(bundle.sidecar.style_names or ("rules",))
    channels = [True] * len(bundle.sidecar.output_names)
    network = DualTalker(from_plain(NetworkConfig, plain), channels, styles, ["phone"])
    smooth = bool(bundle.sidecar.training.get("smooth", True))
    return StreamingTalker(network, dict.fromkeys(styles, 1.0), smooth)


def print_row(row: dict) -> None:
    print(f"\n{row['engine']}", flush=True)
    for name, value in row.items():
        if name == "not measured":
            print(f"  not measured: {value}")
        elif name != "engine":
            print(f"  {name:<32}{value:>12.4g}")


if __name__ == "__main__":
    main()
