"""The exported graph is the trained network in fewer operators, and earlier graphs still run."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from dualtalker.engine import make_test_signal, run_stream, write_sidecar
from dualtalker.engine.operators import check_operators
from dualtalker.engine.tensorrt_builder import BuildOptions, build_engine
from dualtalker.model import load_bundle
from dualtalker.model.backends import open_backend
from engines.export_onnx import export_graph, name_states
from engines.graphs import write_graph
from tiny_training import TINY_NETWORK
from training.network import DualTalker, FoldedTalker, StreamingTalker

HOP = TINY_NETWORK.hop_samples
STYLES = ("captured:one", "rules")
MIXTURE = {"rules": 1.0, "captured:one": 3.0}


def make_talker(smooth: bool = True, styles=STYLES, **changes) -> StreamingTalker:
    torch.manual_seed(3)
    config = dataclasses.replace(TINY_NETWORK, **changes)
    network = DualTalker(config, [True] * 51 + [False], list(STYLES), ["sil", "AA"])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        if config.rest_gate:  # neither at rest all the time nor never
            network.animation.gate_rest[-1].bias.fill_(-1.0)
        network.animation.gains += 0.2 * torch.rand_like(network.animation.gains)
    return StreamingTalker(network, MIXTURE, smooth, styles).eval()


def run_by_steps(talker, state, audio, weights, hops: int = 1):
    frames = []
    with torch.no_grad():
        for piece in audio.split(hops * HOP, dim=1):
            motion, *state = talker(piece, *state, *weights)
            frames.append(motion[0])
    return torch.cat(frames), state


@pytest.mark.parametrize("hops", [1, 5])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"smooth": False},
        {"early_contacts": True},
        {"early_contacts": True, "smooth": False},
        {"contacts": ("bilabial",)},
        {"rest_gate": True},
        {"rest_gate": True, "early_contacts": True},
        {"rest_gate": True, "smooth": False},
        {"styles": ()},
        {"encoder_dilations": (1, 4, 2), "decoder_dilations": (2, 1), "expansion": 2},
    ],
)
def test_folding_changes_no_frame(changes, hops: int) -> None:
    talker = make_talker(**changes)
    folded = FoldedTalker(talker, hops).eval()
    audio = torch.from_numpy(make_test_signal(40 * HOP))[None]
    weights = [torch.tensor([[0.3, 0.7]])] if talker.styles else []
    expected, _ = run_by_steps(talker, talker.new_state(), audio, weights)
    start = [torch.zeros(shape) for shape in folded.state_shapes()]
    found, state = run_by_steps(folded, start, audio, weights, hops)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert [tuple(tensor.shape) for tensor in state] == folded.state_shapes()


def test_one_hop_and_many_hand_the_same_state_over() -> None:
    talker = make_talker()
    single, many = FoldedTalker(talker).eval(), FoldedTalker(talker, 5).eval()
    audio = torch.from_numpy(make_test_signal(20 * HOP))[None]
    weights = [torch.tensor([[0.3, 0.7]])]
    state = [torch.zeros(shape) for shape in single.state_shapes()]
    expected, last = run_by_steps(single, state, audio, weights)
    first, state = run_by_steps(many, state, audio[:, : 10 * HOP], weights, 5)
    second, state = run_by_steps(single, state, audio[:, 10 * HOP :], weights)
    torch.testing.assert_close(torch.cat([first, second]), expected, atol=1e-5, rtol=0)
    for found, wanted in zip(state, last, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_a_block_takes_eight_operators(tmp_path) -> None:
    counts = []
    for dilations in ((1,), (1, 2, 1)):
        talker = make_talker(encoder_dilations=dilations)
        export_graph(talker, tmp_path / "net.onnx")
        model = onnx.load(str(tmp_path / "net.onnx"))
        check_operators(model)
        counts.append(len(model.graph.node))
    assert (counts[1] - counts[0]) / 2 == 8
    assert counts[0] < 80


def test_tensorrt_takes_norms_whose_scales_a_style_gives(tmp_path) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    path = tmp_path / "net.onnx"
    export_graph(make_talker(), path)
    assert build_engine(trt, path.read_bytes(), BuildOptions()).engine


def test_graphs_with_a_state_of_each_block_still_run(tmp_path) -> None:
    talker = make_talker(styles=())
    path = tmp_path / "earlier.onnx"
    shapes = talker.state_shapes()
    states = name_states(shapes)
    arguments = [torch.zeros(1, HOP), *map(torch.zeros, shapes)]
    inputs = ["audio", *[state["input"] for state in states]]
    write_graph(
        talker, arguments, inputs, ["motion", *[state["output"] for state in states]], path
    )
    write_sidecar(path, states, lookahead_samples=talker.lookahead_samples)
    folded = tmp_path / "folded.onnx"
    write_sidecar(folded, export_graph(talker, folded), lookahead_samples=talker.lookahead_samples)
    audio = make_test_signal(40 * HOP)
    motions = []
    for found in (path, folded):
        bundle = load_bundle(found)
        motions.append(run_stream(open_backend(bundle, "onnxruntime"), bundle.sidecar, audio))
    assert len(states) == 5 and len(load_bundle(folded).sidecar.states) == 3
    np.testing.assert_allclose(motions[1], motions[0], atol=1e-5)
