"""Vertices out of the engine: a rig attached to a graph, in every backend and precision."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from fake_cuda import FakeCuda, make_pycuda, make_runtime, make_tensorrt  # noqa: E402
from fake_engines import put_engine  # noqa: E402
from tiny_bundle import make_tiny_bundle, make_tiny_windowed_bundle  # noqa: E402
from tiny_rig import tiny_rig  # noqa: E402

from dualtalker.backends import open_backend  # noqa: E402
from dualtalker.backends.device_memory import CudaBindingsDevice, PycudaDevice  # noqa: E402
from dualtalker.backends.onnxruntime import OnnxRuntimeBackend  # noqa: E402
from dualtalker.backends.tensorrt import TensorRtBackend  # noqa: E402
from dualtalker.bundle import load_bundle  # noqa: E402
from dualtalker.errors import BackendError, BundleError  # noqa: E402
from engines import attach_rig as command  # noqa: E402
from engines.attach_rig import AttachConfig, AttachError, attach, write_posed  # noqa: E402
from engines.export_onnx import make_test_signal  # noqa: E402
from engines.half_precision import POSE_PREFIX, convert_to_fp16  # noqa: E402
from engines.int8 import find_products  # noqa: E402
from engines.operators import check_operators  # noqa: E402

MAKERS = {"stateful": make_tiny_bundle, "windowed": make_tiny_windowed_bundle}


@pytest.fixture(params=list(MAKERS))
def pair(request, tmp_path):
    """A bundle, and the same with the tiny rig attached."""
    plain = load_bundle(MAKERS[request.param](tmp_path))
    return plain, load_bundle(write_posed(plain, tiny_rig(), tmp_path / "posed.onnx"))


@pytest.fixture
def posed(tmp_path):
    return load_bundle(write_posed(load_bundle(make_tiny_bundle(tmp_path)), tiny_rig(),
                                   tmp_path / "posed.onnx"))  # fmt: skip


def make_hops(bundle, steps: int = 20) -> list[np.ndarray]:
    hop = bundle.sidecar.hop_samples
    return list(make_test_signal(steps * hop, seed=2).reshape(steps, 1, hop))


def run_posed(backend, hops) -> tuple[np.ndarray, np.ndarray]:
    state, motions, meshes = backend.new_state(), [], []
    for hop in hops:
        motion, vertices, state = backend.step_posed(hop, state)
        motions.append(motion)
        meshes.append(vertices)
    return np.concatenate(motions), np.concatenate(meshes)


def test_the_graph_poses_as_the_rig_does_and_moves_as_before(pair):
    plain, with_rig = pair
    rig, hops = tiny_rig(), make_hops(plain)
    assert with_rig.sidecar.topology == rig.topology
    backend = open_backend(with_rig, "onnxruntime")
    motion, vertices = run_posed(backend, hops)
    np.testing.assert_allclose(vertices, rig.pose(motion), atol=1e-7)  # 1e-4 mm
    assert np.ptp(vertices, axis=(0, 1)).max() > 1e-3
    before, state, other = open_backend(plain, "onnxruntime"), None, []
    state = before.new_state()
    for hop in hops:
        found, state = before.step(hop, state)
        other.append(found)
    np.testing.assert_array_equal(motion, np.concatenate(other))


def test_a_topology_is_of_one_mesh():
    rig = tiny_rig()
    assert rig.topology == tiny_rig(colored=False).topology
    other = tiny_rig()
    other.triangles = other.triangles[:, ::-1]
    assert other.topology != rig.topology
    moved = tiny_rig()
    moved.neutral = moved.neutral + np.float32(0.001)
    assert moved.topology != rig.topology


@pytest.mark.parametrize("binding", ["cuda-bindings", "pycuda"])
def test_the_runner_hands_out_vertices(binding, posed, tmp_path, monkeypatch):
    monkeypatch.setenv("DUALTALKER_ENGINES", str(tmp_path / "engines"))
    put_engine(tmp_path / "engines", posed)
    cuda = FakeCuda()
    fakes = {"pycuda": lambda: PycudaDevice(make_pycuda(cuda)),
             "cuda-bindings": lambda: CudaBindingsDevice(make_runtime(cuda))}  # fmt: skip
    backend = TensorRtBackend(
        posed, device=fakes[binding](), trt=make_tensorrt(cuda, posed.onnx_path)
    )
    expected = run_posed(OnnxRuntimeBackend(posed), make_hops(posed))
    for found, wanted in zip(run_posed(backend, make_hops(posed)), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    backend.close()
    assert cuda.blocks == {}


def test_a_model_without_vertices_says_how_to_get_them(tiny):
    backend = open_backend(load_bundle(tiny), "onnxruntime")
    with pytest.raises(BackendError, match=r"python -m engines\.attach_rig"):
        backend.step_posed(np.zeros((1, 320), np.float32), backend.new_state())


def test_lower_precisions_leave_the_vertices_in_fp32(pair):
    model = onnx.load(str(pair[1].onnx_path))
    check_operators(model)
    half = convert_to_fp16(model)
    check_operators(half)
    names = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert names[POSE_PREFIX + "basis"] == onnx.TensorProto.FLOAT
    assert onnx.TensorProto.FLOAT16 in names.values()
    products = find_products(model)
    assert products and POSE_PREFIX + "basis" not in products


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_posed_graph_builds(precision, posed, tmp_path):
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has wheels for x86_64 only")
    from engines.build_engine import BuildConfig, build

    config = BuildConfig(posed.onnx_path, tmp_path, precision=precision, progress=False)
    assert build(config, trt).layers > 5


@pytest.mark.parametrize(
    "field, value",
    [
        ("vertex_count", 44), ("vertex_count", 0), ("vertex_count", 1 << 30), ("topology", ""),
        ("topology", "another 45 mesh"), ("vertices_output", "points"), ("vertices_output", ""),
    ],
)  # fmt: skip
def test_a_lie_about_the_vertices_is_refused(field, value, posed):
    sidecar = posed.onnx_path.with_suffix(".json")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {field: value}))
    with pytest.raises(BundleError, match=r"vertex_count|vertices_output|topology"):
        load_bundle(posed.onnx_path)


def test_attaching_checks_and_happens_once(tiny, tmp_path):
    rig_path = tiny_rig().save_npz(tmp_path / "rig.npz")
    out = tmp_path / "out" / "posed.onnx"
    assert attach(AttachConfig(tiny, out, rig_path, steps=5)) <= 1e-4
    assert sorted(path.name for path in out.parent.iterdir()) == ["posed.json", "posed.onnx"]
    with pytest.raises(AttachError, match="gives vertices of tiny 45"):
        attach(AttachConfig(out, tmp_path / "twice.onnx", rig_path))


def test_vertices_that_are_not_the_rigs_are_not_written(tiny, tmp_path, monkeypatch):
    rig = tiny_rig()
    monkeypatch.setattr(command, "_load_rig", lambda _path: rig)
    real = command.write_posed

    def write_another(bundle, _rig, out):
        other = tiny_rig()
        other.neutral = other.neutral + np.float32(1e-5)
        return real(bundle, other, out)

    monkeypatch.setattr(command, "write_posed", write_another)
    out = tmp_path / "out" / "posed.onnx"
    with pytest.raises(AttachError, match=r"mm from those of Rig\.pose.*nothing was written"):
        attach(AttachConfig(tiny, out, steps=3))
    assert list(out.parent.iterdir()) == []


def test_the_command_says_what_it_made(tiny, tmp_path, monkeypatch, capsys):
    out = tmp_path / "posed.onnx"
    monkeypatch.setattr(sys, "argv", ["attach_rig", str(tiny), "-o", str(out), "--steps", "2"])
    command.main()
    assert "mm from Rig.pose" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["attach_rig", str(tmp_path / "no.onnx"), "-o", str(out)])
    with pytest.raises(SystemExit, match="no such file"):
        command.main()
