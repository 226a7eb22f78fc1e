"""The converter: operator check, precisions, windowed graphs, TensorRT's builder, comparisons."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402
from tiny_training import TINY_NETWORK  # noqa: E402

from dualtalker import Talker  # noqa: E402
from dualtalker.backends import open_backend  # noqa: E402
from dualtalker.backends.engine_files import read_record  # noqa: E402
from dualtalker.bundle import DEFAULT_MODEL, load_bundle, write_sidecar  # noqa: E402
from dualtalker.errors import BundleError, DualtalkerError  # noqa: E402
from engines.build_engine import BuildConfig, build, prepare_graph  # noqa: E402
from engines.compare import CompareConfig, collect_json, compare, format_report  # noqa: E402
from engines.convert import ConvertConfig, convert, write_fp16  # noqa: E402
from engines.export_onnx import export_graph, make_test_signal  # noqa: E402
from engines.half_precision import PrecisionError, convert_to_fp16  # noqa: E402
from engines.int8 import find_products  # noqa: E402
from engines.operators import ACCEPTED, REFUSED, OperatorError, check_operators  # noqa: E402
from engines.parity import measure_difference, read_speech, run_stream  # noqa: E402
from engines.tensorrt_builder import BuildError, BuildInterrupted  # noqa: E402
from engines.windowed import WindowedTalker, export_windowed, plan_window  # noqa: E402
from training.network import DualTalker, StreamingTalker  # noqa: E402

HAS_RTX = importlib.util.find_spec("tensorrt_rtx") is not None
ON_X86 = platform.machine() in ("x86_64", "AMD64") and sys.platform == "linux"
needs_builder = pytest.mark.skipif(
    not HAS_RTX and not ON_X86, reason="tensorrt-rtx has wheels for Linux on x86_64 only"
)


@pytest.fixture(scope="module")
def stateful(tmp_path_factory):
    """A freshly initialized tiny network as a stateful bundle."""
    torch.manual_seed(0)
    network = DualTalker(TINY_NETWORK, [True] * 52, ["rules"], ["a", "b"]).eval()
    torch.nn.init.normal_(network.animation.head.weight, std=0.3)
    path = tmp_path_factory.mktemp("stateful") / "stateful.onnx"
    states = export_graph(StreamingTalker(network, {"rules": 1.0}).eval(), path)
    write_sidecar(path, states)
    return load_bundle(path)


PLAN = plan_window(window_samples=4080, hop_samples=640, future_frames=3)


@pytest.fixture(scope="module")
def windowed(tmp_path_factory):
    """A tiny randomly initialized wav2vec2 with a head as a windowed bundle, and the network."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    config = transformers.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        conv_dim=(8,) * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
        attn_implementation="eager",
    )  # fmt: skip
    head = torch.nn.Linear(16, 52)
    talker = WindowedTalker(transformers.Wav2Vec2Model(config), head).eval()
    path = tmp_path_factory.mktemp("windowed") / "windowed.onnx"
    export_windowed(talker, path, PLAN, training={"data": "none"})
    return load_bundle(path), talker


# --- operators ---


def make_model(op_type: str, domain: str = "", inputs: int = 1, shape=(1, 4)) -> onnx.ModelProto:
    names = [f"x{i}" for i in range(inputs)]
    node = helper.make_node(op_type, names, ["y"], name="layer/bad", domain=domain)
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in names]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    return helper.make_model(helper.make_graph([node], "g", values, [out]))


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


def test_int8_is_refused_for_tensorrt_layer_by_layer(stateful, tmp_path):
    path = tmp_path / "int8.onnx"
    done = convert(
        ConvertConfig(stateful.onnx_path, path, calibrate_s=1.0, seconds=1.0, tolerance_mm=1e3)
    )
    assert "0 stored in int8, 0 and the spectrum in fp32" in done.products
    with pytest.raises(OperatorError) as caught:
        prepare_graph(load_bundle(path), "fp16")
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
    assert TensorProto.FLOAT16 in by_kind["MatMul"]
    for value in [*model.graph.input, *model.graph.output]:
        assert types[value.name] == TensorProto.FLOAT, value.name
    halves = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16]
    names = [t.name for t in model.graph.initializer]
    assert halves and len(names) == len(set(names))
    spectrum = next(n for n in model.graph.node if n.op_type == "MatMul")
    assert types[spectrum.output[0]] == TensorProto.FLOAT


