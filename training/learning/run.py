"""A training run: what it holds, how it is prepared from a config, saved and restored."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.files import sha256_of_file
from training.configs import NetworkConfig, TrainConfig, to_plain
from training.data import ANYBODY, PHONE_CLASSES, Clip, digest_of, load_clips
from training.learning.batches import AnyClip, BatchMaker, BatchSource, MixedBatches
from training.learning.checkpoints import (
    CheckpointError,
    complete_description,
    describe_network,
    find_commit,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from training.learning.distributed import Place, choose_device, share_out, wrap
from training.learning.health import CollapseDetector
from training.learning.mesh_data import VertexData, fill_head, load_vertex_data
from training.learning.objective import Objective
from training.learning.schedules import EarlyStop
from training.network import (
    DualTalker,
    HeadPlan,
    Priors,
    Wav2Vec2Encoder,
    fit_bigram,
    fit_motion_prior,
    fit_units,
    let_learn,
)

_REST = "animation.gate_rest."


@dataclass
class Run:
    """Everything that a step changes or reads."""

    config: TrainConfig
    network: DualTalker
    optimizer: torch.optim.Optimizer
    objective: Objective
    batches: BatchSource
    validation: list[Clip]
    meshes: list[VertexData]
    meta: dict[str, Any]
    device: torch.device
    place: Place
    detector: CollapseDetector = field(default_factory=CollapseDetector)
    step: int = 0

    def __post_init__(self) -> None:
        """Begin the averaged weights as the network's, and wrap the objective for DDP."""
        state = self.network.state_dict()
        self.ema = {name: tensor.detach().clone() for name, tensor in state.items()}
        self.wrapped = wrap(self.objective, self.place)
        self.early_stop = EarlyStop(self.config.patience)

    @property
    def priors(self) -> Priors:
        """The frozen tensors of the objective."""
        return self.objective.priors


def split_clips(
    clips: list[Clip], holdout: tuple[str, ...], paired_fraction: float, seed: int
) -> tuple[list[Clip], list[Clip]]:
    """Split clips into training and validation by name, keeping a fraction of the paired ones.

    Raises:
        ValueError: nothing is left to train on.
    """

    def held(clip: Clip) -> bool:
        return clip.split == "validation" or any(part in clip.name for part in holdout)

    validation = [c for c in clips if held(c) and c.motion is not None]
    train = [c for c in clips if not held(c)]
    if paired_fraction < 1.0:
        rng = np.random.default_rng(seed)
        paired = [c for c in train if c.motion is not None]
        order = rng.permutation(len(paired))
        kept = {id(paired[i]) for i in order[: max(1, round(len(paired) * paired_fraction))]}
        train = [c for c in train if c.motion is None or id(c) in kept]
    if not any(c.motion is not None for c in train):
        raise ValueError(
            f"found {len(clips)} clips, none with motion is left to train on after holding out "
            f"{list(holdout)}; make more with `python -m training.corpus`"
        )
    return train, validation


def fit_priors(
    network: DualTalker, clips: Sequence[AnyClip], config: NetworkConfig, seed: int
) -> Priors:
    """Fit acoustic units, bigram, motion prior and lip basis on the training clips.

    The motion prior is that of blendshapes; vertex heads hold their own.
    """
    rng = np.random.default_rng(seed)
    chosen = [clips[i] for i in rng.permutation(len(clips))[:200]]
    features = []
    with torch.no_grad():
        for clip in chosen:
            whole = len(clip.audio) // config.hop_samples * config.hop_samples
            if whole:
                audio = torch.from_numpy(clip.audio[:whole]).unsqueeze(0)
                features.append(network.audio_encoder.features(audio)[0].numpy())
    frames = np.concatenate(features)
    drawn = frames[rng.permutation(len(frames))[:20000]]
    centers = fit_units(drawn, config.units, seed)
    squares = (centers**2).sum(1)
    named = [np.argmin(squares - 2 * f @ centers.T, axis=1) for f in features]
    arkit = [c for c in clips if isinstance(c, Clip)]
    motions = [c.motion for c in arkit if c.motion is not None and len(c.motion) > 2]
    still = np.zeros((3, len(ARKIT_NAMES)), np.float32)
    return Priors(
        torch.from_numpy(centers),
        torch.from_numpy(fit_bigram(named, config.units)),
        torch.from_numpy(fit_motion_prior(motions[:500]) if motions else still),
        torch.from_numpy(build_lip_basis()),
    )


def build_lip_basis() -> np.ndarray:
    """Return the deltas of the default head's lip vertices, metres `[52, lips * 3]`."""
    from dualtalker.rig.robot_head import build_head

    head = build_head()
    lips = head.deltas[:, head.lip_vertices].reshape(len(head.names), -1)
    basis = np.zeros((len(ARKIT_NAMES), lips.shape[1]), np.float32)
    for row, name in enumerate(head.names):
        basis[ARKIT_NAMES.index(name)] = lips[row]
    return basis


