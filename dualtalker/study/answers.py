"""One participant's answers: read strictly, and held to what the study's plan had shown."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from dualtalker.errors import StudyError
from dualtalker.study.plan import FORMAT, Key, Plan

# Of one file; an answer takes about 250.
MAX_ANSWERS_BYTES = 1 << 20
# As the page does: numbers that were given are smaller than those that it draws.
MOST_PARTICIPANT = 2**31 - 1

_Name = Annotated[str, msgspec.Meta(max_length=64)]
_Time = Annotated[str, msgspec.Meta(max_length=40, pattern=r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")]
_Number = Annotated[int, msgspec.Meta(ge=0, le=MOST_PARTICIPANT)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e7)]


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a participant said of one showing of a pair."""

    pair: _Number
    left: _Name
    right: _Name
    chosen: dict[_Name, Literal["left", "right"]]
    """Side by question."""
    plays: tuple[_Count, _Count]
    """How often each was played to its end."""
    seconds: _Seconds
    """From the showing to the answer."""

    def chosen_video(self, question: str) -> str:
        """Return the video that was chosen."""
        return self.left if self.chosen[question] == "left" else self.right


class Answers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of one participant."""

    format: int
    study: _Name
    participant: _Number
    began: _Time
    ended: _Time
    answers: tuple[Answer, ...]


def read_answers(content: bytes, key: Key) -> Answers:
    """Read a participant's answers.

    Raises:
        StudyError: they are no such JSON, to another study, or not to what the participant of
            that number was shown.
    """
    if len(content) > MAX_ANSWERS_BYTES:
        raise StudyError(f"{len(content)} bytes, expected at most {MAX_ANSWERS_BYTES}")
    try:
        answers = msgspec.json.decode(content, type=Answers)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StudyError(f"no answers to a study: {error}") from error
    if answers.format != FORMAT:
        raise StudyError(f"format {answers.format}, expected {FORMAT}")
    if answers.study != key.digest:
        raise StudyError(
            f"answers to study {answers.study[:12]}, expected {key.digest[:12]}: a page of "
            "another study, or of this one before it was made anew"
        )
    _check_shown(answers, key.plan)
    return answers


def _check_shown(answers: Answers, plan: Plan) -> None:
    schedule = plan.schedule_of(answers.participant)
    if len(answers.answers) != len(schedule):
        raise StudyError(f"{len(answers.answers)} answers, expected {len(schedule)}")
    for number, (answer, trial) in enumerate(zip(answers.answers, schedule, strict=True), 1):
        shown = (answer.pair, answer.left, answer.right)
        expected = (trial.pair, *plan.sides_of(trial))
        if shown != expected:
            raise StudyError(
                f"answer {number} is to pair {shown[0]} ({shown[1]}, {shown[2]}), expected "
                f"{expected[0]} ({expected[1]}, {expected[2]}) for participant "
                f"{answers.participant}"
            )
        if answer.chosen.keys() != plan.questions.keys():
            raise StudyError(
                f"answer {number} is to {sorted(answer.chosen)}, expected {sorted(plan.questions)}"
            )
