"""Gains: a style's faces move as far as its held-out talkers do, and are exported so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from dualtalker.arkit import ARKIT_INDEX
from tiny_training import make_clip, tiny_train_config
from training.calibrate import (
    GAIN_RANGE,
    CalibrationConfig,
    CalibrationError,
    calibrate,
    measure_spread,
)
from training.data import ANYBODY, load_clips, save_clips
from training.learning import load_checkpoint, load_network, save_checkpoint, train
from training.network import StreamingTalker

JAW = ARKIT_INDEX["jawOpen"]


def write_corpus(folder: Path) -> Path:
    """Two captured talkers; of one a clip is held out, of the other's source a stranger's."""
    clips = [make_clip("made", 0)]
    for style, source in (("captured:one", "captured:a"), ("captured:two", "captured:b")):
        fields = {"style": style, "source": source, "phones": None}
        clips.append(make_clip(f"{style} 1", 1, **fields))
    for style, source in (("captured:one", "captured:a"), ("captured:other", "captured:b")):
        fields = {"style": style, "source": source, "phones": None, "split": "validation"}
        clips.append(make_clip(f"{style} held", 3, **fields))
    save_clips(folder, clips)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("calibrate")
    corpus = write_corpus(folder / "corpus")
    checkpoint = train(tiny_train_config(corpus, folder / "run", steps=30))
    # Of so few steps the lips' contacts are not to be had: none, here.
    loaded = load_checkpoint(checkpoint)
    groups = {group: loaded.group(group) for group in ("ema", "priors")}
    groups["ema"]["animation.gate.2.bias"] -= 20.0
    save_checkpoint(folder / "open.safetensors", groups, loaded.meta)
    return corpus, folder / "open.safetensors"


def test_styles_of_several_talkers_share_one(trained: tuple[Path, Path]) -> None:
    network, _ = load_network(trained[1])
    assert network.animation.styles == [ANYBODY, "captured:one", "captured:two", "rules"]


def test_shown_motion_spreads_as_far_as_the_truth(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    corpus, checkpoint = trained
    gains = calibrate(CalibrationConfig(checkpoint, tmp_path / "new.safetensors", (corpus,)))
    assert set(gains) == {ANYBODY, "captured:one", "captured:two"}
    before, _ = load_network(checkpoint)
    network, _ = load_network(tmp_path / "new.safetensors")
    held = [c for c in load_clips(corpus, "validation") if c.style == "captured:one"]
    spread = measure_spread(before, "captured:one", held)
    wanted = np.concatenate(spread.truth)[:, JAW].std()
    found = np.concatenate(spread.predicted)[:, JAW].std()
    gain = network.animation.gains[network.animation.styles.index("captured:one"), JAW]
    assert float(gain) == pytest.approx(np.clip(wanted / found, *GAIN_RANGE), rel=1e-4)
    audio = torch.from_numpy(held[0].audio).unsqueeze(0)
    shown = [
        StreamingTalker(n, {"captured:one": 1.0}).eval().run_apart(audio)[0][0, :, JAW]
        for n in (before, network)
    ]
    expected = (shown[0] * gain).clamp(0, 1)
    torch.testing.assert_close(shown[1], expected, atol=1e-5, rtol=0)
    assert np.all(network.animation.gains[network.animation.styles.index("rules")].numpy() == 1)


def test_gains_mix_as_styles_do_hop_by_hop(trained: tuple[Path, Path], tmp_path: Path) -> None:
    corpus, checkpoint = trained
    calibrate(CalibrationConfig(checkpoint, tmp_path / "new.safetensors", (corpus,)))
    network, _ = load_network(tmp_path / "new.safetensors")
    mixture = {"captured:one": 0.25, "rules": 0.75}
    fixed = StreamingTalker(network, mixture, smooth=True).eval()
    chosen = StreamingTalker(network, {}, True, tuple(network.animation.styles)).eval()
    weights = torch.zeros(1, 4)
    weights[0, [1, 3]] = torch.tensor([0.25, 0.75])
    audio = torch.from_numpy(load_clips(corpus)[0].audio[:16000]).unsqueeze(0)
    torch.testing.assert_close(fixed.run(audio), chosen.run(audio, weights))
    state, frames = chosen.new_state(), []
    for hop in audio.split(320, dim=1):
        with torch.no_grad():
            motion, *state = chosen(hop, *state, weights)
        frames.append(motion[0])
    streamed = torch.cat(frames)[chosen.shift_frames :]
    torch.testing.assert_close(
        streamed, chosen.run(audio, weights)[: len(streamed)], atol=1e-5, rtol=0
    )


def test_older_checkpoints_have_no_gains_and_nothing_held_out_is_named(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    corpus, checkpoint = trained
    old = load_checkpoint(checkpoint)
    groups = {g: old.group(g) for g in ("ema", "priors")}
    del groups["ema"]["animation.gains"]
    save_checkpoint(tmp_path / "old.safetensors", groups, old.meta)
    network, _ = load_network(tmp_path / "old.safetensors")
    assert bool((network.animation.gains == 1).all())
    save_clips(tmp_path / "all", [c for c in load_clips(corpus) if c.split == "train"])
    with pytest.raises(CalibrationError, match="--holdout"):
        calibrate(CalibrationConfig(checkpoint, tmp_path / "x.safetensors", (tmp_path / "all",)))
