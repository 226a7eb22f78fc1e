"""What changes as a run goes on: the learning rate, and when to stop."""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.configs import TrainConfig


def rate_at(config: TrainConfig, step: int) -> float:
    """Learning rate of a step: linear warm-up, then cosine to 2 % of the peak."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    span = max(1, config.steps - config.warmup_steps)
    progress = min(1.0, (step - config.warmup_steps) / span)
    return config.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


@dataclass
class EarlyStop:
    """Counts validations without a better figure; saved with a checkpoint, so resume repeats."""

    patience: int
    """Validations without a better one after which to stop; 0: never."""
    best: float | None = None
    """Lowest figure so far."""
    best_step: int = 0
    """Step at which it was measured."""
    waited: int = 0
    """Validations since."""

    def update(self, figure: float, step: int) -> bool:
        """Take the figure of a validation; True where it is the best so far."""
        if self.best is None or figure < self.best:
            self.best, self.best_step, self.waited = figure, step, 0
            return True
        self.waited += 1
        return False

    @property
    def reached(self) -> bool:
        """True when patience is at its end."""
        return 0 < self.patience <= self.waited
