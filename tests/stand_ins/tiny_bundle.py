"""Tiny bundles of either kind made on the spot, so that tests need no trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.engine import write_sidecar

SAMPLE_RATE_HZ = 16000
HOP = 320
LOOKAHEAD = 1280
TAIL = 1600
BANDS = 16
CHANNELS = 52

# Of the windowed bundle: blocks of 160 samples, of which the graph sees 20 and uses two.
BLOCK = 160
WINDOW_BLOCKS = 20
USED_BLOCKS = 2


# Of bundles that let the style be chosen.
STYLES = ("rules", "captured:someone")
STYLE_FIELDS = {
    "style_input": "style",
    "style_names": list(STYLES),
    "default_style": [0.25, 0.75],
    "style_presets": {"articulate": [1, 0], "even": [0.5, 0.5]},
}


def make_tiny_bundle(
    folder: str | Path,
    seed: int = 0,
    name: str = "tiny",
    lookahead_samples: int = LOOKAHEAD,
    frames_per_step: int = 1,
    styled: bool = False,
) -> Path:
    """Write `NAME.onnx` and `NAME.json` into `folder` and return the ONNX path.

    The graph keeps a tail of audio and leaky band energies as states; its 52 outputs are a sigmoid
    of the energies, so they depend on the audio around the depicted instant and rest near 0.1.
    `styled` adds an input that mixes `STYLES`: each adds something else to the logits.
    """
    path = _save(_make_model(seed, frames_per_step, styled), folder, name)
    states = [
        {"input": "tail", "output": "tail_next", "shape": [1, TAIL], "dtype": "float32"},
        {"input": "energy", "output": "energy_next", "shape": [1, BANDS], "dtype": "float32"},
    ]
    write_sidecar(
        path,
        states,
        lookahead_samples=lookahead_samples,
        frames_per_step=frames_per_step,
        model_rate_hz=frames_per_step * SAMPLE_RATE_HZ / HOP,
        training={"data": "none: seeded random weights", "seed": seed},
        **(STYLE_FIELDS if styled else {}),
    )
    return path


def make_tiny_windowed_bundle(
    folder: str | Path, seed: int = 0, blocks_after: int = 6, styled: bool = False
) -> Path:
    """Write a windowed bundle: frame j depends on the window's block j alone.

    Two frames a hop, `blocks_after` blocks before the window's end. `styled` as above.
    """
    path = _save(_make_windowed_model(seed, styled), folder, "windowed")
    write_sidecar(
        path,
        [],
        kind="windowed",
        hop_samples=USED_BLOCKS * BLOCK,
        lookahead_samples=blocks_after * BLOCK,
        frames_per_step=USED_BLOCKS,
        model_rate_hz=SAMPLE_RATE_HZ / BLOCK,
        window_samples=WINDOW_BLOCKS * BLOCK,
        window_frames=WINDOW_BLOCKS,
        valid_start=WINDOW_BLOCKS - blocks_after - USED_BLOCKS,
        **(STYLE_FIELDS if styled else {}),
    )
    return path


def _save(model: Any, folder: str | Path, name: str) -> Path:
    import onnx

    path = Path(folder) / f"{name}.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def _add_styles(
    nodes: list[Any],
    constants: dict[str, np.ndarray],
    inputs: dict[str, list[int]],
    rng: np.random.Generator,
    width: int,
) -> None:
    """Put what the styles add between the mixed energies and the bias."""
    from onnx import helper

    constants["manners"] = rng.uniform(-2.0, 2.0, (len(STYLES), width))
    inputs["style"] = [1, len(STYLES)]
    at = next(i for i, node in enumerate(nodes) if "bias" in node.input)
    nodes[at].input[0] = "mannered"
    nodes[at:at] = [
        helper.make_node("MatMul", ["style", "manners"], ["manner"]),
        helper.make_node("Add", ["mixed", "manner"], ["mannered"]),
    ]


def _make_model(seed: int, frames_per_step: int, styled: bool):
    from onnx import helper

    rng = np.random.default_rng(seed)
    window = TAIL + HOP
    constants = {
        "filters": _make_filters(window),
        "mixing": rng.uniform(0.0, 0.8, (BANDS, frames_per_step * CHANNELS)),
        "bias": rng.uniform(-3.0, -2.0, (1, frames_per_step * CHANNELS)),
        "keep": np.array([0.6]),
        "gain": np.array([0.4]),
    }
    indices = {
        "start": [HOP],
        "end": [window],
        "axis": [1],
        "frames": [1, frames_per_step, CHANNELS],
    }
    nodes = [
        helper.make_node("Concat", ["tail", "audio"], ["heard"], axis=1),
        helper.make_node("Slice", ["heard", "start", "end", "axis"], ["tail_next"]),
        helper.make_node("MatMul", ["heard", "filters"], ["band"]),
        helper.make_node("Abs", ["band"], ["loud"]),
        helper.make_node("Mul", ["energy", "keep"], ["kept"]),
        helper.make_node("Mul", ["loud", "gain"], ["fresh"]),
        helper.make_node("Add", ["kept", "fresh"], ["energy_next"]),
        helper.make_node("MatMul", ["energy_next", "mixing"], ["mixed"]),
        helper.make_node("Add", ["mixed", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["weight"]),
        helper.make_node("Reshape", ["weight", "frames"], ["motion"]),
    ]
    inputs = {"audio": [1, HOP], "tail": [1, TAIL], "energy": [1, BANDS]}
    outputs = {
        "motion": [1, frames_per_step, CHANNELS],
        "tail_next": [1, TAIL],
        "energy_next": [1, BANDS],
    }
    if styled:
        _add_styles(nodes, constants, inputs, rng, frames_per_step * CHANNELS)
    return _assemble(nodes, constants, indices, inputs, outputs)


def _make_windowed_model(seed: int, styled: bool):
    from onnx import helper

    rng = np.random.default_rng(seed)
    constants = {
        "filters": _make_filters(BLOCK),
        "mixing": rng.uniform(0.0, 0.8, (BANDS, CHANNELS)),
        "bias": rng.uniform(-3.0, -2.0, (1, 1, CHANNELS)),
    }
    indices = {"blocks": [1, WINDOW_BLOCKS, BLOCK]}
    nodes = [
        helper.make_node("Reshape", ["audio", "blocks"], ["heard"]),
        helper.make_node("MatMul", ["heard", "filters"], ["band"]),
        helper.make_node("Abs", ["band"], ["loud"]),
        helper.make_node("MatMul", ["loud", "mixing"], ["mixed"]),
        helper.make_node("Add", ["mixed", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["motion"]),
    ]
    inputs = {"audio": [1, WINDOW_BLOCKS * BLOCK]}
    outputs = {"motion": [1, WINDOW_BLOCKS, CHANNELS]}
    if styled:
        _add_styles(nodes, constants, inputs, rng, CHANNELS)
    return _assemble(nodes, constants, indices, inputs, outputs)


def _make_filters(window: int) -> np.ndarray:
    """Cosines `[window, BANDS]` under a Hann window: the loudness of each band."""
    times = np.arange(window)[:, None] / SAMPLE_RATE_HZ
    bands_hz = np.geomspace(120, 5000, BANDS)[None]
    return np.hanning(window)[:, None] * np.cos(2 * np.pi * bands_hz * times) * (250.0 / window)


def _assemble(
    nodes: list[Any],
    constants: dict[str, np.ndarray],
    indices: dict[str, list[int]],
    inputs: dict[str, list[int]],
    outputs: dict[str, list[int]],
):
    from onnx import TensorProto, helper, numpy_helper

    weights = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()]
    weights += [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in indices.items()]

    def tensors(shapes: dict[str, list[int]]) -> list[Any]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in shapes.items()
        ]

    graph = helper.make_graph(
        nodes, "tiny", tensors(inputs), tensors(outputs), initializer=weights
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
