"""All of CUDA that the TensorRT runner needs, through pycuda or cuda-bindings: memory and streams.

Memory is named by its address, an int, because that is what TensorRT takes. Tests drive the runner
with an object of the same interface that allocates ordinary memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from dualtalker.errors import BackendError
from dualtalker.model import Sidecar

ALIGNMENT = 256  # bytes, of every tensor on the GPU: what cudaMalloc itself gives

INSTALL = (
    "install NVIDIA's bindings: python -m pip install 'cuda-bindings==12.9.*' (CUDA 12, JetPack "
    "6) or 'cuda-bindings==13.0.*' (CUDA 13, JetPack 7)"
)
# What to do about the driver's errors, by a part of their names.
_MENDS = {
    "INSUFFICIENTDRIVER": "install or update NVIDIA's driver, or take bindings of an older CUDA",
    "NODEVICE": "no NVIDIA GPU is visible: check nvidia-smi, CUDA_VISIBLE_DEVICES, and --gpus of "
    "a container (--runtime nvidia on a Jetson)",
    "NO_DEVICE": "no NVIDIA GPU is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES",
    "MEMORYALLOCATION": "the GPU's memory is full: see nvidia-smi or tegrastats for who holds it",
    "OUT OF MEMORY": "the GPU's memory is full: see nvidia-smi or tegrastats for who holds it",
    "ILLEGALADDRESS": "the CUDA context is broken: restart the process; if it comes again, build "
    "the engine anew",
    "NOKERNELIMAGE": "the engine is for another GPU: build it on this one",
}


class Graph(Protocol):
    """Work on the stream that was recorded once and starts as one."""

    def launch(self) -> None:
        """Start it on the device's stream."""

    def close(self) -> None:
        """Free it."""


