"""One cell of an ablation: its small training, the terms of its variant, and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import Recording, gather_figures, tally_motions
from dualtalker.rig.robot_head import build_head
from training.configs import DataConfig, LossConfig, NetworkConfig, TrainConfig
from training.data import ANYBODY, Clip
from training.evaluation import read_held_out, read_training, to_recording
from training.learning import load_network
from training.network import DualTalker, StreamingTalker
from training.studies.ablation_table import TRAINED_TALKERS, UNSEEN_TALKERS, VARIANTS
from training.studies.dynamics import measure_dynamics

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

    Captured clips are measured, or all where none is captured. A talker whose style was never
    trained is animated in the style that all captured ones share. Where there are talkers of both
    kinds, the figures of each kind stand behind `UNSEEN_TALKERS` and `TRAINED_TALKERS`.

    Raises:
        DualtalkerError: there is no such clip.
    """
    held = read_held_out(data.corpus)
    clips = [clip for clip in held if clip.style.startswith("captured")] or held
    network, _ = load_network(checkpoint)
    motions = [animate_clip(network, clip) for clip in clips]
    # The clip's own motion is the truth here, whether captured or made by rule.
    training = read_training(data.corpus)
    recordings = [replace(to_recording(clip, training), captured=True) for clip in clips]
    return measure_talkers(recordings, motions)


def measure_talkers(
    recordings: Sequence[Recording], motions: Sequence[np.ndarray]
) -> dict[str, float]:
    """Return how motions `[frames, 52]` follow the captured ones, and what they keep of them.

    Of all recordings, and of each kind of talkers where there are both (see `measure_checkpoint`).
    """
    head = build_head()
    tallies = tally_motions(recordings, motions, head)
    kinds = {UNSEEN_TALKERS: True, TRAINED_TALKERS: False}
    groups = {"": list(range(len(recordings)))}
    if len({recording.unseen for recording in recordings}) == len(kinds):
        for kind, unseen in kinds.items():
            groups[kind] = [k for k, r in enumerate(recordings) if r.unseen == unseen]
    figures: dict[str, float] = {}
    for kind, own in groups.items():
        recorded, moved = [recordings[k] for k in own], [motions[k] for k in own]
        found = gather_figures(recorded, moved, head, [tallies[k] for k in own])
        found |= measure_dynamics(recorded, moved, head)
        figures |= {f"{name}{kind}": value for name, value in found.items()}
    return figures


def animate_clip(network: DualTalker, clip: Clip) -> np.ndarray:
    """Return a network's motion `[frames, 52]` for a clip's sound, as a robot would show it."""
    known = [s for s in (clip.style, ANYBODY) if s in network.animation.styles]
    talker = StreamingTalker(network, {known[0]: 1.0} if known else {}).eval()
    with torch.no_grad():
        motion = talker.run(torch.from_numpy(clip.audio).unsqueeze(0)).numpy()
    return np.ascontiguousarray(motion[: clip.frames])
