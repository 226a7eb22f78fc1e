"""How the smoothing of the contacts' gates and the mixture of styles decide a model's figures.

    python -m training.studies.gates CHECKPOINT --corpus corpus_real

Prints two Markdown tables over the held-out clips: gates in one mixture, and mixtures with the
gate that `engines.export_onnx` builds in. The motion is that of the exported graph, computed in
torch over whole recordings; figures of a bundle in its Talker are those of `training.evaluate`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro

if TYPE_CHECKING:
    from dualtalker.evaluation import Recording
    from training.data import Clip
    from training.network import DualTalker

GATES = (
    "25,35,25,15:0",
    "0,100,0,0:1",
    "20,30,30,20:1.5",
    "20,30,30,20:1.6",
    "25,35,25,15:1.6",
    "25,35,25,15:1.7",
    "25,35,25,15:1.75",
    "25,35,25,15:1.9",
)
MIXTURES = (
    "captured",
    "rules:0.15,captured:0.85",
    "rules:0.3,captured:0.7",
    "captured:facegood",
    "captured:s01",
    "rules",
)
_FIGURES = (
    ("jitter ratio", "jitter"),
    ("jaw r", "jaw r"),
    ("rounding r", "rounding r"),
    ("closures met", "/p b m/"),
    ("closures met, unseen speakers", "/p b m/, unseen"),
    ("lip-teeth contact", "/f v/"),
    ("false closures", "false closures"),
)
"""Keys of `dualtalker/evaluation/table.py`, which tells their conventions, and
 the tables' headings."""


@dataclass
class GatesConfig:
    """Compare gates and mixtures of one network."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint of `python -m training.train` (.safetensors)."""
    corpus: tuple[Path, ...]
    """Folders of clips."""
    gates: tuple[str, ...] = GATES
    """Shares of next, this, last, last but one frame in percent, and the gain."""
    mixture: str = MIXTURES[1]
    """Of styles, in which the gates are compared."""
    mixtures: tuple[str, ...] = MIXTURES
    """That are compared with the built-in gate."""


@dataclass(frozen=True)
class Gate:
    """One smoothing of the gates: see `training.network.decoders.smooth_motion`."""

    taps: tuple[float, ...]
    """Shares of the next frame, this one, the last and the last but one."""
    gain: float

    @property
    def name(self) -> str:
        """What a row is called."""
        if not self.gain:
            return "none"
        shares = ", ".join(f"{100 * tap:g}" for tap in self.taps)
        return f"{shares} %, gain {self.gain:g}"


def read_gate(text: str) -> Gate:
    """Read "25,35,25,15:1.7": four shares in percent and the gain; 0 is a face without gates.

    Raises:
        ValueError: says what was expected.
    """
    shares, _, gain = text.partition(":")
    try:
        gate = Gate(tuple(float(share) / 100.0 for share in shares.split(",")), float(gain))
    except ValueError:
        gate = Gate((), 0.0)
    shares_fit = len(gate.taps) == 4 and all(0 <= tap <= 1 for tap in gate.taps)
    if not shares_fit or abs(sum(gate.taps) - 1.0) > 1e-6 or not 0 <= gate.gain < 100:
        raise ValueError(
            f"found the gate {text!r}, expected four shares that add up to 100 and a gain: "
            "25,35,25,15:1.7"
        )
    return gate


def measure(
    network: DualTalker,
    clips: Sequence[Clip],
    recordings: Sequence[Recording],
    mixture: Mapping[str, float],
    gate: Gate,
) -> dict[str, float]:
    """Return the figures of the network in one mixture of styles with one gate."""
    import torch

    from dualtalker.evaluation import measure_motions
    from dualtalker.rig.robot_head import build_head
    from training.network import StreamingTalker

    talker = StreamingTalker(network, dict(mixture), smooth=True).eval()
    motions = []
    for clip in clips:
        audio = torch.from_numpy(clip.audio).unsqueeze(0)
        with torch.no_grad():
            motion = talker.run(audio, taps=gate.taps, gain=gate.gain).numpy()
        motions.append(np.ascontiguousarray(motion[: clip.frames]))
    return measure_motions(recordings, motions, build_head())


def format_table(heading: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return a Markdown table, one row for each name; figures that nothing tells are dashes."""
    lines = [
        f"| {heading} | {' | '.join(title for _, title in _FIGURES)} |",
        "|---" * (len(_FIGURES) + 1) + "|",
    ]
    for name, figures in rows.items():
        cells = [f"{figures[key]:.3f}" if key in figures else "–" for key, _ in _FIGURES]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def compare(config: GatesConfig) -> str:
    """Measure all and return both tables.

    Raises:
        DualtalkerError: the checkpoint or a corpus is broken, or no clip was held out.
        ValueError: a gate cannot be read, a style was never trained, or the network does not
            stream.
    """
    from tqdm import tqdm

    from dualtalker.model import parse_style
    from training.evaluation import read_held_out, read_training, to_recording
    from training.learning import load_network
    from training.network import GATE_GAIN, GATE_TAPS

    tried = [read_gate(text) for text in config.gates]
    network, checkpoint = load_network(config.checkpoint)
    known = network.animation.styles
    mixtures = {text: parse_style(text, known) for text in (config.mixture, *config.mixtures)}
    for mixture in mixtures.values():
        network.animation.mix_styles(mixture)  # before minutes are spent on the others
    clips = read_held_out(config.corpus)
    training = read_training(config.corpus)
    recordings = [to_recording(clip, training) for clip in clips]
    built_in = Gate(GATE_TAPS, GATE_GAIN)

    gates = {
        gate.name: measure(network, clips, recordings, mixtures[config.mixture], gate)
        for gate in tqdm(tried, desc="gates")
    }
    styles = {
        text: measure(network, clips, recordings, mixtures[text], built_in)
        for text in tqdm(config.mixtures, desc="mixtures")
    }
    seconds = sum(clip.duration_s for clip in clips)
    facts = f"{config.checkpoint.name}, step {checkpoint.meta['step']}; {len(clips)} held-out "
    parts = [
        facts + f"clips, {seconds:.0f} s; built-in gate: {built_in.name}",
        format_table(f"gate, in {config.mixture}", gates),
    ]
    return "\n\n".join([*parts, format_table("mixture", styles)] if styles else parts)


def main() -> int:
    """Measure and print."""
    from dualtalker.errors import DualtalkerError

    config = tyro.cli(GatesConfig, description=__doc__)
    try:
        print(compare(config))
    except (DualtalkerError, ValueError) as error:
        print(f"training/studies/gates.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
