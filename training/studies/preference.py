"""Whom do people prefer? What models say of sentences they never learned from, for a study.

    python -m training.studies.preference dual=ALL.safetensors single=SINGLE.safetensors \\
        shipped=dualtalker/models/default.onnx --corpus corpus_grid --out contestants

Writes `recordings/*.wav`, held-out captured sentences, and for each contestant a folder of curves
of them, one CSV a recording: models and checkpoints, and `loudness`, which a model must at least
beat. All move the mouth alone, so that no blink tells who it is. Ends with the command that makes
the study of them (docs/study.md); name first whom you believe to follow the sound best.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from tqdm import tqdm

from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import write_motion_csv
from dualtalker.files import claim_folder, ending_in_order
from dualtalker.rig.robot_head import build_head
from training.data import MOTION_RATE_HZ, SAMPLE_RATE_HZ, Clip, load_clips
from training.evaluation import (
    Loudness,
    measure_full_loudness,
    read_held_out,
    read_training,
    to_recording,
)
from training.studies.readability import Move, move_by

LOUDNESS = "loudness"
RECORDINGS = "recordings"


@dataclass
class PreferenceConfig:
    """Write what contestants say, and the recordings that they say."""

    contestants: tyro.conf.Positional[tuple[str, ...]]
    """NAME=PATH of each model (.onnx) or checkpoint (.safetensors), the best first."""
    corpus: tuple[Path, ...] = (Path("corpus"),)
    """Folders of clips. Held-out captured ones are spoken, of unknown talkers where there are."""
    out: Path = Path("runs/preference")
    """Folder to fill."""
    recordings: int = 12
    """How many recordings are spoken, each talker's in turn."""
    threads: int = 1
    """CPU threads for torch."""


def read_ways(words: Sequence[str]) -> dict[str, Move]:
    """Return how each contestant `NAME=PATH` moves.

    Raises:
        DualtalkerError: a word is no such pair, a name is taken, or a file is broken.
    """
    ways: dict[str, Move] = {}
    for word in words:
        name, _, path = word.partition("=")
        if not name.isidentifier() or not path:
            raise DualtalkerError(
                f"found contestant {word!r}, expected NAME=PATH, as in ours=a.onnx"
            )
        if name in (*ways, LOUDNESS, RECORDINGS):
            raise DualtalkerError(f"contestant {name!r} is named twice; give it another name")
        if not Path(path).is_file():
            raise DualtalkerError(f"contestant {name}: {path} is no file")
        ways[name] = move_by(Path(path))
    return ways


def choose_spoken(folders: tuple[Path, ...], count: int) -> list[Clip]:
    """Return held-out captured clips, talker by talker in turn; of unknown ones where there are.

    Raises:
        DualtalkerError: there is none.
    """
    training = read_training(folders)
    held = [clip for clip in read_held_out(folders) if clip.style.startswith("captured")]
    unseen = [clip for clip in held if to_recording(clip, training).unseen]
    by_talker: dict[str, list[Clip]] = {}
    for clip in sorted(unseen or held, key=lambda clip: clip.name):
        by_talker.setdefault(clip.speaker, []).append(clip)
    turns = max(map(len, by_talker.values()), default=0)
    found = [own[turn] for turn in range(turns) for own in by_talker.values() if turn < len(own)]
    if not found:
        raise DualtalkerError(
            f"found no held-out captured clip in {[str(f) for f in folders]}, expected some: "
            "`python -m training.corpus --lips DIR --holdout NAME` makes them"
        )
    return found[:count]


def move_by_loudness(folders: Sequence[Path], spoken: Sequence[Clip]) -> Move:
    """Return how the jaw moves that follows loudness as well as loudness can."""
    full = measure_full_loudness(
        (clip.audio, np.arange(clip.frames) / MOTION_RATE_HZ) for clip in spoken
    )
    learned = [c for f in folders for c in load_clips(f) if c.split == "train"]
    loudness = Loudness(learned, build_head(), full)
    return lambda clip: loudness.animate(clip.audio, clip.frames, clip.style)


def write_contestants(config: PreferenceConfig) -> list[str]:
    """Write recordings and curves; return the words of the command that makes the study."""
    import soundfile

    torch.set_num_threads(config.threads)
    ways = read_ways(config.contestants)
    spoken = choose_spoken(config.corpus, config.recordings)
    ways[LOUDNESS] = move_by_loudness(config.corpus, spoken)
    claim_folder(config.out, f"{RECORDINGS}/*.wav")
    for name in (RECORDINGS, *ways):
        (config.out / name).mkdir(parents=True, exist_ok=True)
    sounds = [config.out / RECORDINGS / f"{clip.name}.wav" for clip in spoken]
    for clip, path in zip(tqdm(spoken, unit="recording"), sounds, strict=True):
        soundfile.write(path, clip.audio, SAMPLE_RATE_HZ)
        times_s = np.arange(clip.frames) / MOTION_RATE_HZ
        for name, move in ways.items():
            motion = move(clip)
            assert motion is not None
            write_motion_csv(config.out / name / f"{clip.name}.csv", times_s, motion)
    pairs = [f"{name}={config.out / name}" for name in ways]
    made = config.out.with_name("study")
    return [
        *("dualtalker", "study", "make"),
        *pairs,
        "--recordings",
        *map(str, sounds),
        "-o",
        str(made),
    ]


@ending_in_order()
def main() -> None:
    """Parse the command line, write the contestants, print what to do next."""
    config = tyro.cli(PreferenceConfig, description=__doc__)
    try:
        words = write_contestants(config)
    except (DualtalkerError, ValueError) as error:
        sys.exit(f"training.studies.preference: {error}")
    print(shlex.join(words))


if __name__ == "__main__":
    main()