def repeat_exactly(threads: int, seed: int) -> None:
    """Make torch give the same figures for the same seed, threads and machine."""
    torch.set_num_threads(threads)
    # cuBLAS repeats itself only with workspaces of a fixed size.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)


def prepare(config: TrainConfig, place: Place | None = None) -> Run:
    """Load the data, build the network and fit the priors.

    `place` is this process' among several that have joined already (default: alone).
    """
    place = place or Place()
    device = choose_device(config.device, place)
    config.loss.check(config.network.lipread_targets)
    repeat_exactly(config.threads, config.seed)
    data = config.data
    train, validation = load_arkit(config)
    meshes = [
        load_vertex_data(folder, config.network.vertex, config.seed, data.paired_fraction)
        for folder in data.vertices
    ]
    network = build_from_data(config, train, meshes)
    if config.start_from:
        priors = begin_as(network, config.start_from)
    else:
        heard: list[AnyClip] = [*train, *(c for m in meshes for c in m.clips)]
        priors = fit_priors(network, heard, config.network, config.seed)
    if config.learn:
        let_learn(network, config.learn)
    network.to(device)
    return Run(
        config,
        network,
        build_optimizer(network, config),
        Objective(network, priors.to(device), config.loss),
        make_batches(config, network, train, meshes, place),
        validation,
        meshes,
        describe_run(config, network, train, meshes),
        device,
        place,
    )


def begin_as(network: DualTalker, path: Path) -> Priors:
    """Load the averaged weights of a checkpoint into `network`, and return its priors.

    The lip reader names acoustic units by number, so it needs the priors that it learned with.

    Raises:
        CheckpointError: the checkpoint is broken, or its network is of other sizes, or for other
            styles, phones or meshes.
    """
    checkpoint = load_checkpoint(path)
    found, wanted = complete_description(checkpoint.meta["description"]), describe_network(network)
    for key in sorted(set(wanted) - {"network"}):
        if found.get(key) != wanted[key]:
            raise CheckpointError(
                f"{path} has {key} {found.get(key)}, expected those of the data, {wanted[key]}: "
                "give the --data that it was trained on, or leave out --start-from"
            )
    weights = checkpoint.group("ema")
    if not any(name.startswith(_REST) for name in weights):  # a gate that is yet to be taught
        new = network.state_dict().items()
        weights |= {name: tensor for name, tensor in new if name.startswith(_REST)}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise CheckpointError(
            f"{path} is of another size than this network ({first[0].strip()}): give the "
            "--network options that it was trained with (config.json beside it has them)"
        ) from error
    return Priors(**checkpoint.group("priors"))


def load_arkit(config: TrainConfig) -> tuple[list[Clip], list[Clip]]:
    """Load the blendshape clips and split them; empty lists where only meshes are trained on."""
    data = config.data
    if not data.corpus:
        if not data.vertices:
            raise ValueError("found neither data.corpus nor data.vertices; give one of them")
        return [], []
    clips = [clip for folder in data.corpus for clip in load_clips(folder)]
    return split_clips(clips, data.holdout, data.paired_fraction, config.seed)


def build_from_data(
    config: TrainConfig, train: list[Clip], meshes: list[VertexData]
) -> DualTalker:
    """Build the network for the channels, styles and meshes of the data."""
    paired = [c for c in train if c.motion is not None]
    active = np.zeros(len(ARKIT_NAMES), bool)
    if paired:
        active = np.any([c.motion_mask for c in paired], axis=0)
    captured = {c.style for c in paired if c.style.startswith("captured")}
    shared = {ANYBODY} if len(captured) > 1 else set()
    styles = sorted({c.style for c in paired} | shared | {s for m in meshes for s in m.styles})
    names = [mesh.name for mesh in meshes]
    if len(set(names)) < len(names):
        raise ValueError(f"data.vertices holds a data set twice: {names}")
    plans = [
        HeadPlan(
            mesh.name,
            len(mesh.directions),
            mesh.corpus.vertex_count,
            len(mesh.corpus.lips.indices),
            len(mesh.styles),
        )
        for mesh in meshes
    ]
    network = DualTalker(config.network, active.tolist(), styles, list(PHONE_CLASSES), plans)
    for mesh in meshes:
        head = network.animation.vertex_heads[mesh.name]
        fill_head(head, mesh, styles, config.network.model_rate_hz)  # type: ignore[arg-type]
    return network


