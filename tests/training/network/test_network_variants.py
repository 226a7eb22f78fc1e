"""Laws of the other encoders, decoders and heads: timing, caching, freezing, bases."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tiny_training import TINY_NETWORK, TINY_WAV2VEC2, make_network
from training.configs import EncoderConfig, LossConfig, NetworkConfig
from training.learning import build_network, describe_network
from training.network import (
    DualTalker,
    HeadPlan,
    StreamingTalker,
    WindowTalker,
    fit_basis,
    measure_lips,
    project,
)
from training.network.wav2vec2 import make_resampling

HOP = TINY_NETWORK.hop_samples


def make_audio(hops: int, seed: int = 0) -> torch.Tensor:
    return 0.2 * torch.randn(1, hops * HOP, generator=torch.Generator().manual_seed(seed))


# ---- wav2vec2 -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def heard() -> DualTalker:
    pytest.importorskip("transformers")
    return make_network(encoder=TINY_WAV2VEC2)


def test_resampling_gives_each_frame_its_own_time() -> None:
    features, frames = 30, 20
    matrix = make_resampling(features, frames, 2 * HOP, HOP)
    feature_samples = torch.arange(features) * 320.0 + 200.0
    wanted = (torch.arange(frames) + 2) * float(HOP)
    torch.testing.assert_close(matrix @ feature_samples, wanted)
    torch.testing.assert_close(matrix.sum(1), torch.ones(frames))
    held = make_resampling(4, 10, -3 * HOP, HOP)
    assert held[0, 0] == 1 and held[-1, -1] == 1


def test_wav2vec2_gives_one_frame_a_hop_for_any_length(heard: DualTalker) -> None:
    style = heard.animation.mix_styles({"rules": 1.0})
    for samples in (1, 300, 16000, 20001):
        with torch.no_grad():
            motion = heard.animate_whole(make_audio(70)[:, :samples], style)
        assert motion.shape == (-(-samples // HOP), 52)
        assert motion.min() >= 0 and motion.max() <= 1 and torch.isfinite(motion).all()


def test_wav2vec2_is_timed_like_the_streaming_encoder(heard: DualTalker) -> None:
    """A click moves the latents of the frames that depict it, wherever the lookahead lies."""
    quiet = 1e-3 * make_audio(60)
    click = quiet.clone()
    click[:, 30 * HOP : 31 * HOP] = 0.5
    encoder = heard.audio_encoder
    with torch.no_grad():
        change = (encoder(click) - encoder(quiet)).norm(dim=-1)[0]
        moved = (encoder.encode(click, 60) - encoder.encode(quiet, 60)).norm(dim=-1)[0]
    shift = TINY_NETWORK.shift_frames
    torch.testing.assert_close(change[shift:], moved[:-shift], atol=1e-4, rtol=1e-3)


def test_wav2vec2_front_end_is_frozen_and_the_rest_learns(heard: DualTalker) -> None:
    heard.train()
    heard.animate(make_audio(20), torch.tensor([0])).weights.sum().backward()
    model = heard.audio_encoder.model
    assert all(p.grad is None for p in model.feature_extractor.parameters())
    assert len(model.encoder.layers) == 2
    assert model.encoder.layers[0].attention.q_proj.weight.grad.abs().sum() > 0
    heard.eval()


def test_wav2vec2_loads_a_local_folder_and_its_first_layers(
    heard: DualTalker, tmp_path: Path
) -> None:
    heard.audio_encoder.model.save_pretrained(tmp_path)
    pretrained = dataclasses.replace(TINY_WAV2VEC2, pretrained=str(tmp_path), layers=1)
    loaded = make_network(encoder=pretrained).audio_encoder.model
    assert len(loaded.encoder.layers) == 1 and loaded.config._attn_implementation == "eager"
    wanted = heard.audio_encoder.model.state_dict()
    for name, tensor in loaded.state_dict().items():
        torch.testing.assert_close(tensor, wanted[name])
    with pytest.raises(ValueError, match="has 2"):
        make_network(encoder=dataclasses.replace(pretrained, layers=9))
    missing = dataclasses.replace(pretrained, pretrained=str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"config\.json"):
        make_network(encoder=missing)


def test_wav2vec2_network_is_rebuilt_from_its_description(heard: DualTalker) -> None:
    import json

    rebuilt = build_network(json.loads(json.dumps(describe_network(heard)))).eval()
    rebuilt.load_state_dict(heard.state_dict())
    style = heard.animation.mix_styles({})
    with torch.no_grad():
        before, after = (n.animate_whole(make_audio(15), style) for n in (heard, rebuilt))
    assert torch.equal(before, after)


def test_window_of_wav2vec2_is_the_whole_utterance(heard: DualTalker) -> None:
    window = WindowTalker(heard, {"rules": 1.0}).eval()
    with torch.no_grad():
        motion = window(make_audio(20))
    assert motion.shape == (1, 21, 52)
    assert motion.min() >= 0 and motion.max() <= 1
    with pytest.raises(ValueError, match="export_onnx"):
        WindowTalker(make_network(), {"rules": 1.0})
    with pytest.raises(ValueError, match="WindowTalker"):
        StreamingTalker(heard, {"rules": 1.0})


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="wav2vec2"):
        make_network(encoder=EncoderConfig(kind="hubert"))


# ---- Lip-reading targets ------------------------------------------------------------------------


def test_reader_names_what_is_asked() -> None:
    for targets in (("units",), ("phones", "units"), ("phones",)):
        config = dataclasses.replace(TINY_NETWORK, lipread_targets=targets)
        network = DualTalker(config, [True] * 52, ["rules"], ["sil", "AA"])
        read = network.read_lips(torch.rand(2, 9, 52))
        assert set(read) == set(targets)
        sizes = {"units": TINY_NETWORK.units, "phones": 3}
        for name, scores in read.items():
            assert scores.shape == (2, 9, sizes[name])
            torch.testing.assert_close(scores.exp().sum(-1), torch.ones(2, 9))


def test_losses_without_their_target_are_refused() -> None:
    LossConfig().check(("phones", "units"))
    with pytest.raises(ValueError, match="units"):
        LossConfig().check(("phones",))
    with pytest.raises(ValueError, match="lipread_targets"):
        LossConfig(duality=0).check(())
    with pytest.raises(ValueError, match="expected some of"):
        LossConfig().check(("words",))
    LossConfig(lipread_true=0, lipread_predicted=0, duality=0).check(())


# ---- Vertex heads -------------------------------------------------------------------------------


def make_displacements(frames: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(frames, 4)) @ rng.normal(size=(4, 30))).astype(np.float32) * 0.01


def test_basis_of_full_rank_gives_the_mesh_back() -> None:
    displacements = make_displacements()
    basis = fit_basis(displacements, 4)
    coordinates = project(displacements, basis)
    np.testing.assert_allclose(coordinates @ basis, displacements, atol=1e-6)
    # Summed squares of coordinates are squared distances, 1 for the average frame.
    assert (coordinates**2).sum(1).mean() == pytest.approx(1.0, rel=1e-4)
    ratio = (displacements**2).sum(1) / (coordinates**2).sum(1)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
    two = fit_basis(displacements, 2)
    assert np.abs(project(displacements, two) @ two - displacements).max() > 1e-3
    with pytest.raises(ValueError, match=r"vertex\.rank"):
        fit_basis(displacements[:3], 4)


def test_lip_metric_measures_lip_distance() -> None:
    displacements = make_displacements()
    basis = fit_basis(displacements, 4)
    coordinates = project(displacements, basis)
    lips = np.array([1, 5])
    metric = measure_lips(basis, lips, coordinates)
    by_metric = np.einsum("fr,rs,fs->f", coordinates, metric, coordinates)
    direct = (displacements.reshape(-1, 10, 3)[:, lips] ** 2).sum((1, 2))
    np.testing.assert_allclose(by_metric, direct / direct.mean(), rtol=1e-3)


def test_heads_share_the_trunk_and_nothing_else() -> None:
    plans = [HeadPlan("flame", 6, 20, 3, 1), HeadPlan("biwi", 4, 30, 5, 1)]
    styles = ["biwi:x", "flame:y", "rules"]
    network = DualTalker(TINY_NETWORK, [True] * 52, styles, ["sil"], plans)
    audio, style = make_audio(12), torch.tensor([1])
    for plan in plans:
        network.zero_grad()
        out = network.animate(audio, style, plan.name)
        assert out.weights.shape == (1, 12 - TINY_NETWORK.shift_frames, plan.rank)
        network.motion_encoder(out.weights, plan.name).sum().backward()
        for other in plans:
            outlet = network.animation.vertex_heads[other.name].outlet
            used = [p.grad is not None for p in outlet.parameters()]
            assert all(used) if other is plan else not any(used)
        assert network.animation.head.weight.grad is None
        assert network.audio_encoder.inlet.weight.grad is not None
        head = network.animation.vertex_heads[plan.name]
        posed = head.pose(out.weights[0], torch.zeros(plan.vertices, 3))
        assert posed.shape == (len(out.weights[0]), plan.vertices, 3)
    rebuilt = build_network(describe_network(network))
    rebuilt.load_state_dict(network.state_dict())


def test_streaming_needs_a_blendshape_head() -> None:
    network = DualTalker(
        NetworkConfig(), [False] * 52, ["a"], ["sil"], [HeadPlan("flame", 2, 5, 2, 1)]
    )
    with pytest.raises(ValueError, match="flame"):
        StreamingTalker(network, {"a": 1.0})


@pytest.mark.slow
def test_window_is_exported_as_a_bundle_that_gives_the_same(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from dualtalker.model import load_bundle
    from dualtalker.model.backends import OnnxRuntimeBackend
    from engines.windowed import export_windowed, plan_window

    plan = plan_window(20 * HOP, 2 * HOP, 3, spacing=HOP)
    network = make_network(encoder=TINY_WAV2VEC2)  # its weight norm is fused on the way
    talker = WindowTalker(network, {"rules": 1.0}).eval()
    audio = make_audio(20)
    with torch.no_grad():
        whole = talker(audio)[0].numpy()
    bundle = load_bundle(export_windowed(talker, tmp_path / "window.onnx", plan))
    import onnxruntime

    session = onnxruntime.InferenceSession(str(bundle.onnx_path))
    (exported,) = session.run(None, {"audio": audio.numpy()})
    np.testing.assert_allclose(exported[0], whole, atol=1e-4)
    backend = OnnxRuntimeBackend(bundle)
    assert backend.new_state() is not None
    backend.close()
    # The last frame used depicts an instant `lookahead` before the window's end.
    last = plan.valid_start + plan.frames_per_step - 1
    assert 20 * HOP - last * HOP == plan.lookahead_samples
