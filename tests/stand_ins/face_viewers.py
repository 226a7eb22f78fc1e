"""Viewers of a face server that are no browser: they read what is sent, or stubbornly do not."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.websocket import WebSocketClientConnection, websocket_connect

HEADER = struct.Struct("<BBHIdd")
PATIENCE_S = 20.0


@dataclass
class Seen:
    """A binary message as a viewer reads it."""

    kind: int
    number: int
    at_s: float
    stamp: float
    values: np.ndarray
    received_s: float


def read_binary(message: bytes) -> Seen:
    kind, _, count, number, at_s, stamp = HEADER.unpack_from(message)
    values = np.frombuffer(message, "<f4" if kind == 1 else "<i2", offset=HEADER.size)
    assert len(values) == count
    return Seen(kind, number, at_s, stamp, values, time.monotonic())


async def join(
    port: int, query: str = "", protocol: str = "dualtalker-face-1", **headers: str
) -> tuple[WebSocketClientConnection, dict[str, Any] | None]:
    """Connect; return the connection and the hello, or None where it was closed instead."""
    request = HTTPRequest(f"ws://127.0.0.1:{port}/live{query}", headers=headers)
    viewer = await websocket_connect(request, subprotocols=[protocol])
    hello = await read(viewer)
    return viewer, None if hello is None else json.loads(hello)


async def read(viewer: WebSocketClientConnection) -> Any:
    return await asyncio.wait_for(viewer.read_message(), PATIENCE_S)


async def read_frames(viewer: WebSocketClientConnection, count: int) -> list[Seen]:
    found: list[Seen] = []
    while len(found) < count:
        message = await read(viewer)
        assert message is not None, viewer.close_reason
        if isinstance(message, bytes):
            found.append(read_binary(message))
    return found


async def get(port: int, path: str, method: str = "GET", **headers: str) -> HTTPResponse:
    request = HTTPRequest(
        f"http://127.0.0.1:{port}{path}",
        method=method,
        headers=headers,
        follow_redirects=False,
        decompress_response=False,
    )
    return await AsyncHTTPClient().fetch(request, raise_error=False)


def run(play: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(play(), 60.0)

    asyncio.run(limited())


def stall(port: int) -> socket.socket:
    """Connect as a viewer that never reads; return its socket."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: dualtalker-face-1\r\n\r\n".encode()
    )
    return connection


def wait_until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    end_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end_s, "it did not come to be"
        time.sleep(0.01)
