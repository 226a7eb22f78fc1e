"""Engines: what a graph answers is checked before the first word, and failures are told."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dualtalker import animate
from dualtalker.engine import write_sidecar
from dualtalker.errors import BackendError, BundleError
from dualtalker.model import bundle as bundles
from dualtalker.model import graph, load_bundle
from dualtalker.model.backends import available_backends, open_backend


def make_graph(path, motion_shape, scale=1.0):
    """A stateless graph with a free batch, whose motion has a shape the graph does not declare."""
    count = int(np.prod(motion_shape))
    value = helper.make_tensor("value", TensorProto.FLOAT, motion_shape, [scale] * count)
    nodes = [
        helper.make_node("Constant", [], ["face"], value=value),
        helper.make_node("ReduceMax", ["audio"], ["peak"], keepdims=0),
        helper.make_node("Mul", ["face", "peak"], ["zero"]),
        helper.make_node("Add", ["face", "zero"], ["motion"]),
    ]
    graph = helper.make_graph(
        nodes,
        "odd",
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["batch", 320])],
        [helper.make_tensor_value_info("motion", TensorProto.FLOAT, None)],
    )
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), str(path))
    write_sidecar(path, [])


@pytest.mark.parametrize("shape, scale", [((1, 2, 52), 1.0), ((1, 1, 51), 1.0), ((52,), 1.0)])
def test_a_wrong_answer_is_found_before_the_first_word(tmp_path, shape, scale):
    path = tmp_path / "odd.onnx"
    make_graph(path, shape, scale)
    with pytest.raises(BundleError):
        open_backend(load_bundle(path))


def test_non_finite_answers_are_found_before_the_first_word(tmp_path):
    path = tmp_path / "nan.onnx"
    make_graph(path, (1, 1, 52), float("nan"))
    with pytest.raises(BundleError, match="non-finite"):
        open_backend(load_bundle(path))


def test_one_session_serves_check_and_backends(tiny, monkeypatch):
    opened = []
    real = graph.open_session
    for module in (graph, bundles):
        monkeypatch.setattr(module, "open_session", lambda path: opened.append(path) or real(path))
    bundle = load_bundle(tiny)
    backends = [open_backend(bundle, "onnxruntime") for _ in range(2)]
    assert opened == [tiny]
    hop = np.random.default_rng(0).uniform(-1, 1, (1, 320)).astype(np.float32)
    alone, state = backends[0].step(hop, backends[0].new_state())
    again, _ = backends[1].step(hop, backends[1].new_state())
    np.testing.assert_array_equal(again, alone)
    backends[1].close()
    backends[0].step(hop, state)
    assert opened == [tiny]


def test_the_backend_steps_and_resets(tiny):
    backend = open_backend(load_bundle(tiny), "onnxruntime")
    audio = np.random.default_rng(0).uniform(-1, 1, (1, 320)).astype(np.float32)
    motion, state = backend.step(audio, backend.new_state())
    assert motion.shape == (1, 1, 52) and motion.dtype == np.float32
    again, _ = backend.step(audio, state)
    assert np.abs(again - motion).max() > 1e-3  # the state matters
    fresh, _ = backend.step(audio, backend.new_state())
    np.testing.assert_array_equal(fresh, motion)
    backend.close()
    with pytest.raises(BackendError, match="closed"):
        backend.step(audio, state)


def test_streams_of_one_backend_keep_to_themselves(tiny):
    """Their tensors lie where onnxruntime reads them: nobody else's, and no answer changes."""
    backend = open_backend(load_bundle(tiny), "onnxruntime")
    hops = np.random.default_rng(0).uniform(-1, 1, (2, 6, 1, 320)).astype(np.float32)
    alone = []
    for sound in hops:
        state = backend.new_state()
        for hop in sound:
            motion, state = backend.step(hop, state)
            alone.append(motion)
    kept = np.array(alone)
    states = [backend.new_state() for _ in hops]
    woven = np.empty_like(kept)
    for i in range(6):
        for k in range(2):
            woven[6 * k + i], states[k] = backend.step(hops[k, i], states[k])
    np.testing.assert_array_equal(woven, kept)
    np.testing.assert_array_equal(alone, kept)
    with pytest.raises(BackendError, match=r"audio is \(1, 1\), expected \(1, 320\)"):
        backend.step(hops[0, 0, :, :1], states[0])


def test_engines_are_never_replaced_in_silence(tiny, caplog):
    bundle = load_bundle(tiny)
    with pytest.raises(BackendError, match=r"tensorrt.*cannot run.*Usable: onnxruntime"):
        open_backend(bundle, "tensorrt")
    with pytest.raises(BackendError, match="unknown"):
        open_backend(bundle, "cuda")
    with caplog.at_level("INFO", logger="dualtalker"):
        assert open_backend(bundle, "auto").name.startswith("onnxruntime")
    assert "onnxruntime" in caplog.text
    assert available_backends()["onnxruntime"] is None


def test_a_graph_that_fails_in_a_step_is_a_backend_error(tmp_path):
    """An index beyond the table, once the audio is loud."""
    table = numpy_helper.from_array(np.zeros((1, 52), np.float32), "table")
    gain = numpy_helper.from_array(np.array([100], np.float32), "gain")
    nodes = [
        helper.make_node("ReduceMax", ["audio"], ["peak"], keepdims=1),
        helper.make_node("Mul", ["peak", "gain"], ["loud"]),
        helper.make_node("Cast", ["loud"], ["row"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "row"], ["motion"]),
    ]
    audio = helper.make_tensor_value_info("audio", TensorProto.FLOAT, [1, 320])
    motion = helper.make_tensor_value_info("motion", TensorProto.FLOAT, [1, 1, 52])
    graph = helper.make_graph(nodes, "brittle", [audio], [motion], initializer=[table, gain])
    opset = helper.make_opsetid("", 18)
    path = tmp_path / "brittle.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), str(path))
    write_sidecar(path, [])
    backend = open_backend(load_bundle(path), "onnxruntime")
    with pytest.raises(BackendError, match="failed in a step"):
        backend.step(np.ones((1, 320), np.float32), backend.new_state())
    with pytest.raises(BackendError, match="failed in a step"):
        animate(np.ones(16000), 16000, model=path)
