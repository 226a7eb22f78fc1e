"""What a live way out is, and its address in words: `livelink://192.168.1.20:11111`."""

from __future__ import annotations

import logging
import socket
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

import numpy as np

from dualtalker.errors import OutputError
from dualtalker.faults import Faults
from dualtalker.stream import Frame

_log = logging.getLogger("dualtalker")


class Output(Protocol):
    """Takes frames as they are due."""

    counters: dict[str, int]

    def send(self, frame: Frame) -> None:
        """Give a frame away at once; what fails is counted."""

    def close(self) -> None:
        """Free what is held."""


class DatagramOutput:
    """Sends each frame as UDP datagrams, and never waits for the network."""

    scheme = ""
    usual_port = 0

    def __init__(self, address: SplitResult) -> None:
        """Raises OutputError for an address that means none."""
        text = address.geturl()
        try:
            port = address.port or self.usual_port
        except ValueError as error:
            raise OutputError(f"{text}: {error}") from error
        if not address.hostname:
            raise OutputError(f"{text}: no host; expected {self.scheme}://HOST:{self.usual_port}")
        try:
            kind, _, _, _, place = socket.getaddrinfo(
                address.hostname, port, type=socket.SOCK_DGRAM
            )[0]
            self._socket = socket.socket(kind, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            self._socket.connect(place)
        except (OSError, UnicodeError) as error:
            raise OutputError(f"{text}: {error}; check the name of the host") from error
        self.name = f"{self.scheme}://{address.hostname}:{port}"
        faults = Faults(
            ("sent", "full", "unreachable", "bad_frames"),
            lambda text: _log.warning("%s: %s", self.name, text),
        )
        self.counters, self._count = faults.counters, faults.count

    def encode(self, frame: Frame) -> list[bytes]:
        """Return the datagrams of a frame."""
        raise NotImplementedError

    def send(self, frame: Frame) -> None:
        """Send a frame, or count why not: a `full` socket, a host that is `unreachable`, NaN."""
        finite = np.isfinite(frame.weights).all()
        if not finite or not (frame.head is None or np.isfinite(frame.head).all()):
            self._count("bad_frames", "a frame holds NaN or infinity")
            return
        try:
            for datagram in self.encode(frame):
                self._socket.send(datagram)
        except BlockingIOError:
            self._count("full", "the network takes no more")
        except OSError as error:
            self._count("unreachable", str(error))
        else:
            self.counters["sent"] += 1

    def close(self) -> None:
        """Free the socket."""
        self._socket.close()


def split_address(text: str, schemes: dict[str, type[DatagramOutput]]) -> SplitResult:
    """Return the parts of an output's address; OutputError where it is none of `schemes`."""
    try:
        address = urlsplit(text)
    except ValueError as error:
        raise OutputError(f"{text}: {error}") from error
    if address.scheme not in schemes or not address.netloc:
        known = ", ".join(f"{name}://HOST:{kind.usual_port}" for name, kind in schemes.items())
        raise OutputError(f"{text!r} is no output; expected {known}")
    return address
