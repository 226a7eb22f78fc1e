"""Bundle -> the graph of the same weights for whole recordings, beside it, as `animate` runs it.

`python -m engines.export_offline NAME.onnx` writes `NAME.offline.onnx`, which takes half a second
of audio in one step: a step's price is reading the weights, and they are read once for all of it.
The weights are those of the bundle's own graph, so that no checkpoint is needed, and the result
is compared with that graph before it is written.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import tyro

from dualtalker.engine import make_test_signal, plan_bundle, run_stream, write_sidecar
from dualtalker.errors import DualtalkerError
from dualtalker.files import ending_in_order, written_together
from dualtalker.model import EXPORT_COMMAND, Bundle, load_bundle, offline_path
from dualtalker.model.backends import open_backend
from engines.export_onnx import ExportError, write_folded

if TYPE_CHECKING:
    from training.network import FoldedTalker

HOPS = 25  # half a second: more weigh more memory and are hardly quicker
TOLERANCE = 1e-5  # of a blendshape weight, against the bundle hop by hop


@dataclass
class OfflineConfig:
    """Export the offline graph of one bundle."""

    bundle: tyro.conf.Positional[Path]
    """Bundle of `python -m engines.export_onnx` (.onnx)."""


def export_offline(bundle_path: Path) -> float:
    """Write the offline graph beside a bundle; return the largest difference from it.

    Raises:
        ExportError: the bundle is of another kind, or the difference is too large; nothing is
            written.
        DualtalkerError: the bundle is bad, or what lies at the target is no bundle.
    """
    bundle = load_bundle(bundle_path)
    sidecar, target = bundle.sidecar, offline_path(bundle.onnx_path)
    if sidecar.kind != "stateful" or sidecar.precision != "fp32" or sidecar.frames_per_step != 1:
        raise ExportError(f"{bundle_path}: expected a stateful fp32 bundle that goes hop by hop")
    talker = read_talker(bundle, HOPS)
    fields: dict[str, Any] = msgspec.to_builtins(sidecar)
    for name in ("states", "onnx_sha256", "format", "format_version"):
        del fields[name]
    fields |= {
        "hop_samples": HOPS * sidecar.hop_samples,
        "frames_per_step": HOPS,
        "streaming_sha256": bundle.digest,
    }
    with written_together(*plan_bundle(target)) as made:
        draft = made / target.name
        write_sidecar(draft, write_folded(talker, draft), **fields)
        difference = _compare(bundle, load_bundle(draft))
        if not difference <= TOLERANCE:
            raise ExportError(
                f"the offline graph differs from {bundle_path} by {difference:.2e}, expected at "
                f"most {TOLERANCE:.0e}; nothing was written"
            )
    return difference


def read_talker(bundle: Bundle, hops: int) -> FoldedTalker:
    """Return what an exported bundle runs, with its weights, in steps of `hops`.

    Raises:
        ExportError: the sidecar does not say which network it is, or the graph lacks weights.
    """
    import onnx
    import torch
    from onnx import numpy_helper

    from training.configs import NetworkConfig, from_plain
    from training.network import DualTalker, FoldedTalker, StreamingTalker

    sidecar = bundle.sidecar
    config = sidecar.training.get("config", {}).get("network")
    if config is None or not sidecar.style_input:
        raise ExportError(
            f"{bundle.onnx_path}: expected a sidecar with training.config.network, and styles to "
            "choose from"
        )
    styles = sidecar.style_names
    network = DualTalker(from_plain(NetworkConfig, config), [True] * 52, list(styles), [])
    smooth = bool(sidecar.training.get("smooth"))
    plan = StreamingTalker(network, dict.fromkeys(styles, 1.0), smooth, styles)
    talker = FoldedTalker(plan, hops).eval()
    graph = onnx.load(str(bundle.onnx_path)).graph
    found = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for name, tensor in talker.state_dict().items():
        if name not in found or found[name].shape != tuple(tensor.shape):
            raise ExportError(
                f"{bundle.onnx_path}: no {name} of shape {list(tensor.shape)} in the graph; "
                f"expected one of {EXPORT_COMMAND}"
            )
        tensor.copy_(torch.from_numpy(found[name].copy()))
    return talker


def _compare(streaming: Bundle, offline: Bundle) -> float:
    """Run a minute in both; return the largest difference."""
    audio = make_test_signal(60 * streaming.sidecar.sample_rate_hz)
    motions = []
    for bundle in (streaming, offline):
        backend = open_backend(bundle, "onnxruntime")
        motions.append(run_stream(backend, bundle.sidecar, audio))
        backend.close()
    frames = len(motions[1])
    return float(np.abs(motions[0][:frames] - motions[1]).max())


@ending_in_order()
def main() -> None:
    """Parse the command line and export."""
    config = tyro.cli(OfflineConfig, description=__doc__)
    try:
        difference = export_offline(config.bundle)
    except (DualtalkerError, ValueError) as error:
        sys.exit(f"engines.export_offline: {error}")
    print(
        f"{offline_path(config.bundle)}: {HOPS} hops a step, largest difference from "
        f"{config.bundle.name} over a minute {difference:.1e}"
    )


if __name__ == "__main__":
    main()
