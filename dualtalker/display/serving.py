"""What every server of ours is: sockets, bounds of connections, and a thread that answers."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections import Counter
from concurrent.futures import Future
from typing import Any, TypeVar

from dualtalker.display.access import check_host
from dualtalker.errors import DisplayError

PORT = 7652
# The kernel keeps so much for a viewer that does not read; more would be old when it is read.
_SEND_BUFFER = 32768
# Connections at a time, of whomever: beyond it new ones are closed, so that files stay to open.
_MOST_CONNECTIONS = 256
# One that takes nothing for so long is ended by the kernel.
_STALL_MS = 20_000

_Own = TypeVar("_Own", bound="ServerThread")


class ServerThread:
    """Answers in a thread of its own from `start` to `close`, which any thread may call."""

    def __init__(self, host: str, port: int) -> None:
        """Listen on an address or name; port 0 takes a free one.

        Raises:
            DisplayError: Tornado is missing, or the port is taken.
        """
        import_tornado()
        self._sockets = _listen(check_host(host), port)
        self.host, self.port = host, int(self._sockets[0].getsockname()[1])
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def start(self: _Own) -> _Own:
        """Serve until `close`; returns itself."""
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(ready,), name=type(self).__name__, daemon=True
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

    def __enter__(self: _Own) -> _Own:
        """Start."""
        return self.start()

    def __exit__(self, *args: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Tell who is there, and end the thread."""
        loop, stop, thread = self._loop, self._stop, self._thread
        if loop is not None and stop is not None and thread is not None and thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
            thread.join()
        for listener in self._sockets:
            listener.close()

    async def _serve(self, ready: Future[None]) -> None:
        """In the thread: answer until `close`."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = self._make_server()
        server.add_sockets(self._sockets)
        ready.set_result(None)
        await self._stop.wait()
        server.stop()
        await self._part()
        await server.close_all_connections()

    def _make_server(self) -> Any:
        """In the thread: return what `make_http_server` gives."""
        raise NotImplementedError

    async def _part(self) -> None:
        """In the thread: tell who is there that it ends."""


def import_tornado() -> Any:
    """Return Tornado; raises DisplayError that says how to get it."""
    try:
        import tornado.web
    except ImportError as error:
        raise DisplayError(
            f"a page for browsers needs Tornado ({error}): apt install python3-tornado, or "
            'pip install "dualtalker[face]"'
        ) from error
    return tornado


def make_http_server(application: Any, counters: Counter[str], most_body_bytes: int) -> Any:
    """Return an HTTP server with bounds; the connections that it refuses are counted."""
    from tornado.httpserver import HTTPServer

    class Server(HTTPServer):
        """Has a bound for connections that are no viewers (those have one of their own)."""

        def initialize(self, *args: Any, **named: Any) -> None:
            super().initialize(*args, **named)
            self.count = 0

        def handle_stream(self, stream: Any, address: Any) -> None:
            if self.count >= _MOST_CONNECTIONS:
                counters["refused_connections"] += 1
                stream.close()
                return
            self.count += 1
            super().handle_stream(stream, address)

        def on_close(self, server_conn: object) -> None:
            self.count -= 1
            super().on_close(server_conn)

    return Server(
        application,
        idle_connection_timeout=20.0,
        body_timeout=5.0,
        max_header_size=16384,
        max_body_size=most_body_bytes,
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
