"""The graph for whole recordings: the same motion as hop by hop, and never another model's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from dualtalker import Talker, animate
from dualtalker.engine import make_test_signal
from dualtalker.errors import BundleError
from dualtalker.model import load_bundle, load_offline, offline_path
from engines.export_offline import HOPS, TOLERANCE, export_offline
from engines.export_onnx import ExportConfig, ExportError, export
from streamed_speech import stream, weights_of
from tiny_training import TINY_NETWORK
from training.configs import to_plain
from training.learning import describe_network, save_checkpoint
from training.network import DualTalker

RATE_HZ = 16000


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with its offline graph; tests must not change its folder."""
    torch.manual_seed(3)
    network = DualTalker(TINY_NETWORK, [True] * 52, ["captured:one", "rules"], ["sil", "AA"])
    with torch.no_grad():  # trained weights differ; the exporter joins those that are alike
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    config = {"out": "runs/x", "data": {"corpus": ["x"]}, "network": to_plain(TINY_NETWORK)}
    meta = {
        "description": describe_network(network),
        "config": config,
        "data": [],
        **dict.fromkeys(("hours", "paired_hours", "commit", "torch", "step"), 0),
    }
    folder = tmp_path_factory.mktemp("offline")
    checkpoint = folder / "step_0000001.safetensors"
    save_checkpoint(checkpoint, {"ema": dict(network.state_dict())}, meta)
    path = folder / "net.onnx"
    export(ExportConfig(checkpoint, path, style={"rules": 1.0, "captured:one": 3.0}, steps=20))
    assert export_offline(path) <= TOLERANCE
    return path


def test_the_offline_graph_is_a_bundle_of_larger_steps(exported: Path) -> None:
    bundle = load_bundle(exported)
    offline = load_offline(bundle)
    assert offline is not None
    assert offline.sidecar.hop_samples == HOPS * bundle.sidecar.hop_samples
    assert offline.sidecar.frames_per_step == HOPS
    assert offline.sidecar.states == bundle.sidecar.states
    assert offline.sidecar.streaming_sha256 == bundle.digest


@pytest.mark.parametrize("seconds", [0.01, 0.3, 0.5, 1.77])
@pytest.mark.parametrize("style", [None, "rules"])
def test_streaming_equals_offline(exported: Path, seconds: float, style: str | None) -> None:
    audio = make_test_signal(round(seconds * RATE_HZ))
    options = {"fps": 60.0, "style": style, "intensity": 1.3, "head_motion": True}
    whole = animate(audio, RATE_HZ, model=exported, **options)
    cuts = range(320, len(audio), 320)
    frames = stream(Talker(exported, **options), audio, RATE_HZ, cuts, stamped=False)
    np.testing.assert_allclose(weights_of(frames), whole.weights, atol=1e-5)
    np.testing.assert_allclose(np.stack([f.head for f in frames]), whole.head, atol=1e-5)
    assert whole.bundle.onnx_path == exported
    assert whole.latency_s == pytest.approx(Talker(exported, **options).latency_s)


def test_whole_recordings_take_the_larger_steps(exported: Path, monkeypatch) -> None:
    taken = []
    real = Talker.__init__

    def note(self, model, **options):
        real(self, model, **options)
        taken.append(self.bundle.sidecar.frames_per_step)

    monkeypatch.setattr(Talker, "__init__", note)
    animate(np.zeros(RATE_HZ), RATE_HZ, model=exported)
    assert taken == [HOPS]


def test_the_graph_of_another_model_is_refused(exported: Path, tmp_path: Path) -> None:
    for path in (exported, offline_path(exported)):
        for suffix in (".onnx", ".json"):
            shutil.copy(path.with_suffix(suffix), tmp_path)
    stale = offline_path(tmp_path / exported.name).with_suffix(".json")
    record = json.loads(stale.read_text())
    stale.write_text(json.dumps(record | {"streaming_sha256": "0" * 64}))
    with pytest.raises(BundleError, match=r"streaming_sha256.*engines\.export_offline"):
        animate(np.zeros(RATE_HZ), RATE_HZ, model=tmp_path / exported.name)


def test_a_bundle_that_does_not_say_its_network_is_refused(stateful, tmp_path: Path) -> None:
    for suffix in (".onnx", ".json"):
        shutil.copy(stateful.onnx_path.with_suffix(suffix), tmp_path)
    with pytest.raises(ExportError, match=r"training\.config\.network"):
        export_offline(tmp_path / stateful.onnx_path.name)
    assert not offline_path(tmp_path / stateful.onnx_path.name).exists()


def test_weights_that_are_not_there_are_named(exported: Path, tmp_path: Path) -> None:
    shutil.copy(exported, tmp_path)
    record = json.loads(exported.with_suffix(".json").read_text())
    record["training"]["config"]["network"]["channels"] = 24
    (tmp_path / exported.name).with_suffix(".json").write_text(json.dumps(record))
    with pytest.raises(ExportError, match=r"no \S+ of shape"):
        export_offline(tmp_path / exported.name)


def test_the_shipped_model_has_its_offline_graph() -> None:
    bundle = load_bundle()
    offline = load_offline(bundle)
    assert offline is not None and offline.sidecar.states == bundle.sidecar.states
    audio = make_test_signal(round(1.3 * RATE_HZ))
    whole = animate(audio, RATE_HZ)
    frames = stream(Talker(), audio, RATE_HZ, range(320, len(audio), 320), stamped=False)
    np.testing.assert_allclose(weights_of(frames), whole.weights, atol=1e-5)