def build_optimizer(network: DualTalker, config: TrainConfig) -> torch.optim.Optimizer:
    """Return AdamW; a pretrained wav2vec2 learns at its own, smaller rate."""
    if not isinstance(network.audio_encoder, Wav2Vec2Encoder):
        return torch.optim.AdamW(
            network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
    slow = {id(p) for p in network.audio_encoder.model.parameters()}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if id(p) not in slow]},
        {
            "params": list(network.audio_encoder.model.parameters()),
            "scale": config.network.encoder.learning_rate_scale,
        },
    ]
    return torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay)


def make_batches(
    config: TrainConfig,
    network: DualTalker,
    train: list[Clip],
    meshes: list[VertexData],
    place: Place,
) -> BatchSource:
    """Return the source of batches: one maker for blendshapes, one for each mesh."""

    def make(clips: Sequence[AnyClip], channels: np.ndarray, head: str) -> BatchMaker:
        return BatchMaker(clips, config, network.phones, network.animation.styles, channels, head)

    makers = []
    active = network.animation.active.cpu().numpy().astype(bool)
    if train:
        share = 1.0 - config.data.vertex_share if meshes else 1.0
        makers.append((share, make(train, active, "arkit")))
    for mesh in meshes:
        rank = np.ones(len(mesh.directions), bool)
        makers.append((config.data.vertex_share / len(meshes), make(mesh.clips, rank, mesh.name)))
    source: BatchSource = makers[0][1]
    if len(makers) > 1:
        source = MixedBatches(makers, config.seed, config.loader_workers)
    share_out(config.accumulate, place)
    source.stride = place.size
    return source


def describe_run(
    config: TrainConfig, network: DualTalker, train: list[Clip], meshes: list[VertexData]
) -> dict[str, Any]:
    """Return what a checkpoint's JSON says of the run, apart from its step."""
    paired_s = sum(c.duration_s for c in train if c.motion is not None)
    mesh_s = sum(c.duration_s for m in meshes for c in m.clips)
    return {
        "description": describe_network(network),
        "config": to_plain(config),
        "data": [
            *({"folder": f.name, "digest": digest_of(f)} for f in config.data.corpus),
            *({"folder": m.corpus.folder.name, "digest": m.corpus.digest} for m in meshes),
        ],
        "hours": round((sum(c.duration_s for c in train) + mesh_s) / 3600, 3),
        "paired_hours": round((paired_s + mesh_s) / 3600, 3),
        "commit": find_commit(),
        "torch": torch.__version__,
        **({"began_as": describe_beginning(config.start_from)} if config.start_from else {}),
    }


def describe_beginning(path: Path) -> dict[str, Any]:
    """Return what a later checkpoint tells of the one that its training began with."""
    kept = ("step", "data", "hours", "paired_hours", "commit", "torch", "config", "began_as")
    meta = load_checkpoint(path).meta
    digest = sha256_of_file(path)
    told = {key: meta[key] for key in kept if key in meta}
    return {"checkpoint": path.name, "sha256": digest, **told}


def save(run: Run, path: Path | None = None) -> Path:
    """Write the checkpoint of the current step and return its path."""
    path = path or run.config.out / f"step_{run.step:07d}.safetensors"
    groups = {
        "network": dict(run.network.state_dict()),
        "ema": run.ema,
        "optimizer": optimizer_tensors(run.optimizer),
        "priors": dict(vars(run.priors)),
    }
    meta = {**run.meta, "step": run.step, "early_stop": asdict(run.early_stop)}
    save_checkpoint(path, groups, meta)
    return path


def find_newest(folder: Path) -> Path:
    """Return the newest complete checkpoint in `folder`.

    Raises:
        CheckpointError: there is none.
    """
    written = sorted(folder.glob("step_*.safetensors"))
    found = [path for path in written if path.with_suffix(".json").exists()]
    if not found:
        raise CheckpointError(
            f"found no step_*.safetensors in {folder}; start without --resume first"
        )
    return found[-1]


def restore(run: Run, path: Path) -> None:
    """Load network, averages, optimizer and step of a checkpoint into `run`.

    Raises:
        CheckpointError: it was made from other data or another network.
    """
    checkpoint = load_checkpoint(path)
    meta = checkpoint.meta
    found = {"data": meta["data"], "description": complete_description(meta["description"])}
    for key, value in found.items():
        if value != run.meta[key]:
            raise CheckpointError(
                f"{path} was made with another {key} ({value}), expected {run.meta[key]}; "
                "give another --out or the same --data"
            )
    run.network.load_state_dict(checkpoint.group("network"))
    run.ema = {k: v.to(run.device) for k, v in checkpoint.group("ema").items()}
    restore_optimizer(run.optimizer, checkpoint.group("optimizer"))
    run.objective.priors = Priors(**checkpoint.group("priors")).to(run.device)
    stop = meta.get("early_stop", {})
    run.early_stop = EarlyStop(**{**stop, "patience": run.config.patience})
    run.step = int(meta["step"])
