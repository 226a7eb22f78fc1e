"""Who may see the face: names by which it is asked for, and the token of a face on the network."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from dualtalker.errors import DisplayError

TOKEN_BYTES = 16  # 128 bits


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach a server on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Access:
    """Judges the Host, Origin and token of each request.

    A page of another site that has the browser resolve its own name to this machine (DNS
    rebinding) asks by that name: only IP addresses and the names of this machine are answered.
    """

    def __init__(
        self, host: str, port: int, names: Sequence[str] = (), token: str | None = None
    ) -> None:
        """`names` are further host names by which the face may be asked for.

        A host other than loopback has a token: the given one, or else a new one of 128 bits.
        """
        self.token = None if is_loopback(host) else token or secrets.token_urlsafe(TOKEN_BYTES)
        self.cookie = f"dualtalker_face_{port}"  # cookies do not tell ports apart
        own = socket.gethostname().lower()
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}
        if self.token is not None:
            self._names |= {own, own.split(".")[0], f"{own.split('.')[0]}.local", host.lower()}

    def knows_host(self, header: str | None) -> bool:
        """Whether a request's Host names this machine."""
        host = _host_of(header)
        if host is None:
            return False
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host in self._names
        return self.token is not None or address.is_loopback

    def is_own_origin(self, origin: str | None, host_header: str | None) -> bool:
        """Whether a request comes from our own page, or from no page at all (no Origin)."""
        if origin is None:
            return True
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and parts.netloc == (host_header or "")

    def is_token(self, text: str | None) -> bool:
        """Whether this is the token; always, where none is needed."""
        if self.token is None:
            return True
        return text is not None and hmac.compare_digest(text.encode(), self.token.encode())


def _host_of(header: str | None) -> str | None:
    """Return the name or address in a Host header, in lower case, without port and brackets."""
    try:
        parts = urlsplit(f"//{header or ''}")
        if parts.username is not None or parts.path or parts.query or parts.fragment:
            return None
        _ = parts.port  # raises ValueError where it is no number
        return parts.hostname.rstrip(".") if parts.hostname else None
    except ValueError:
        return None


def list_addresses(host: str, port: int, token: str | None, query: str = "") -> list[str]:
    """Return the URLs by which people reach a server on `host`; `query` is of the page."""
    parts = [part for part in ("" if token is None else f"token={token}", query) if part]
    query = f"?{'&'.join(parts)}" if parts else ""
    if host not in ("0.0.0.0", "::", ""):
        shown = f"[{host}]" if ":" in host else host
        return [f"http://{shown}:{port}/{query}"]
    names = [*_list_outward(), f"{socket.gethostname().split('.')[0]}.local"]
    return [f"http://{name}:{port}/{query}" for name in names]


def _list_outward() -> list[str]:
    """Return the IPv4 addresses by which other machines reach this one, as far as is known.

    Debian lets a machine's own name be 127.0.1.1, so the way out is asked, too.
    """
    found = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect(("192.0.2.1", 9))  # sends nothing; the address is nobody's (RFC 5737)
        found.append(way.getsockname()[0])
    with contextlib.suppress(OSError):
        entries = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        found += [str(entry[4][0]) for entry in entries]
    return [a for a in dict.fromkeys(found) if not ipaddress.ip_address(a).is_loopback]


def check_host(host: str) -> str:
    """Return the host to listen on; raises DisplayError where it is no name and no address."""
    if not host or any(sign.isspace() or sign in "/[]?#@" for sign in host):
        raise DisplayError(
            f"host {host!r}; expected an address or a name of this machine, for example "
            "127.0.0.1 (this machine alone) or 0.0.0.0 (all networks, with a token)"
        )
    return host
