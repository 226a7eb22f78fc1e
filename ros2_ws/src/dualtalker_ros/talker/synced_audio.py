"""Holds received messages of audio back, as they came, until their face is shown."""

from __future__ import annotations

from collections import deque
from typing import Any

from dualtalker.audio import AudioChunk
from dualtalker.faults import Faults


class SyncedAudio:
    """A queue from messages as they came to a publisher, in step with the frames.

    Follows a `Delivery`, which tells where each chunk begins on the node's clock. A chunk goes out
    with the frame of its first sample: as many seconds after it as frames go out after the instant
    that they depict.
    """

    def __init__(self, max_queue_s: float) -> None:
        """Audio that would make more than `max_queue_s` wait is dropped and counted."""
        self.sent = 0
        faults = Faults(("synced_audio_drops",))
        self.counters, self._count = faults.counters, faults.count
        self.max_queue_s = max_queue_s
        self._publisher: Any = None
        self.waits: deque[tuple[int, float, Any]] = deque()  # begin (ns), length (s), message
        self._waiting_s = 0.0

    def open(self, publisher: Any) -> None:
        """Send to `publisher` from now on; it must be of the type of the messages."""
        self._publisher = publisher

    def close(self) -> Any:
        """Forget what waits; return the publisher, if there is one, for its owner to destroy."""
        self.forget()
        publisher, self._publisher = self._publisher, None
        return publisher

    def take(self, chunk: AudioChunk, begin_ns: int) -> None:
        """A chunk came that begins at `begin_ns`; kept only while someone subscribes."""
        if self._publisher is None or self._publisher.get_subscription_count() == 0:
            self.forget()
            return
        length_s = chunk.duration_s
        if self._waiting_s + length_s > self.max_queue_s:
            why = f"more than {self.max_queue_s:g} s of audio wait for audio_synced"
            self._count("synced_audio_drops", why)
            return
        self.waits.append((begin_ns, length_s, chunk.message))
        self._waiting_s += length_s

    def forget(self) -> None:
        """What waits will not be heard: its face will not be shown either."""
        self.waits.clear()
        self._waiting_s = 0.0

    def next_due_ns(self, delay_s: float) -> int | None:
        """Return when the first that waits is due, `delay_s` after its begin; None where none."""
        return self.waits[0][0] + round(delay_s * 1e9) if self.waits else None

    def send_due(self, now_ns: int, delay_s: float) -> None:
        """Publish what is due at `now_ns`, in the order in which it came."""
        while (due_ns := self.next_due_ns(delay_s)) is not None and due_ns <= now_ns:
            _, length_s, message = self.waits.popleft()
            self._waiting_s = self._waiting_s - length_s if self.waits else 0.0
            self._publisher.publish(message)
            self.sent += 1
