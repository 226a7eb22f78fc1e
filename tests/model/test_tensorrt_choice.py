"""Which engine is found and taken, on stand-ins for the GPU; what is said where none fits."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import json
import shutil
import sys
import weakref

import numpy as np
import pytest

from checkout import ROOT
from dualtalker import Talker
from dualtalker.errors import BackendError, BundleError
from dualtalker.model import load_bundle
from dualtalker.model.backends import (
    Target,
    available_backends,
    choice,
    engine_folder,
    open_backend,
)
from dualtalker.model.backends import tensorrt as runner
from dualtalker.model.backends.cuda import _CudaBindingsDevice
from dualtalker.model.backends.engine_files import find_engine
from dualtalker.model.backends.tensorrt import TensorRtBackend
from fake_cuda import FakeCuda, make_runtime, make_tensorrt
from fake_engines import HERE, noise, put_engine


@pytest.fixture
def bundle(tiny):
    return load_bundle(tiny)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALTALKER_ENGINES", str(tmp_path / "engines"))
    return tmp_path / "engines"


MISFITS = {
    "another GPU": ({"target": dataclasses.replace(HERE, gpu="Orin")}, "gpu Orin"),
    "another module": ({"target": dataclasses.replace(HERE, multiprocessors=8)}, "multiproc"),
    "another TensorRT": ({"target": dataclasses.replace(HERE, version="8.6.1")}, "version 8.6.1"),
    "another library": ({"target": dataclasses.replace(HERE, library="tensorrt_rtx")}, "library"),
    "another model": ({"onnx_sha256": "0" * 64}, "another version of the model"),
    "damaged": ({"engine_sha256": "0" * 64}, "digest"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_an_engine_that_does_not_fit_prints_the_rebuild_command(name, bundle, folder):
    changes, why = MISFITS[name]
    put_engine(folder, bundle, **changes)
    with pytest.raises(BackendError) as caught:
        find_engine(bundle, HERE)
    assert why in str(caught.value)
    assert f"dualtalker engine build {bundle.onnx_path} --rebuild" in str(caught.value)


def test_no_engine_yet(bundle):
    with pytest.raises(BackendError, match="none was built yet"):
        find_engine(bundle, HERE)


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"engine": 3}', '{"engine": {}}'])
def test_a_sidecar_that_is_missing_or_foreign_is_no_engine(content, bundle, folder):
    path = put_engine(folder, bundle)
    if content is None:
        path.with_suffix(".json").unlink()
    else:
        path.with_suffix(".json").write_text(content)
    with pytest.raises(BackendError, match="--rebuild"):
        find_engine(bundle, HERE)


def test_fp16_is_preferred_and_portable_engines_fit(bundle, folder):
    portable = Target("any", "", 0, "tensorrt", "10.3.0")
    first = put_engine(folder, bundle, portable, "fp32")
    assert find_engine(bundle, HERE)[0] == first
    second = put_engine(folder, bundle, HERE, "fp16")
    assert find_engine(bundle, HERE)[0] == second
    assert "fake-gpu-16sm-trt10.3.0-fp16" in second.name
    record = json.loads(second.with_suffix(".json").read_text())
    assert record["hop_samples"] == 320 and record["engine"]["precision"] == "fp16"


def test_the_engine_folder(monkeypatch, tmp_path):
    assert engine_folder() == tmp_path / "engines"
    monkeypatch.delenv("DUALTALKER_ENGINES")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert engine_folder() == tmp_path / "dualtalker" / "engines"


def test_a_user_without_a_home_is_told_of_the_engine_folder(monkeypatch):
    def find_nobody(number):
        raise KeyError(number)

    for name in ("DUALTALKER_ENGINES", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", find_nobody)
    with pytest.raises(BackendError, match="set DUALTALKER_ENGINES to a folder"):
        engine_folder()


def test_an_engine_that_does_not_load_prints_tensorrts_reason(bundle, folder):
    cuda = FakeCuda()
    put_engine(folder, bundle, engine=b"scrap")
    device = _CudaBindingsDevice(make_runtime(cuda))
    with pytest.raises(BackendError, match=r"Magic tag does not match.*--rebuild"):
        TensorRtBackend(bundle, device=device, trt=make_tensorrt(cuda, bundle.onnx_path))


@pytest.fixture
def installed(monkeypatch, bundle, folder):
    """TensorRT and a GPU are here, as far as the choice of engines can see."""
    cuda = FakeCuda()
    monkeypatch.setattr(choice, "check_driver", lambda: None)
    monkeypatch.setattr(runner, "import_tensorrt", lambda: make_tensorrt(cuda, bundle.onnx_path))
    monkeypatch.setattr(runner, "open_device", lambda: _CudaBindingsDevice(make_runtime(cuda)))
    return cuda


def test_asking_for_tensorrt_never_falls_back(installed, bundle, folder):
    with pytest.raises(BackendError, match=r"'tensorrt' cannot run: no TensorRT engine"):
        open_backend(bundle, "tensorrt")
    put_engine(folder, bundle)
    assert open_backend(bundle, "tensorrt").name.startswith("tensorrt 10.3.0 fp16 on Fake GPU")


def test_auto_takes_what_loads_and_says_why_not_the_other(installed, bundle, folder, caplog):
    with caplog.at_level("INFO", logger="dualtalker"):
        assert open_backend(bundle).name.startswith("onnxruntime")
    assert "not tensorrt: no TensorRT engine" in caplog.text


@pytest.mark.parametrize("slow", ["onnxruntime", "tensorrt"])
def test_auto_takes_the_fastest(slow, installed, bundle, folder, caplog, monkeypatch):
    put_engine(folder, bundle)
    monkeypatch.setattr(
        choice, "time_step", lambda backend, _hop: 2e-3 if slow in backend.name else 1e-3
    )
    with caplog.at_level("INFO", logger="dualtalker"):
        name = open_backend(bundle).name
    assert slow not in name.split()[0]
    assert f"auto: not {slow}" in caplog.text and "2.00 ms" in caplog.text


def test_the_talker_speaks_alike_through_both(installed, bundle, folder):
    put_engine(folder, bundle)
    audio = noise(60).reshape(-1)
    faces = []
    for engine in ("onnxruntime", "tensorrt"):
        talker = Talker(bundle, engine=engine)
        talker.push(audio, 16000)
        faces.append(np.stack([frame.weights for frame in talker.flush()]))
        talker.reset()
        talker.close()
    np.testing.assert_array_equal(faces[0], faces[1])
    assert installed.blocks == {}


@pytest.fixture
def no_onnxruntime(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


def test_tensorrt_needs_no_onnxruntime(installed, tiny, bundle, folder, no_onnxruntime):
    put_engine(folder, bundle)
    for engine in ("tensorrt", "auto"):
        talker = Talker(tiny, engine=engine)
        assert talker.backend_name.startswith("tensorrt 10.3.0")
        talker.push(noise(10).reshape(-1), 16000)
        assert len(talker.flush()) == 6
        talker.close()
    with pytest.raises(BackendError, match=r"onnxruntime.*pip install onnxruntime"):
        open_backend(load_bundle(tiny), "onnxruntime")


def test_without_onnxruntime_an_engine_must_be_what_the_sidecar_says(
    installed, tiny, folder, tmp_path, no_onnxruntime
):
    for suffix in (".onnx", ".json"):
        shutil.copy(tiny.with_suffix(suffix), tmp_path)
    sidecar = tmp_path / "tiny.json"
    record = json.loads(sidecar.read_text())
    record["states"][0]["shape"] = [1, 1601]
    sidecar.write_text(json.dumps(record))
    put_engine(folder, load_bundle(sidecar))
    with pytest.raises(BackendError, match=r"tensors \['tail', 'tail_next'\] are not float32 of"):
        open_backend(load_bundle(sidecar), "tensorrt")
    record["lookahead_samples"] = 0
    sidecar.write_text(json.dumps(record))
    with pytest.raises(BundleError, match=r"lookahead_samples: found 0.*was written with"):
        load_bundle(sidecar)


def test_beside_an_engine_no_session_is_kept(installed, bundle, folder):
    put_engine(folder, bundle)
    session = weakref.ref(bundle.session)
    open_backend(bundle, "tensorrt")
    gc.collect()
    assert session() is None


def test_availability_has_a_reason():
    reason = available_backends()["tensorrt"]
    assert reason is None or "TensorRT" in reason or "CUDA" in reason or "cuda" in reason


def test_without_a_driver_neither_tensorrt_nor_cuda_is_imported(bundle, monkeypatch, caplog):
    """They take longer to import than all else of a node's start."""

    def find_nothing(name):
        raise OSError(f"{name}: cannot open shared object file")

    def refuse():
        pytest.fail("imported in vain")

    monkeypatch.setattr(ctypes, "CDLL", find_nothing)
    for module in (choice, runner):
        monkeypatch.setattr(module, "import_tensorrt", refuse)
        monkeypatch.setattr(module, "open_device", refuse)
    with caplog.at_level("INFO", logger="dualtalker"):
        assert open_backend(bundle).name.startswith("onnxruntime")
    assert "not tensorrt: CUDA: no NVIDIA driver is here" in caplog.text
    assert "no NVIDIA driver" in available_backends()["tensorrt"]
    with pytest.raises(BackendError, match=r"no NVIDIA driver is here.*--gpus all"):
        open_backend(bundle, "tensorrt")


def test_where_a_driver_is_tensorrt_is_asked_next(bundle, monkeypatch, caplog):
    def refuse():
        raise BackendError("TensorRT cannot be imported")

    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    monkeypatch.setattr(runner, "import_tensorrt", refuse)
    with caplog.at_level("INFO", logger="dualtalker"):
        open_backend(bundle)
    assert "not tensorrt: TensorRT cannot be imported" in caplog.text


def test_tensorrt_and_cuda_load_only_where_they_are_used():
    import subprocess

    code = (
        "import sys, dualtalker; from dualtalker.model.backends import open_backend\n"
        "bad = {'tensorrt', 'tensorrt_rtx', 'pycuda', 'cuda', 'torch', 'onnx'}\n"
        "assert not bad & set(sys.modules), bad & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
