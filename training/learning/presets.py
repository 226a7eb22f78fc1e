"""Starting points for `python -m training.train`, each a whole config that flags override."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.configs import DataConfig, EncoderConfig, LossConfig, NetworkConfig, TrainConfig

# The paper's substrate; a local folder serves as well (--network.encoder.pretrained DIR).
WAV2VEC2 = "facebook/wav2vec2-base-960h"


def make_presets() -> dict[str, tuple[str, TrainConfig]]:
    """Return (description, config) by name."""
    return {
        "default": ("The shipped streaming model, from clips with ARKit weights.", TrainConfig()),
        "arkit": ("Your own ARKit recordings, for a robot that streams.", make_arkit()),
        "vocaset": ("VOCASET's FLAME meshes, wav2vec2, whole utterances.", make_mesh("vocaset")),
        "biwi": ("BIWI's meshes, wav2vec2, whole utterances.", make_mesh("biwi")),
    }


def make_arkit() -> TrainConfig:
    """Recordings of one or a few performers: little data, so dropout and an early stop."""
    return TrainConfig(
        out=Path("runs/arkit"),
        network=NetworkConfig(dropout=0.1),
        data=DataConfig(
            corpus=(Path("corpus_arkit"),),
            holdout=(),
            captured_share=0.85,
            unpaired_share=0.15,
        ),
        patience=8,
        validate_every=250,
        save_every=250,
    )


def make_mesh(name: str) -> TrainConfig:
    """A mesh data set without phone labels: the lip reader names acoustic units."""
    return TrainConfig(
        out=Path("runs") / name,
        network=NetworkConfig(
            encoder=EncoderConfig(kind="wav2vec2", pretrained=WAV2VEC2),
            lipread_targets=("units",),
            dropout=0.1,
        ),
        loss=LossConfig(motion=1.0, velocity=0.5, closure=0.0),
        data=DataConfig(
            corpus=(),
            vertices=(Path(name),),
            batch=8,
            noise_share=0.04,
        ),
        steps=12000,
        learning_rate=1e-3,
        warmup_steps=500,
        patience=8,
    )


def parse_config(arguments: Sequence[str], description: str) -> TrainConfig:
    """Return the config of a command line: a preset's name, if any, then flags.

    Without a name it is `default`.
    """
    import tyro

    presets = make_presets()
    words = list(arguments)
    if not words or (words[0] not in presets and words[0] not in ("-h", "--help")):
        words.insert(0, "default")
    return tyro.extras.overridable_config_cli(presets, args=words, description=description)
