"""Windowed graphs: a fixed window of audio -> all its motion frames, with no state between.

For encoders that look at a whole window at once, such as wav2vec2; they suit GPUs and offline
work. The runtime slides the window on by one hop and uses the frames far from its ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dualtalker.engine import make_test_signal, uneven_weights, write_sidecar
from dualtalker.model import load_bundle
from engines.graphs import even_weights, write_graph

if TYPE_CHECKING:
    from training.network import DualTalker, WindowTalker


@dataclass(frozen=True)
class WindowPlan:
    """Which frames of a window are used, and what that costs in latency; all in samples."""

    window_samples: int
    hop_samples: int
    window_frames: int
    valid_start: int
    frames_per_step: int
    lookahead_samples: int


def plan_window(
    window_samples: int, hop_samples: int, future_frames: int, spacing: int
) -> WindowPlan:
    """Choose the valid range of a network whose frame j depicts sample j * `spacing`.

    The last frame used has `future_frames` after it in the window; with more of them the motion
    is better and later.

    Raises:
        ValueError: the hop is no multiple of the spacing, or the window is too short.
    """
    if hop_samples <= 0 or hop_samples % spacing:
        raise ValueError(f"hop of {hop_samples} samples: expected a multiple of {spacing}")
    frames = window_samples // spacing + 1
    per_step = hop_samples // spacing
    start = frames - future_frames - per_step
    if start < 0 or future_frames < 0:
        raise ValueError(
            f"a window of {window_samples} samples has {frames} frames, too few for "
            f"{per_step} in a step and {future_frames} after them"
        )
    lookahead = window_samples - (start + per_step - 1) * spacing
    return WindowPlan(window_samples, hop_samples, frames, start, per_step, lookahead)


def fuse_weight_norm(module: nn.Module) -> None:
    """Turn weight-norm parametrizations into plain weights: they export as dozens of nodes."""
    from torch.nn.utils import parametrize

    for part in module.modules():
        if parametrize.is_parametrized(part):
            for name in list(part.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(part, name)


def export_windowed(talker: nn.Module, path: Path, plan: WindowPlan, **sidecar: Any) -> Path:
    """Write graph and sidecar of any module audio `[1, window]` -> motion `[1, frames, channels]`.

    transformers' encoders must be loaded with `attn_implementation="eager"`. `sidecar` are more
    fields of it, such as `training`; with `style_input` the module takes the weights of
    `style_names` `[1, styles]` after the audio. Returns the path of the graph.

    Raises:
        ValueError: the module's frames are not those of the plan.
    """
    talker = talker.eval()
    fuse_weight_norm(talker)
    arguments = [torch.zeros(1, plan.window_samples)]
    inputs = ["audio"]
    if sidecar.get("style_input"):
        arguments.append(even_weights(len(sidecar["style_names"])))
        inputs.append(sidecar["style_input"])
    with torch.no_grad():
        frames = talker(*arguments).shape[1]
    if frames != plan.window_frames:
        raise ValueError(f"the network gives {frames} frames; expected {plan.window_frames}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_graph(talker, arguments, inputs, ["motion"], path)
    write_sidecar(
        path,
        [],
        kind="windowed",
        hop_samples=plan.hop_samples,
        lookahead_samples=plan.lookahead_samples,
        model_rate_hz=plan.frames_per_step * 16000 / plan.hop_samples,
        frames_per_step=plan.frames_per_step,
        window_samples=plan.window_samples,
        window_frames=plan.window_frames,
        valid_start=plan.valid_start,
        **sidecar,
    )
    return path


def export_network(
    network: DualTalker,
    mixture: dict[str, float],
    plan: WindowPlan,
    windows: int,
    path: Path,
    origin: dict[str, Any],
) -> float:
    """Export a trained network with a wav2vec2 encoder as a windowed bundle.

    `origin` are the sidecar's fields on its training. Returns the largest difference from torch
    over `windows` of a test signal.
    """
    from training.network import WindowTalker

    talker = WindowTalker(network, mixture, tuple(origin.get("style_names", ()))).eval()
    # Frames are not smoothed here: neighbors in a window are made together.
    origin["training"]["smooth"] = False
    export_windowed(talker, path, plan, **origin)
    return _compare(talker, path, plan, windows)


def _compare(talker: WindowTalker, path: Path, plan: WindowPlan, windows: int) -> float:
    from dualtalker.model.backends import OnnxRuntimeBackend

    backend = OnnxRuntimeBackend(load_bundle(path))
    style = uneven_weights(len(talker.styles)) if talker.styles else None
    audio = make_test_signal(plan.window_samples + windows * plan.hop_samples)
    worst = 0.0
    for start in range(0, windows * plan.hop_samples, plan.hop_samples):
        window = audio[None, start : start + plan.window_samples]
        with torch.no_grad():
            weights = None if style is None else torch.from_numpy(style)
            expected = talker(torch.from_numpy(window), weights).numpy()
        found, _ = backend.step(window, backend.new_state(), style)
        worst = max(worst, float(abs(found - expected).max()))
    return worst
