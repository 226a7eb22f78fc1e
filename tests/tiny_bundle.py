"""A tiny stateful bundle made on the spot, so that tests need no trained model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dualtalker.bundle import write_sidecar

SAMPLE_RATE_HZ = 16000
HOP = 320
LOOKAHEAD = 1280
TAIL = 1600
BANDS = 16
CHANNELS = 52


def make_tiny_bundle(folder: str | Path, seed: int = 0, name: str = "tiny") -> Path:
    """Write `NAME.onnx` and `NAME.json` into `folder` and return the ONNX path.

    The graph keeps a tail of audio and leaky band energies as states; its 52 outputs are a sigmoid
    of the energies, so they depend on the audio around the depicted instant and rest near 0.1.
    """
    import onnx

    path = Path(folder) / f"{name}.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    model = _make_model(seed)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    states = [
        {"input": "tail", "output": "tail_next", "shape": [1, TAIL], "dtype": "float32"},
        {"input": "energy", "output": "energy_next", "shape": [1, BANDS], "dtype": "float32"},
    ]
    write_sidecar(path, states, training={"data": "none: seeded random weights", "seed": seed})
    return path


def _make_model(seed: int):
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    window = TAIL + HOP
    times = np.arange(window)[:, None] / SAMPLE_RATE_HZ
    bands_hz = np.geomspace(120, 5000, BANDS)[None]
    filters = np.hanning(window)[:, None] * np.cos(2 * np.pi * bands_hz * times)
    constants = {
        "filters": filters * (250.0 / window),
        "mixing": rng.uniform(0.0, 0.8, (BANDS, CHANNELS)),
        "bias": rng.uniform(-3.0, -2.0, (1, CHANNELS)),
        "keep": np.array([0.6]),
        "gain": np.array([0.4]),
    }
    weights = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()]
    indices = {"start": [HOP], "end": [window], "axis": [1], "frames": [1, 1, CHANNELS]}
    weights += [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in indices.items()]
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

    def tensor(name: str, shape: list[int]):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs = [tensor("audio", [1, HOP]), tensor("tail", [1, TAIL]), tensor("energy", [1, BANDS])]
    outputs = [
        tensor("motion", [1, 1, CHANNELS]),
        tensor("tail_next", [1, TAIL]),
        tensor("energy_next", [1, BANDS]),
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializer=weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
