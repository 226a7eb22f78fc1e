"""The TensorRT runner on stand-ins for the GPU: buffers, state, threads, errors."""

from __future__ import annotations

import dataclasses
import gc
import sys
import threading

import numpy as np
import pytest

from dualtalker.errors import BackendError
from dualtalker.model import load_bundle
from dualtalker.model.backends import (
    PORTABLE,
    OnnxRuntimeBackend,
    Target,
    check_served,
    choice,
    cuda,
    open_device,
)
from dualtalker.model.backends.cuda import _CudaBindingsDevice, _PycudaDevice
from dualtalker.model.backends.tensorrt import TensorRtBackend
from fake_cuda import FakeCuda, make_pycuda, make_rtx, make_runtime, make_tensorrt
from fake_engines import noise, open_fake_device, put_engine
from tiny_bundle import make_tiny_bundle


@pytest.fixture
def bundle(tiny):
    return load_bundle(tiny)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALTALKER_ENGINES", str(tmp_path / "engines"))
    return tmp_path / "engines"


@pytest.fixture(params=["cuda-bindings", "pycuda"])
def opened(request, bundle, folder):
    """A backend on a fake GPU, with the GPU."""
    cuda = FakeCuda()
    device = open_fake_device(request.param, cuda)
    put_engine(folder, bundle)
    trt = make_tensorrt(cuda, bundle.onnx_path)
    backend = TensorRtBackend(bundle, device=device, trt=trt)
    yield backend, cuda
    backend.close()


def run(backend, hops, state=None):
    state = backend.new_state() if state is None else state
    frames = []
    for hop in hops:
        motion, state = backend.step(hop, state)
        frames.append(motion)
    return np.concatenate(frames)


def test_it_is_the_same_function_over_many_steps(opened, bundle):
    backend, _ = opened
    expected = run(OnnxRuntimeBackend(bundle), noise(200))
    np.testing.assert_array_equal(run(backend, noise(200)), expected)
    np.testing.assert_array_equal(run(backend, noise(200)), expected)  # a new state is new


def test_streams_do_not_disturb_each_other(opened, bundle):
    backend, cuda = opened
    hops = [noise(30, seed) for seed in range(4)]
    states = [backend.new_state() for _ in hops]
    waits = cuda.synchronized
    together = [backend.step_many([h[i] for h in hops], states) for i in range(30)]
    assert cuda.synchronized == waits + 30  # one wait, however many streams
    for stream, own in enumerate(hops):
        expected = run(OnnxRuntimeBackend(bundle), own)
        np.testing.assert_array_equal(np.concatenate([t[stream] for t in together]), expected)


def test_memory_is_constant_and_all_given_back(opened):
    backend, cuda = opened
    state = backend.new_state()
    blocks = len(cuda.blocks)
    for seed in range(5):
        run(backend, noise(5, seed))
    gc.collect()
    run(backend, noise(100), state)
    assert len(cuda.blocks) <= blocks + 3  # one more state: pinned in, pinned out, GPU
    backend.close()
    backend.close()
    assert cuda.blocks == {}
    with pytest.raises(BackendError, match="closed"):
        backend.step(noise(1)[0], state)
    with pytest.raises(BackendError, match="closed"):
        backend.new_state()


def test_graphs_are_recorded_once_and_then_launched(bundle, folder):
    cuda = FakeCuda()
    put_engine(folder, bundle)
    trt = make_tensorrt(cuda, bundle.onnx_path)
    backend = TensorRtBackend(bundle, device=_CudaBindingsDevice(make_runtime(cuda)), trt=trt)
    assert "CUDA graph" in backend.name and "no CUDA graph" not in backend.name
    before = cuda.launched
    run(backend, noise(50))
    assert cuda.launched == before + 50
    plain = TensorRtBackend(
        bundle, device=_CudaBindingsDevice(make_runtime(cuda)), trt=trt, cuda_graph=False
    )
    before = cuda.launched
    np.testing.assert_array_equal(run(plain, noise(20)), run(backend, noise(20)))
    assert cuda.launched == before + 20 and "no CUDA graph" in plain.name


def test_a_driver_that_cannot_record_is_no_failure_but_is_said(bundle, folder, caplog):
    cuda = FakeCuda()
    cuda.fail = "cudaStreamEndCapture"
    put_engine(folder, bundle)
    trt = make_tensorrt(cuda, bundle.onnx_path)
    backend = TensorRtBackend(bundle, device=_CudaBindingsDevice(make_runtime(cuda)), trt=trt)
    assert "no CUDA graph" in backend.name
    assert len([r for r in caplog.records if "without a CUDA graph" in r.message]) == 1
    np.testing.assert_array_equal(
        run(backend, noise(9)), run(OnnxRuntimeBackend(bundle), noise(9))
    )