def test_products_are_those_behind_the_spectrum(stateful):
    model = onnx.load(str(stateful.onnx_path))
    products = find_products(model)
    count = sum(node.op_type == "MatMul" for node in model.graph.node)
    assert len(products) == count - 2  # Fourier and mel
    assert not any("mel" in name for name in products)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_converted_bundles_load_and_move_alike(precision, stateful, tmp_path):
    out = tmp_path / "out" / "small.onnx"
    difference = convert(
        ConvertConfig(
            stateful.onnx_path, out, precision, calibrate_s=1.0, seconds=4.0, tolerance_mm=5.0
        )
    ).difference
    bundle = load_bundle(out)
    assert bundle.sidecar.precision == precision
    assert bundle.sidecar.states == stateful.sidecar.states
    assert 0 < difference.largest < (0.02 if precision == "fp16" else 0.2)
    assert [p.name for p in sorted(out.parent.iterdir())] == ["small.json", "small.onnx"]
    with pytest.raises(PrecisionError, match="convert the fp32 bundle"):
        convert(ConvertConfig(out, tmp_path / "again.onnx", precision))
    if precision == "fp16":
        assert prepare_graph(bundle, "fp16") == out.read_bytes()
        with pytest.raises(BuildError, match="build fp32 from fp32"):
            prepare_graph(bundle, "fp32")


def test_too_much_difference_leaves_nothing(stateful, tmp_path):
    out = tmp_path / "small.onnx"
    with pytest.raises(PrecisionError, match=r"mm.*nothing was written"):
        convert(ConvertConfig(stateful.onnx_path, out, "fp16", seconds=1.0, tolerance_mm=-1.0))
    assert list(tmp_path.iterdir()) == []


def test_weights_beyond_fp16_are_refused(stateful):
    model = onnx.load(str(stateful.onnx_path))
    products = [n for n in model.graph.node if n.op_type == "MatMul"]
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
    assert PLAN.window_frames == 12 and PLAN.frames_per_step == 2
    last = PLAN.valid_start + PLAN.frames_per_step - 1
    assert PLAN.window_frames - 1 - last == 3
    assert PLAN.lookahead_samples == 4080 - (last * 320 + 200)
    for arguments in [(4080, 300, 3), (4080, 640, 11), (500, 640, 0), (4080, 640, -1)]:
        with pytest.raises(ValueError, match=r"expected a multiple|too few"):
            plan_window(*arguments)


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
        ("valid_start", 11), ("valid_start", -1), ("lookahead_samples", 5000),
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
    other = plan_window(window_samples=8080, hop_samples=640, future_frames=3)
    short = torch.nn.Sequential(torch.nn.Unflatten(1, (1, 8080)), torch.nn.Linear(8080, 52))
    with pytest.raises(ValueError, match="gives 1 frames; expected 25"):
        export_windowed(short, tmp_path / "x.onnx", other)


# --- building with TensorRT for RTX, which needs no GPU ---


@pytest.fixture(scope="module")
def trt():
    if not HAS_RTX:
        pytest.fail("tensorrt-rtx is missing: python -m pip install 'dualtalker[engines]'")
    import tensorrt_rtx

    return tensorrt_rtx


def build_quietly(bundle, out, trt, **options):
    return build(BuildConfig(bundle.onnx_path, out, progress=False, **options), trt)


@needs_builder
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("kind", ["stateful", "windowed", "tiny", "default"])
def test_every_model_builds(kind, precision, stateful, windowed, tiny, trt, tmp_path):
    if kind == "default" and not DEFAULT_MODEL.is_file():
        pytest.skip("this checkout has no default model yet")
    bundle = {"stateful": stateful, "windowed": windowed[0]}.get(kind) or load_bundle(
        tiny if kind == "tiny" else None
    )
    result = build_quietly(bundle, tmp_path, trt, precision=precision)
    assert result.layers > 3 and result.path.stat().st_size > 1000
    record = read_record(result.path)
    assert record.precision == precision and record.onnx_sha256 == bundle.digest
    assert record.target.library == "tensorrt_rtx"
    assert not list(tmp_path.glob("*.part"))
    assert result.path.with_suffix(".log").read_text().startswith(("INFO", "WARNING", "ERROR"))


