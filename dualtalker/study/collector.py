"""Serves a study's page and takes its answers, in the manner of the face server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dualtalker.display import Access, ServerThread, list_addresses, make_http_server
from dualtalker.errors import StudyError
from dualtalker.study.answers import MAX_ANSWERS_BYTES
from dualtalker.study.making import ANSWERS, PUBLIC
from dualtalker.study.plan import read_key

COLLECTOR_PORT = 7653


class Collector(ServerThread):
    """Serves `public` of a study's folder and writes `answers`, one file a participant."""

    def __init__(
        self,
        study: Path,
        *,
        host: str = "127.0.0.1",
        port: int = COLLECTOR_PORT,
        names: Sequence[str] = (),
        token: str | None = None,
    ) -> None:
        """Listen; the page is served from `start` on. Arguments as those of `FaceServer`.

        Raises:
            StudyError: the folder is no study, or its page cannot begin.
            DisplayError: Tornado is missing, or the port is taken.
        """
        key = read_key(study)
        self._public = study / PUBLIC
        if not (self._public / "index.html").is_file():
            raise StudyError(f"{self._public} has no page; make the study again")
        if not key.plan.consent:
            raise StudyError(
                f"{study} has no text that participants agree to; make it with --consent TEXT"
            )
        folder = study / ANSWERS
        folder.mkdir(exist_ok=True)
        super().__init__(host, port)
        from dualtalker.study.handlers import Desk

        self._desk = Desk(Access(host, self.port, names, token), key, folder)

    def addresses(self) -> list[str]:
        """Return the URLs that participants open, with the token where one is needed."""
        return list_addresses(self.host, self.port, self._desk.access.token)

    @property
    def counters(self) -> dict[str, int]:
        """What was kept and refused so far, by kind."""
        return dict(self._desk.counters)

    def _make_server(self) -> Any:
        from tornado.web import Application

        from dualtalker.study.handlers import (
            AnswersHandler,
            CollectorScript,
            NextParticipant,
            StudyFile,
        )

        shared = {"stage": self._desk}
        application = Application(
            [
                (r"/answers", AnswersHandler, shared),
                (r"/participant", NextParticipant, shared),
                (r"/collector\.js", CollectorScript, shared),
                (r"/(.*)", StudyFile, {**shared, "path": str(self._public.resolve())}),
            ],
            log_function=lambda handler: None,  # what is refused is counted
        )
        return make_http_server(application, self._desk.counters, MAX_ANSWERS_BYTES)
