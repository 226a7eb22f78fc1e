"""Keeps one device stream running: opens it, notices its loss, opens it again.

A driver tells of an unplugged device in one of three ways: the stream ends, no more samples come,
or opening fails. The keeper takes all of them for the same, and tries again with pauses that
double up to `longest_wait_s`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from dualtalker.devices.stream import DeviceStream
from dualtalker.errors import DeviceError

FIRST_WAIT_S = 0.5  # between the first two tries
CHECK_S = 0.1  # between looks at a running stream
# The first samples of a stream may take a second to come, and more on a busy machine.
STALL_S = 5.0
# A stream that ran so long was well: the next loss begins with the shortest pause again.
HEALTHY_S = 5.0


class StreamKeeper:
    """Holds at most one stream; `step` does the work, `start` has a thread call it."""

    def __init__(
        self,
        open_stream: Callable[[], DeviceStream],
        *,
        on_open: Callable[[DeviceStream], None] = lambda stream: None,
        on_loss: Callable[[str], None] = lambda reason: None,
        on_failure: Callable[[str, float], None] = lambda reason, wait_s: None,
        longest_wait_s: float = 8.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`open_stream` raises DeviceError while there is no device.

        `on_failure` gets the reason and the seconds until the next try, once for each different
        reason in a row. All calls come from the thread that calls `step`.
        """
        self._open_stream = open_stream
        self._on_open, self._on_loss, self._on_failure = on_open, on_loss, on_failure
        self._longest_wait_s = longest_wait_s
        self._clock = clock
        self._wait_s = FIRST_WAIT_S
        self._retry_s = self._opened_s = clock()
        self._last_reason = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.stream: DeviceStream | None = None
        self.busy_since_s: float | None = None  # in a call of the driver that may not return
        self.counters = {"device_opens": 0, "device_losses": 0, "device_failures": 0}

    def step(self) -> float:
        """Look after the stream once; return the seconds after which to look again."""
        now_s = self._clock()
        if self.stream is None:
            if now_s >= self._retry_s:
                self._open(now_s)
            return max(min(self._retry_s - self._clock(), CHECK_S), 0.01)
        if not self.stream.is_active():
            self._lose("the device ended the stream; was it unplugged?")
        elif (silent_s := now_s - max(self.stream.last_call_s, self._opened_s)) > STALL_S:
            self._lose(f"the device has been stuck for {silent_s:.1f} s")
        return CHECK_S

    def start(self) -> None:
        """Look after the stream in a thread until `close`."""
        self._thread = threading.Thread(target=self._run, name="stream keeper", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """End the thread and the stream; a driver that hangs is left behind after `timeout_s`."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return
        self._free()

    def _run(self) -> None:
        while not self._stop.wait(self.step()):
            pass

    def _open(self, now_s: float) -> None:
        self.busy_since_s = now_s
        try:
            stream = self._open_stream()
        except DeviceError as error:
            self.counters["device_failures"] += 1
            self._retry_s = self._clock() + self._wait_s
            if str(error) != self._last_reason:
                self._last_reason = str(error)
                self._on_failure(str(error), self._wait_s)
            self._wait_s = min(2 * self._wait_s, self._longest_wait_s)
            return
        finally:
            self.busy_since_s = None
        self.stream, self._opened_s, self._last_reason = stream, self._clock(), ""
        self.counters["device_opens"] += 1
        self._on_open(stream)

    def _lose(self, reason: str) -> None:
        now_s = self._clock()
        self.busy_since_s = now_s
        self._free()
        self.busy_since_s = None
        if now_s - self._opened_s >= HEALTHY_S:
            self._wait_s = FIRST_WAIT_S
        self._retry_s = self._clock() + self._wait_s
        self._wait_s = min(2 * self._wait_s, self._longest_wait_s)
        self.counters["device_losses"] += 1
        self._on_loss(reason)

    def _free(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.close()