@needs_builder
def test_a_build_is_reused_until_something_differs(tiny, trt, tmp_path):
    bundle = load_bundle(tiny)
    first = build_quietly(bundle, tmp_path, trt)
    stamp = first.path.stat().st_mtime_ns
    assert build_quietly(bundle, tmp_path, trt).seconds == 0.0
    assert first.path.stat().st_mtime_ns == stamp
    assert build_quietly(bundle, tmp_path, trt, rebuild=True).seconds > 0.0
    first.path.write_bytes(b"half")  # damaged: built anew without being told
    assert build_quietly(bundle, tmp_path, trt).seconds > 0.0
    first.path.with_suffix(".json").unlink()
    assert build_quietly(bundle, tmp_path, trt).seconds > 0.0
    assert build_quietly(bundle, tmp_path, trt, precision="fp32").path != first.path


@needs_builder
def test_ctrl_c_ends_the_build_and_leaves_nothing(stateful, trt, tmp_path):
    """The signal arrives while TensorRT's own code runs."""
    before = signal.getsignal(signal.SIGINT)
    stop = threading.Event()

    def press() -> None:
        while not stop.is_set():
            if signal.getsignal(signal.SIGINT) not in (before, signal.SIG_DFL):
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.0005)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        with pytest.raises(BuildInterrupted, match="interrupted; no engine was written"):
            build_quietly(stateful, tmp_path, trt)
    finally:
        stop.set()
        thread.join()
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is before


@needs_builder
def test_a_full_disk_leaves_nothing_half_written(tiny, tmp_path):
    """In a process of its own whose files may not grow past 2 kB."""
    code = (
        "import resource, sys\n"
        "from engines.build_engine import *\n"
        "import engines.build_engine as b\n"
        "real = b.write_engine\n"
        "def limited(*arguments):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))\n"
        "    real(*arguments)\n"
        "b.write_engine = limited\n"
        "sys.argv = ['build_engine', *sys.argv[1:]]\n"
        "main()\n"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny), "-o", str(tmp_path), "--no-progress"],
        capture_output=True, text=True, cwd=root,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "cannot write" in done.stderr and "Free space" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@needs_builder
def test_a_graph_that_tensorrt_cannot_read_names_the_node(trt):
    from engines.tensorrt_builder import BuildOptions, build_engine

    model = make_model("Relu")
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(BuildError, match=r"cannot read this graph:\n.*NoSuchOperator"):
        build_engine(trt, model.SerializeToString(), BuildOptions(progress=False))


@needs_builder
def test_the_command_builds_and_says_how_to_use_it(tiny, tmp_path, monkeypatch, capsys):
    from engines import build_engine as command

    arguments = ["build_engine", str(tiny), "-o", str(tmp_path), "--precision", "fp32"]
    monkeypatch.setattr(sys, "argv", arguments)
    command.main()
    said = capsys.readouterr()
    assert "--engine tensorrt" in said.out and "fp32.engine" in said.out
    monkeypatch.setattr(sys, "argv", ["build_engine", str(tmp_path / "none.onnx")])
    with pytest.raises(SystemExit, match="no such file"):
        command.main()


# --- comparing ---


def test_differences_are_measured_in_millimetres():
    motion = np.zeros((60, 52), np.float32)
    motion[:, 17] = np.linspace(0, 1, 60)  # jawOpen
    same = measure_difference(motion, motion, 50)
    assert same.largest == same.lip_gap_max_mm == 0.0
    assert same.gap_range_mm > 10.0  # the jaw opens by centimetres
    other = motion.copy()
    other[-1, 17] -= 0.1
    less = measure_difference(motion, other, 50)
    assert less.largest == pytest.approx(0.1) and less.worst_channel == 17
    assert less.lip_gap_max_mm == pytest.approx(0.1 * same.gap_range_mm, rel=1e-3)
    assert less.first_max == 0.0 < less.last_max
    with pytest.raises(DualtalkerError, match="shapes"):
        measure_difference(motion, motion[1:], 50)
    other[3, 3] = np.nan
    with pytest.raises(DualtalkerError, match="NaN"):
        measure_difference(motion, other, 50)


