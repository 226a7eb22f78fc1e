"""The converter: operator check, precisions, windowed graphs, comparisons."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper

from dualtalker import Talker
from dualtalker.engine import (
    collect_figures,
    compare,
    convert,
    format_comparisons,
    make_test_signal,
    measure_difference,
    read_speech,
    run_stream,
    write_sidecar,
)
from dualtalker.engine.build_engine import prepare_graph
from dualtalker.engine.convert import write_fp16
from dualtalker.engine.half_precision import PrecisionError, convert_to_fp16
from dualtalker.engine.operators import ACCEPTED, REFUSED, OperatorError, check_operators
from dualtalker.engine.tensorrt_builder import BuildError
from dualtalker.errors import BundleError, DualtalkerError
from dualtalker.model import load_bundle
from dualtalker.model.backends import open_backend
from engines.windowed import export_windowed, plan_window
from tiny_exports import PLAN, make_model

# --- operators ---


@pytest.mark.parametrize("op_type", [*REFUSED, "QLinearAdd", "QLinearSigmoid"])
def test_each_refused_operator_is_named_with_its_layer(op_type):
    with pytest.raises(OperatorError, match=rf"layer/bad \({op_type} -> y\): \w+"):
        check_operators(make_model(op_type))


def test_unknown_operators_and_domains_are_refused():
    with pytest.raises(OperatorError, match=r"NonZero.*not among the operators"):
        check_operators(make_model("NonZero"))
    with pytest.raises(OperatorError, match=r"com\.microsoft"):
        check_operators(make_model("Gelu", domain="com.microsoft"))


def test_operators_inside_branches_are_found():
    inner = helper.make_graph(make_model("DFT").graph.node, "inner", [], [])
    model = make_model("If")
    model.graph.node[0].attribute.append(helper.make_attribute("then_branch", inner))
    with pytest.raises(OperatorError) as caught:
        check_operators(model)
    assert "If" in str(caught.value) and "DFT" in str(caught.value)


def test_shapes_that_are_not_fixed_are_refused():
    with pytest.raises(OperatorError, match=r"input x0: shape \['batch', 4\] is not fixed"):
        check_operators(make_model("Relu", shape=("batch", 4)))


def test_good_operators_pass():
    assert not set(REFUSED) & ACCEPTED
    check_operators(make_model("Relu"))


def test_a_quantized_bundle_runs_and_is_refused_for_tensorrt_layer_by_layer(stateful, tmp_path):
    from onnxruntime.quantization import quantize_dynamic

    path = tmp_path / "int8.onnx"
    quantize_dynamic(str(stateful.onnx_path), str(path))
    states = msgspec.to_builtins(stateful.sidecar)["states"]
    write_sidecar(path, states, precision="int8")
    bundle = load_bundle(path)
    motion = run_stream(open_backend(bundle, "onnxruntime"), bundle.sidecar, make_test_signal(960))
    assert motion.shape == (3, 52)
    with pytest.raises(OperatorError) as caught:
        prepare_graph(bundle, "fp16")
    assert "DynamicQuantizeLinear" in str(caught.value) and "MatMulInteger" in str(caught.value)


# --- precision ---


def test_fp16_keeps_the_sensitive_parts_in_fp32(stateful):
    model = onnx.shape_inference.infer_shapes(convert_to_fp16(onnx.load(str(stateful.onnx_path))))
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    types |= {v.name: v.type.tensor_type.elem_type for v in model.graph.input}
    types |= {v.name: v.type.tensor_type.elem_type for v in model.graph.output}
    types |= {t.name: t.data_type for t in model.graph.initializer}
    by_kind: dict[str, set[int]] = {}
    for node in model.graph.node:
        by_kind.setdefault(node.op_type, set()).add(types[node.output[0]])
    assert by_kind["LayerNormalization"] == by_kind["Log"] == {TensorProto.FLOAT}
    assert by_kind["Gemm"] == {TensorProto.FLOAT, TensorProto.FLOAT16}
    for value in [*model.graph.input, *model.graph.output]:
        assert types[value.name] == TensorProto.FLOAT, value.name
    halves = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16]
    names = [t.name for t in model.graph.initializer]
    assert halves and len(names) == len(set(names))
    spectrum = next(n for n in model.graph.node if n.op_type == "MatMul")
    assert types[spectrum.output[0]] == TensorProto.FLOAT


def test_converted_bundles_load_and_move_alike(stateful, tmp_path):
    out = tmp_path / "out" / "small.onnx"
    difference = convert(stateful.onnx_path, out, seconds=4.0, tolerance_mm=5.0)
    bundle = load_bundle(out)
    assert bundle.sidecar.precision == "fp16"
    assert bundle.sidecar.states == stateful.sidecar.states
    versions = {onnx.load(str(found.onnx_path)).ir_version for found in (stateful, bundle)}
    assert versions == {8}  # torch writes 10, which onnxruntime 1.17 cannot read
    assert 0 < difference.largest < 0.02
    assert [p.name for p in sorted(out.parent.iterdir())] == ["small.json", "small.onnx"]
    with pytest.raises(PrecisionError, match="convert the fp32 bundle"):
        convert(out, tmp_path / "again.onnx")
    assert prepare_graph(bundle, "fp16") == out.read_bytes()
    with pytest.raises(BuildError, match="build fp32 from fp32"):
        prepare_graph(bundle, "fp32")


def test_too_much_difference_leaves_nothing(stateful, tmp_path):
    out = tmp_path / "small.onnx"
    with pytest.raises(PrecisionError, match=r"mm.*nothing was written"):
        convert(stateful.onnx_path, out, seconds=1.0, tolerance_mm=-1.0)
    assert list(tmp_path.iterdir()) == []


def test_weights_beyond_fp16_are_refused(stateful):
    model = onnx.load(str(stateful.onnx_path))
    products = [n for n in model.graph.node if n.op_type == "Gemm"]
    name = products[-1].input[1]
    tensor = next(t for t in model.graph.initializer if t.name == name)
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] = 1e6
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
    with pytest.raises(PrecisionError, match=f"weight {name} holds 1e\\+06"):
        convert_to_fp16(model)
    with pytest.raises(PrecisionError, match="no matrix product"):
        convert_to_fp16(make_model("Relu"))


# --- windowed ---


def test_the_plan_of_a_window():
    assert PLAN.window_frames == 14 and PLAN.frames_per_step == 2
    last = PLAN.valid_start + PLAN.frames_per_step - 1
    assert PLAN.window_frames - 1 - last == 3
    assert PLAN.lookahead_samples == 4160 - last * 320
    for arguments in [(4160, 300, 3), (4160, 640, 13), (200, 640, 0), (4160, 640, -1)]:
        with pytest.raises(ValueError, match=r"expected a multiple|too few"):
            plan_window(*arguments, spacing=320)


def test_windowed_graph_equals_torch(windowed):
    bundle, talker = windowed
    audio = make_test_signal(PLAN.window_samples)[None]
    import onnxruntime

    session = onnxruntime.InferenceSession(str(bundle.onnx_path))
    motion = session.run(None, {"audio": audio})[0]
    with torch.no_grad():
        expected = talker(torch.from_numpy(audio)).numpy()
    np.testing.assert_allclose(motion, expected, atol=1e-5)


def test_windowed_bundle_runs_hop_by_hop(windowed):
    """Frames of step i come from the window that ends with hop i; before audio is silence."""
    bundle, talker = windowed
    audio = make_test_signal(8 * 640, seed=3)
    backend = open_backend(bundle, "onnxruntime")
    motion = run_stream(backend, bundle.sidecar, audio)
    assert motion.shape == (16, 52)
    padded = np.concatenate([np.zeros(PLAN.window_samples - 640, np.float32), audio])
    for step in range(8):
        window = padded[None, step * 640 : step * 640 + PLAN.window_samples]
        with torch.no_grad():
            whole = talker(torch.from_numpy(window))[0].numpy()
        used = whole[PLAN.valid_start : PLAN.valid_start + 2]
        np.testing.assert_allclose(motion[2 * step : 2 * step + 2], used, atol=1e-5)


@pytest.mark.parametrize("chunk", [160, 777, 16000])
def test_windowed_streaming_equals_offline(windowed, chunk):
    bundle, _ = windowed
    audio = make_test_signal(16000, seed=4)
    talker = Talker(bundle, engine="onnxruntime", idle_motion=False)
    assert talker.lookahead_s == pytest.approx(PLAN.lookahead_samples / 16000)
    talker.push(audio, 16000)
    whole = talker.frames() + talker.flush()
    talker.reset()
    parts = []
    for start in range(0, len(audio), chunk):
        talker.push(audio[start : start + chunk], 16000)
        parts += talker.frames()
    parts += talker.flush()
    assert [f.index for f in parts] == [f.index for f in whole] == list(range(30))
    np.testing.assert_allclose(
        np.stack([f.weights for f in parts]), np.stack([f.weights for f in whole]), atol=1e-6
    )


@pytest.mark.parametrize(
    "field, value",
    [
        ("window_samples", 0), ("window_samples", 100), ("window_samples", 10**7),
        ("window_samples", 4000), ("window_frames", 1), ("window_frames", 13),
        ("valid_start", 13), ("valid_start", -1), ("lookahead_samples", 5000),
        ("kind", "stateful"), ("kind", "sliding"), ("precision", "int4"), ("valid_start", 2.0),
    ],
)  # fmt: skip
def test_a_lie_about_the_window_is_refused(field, value, windowed, tmp_path):
    source = windowed[0].onnx_path
    (tmp_path / "w.onnx").write_bytes(source.read_bytes())
    record = json.loads(source.with_suffix(".json").read_text()) | {field: value}
    (tmp_path / "w.json").write_text(json.dumps(record))
    with pytest.raises(BundleError, match=rf"{field}|is \[1, .* in the graph"):
        load_bundle(tmp_path / "w.onnx")


def test_a_network_that_is_not_the_plans_is_refused(windowed, tmp_path):
    other = plan_window(window_samples=8000, hop_samples=640, future_frames=3, spacing=320)
    short = torch.nn.Sequential(torch.nn.Unflatten(1, (1, 8000)), torch.nn.Linear(8000, 52))
    with pytest.raises(ValueError, match="gives 1 frames; expected 26"):
        export_windowed(short, tmp_path / "x.onnx", other)


# --- comparing ---


def test_differences_are_measured_in_millimetres():
    motion = np.zeros((60, 52), np.float32)
    motion[:, 17] = np.linspace(0, 1, 60)  # jawOpen
    same = measure_difference(motion, motion)
    assert same.largest == same.lip_gap_max_mm == 0.0
    assert same.gap_range_mm > 10.0  # the jaw opens by centimetres
    other = motion.copy()
    other[-1, 17] -= 0.1
    less = measure_difference(motion, other)
    assert less.largest == pytest.approx(0.1) and less.worst_channel == 17
    assert less.lip_gap_max_mm == pytest.approx(0.1 * same.gap_range_mm, rel=1e-3)
    assert less.first_max == 0.0 < less.last_max
    with pytest.raises(DualtalkerError, match="shapes"):
        measure_difference(motion, motion[1:])
    other[3, 3] = np.nan
    with pytest.raises(DualtalkerError, match="NaN"):
        measure_difference(motion, other)


def test_speech_is_repeated_to_the_length_wanted(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", make_test_signal(8000), 8000)
    audio = read_speech(tmp_path / "a.wav", 2.5, 16000)
    assert audio.shape == (40000,) and audio.dtype == np.float32
    np.testing.assert_array_equal(audio[:4000], audio[16000:20000])


def test_compare_reports_every_runtime(stateful, tmp_path, monkeypatch):
    monkeypatch.setenv("DUALTALKER_ENGINES", str(tmp_path))
    half = write_fp16(stateful, tmp_path / "half.onnx")
    reference, results = compare([stateful.onnx_path, half], seconds=2.0)
    assert reference == "onnxruntime stateful.onnx"
    assert [r.name for r in results] == ["onnxruntime half.onnx", "tensorrt stateful.onnx"]
    assert results[0].difference is not None and 0 < results[0].difference.largest < 0.02
    assert results[1].difference is None and "tensorrt" in results[1].reason
    report = format_comparisons(reference, results, channels=2)
    assert "lip gap mm" in report and "not run" in report
    figures = collect_figures(reference, results)
    assert len(json.loads(json.dumps(figures))["results"][0]["channel_max"]) == 52
    with pytest.raises(DualtalkerError, match="nothing to compare"):
        compare([stateful.onnx_path], seconds=1.0)
