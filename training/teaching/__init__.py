"""Knowledge distillation: a teacher that sees the future, and the lessons it hears."""

from __future__ import annotations

from training.teaching.config import TeacherConfig
from training.teaching.lessons import find_spoken, hear, prepare_lesson
from training.teaching.network import Teacher, train_member, train_phones

__all__ = [
    "Teacher",
    "TeacherConfig",
    "find_spoken",
    "hear",
    "prepare_lesson",
    "train_member",
    "train_phones",
]
