"""The network of a teacher and its training; what it labels is decided in `training.teacher`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from training.data import CHANNELS, PHONE_CLASSES
from training.network import masked_mean
from training.teaching.config import TeacherConfig
from training.teaching.lessons import UNKNOWN_PHONE, Draw, Lesson, draw

RULES_WEIGHT = 10.0  # of the motion by rule, in [0, 1], beside the phones' cross-entropy
PHONES_DROPOUT = 0.1  # hours of speech need less of it than minutes of capture


class Teacher(nn.Module):
    """Log-mel `[batch, bands, frames]` -> what it is asked for, `[batch, C, frames]`."""

    def __init__(self, bands: int, outputs: int, config: TeacherConfig) -> None:
        super().__init__()
        width = config.channels
        self.inlet = nn.Conv1d(bands, width, 1)
        self.inlet_dropout = nn.Dropout1d(0.1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, width, 5, padding=2 * d, dilation=d),
                nn.BatchNorm1d(width),
                nn.GELU(),
                nn.Conv1d(width, width, 1),
                nn.Dropout(PHONES_DROPOUT),
            )
            for d in config.dilations
        )
        self.outlet = nn.Conv1d(width, outputs, 1)
        self.phones = nn.Conv1d(width, len(PHONE_CLASSES), 1)
        self.rules = nn.Conv1d(width, CHANNELS, 1)

    def listen(self, mel: Tensor) -> Tensor:
        """Map log-mel to activations `[batch, width, frames]`."""
        x: Tensor = self.inlet(self.inlet_dropout(mel))
        for block in self.blocks:
            x = x + block(x)
        return x

    def forward(self, mel: Tensor) -> Tensor:
        """Map log-mel to captured motion in units of its scale."""
        motion: Tensor = self.outlet(self.listen(mel))
        return motion

    def judge_phones(self, segments: Draw) -> Tensor:
        """Loss of naming the phones and moving by rule."""
        heard = self.listen(segments.mel)
        named = functional.cross_entropy(
            self.phones(heard), segments.phones, ignore_index=UNKNOWN_PHONE
        )
        known = (segments.phones != UNKNOWN_PHONE).unsqueeze(1)
        moved = masked_mean((self.rules(heard) - segments.motion).square(), known)
        return named + RULES_WEIGHT * moved

    def judge_motion(self, segments: Draw) -> Tensor:
        """Loss of the captured motion."""
        return ((self(segments.mel) - segments.motion).square() * segments.weight).mean()


def train_phones(lessons: Sequence[Lesson], config: TeacherConfig) -> Teacher:
    """Train the network from which all members begin; untrained without `phone_steps`."""
    torch.manual_seed(config.seed)
    teacher = Teacher(int(np.prod(lessons[0].mel.shape[1:])), 1, config)
    rng = np.random.default_rng(config.seed)
    optimizer, schedule = _make_optimizer(teacher, config.phone_steps, config)
    for _ in tqdm(range(config.phone_steps), unit="step", desc="phones"):
        segments = draw(lessons, config.batch, config.segment_s, rng)
        _descend(teacher.judge_phones(segments), optimizer, schedule)
    return teacher


def train_member(
    origin: Teacher, lessons: Sequence[Lesson], config: TeacherConfig, number: int
) -> Teacher:
    """Train the network `number` of an ensemble, from `origin` on, which stays as it is."""
    rng = np.random.default_rng([config.seed, number])
    torch.manual_seed(int(rng.integers(2**32)))
    teacher = Teacher(origin.inlet.in_channels, lessons[0].motion.shape[1], config)
    if config.phone_steps:
        heard = {k: v for k, v in origin.state_dict().items() if not k.startswith("outlet.")}
        teacher.load_state_dict(heard, strict=False)
    for module in teacher.modules():
        if type(module) is nn.Dropout:
            module.p = config.dropout
    optimizer, schedule = _make_optimizer(teacher, config.steps, config)
    for _ in range(config.steps):
        segments = draw(lessons, config.batch, config.segment_s, rng, config.tempo)
        _descend(teacher.judge_motion(segments), optimizer, schedule)
    return teacher.eval()


def _make_optimizer(
    teacher: Teacher, steps: int, config: TeacherConfig
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    teacher.train()
    optimizer = torch.optim.AdamW(
        teacher.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=max(steps, 1)
    )
    return optimizer, schedule


def _descend(
    loss: Tensor,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    schedule.step()
