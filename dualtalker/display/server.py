"""A talking face for browsers: an HTTP and WebSocket server in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from dualtalker.display.access import Access, list_addresses
from dualtalker.display.face_file import FaceFile
from dualtalker.display.protocol import (
    FACE_NAMES,
    LONGEST_MESSAGE,
    encode_frame,
    encode_sound,
    read_time,
)
from dualtalker.display.serving import PORT, ServerThread, make_http_server

if TYPE_CHECKING:
    from dualtalker.display.handlers import Stage

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
# Sound whose time differs by less from the end of what came before goes on from there.
_SEAM_S = 0.05
# A page keeps two seconds of frames: what is shown later than this from now is sent then.
_AHEAD_S = 1.0
# Without a timeout of its own: before Tornado 6.5 one of an interval ends those who answered.
_PING_S = 10.0


class FaceServer(ServerThread):
    """Shows one face on any number of screens. All methods may be called from any thread.

    None of them waits for a viewer: each has a queue of half a second, from which the oldest
    frames are dropped and counted.
    """

    def __init__(
        self,
        face: FaceFile,
        *,
        fps: float = 0.0,
        host: str = "127.0.0.1",
        port: int = PORT,
        names: Sequence[str] = (),
        token: str | None = None,
    ) -> None:
        """Listen; viewers are served from `start` on.

        Args:
            face: what `load_face` gives.
            fps: frames per second, as viewers are told; 0 is unknown.
            host: address or name to listen on. Other than loopback it demands a token, which is
                in its `addresses`.
            port: TCP port; 0 takes a free one.
            names: further host names by which the face may be asked for.
            token: what `keep_token` gives; None makes a new one, where one is needed.

        Raises:
            DisplayError: Tornado is missing, or the port is taken.
        """
        super().__init__(host, port)
        from dualtalker.display.handlers import Stage

        access = Access(host, self.port, names, token)
        self._stage = Stage(access, face, _read_page(), fps)
        self._position = 0  # of the next sample of sound
        self._sound_end_s = float("-inf")

    def addresses(self, query: str = "") -> list[str]:
        """Return the URLs to open, with the token where one is needed.

        `query` is of the page, for example "audio=1&face=2d".
        """
        return list_addresses(self.host, self.port, self._stage.access.token, query)

    @property
    def viewer_count(self) -> int:
        """How many screens are connected."""
        return len(self._stage.viewers)

    @property
    def wants_sound(self) -> bool:
        """Whether a screen is to be the loudspeaker, too."""
        return any(viewer.wants_sound for viewer in list(self._stage.viewers))

    @property
    def counters(self) -> dict[str, int]:
        """What was dropped and refused so far, by kind."""
        viewers = list(self._stage.viewers)
        dropped = self._stage.counters["dropped"] + sum(viewer.dropped for viewer in viewers)
        return {**self._stage.counters, "dropped": dropped}

    def statistics(self) -> list[dict[str, float]]:
        """Return what each viewer last told of itself (`protocol.Statistics`)."""
        told = [viewer.told for viewer in list(self._stage.viewers)]
        return [msgspec.structs.asdict(entry) for entry in told if entry is not None]

    def set_fps(self, fps: float) -> None:
        """Tell viewers that come from now on another frame rate."""
        self._stage.fps = fps

    def send_frame(
        self,
        index: int,
        show_at_s: float,
        weights: np.ndarray,
        head: np.ndarray | None = None,
        stamp_s: float = 0.0,
    ) -> None:
        """Show weights [52] and the head's angles [3] at `show_at_s` of `time.monotonic`.

        `stamp_s` is the audio's own time, for information.
        """
        values = np.zeros(len(FACE_NAMES), np.float32)
        values[: len(weights)] = weights
        if head is not None:
            values[len(weights) :] = head
        self._post(encode_frame(index, show_at_s, stamp_s, values), True)

    def send_sound(self, samples: np.ndarray, rate_hz: int, sounds_at_s: float) -> None:
        """Play mono float samples [n] from `sounds_at_s` on, on screens that are loudspeakers.

        What follows within 50 ms of the end of what came before joins it without a seam.
        """
        if abs(sounds_at_s - self._sound_end_s) > _SEAM_S:
            self._position = 0
        for piece in encode_sound(samples, rate_hz, sounds_at_s, self._position):
            self._post(piece, False)
        self._position += len(samples)
        self._sound_end_s = sounds_at_s + len(samples) / rate_hz

    def _make_server(self) -> Any:
        return make_http_server(_make_application(self._stage), self._stage.counters, 1024)

    async def _part(self) -> None:
        for viewer in list(self._stage.viewers):
            viewer.close(1001, "the server stops")
        await asyncio.sleep(0.05)  # for the farewells

    def _post(self, message: bytes, is_frame: bool) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        with contextlib.suppress(RuntimeError):  # it was closed in between
            loop.call_soon_threadsafe(self._hold, message, is_frame)

    def _hold(self, message: bytes, is_frame: bool) -> None:
        """In the thread: keep a message until it is nearly due."""
        wait_s = read_time(message) - time.monotonic() - _AHEAD_S
        if wait_s > 0:
            asyncio.get_running_loop().call_later(wait_s, self._spread, message, is_frame)
        else:
            self._spread(message, is_frame)

    def _spread(self, message: bytes, is_frame: bool) -> None:
        """In the thread: give a message to all whom it concerns."""
        now_s = time.monotonic()
        if is_frame:
            self._stage.last_frame = message
        for viewer in self._stage.viewers:
            if is_frame or viewer.wants_sound:
                viewer.send(message, now_s)


def _make_application(stage: Stage) -> Any:
    from tornado.web import Application

    from dualtalker.display.handlers import FaceHandler, PageFile, Viewer

    shared = {"stage": stage}
    return Application(
        [
            (r"/live", Viewer, shared),
            (r"/rig\.glb", FaceHandler, shared),
            (r".*", PageFile, shared),
        ],
        log_function=lambda handler: None,  # what is refused is counted
        websocket_max_message_size=LONGEST_MESSAGE,
        websocket_ping_interval=_PING_S,
    )


def _read_page() -> dict[str, tuple[str, bytes]]:
    """Return the page's files by the paths of their URLs."""
    found = {}
    for entry in (files("dualtalker.display") / "page").iterdir():
        kind = _TYPES.get("." + entry.name.rpartition(".")[2])
        if kind is not None:
            found[f"/{entry.name}"] = (kind, entry.read_bytes())
    found["/"] = found["/index.html"]
    return found