class Device(Protocol):
    """One GPU with one stream; all work on it is in order."""

    binding: str  # which library, with its version
    gpu: str  # the driver's name of the GPU
    compute_capability: str
    multiprocessors: int
    stream: int  # handle, for TensorRT

    def active(self) -> AbstractContextManager[object]:
        """Make the GPU the calling thread's; all other methods need it."""

    def allocate(self, size: int) -> int:
        """Return the address of `size` bytes on the GPU, to be given back with `free`."""

    def free(self, address: int) -> None:
        """Give memory of `allocate` back."""

    def pin(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return a float32 array in page-locked memory of the host, which copies need."""

    def unpin(self, array: np.ndarray) -> None:
        """Give memory of `pin` back; the array must not be touched afterwards."""

    def clear(self, address: int, size: int) -> None:
        """Queue filling with zeros."""

    def upload(self, address: int, array: np.ndarray) -> None:
        """Queue a copy to the GPU."""

    def download(self, array: np.ndarray, address: int) -> None:
        """Queue a copy from the GPU."""

    def synchronize(self) -> None:
        """Wait until all that was queued is done."""

    def record(self, work: Callable[[], None]) -> Graph | None:
        """Record what `work` queues, without running it; None: this binding cannot."""
        return None

    def used_bytes(self) -> int:
        """Memory of the GPU in use, by all processes."""

    def close(self) -> None:
        """Free the stream."""


def check_driver() -> None:
    """Look for NVIDIA's driver by its library alone: TensorRT and CUDA take long to import.

    Raises:
        BackendError: it is not here; says what mends it.
    """
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError as error:
        raise BackendError(
            f"CUDA: no NVIDIA driver is here ({error}). Install it, or give a container the GPU "
            "with --gpus all (--runtime nvidia on a Jetson)"
        ) from error


def open_device() -> Device:
    """Open the first GPU through pycuda where it is installed, else through cuda-bindings.

    Raises:
        BackendError: neither is installed, or the driver refuses; says what mends it.
    """
    try:
        return open_pycuda()
    except ImportError:
        pass
    try:
        return open_cuda_bindings()
    except ImportError as error:
        raise BackendError(
            f"neither pycuda nor cuda-bindings can be imported ({error}); {INSTALL}"
        ) from error


def open_pycuda() -> Device:
    """Open the first GPU; ImportError without pycuda, BackendError where the driver refuses."""
    import pycuda.driver as pycuda_driver

    return _PycudaDevice(pycuda_driver)


def open_cuda_bindings() -> Device:
    """Open the first GPU; ImportError without cuda-bindings, BackendError of the driver."""
    from cuda.bindings import runtime

    return _CudaBindingsDevice(runtime)


class _CudaBindingsDevice(Device):
    """A GPU through `cuda.bindings.runtime`."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.binding = f"cuda-bindings {_version('cuda-bindings')}"
        self._call("cudaSetDevice", 0)
        properties = self._call("cudaGetDeviceProperties", 0)
        name = properties.name
        self.gpu = (name.decode() if isinstance(name, bytes) else str(name)).strip("\0 ")
        self.compute_capability = f"{properties.major}.{properties.minor}"
        self.multiprocessors = int(properties.multiProcessorCount)
        self._stream = self._call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking)
        self.stream = int(self._stream)

    @contextlib.contextmanager
    def active(self):
        self._call("cudaSetDevice", 0)
        yield

    def allocate(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def free(self, address: int) -> None:
        self._call("cudaFree", address)

    def pin(self, shape: tuple[int, ...]) -> np.ndarray:
        count = int(np.prod(shape))
        address = int(self._call("cudaHostAlloc", 4 * count, 0))
        flat = (ctypes.c_float * count).from_address(address)
        array: np.ndarray = np.ctypeslib.as_array(flat).reshape(shape)
        array[...] = 0.0
        return array

    def unpin(self, array: np.ndarray) -> None:
        self._call("cudaFreeHost", array.ctypes.data)

    def clear(self, address: int, size: int) -> None:
        self._call("cudaMemsetAsync", address, 0, size, self._stream)

    def upload(self, address: int, array: np.ndarray) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        source = array.ctypes.data
        self._call("cudaMemcpyAsync", address, source, array.nbytes, kind, self._stream)

    def download(self, array: np.ndarray, address: int) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        target = array.ctypes.data
        self._call("cudaMemcpyAsync", target, address, array.nbytes, kind, self._stream)

    def synchronize(self) -> None:
        self._call("cudaStreamSynchronize", self._stream)

    def record(self, work: Callable[[], None]) -> Graph:
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)
        try:
            work()
        finally:
            captured = self._call("cudaStreamEndCapture", self._stream)
        try:
            executable = self._call("cudaGraphInstantiate", captured, 0)
        finally:
            self._call("cudaGraphDestroy", captured)
        return _CudaBindingsGraph(self._call, executable, self._stream)

    def used_bytes(self) -> int:
        free, total = self._call("cudaMemGetInfo")
        return int(total) - int(free)

    def close(self) -> None:
        self._call("cudaStreamDestroy", self._stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the runtime: `(error, value...)`; raise its errors as ours."""
        error, *values = getattr(self._runtime, name)(*arguments)
        if int(error) != 0:
            kind = getattr(error, "name", str(error))
            _, text = self._runtime.cudaGetErrorString(error)
            text = text.decode() if isinstance(text, bytes) else str(text)
            raise _driver_error(name, kind, text)
        return values[0] if len(values) == 1 else tuple(values)


class _CudaBindingsGraph:
    def __init__(self, call: Callable[..., Any], executable: Any, stream: Any) -> None:
        self._call, self._executable, self._stream = call, executable, stream

    def launch(self) -> None:
        self._call("cudaGraphLaunch", self._executable, self._stream)

    def close(self) -> None:
        self._call("cudaGraphExecDestroy", self._executable)


class _PycudaDevice(Device):
    """A GPU through `pycuda.driver`, which offers no graph capture."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self.binding = f"pycuda {_version('pycuda')}"
        with self._errors("open the GPU"):
            driver.init()
            device = driver.Device(0)
            self.gpu = device.name()
            self.compute_capability = ".".join(str(n) for n in device.compute_capability())
            attribute = driver.device_attribute.MULTIPROCESSOR_COUNT
            self.multiprocessors = int(device.get_attribute(attribute))
            # The primary context, which TensorRT's own CUDA calls use too.
            self._context = device.retain_primary_context()
        self._memory: dict[int, Any] = {}
        with self.active(), self._errors("create a stream"):
            self._stream = driver.Stream()
        self.stream = int(self._stream.handle)

    @contextlib.contextmanager
    def active(self):
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def allocate(self, size: int) -> int:
        with self._errors("allocate memory"):
            memory = self._driver.mem_alloc(size)
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        with self._errors("free memory"):
            self._memory.pop(address).free()

    def pin(self, shape: tuple[int, ...]) -> np.ndarray:
        with self._errors("allocate page-locked memory"):
            array = self._driver.pagelocked_empty(shape, np.float32)
        array[...] = 0.0
        return array

    def unpin(self, array: np.ndarray) -> None:
        with self._errors("free page-locked memory"):
            memory: Any = array.base  # pycuda's allocation
            memory.free()

    def clear(self, address: int, size: int) -> None:
        with self._errors("clear memory"):
            self._driver.memset_d8_async(address, 0, size, self._stream)

    def upload(self, address: int, array: np.ndarray) -> None:
        with self._errors("copy to the GPU"):
            self._driver.memcpy_htod_async(address, array, self._stream)

    def download(self, array: np.ndarray, address: int) -> None:
        with self._errors("copy from the GPU"):
            self._driver.memcpy_dtoh_async(array, address, self._stream)

    def synchronize(self) -> None:
        with self._errors("run the engine"):
            self._stream.synchronize()

    def used_bytes(self) -> int:
        free, total = self._driver.mem_get_info()
        return int(total) - int(free)

    def close(self) -> None:
        self._context.detach()

    @contextlib.contextmanager
    def _errors(self, doing: str):
        try:
            yield
        except self._driver.Error as error:
            raise _driver_error(doing, type(error).__name__, str(error)) from error


def _driver_error(doing: str, kind: str, text: str) -> BackendError:
    haystack = f"{kind} {text}".upper().replace("CUDA_ERROR_", "")
    mend = next((mend for part, mend in _MENDS.items() if part in haystack), None)
    return BackendError(f"CUDA: {doing}: {text} ({kind})" + (f"; {mend}" if mend else ""))


def _version(package: str) -> str:
    from importlib import metadata  # loads the whole of `email`

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # built from source without metadata
        return "of unknown version"


class Slot:
    """Memory of one stream of audio: pinned ends, two sets of state tensors, recorded graphs."""

    def __init__(self, device: Device, sidecar: Sidecar) -> None:
        """Allocate what the graph of a sidecar needs; raises BackendError where none is left."""
        channels = len(sidecar.output_names)
        self.audio = device.pin((1, sidecar.input_samples))
        self.motion = device.pin((1, sidecar.graph_frames, channels))
        styles = len(sidecar.style_names)
        self.style = device.pin((1, styles)) if styles else None
        self.style_is_there = False  # on the GPU
        sizes = [self.audio.nbytes, self.motion.nbytes, 4 * styles]
        sizes += 2 * [4 * int(np.prod(state.shape)) for state in sidecar.states]
        padded = [-(-size // ALIGNMENT) * ALIGNMENT for size in sizes]
        self.size = sum(padded)
        self.base = device.allocate(self.size)
        offsets = np.concatenate([[0], np.cumsum(padded)[:-1]])
        addresses = [self.base + int(offset) for offset in offsets]
        self.audio_address, self.motion_address, self.style_address = addresses[:3]
        half = 3 + len(sidecar.states)
        self.states = (addresses[3:half], addresses[half:])
        self.turn = 0  # which of `states` is read; the other is written
        self.graphs: list[Graph | None] = [None, None]

    def close(self, device: Device) -> None:
        """Give the memory back to the device that it is of."""
        for graph in self.graphs:
            if graph is not None:
                graph.close()
        self.graphs = [None, None]
        device.free(self.base)
        for array in (self.audio, self.motion, self.style):
            if array is not None:
                device.unpin(array)


class DeviceState:
    """The state of one stream of audio, on the GPU. A step changes it in place."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
