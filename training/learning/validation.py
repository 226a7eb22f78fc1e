"""Figures on held-out clips during training; the full table is `python -m training.evaluate`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from dualtalker.evaluation import metrics
from training.data import SAMPLE_RATE_HZ, Clip, VertexClip, VertexCorpus, iterate_vertex_clips
from training.learning.mesh_data import VertexData, name_head, name_style, resample
from training.network import DualTalker, animate_pieces


def validate(
    network: DualTalker, weights: dict[str, Tensor], clips: list[Clip]
) -> dict[str, float]:
    """Return mean figures of the network with `weights` over the clips, by kind of clip.

    Captured clips give correlations over speech frames; clips with phones give the share of
    closures that the gate of shut lips reaches. The network's own weights are untouched.
    """
    from dualtalker.rig.robot_head import build_head

    head = build_head()
    rest = float(head.lip_gap(np.zeros((1, 52), np.float32))[0])
    figures: dict[str, list[float]] = {}
    counts = np.zeros(4)
    with using(network, weights):
        for clip in clips:
            motion = _animate(network, clip)
            assert clip.motion is not None
            count = min(len(motion), len(clip.motion))
            motion, truth = motion[:count], clip.motion[:count]
            times_s = np.arange(count) / network.config.model_rate_hz
            if clip.style.startswith("captured"):
                speech = metrics.find_speech_frames(clip.audio, SAMPLE_RATE_HZ, times_s)
                lips = head.lip_vertices
                errors = metrics.measure_lip_error(
                    metrics.pose_vertices(head, motion, lips),
                    metrics.pose_vertices(head, truth, lips),
                )
                figures.setdefault("lve_mm", []).append(errors["lve_mm"])
                for name, curve in (
                    ("gap_r", head.lip_gap),
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
    result = {name: float(np.mean(values)) for name, values in figures.items()}
    if counts[1]:
        result["closure_recall"] = counts[0] / counts[1]
    if counts[3]:
        result["false_closures"] = counts[2] / counts[3]
    return result


def validate_meshes(
    network: DualTalker, weights: dict[str, Tensor], meshes: list[VertexData], limit: int
) -> dict[str, float]:
    """Return the lip-vertex error of each mesh's head over its first `limit` validation clips.

    Named `NAME_lve_mm`, mean over frames of the maximum lip distance, in mm where the data set is
    in metres (else in thousandths of its unit), at the data set's own frame rate. A subject who
    was never seen is shown in the mean of the trained styles. `NAME_rest_lve` is the same
    of a face at rest, which every model must beat.
    """
    figures = {}
    with using(network, weights):
        for mesh in meshes:
            if limit < 1 or "validation" not in mesh.corpus.splits:
                continue
            clips = iterate_vertex_clips(mesh.corpus, "validation")
            lips = mesh.corpus.lips.indices
            errors: list[tuple[float, float]] = []
            for clip in itertools.islice(clips, limit):
                truth = np.asarray(clip.vertices[:, lips])
                moved = move_mesh(network, clip, mesh.corpus)
                predicted = pose_mesh(network, moved, clip, mesh.corpus)[:, lips]
                rest = np.broadcast_to(clip.template[lips], truth.shape)
                errors.append(
                    (
                        metrics.measure_lip_error(predicted, truth)["lve_mm"],
                        metrics.measure_lip_error(rest, truth)["lve_mm"],
                    )
                )
            model, still = np.mean(errors, axis=0)
            figures[f"{mesh.name}_lve_mm"] = float(model)
            figures[f"{mesh.name}_rest_lve"] = float(still)
    return figures


def pose_mesh(
    network: DualTalker, moved: np.ndarray, clip: VertexClip, corpus: VertexCorpus
) -> np.ndarray:
    """Return vertices `[n, vertices, 3]` of some coordinates `[n, rank]` of `move_mesh`."""
    device = network.joint_temperature.device
    head = network.animation.vertex_heads[name_head(corpus)]
    with torch.no_grad():
        template = torch.from_numpy(np.array(clip.template)).to(device)
        posed = head.pose(torch.from_numpy(moved).to(device), template)  # type: ignore[operator]
    return np.asarray(posed.cpu().numpy())


def move_mesh(
    network: DualTalker,
    clip: VertexClip,
    corpus: VertexCorpus,
    mixture: dict[str, float] | None = None,
) -> np.ndarray:
    """Return the coordinates `[frames, rank]` in which the network moves a clip's face.

    They are at the clip's own rate, for sounds of any length. `mixture` of trained styles is
    whose manner it has: by default the clip's own subject's, or, where that one was never seen,
    the mean of those that the head was trained on.

    Raises:
        ValueError: the network has no head for this data set.
    """
    device = network.joint_temperature.device
    decoder = network.animation
    name = name_head(corpus)
    if name not in decoder.vertex_heads:
        heads = [plan.name for plan in network.head_plans]
        raise ValueError(f"the network has no head {name!r}, only {heads}; train it on that data")
    if mixture is None:
        own = name_style(corpus, clip.subject)
        mixture = {own: 1.0} if own in decoder.styles else {}
    with torch.no_grad():
        style = decoder.mix_styles(mixture, network.styles_of(name))
        audio = torch.from_numpy(clip.audio).unsqueeze(0).to(device)
        pieces = [piece.cpu().numpy() for piece in animate_pieces(network, audio, style, name)]
    fitted = resample(np.concatenate(pieces), network.config.model_rate_hz, clip.fps)
    fitted = np.pad(fitted, ((0, max(0, clip.frames - len(fitted))), (0, 0)), mode="edge")
    return fitted[: clip.frames]


@contextmanager
def using(network: DualTalker, weights: dict[str, Tensor]) -> Iterator[None]:
    """Evaluate the network with other weights for the time of the block; its own come back."""
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(weights)
    network.eval()
    try:
        yield
    finally:
        network.load_state_dict(kept)


def _animate(network: DualTalker, clip: Clip) -> np.ndarray:
    device = network.joint_temperature.device
    with torch.no_grad():
        known = clip.style in network.animation.styles
        style = network.animation.mix_styles({clip.style: 1.0} if known else {})
        audio = torch.from_numpy(clip.audio).unsqueeze(0).to(device)
        return network.animate_whole(audio, style).cpu().numpy()
