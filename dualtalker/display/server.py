"""A talking face for browsers: an HTTP and WebSocket server in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from dualtalker.display.access import Access, check_host, list_addresses
from dualtalker.display.face_file import FaceFile
from dualtalker.display.protocol import (
    FACE_NAMES,
    LONGEST_MESSAGE,
    encode_frame,
    encode_sound,
    read_time,
)
from dualtalker.errors import DisplayError

if TYPE_CHECKING:
    from dualtalker.display.handlers import Stage

PORT = 7652
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
# The kernel keeps so much for a viewer that does not read; more would be old when it is read.
_SEND_BUFFER = 32768
# Sound whose time differs by less from the end of what came before goes on from there.
_SEAM_S = 0.05
# A page keeps two seconds of frames: what is shown later than this from now is sent then.
_AHEAD_S = 1.0
# Connections at a time, of whomever: beyond it new ones are closed, so that files stay to open.
_MOST_CONNECTIONS = 256
# One that takes nothing for so long is ended by the kernel.
_STALL_MS = 20_000
# Without a timeout of its own: before Tornado 6.5 one of an interval ends those who answered.
_PING_S = 10.0


class FaceServer:
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
        import_tornado()
        from dualtalker.display.handlers import Stage

        self._sockets = _listen(check_host(host), port)
        self.host, self.port = host, int(self._sockets[0].getsockname()[1])
        access = Access(host, self.port, names, token)
        self._stage = Stage(access, face, _read_page(), fps)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
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

    def start(self) -> FaceServer:
        """Serve until `close`; returns itself."""
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(ready,), name="face server", daemon=True
        )
        self._thread.start()
        ready.result()
        return self

    def _run(self, ready: Future[None]) -> None:
        try:
            asyncio.run(self._serve(ready))
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)  # `start` raises it

    def __enter__(self) -> FaceServer:
        """Start."""
        return self.start()

    def __exit__(self, *args: object) -> None:
        """Close."""
        self.close()

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

    def close(self) -> None:
        """Tell the viewers, and end the thread."""
        loop, stop, thread = self._loop, self._stop, self._thread
        if loop is not None and stop is not None and thread is not None and thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
            thread.join()
        for listener in self._sockets:
            listener.close()

    async def _serve(self, ready: Future[None]) -> None:
        """In the thread: answer until `close`."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = _make_server(self._stage)
        server.add_sockets(self._sockets)
        ready.set_result(None)
        await self._stop.wait()
        server.stop()
        for viewer in list(self._stage.viewers):
            viewer.close(1001, "the server stops")
        await asyncio.sleep(0.05)  # for the farewells
        await server.close_all_connections()

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


def import_tornado() -> Any:
    """Return Tornado; raises DisplayError that says how to get it."""
    try:
        import tornado.web
    except ImportError as error:
        raise DisplayError(
            f"the face display needs Tornado ({error}): apt install python3-tornado, or "
            'pip install "dualtalker[face]"'
        ) from error
    return tornado


def _make_server(stage: Stage) -> Any:
    from tornado.httpserver import HTTPServer

    class Server(HTTPServer):
        """Has a bound for connections that are no viewers (those have one of their own)."""

        def initialize(self, *args: Any, **named: Any) -> None:
            super().initialize(*args, **named)
            self.count = 0

        def handle_stream(self, stream: Any, address: Any) -> None:
            if self.count >= _MOST_CONNECTIONS:
                stage.counters["refused_connections"] += 1
                stream.close()
                return
            self.count += 1
            super().handle_stream(stream, address)

        def on_close(self, server_conn: object) -> None:
            self.count -= 1
            super().on_close(server_conn)

    return Server(
        _make_application(stage),
        idle_connection_timeout=20.0,
        body_timeout=5.0,
        max_header_size=16384,
        max_body_size=1024,
    )


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


def _listen(host: str, port: int) -> list[socket.socket]:
    from tornado.netutil import bind_sockets

    if not 0 <= port < 2**16:  # the resolver takes it modulo that
        raise DisplayError(f"port {port}; expected 0 to 65535, for example {PORT}")
    try:
        sockets = bind_sockets(port, host)
    except UnicodeError as error:
        raise DisplayError(
            f"host {host!r}: {error}. Expected a name or an address of this machine"
        ) from error
    except OSError as error:
        mend = f"choose another with --port {port + 1} (or face_port), or end what uses it"
        if error.errno != errno.EADDRINUSE:
            mend = "is it an address of this machine, and a port above 1023?"
        raise DisplayError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; {mend}"
        ) from error
    for listener in sockets:  # connections inherit it
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALL_MS)
    return sockets


def _read_page() -> dict[str, tuple[str, bytes]]:
    """Return the page's files by the paths of their URLs."""
    found = {}
    for entry in (files("dualtalker.display") / "page").iterdir():
        kind = _TYPES.get("." + entry.name.rpartition(".")[2])
        if kind is not None:
            found[f"/{entry.name}"] = (kind, entry.read_bytes())
    found["/"] = found["/index.html"]
    return found
