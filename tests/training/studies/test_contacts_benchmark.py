"""The benchmark of contacts finds how far a jaw rises in them, and tells what it lacks."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dualtalker.arkit import ARKIT_INDEX
from tiny_training import TINY_NETWORK, make_clip
from training.data import save_clips
from training.network import (
    DualTalker,
    StreamingTalker,
)
from training.studies import contacts

STYLE = "captured:one"


@pytest.fixture(params=[False, True], ids=["contacts in time", "early contacts"])
def network(request: pytest.FixtureRequest) -> DualTalker:
    torch.manual_seed(0)
    config = dataclasses.replace(TINY_NETWORK, early_contacts=request.param)
    made = DualTalker(config, [True] * 52, [STYLE], ["sil", "AA", "PP"]).eval()
    torch.nn.init.normal_(made.animation.head.weight, std=0.3)
    torch.nn.init.normal_(made.animation.gate[-1].weight, std=20.0)
    sound = torch.from_numpy(make_clip("captured", 0, 8.0).audio).unsqueeze(0)
    with torch.no_grad():  # each contact in a third of the frames
        logits = made.animation.gate(made.audio_encoder(sound))[0]
        made.animation.gate[-1].bias -= logits.quantile(0.67, dim=0)
    return made


def test_the_rise_is_that_of_the_capture(network: DualTalker) -> None:
    """A capture that is the network's own motion with a jaw that rises by 0.3 and by 0.6."""
    clip = make_clip("captured", 0, 8.0, style=STYLE)
    talker = StreamingTalker(network, {STYLE: 1.0}, smooth=True).eval()
    with torch.no_grad():
        motion, gates = talker.run_apart(torch.from_numpy(clip.audio).unsqueeze(0))
    motion, gates = motion[0, : clip.frames].numpy(), gates[0, : clip.frames].numpy()
    assert (gates[:, 0] > 0.9).any() and (gates.max(axis=1) < 0.05).any()
    jaw = ARKIT_INDEX["jawOpen"]
    bitten = (gates[:, 1] > 0.9) & (gates[:, 0] < 0.1)
    motion = motion.copy()
    motion[:, jaw] *= np.where(gates[:, 0] > 0.9, 0.7, np.where(bitten, 0.4, 1.0))
    shut, bite = contacts.measure(network, dataclasses.replace(clip, motion=motion))
    assert shut.frames == (gates[:, 0] > 0.9).sum() and bite.frames == bitten.sum()
    assert shut.rise == pytest.approx(0.3, abs=1e-3)
    assert bite.frames > 0 and bite.rise == pytest.approx(0.6, abs=1e-3)


def test_held_out_clips_do_not_count(network: DualTalker) -> None:
    train = make_clip("first", 0, 4.0, style=STYLE)
    held = dataclasses.replace(make_clip("second", 1, 4.0, style=STYLE), split="validation")
    rows = list(contacts.list_rows(network, [train, held]))
    assert [row.split(" | ")[0] for row in rows[2:]] == [
        "| first",
        "| second (held out)",
        "| all trained on",
    ]
    assert rows[2].split(" | ")[1:] == rows[-1].split(" | ")[1:]


def test_what_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_clips(tmp_path / "clips", [make_clip("rules", 0)])
    words = [str(tmp_path / "none.safetensors"), "--corpus", str(tmp_path / "clips")]
    monkeypatch.setattr(sys, "argv", ["contacts", *words])
    assert contacts.main() == 2
    assert "expected a checkpoint" in capsys.readouterr().err
