"""What the server of a study answers: its page, the next participant's number, and thanks."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tornado.web import HTTPError, StaticFileHandler

from dualtalker.display import POLICY, Access, Guard, Guarded
from dualtalker.errors import StudyError
from dualtalker.files import write_whole
from dualtalker.study.answers import Answers, read_answers
from dualtalker.study.plan import Key

log = logging.getLogger("dualtalker")

_NO_SPACE = 507
_BUSY = 409


@dataclass
class Desk:
    """Where answers are handed in; it belongs to the server's thread."""

    access: Access
    key: Key
    folder: Path
    """Of answers, one file a participant."""
    next_participant: int = 0
    counters: Counter[str] = field(default_factory=Counter)

    def keep(self, answers: Answers, content: bytes) -> bool:
        """Write a participant's answers; return whether they are there, False where others are."""
        path = self.folder / f"{answers.participant}.json"
        if path.exists():
            return path.read_bytes() == content
        write_whole(path, content)
        self.counters["kept"] += 1
        return True


class StudyFile(Guarded, StaticFileHandler):
    """The page and its videos, as they lie in the folder that is published."""

    policy = f"{POLICY}; media-src 'self'"

    def initialize(self, stage: Guard, path: str = "") -> None:
        """Tornado's constructor."""
        Guarded.initialize(self, stage)
        StaticFileHandler.initialize(self, path, "index.html")

    async def get(self, path: str, include_body: bool = True) -> None:
        """Send a file, or a part of it; an address with a token becomes a cookie first."""
        if not self.keep_token():
            await super().get(path, include_body)

    def set_extra_headers(self, path: str) -> None:
        """Let nothing be kept that a study made anew would change."""
        self.set_header("Cache-Control", "no-cache")


class CollectorScript(Guarded):
    """Tells the page that its answers are taken here."""

    policy = StudyFile.policy

    def get(self) -> None:
        """Send the script."""
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.finish("globalThis.COLLECTOR = true;\n")


class _Desk(Guarded):
    """Takes posts of our own page alone."""

    def prepare(self) -> None:
        """Refuse pages of other sites."""
        super().prepare()
        headers = self.request.headers
        if not self.stage.access.is_own_origin(headers.get("Origin"), headers.get("Host")):
            self._refuse("foreign_origins", "posted by a page of another site")


class NextParticipant(_Desk):
    """Numbers in a row, so that participants are balanced."""

    def post(self) -> None:
        """Give the next number that has neither been given nor answered."""
        desk: Desk = self.stage
        while (desk.folder / f"{desk.next_participant}.json").exists():
            desk.next_participant += 1
        self.finish({"participant": desk.next_participant})
        desk.next_participant += 1


class AnswersHandler(_Desk):
    """Takes answers, writes them whole, and never over others."""

    def post(self) -> None:
        """Check and keep them; the same ones again are thanked for again."""
        desk: Desk = self.stage
        try:
            answers = read_answers(self.request.body, desk.key)
        except StudyError as error:
            desk.counters["refused_answers"] += 1
            raise HTTPError(400, str(error)) from error
        try:
            is_kept = desk.keep(answers, self.request.body)
        except OSError as error:
            desk.counters["not_written"] += 1
            log.error("the answers of participant %d: %s", answers.participant, error)
            reason = f"the server cannot keep them: {error.strerror}"
            raise HTTPError(_NO_SPACE, reason) from error
        if not is_kept:
            desk.counters["refused_answers"] += 1
            raise HTTPError(_BUSY, f"participant {answers.participant} has answered")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("kept\n")
