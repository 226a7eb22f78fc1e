"""A checkpoint with a wav2vec2 encoder goes through the export command's road and streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from dualtalker import animate
from dualtalker.engine import make_test_signal
from dualtalker.model import load_bundle
from dualtalker.stream import Talker
from engines.export_onnx import ExportConfig, export
from tiny_training import TINY_WAV2VEC2, make_network
from training.learning import describe_network, save_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = make_network(encoder=TINY_WAV2VEC2)
    for film in network.animation.film:
        torch.nn.init.normal_(film.weight, std=0.5)
    meta = {
        "description": describe_network(network),
        "config": {"out": "runs/x", "data": {"corpus": ["x"]}},
        **dict.fromkeys(("hours", "paired_hours", "commit", "torch", "step"), 0),
        "data": [],
    }
    path = tmp_path_factory.mktemp("wav2vec2") / "step_0000001.safetensors"
    save_checkpoint(path, {"ema": dict(network.state_dict())}, meta)
    return path


def test_wav2vec2_checkpoint_becomes_a_windowed_bundle_that_streams(
    checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "window.onnx"
    config = ExportConfig(
        checkpoint, out, window_samples=6400, window_hop_frames=2, window_future_frames=3, steps=20
    )
    assert export(config) < 1e-4
    sidecar = load_bundle(out).sidecar
    assert (sidecar.kind, sidecar.hop_samples, sidecar.frames_per_step) == ("windowed", 640, 2)
    audio = make_test_signal(16000)
    whole = Talker(out, fps=25.0, idle_motion=False)
    whole.push(audio, 16000)
    expected = np.stack([frame.weights for frame in whole.frames() + whole.flush()])
    pieces = Talker(out, fps=25.0, idle_motion=False)
    frames = []
    for start in range(0, len(audio), 700):
        pieces.push(audio[start : start + 700], 16000)
        frames += pieces.frames()
    found = np.stack([frame.weights for frame in frames + pieces.flush()])
    assert len(expected) == 25 and expected.std() > 0
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (sidecar.style_names, sidecar.default_style) == (("captured:one", "rules"), (0.5, 0.5))
    others = [animate(audio, 16000, model=out, fps=25.0, style=s) for s in ("rules", "natural")]
    assert np.abs(others[0].weights - others[1].weights).max() > 1e-3
