"""How readable a moving mesh is: error rate of a checkpoint's lip reader on its acoustic units.

Meshes come without phone labels, so the target is the one that needs none: which acoustic unit
(k-means cluster of the sound) is heard at each instant. With labels: `training.lipread`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dualtalker.evaluation import metrics
from training.data import SAMPLE_RATE_HZ, VertexClip
from training.evaluation.mesh_baselines import Pose, iterate_blocks

if TYPE_CHECKING:
    from torch import Tensor

    from training.network import DualTalker


class UnitReader:
    """The lip reader of a checkpoint on one mesh."""

    def __init__(self, network: DualTalker, centers: Tensor, head: str) -> None:
        """`centers` `[units, dims]` are the acoustic units of the checkpoint's priors."""
        self._network, self._centers, self._head = network.eval(), centers, head
        vertex_head = network.animation.vertex_heads[head]
        self._directions = vertex_head.directions.cpu().numpy()  # type: ignore[operator]

    @classmethod
    def load(cls, checkpoint: Path, head: str, vertices: int) -> UnitReader | None:
        """Load a reader; None where the checkpoint's has no acoustic units or no such mesh."""
        from training.learning import load_network

        network, loaded = load_network(checkpoint)
        centers = loaded.group("priors").get("unit_centers")
        sizes = {plan.name: plan.vertices for plan in network.head_plans}
        if (
            centers is None
            or sizes.get(head) != vertices
            or "units" not in network.config.lipread_targets
        ):
            return None
        return cls(network, centers, head)

    def count_errors(self, clip: VertexClip, pose: Pose) -> tuple[int, int]:
        """Return (frames read wrongly, frames) over the speech of a clip, at the model's rate."""
        from training.learning import resample
        from training.network import project

        rate_hz = self._network.config.model_rate_hz
        coordinates = [
            project(
                (pose(block) - clip.template).reshape(-1, clip.template.size), self._directions
            )
            for block in iterate_blocks(clip.frames, len(clip.template))
        ]
        motion = resample(np.concatenate(coordinates), clip.fps, rate_hz)
        heard = self._name_units(clip.audio)
        count = min(len(heard), len(motion))
        times_s = np.arange(count) / rate_hz
        speech = metrics.find_speech_frames(clip.audio, SAMPLE_RATE_HZ, times_s)
        wrong = self._read(motion[:count]) != heard[:count]
        return int(wrong[speech].sum()), int(speech.sum())

    def _name_units(self, audio: np.ndarray) -> np.ndarray:
        """Acoustic units `[frames]` of a sound: frame k's is that of the hop that begins at it."""
        import torch

        from training.network import PIECE_STEPS, assign_units

        encoder, hop = self._network.audio_encoder, self._network.config.hop_samples
        before = -(-encoder.mel.tail // hop)
        units = []
        for start in range(0, len(audio) // hop, PIECE_STEPS):
            first = max(0, start - before)
            stop = min(start + PIECE_STEPS, len(audio) // hop)
            piece = torch.from_numpy(audio[first * hop : stop * hop]).unsqueeze(0)
            with torch.no_grad():
                features = encoder.features(piece)[:, start - first :]
                units.append(assign_units(features, self._centers)[0].numpy())
        return np.concatenate(units) if units else np.zeros(0, np.int64)

    def _read(self, motion: np.ndarray) -> np.ndarray:
        """Best units `[frames]` of coordinates `[frames, rank]` at the model's rate."""
        import torch

        from training.network import PIECE_STEPS

        blocks = self._network.motion_encoder.blocks
        around = 1 + sum(block.convolution.padding[0] for block in blocks)  # type: ignore[union-attr, misc, index]
        best = []
        for start in range(0, len(motion), PIECE_STEPS):
            first, stop = max(0, start - around), start + PIECE_STEPS
            piece = torch.from_numpy(motion[first : stop + around]).float().unsqueeze(0)
            with torch.no_grad():
                units = self._network.read_lips(piece, self._head)["units"]
            best.append(units[0].argmax(-1).numpy()[start - first : stop - first])
        return np.concatenate(best) if best else np.zeros(0, np.int64)