def test_threads_take_turns(opened, bundle):
    backend, _ = opened
    results: dict[int, np.ndarray] = {}

    def work(seed: int) -> None:
        results[seed] = run(backend, noise(40, seed))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, motion in results.items():
        np.testing.assert_array_equal(motion, run(OnnxRuntimeBackend(bundle), noise(40, seed)))
    assert len(results) == 4


@pytest.fixture(params=["cuda-bindings", "pycuda"])
def styled(request, folder, tmp_path):
    """A backend of a bundle with styles on a fake GPU, the GPU, and the bundle."""
    bundle = load_bundle(make_tiny_bundle(tmp_path / "styled", name="styled", styled=True))
    cuda = FakeCuda()
    put_engine(folder, bundle)
    trt = make_tensorrt(cuda, bundle.onnx_path)
    backend = TensorRtBackend(bundle, device=open_fake_device(request.param, cuda), trt=trt)
    yield backend, cuda, bundle
    backend.close()
    assert cuda.blocks == {}


def run_styled(backend, hops, styles):
    state, frames = backend.new_state(), []
    for hop, style in zip(hops, styles, strict=True):
        motion, state = backend.step(hop, state, style)
        frames.append(motion)
    return np.concatenate(frames)


def test_styles_that_change_from_step_to_step_reach_the_engine(styled):
    backend, _, bundle = styled
    shares = np.linspace(0, 1, 10, dtype=np.float32).repeat(3)
    styles = [np.array([[share, 1 - share]], np.float32) for share in shares]
    styles[7] = styles[20] = None  # the default in between
    expected = run_styled(OnnxRuntimeBackend(bundle), noise(30), styles)
    np.testing.assert_array_equal(run_styled(backend, noise(30), styles), expected)
    gc.collect()
    # Memory that another stream used is cleared: its style must be sent anew.
    same = [styles[-1]] * 5
    np.testing.assert_array_equal(
        run_styled(backend, noise(5), same), run_styled(OnnxRuntimeBackend(bundle), noise(5), same)
    )


def test_a_style_is_sent_only_when_it_changes_and_outside_of_the_graph(styled):
    backend, _, _ = styled
    state = backend.new_state()
    sent, upload = [], backend.device.upload

    def watch(address, array):
        sent.append(array.shape)
        upload(address, array)

    backend.device.upload = watch
    recorded = backend._slots[0].graphs[0] is not None
    for share in (0.5, 0.5, 0.5, 0.75, 0.75):
        _, state = backend.step(noise(1)[0], state, np.array([[share, 1 - share]], np.float32))
    assert sent.count((1, 2)) == 2
    assert sent.count((1, 320)) == (0 if recorded else 5)


def test_streams_have_styles_of_their_own(styled):
    backend, _, bundle = styled
    hops = [noise(12, seed) for seed in range(3)]
    own = [np.array([[share, 1 - share]], np.float32) for share in (0.0, 0.5, 1.0)]
    states = [backend.new_state() for _ in hops]
    together = [backend.step_many([h[i] for h in hops], states, own) for i in range(12)]
    for stream, (heard, style) in enumerate(zip(hops, own, strict=True)):
        expected = run_styled(OnnxRuntimeBackend(bundle), heard, [style] * 12)
        np.testing.assert_array_equal(np.concatenate([t[stream] for t in together]), expected)


def test_a_style_of_a_wrong_shape_is_refused(styled):
    backend, _, _ = styled
    with pytest.raises(BackendError, match=r"style has shape \(1, 3\); expected \(1, 2\)"):
        backend.step(noise(1)[0], backend.new_state(), np.zeros((1, 3), np.float32))


def test_audio_of_a_wrong_shape_is_refused(opened):
    backend, _ = opened
    with pytest.raises(BackendError, match=r"\(1, 100\).*expected \(1, 320\)"):
        backend.step(np.zeros((1, 100), np.float32), backend.new_state())


def test_a_failed_step_says_so(opened):
    backend, cuda = opened
    state = backend.new_state()
    cuda.fail = "execute"
    backend._record_graphs = False
    for slot in backend._slots:
        slot.graphs = [None, None]
    with pytest.raises(BackendError, match="a step failed"):
        backend.step(noise(1)[0], state)


@pytest.mark.parametrize(
    "binding, call", [("cuda-bindings", "cudaMalloc"), ("pycuda", "mem_alloc")]
)
def test_a_full_gpu_says_what_to_do(binding, call, bundle, folder):
    cuda = FakeCuda()
    put_engine(folder, bundle)
    device = open_fake_device(binding, cuda)
    cuda.fail = call
    with pytest.raises(BackendError, match=r"memory is full.*tegrastats"):
        TensorRtBackend(bundle, device=device, trt=make_tensorrt(cuda, bundle.onnx_path))


