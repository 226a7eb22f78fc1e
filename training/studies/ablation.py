"""One cell of an ablation: its small training, the terms of its variant, and its figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import measure_motions
from dualtalker.rig.robot_head import build_head
from training.configs import DataConfig, LossConfig, NetworkConfig, TrainConfig
from training.evaluation import read_held_out, read_training, to_recording
from training.learning import load_network
from training.network import StreamingTalker
from training.studies.ablation_table import VARIANTS

DUAL_TERMS = ("lipread_true", "lipread_predicted", "consistency", "duality")


class AblationError(DualtalkerError):
    """The grid cannot be run as asked."""


def small_run() -> TrainConfig:
    """The network and training of one cell: small, since there are many cells."""
    return TrainConfig(
        network=NetworkConfig(
            channels=96,
            encoder_dilations=(1, 2, 4, 8),
            decoder_dilations=(1, 2),
            motion_channels=64,
            joint_channels=32,
        ),
        data=DataConfig(segment_s=3.0, batch=8),
        steps=800,
        warmup_steps=50,
        ema=0.99,
        dual_start_step=150,
        save_every=200,
        validate_every=1_000_000,
        threads=1,
        loader_workers=0,
    )


def choose_terms(loss: LossConfig, variant: str) -> LossConfig:
    """Return the loss with the dual terms of the variant alone; the weights are `loss`'s own."""
    off = [term for term in DUAL_TERMS if term not in VARIANTS[variant]]
    return replace(loss, **dict.fromkeys(off, 0.0))


def measure_checkpoint(checkpoint: Path, data: DataConfig) -> dict[str, float]:
    """Return the figures of a checkpoint on the held-out clips, each animated in its own style.

    Captured clips are measured, or all where none is captured.

    Raises:
        DualtalkerError: there is no such clip.
    """
    held = read_held_out(data.corpus)
    clips = [clip for clip in held if clip.style.startswith("captured")] or held
    network, _ = load_network(checkpoint)
    motions = []
    for clip in clips:
        talker = StreamingTalker(network, {clip.style: 1.0}).eval()
        with torch.no_grad():
            motion = talker.run(torch.from_numpy(clip.audio).unsqueeze(0)).numpy()
        motions.append(np.ascontiguousarray(motion[: clip.frames]))
    # The clip's own motion is the truth here, whether captured or made by rule.
    training = read_training(data.corpus)
    recordings = [replace(to_recording(clip, training), captured=True) for clip in clips]
    return measure_motions(recordings, motions, build_head())
