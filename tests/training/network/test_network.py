"""Laws of the network: streaming equals whole, no look into the future, shut lips are shut."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dualtalker import face
from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.evaluation import metrics
from dualtalker.rig.robot_head import build_head
from tiny_training import TINY_NETWORK
from training.configs import NetworkConfig, from_plain, to_plain
from training.network import (
    DualTalker,
    LogMel,
    StreamingTalker,
    mel_filters,
)
from training.network.decoders import (
    REST,
    bite_lip,
    close_lips,
    sharpen_gate,
    smooth_motion,
    touch_lips,
)

HOP = TINY_NETWORK.hop_samples


def make_network(early: bool = False, **changes: object) -> DualTalker:
    torch.manual_seed(3)
    config = dataclasses.replace(TINY_NETWORK, early_contacts=early, **changes)
    made = DualTalker(config, [True] * 52, ["captured:one", "rules"], ["sil", "AA", "PP"])
    torch.nn.init.normal_(made.animation.head.weight, std=0.5)
    torch.nn.init.normal_(made.animation.gate[-1].weight, std=2.0)
    for film in made.animation.film:
        torch.nn.init.normal_(film.weight, std=0.5)
    if config.rest_gate:  # at rest for half of the time
        last = made.animation.gate_rest[-1]
        torch.nn.init.normal_(last.weight, std=8.0)
        with torch.no_grad():
            logit = made.animation.gate_rest(made.eval().audio_encoder(make_audio(60, seed=1)))
            last.bias -= logit.median() + 0.5
    return made.eval()


@pytest.fixture()
def network() -> DualTalker:
    return make_network()


def make_audio(hops: int, seed: int = 0) -> torch.Tensor:
    return 0.2 * torch.randn(1, hops * HOP, generator=torch.Generator().manual_seed(seed))


def run_by_steps(talker: StreamingTalker, audio: torch.Tensor) -> torch.Tensor:
    state = talker.new_state()
    frames = []
    with torch.no_grad():
        for start in range(0, audio.shape[1], HOP):
            motion, *state = talker(audio[:, start : start + HOP], *state)
            frames.append(motion[0])
    return torch.cat(frames)


KINDS = {"contacts in time": {}, "early contacts": {"early": True}, "rest": {"rest_gate": True}}


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def any_network(request: pytest.FixtureRequest) -> DualTalker:
    return make_network(**request.param)


@pytest.mark.parametrize("smooth", [False, True])
def test_steps_equal_whole(any_network: DualTalker, smooth: bool) -> None:
    network = any_network
    talker = StreamingTalker(network, {"rules": 1.0}, smooth)
    audio = make_audio(40)
    with torch.no_grad():
        whole = talker.run(audio)
    stepped = run_by_steps(talker, audio)[talker.shift_frames :]
    assert whole.std() > 1e-3
    torch.testing.assert_close(stepped, whole[: len(stepped)], atol=2e-5, rtol=0)


@pytest.mark.parametrize("smooth", [False, True])
def test_motion_depends_on_audio_up_to_the_lookahead_and_no_further(
    any_network: DualTalker, smooth: bool
) -> None:
    talker = StreamingTalker(any_network, {"rules": 1.0}, smooth)
    audio = make_audio(40)
    changed = audio.clone()
    cut = 20 * HOP
    changed[:, cut:] = make_audio(20, seed=9)
    with torch.no_grad():
        difference = (talker.run(audio) - talker.run(changed)).abs().amax(1)
    first = int(torch.nonzero(difference > 1e-6)[0])
    # Frame k hears audio up to k * hop + lookahead: the first that can differ is cut - lookahead.
    assert first == (cut - talker.lookahead_samples) // HOP + 1


def test_motion_is_aligned_with_the_training_targets(network: DualTalker) -> None:
    audio = make_audio(30)
    with torch.no_grad():
        prediction = network.animate(audio, torch.tensor([1]))
        streamed = StreamingTalker(network, {"rules": 1.0}).run(audio)
    unclosed = prediction.weights[0].clamp(0, 1)
    open_frames = sharpen_gate(prediction.gate_logit)[0, :, 0] == 0
    jaw = ARKIT_INDEX["jawLeft"]  # untouched by the closure
    count = len(unclosed)
    torch.testing.assert_close(unclosed[:, jaw], streamed[:count, jaw], atol=2e-5, rtol=0)
    assert count == 30 - TINY_NETWORK.shift_frames
    assert open_frames.shape == (count,)


@pytest.mark.parametrize("early", [False, True])
def test_a_face_whose_gate_of_rest_is_whole_is_exactly_at_rest(early: bool) -> None:
    resting, free = make_network(early, rest_gate=True), make_network(early)
    audio = torch.cat([make_audio(20), torch.zeros(1, 20 * HOP)], 1)
    last = resting.animation.gate_rest[-1]
    with torch.no_grad():
        last.weight *= 20.0
        last.bias -= resting.animation.gate_rest(resting.audio_encoder(audio)).mean()
    known = resting.state_dict()
    free.load_state_dict({name: known[name] for name in free.state_dict()})
    talker, without = (StreamingTalker(n, {"rules": 1.0}, smooth=True) for n in (resting, free))
    with torch.no_grad():
        _, gates = talker.run_apart(audio)
        shown, expected = talker.run(audio), without.run(audio)
    rest = gates[0, :, REST]
    assert (rest == 1).any() and (rest == 0).any()
    assert (shown[rest == 1] == 0).all() and (expected[rest == 1] > 0.1).any()
    assert torch.equal(shown[rest == 0], expected[rest == 0])
    with pytest.raises(ValueError, match="expected both with a gate of rest"):
        make_network(rest_gate=True, contacts=("bilabial",))


def test_early_contacts_are_those_of_one_frame_less_lookahead() -> None:
    """They hear one hop less, and are shown beside the motion of their own frame."""
    early, late = make_network(early=True), make_network()
    late.config = dataclasses.replace(
        late.config, lookahead_samples=late.config.lookahead_samples - HOP
    )
    audio, style = make_audio(30), torch.tensor([1])
    with torch.no_grad():
        a, b = early.animate(audio, style), late.animate(audio, style)
        frames = a.gate_logit.shape[1]
        torch.testing.assert_close(a.gate_logit, b.gate_logit[:, :frames])
        assert a.gate_logit.std() > 0.1
        smoothed = StreamingTalker(early, {"rules": 1.0}, smooth=True)
        plain = StreamingTalker(make_network(), {"rules": 1.0}, smooth=True)
        whole = early.animate_whole(audio, early.animation.mix_styles({"rules": 1.0}))
        streamed = StreamingTalker(early, {"rules": 1.0}).run(audio)
    torch.testing.assert_close(whole, streamed, atol=2e-5, rtol=0)
    assert smoothed.lookahead_samples == early.config.lookahead_samples
    assert plain.lookahead_samples == early.config.lookahead_samples + HOP


def test_smoothing_early_contacts_shows_gates_as_those_in_time() -> None:
    generator = torch.Generator().manual_seed(0)
    motion, gate = (
        torch.rand(1, 9, 52, generator=generator),
        torch.rand(1, 9, 2, generator=generator),
    )
    in_time = smooth_motion(motion, gate)
    early = smooth_motion(motion, gate, early=True)
    torch.testing.assert_close(early[1], in_time[1])
    torch.testing.assert_close(early[0][:, 0], 0.65 * motion[:, 3] + 0.35 * motion[:, 2])


def test_early_contacts_need_something_to_be_early_in() -> None:
    config = dataclasses.replace(TINY_NETWORK, early_contacts=True, lookahead_samples=HOP)
    with pytest.raises(ValueError, match=r"expected at least 640 .*--network.lookahead-samples"):
        DualTalker(config, [True] * 52, ["rules"], ["sil"])


def test_weights_stay_in_bounds_for_any_sound(network: DualTalker) -> None:
    talker = StreamingTalker(network, {"rules": 1.0, "captured:one": 2.0})
    for audio in (make_audio(10) * 50, torch.zeros(1, 10 * HOP), torch.ones(1, 10 * HOP)):
        motion = run_by_steps(talker, audio.clamp(-1, 1))
        assert torch.isfinite(motion).all()
        assert motion.min() >= 0 and motion.max() <= 1


def test_styles_differ_and_mixing_one_style_is_that_style(network: DualTalker) -> None:
    audio = make_audio(12)
    rules = StreamingTalker(network, {"rules": 1.0}).run(audio)
    captured = StreamingTalker(network, {"captured:one": 1.0}).run(audio)
    same = StreamingTalker(network, {"rules": 7.0}).run(audio)
    assert not torch.allclose(rules, captured, atol=1e-4)
    torch.testing.assert_close(rules, same)


def test_unknown_style_is_refused_by_name(network: DualTalker) -> None:
    with pytest.raises(ValueError, match=r"captured:one.*rules"):
        StreamingTalker(network, {"nobody": 1.0})


def test_inactive_channels_stay_at_rest() -> None:
    active = [name.startswith("jaw") for name in ARKIT_NAMES]
    network = DualTalker(TINY_NETWORK, active, ["rules"], ["sil", "PP"]).eval()
    motion = StreamingTalker(network, {"rules": 1.0}).run(make_audio(10))
    idle = [i for i, on in enumerate(active) if not on and ARKIT_NAMES[i] != "mouthClose"]
    assert (motion[:, idle] == 0).all()


def test_closed_gate_shuts_the_lips_of_the_default_head_whatever_the_weights() -> None:
    head = build_head()
    shapes = ("jawOpen", "mouthFunnel", "mouthLowerDownLeft", "mouthUpperUpRight", "mouthPucker")
    rng = np.random.default_rng(1)
    weights = np.zeros((200, 52), np.float32)
    for name in shapes:
        weights[:, ARKIT_INDEX[name]] = rng.random(200)
    closed = close_lips(torch.from_numpy(weights), torch.ones(200, 1)).numpy()
    rest = float(head.lip_gap(np.zeros((1, 52), np.float32))[0])
    span = float(np.percentile(head.lip_gap(weights), 98)) - rest
    assert (head.lip_gap(closed) <= rest + 0.05 * span).all()
    untouched = close_lips(torch.from_numpy(weights), torch.zeros(200, 1)).numpy()
    np.testing.assert_array_equal(untouched, weights)


def test_bite_gate_brings_the_lower_lip_to_the_teeth_whatever_the_weights() -> None:
    head = build_head()
    shapes = ("jawOpen", "mouthFunnel", "mouthLowerDownLeft", "mouthUpperUpRight", "mouthPucker")
    rng = np.random.default_rng(1)
    weights = np.zeros((200, 52), np.float32)
    for name in shapes:
        weights[:, ARKIT_INDEX[name]] = 0.7 * rng.random(200)
    raw, on, off = torch.from_numpy(weights), torch.ones(200, 1), torch.zeros(200, 1)
    bitten = bite_lip(raw, on).numpy()
    reach = float(np.percentile(metrics.lower_lip_drop(head, weights), 98))
    assert metrics.find_contact(metrics.lower_lip_drop(head, bitten), reach).all()
    upper = [ARKIT_INDEX["mouthUpperUpRight"]]
    np.testing.assert_array_equal(bitten[:, upper], weights[:, upper])
    np.testing.assert_array_equal(bite_lip(raw, off).numpy(), weights)
    both = touch_lips(raw, torch.cat([on, on], dim=1)).numpy()
    shut = close_lips(raw, on).numpy()
    assert (head.lip_gap(both) <= head.lip_gap(shut) + 1e-6).all(), "a closure wins"
    np.testing.assert_array_equal(touch_lips(raw, on).numpy(), shut)


@pytest.mark.parametrize("bitten", [False, True])
def test_contacts_are_those_that_known_text_makes(bitten: bool) -> None:
    weights = np.zeros(52, np.float32)
    for name in ("jawOpen", "mouthFunnel", "mouthLowerDownLeft", "mouthLowerDownRight"):
        weights[ARKIT_INDEX[name]] = 0.3
    make = bite_lip if bitten else close_lips
    for gate in (0.0, 0.3, 1.0):
        theirs = face.touch_lips(weights, 0.0 if bitten else gate, gate if bitten else 0.0, 0.0)
        ours = make(torch.from_numpy(weights), torch.tensor([gate])).numpy()
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_smoothing_keeps_contacts_of_two_frames_and_calms_noise() -> None:
    gate = torch.zeros(1, 12, 2)
    gate[0, 5:7, 0] = 1.0
    gate[0, 8, 1] = 1.0
    noise = torch.rand(1, 12, 52, generator=torch.Generator().manual_seed(0))
    motion, smoothed_gate = smooth_motion(noise, gate)
    closure = [0, 0, 0.1725, 0.575, 0.805, 0.575, 0.1725, 0, 0]
    assert smoothed_gate[0, :, 0].tolist() == pytest.approx(closure)
    assert smoothed_gate[0, :, 1].max() < 0.7, "one frame alone is noise"
    assert motion.diff(dim=1).std() < 0.6 * noise[:, 2:-1].diff(dim=1).std()
    still = torch.full((1, 12, 52), 0.3)
    torch.testing.assert_close(smooth_motion(still, gate)[0], still[:, 2:-1])
    assert (smooth_motion(still, torch.ones_like(gate))[1] == 1).all()
    same = smooth_motion(still, gate, taps=(0.0, 1.0, 0.0, 0.0), gain=1.0)[1]
    torch.testing.assert_close(same, gate[:, 2:-1])
    assert (smooth_motion(still, gate, gain=0.0)[1] == 0).all()


def test_mel_of_one_hop_equals_mel_of_the_whole() -> None:
    mel = LogMel(NetworkConfig())
    audio = make_audio(12)
    whole = mel(audio)
    for frame in range(0, whole.shape[1] - 1, 2):
        piece = audio[:, frame * mel.hop : frame * mel.hop + mel.window + mel.hop]
        torch.testing.assert_close(mel(piece)[0], whole[0, frame : frame + 2], atol=1e-4, rtol=0)


def test_mel_filters_peak_in_rising_order() -> None:
    filters = mel_filters(32, 512, 16000)
    peaks = filters.argmax(1)
    assert (np.diff(peaks) >= 0).all() and (filters >= 0).all()
    assert filters[:, -1].max() == 0.0


def test_hop_that_is_no_multiple_of_the_mel_hop_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        DualTalker(NetworkConfig(hop_samples=250), [True] * 52, ["rules"], ["sil"])


def test_config_survives_json() -> None:
    assert from_plain(NetworkConfig, to_plain(TINY_NETWORK)) == TINY_NETWORK
    with pytest.raises(ValueError, match=r"vertex\.wings \(2\)"):
        from_plain(NetworkConfig, {"vertex": {"wings": 2}})
    for wrong in ({"units": "6"}, {"units": 6.5}, {"contacts": [1]}, {"vertex": {"rank": None}}):
        with pytest.raises(ValueError, match=rf"NetworkConfig: .*{min(wrong)}"):
            from_plain(NetworkConfig, wrong)
