"""Checkpoint -> ONNX bundle: `python -m engines.export_onnx CHECKPOINT --out NAME.onnx`.

The graph takes one hop of audio and the state, and holds the log-mel front end, so that robot and
trainer cannot disagree on features. It is checked against torch over 1,000 steps before the
bundle is written.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import tyro

from dualtalker.engine import make_test_signal, uneven_weights
from dualtalker.errors import DualtalkerError
from dualtalker.files import ending_in_order, read_json, written_together

if TYPE_CHECKING:
    from training.network import DualTalker, FoldedTalker, StreamingTalker

_MAX_METRICS_BYTES = 1 << 18  # far below what a sidecar may be


class ExportError(DualtalkerError):
    """The exported graph is not the trained network."""


@dataclass
class ExportConfig:
    """Export one checkpoint."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint of `python -m training.train` (.safetensors)."""
    out: Path
    """Where to write the graph; the sidecar goes beside it as .json."""
    style: dict[str, float] = field(default_factory=dict)
    """Mixture of trained styles that is shown unless another is asked for, e.g. `--style rules 0.5
    captured:NAME 0.5` (default: all alike)."""
    styles: tuple[str, ...] = ()
    """Trained styles to choose from at run time (default: all of them)."""
    presets: dict[str, str] = field(default_factory=dict)
    """Short names for styles and mixtures, e.g. `--presets lively captured:NAME:0.8,rules:0.2`
    (default: `articulate` for rules, `natural` for captured motion)."""
    fixed_style: bool = False
    """Export the one mixture alone: a step then costs about 3 % less on a CPU."""
    smooth: bool = True
    """Look one frame (20 ms) further ahead and smooth the motion over three frames."""
    window_samples: int = 16000
    """Of networks with a wav2vec2 encoder, which become a windowed graph: its window, samples."""
    window_hop_frames: int = 2
    """Of those: motion frames taken from each window, 20 ms each."""
    window_future_frames: int = 5
    """Of those: frames after the ones taken; more make better motion, later."""
    steps: int = 1000
    """Steps over which the graph is compared with torch."""
    tolerance: float = 1e-4
    """Largest difference of a blendshape weight that is accepted."""
    metrics: Path | None = None
    """JSON of `python -m training.evaluate` to put into the sidecar."""
    precision: Literal["fp32", "fp16"] = "fp32"
    """fp16: convert after the check, as `python -m engines.convert` does; for TensorRT, for which
    `dualtalker engine build` does it by itself."""


def name_states(shapes: list[tuple[int, ...]]) -> list[dict[str, Any]]:
    """Return the sidecar's description of the state tensors."""
    return [
        {
            "input": f"state_{index}",
            "output": f"next_state_{index}",
            "shape": list(shape),
            "dtype": "float32",
        }
        for index, shape in enumerate(shapes)
    ]


def export_graph(talker: StreamingTalker, path: Path, hops: int = 1) -> list[dict[str, Any]]:
    """Write the graph of a step of `hops` to `path`; return the description of its states."""
    from training.network import FoldedTalker

    return write_folded(FoldedTalker(talker, hops), path)


def write_folded(talker: FoldedTalker, path: Path) -> list[dict[str, Any]]:
    """Write the graph of a folded talker to `path`; return the description of its states."""
    import torch

    from engines.graphs import STYLE_INPUT, even_weights, write_graph

    shapes = talker.state_shapes()
    states = name_states(shapes)
    inputs = ["audio", *[s["input"] for s in states]]
    arguments = [torch.zeros(1, talker.hops * talker.hop_samples)]
    arguments += [torch.zeros(shape) for shape in shapes]
    if talker.styles:
        inputs.append(STYLE_INPUT)
        arguments.append(even_weights(len(talker.styles)))
    write_graph(talker, arguments, inputs, ["motion", *[s["output"] for s in states]], path)
    return states


def compare_with_torch(talker: StreamingTalker, bundle_path: Path, steps: int) -> float:
    """Run the bundle step by step and torch over the whole; return the largest difference.

    Where the style can be chosen, both the default and an uneven mixture are compared.
    """
    import torch

    from dualtalker.engine import run_stream
    from dualtalker.model import load_bundle
    from dualtalker.model.backends import open_backend

    bundle = load_bundle(bundle_path)
    backend = open_backend(bundle, "onnxruntime")
    audio = make_test_signal(steps * bundle.sidecar.hop_samples)
    worst = 0.0
    for style in (None, uneven_weights(len(talker.styles))) if talker.styles else (None,):
        with torch.no_grad():
            weights = None if style is None else torch.from_numpy(style)
            whole = talker.run(torch.from_numpy(audio).unsqueeze(0), weights).numpy()
        streamed = run_stream(backend, bundle.sidecar, audio, style)[talker.shift_frames :]
        worst = max(worst, float(np.abs(streamed - whole[: len(streamed)]).max()))
    return worst


def export(config: ExportConfig) -> float:
    """Export, check and write the bundle; returns the largest difference of fp32 from torch.

    Everything is made in a folder beside the target and moved there when it is good.

    Raises:
        ExportError: the difference is above the tolerance; nothing is written.
        PrecisionError: another precision moves the lips too far; nothing is written.
        DualtalkerError: what lies at `config.out` is no bundle.
    """
    from dualtalker.engine import convert, plan_bundle

    with written_together(*plan_bundle(config.out)) as made:
        draft = made / config.out.name
        difference = _export_fp32(config, draft)
        if config.precision != "fp32":
            convert(draft, draft)
    return difference


