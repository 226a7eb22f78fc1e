"""Fits how far faces move: `python -m training.calibrate CHECKPOINT --corpus DIR --out NEW`.

A regression toward the mean moves less than its data: the less of a movement the sound tells, the
less of it is shown. So each style's weights are multiplied by a gain for each channel, such that
the standard deviation in speech is that of recordings on which the network was not trained.
Correlations stay as they are, and so do the contacts of the lips, which are made afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro
from tqdm import tqdm

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import metrics
from dualtalker.files import ending_in_order
from training.data import (
    ANYBODY,
    MOTION_RATE_HZ,
    SAMPLE_RATE_HZ,
    Clip,
    digest_of,
    iterate_clips,
)
from training.learning import load_network, save_checkpoint
from training.network import DualTalker, StreamingTalker

GAIN_RANGE = (0.7, 6.5)
LEAST_STD = 0.01  # of a channel that is fitted; less is noise of a tracker
# What people read a mouth by moves as far as its talkers do; rounding is of both shapes together,
# so that its correlation stays as well. Of the rest the sound tells little, so that what is shown
# is half a guess, and as large as theirs it would make the lips' gap worse; smiles and rolled lips
# do not part the lips, and may be.
WHOLE = (
    ("jawOpen",),
    ("mouthFunnel", "mouthPucker"),
    *((name,) for name in ARKIT_NAMES if name.startswith(("mouthSmile", "mouthRoll"))),
)
SHARE_OF_REST = 0.7


@dataclass
class CalibrationConfig:
    """Fit the gains of one checkpoint's captured styles on held-out clips."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint (.safetensors) of a streaming network."""
    out: Path
    """Checkpoint to write: the same network with gains."""
    corpus: tuple[Path, ...] = (Path("corpus"),)
    """Folders of clips; captured ones whose split is `validation` are measured."""
    most: float = GAIN_RANGE[1]
    """Largest gain."""


class CalibrationError(DualtalkerError):
    """There is nothing to fit, or nothing to fit it on."""


@dataclass
class Spread:
    """What the channels do in the truth and in the prediction, frame by frame."""

    truth: list[np.ndarray] = field(default_factory=list)
    predicted: list[np.ndarray] = field(default_factory=list)

    def fit(self, most: float) -> np.ndarray:
        """Return the gain of each channel `[52]`; 1 where the truth hardly moves.

        Raises:
            CalibrationError: there is no frame of speech without contacts.
        """
        if sum(map(len, self.truth)) < 2:
            raise CalibrationError(
                "found no speech in which the network leaves the lips apart, expected some: "
                "train it longer, or hold out longer clips"
            )
        truth, predicted = np.concatenate(self.truth), np.concatenate(self.predicted)
        gains = np.ones(len(ARKIT_NAMES))
        whole = [[ARKIT_INDEX[name] for name in group] for group in WHOLE]
        rest = [[c] for c in range(len(ARKIT_NAMES)) if all(c not in group for group in whole)]
        for group in (*whole, *rest):
            wanted = truth[:, group].sum(axis=1).std() * (1.0 if group in whole else SHARE_OF_REST)
            shown = predicted[:, group].sum(axis=1).std()
            if wanted >= LEAST_STD * SHARE_OF_REST and shown > 1e-4:
                gains[group] = np.clip(wanted / shown, GAIN_RANGE[0], most)
        return gains


