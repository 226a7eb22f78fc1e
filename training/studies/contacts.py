"""How far a captured jaw rises in the contacts of the lips: where `face.JAW_RISE` is from.

    python -m training.studies.contacts CHECKPOINT --corpus corpus_real

For each captured clip and contact: what the jaw's opening without the contact, as the network has
it, must be multiplied with to come closest to the captured one (least squares), inside contacts
and in the speech outside of any. One less the ratio of both is the rise. A network opens the jaw
before its contacts so as to make up for a wrong rise, so the figure leans toward the one that the
checkpoint was trained with. Clips that were held out are told, and do not count in the sum.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    from training.data import Clip
    from training.network import DualTalker

TOUCHED, UNTOUCHED = 0.9, 0.05  # gates between are on their way


@dataclass
class ContactsConfig:
    """Measure the jaw's rise of one network."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint of `python -m training.train` (.safetensors)."""
    corpus: tuple[Path, ...]
    """Folders of clips."""


@dataclass
class Sums:
    """Sums of squares over frames, which add up over clips."""

    frames: int = 0
    product: float = 0.0
    square: float = 0.0
    outside_product: float = 0.0
    outside_square: float = 0.0

    def add(self, other: Sums) -> None:
        """Add another clip's."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def rise(self) -> float:
        """How far the jaw rises, of its opening without the contact; NaN without frames."""
        if not self.square or not self.outside_product:
            return float("nan")
        inside = self.product / self.square
        return 1.0 - inside * self.outside_square / self.outside_product


def measure(network: DualTalker, clip: Clip) -> list[Sums]:
    """Return the sums of one captured clip, one for each contact."""
    import torch

    from dualtalker.evaluation import metrics
    from training.network import StreamingTalker
    from training.teaching import find_spoken

    assert clip.motion is not None
    talker = StreamingTalker(network, {clip.style: 1.0}, smooth=True).eval()
    with torch.no_grad():
        motion, gates = talker.run_apart(torch.from_numpy(clip.audio).unsqueeze(0))
    frames = clip.frames
    jaw = metrics.jaw_opening(motion[0, :frames].numpy())
    captured = metrics.jaw_opening(clip.motion)
    gate = gates[0, :frames].numpy()
    outside = find_spoken(clip.audio, frames) & (gate.max(axis=1) < UNTOUCHED)
    found = []
    for contact in range(gate.shape[1]):
        # Shut lips win over the lip on the teeth, so that those frames are of the first contact.
        inside = (gate[:, contact] > TOUCHED) & (gate[:, :contact] < 1 - TOUCHED).all(axis=1)
        found.append(
            Sums(
                int(inside.sum()),
                float(jaw[inside] @ captured[inside]),
                float(jaw[inside] @ jaw[inside]),
                float(jaw[outside] @ captured[outside]),
                float(jaw[outside] @ jaw[outside]),
            )
        )
    return found


def list_rows(network: DualTalker, clips: Sequence[Clip]) -> Iterator[str]:
    """Yield the lines of the table: clips, then the sum of those that were trained on."""
    contacts = network.config.contacts
    whole = [Sums() for _ in contacts]
    heads = " | ".join(f"{name}, frames | rise" for name in contacts)
    yield f"| clip | {heads} |"
    yield "|---" * (1 + 2 * len(contacts)) + "|"

    def write(name: str, sums: Sequence[Sums]) -> str:
        cells = " | ".join(f"{part.frames} | {part.rise:.2f}" for part in sums)
        return f"| {name} | {cells} |"

    for clip in clips:
        sums = measure(network, clip)
        held = clip.split != "train"
        if not held:
            for total, part in zip(whole, sums, strict=True):
                total.add(part)
        yield write(clip.name + (" (held out)" if held else ""), sums)
    yield write("all trained on", whole)


def main() -> int:
    """Measure and print."""
    config = tyro.cli(ContactsConfig, description=__doc__)
    from dualtalker.errors import DualtalkerError
    from training.data import iterate_clips
    from training.learning import load_network

    try:
        network, _ = load_network(config.checkpoint)
        clips = [
            clip
            for folder in config.corpus
            for clip in iterate_clips(folder)
            if clip.motion is not None and clip.style in network.animation.styles
            if clip.style.startswith("captured") and not clip.source.startswith("taught")
        ]
        if not clips:
            raise DualtalkerError(
                "found no captured clip of a style that the network knows, expected some: "
                "`python -m training.corpus --arkit DIR`"
            )
        for row in list_rows(network, clips):
            print(row, flush=True)
    except (DualtalkerError, ValueError) as error:
        print(f"training/studies/contacts.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
