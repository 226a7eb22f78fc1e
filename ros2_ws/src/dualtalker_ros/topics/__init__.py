"""Message types found at run time, subscriptions and outgoing audio."""

from __future__ import annotations

from dualtalker_ros.topics.outgoing_audio import fill_message
from dualtalker_ros.topics.subscriptions import OfferedSubscription
from dualtalker_ros.topics.types import find_type, import_type, wait_for_listeners

__all__ = ["OfferedSubscription", "fill_message", "find_type", "import_type", "wait_for_listeners"]
