"""Watches a run for its two commonest failures, an exploding loss and a static face, and says so.

A static face: the prediction hardly moves where the target does, for regression toward the mean
is the cheapest way to be wrong about motion that does not fit its sound.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, field

import torch
from torch import Tensor

from training.learning.batches import Batch

WINDOW = 20  # observations
ENOUGH = 8  # observations for a median
EXPLODED = 8.0  # times the lowest median of an earlier window
# Share of the target's standard deviation: on captured speech the default network has 0.3 before
# it learns (it follows the sound at random) and 0.85 after 1,500 steps.
STATIC = 0.15
# Correlation won by shifting: 0.00-0.08 on captured pairs, 0.25-0.36 on the same 0.4 s apart.
MISFIT = 0.15
REACH_FRAMES = 25  # of the search for the shift, half a second each way
REPEAT_STEPS = 1000  # between two warnings of one kind


@dataclass(frozen=True)
class Vitals:
    """What one batch tells of the prediction's health."""

    predicted_deviation: float
    """Standard deviation over time of the predicted motion, mean over moving channels."""
    target_deviation: float
    """The same of the target."""
    audio_level: float
    """Root mean square of the audio, full scale 1."""
    supervised: float
    """Share of speech frames with a supervised target."""
    lag_gain: float
    """Correlation of loudness with target speed at the best lag within 0.5 s, less that at 0."""


def measure_vitals(predicted: Tensor, batch: Batch, hop: int) -> Vitals:
    """Measure predicted motion `[batch, frames, C]` against the batch's, in paired speech."""
    rows = (batch.paired * batch.speech) > 0
    with torch.no_grad():
        mask = batch.mask[rows]
        guess, truth = predicted.detach()[rows].float(), batch.motion[rows] * mask
        frames = truth.shape[1]
        if truth.shape[0] == 0:
            return Vitals(0.0, 0.0, 0.0, 0.0, 0.0)
        moved, moves = _deviate(guess, mask), _deviate(truth, mask)
        # Channels that do not move in this segment say nothing of liveliness.
        moving = moves > 0.01 * moves.amax().clamp_min(1e-6)
        audio = batch.clean[rows]
        loudness = audio[:, : frames * hop].unflatten(1, (frames, hop)).square().mean(-1).sqrt()
        return Vitals(
            float(moved[moving].mean()) if bool(moving.any()) else 0.0,
            float(moves[moving].mean()) if bool(moving.any()) else 0.0,
            float(audio.square().mean().sqrt()),
            float((mask.amax(-1) > 0).float().mean()),
            _measure_lag(loudness, truth),
        )


def _deviate(motion: Tensor, mask: Tensor) -> Tensor:
    """Standard deviation over supervised frames: `[batch, frames, C]` -> `[batch, C]`."""
    count = mask.sum(1).clamp_min(1.0)
    mean = (motion * mask).sum(1) / count
    return (((motion - mean.unsqueeze(1)).square() * mask).sum(1) / count).sqrt()


def _measure_lag(loudness: Tensor, truth: Tensor) -> float:
    """How much better loudness `[batch, frames]` fits the motion's speed when shifted."""
    speed = torch.nn.functional.pad((truth[:, 1:] - truth[:, :-1]).norm(dim=-1), (1, 0))
    left = loudness - loudness.mean(1, keepdim=True)
    right = speed - speed.mean(1, keepdim=True)
    scale = (left.square().sum() * right.square().sum()).sqrt().clamp_min(1e-9)
    scores = {
        lag: float((left.roll(lag, 1) * right).sum() / scale)
        for lag in range(-REACH_FRAMES, REACH_FRAMES + 1)
    }
    return max(scores.values()) - scores[0]


@dataclass
class CollapseDetector:
    """Gathers losses and vitals over a window of steps and warns."""

    patience_steps: int = 300
    """Steps before a static face is worth a warning: every network begins as one."""
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    vitals: deque[Vitals] = field(default_factory=lambda: deque(maxlen=WINDOW))
    lowest: float = float("inf")
    warned: dict[str, int] = field(default_factory=dict)

    def observe(self, vitals: Vitals, loss: float) -> None:
        """Take the figures of one batch."""
        self.losses.append(loss)
        if len(self.losses) >= ENOUGH:
            self.lowest = min(self.lowest, self._recent())
        if vitals.target_deviation > 0:
            self.vitals.append(vitals)

    def warn(self, step: int, rate: float) -> list[str]:
        """Return warnings, mostly none; one of a kind is repeated after 1,000 steps.

        `rate` is the learning rate.
        """
        warnings = []
        if len(self.losses) >= ENOUGH and self._recent() > EXPLODED * self.lowest:
            text = self._explain_explosion(self._recent(), rate)
            warnings += self._once("exploding", step, text)
        if step >= self.patience_steps and len(self.vitals) >= ENOUGH:
            predicted = sum(v.predicted_deviation for v in self.vitals)
            target = sum(v.target_deviation for v in self.vitals)
            if predicted < STATIC * target:
                warnings += self._once("static", step, self._explain_static(rate))
        return warnings

    def _recent(self) -> float:
        return statistics.median(list(self.losses)[-ENOUGH:])

    def _once(self, kind: str, step: int, text: str) -> list[str]:
        if step - self.warned.get(kind, -REPEAT_STEPS) < REPEAT_STEPS:
            return []
        self.warned[kind] = step
        return [f"step {step}: {text}"]

    def _explain_explosion(self, recent: float, rate: float) -> str:
        return (
            f"exploding loss: {recent:.3g}, after a lowest median of {self.lowest:.3g}. Likely "
            f"causes, the likeliest first: the learning rate ({rate:.1e}) is too high, halve "
            "--learning-rate; too few --warmup-steps; a recording with broken motion (look for "
            "frames outside its usual range); a large --loss.duality before the reader has "
            "learned (raise --dual-start-step)"
        )

    def _explain_static(self, rate: float) -> str:
        mean = {
            name: sum(getattr(v, name) for v in self.vitals) / len(self.vitals)
            for name in Vitals.__dataclass_fields__
        }
        causes = []
        if mean["audio_level"] < 1e-3:
            causes.append(f"the audio is nearly silent (level {mean['audio_level']:.1e})")
        if mean["supervised"] < 0.3:
            causes.append(
                f"only {mean['supervised']:.0%} of the speech frames have a supervised target: "
                "check the clips' motion_mask"
            )
        if mean["lag_gain"] > MISFIT:
            causes.append(
                "sound and motion do not fit each other in time: the motion goes with the "
                "loudness much better when shifted; check the offset with "
                "`python -m training.prepare --check`"
            )
        if mean["target_deviation"] < 5e-3:
            causes.append(
                f"the targets hardly move themselves (deviation {mean['target_deviation']:.1e}): "
                "check their unit"
            )
        if rate < 1e-5:
            causes.append(f"the learning rate is very low ({rate:.1e})")
        causes.append(
            "the sound does not tell of the motion, so that its mean is the best guess: look "
            "whether each recording has its own sound"
        )
        causes.append("the learning rate killed the trunk early: halve it, start again")
        share = mean["predicted_deviation"] / max(mean["target_deviation"], 1e-9)
        return (
            f"static face: in speech the prediction moves {share:.1%} as much as the target. "
            f"Likely causes, the likeliest first: {'; '.join(causes)}"
        )
