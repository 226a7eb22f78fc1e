"""Figures on held-out clips during training; the full table is `python -m training.evaluate`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dualtalker import metrics
from training.clips import Clip
from training.network import DualTalker, StreamingTalker


def validate(
    network: DualTalker, weights: dict[str, Tensor], clips: list[Clip]
) -> dict[str, float]:
    """Return mean figures of the network with `weights` over the clips, by kind of clip.

    Captured clips give correlations over speech frames; clips with phones give the share of
    closures that the gate of shut lips reaches. The network's own weights are untouched.
    """
    from dualtalker.head import build_head

    head = build_head()
    rest = float(head.lip_gap(np.zeros((1, 52), np.float32))[0])
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(weights)
    network.eval()
    figures: dict[str, list[float]] = {}
    counts = np.zeros(4)
    try:
        for clip in clips:
            motion = _animate(network, clip)
            assert clip.motion is not None
            count = min(len(motion), len(clip.motion))
            motion, truth = motion[:count], clip.motion[:count]
            times_s = np.arange(count) / network.config.model_rate_hz
            if clip.style.startswith("captured"):
                loudness = metrics.measure_loudness(clip.audio, 16000, times_s)
                speech = metrics.find_speech(loudness)
                for name, curve in (
                    ("jaw_r", metrics.jaw_opening),
                    ("rounding_r", metrics.lip_rounding),
                ):
                    r = metrics.correlate(curve(motion), curve(truth), speech)
                    figures.setdefault(name, []).append(r)
            if clip.phones:
                phones = [(p.label, p.start_s, p.end_s) for p in clip.phones]
                closed = metrics.find_closed(head.lip_gap(motion), rest)
                counts[:2] += metrics.measure_closure_recall(closed, times_s, phones)
                counts[2:] += metrics.measure_false_closures(closed, times_s, phones)
    finally:
        network.load_state_dict(kept)
    result = {name: float(np.mean(values)) for name, values in figures.items()}
    if counts[1]:
        result["closure_recall"] = counts[0] / counts[1]
    if counts[3]:
        result["false_closures"] = counts[2] / counts[3]
    return result


def _animate(network: DualTalker, clip: Clip) -> np.ndarray:
    with torch.no_grad():
        talker = StreamingTalker(network, {clip.style: 1.0})
        return talker.run(torch.from_numpy(clip.audio).unsqueeze(0)).numpy()
