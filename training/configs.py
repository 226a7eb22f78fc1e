"""Configurations of network, losses and training run; `tyro` makes the command from them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dualtalker.files import write_whole

Config = TypeVar("Config")


@dataclass
class EncoderConfig:
    """Which audio encoder, and what only `wav2vec2` needs."""

    kind: str = "streaming"
    """`streaming` (causal, what robots run) or `wav2vec2` (whole utterance; GPU, offline)."""
    pretrained: str = ""
    """wav2vec2: local folder or hub name of the weights; empty gives random weights."""
    layers: int = 12
    """wav2vec2: how many of the transformer's layers, from the bottom."""
    freeze_features: bool = True
    """wav2vec2: keep the convolutional front end as it was pretrained."""
    learning_rate_scale: float = 0.05
    """wav2vec2: learning rate of the pretrained part relative to the rest."""
    hidden: int = 768
    """wav2vec2 without `pretrained`: width of the transformer."""
    attention_heads: int = 12
    """wav2vec2 without `pretrained`: attention heads; must divide `hidden`."""
    front_channels: int = 512
    """wav2vec2 without `pretrained`: width of the convolutional front end."""


@dataclass
class VertexConfig:
    """Heads that give mesh vertices; one is made for each folder of `data.vertices`."""

    rank: int = 64
    """Coordinates (principal components of displacement) in which a mesh moves."""
    fit_frames: int = 800
    """Frames from which the principal components are found; memory is frames x vertices x 24 B."""


@dataclass
class NetworkConfig:
    """Sizes of the DualTalker network."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    vertex: VertexConfig = field(default_factory=VertexConfig)
    lipread_targets: tuple[str, ...] = ("phones", "units")
    """What the lip reader names: `phones`, `units` (acoustic), or both."""

    sample_rate_hz: int = 16000
    """Audio rate of the network, Hz."""
    hop_samples: int = 320
    """Samples consumed by one step; sample_rate_hz / hop_samples is the motion rate (50 Hz)."""
    lookahead_samples: int = 1280
    """A motion frame depicts the instant this many samples before the end of the audio heard."""
    mel_window_samples: int = 400
    """Length of the spectral analysis window, samples (25 ms)."""
    mel_hop_samples: int = 160
    """Step of the spectral analysis, samples; must divide hop_samples."""
    mel_bands: int = 64
    """Number of mel bands."""
    channels: int = 192
    """Width of the audio latents."""
    encoder_dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8)
    """Dilation, in steps, of each causal block of the audio encoder."""
    decoder_dilations: tuple[int, ...] = (1, 2)
    """Dilation, in steps, of each causal block of the animation decoder."""
    kernel: int = 5
    """Taps of every depthwise convolution."""
    contacts: tuple[str, ...] = ("bilabial", "labiodental")
    """Contacts of the lips that are decided by gates of their own (`decoders.touch_lips`)."""
    early_contacts: bool = False
    """Decide contacts one frame before the motion that shows them, so that smoothing them over
    frames needs no further lookahead; takes a lookahead of at least two hops."""
    rest_gate: bool = False
    """Decide by one more gate where nobody speaks, and let the face rest there (`touch_lips`);
    takes both contacts."""
    expansion: int = 1
    """Hidden width of a block relative to `channels`."""
    motion_channels: int = 128
    """Width of the motion latents."""
    motion_dilations: tuple[int, ...] = (1, 2, 4)
    """Dilation, in frames, of each (non-causal) block of the motion encoder."""
    joint_channels: int = 64
    """Width of the space in which audio and motion latents are compared."""
    units: int = 64
    """Number of acoustic units (k-means clusters) the lip reader may name."""
    dropout: float = 0.0
    """Dropout inside blocks during training, as a fraction."""

    @property
    def model_rate_hz(self) -> float:
        """Motion frames per second of audio."""
        return self.sample_rate_hz / self.hop_samples

    @property
    def shift_frames(self) -> int:
        """Step i depicts motion frame i - shift_frames (see the timing contract of the bundle)."""
        return self.lookahead_samples // self.hop_samples - 1


@dataclass
class LossConfig:
    """Weight of each loss term; zero switches the term off (see `training/network/losses.py`)."""

    motion: float = 0.25
    """Reconstruction of the blendshape weights."""
    velocity: float = 0.05
    """Reconstruction of their frame-to-frame differences."""
    lip_vertices: float = 0.5
    """Distance of the lip vertices on the default head."""
    closure: float = 0.2
    """Gates of the lips' contacts against the labelled /p b m/ and /f v/."""
    rest: float = 0.1
    """Gate of rest, where the network has one, against labelled pauses and noise alone."""
    lipread_true: float = 0.1
    """Dual task: read phones and acoustic units from true motion."""
    lipread_predicted: float = 0.05
    """The same reader, held fixed, on predicted motion: the animation must be readable."""
    consistency: float = 0.05
    """Cross-modal: audio and motion latents of one instant agree, of other instants differ."""
    duality: float = 0.01
    """Dual supervised learning: both factorizations of the joint likelihood agree."""

    def check(self, targets: tuple[str, ...]) -> None:
        """Raise ValueError where a term needs a lip-reading target that is not among `targets`."""
        known = ("phones", "units")
        if not set(targets) <= set(known):
            raise ValueError(f"lipread_targets are {targets}, expected some of {known}")
        reading = self.lipread_true or self.lipread_predicted
        if reading and not targets:
            raise ValueError(
                "found no lipread_targets, expected one at least: give --network.lipread-targets "
                "or --loss.lipread-true 0 --loss.lipread-predicted 0"
            )
        if self.duality and "units" not in targets:
            raise ValueError(
                f"the duality term needs the target `units`, found {targets}: add it to "
                "--network.lipread-targets or give --loss.duality 0"
            )

    def dual_is_on(self) -> bool:
        """True when any term needs the motion encoder or the lip reader."""
        return any((self.lipread_true, self.lipread_predicted, self.consistency, self.duality))


