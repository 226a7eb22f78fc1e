"""A tiny corpus and tiny configs, made on the spot, for tests of the trainer. No tests here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from training.configs import DataConfig, EncoderConfig, NetworkConfig, TrainConfig, VertexConfig
from training.data import Clip, Phone, save_clips

if TYPE_CHECKING:
    from training.learning import Batch
    from training.network import DualTalker

TINY_VERTEX = VertexConfig(rank=3, fit_frames=60)
TINY_NETWORK = NetworkConfig(
    mel_bands=16,
    channels=16,
    encoder_dilations=(1, 2),
    decoder_dilations=(1,),
    kernel=3,
    motion_channels=12,
    motion_dilations=(1,),
    joint_channels=8,
    units=6,
)
TINY_WAV2VEC2 = EncoderConfig(
    kind="wav2vec2", layers=2, hidden=16, attention_heads=2, front_channels=8
)


def make_clip(name: str, seed: int, seconds: float = 3.0, **fields: object) -> Clip:
    """Syllables of a buzzing voice with closures between; the jaw follows the loudness."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * 16000)
    time_s = np.arange(samples) / 16000
    syllable_hz = rng.uniform(2.0, 4.0)
    envelope = np.maximum(0.0, np.sin(2 * np.pi * syllable_hz * time_s))
    pitch_hz = rng.uniform(90, 220)
    voice = sum(np.sin(2 * np.pi * pitch_hz * h * time_s) / h for h in range(1, 12))
    audio = (0.2 * envelope * voice + 0.001 * rng.standard_normal(samples)).astype(np.float32)
    frames = -(-samples // 320)
    motion = np.zeros((frames, len(ARKIT_NAMES)), np.float32)
    frame_envelope = np.maximum(0.0, np.sin(2 * np.pi * syllable_hz * np.arange(frames) / 50))
    motion[:, ARKIT_INDEX["jawOpen"]] = 0.5 * frame_envelope
    motion[:, ARKIT_INDEX["mouthFunnel"]] = 0.3 * frame_envelope * (seed % 2)
    mask = np.array([n.startswith(("jaw", "mouth")) for n in ARKIT_NAMES])
    half_s = 0.5 / syllable_hz
    phones = []
    for k in range(int(seconds / (2 * half_s))):
        start_s = 2 * k * half_s
        phones.append(Phone("AA", start_s, start_s + half_s))
        phones.append(Phone("PP", start_s + half_s, min(start_s + 2 * half_s, seconds)))
    values = {
        "motion": motion,
        "motion_mask": mask,
        "phones": phones,
        "style": "rules",
        "source": "made",
        **fields,
    }
    if values["motion"] is None:
        values["motion_mask"] = np.zeros(len(ARKIT_NAMES), bool)
    return Clip(name=name, audio=audio, **values)  # type: ignore[arg-type]


def make_corpus(folder: Path) -> Path:
    """Write rule-made, recorded, captured, unpaired and held-out clips; returns the folder."""
    clips = [make_clip(f"made_{i}", i) for i in range(3)]
    clips.append(make_clip("recorded", 4, source="labeled:test"))
    clips.append(make_clip("captured", 5, style="captured:one", phones=None))
    clips.append(make_clip("unpaired", 6, motion=None, phones=None, style="none"))
    clips.append(make_clip("held", 7, style="captured:one", phones=None, split="validation"))
    clips.append(make_clip("held_rules", 8, split="validation"))
    save_clips(folder, clips)
    return folder


def tiny_train_config(corpus: Path, out: Path, **fields: object) -> TrainConfig:
    """A run of a few steps on one thread."""
    values = {
        "steps": 6,
        "warmup_steps": 2,
        "dual_start_step": 2,
        "save_every": 3,
        "validate_every": 6,
        "threads": 1,
        "loader_workers": 0,
        "network": TINY_NETWORK,
        **fields,
    }
    return TrainConfig(
        out=out,
        data=DataConfig(corpus=(corpus,), segment_s=1.0, batch=4),
        **values,  # type: ignore[arg-type]
    )


def mesh_config(meshes: Path, out: Path, **fields: object) -> TrainConfig:
    """A run of a few steps on vertex clips alone."""
    config = tiny_train_config(Path("none"), out, **fields)
    config.data.corpus, config.data.vertices = (), (meshes,)
    config.network = dataclasses.replace(TINY_NETWORK, vertex=TINY_VERTEX)
    return config


def join(batches: list[Batch]) -> Batch:
    """One batch of the rows of several, phones padded to the longest."""
    import torch

    from training.learning import Batch
    from training.learning.batches import TENSORS

    longest = max(batch.phones.shape[1] for batch in batches)
    for batch in batches:
        missing = longest - batch.phones.shape[1]
        batch.phones = torch.nn.functional.pad(batch.phones, (0, missing))
    return Batch(**{n: torch.cat([getattr(b, n) for b in batches]) for n in TENSORS})


def make_network(**fields: object) -> DualTalker:
    import torch

    from training.network import DualTalker

    torch.manual_seed(2)
    config = dataclasses.replace(TINY_NETWORK, **fields)  # type: ignore[arg-type]
    network = DualTalker(config, [True] * 52, ["captured:one", "rules"], ["sil", "AA", "PP"])
    torch.nn.init.normal_(network.animation.head.weight, std=0.5)
    return network.eval()