def _export_fp32(config: ExportConfig, path: Path) -> float:
    from training.learning import load_network

    network, checkpoint = load_network(config.checkpoint)
    mixture = config.style or dict.fromkeys(config.styles or network.animation.styles, 1.0)
    origin = _describe_origin(config, checkpoint.meta, mixture)
    origin |= describe_styles(config, network.animation.styles, mixture)
    if network.config.encoder.kind == "wav2vec2":
        from engines.windowed import export_network, plan_window

        hop_samples = network.config.hop_samples
        plan = plan_window(
            config.window_samples,
            hop_samples * config.window_hop_frames,
            config.window_future_frames,
            spacing=hop_samples,
        )
        # At most a hundred windows are compared, as each costs a whole window.
        difference = export_network(network, mixture, plan, min(config.steps, 100), path, origin)
    else:
        difference = _export_stateful(network, mixture, config, path, origin)
    if not difference <= config.tolerance:
        raise ExportError(
            f"the exported graph differs from torch by {difference:.2e} over {config.steps} "
            f"steps, expected at most {config.tolerance:.0e}; nothing was written"
        )
    return difference


def _export_stateful(
    network: DualTalker,
    mixture: dict[str, float],
    config: ExportConfig,
    path: Path,
    origin: dict[str, Any],
) -> float:
    from dualtalker.engine import write_sidecar
    from training.network import StreamingTalker

    styles = tuple(origin.get("style_names", ()))
    talker = StreamingTalker(network, mixture, config.smooth, styles).eval()
    states = export_graph(talker, path)
    write_sidecar(
        path,
        states,
        sample_rate_hz=network.config.sample_rate_hz,
        hop_samples=network.config.hop_samples,
        lookahead_samples=talker.lookahead_samples,
        model_rate_hz=network.config.model_rate_hz,
        **origin,
    )
    return compare_with_torch(talker, path, config.steps)


def _describe_origin(
    config: ExportConfig, meta: dict[str, Any], mixture: dict[str, float]
) -> dict[str, Any]:
    """Return the sidecar's fields on data, settings and figures."""
    from training.learning import strip_origin

    kept = ("data", "hours", "paired_hours", "commit", "torch", "step")
    training = {
        "style": mixture,
        "smooth": config.smooth,
        **{key: meta[key] for key in kept},
        **{key: meta[key] for key in ("gains_fitted_on",) if key in meta},
        **strip_origin(meta),
    }
    try:
        metrics = read_json(config.metrics, _MAX_METRICS_BYTES) if config.metrics else {}
        msgspec.convert(metrics, dict[str, dict[str, float]])
    except (ValueError, OSError, msgspec.DecodeError) as error:
        raise ExportError(
            f"{config.metrics} holds no figures ({error}); expected the JSON of "
            "`python -m training.evaluate --json-out`"
        ) from error
    return {"training": training, "metrics": metrics}


def describe_styles(
    config: ExportConfig, trained: list[str], mixture: dict[str, float]
) -> dict[str, Any]:
    """Return the sidecar's fields on styles; empty where there is nothing to choose.

    Raises:
        ExportError: a style was not trained, or the default is made of one that is not exported.
    """
    from engines.graphs import STYLE_INPUT

    unknown = sorted({*config.styles, *mixture} - set(trained))
    if unknown:
        raise ExportError(f"unknown styles {unknown}; this model has {trained}")
    names = list(config.styles or trained)
    if config.fixed_style or len(names) < 2:
        return {}
    left_out = sorted(set(mixture) - set(names))
    if left_out:
        raise ExportError(f"--style has {left_out}, which --styles leaves out: {names}")
    default = _normalize([float(mixture.get(name, 0.0)) for name in names])
    presets = config.presets or _name_presets(names)
    return {
        "style_input": STYLE_INPUT,
        "style_names": names,
        "default_style": default,
        "style_presets": {key: _weigh_preset(key, names, text) for key, text in presets.items()},
    }


def _name_presets(names: list[str]) -> dict[str, str]:
    """Public names: of motion by rule, whose lips are the clearest, and of captured motion."""
    from training.data import ANYBODY

    captured = [name for name in names if name.startswith("captured:")]
    captured = [ANYBODY] if ANYBODY in names else captured
    presets = {"articulate": "rules"} if "rules" in names else {}
    return presets | ({"natural": ",".join(captured)} if captured else {})


def _weigh_preset(preset: str, names: list[str], text: str) -> list[float]:
    from dualtalker.model import parse_style

    parts = parse_style(text, names)
    unknown = sorted(set(parts) - set(names))
    if unknown:
        raise ExportError(f"--presets {preset}: {unknown} is none of the styles {names}")
    return _normalize([parts.get(name, 0.0) for name in names])


def _normalize(weights: list[float]) -> list[float]:
    total = sum(weights)
    if not 0 < total < float("inf") or min(weights) < 0:
        raise ExportError(f"a mixture of styles has weights {weights}; expected 0 or more")
    return [weight / total for weight in weights]


@ending_in_order()
def main() -> None:
    """Parse the command line and export."""
    config = tyro.cli(ExportConfig, description=__doc__)
    try:
        difference = export(config)
    except (DualtalkerError, ValueError) as error:
        sys.exit(f"engines.export_onnx: {error}")
    size = config.out.stat().st_size / 1e6
    print(
        f"{config.out}: {size:.2f} MB, largest difference from torch over {config.steps} steps "
        f"{difference:.1e}\nuse it: dualtalker animate speech.wav -o out --model {config.out}"
    )


if __name__ == "__main__":
    main()
