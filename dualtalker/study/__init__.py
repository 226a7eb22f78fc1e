"""Studies that people answer: pairs of talking faces, a page that shows them, what it tells."""

from __future__ import annotations

from dualtalker.study.answers import Answer, Answers, read_answers
from dualtalker.study.collector import Collector
from dualtalker.study.contestants import read_contestants
from dualtalker.study.making import ANSWERS, PUBLIC, Progress, StudyOptions, make_study
from dualtalker.study.plan import Key, read_key
from dualtalker.study.report import StudyReport, report_study

__all__ = [
    "ANSWERS",
    "PUBLIC",
    "Answer",
    "Answers",
    "Collector",
    "Key",
    "Progress",
    "StudyOptions",
    "StudyReport",
    "make_study",
    "read_answers",
    "read_contestants",
    "read_key",
    "report_study",
]