def test_speech_is_repeated_to_the_length_wanted(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", make_test_signal(8000), 8000)
    audio = read_speech(tmp_path / "a.wav", 2.5, 16000)
    assert audio.shape == (40000,) and audio.dtype == np.float32
    np.testing.assert_array_equal(audio[:4000], audio[16000:20000])


def test_compare_reports_every_runtime(stateful, tmp_path, monkeypatch):
    monkeypatch.setenv("DUALTALKER_ENGINES", str(tmp_path))
    half = write_fp16(stateful, tmp_path / "half.onnx")
    config = CompareConfig((stateful.onnx_path, half), seconds=2.0)
    reference, results = compare(config)
    assert reference == "onnxruntime stateful.onnx"
    assert [r.name for r in results] == ["onnxruntime half.onnx", "tensorrt stateful.onnx"]
    assert results[0].difference is not None and 0 < results[0].difference.largest < 0.02
    assert results[1].difference is None and "tensorrt" in results[1].reason
    report = format_report(reference, results, channels=2)
    assert "lip gap mm" in report and "not run" in report
    figures = collect_json(reference, results)
    assert len(json.loads(json.dumps(figures))["results"][0]["channel_max"]) == 52
    with pytest.raises(DualtalkerError, match="nothing to compare"):
        compare(CompareConfig((stateful.onnx_path,), seconds=1.0))


# --- building as TensorRT on a Jetson does it ---


class JetsonTensorRt:
    """TensorRT for RTX under the name and with the timing cache of JetPack's, for no GPU."""

    __name__ = "tensorrt"

    def __init__(self, trt) -> None:
        self._trt = trt

    def __getattr__(self, name: str):
        return getattr(self._trt, name)


@needs_builder
@pytest.mark.filterwarnings("ignore:.*TensorRT-RTX:DeprecationWarning")
def test_a_timing_cache_is_kept_and_given_to_the_next_build(tiny, trt, tmp_path, monkeypatch):
    from dualtalker.backends.engine_files import Target
    from engines import build_engine as command
    from engines import tensorrt_builder

    target = Target("Orin", "8.7", 16, "tensorrt", "10.3.0")
    monkeypatch.setattr(command, "find_target", lambda _trt: target)
    given = []
    real = tensorrt_builder._attach_timing_cache

    def attach(module, config, content):
        given.append(content)
        return real(module, config, content)

    monkeypatch.setattr(tensorrt_builder, "_attach_timing_cache", attach)
    bundle = load_bundle(tiny)
    first = build_quietly(bundle, tmp_path, JetsonTensorRt(trt))
    assert first.path.name == "tiny.orin-16sm-trt10.3.0-fp16.engine"
    cache = tmp_path / "orin-16sm-trt10.3.0.timing"
    kept = cache.read_bytes()
    assert kept
    build_quietly(bundle, tmp_path, JetsonTensorRt(trt), rebuild=True)
    assert given == [b"", kept]
    cache.write_bytes(b"of another version")
    assert build_quietly(bundle, tmp_path, JetsonTensorRt(trt), rebuild=True).layers > 3


@needs_builder
def test_a_builder_that_runs_out_of_memory_says_what_to_do(tiny, trt, tmp_path):
    class Builder:
        """TensorRT's own, but for the end: no engine, and the reason in the log."""

        def __init__(self, logger) -> None:
            self._logger, self._real = logger, trt.Builder(logger)

        def __getattr__(self, name: str):
            return getattr(self._real, name)

        def build_serialized_network(self, _network, _config):
            severity = trt.ILogger.Severity.ERROR
            self._logger.log(severity, "Requested amount of GPU memory could not be allocated")

    class Scarce(JetsonTensorRt):
        __name__ = "tensorrt_rtx"
        Builder = None

    scarce = Scarce(trt)
    scarce.Builder = Builder
    with pytest.raises(BuildError, match=r"out of memory.*--workspace-mb \(now 64\)"):
        build_quietly(load_bundle(tiny), tmp_path, scarce, workspace_mb=64)
    assert list(tmp_path.iterdir()) == []


@needs_builder
def test_the_workspace_limit_reaches_tensorrt(trt):
    from engines.tensorrt_builder import BuildOptions, _configure

    builder = trt.Builder(trt.Logger())
    config = _configure(trt, builder, BuildOptions(workspace_mb=64))
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 64 << 20
    assert not config.get_flag(trt.BuilderFlag.TF32)
