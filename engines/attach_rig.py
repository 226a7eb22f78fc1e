"""Vertices out of the engine: `python -m engines.attach_rig NAME.onnx -o POSED.onnx --rig RIG`.

Adds an output to a bundle's graph: neutral + weights x blendshapes of a rig, metres. It is for
programs that drive a mesh straight from the engine, at the model's rate. A Talker finishes the
weights after the engine (interpolates to the frame rate, limits, closes the mouth, adds idle
life), so its vertices come from `Rig.pose`, which costs a fraction of a millisecond.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.backends.onnxruntime import OnnxRuntimeBackend
from dualtalker.bundle import Bundle, load_bundle
from dualtalker.errors import DualtalkerError
from dualtalker.rig import Rig, load_rig
from engines.convert import write_changed
from engines.export_onnx import make_test_signal
from engines.half_precision import POSE_PREFIX

if TYPE_CHECKING:
    import onnx

TOLERANCE_MM = 1e-4
OUTPUT = "vertices"


class AttachError(DualtalkerError):
    """The rig cannot be attached, or the graph does not pose it as `Rig.pose` does."""


@dataclass
class AttachConfig:
    """Attach a rig to a bundle."""

    bundle: tyro.conf.Positional[Path]
    """The bundle (.onnx), of any precision; the vertices are computed in fp32."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where to write the new graph; the sidecar goes beside it as .json."""
    rig: Path | None = None
    """Rig (.npz, .glb or a folder of OBJ files); default: the head that comes with dualtalker."""
    steps: int = 50
    """Steps over which the vertices are compared with `Rig.pose`."""


def attach(config: AttachConfig) -> float:
    """Write the bundle with a rig attached; returns the largest distance from `Rig.pose`, mm.

    Raises:
        AttachError: the bundle gives vertices already, or those of the graph are not the rig's;
            nothing is written.
    """
    bundle = load_bundle(config.bundle)
    if bundle.sidecar.vertices_output:
        raise AttachError(
            f"{bundle.onnx_path} gives vertices of {bundle.sidecar.topology} already: attach to "
            "the bundle that it was made from"
        )
    rig = _load_rig(config.rig)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=config.out.parent, prefix=".attaching-") as folder:
        draft = Path(folder) / config.out.name
        write_posed(bundle, rig, draft)
        difference_mm = compare_with_rig(load_bundle(draft), rig, config.steps)
        if not difference_mm <= TOLERANCE_MM:
            raise AttachError(
                f"the graph's vertices are up to {difference_mm:.2e} mm from those of Rig.pose, "
                f"expected at most {TOLERANCE_MM:.0e}; nothing was written"
            )
        for suffix in (".onnx", ".json"):
            os.replace(draft.with_suffix(suffix), config.out.with_suffix(suffix))
    return difference_mm


def write_posed(bundle: Bundle, rig: Rig, out: Path) -> Path:
    """Write the bundle with vertices of `rig`, unchecked, and return its path."""
    import onnx

    model = append_pose(onnx.load(str(bundle.onnx_path)), bundle, rig)
    return write_changed(
        bundle,
        model,
        out,
        vertices_output=OUTPUT,
        vertex_count=len(rig.neutral),
        topology=rig.topology,
    )


def append_pose(model: onnx.ModelProto, bundle: Bundle, rig: Rig) -> onnx.ModelProto:
    """Return a copy of the graph with an output `vertices` [1, frames, vertices, 3], metres.

    The weights are limited to [0, 1] first, as those of a finished frame are.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    count = rig.neutral.size
    basis = np.zeros((len(ARKIT_NAMES), count), np.float32)
    for name, delta in zip(rig.names, rig.deltas, strict=True):
        basis[ARKIT_NAMES.index(name)] = delta.reshape(-1)
    constants = {
        "low": np.zeros((), np.float32),
        "high": np.ones((), np.float32),
        "basis": basis,
        "neutral": rig.neutral.reshape(1, 1, count),
        "shape": np.array(bundle.sidecar.vertices_shape[:2] + rig.neutral.shape, np.int64),
    }
    for name, values in constants.items():
        graph.initializer.append(numpy_helper.from_array(values, POSE_PREFIX + name))
    steps = [
        ("Clip", [bundle.sidecar.motion_output, "low", "high"], "weights"),
        ("MatMul", ["weights", "basis"], "moved"),
        ("Add", ["moved", "neutral"], "flat"),
        ("Reshape", ["flat", "shape"], ""),
    ]
    for kind, inputs, output in steps:
        names = [
            name if name == bundle.sidecar.motion_output else POSE_PREFIX + name for name in inputs
        ]
        made = POSE_PREFIX + output if output else OUTPUT
        graph.node.append(helper.make_node(kind, names, [made], name=POSE_PREFIX + kind))
    shape = [*bundle.sidecar.vertices_shape[:2], *rig.neutral.shape]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape))
    onnx.checker.check_model(result, full_check=True)
    return result


def compare_with_rig(posed: Bundle, rig: Rig, steps: int) -> float:
    """Return the largest distance of any vertex from `Rig.pose` of the same motion, mm."""
    backend = OnnxRuntimeBackend(posed)
    state, samples = backend.new_state(), posed.sidecar.input_samples
    worst_m = 0.0
    for hop in make_test_signal(steps * samples).reshape(steps, 1, samples):
        motion, vertices, state = backend.step_posed(hop, state)
        expected = rig.pose(np.clip(motion, 0, 1))
        worst_m = max(worst_m, float(np.linalg.norm(vertices - expected, axis=-1).max()))
    backend.close()
    return 1000 * worst_m


def _load_rig(path: Path | None) -> Rig:
    if path is not None:
        return load_rig(path)
    from dualtalker.head import build_head

    return build_head()


def main() -> None:
    """Parse the command line and attach."""
    config = tyro.cli(AttachConfig, description=__doc__)
    try:
        difference_mm = attach(config)
    except DualtalkerError as error:
        sys.exit(f"engines.attach_rig: {error}")
    sidecar = load_bundle(config.out).sidecar
    size_mb = config.out.stat().st_size / 1e6
    print(
        f"{config.out}: {size_mb:.2f} MB, {sidecar.vertex_count} vertices of {sidecar.topology}, "
        f"at most {difference_mm:.1e} mm from Rig.pose"
    )


if __name__ == "__main__":
    main()
