"""Runs TensorRT engines; the state never leaves the GPU. `engine` builds them.

Written once against the Python API that `tensorrt` (10.3 to 11) and `tensorrt_rtx` share. CUDA is
behind `cuda`, engine files behind `engine_files`.
"""

from __future__ import annotations

import importlib
import logging
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.errors import BackendError
from dualtalker.model import Bundle, list_tensors
from dualtalker.model.backends.cuda import Device, DeviceState, Graph, Slot, open_device
from dualtalker.model.backends.engine_files import (
    EngineRecord,
    Target,
    check_engine,
    find_engine,
    rebuild_command,
)

log = logging.getLogger("dualtalker")


def import_tensorrt() -> Any:
    """Return the module `tensorrt`, or `tensorrt_rtx` where only that is installed.

    Raises:
        BackendError: neither can be imported.
    """
    errors = []
    for name in ("tensorrt", "tensorrt_rtx"):
        try:
            return importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:  # stubs and missing .so files
            errors.append(f"{name}: {error}")
    raise BackendError(
        f"TensorRT cannot be imported ({'; '.join(errors)}). On a Jetson it comes with JetPack: "
        "sudo apt install python3-libnvinfer, and a virtual environment made with "
        "--system-site-packages (docs/jetson.md)"
    )


def library_name(trt: Any) -> str:
    """Return "tensorrt" or "tensorrt_rtx"."""
    return str(trt.__name__.split(".")[0])


def make_logger(trt: Any, keep: list[str], level: str = "INFO") -> Any:
    """Return a logger for TensorRT that appends `SEVERITY message` lines to `keep`.

    `level` is the least severe that is kept: VERBOSE, INFO, WARNING or ERROR.
    """
    order = ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"]
    wanted = order[: order.index(level) + 1]

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity.name in wanted:
                keep.append(f"{severity.name} {message}")

    return Logger()


def say_errors(lines: list[str]) -> str:
    """Return the last errors among a logger's lines, for a message of ours."""
    errors = [line for line in lines if line.startswith(("ERROR", "INTERNAL_ERROR"))]
    return "; ".join(errors[-3:]) or "it gave no reason"


def describe_target(trt: Any, device: Device) -> Target:
    """Return what engines for this machine are tied to."""
    return Target(
        device.gpu,
        device.compute_capability,
        device.multiprocessors,
        library_name(trt),
        str(trt.__version__),
    )


def check_served(trt: Any, target: Target) -> None:
    """Check that a library runs on the GPU of `target`, where it tells: TensorRT-RTX does.

    Raises:
        BackendError: it does not, so that building engines is in vain.
    """
    known = getattr(trt, "ComputeCapability", None)
    if known is None or target.library != "tensorrt_rtx":
        return
    served = [f"{name[2:-1]}.{name[-1]}" for name in known.__members__ if name[:2] == "SM"]
    if target.compute_capability not in ("", *served):
        raise BackendError(
            f"TensorRT-RTX {target.version} runs on GPUs of compute capability "
            f"{', '.join(served)}, and {target.gpu} has {target.compute_capability}: no engine of "
            "it will run here. Use onnxruntime, or install TensorRT itself: "
            "python -m pip install tensorrt"
        )


