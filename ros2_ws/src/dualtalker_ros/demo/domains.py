"""Finds a ROS domain that nobody on this machine uses, so that two runs do not hear each other."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

# RTPS: ports of domain d begin at 7400 + 250 d; up to 101 they stay below the ephemeral range.
_FIRST_PORT = 7400
_PORTS_PER_DOMAIN = 250
_DOMAINS = range(1, 102)


def find_free_domain() -> int:
    """Return a domain whose first participants' ports are free; RuntimeError if there is none."""
    for domain in random.sample(_DOMAINS, len(_DOMAINS)):
        if _is_free(domain):
            return domain
    raise RuntimeError("all ROS domains from 1 to 101 are in use on this machine")


def _is_free(domain: int) -> bool:
    """Participant i of a domain listens on base + 10 + 2 i (discovery) and base + 11 + 2 i."""
    base = _FIRST_PORT + _PORTS_PER_DOMAIN * domain
    with ExitStack() as stack:
        for port in range(base + 10, base + 18):
            probe = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True