def test_every_call_fits_the_real_bindings(bundle, folder):
    """Wrong names and signatures would show on a Jetson first; the real module checks them."""
    real = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    if int(real.cudaGetDeviceCount()[0]) == 0:
        pytest.skip("a driver is here: made-up addresses must not reach it")
    cuda = FakeCuda()
    put_engine(folder, bundle)
    device = _CudaBindingsDevice(make_runtime(cuda, checker=real))
    backend = TensorRtBackend(bundle, device=device, trt=make_tensorrt(cuda, bundle.onnx_path))
    run(backend, noise(3))
    assert backend.device.used_bytes() == 1 << 30
    backend.close()
    assert cuda.blocks == {}


def test_without_a_driver_the_message_mends_it(monkeypatch):
    real = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    if int(real.cudaGetDeviceCount()[0]) == 0:
        pytest.skip("a driver is here")
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(BackendError, match=r"CUDA: cudaSetDevice: .*NVIDIA's driver"):
        open_device()


def test_without_bindings_the_message_says_what_to_install(monkeypatch):
    for name in ("pycuda", "pycuda.driver", "cuda", "cuda.bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendError, match="pip install 'cuda-bindings"):
        open_device()


def test_pycuda_goes_first_where_it_is_installed(monkeypatch):
    driver = make_pycuda(FakeCuda())
    package = type(sys)("pycuda")
    package.driver = driver
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    assert isinstance(open_device(), _PycudaDevice)


def test_a_gpu_that_the_library_does_not_serve_is_told_before_an_engine_is_asked_for(
    bundle, monkeypatch
):
    device = open_fake_device("cuda-bindings", FakeCuda())
    device.gpu, device.compute_capability = "NVIDIA H200", "9.0"
    with pytest.raises(BackendError) as caught:
        TensorRtBackend(bundle, device=device, trt=make_rtx())
    said = str(caught.value)
    assert "7.5, 8.9, 12.0, and NVIDIA H200 has 9.0" in said
    assert "engine build" not in said and "onnxruntime" in said
    monkeypatch.setattr(choice, "check_driver", lambda: None)
    monkeypatch.setattr(choice, "import_tensorrt", make_rtx)
    device = open_fake_device("cuda-bindings", FakeCuda())
    device.compute_capability = "9.0"
    monkeypatch.setattr(choice, "open_device", lambda: device)
    assert "has 9.0" in choice.available_backends()["tensorrt"]


@pytest.mark.parametrize("capability", ["7.5", "8.6", "8.9", "12.0", "9.0", "10.0", "5.3"])
def test_the_real_library_tells_which_gpus_it_serves(capability):
    trt = pytest.importorskip("tensorrt_rtx")
    target = Target("A GPU", capability, 100, "tensorrt_rtx", trt.__version__)
    if capability in ("9.0", "10.0", "5.3"):
        with pytest.raises(BackendError, match=f"A GPU has {capability}"):
            check_served(trt, target)
    else:
        check_served(trt, target)
    check_served(trt, dataclasses.replace(target, library="tensorrt"))
    check_served(trt, Target(PORTABLE, "", 0, "tensorrt_rtx", trt.__version__))


def test_both_bindings_have_all_of_the_interface():
    """Every method and attribute of `Device`, with the same parameters."""
    import inspect

    names = [name for name in vars(cuda.Device) if not name.startswith("_")]
    assert len(names) >= 11
    opened = [open_fake_device(binding, FakeCuda()) for binding in ("cuda-bindings", "pycuda")]
    for device in opened:
        for name in names:
            wanted = list(inspect.signature(getattr(cuda.Device, name)).parameters)
            found = list(inspect.signature(getattr(type(device), name)).parameters)
            assert found == wanted, (type(device), name)
        for name in cuda.Device.__annotations__:
            assert hasattr(device, name), (type(device), name)
    for name in ("gpu", "compute_capability", "multiprocessors"):
        assert len({getattr(device, name) for device in opened}) == 1


@pytest.mark.parametrize("binding", ["cuda-bindings", "pycuda"])
def test_both_bindings_move_memory_alike(binding):
    cuda = FakeCuda()
    device = open_fake_device(binding, cuda)
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    with device.active():
        address = device.allocate(values.nbytes)
        source, target = device.pin((2, 3)), device.pin((2, 3))
        assert not source.any() and source.dtype == np.float32
        source[...] = values
        device.upload(address, source)
        device.download(target, address)
        assert not target.any()  # queued, not done
        device.synchronize()
        np.testing.assert_array_equal(target, values)
        device.clear(address, values.nbytes)
        device.download(target, address)
        device.synchronize()
        assert not target.any()
        assert device.used_bytes() == 1 << 30
        device.free(address)
        for array in (source, target):
            device.unpin(array)
    device.close()
    assert cuda.blocks == {}