class TensorRtBackend:
    """One engine and one execution context. Safe to call from any thread, one at a time.

    Each state has its own buffers and two recorded CUDA graphs, one for each direction in which
    its two sets of state tensors are read and written, so that a step is: copy the hop in, start
    one graph, wait, copy the motion out.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        engine: Path | None = None,
        device: Device | None = None,
        trt: Any = None,
        cuda_graph: bool = True,
    ) -> None:
        """Find the engine of this bundle for this machine, load it, and run a step on silence.

        Args:
            bundle: the model.
            engine: its engine file; None looks beside the bundle and in `engine_folder()`.
            device, trt: stand-ins for the GPU and the module, for tests.
            cuda_graph: record steps as CUDA graphs where the binding can.

        Raises:
            BackendError: TensorRT, a GPU or a fitting engine is missing; says what mends it.
        """
        self._bundle, self._sidecar = bundle, bundle.sidecar
        self._default_style = np.array([bundle.sidecar.default_style], np.float32)
        self._lock = threading.RLock()
        self._closed = self._ran = False
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._record_graphs = cuda_graph
        self._slots: list[Slot] = []
        self._free_slots: list[Slot] = []
        self._log_lines: list[str] = []
        trt = import_tensorrt() if trt is None else trt
        self.device = open_device() if device is None else device
        target = describe_target(trt, self.device)
        try:
            check_served(trt, target)
            self.path, record = self._choose(target, engine)
            with self.device.active():
                self._load(trt)
                self._check_tensors(trt)
            self._probe()
        except BaseException:
            self.close()
            raise
        how = "CUDA graph" if self._record_graphs else "no CUDA graph"
        self.name = (
            f"{target.library} {target.version} {record.precision} on {target.gpu} "
            f"({self.device.binding}, {how})"
        )

    def new_state(self) -> DeviceState:
        """Return the state before any audio, in memory of its own on the GPU."""
        with self._lock, self.device.active():
            self._check_open()
            if self._free_slots:
                slot = self._free_slots.pop()
            else:
                slot = Slot(self.device, self._sidecar)
                self._slots.append(slot)
            self.device.clear(slot.base, slot.size)
            slot.style_is_there = False
        state = DeviceState(slot)
        # Whoever drops a state gives its memory to the next one; append is safe in any thread.
        weakref.finalize(state, self._free_slots.append, slot)
        return state

    def step(
        self, audio: np.ndarray, state: DeviceState, style: np.ndarray | None = None
    ) -> tuple[np.ndarray, DeviceState]:
        """Run `audio` [1, input_samples] float32; return motion [1, graph_frames, channels].

        `style` [1, styles] is for engines with a style input; None is the model's default.
        `state` is changed in place and returned.
        """
        return self.step_many([audio], [state], [style])[0], state

    def step_many(
        self,
        audios: list[np.ndarray],
        states: list[DeviceState],
        styles: list[np.ndarray | None] | None = None,
    ) -> list[np.ndarray]:
        """Run one step of several streams, waiting for the GPU only once."""
        with self._lock, self.device.active():
            self._check_open()
            slots = [state.slot for state in states]
            chosen = [None] * len(slots) if styles is None else styles
            for audio, slot, style in zip(audios, slots, chosen, strict=True):
                if audio.shape != slot.audio.shape:
                    raise BackendError(
                        f"audio has shape {audio.shape}; expected {slot.audio.shape}"
                    )
                np.copyto(slot.audio, audio)
                self._set_style(slot, self._default_style if style is None else style)
                self._start(slot)
            self.device.synchronize()
            for slot in slots:
                slot.turn = 1 - slot.turn
            return [slot.motion.copy() for slot in slots]

    def close(self) -> None:
        """Free the engine and all its memory on the GPU; all states are lost."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with self.device.active():
                self.device.synchronize()
                for slot in self._slots:
                    slot.close(self.device)
                self._slots.clear()
                # In this order: each refers to the one after it.
                self._context = None
                self._engine = None
                self._runtime = None
            self.device.close()

    def _choose(self, target: Target, engine: Path | None) -> tuple[Path, EngineRecord]:
        if engine is None:
            return find_engine(self._bundle, target)
        try:
            return engine, check_engine(engine, self._bundle, target)
        except BackendError as error:
            raise BackendError(
                f"{engine}: {error}. Build it anew on this machine: "
                f"{rebuild_command(self._bundle)}"
            ) from error

    def _load(self, trt: Any) -> None:
        logger = make_logger(trt, self._log_lines, "WARNING")
        self._runtime = trt.Runtime(logger)
        self._engine = self._runtime.deserialize_cuda_engine(self.path.read_bytes())
        if self._engine is None:
            raise BackendError(
                f"{self.path}: TensorRT cannot load this engine: {say_errors(self._log_lines)}. "
                f"Build it anew on this machine: {rebuild_command(self._bundle)}"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise BackendError(
                f"{self.path}: no execution context: {say_errors(self._log_lines)}. Is the GPU's "
                "memory full? See nvidia-smi or tegrastats"
            )

    def _check_tensors(self, trt: Any) -> None:
        """The engine's tensors are those of the sidecar, and all float32."""
        sidecar, engine = self._sidecar, self._engine
        inputs, outputs = list_tensors(sidecar, self._bundle.onnx_path.with_suffix(".json"))
        wanted = {name: shape for name, (_, shape) in (inputs | outputs).items()}
        found = {}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            is_float = engine.get_tensor_dtype(name) == trt.float32
            found[name] = tuple(engine.get_tensor_shape(name)) if is_float else None
        if found != wanted:
            odd = sorted(n for n in found | wanted if found.get(n) != wanted.get(n))
            raise BackendError(
                f"{self.path}: tensors {odd} are not float32 of the sidecar's shapes; build it "
                f"anew: {rebuild_command(self._bundle)}"
            )

    def _probe(self) -> None:
        """Run silence a few times: loads kernels, shows whether graphs can be recorded."""
        state = self.new_state()
        silence = np.zeros((1, self._sidecar.input_samples), np.float32)
        for _ in range(4):
            motion, state = self.step(silence, state)
            if not np.isfinite(motion).all():
                raise BackendError(
                    f"{self.path}: one step on silence gives non-finite numbers; build it with "
                    f"more precision: {rebuild_command(self._bundle, precision='fp32')}"
                )

    def _set_style(self, slot: Slot, style: np.ndarray) -> None:
        """Queue the style's upload where it changed: before the step, outside of its graph."""
        if slot.style is None:
            return
        if style.shape != slot.style.shape:
            raise BackendError(f"style has shape {style.shape}; expected {slot.style.shape}")
        if slot.style_is_there and np.array_equal(slot.style, style):
            return
        slot.style_is_there = False
        np.copyto(slot.style, style)
        self.device.upload(slot.style_address, slot.style)
        slot.style_is_there = True

    def _start(self, slot: Slot) -> None:
        """Queue one step."""
        graph = slot.graphs[slot.turn]
        if graph is not None:
            graph.launch()
            return
        # TensorRT asks for one plain run before recording; the probe's first step is that.
        if self._record_graphs and self._ran:
            graph = self._try_record(slot)
            if graph is not None:
                slot.graphs[slot.turn] = graph
                graph.launch()
                return
        self._queue(slot)
        self._ran = True

    def _try_record(self, slot: Slot) -> Graph | None:
        try:
            graph = self.device.record(lambda: self._queue(slot))
        except BackendError as error:
            log.warning("steps run without a CUDA graph, a little slower: %s", error)
            graph = None
        self._record_graphs = graph is not None
        return graph

    def _queue(self, slot: Slot) -> None:
        context, sidecar = self._context, self._sidecar
        read, written = slot.states[slot.turn], slot.states[1 - slot.turn]
        context.set_tensor_address(sidecar.audio_input, slot.audio_address)
        context.set_tensor_address(sidecar.motion_output, slot.motion_address)
        if sidecar.style_input:
            context.set_tensor_address(sidecar.style_input, slot.style_address)
        for state, source, target in zip(sidecar.states, read, written, strict=True):
            context.set_tensor_address(state.input, source)
            context.set_tensor_address(state.output, target)
        self.device.upload(slot.audio_address, slot.audio)
        if not context.execute_async_v3(self.device.stream):
            raise BackendError(f"{self.path}: a step failed: {say_errors(self._log_lines)}")
        self.device.download(slot.motion, slot.motion_address)

    def _check_open(self) -> None:
        if self._closed:
            raise BackendError("this backend was closed; open the bundle again")
