"""Engines, devices and audio for tests of the TensorRT runner; the GPU is `fake_cuda`."""

from __future__ import annotations

import dataclasses

import numpy as np

from dualtalker.files import sha256
from dualtalker.model.backends import EngineRecord, Target, engine_path, write_engine
from dualtalker.model.backends.cuda import _CudaBindingsDevice, _PycudaDevice
from fake_cuda import FakeCuda, make_pycuda, make_runtime

HERE = Target("Fake GPU", "8.7", 16, "tensorrt", "10.3.0")


def put_engine(folder, bundle, target=HERE, precision="fp16", engine=b"engine", **changes):
    record = EngineRecord(target, precision, bundle.digest, sha256(engine), sha256(b""))
    record = dataclasses.replace(record, **changes)
    path = engine_path(folder, bundle, target, precision)
    write_engine(path, bundle, engine, "", record)
    return path


def open_fake_device(binding: str, cuda: FakeCuda):
    if binding == "pycuda":
        return _PycudaDevice(make_pycuda(cuda))
    return _CudaBindingsDevice(make_runtime(cuda))


def noise(steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, 1, 320)).astype(np.float32)
