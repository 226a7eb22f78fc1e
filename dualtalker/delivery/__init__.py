"""A jitter buffer: audio messages in, timed frames out, whatever the network does."""

from __future__ import annotations

from dualtalker.delivery.delay import PLAYOUT_MARGIN_S
from dualtalker.delivery.delivery import NEVER_NS, Delivery

__all__ = ["NEVER_NS", "PLAYOUT_MARGIN_S", "Delivery"]
