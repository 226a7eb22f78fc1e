"""int8 weights: rounding, the graphs that hold them, and the choice of what is int8."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from dualtalker.backends import open_backend  # noqa: E402
from dualtalker.bundle import load_bundle, write_sidecar  # noqa: E402
from engines.convert import ConvertConfig, convert, write_changed  # noqa: E402
from engines.export_onnx import make_test_signal  # noqa: E402
from engines.half_precision import PrecisionError  # noqa: E402
from engines.int8 import Rounded, find_products, round_weights, write_int8  # noqa: E402
from engines.int8_search import _find_least, measure_moments  # noqa: E402
from engines.parity import measure_difference, run_stream  # noqa: E402


def make_chain(*widths: int) -> onnx.ModelProto:
    """Audio through tanh and matrices in turn, at last a sigmoid: motion without a state."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights, value = [helper.make_node("Tanh", ["audio"], ["heard"])], [], "heard"
    for index, (before, after) in enumerate(itertools.pairwise((320, *widths, 52))):
        matrix = rng.normal(scale=3 * before**-0.5, size=(before, after)).astype(np.float32)
        weights.append(numpy_helper.from_array(matrix, f"w{index}"))
        nodes.append(helper.make_node("MatMul", [value, f"w{index}"], [f"sum{index}"]))
        kind = "Tanh" if index < len(widths) else "Sigmoid"
        value = f"value{index}"
        nodes.append(helper.make_node(kind, [f"sum{index}"], [value]))
    weights.append(numpy_helper.from_array(np.array([1, 1, 52]), "shape"))
    nodes.append(helper.make_node("Reshape", [value, "shape"], ["motion"]))
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "chain",
        [tensor("audio", TensorProto.FLOAT, [1, 320])],
        [tensor("motion", TensorProto.FLOAT, [1, 1, 52])],
        initializer=weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def write(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, str(path))
    write_sidecar(path, [])
    return path


@pytest.fixture
def bundle(tmp_path):
    return load_bundle(write(make_chain(48, 32), tmp_path / "chain.onnx"))


def round_to_nearest(weights: np.ndarray) -> Rounded:
    """With no input more likely than another, no row can make up for another."""
    return round_weights(weights, np.eye(len(weights)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 24), st.integers(1, 9))
