"""Stand-ins for CUDA, its two Python bindings and TensorRT, on the host's memory. No tests here.

They are strict where the real ones are: work is queued and runs on synchronize, addresses must be
allocated, nothing is freed twice or used after. The "engine" runs the bundle in onnxruntime on
the very addresses that the runner sets.
"""

from __future__ import annotations

import ctypes
import enum
import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime  # here: tests take it away from the runtime


class FakeCuda:
    """One GPU whose memory is the host's; counts what is allocated."""

    def __init__(self) -> None:
        self.blocks: dict[int, Any] = {}
        self.queue: list = []
        self.capturing: list | None = None
        self.synchronized = self.launched = 0
        self.fail: str | None = None  # name of a call that fails from now on

    def allocate(self, size: int) -> int:
        block = (ctypes.c_char * size)()
        ctypes.memset(block, 0xFF, size)  # NaN: memory is not cleared for us
        self.blocks[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def free(self, address: int) -> None:
        del self.blocks[int(address)]

    def check(self, address: int, size: int) -> None:
        for start, block in self.blocks.items():
            if start <= address and address + size <= start + len(block):
                return
        raise AssertionError(f"{size} bytes at {address:#x} are not allocated")

    def enqueue(self, work) -> None:
        (self.queue if self.capturing is None else self.capturing).append(work)

    def copy(self, target: int, source: int, size: int) -> None:
        def work() -> None:
            self.check(target, size)
            self.check(source, size)
            ctypes.memmove(target, source, size)

        self.enqueue(work)

    def clear(self, address: int, size: int) -> None:
        def work() -> None:
            self.check(address, size)
            ctypes.memset(address, 0, size)

        self.enqueue(work)

    def synchronize(self) -> None:
        assert self.capturing is None
        self.synchronized += 1
        queue, self.queue = self.queue, []
        for work in queue:
            work()

    def array(self, address: int, shape: tuple[int, ...]) -> np.ndarray:
        size = int(np.prod(shape))
        self.check(address, 4 * size)
        return np.ctypeslib.as_array((ctypes.c_float * size).from_address(address)).reshape(shape)


class _Error(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorStreamCaptureUnsupported = 900


def make_runtime(cuda: FakeCuda, checker: Any = None) -> Any:
    """Return a stand-in for `cuda.bindings.runtime`.

    `checker` is the real module, on a machine without a driver: every call is made on it too, so
    that a wrong signature raises.
    """
    properties = SimpleNamespace(name=b"Fake GPU\0", major=8, minor=7, multiProcessorCount=16)
    graphs: dict[int, list] = {}
    handles = itertools.count(1)

    def end_capture() -> int:
        handle = next(handles)
        graphs[handle], cuda.capturing = cuda.capturing or [], None
        return handle

    def launch(executable: int, _stream: int) -> None:
        cuda.launched += 1
        cuda.queue.extend(graphs[executable])

    def instantiate(graph: int, _flags: int) -> int:
        handle = next(handles)
        graphs[handle] = graphs[graph]
        return handle

    calls = {
        "cudaSetDevice": lambda _index: None,
        "cudaGetDeviceProperties": lambda _index: properties,
        "cudaStreamCreateWithFlags": lambda _flags: 7,
        "cudaStreamDestroy": lambda _stream: None,
        "cudaStreamSynchronize": lambda _stream: cuda.synchronize(),
        "cudaMalloc": cuda.allocate,
        "cudaFree": cuda.free,
        "cudaHostAlloc": lambda size, _flags: cuda.allocate(size),
        "cudaFreeHost": cuda.free,
        "cudaMemcpyAsync": lambda to, source, size, _kind, _stream: cuda.copy(to, source, size),
        "cudaMemsetAsync": lambda address, _value, size, _stream: cuda.clear(address, size),
        "cudaMemGetInfo": lambda: (1 << 30, 1 << 31),
        "cudaStreamBeginCapture": lambda _stream, _mode: setattr(cuda, "capturing", []),
        "cudaStreamEndCapture": lambda _stream: end_capture(),
        "cudaGraphInstantiate": instantiate,
        "cudaGraphDestroy": graphs.pop,
        "cudaGraphExecDestroy": graphs.pop,
        "cudaGraphLaunch": launch,
    }

    def wrap(name: str, call):
        def called(*arguments: Any) -> tuple:
            if checker is not None:
                status = getattr(checker, name)(*arguments)[0]
                assert int(status) != 0  # there is no driver, so nothing happened
            if cuda.fail == name:
                cuda.capturing = None
                kind = "cudaErrorMemoryAllocation" if "lloc" in name else None
                return (_Error[kind or "cudaErrorStreamCaptureUnsupported"], None)
            value = call(*arguments)
            values = value if isinstance(value, tuple) else (value,)
            return (_Error.cudaSuccess, *([] if value is None else values))

        return called

    real = checker or SimpleNamespace(
        cudaMemcpyKind=SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2),
        cudaStreamCaptureMode=SimpleNamespace(cudaStreamCaptureModeThreadLocal=1),
    )
    return SimpleNamespace(
        **{name: wrap(name, call) for name, call in calls.items()},
        cudaGetErrorString=lambda error: (0, error.name.encode()),
        cudaStreamNonBlocking=1,
        cudaMemcpyKind=real.cudaMemcpyKind,
        cudaStreamCaptureMode=real.cudaStreamCaptureMode,
    )


class _Memory:
    def __init__(self, cuda: FakeCuda, size: int) -> None:
        self.cuda, self.address = cuda, cuda.allocate(size)

    def __int__(self) -> int:
        return self.address

    def free(self) -> None:
        self.cuda.free(self.address)


def make_pycuda(cuda: FakeCuda) -> Any:
    """Return a stand-in for `pycuda.driver`."""

    class Error(Exception):
        pass

    depth = []

    def push() -> None:
        depth.append(1)

    context = SimpleNamespace(push=push, pop=lambda: depth.pop(), detach=lambda: None)
    device = SimpleNamespace(
        name=lambda: "Fake GPU",
        compute_capability=lambda: (8, 7),
        get_attribute=lambda _: 16,
        retain_primary_context=lambda: context,
    )

    def current(call):
        def called(*arguments: Any) -> Any:
            assert depth, "no CUDA context is current"
            if cuda.fail == call.__name__:
                raise Error("cuMemAlloc failed: out of memory")
            return call(*arguments)

        return called

    def mem_alloc(size: int) -> _Memory:
        return _Memory(cuda, size)

    def pagelocked_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        memory = _Memory(cuda, 4 * int(np.prod(shape)))
        assert dtype is np.float32
        return _pin(memory, shape)

    def memcpy_htod_async(target: int, array: np.ndarray, _stream: Any) -> None:
        cuda.copy(target, array.ctypes.data, array.nbytes)

    def memcpy_dtoh_async(array: np.ndarray, source: int, _stream: Any) -> None:
        cuda.copy(array.ctypes.data, source, array.nbytes)

    def memset_d8_async(address: int, _value: int, size: int, _stream: Any) -> None:
        cuda.clear(address, size)

    def make_stream() -> Any:
        return SimpleNamespace(handle=7, synchronize=current(cuda.synchronize))

    return SimpleNamespace(
        Error=Error,
        init=lambda: None,
        Device=lambda _index: device,
        device_attribute=SimpleNamespace(MULTIPROCESSOR_COUNT=0),
        Stream=current(make_stream),
        mem_alloc=current(mem_alloc),
        pagelocked_empty=current(pagelocked_empty),
        memcpy_htod_async=current(memcpy_htod_async),
        memcpy_dtoh_async=current(memcpy_dtoh_async),
        memset_d8_async=current(memset_d8_async),
        mem_get_info=lambda: (1 << 30, 1 << 31),
    )


def _pin(memory: _Memory, shape: tuple[int, ...]) -> np.ndarray:
    """An array whose `.base` has `free`, as pycuda's page-locked ones do."""

    class Owner:
        __array_interface__ = {  # noqa: RUF012
            "shape": shape,
            "typestr": "<f4",
            "data": (memory.address, False),
            "version": 3,
        }
        free = staticmethod(memory.free)

    return np.asarray(Owner())


def make_tensorrt(cuda: FakeCuda, onnx_path: Any, version: str = "10.3.0") -> Any:
    """Return a stand-in for the module `tensorrt`; its engines run `onnx_path` on the CPU.

    What it "deserializes" is `b"engine"`; anything else it refuses as TensorRT does.
    """

    class Logger:
        pass

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            if plan == b"engine":
                return _Engine(cuda, onnx_path)
            self.logger.log(SimpleNamespace(name="ERROR"), "Magic tag does not match")
            return None

    return SimpleNamespace(
        __name__="tensorrt", __version__=version, ILogger=Logger, Runtime=Runtime, float32="float"
    )


def make_rtx() -> Any:
    """Return what the module `tensorrt_rtx` says of itself; it builds and runs nothing."""
    names = ("NONE", "CURRENT", "SM75", "SM89", "SM120")
    members = SimpleNamespace(__members__=dict.fromkeys(names))
    return SimpleNamespace(
        __name__="tensorrt_rtx", __version__="1.7.1.116", ComputeCapability=members
    )


class _Engine:
    def __init__(self, cuda: FakeCuda, onnx_path: Any) -> None:
        self.cuda = cuda
        self.session = onnxruntime.InferenceSession(
            str(onnx_path), providers=["CPUExecutionProvider"]
        )
        self.inputs = {item.name: tuple(item.shape) for item in self.session.get_inputs()}
        self.outputs = {item.name: tuple(item.shape) for item in self.session.get_outputs()}
        self.shapes = self.inputs | self.outputs
        self.num_io_tensors = len(self.shapes)

    def get_tensor_name(self, index: int) -> str:
        return list(self.shapes)[index]

    def get_tensor_dtype(self, _name: str) -> str:
        return "float"

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name]

    def create_execution_context(self) -> Any:
        return _Context(self)


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert name in self.engine.shapes
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 7
        engine, addresses = self.engine, dict(self.addresses)
        assert addresses.keys() == engine.shapes.keys()
        if engine.cuda.fail == "execute":
            return False

        def work() -> None:
            arrays = {n: engine.cuda.array(a, engine.shapes[n]) for n, a in addresses.items()}
            for name in engine.outputs:  # a step must never read what it writes
                assert not any(np.shares_memory(arrays[name], arrays[n]) for n in engine.inputs)
            results = engine.session.run(
                list(engine.outputs), {n: arrays[n].copy() for n in engine.inputs}
            )
            for name, result in zip(engine.outputs, results, strict=True):
                arrays[name][...] = result

        engine.cuda.enqueue(work)
        return True
