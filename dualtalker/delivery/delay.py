"""How long after the instant that they depict frames go out."""

from __future__ import annotations

import math
from collections.abc import Callable

from dualtalker.delivery.arrivals import EASE_S, Arrivals

# Added to the stated latency where no playout delay is asked for: room for compute and transport.
PLAYOUT_MARGIN_S = 0.005
# Where the delay is changed while frames go out, it gets there by so much of each frame's time.
_SLEW = 0.25


class Delay:
    """The stated latency, what audio lags by habit, or what was asked for; never a jump."""

    def __init__(
        self, paced: bool, playout_delay_s: float | None, count: Callable[[str, str], None]
    ) -> None:
        """A playout delay of None is the stated latency, PLAYOUT_MARGIN_S and the audio's lag.

        `count` takes a kind of fault and what it means.
        """
        self._paced = paced
        self._playout_delay_s = playout_delay_s
        self._count = count
        self.restart(0.0)

    def restart(self, latency_s: float) -> None:
        """Begin with this stated latency, and with audio that does not lag."""
        self.latency_s = latency_s
        self._lag_s = 0.0  # of the audio, as far as frames wait for it
        self._slew_s = 0.0  # what is left of the delay before it was changed
        self._plan()

    def _plan(self, before_s: float | None = None) -> None:
        """Find the delay anew, to be reached frame by frame from what it was `before_s`, if given.

        It is asked for several times a frame.
        """
        if self._paced and self._playout_delay_s is not None:
            self._target_s = self._playout_delay_s
        else:
            margin_s = PLAYOUT_MARGIN_S if self._paced else 0.0
            self._target_s = self.latency_s + self._lag_s + margin_s
        if before_s is not None:
            self._slew_s = before_s - self._target_s if self._paced else 0.0
        # From the instant depicted to the frame's going out, as planned.
        self.s = self._target_s + self._slew_s
        self.ns = round(self.s * 1e9)

    def cover(self, latency_s: float) -> None:
        """State no less latency than this."""
        if latency_s > self.latency_s:
            self.latency_s = latency_s
            self._plan()

    def change(self, playout_delay_s: float | None) -> None:
        """Want another playout delay; frame by frame it is reached."""
        before_s = self.s
        self._playout_delay_s = playout_delay_s
        self._plan(before_s)

    def forget_lag(self) -> None:
        """Wait for lagging audio no longer: another source speaks."""
        before_s = self.s
        self._lag_s = 0.0
        self._plan(before_s)

    def slew(self, frame_s: float) -> None:
        """A frame went out: the delay is nearer to what it was changed to."""
        if self._slew_s:
            step_s = _SLEW * frame_s
            self._slew_s -= min(max(self._slew_s, -step_s), step_s)
            self._plan()

    def follow(self, arrivals: Arrivals) -> None:
        """Wait longer for audio that comes late by habit; frames pause once for as long.

        Audio that has come earlier for long is waited for less, frame by frame (`_SLEW`).
        """
        lag_s = arrivals.lag_s
        if lag_s is None:
            return
        needed_s = self.latency_s + lag_s - arrivals.harmless_lag_s
        if self._paced and self._playout_delay_s is not None:
            if needed_s > self._playout_delay_s:
                enough_ms = (self.latency_s + lag_s + PLAYOUT_MARGIN_S) * 1e3
                self._count(
                    "short_delays",
                    f"{_tell(arrivals)}: frames are late. playout_delay_ms: "
                    f"{math.ceil(enough_ms)} and starvation_ms: "
                    f"{math.ceil(arrivals.patience_s * 1e3)} would do",
                )
        elif needed_s > self.latency_s + self._lag_s + PLAYOUT_MARGIN_S:
            self._lag_s = lag_s
            self._plan()
            self._count(
                "delay_growths",
                f"{_tell(arrivals)}: frames go out {self.s * 1e3:.0f} ms after the instant they "
                "depict",
            )
        elif lag_s < self._lag_s - EASE_S / 2:
            before_s = self.s
            self._lag_s = lag_s if needed_s > self.latency_s + PLAYOUT_MARGIN_S else 0.0
            self._plan(before_s)
            self._count(
                "delay_shrinks",
                f"{_tell(arrivals)}, and not later for long: frames will go out "
                f"{self._target_s * 1e3:.0f} ms after the instant they depict",
            )


def _tell(arrivals: Arrivals) -> str:
    chunk_ms, lag_ms = arrivals.chunk_s * 1e3, (arrivals.lag_s or 0.0) * 1e3
    return f"audio comes in chunks of {chunk_ms:.0f} ms, {lag_ms:.0f} ms after its stamps"