def test_independent_inputs_round_to_nearest(seed, inputs, outputs):
    weights = np.random.default_rng(seed).normal(size=(inputs, outputs)).astype(np.float32)
    rounded = round_to_nearest(weights)
    assert rounded.bytes.dtype == rounded.zeros.dtype == np.uint8
    assert rounded.floats.dtype == np.float32
    # Half a step, and the zero point's own rounding at the ends of the range.
    assert (np.abs(rounded.floats - weights) <= 1.001 * rounded.scales).all()
    inside = (rounded.bytes > 0) & (rounded.bytes < 255)
    assert (np.abs(rounded.floats - weights)[inside] <= 0.501 * rounded.scales.max()).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_inputs_that_go_together_make_up_for_errors(seed):
    """The outputs, not the weights, come out nearer than by rounding to nearest."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(32, 16)).astype(np.float32)
    inputs = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 32)) + 0.05 * rng.normal(
        size=(400, 32)
    )
    moments = inputs.T @ inputs
    errors = [
        np.square(inputs @ (rounded.floats - weights)).sum()
        for rounded in (round_weights(weights, moments), round_to_nearest(weights))
    ]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("weights", [np.zeros((3, 2)), np.ones((3, 2)), -np.ones((3, 1))])
def test_degenerate_weights_survive(weights):
    rounded = round_weights(weights.astype(np.float32), np.zeros((3, 3)))
    np.testing.assert_allclose(rounded.floats, weights, atol=0.01)


def test_moments_are_those_of_the_inputs(tmp_path):
    model = make_chain(24)
    one = load_bundle(write(model, tmp_path / "one.onnx"))
    speech = [make_test_signal(960), make_test_signal(640, seed=1)]
    moments = measure_moments(model, one, speech, tmp_path, write)
    rows = np.tanh(np.concatenate(speech).reshape(-1, 320).astype(np.float64))
    np.testing.assert_allclose(moments["w0"], rows.T @ rows, rtol=1e-5, atol=1e-6)
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0])
    hidden = np.tanh(rows @ weights)
    np.testing.assert_allclose(moments["w1"], hidden.T @ hidden, rtol=1e-4, atol=1e-4)


def run_model(model: onnx.ModelProto, path: Path) -> np.ndarray:
    bundle = load_bundle(write(model, path))
    backend = open_backend(bundle, "onnxruntime")
    return run_stream(backend, bundle.sidecar, make_test_signal(6400, seed=5))


def test_stored_weights_are_the_rounded_ones(bundle, tmp_path):
    """The graph that unpacks bytes equals the float graph with rounded weights put in."""
    model = onnx.load(str(bundle.onnx_path))
    products = find_products(model)
    rounded = {
        tensor.name: round_to_nearest(onnx.numpy_helper.to_array(tensor))
        for tensor in model.graph.initializer
        if tensor.name in products
    }
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for tensor in plain.graph.initializer:
        if tensor.name in rounded:
            tensor.CopyFrom(onnx.numpy_helper.from_array(rounded[tensor.name].floats, tensor.name))
    stored = write_int8(model, rounded, [])
    expected = run_model(plain, tmp_path / "plain.onnx")
    found = run_model(stored, tmp_path / "stored.onnx")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    computed = run_model(write_int8(model, rounded, rounded), tmp_path / "computed.onnx")
    np.testing.assert_allclose(computed, expected, atol=0.1)
    assert np.abs(computed - expected).max() > 1e-6
    sizes = [(tmp_path / f"{name}.onnx").stat().st_size for name in ("plain", "stored")]
    assert sizes[1] < sizes[0]


def test_the_tolerance_decides_what_is_int8(bundle, tmp_path):
    def counts(tolerance_mm: float) -> tuple[int, ...]:
        out = tmp_path / "net-int8.onnx"
        config = ConvertConfig(
            bundle.onnx_path, out, calibrate_s=1.0, seconds=1.0, tolerance_mm=tolerance_mm
        )
        done = convert(config)
        assert done.difference.lip_gap_max_mm <= tolerance_mm
        assert load_bundle(out).sidecar.precision == "int8"
        return tuple(int(word) for word in done.products.split() if word.isdigit())

    total = len(find_products(onnx.load(str(bundle.onnx_path))))
    assert counts(1e6) == (total, 0, 0)
    assert counts(0.0)[2] > 0


def test_a_larger_error_on_other_speech_is_searched_away(bundle, tmp_path, monkeypatch):
    searched, errors = [], iter((0.5, 0.3, 0.19))

    def search(bundle, draft, config, tolerance_mm):
        searched.append(tolerance_mm)
        write_changed(bundle, onnx.load(str(bundle.onnx_path)), draft, precision="int8")
        return "as searched"

    def compare(*_):
        still = np.zeros((60, 52), np.float32)
        difference = measure_difference(still, still, 50.0)
        return dataclasses.replace(difference, lip_gap_max_mm=next(errors))

    monkeypatch.setattr("engines.convert.write_searched_int8", search)
    monkeypatch.setattr("engines.convert._compare", compare)
    done = convert(ConvertConfig(bundle.onnx_path, tmp_path / "int8.onnx"))
    assert searched == pytest.approx([0.2, 0.15, 0.1125])
    assert done.difference.lip_gap_max_mm == 0.19 and done.products == "as searched"
    errors = iter([0.5] * 9)
    with pytest.raises(PrecisionError, match=r"up to 0\.500 mm"):
        convert(ConvertConfig(bundle.onnx_path, tmp_path / "never.onnx"))
    assert len(searched) == 7 and not (tmp_path / "never.onnx").exists()


def test_the_least_that_fits_is_found():
    for count in range(9):
        for least in range(count + 1):
            assert _find_least(count, lambda n, least=least: n >= least) == least
