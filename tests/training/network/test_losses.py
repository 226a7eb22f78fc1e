"""Each loss against a value worked out by hand, and where it must be zero or smallest."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.network import (
    assign_units,
    fit_bigram,
    fit_motion_prior,
    fit_units,
    losses,
    measure_scales,
    score_motion,
    score_units,
)


def full(value: float, *shape: int) -> torch.Tensor:
    return torch.full(shape, value)


def test_motion_loss_by_hand_and_masked() -> None:
    mask = torch.zeros(1, 2, 3)
    mask[0, 0, 0] = 1
    predicted = full(0.5, 1, 2, 3)
    scale = torch.tensor([0.125, 1.0, 1.0])
    loss = losses.motion_loss(predicted, full(0.25, 1, 2, 3), mask, scale)
    assert loss.item() == pytest.approx(4.0)
    assert losses.motion_loss(predicted, predicted, mask, scale).item() == 0
    unsupervised = torch.zeros(1, 2, 3)
    assert losses.motion_loss(predicted, full(9.0, 1, 2, 3), unsupervised, scale).item() == 0


def test_velocity_loss_ignores_offsets_and_counts_differences() -> None:
    target = torch.tensor([[[0.0], [0.1], [0.3]]])
    mask = torch.ones(1, 3, 1)
    scale = torch.tensor([0.1])
    same = losses.velocity_loss(target + 0.4, target, mask, scale)
    assert same.item() == pytest.approx(0, abs=1e-6)
    assert losses.velocity_loss(2 * target, target, mask, scale).item() == pytest.approx(2.5)


def test_lip_vertex_loss_is_in_square_centimetres() -> None:
    basis = torch.zeros(2, 6)
    basis[0, 0], basis[0, 4] = 0.03, 0.04  # one vertex moves 3 cm in x, the other 4 cm in y
    predicted, target = torch.tensor([[[0.5, 0.9]]]), torch.zeros(1, 1, 2)
    loss = losses.lip_vertex_loss(predicted, target, torch.ones(1, 1, 2), basis)
    assert loss.item() == pytest.approx((1.5**2 + 2.0**2) / 2, abs=1e-3)


def test_vertex_loss_by_hand_over_the_mesh_and_in_a_metric() -> None:
    predicted = torch.tensor([[[1.0, 2.0], [0.0, 0.0]]])
    target, mask = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    assert losses.vertex_loss(predicted, target, mask).item() == pytest.approx(5 / 2)
    metric = torch.tensor([[2.0, 1.0], [1.0, 0.0]])
    in_metric = losses.vertex_loss(predicted, target, mask, metric)
    assert in_metric.item() == pytest.approx((2 + 2 * 2) / 2)
    mask[0, 1] = 0
    assert losses.vertex_loss(predicted, target, mask).item() == pytest.approx(5.0)


def test_vertex_velocity_loss_ignores_offsets() -> None:
    target = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]]])
    mask = torch.ones(1, 3, 2)
    assert losses.vertex_velocity_loss(target + 3, target, mask).item() == pytest.approx(0)
    assert losses.vertex_velocity_loss(2 * target, target, mask).item() == pytest.approx(5 / 2)


def test_contact_loss_prefers_the_truth_and_adds_contacts_up() -> None:
    closed = torch.tensor([[[1.0], [0.0]]])
    mask = torch.ones(1, 2, 1)
    right = losses.contact_loss(torch.tensor([[[4.0], [-4.0]]]), closed, mask)
    wrong = losses.contact_loss(torch.tensor([[[-4.0], [4.0]]]), closed, mask)
    assert right < 0.05 < wrong
    undecided = losses.contact_loss(torch.zeros(1, 2, 1), closed, mask)
    assert undecided.item() == pytest.approx((3 + 1) * math.log(2) / 2)
    both = losses.contact_loss(torch.zeros(1, 2, 2), torch.cat([closed, closed], dim=-1), mask)
    assert both.item() == pytest.approx(2 * undecided.item())


def test_unit_loss_by_hand() -> None:
    scores = torch.tensor([[[0.5, 0.5], [0.25, 0.75]]]).log()
    loss = losses.unit_loss(scores, torch.tensor([[0, 1]]), torch.ones(1, 2))
    assert loss.item() == pytest.approx(-(math.log(0.5) + math.log(0.75)) / 2)


def test_phone_loss_is_the_probability_of_all_alignments() -> None:
    # One phone over two frames, p(blank) = p(phone) = 1/2: alignments (a-), (-a), (aa) of 4.
    scores = torch.full((1, 2, 2), 0.5).log()
    phones, lengths = torch.tensor([[1]]), torch.tensor([1])
    loss = losses.phone_loss(scores, phones, lengths, torch.ones(1))
    assert loss.item() == pytest.approx(-math.log(0.75) / 2)
    assert losses.phone_loss(scores, phones, lengths, torch.zeros(1)).item() == 0


def test_consistency_is_lowest_when_latents_of_one_instant_agree() -> None:
    latents = torch.randn(2, 20, 8, generator=torch.Generator().manual_seed(0))
    mask, temperature = torch.ones(2, 20), torch.tensor(-2.0)

    def score(motion: torch.Tensor) -> float:
        generator = torch.Generator().manual_seed(1)
        return losses.consistency_loss(latents, motion, mask, temperature, generator).item()

    assert score(latents) < 0.5 * score(latents.roll(3, dims=1))
    # Four instants at right angles: each finds itself with weight e^s among three of e^0.
    square = torch.eye(4).unsqueeze(0)
    sharpness = math.exp(2.0)
    loss = losses.consistency_loss(
        square, square, torch.ones(1, 4), temperature, torch.Generator().manual_seed(0)
    )
    assert loss.item() == pytest.approx(math.log(1 + 3 * math.exp(-sharpness)), rel=1e-3)
    nothing = losses.consistency_loss(
        latents, latents, torch.zeros(2, 20), temperature, torch.Generator()
    )
    assert nothing.item() == 0


def test_gaussian_likelihood_by_hand() -> None:
    value = losses.gaussian_log_likelihood(
        full(0.0, 1, 1, 1), full(0.2, 1, 1, 1), torch.tensor([math.log(0.1)]), full(1.0, 1, 1, 1)
    )
    expected = -0.5 * 4 - math.log(0.1) - 0.5 * math.log(2 * math.pi)
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_duality_is_zero_when_both_factorizations_agree() -> None:
    log_y_given_x, log_x = torch.tensor([-1.0, -5.0]), torch.tensor([-3.0, -1.0])
    log_x_given_y, log_y = torch.tensor([-2.0, -1.0]), torch.tensor([-2.0, -1.0])
    both = torch.tensor([1.0, 0.0])
    assert losses.duality_loss(log_y_given_x, log_x, log_x_given_y, log_y, both).item() == 0
    both = torch.ones(2)
    loss = losses.duality_loss(log_y_given_x, log_x, log_x_given_y, log_y, both)
    assert loss.item() == pytest.approx((0 + 16) / 2)


@pytest.mark.parametrize(
    "name", ["motion_loss", "velocity_loss", "vertex_loss", "vertex_velocity_loss"]
)
def test_gradients_match_finite_differences(name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    predicted = torch.rand(1, 4, 3, generator=generator, dtype=torch.double, requires_grad=True)
    target = torch.rand(1, 4, 3, generator=generator, dtype=torch.double)
    mask = torch.ones(1, 4, 3, dtype=torch.double)
    scale = torch.tensor([0.3, 0.5, 2.0], dtype=torch.double)
    rest = () if name.startswith("vertex") else (scale,)
    assert torch.autograd.gradcheck(
        lambda p: getattr(losses, name)(p, target, mask, *rest), (predicted,), eps=1e-7, atol=1e-5
    )


def list_dual_terms() -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """The other terms as functions of one tensor `[2, 4, 3]`, in double precision."""
    generator = torch.Generator().manual_seed(3)
    other = torch.rand(2, 4, 3, generator=generator, dtype=torch.double)
    ones, whole = torch.ones(2, 4, dtype=torch.double), torch.ones_like(other)
    basis = torch.rand(3, 6, generator=generator, dtype=torch.double)
    phones, lengths = torch.tensor([[1, 2], [2, 0]]), torch.tensor([2, 1])
    units = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 0]])
    log_scale, rows = torch.tensor([-1.0, -0.5, 0.3], dtype=torch.double), ones[:, 0]
    temperature = torch.tensor(-1.0, dtype=torch.double)

    def consistency(x: torch.Tensor) -> torch.Tensor:
        drawn = torch.Generator().manual_seed(1)
        return losses.consistency_loss(x, other, ones, temperature, drawn)

    def duality(x: torch.Tensor) -> torch.Tensor:
        seen = losses.gaussian_log_likelihood(x, other, log_scale, whole)
        heard = x.log_softmax(-1)[..., 0].mean(1)
        return losses.duality_loss(seen, rows * -1.2, heard, rows * -0.7, rows)

    return {
        "lip_vertex_loss": lambda x: losses.lip_vertex_loss(x, other, whole, basis),
        "contact_loss": lambda x: losses.contact_loss(x, other.round(), whole[..., :1]),
        "unit_loss": lambda x: losses.unit_loss(x.log_softmax(-1), units, ones),
        "phone_loss": lambda x: losses.phone_loss(x.log_softmax(-1), phones, lengths, rows),
        "consistency_loss": consistency,
        "duality_loss": duality,
    }


@pytest.mark.parametrize("name", list_dual_terms())
def test_gradients_of_the_other_terms_match_finite_differences(name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    point = torch.randn(2, 4, 3, generator=generator, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(list_dual_terms()[name], (point,), eps=1e-6, atol=1e-5)


def test_units_are_the_nearest_centers_and_repeat_with_the_seed() -> None:
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(m, 0.1, (50, 4)) for m in (-3, 0, 3)]).astype(np.float32)
    centers = fit_units(features, 3, seed=1)
    np.testing.assert_array_equal(centers, fit_units(features, 3, seed=1))
    units = assign_units(torch.from_numpy(features[None]), torch.from_numpy(centers))[0].numpy()
    assert [len(set(units[i * 50 : i * 50 + 50])) for i in range(3)] == [1, 1, 1]
    with pytest.raises(ValueError, match="at least 3"):
        fit_units(features[:2], 3, seed=1)


def test_marginals_prefer_what_they_were_fitted_on() -> None:
    alternating = np.array([0, 1] * 50)
    bigram = torch.from_numpy(fit_bigram([alternating], 2))
    seen, unseen = torch.tensor([[0, 1, 0, 1]]), torch.tensor([[0, 0, 1, 1]])
    assert score_units(seen, bigram) > score_units(unseen, bigram)
    np.testing.assert_allclose(np.exp(bigram.numpy()).sum(1), 1.0, rtol=1e-5)
    time = np.arange(200)[:, None] / 50
    smooth = (0.5 + 0.4 * np.sin(2 * np.pi * time * np.array([[1.0, 2.0]]))).astype(np.float32)
    prior = torch.from_numpy(fit_motion_prior([smooth]))
    rough = torch.from_numpy(np.random.default_rng(0).random((1, 200, 2)).astype(np.float32))
    mask = torch.ones(1, 200, 2)
    assert score_motion(torch.from_numpy(smooth[None]), prior, mask) > score_motion(
        rough, prior, mask
    )


def test_scales_are_those_of_the_motion_and_have_a_floor() -> None:
    rng = np.random.default_rng(0)
    motion = np.zeros((20000, 2), np.float32)
    for frame in range(1, len(motion)):
        motion[frame, 0] = 0.9 * motion[frame - 1, 0] + 0.1 * rng.standard_normal()
    spread, speed = measure_scales(torch.from_numpy(fit_motion_prior([motion])))
    assert spread[0].item() == pytest.approx(motion[:, 0].std(), rel=0.05)
    assert speed[0].item() == pytest.approx(np.diff(motion[:, 0]).std(), rel=0.05)
    assert spread[1].item() == pytest.approx(0.05)
    assert speed[1].item() == pytest.approx(0.02)
