"""What the face server answers: the page's files, the face and the stream of frames."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from dualtalker.display.access import Access
from dualtalker.display.face_file import FaceFile
from dualtalker.display.protocol import (
    SUBPROTOCOL,
    Ping,
    Statistics,
    encode_hello,
    encode_pong,
    read_message,
)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; frame-ancestors 'none'"
)
MOST_VIEWERS = 64
# A viewer that does not take its frames in time loses the oldest.
LONGEST_WAIT_S = 0.5
MOST_WAITING = 512
# Messages of a viewer: so many a second, so many at once.
RATE_HZ, BURST = 20.0, 60.0
_PIECE = 65536  # bytes of a face that are sent at a time
_FLOOD = 1008
_WRONG_PROTOCOL = 1002
_TOO_MANY = 1013


class Guard(Protocol):
    """What handlers of a server share."""

    access: Access
    counters: collections.Counter[str]


@dataclass
class Stage:
    """What all viewers share; it belongs to the server's thread."""

    access: Access
    face: FaceFile
    files: dict[str, tuple[str, bytes]]  # path to content type and content
    fps: float = 0.0
    viewers: list[Viewer] = field(default_factory=list)
    last_frame: bytes | None = None
    counters: collections.Counter[str] = field(default_factory=collections.Counter)


class Guarded(RequestHandler):
    """Answers those only who ask by a name of this machine and have the token."""

    policy = POLICY

    def initialize(self, stage: Guard) -> None:
        """Tornado's constructor."""
        self.stage: Any = stage

    def set_default_headers(self) -> None:
        """Every answer says what a page may do."""
        self.clear_header("Server")
        self.set_header("Content-Security-Policy", self.policy)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")

    def prepare(self) -> None:
        """Refuse foreign names and wrong tokens."""
        access, headers = self.stage.access, self.request.headers
        if not access.knows_host(headers.get("Host")):
            self._refuse("unknown_hosts", "this face is asked for by another name")
        given = self.get_query_argument("token", None) or self.get_cookie(access.cookie)
        if not access.is_token(given):
            self._refuse("wrong_tokens", "open the address with the token that the server printed")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tell in one line, without HTML."""
        error = kwargs.get("exc_info", (None, None))[1]
        reason = (error.log_message if isinstance(error, HTTPError) else None) or self._reason
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}: {reason}\n")

    def log_exception(self, *args: Any) -> None:
        """Log what is our fault; what is refused is counted."""
        if not isinstance(args[1], HTTPError):
            super().log_exception(*args)

    def keep_token(self) -> bool:
        """Make a cookie of an address's token; return whether the browser is sent on without."""
        access = self.stage.access
        if access.token is None or self.get_query_argument("token", None) is None:
            return False
        self.set_cookie(access.cookie, access.token, httponly=True, samesite="Strict")
        rest = [part for part in self.request.query.split("&") if part[:6] != "token="]
        self.redirect(self.request.path + ("?" + "&".join(rest) if rest else ""))
        return True

    def _refuse(self, kind: str, reason: str) -> None:
        self.stage.counters[kind] += 1
        raise HTTPError(403, reason)


class PageFile(Guarded):
    """The page: its few files, read when the server starts."""

    def get(self) -> None:
        """Send a file; an address with a token becomes a cookie first."""
        entry = self.stage.files.get(self.request.path)
        if entry is None:
            self.stage.counters["unknown_paths"] += 1
            raise HTTPError(404, "no such file")
        if self.keep_token():
            return
        kind, content = entry
        self.set_header("Content-Type", kind)
        self.set_header("Cache-Control", "no-cache")
        self.finish(content)

    head = get


class FaceHandler(Guarded):
    """The GLB of the face."""

    async def get(self) -> None:
        """Send it, packed where the browser unpacks, as fast as that takes it.

        A large file as a whole would be copied for each screen, and would stop the frames of the
        others for a moment.
        """
        face = self.stage.face
        self.set_header("Content-Type", "model/gltf-binary")
        self.set_header("Vary", "Accept-Encoding")
        current = self.get_query_argument("sha256", None) == face.digest
        self.set_header("Cache-Control", f"private, max-age={31536000 if current else 0}")
        body = face.glb
        if "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            body = face.packed
        self.set_header("Content-Length", len(body))
        with contextlib.suppress(StreamClosedError):
            for start in range(0, len(body), _PIECE):
                self.write(body[start : start + _PIECE])
                await self.flush()

    head = get


