"""Chooses which products of a network are int8, by how far they move the lips on real speech."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dualtalker.backends import Backend
from dualtalker.backends.onnxruntime import OnnxRuntimeBackend
from dualtalker.backends.windowed import SlidingWindow
from dualtalker.bundle import Bundle, load_bundle
from engines.int8 import Rounded, find_products, round_weights, write_int8
from engines.parity import measure_difference, run_stream

if TYPE_CHECKING:
    import onnx

# The lips' largest error grows with the speech that is looked at: on the speech of the search it
# must stay below this share of what is accepted elsewhere.
TARGET_SHARE = 0.6

# Writes a graph as a bundle: the model and the path of its .onnx.
Writer = Callable[["onnx.ModelProto", Path], Path]


@dataclass(frozen=True)
class Choice:
    """The products of a network by what became of them; names are those of their weights."""

    computed: tuple[str, ...]  # in int8
    stored: tuple[str, ...]  # in int8, and computed in float32
    kept: tuple[str, ...]  # in float32


def search_int8(
    model: onnx.ModelProto,
    bundle: Bundle,
    speech: Sequence[np.ndarray],
    tolerance_mm: float,
    write: Writer,
) -> tuple[onnx.ModelProto, Choice]:
    """Return the model with as much int8 as moves the lips by no more than the tolerance.

    First all weights are stored in int8, and the products that matter most go back to float32
    until the error fits. Then those that matter least are computed in int8 while it still fits.

    Args:
        model: the float32 graph of `bundle`.
        bundle: for its sidecar and its motion, which is the reference.
        speech: recordings `[samples]` at the bundle's rate; the better they resemble what will be
            said, the better the rounding.
        tolerance_mm: largest difference of the lip gap; aimed at is `TARGET_SHARE` of it.
        write: makes bundles of trial graphs.
    """
    from tqdm import tqdm

    names = list(find_products(model))
    bar = tqdm(desc="choosing", unit=" trials", total=2 * len(names), leave=False, disable=None)
    with tempfile.TemporaryDirectory() as folder, bar:
        moments = measure_moments(model, bundle, speech, Path(folder), write)
        trials = _Trials(model, bundle, speech, Path(folder), write, moments, bar.update)
        target_mm = TARGET_SHARE * tolerance_mm
        by_harm = sorted(names, key=lambda name: -trials.try_out([name], []).lip_gap_p99_mm)
        kept_count = _find_least(
            len(names), lambda count: trials.fits(by_harm[count:], [], target_mm)
        )
        stored = by_harm[kept_count:]
        by_gain = sorted(
            stored, key=lambda name: trials.try_out([name], [name]).lip_gap_p99_mm, reverse=True
        )
        float_count = _find_least(
            len(stored), lambda count: trials.fits(stored, by_gain[count:], target_mm)
        )
    computed = by_gain[float_count:]
    choice = Choice(
        computed=tuple(name for name in names if name in computed),
        stored=tuple(name for name in names if name in by_gain[:float_count]),
        kept=tuple(name for name in names if name in by_harm[:kept_count]),
    )
    rounded = {name: trials.rounded[name] for name in names if name not in choice.kept}
    return write_int8(model, rounded, computed), choice


def _find_least(count: int, fits: Callable[[int], bool]) -> int:
    """Return the least of 0 to `count` that fits, taking for granted that `count` does."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return high


class _Trials:
    """Runs graphs with some products in int8 beside the float32 one."""

    def __init__(
        self,
        model: onnx.ModelProto,
        bundle: Bundle,
        speech: Sequence[np.ndarray],
        folder: Path,
        write: Writer,
        moments: dict[str, np.ndarray],
        tick: Callable[[], Any],
    ) -> None:
        from onnx import numpy_helper

        self._model, self._sidecar, self._speech = model, bundle.sidecar, speech
        self._path, self._write, self._tick = folder / "trial.onnx", write, tick
        self._reference = self._run(bundle)
        self.rounded: dict[str, Rounded] = {
            tensor.name: round_weights(numpy_helper.to_array(tensor), moments[tensor.name])
            for tensor in model.graph.initializer
            if tensor.name in moments
        }

    def try_out(self, int8: Collection[str], computed: Collection[str]) -> Any:
        """Return the `Difference` of a graph with these weights in int8."""
        rounded = {name: self.rounded[name] for name in int8}
        self._write(write_int8(self._model, rounded, computed), self._path)
        motion = self._run(load_bundle(self._path))
        self._tick()
        return measure_difference(self._reference, motion, self._sidecar.model_rate_hz)

    def fits(self, int8: Collection[str], computed: Collection[str], target_mm: float) -> bool:
        return bool(self.try_out(int8, computed).lip_gap_max_mm <= target_mm)

    def _run(self, bundle: Bundle) -> np.ndarray:
        backend = _slide(OnnxRuntimeBackend(bundle), bundle)
        return np.concatenate([run_stream(backend, bundle.sidecar, one) for one in self._speech])


class _TappedBackend(OnnxRuntimeBackend):
    """Runs a graph whose last outputs are values of interest, and sums their second moments."""

    def __init__(self, bundle: Bundle, values: list[str]) -> None:
        self._values: list[str] = []
        self.moments = dict.fromkeys(values, np.zeros((1, 1)))
        super().__init__(bundle)
        self._outputs, self._values = [*self._outputs, *values], values

    def step(self, *arguments: Any, **more: Any) -> tuple[np.ndarray, list[np.ndarray]]:
        motion, arrays = super().step(*arguments, **more)
        split = len(arrays) - len(self._values)
        for name, value in zip(self._values, arrays[split:], strict=True):
            rows = value.reshape(-1, value.shape[-1]).astype(np.float64)
            self.moments[name] = self.moments[name] + rows.T @ rows
        return motion, arrays[:split]


def measure_moments(
    model: onnx.ModelProto,
    bundle: Bundle,
    speech: Sequence[np.ndarray],
    folder: Path,
    write: Writer,
) -> dict[str, np.ndarray]:
    """Return the second moments `[inputs, inputs]` of each product's inputs, by its weights.

    They are sums over all steps of all recordings.
    """
    import onnx

    products = find_products(model)
    values = list(dict.fromkeys(value for used in products.values() for value in used))
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    known = {value.name for value in model.graph.output}
    for name in values:
        if name not in known:
            kind = onnx.TensorProto.FLOAT
            tapped.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    tap = _TappedBackend(load_bundle(write(tapped, folder / "tapped.onnx")), values)
    backend = _slide(tap, bundle)
    for one in speech:
        run_stream(backend, bundle.sidecar, one)
    return {
        name: np.sum([tap.moments[value] for value in used], axis=0)
        for name, used in products.items()
    }


def _slide(backend: OnnxRuntimeBackend, bundle: Bundle) -> Backend:
    stateful = bundle.sidecar.kind == "stateful"
    return backend if stateful else SlidingWindow(backend, bundle.sidecar)
