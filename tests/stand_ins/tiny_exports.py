"""Tiny networks, freshly initialized, exported for tests of the converter."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper

from dualtalker.engine import write_sidecar
from dualtalker.model import load_bundle
from engines.export_onnx import export_graph
from engines.windowed import export_windowed, plan_window
from tiny_training import TINY_NETWORK, TINY_WAV2VEC2
from training.network import (
    DualTalker,
    StreamingTalker,
    WindowTalker,
)


def make_stateful(folder):
    """A freshly initialized tiny network as a stateful bundle."""
    torch.manual_seed(0)
    network = DualTalker(TINY_NETWORK, [True] * 52, ["rules"], ["a", "b"]).eval()
    torch.nn.init.normal_(network.animation.head.weight, std=0.3)
    path = folder / "stateful.onnx"
    states = export_graph(StreamingTalker(network, {"rules": 1.0}).eval(), path)
    write_sidecar(path, states)
    return load_bundle(path)


PLAN = plan_window(window_samples=4160, hop_samples=640, future_frames=3, spacing=320)


def make_windowed(folder):
    """A tiny randomly initialized wav2vec2 network as a windowed bundle, and the network."""
    pytest.importorskip("transformers")
    torch.manual_seed(1)
    config = dataclasses.replace(TINY_NETWORK, encoder=TINY_WAV2VEC2)
    network = DualTalker(config, [True] * 52, ["rules"], ["a", "b"]).eval()
    torch.nn.init.normal_(network.animation.head.weight, std=0.3)
    talker = WindowTalker(network, {"rules": 1.0}).eval()
    path = folder / "windowed.onnx"
    export_windowed(talker, path, PLAN, training={"data": "none"})
    return load_bundle(path), talker


def make_model(op_type: str, domain: str = "", inputs: int = 1, shape=(1, 4)) -> onnx.ModelProto:
    names = [f"x{i}" for i in range(inputs)]
    node = helper.make_node(op_type, names, ["y"], name="layer/bad", domain=domain)
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in names]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    return helper.make_model(helper.make_graph([node], "g", values, [out]))