@dataclass
class DataConfig:
    """What is trained on."""

    corpus: tuple[Path, ...] = (Path("corpus"),)
    """Folders written by `python -m training.corpus`."""
    holdout: tuple[str, ...] = ("1114_3_16",)
    """Clips whose name contains one of these are never trained on."""
    segment_s: float = 4.0
    """Length of one training segment, seconds."""
    batch: int = 16
    """Segments in a step."""
    captured_share: float = 0.3
    """Share of a batch drawn from captured motion, where there is any."""
    taught_share: float = 0.25
    """Share drawn from recordings whose motion a teacher told, where there are any."""
    recorded_share: float = 0.15
    """Share drawn from real recordings with phone labels, where there are any."""
    unpaired_share: float = 0.1
    """Share drawn from recordings without motion (trained through the dual branch)."""
    noise_share: float = 0.08
    """Share that is silence or noise alone, with the face at rest."""
    hold_share: float = 0.1
    """Share of the segments in which one vowel is held for up to 2.5 s, sound and face."""
    far_share: float = 0.0
    """Share of the segments heard as from across a room: in more echo, in more noise, beside a
    second voice. For a network that knows its lips already, and not for all that it hears: what
    is hard to hear makes all rounding smaller."""
    paired_fraction: float = 1.0
    """Fraction of the paired clips that is used (for data-efficiency experiments)."""
    vertices: tuple[Path, ...] = ()
    """Folders written by `python -m training.prepare vocaset|biwi`; each gets its own head."""
    vertex_share: float = 0.5
    """Share of the batches that show vertices, where there are blendshape clips too."""


@dataclass
class TrainConfig:
    """One training run."""

    out: Path = Path("runs/default")
    """Folder for checkpoints, the saved config and TensorBoard files."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    steps: int = 4000
    """Optimizer steps."""
    learning_rate: float = 2e-3
    """Peak learning rate of AdamW."""
    warmup_steps: int = 200
    """Steps of linear warm-up before the cosine decay."""
    weight_decay: float = 0.01
    """AdamW weight decay."""
    clip_norm: float = 1.0
    """Largest gradient norm."""
    ema: float = 0.998
    """Decay of the averaged weights that are evaluated and exported."""
    dual_start_step: int = 300
    """Step from which the terms that read predicted motion act (the reader must learn first)."""
    augment: bool = True
    """Noise, reverberation, gain, band-limiting, clipping and rate changes on the audio."""
    seed: int = 0
    """Seed of everything: same seed, data and machine give the same weights."""
    save_every: int = 500
    """Steps between checkpoints."""
    validate_every: int = 500
    """Steps between validations on the held-out captured clips."""
    accumulate: int = 1
    """Micro-batches of `data.batch` segments in a step, shared out over all processes."""
    precision: str = "auto"
    """`float32`, `bfloat16` (autocast), or `auto`: bfloat16 on CUDA, float32 on a CPU."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:N`, or `auto`: CUDA where there is any."""
    patience: int = 0
    """Validations without a better lip-vertex error after which training stops; 0: never."""
    validation_clips: int = 16
    """Most held-out vertex clips measured at a validation, of each folder."""
    loader_workers: int = 1
    """Processes that make batches ahead; 0 makes them in the training process."""
    threads: int = 2
    """CPU threads for torch."""
    start_from: Path | None = None
    """Checkpoint of a network for the same styles and phones, whose averaged weights this training
    begins with (default: random ones); for a second training on better targets."""
    learn: tuple[str, ...] = ()
    """What alone learns, by how its parameters' names begin, e.g. `animation.gate_rest`; all where
    nothing is named."""
    resume: bool = False
    """Continue from the newest checkpoint in `out`."""


# What configs of older checkpoints say of choices that are gone: the one that today's network has
# made, or None where the weights do not depend on it.
RETIRED = {
    "decoder": "parallel",
    "autoregressive": None,
    "basis": "pca",
    "components": None,
    "style_dropout": None,
    "consistency_negatives": "all",
    "consistency_predicted": False,
    "duality_spread_fixed": False,
}


def to_plain(config: Any) -> Any:
    """Return a dataclass config as JSON-ready dicts, lists and strings."""
    return json.loads(json.dumps(asdict(config), default=str))


def from_plain(kind: type[Config], plain: dict[str, Any]) -> Config:
    """Rebuild a config dataclass from `to_plain` output; fields that it lacks get their default.

    Raises:
        ValueError: a field is unknown to `kind` (and not `RETIRED`), or its value is of another
            type.
    """
    try:
        config = msgspec.convert(plain, kind, dec_hook=lambda path, value: path(value))
    except msgspec.ValidationError as error:
        raise ValueError(f"{kind.__name__}: {error}") from error
    unknown = list(_find_unknown(plain, to_plain(config)))
    if unknown:
        raise ValueError(
            f"{kind.__name__}: unknown fields {', '.join(unknown)}: it is of another version, "
            "expected one that this version wrote"
        )
    return config


def _find_unknown(plain: dict[str, Any], known: dict[str, Any], place: str = "") -> Iterator[str]:
    for name, value in plain.items():
        if name in known:
            if isinstance(value, dict):
                yield from _find_unknown(value, known[name], f"{place}{name}.")
        elif name not in RETIRED or RETIRED[name] not in (None, value):
            yield f"{place}{name} ({value!r})"


def save_config(config: Any, path: Path) -> None:
    """Write a config as JSON."""
    write_whole(path, json.dumps(to_plain(config), indent=2) + "\n")