def fit_gains(network: DualTalker, clips: Sequence[Clip], most: float) -> dict[str, np.ndarray]:
    """Return gains `[52]` of each captured style of the network, from captured clips.

    A style is measured on its own clips, or, where it has none, on other talkers' of its source.
    The style that all share gets the geometric mean of its gains on each source, in which a source
    that shows the whole mouth counts twice: how far lips in a video go is a convention.

    Raises:
        CalibrationError: no clip with captured motion is held out.
    """
    held = [c for c in clips if c.split == "validation"]
    if not held:
        raise CalibrationError(
            "found no held-out clip with captured motion, expected some: make the corpus with "
            "--holdout"
        )
    sources = {c.style: c.source for c in clips}
    gains = {}
    for style in (s for s in network.animation.styles if s in sources):
        own = [c for c in held if c.style == style] or [
            c for c in held if c.source == sources[style]
        ]
        if own:
            gains[style] = measure_spread(network, style, own).fit(most)
    if ANYBODY in network.animation.styles:
        fitted = []
        for source in sorted({c.source for c in held}):
            shown = [c for c in held if c.source == source]
            row = measure_spread(network, ANYBODY, shown).fit(most)
            fitted += [row, row] if shown[0].motion_mask[ARKIT_INDEX["mouthFunnel"]] else [row]
        gains[ANYBODY] = _average(fitted)
    return gains


def _average(gains: Sequence[np.ndarray]) -> np.ndarray:
    """Return the geometric mean of each channel over the rows in which it moves."""
    logs = np.log(gains)
    moves = logs != 0.0
    return np.asarray(np.exp(logs.sum(axis=0) / np.maximum(moves.sum(axis=0), 1)))


def measure_spread(network: DualTalker, style: str, clips: Sequence[Clip]) -> Spread:
    """Collect what a style's talkers and the network do in speech, contacts left out."""
    talker = StreamingTalker(network, {style: 1.0}, smooth=True).eval()
    talker.gain.fill_(1.0)
    spread = Spread()
    for clip in tqdm(clips, unit="clip", desc=style):
        assert clip.motion is not None
        with torch.no_grad():
            motion, gates = talker.run_apart(torch.from_numpy(clip.audio).unsqueeze(0))
        frames = min(len(clip.motion), motion.shape[1])
        times_s = np.arange(frames) / MOTION_RATE_HZ
        kept = metrics.find_speech_frames(clip.audio, SAMPLE_RATE_HZ, times_s)
        kept &= gates[0, :frames].amax(dim=1).numpy() < 0.5
        spread.truth.append((clip.motion[:frames] * clip.motion_mask)[kept])
        spread.predicted.append(motion[0, :frames].numpy()[kept])
    return spread


def calibrate(config: CalibrationConfig) -> dict[str, np.ndarray]:
    """Fit the gains and write the checkpoint with them; return them.

    Raises:
        CalibrationError: nothing is held out.
        CheckpointError: the checkpoint is missing, broken or of another network.
        ValueError: it does not stream.
    """
    network, checkpoint = load_network(config.checkpoint)
    clips = [
        clip
        for folder in config.corpus
        for clip in iterate_clips(folder)
        if clip.style.startswith("captured")
    ]
    gains = fit_gains(network, clips, config.most)
    table = torch.ones(len(network.animation.styles), len(ARKIT_NAMES))
    for style, row in gains.items():
        table[network.animation.styles.index(style)] = torch.from_numpy(row).float()
    names = {name.partition(".")[0] for name in checkpoint.tensors}
    groups = {name: checkpoint.group(name) for name in names}
    for name in names & {"ema", "network"}:
        groups[name]["animation.gains"] = table.clone()
    fitted = {folder.name: digest_of(folder) for folder in config.corpus}
    save_checkpoint(config.out, groups, {**checkpoint.meta, "gains_fitted_on": fitted})
    return gains


@ending_in_order()
def main() -> None:
    """Parse the command line, fit, and print the gains."""
    config = tyro.cli(CalibrationConfig, description=__doc__)
    try:
        gains = calibrate(config)
    except (DualtalkerError, ValueError) as error:
        sys.exit(f"training.calibrate: {error}")
    for style, row in gains.items():
        told = (f"{n} {g:.2f}" for n, g in zip(ARKIT_NAMES, row, strict=True) if g != 1.0)
        print(f"{style}: {', '.join(told)}")
    print(f"checkpoint with gains: {config.out}")


if __name__ == "__main__":
    main()