class Viewer(Guarded, WebSocketHandler):
    """One screen: what waits for it, and what it tells of itself."""

    def open(self, *args: str, **kwargs: str) -> Awaitable[None] | None:
        """Say hello, and show the last frame."""
        self._queue: collections.deque[tuple[float, str | bytes]] = collections.deque()
        self._writer: asyncio.Task[None] | None = None
        self._flooding = False
        self._allowance, self._last_s = BURST, time.monotonic()
        self.dropped = 0
        self.told: Statistics | None = None
        self.wants_sound = self.get_query_argument("audio", "0") == "1"
        if self.selected_subprotocol != SUBPROTOCOL:
            self.close(_WRONG_PROTOCOL, f"expected the subprotocol {SUBPROTOCOL}")
            return None
        if len(self.stage.viewers) >= MOST_VIEWERS:
            self.stage.counters["refused_viewers"] += 1
            self.close(_TOO_MANY, f"{MOST_VIEWERS} screens show this face already")
            return None
        self.set_nodelay(True)
        stage = self.stage
        face, now_s = stage.face, time.monotonic()
        self.send(encode_hello(stage.fps, face.digest, face.shapes, now_s), now_s)
        if stage.last_frame is not None:
            self.send(stage.last_frame, now_s)
        stage.viewers.append(self)
        return None

    def check_origin(self, origin: str) -> bool:
        """Only our own page may open the stream from a browser."""
        own = self.stage.access.is_own_origin(origin, self.request.headers.get("Host"))
        self.stage.counters["foreign_origins"] += not own
        return own

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Take what is offered, so that a page of another version can be told to load anew."""
        if SUBPROTOCOL in subprotocols:
            return SUBPROTOCOL
        return subprotocols[0] if subprotocols else None

    def on_message(self, message: str | bytes) -> None:
        """Answer a ping, or note what the viewer tells."""
        if not self._may_speak():
            return
        try:
            read = read_message(message)
        except ValueError:
            self.stage.counters["bad_messages"] += 1
            return
        if isinstance(read, Ping):
            self.send(encode_pong(read, time.monotonic()), time.monotonic())
        else:
            self.told = read

    def on_ping(self, data: bytes) -> None:
        """Pings of the WebSocket protocol count like messages; Tornado answers them."""
        self._may_speak()

    def on_close(self) -> None:
        """Forget the viewer."""
        if self in self.stage.viewers:
            self.stage.viewers.remove(self)
            self.stage.counters["dropped"] += self.dropped
        self._queue.clear()

    def send(self, message: str | bytes, now_s: float) -> None:
        """Queue a message; what has waited too long before it is dropped and counted."""
        queue = self._queue
        while queue and (now_s - queue[0][0] > LONGEST_WAIT_S or len(queue) >= MOST_WAITING):
            queue.popleft()
            self.dropped += 1
        queue.append((now_s, message))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_all())

    async def _write_all(self) -> None:
        """Write what waits, as fast as the viewer takes it."""
        try:
            while self._queue:
                _, message = self._queue.popleft()
                await self.write_message(message, binary=isinstance(message, bytes))
        except (WebSocketClosedError, StreamClosedError):
            self._queue.clear()

    def _may_speak(self) -> bool:
        """Whether the viewer keeps to its rate; one that does not is closed."""
        if self._flooding:
            return False
        now_s = time.monotonic()
        self._allowance = min(BURST, self._allowance + RATE_HZ * (now_s - self._last_s))
        self._last_s = now_s
        if self._allowance < 1.0:
            self._flooding = True
            self.stage.counters["floods"] += 1
            self.close(_FLOOD, "too many messages")
            return False
        self._allowance -= 1.0
        return True
