"""Configurations of network, losses and training run; `tyro` makes the command from them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints


@dataclass
class NetworkConfig:
    """Sizes of the DualTalker network."""

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
    """Weight of each loss term; zero switches the term off (see `training/losses.py`)."""

    motion: float = 1.0
    """Reconstruction of the blendshape weights."""
    velocity: float = 0.5
    """Reconstruction of their frame-to-frame differences."""
    lip_vertices: float = 0.5
    """Distance of the lip vertices on the default head."""
    closure: float = 0.2
    """Bilabial closure gate against the labelled closures."""
    lipread_true: float = 0.1
    """Dual task: read phones and acoustic units from true motion."""
    lipread_predicted: float = 0.05
    """The same reader, held fixed, on predicted motion: the animation must be readable."""
    consistency: float = 0.05
    """Cross-modal: audio and motion latents of one instant agree, of other instants differ."""
    duality: float = 0.01
    """Dual supervised learning: both factorizations of the joint likelihood agree."""

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
    recorded_share: float = 0.15
    """Share drawn from real recordings with phone labels, where there are any."""
    unpaired_share: float = 0.1
    """Share drawn from recordings without motion (trained through the dual branch)."""
    noise_share: float = 0.08
    """Share that is silence or noise alone, with the face at rest."""
    paired_fraction: float = 1.0
    """Fraction of the paired clips that is used (for data-efficiency experiments)."""


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
    loader_workers: int = 1
    """Processes that make batches ahead; 0 makes them in the training process."""
    threads: int = 2
    """CPU threads for torch."""
    resume: bool = False
    """Continue from the newest checkpoint in `out`."""


def to_plain(config: Any) -> Any:
    """Return a dataclass config as JSON-ready dicts, lists and strings."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_plain(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, (tuple, list)):
        return [to_plain(item) for item in config]
    return str(config) if isinstance(config, Path) else config


def from_plain(kind: type, plain: dict[str, Any]) -> Any:
    """Rebuild a config dataclass from `to_plain` output.

    Raises:
        ValueError: a field is unknown to `kind`.
    """
    hints = get_type_hints(kind)
    unknown = sorted(set(plain) - set(hints))
    if unknown:
        raise ValueError(f"{kind.__name__}: unknown fields {unknown}; known are {sorted(hints)}")
    values: dict[str, Any] = {}
    for name, value in plain.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint):
            values[name] = from_plain(hint, value)  # type: ignore[arg-type]
        elif isinstance(value, list):
            paths = "Path" in str(hint)
            values[name] = tuple(Path(item) if paths else item for item in value)
        else:
            values[name] = Path(value) if hint is Path else value
    return kind(**values)


def save_config(config: Any, path: Path) -> None:
    """Write a config as JSON."""
    path.write_text(json.dumps(to_plain(config), indent=2) + "\n", encoding="utf-8")
