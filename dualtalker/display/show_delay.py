"""How long after its audio's own time a frame is shown, so that it meets its sound."""

from __future__ import annotations

from collections import deque

import numpy as np

# The speaker node tells its latency every second; one that is silent for so long has ended.
_LATENCY_AGE_S = 10.0
# What it tells of messages without stamps comes beside what it tells of all, in any order.
_TOGETHER_S = 0.5
_WINDOW_S = 10.0  # of transits that count
# The last frames of an utterance come late, when its end is certain: they do not count.
_SHARE = 95.0  # percent of the frames are to be in time
_LOOK_S = 0.25  # between looks at the transits
# Added to the transit: what the way to a screen takes.
_MARGIN_S = 0.02
# A page's own sound needs so much more: what a browser buffers before it is heard.
_SOUND_LEAD_S = 0.2
# A changed delay is reached by so many seconds each second: a frame's time is stretched a little.
_SLEW = 0.05
# A change beyond this is made at once.
_STEP_S = 0.1


class ShowDelay:
    """The sound's own delay where that is known, else what nearly all frames take to arrive."""

    def __init__(self, fixed_s: float | None = None) -> None:
        """`fixed_s` is what a player's latency is known to be, from stamp to sound."""
        self._fixed_s = fixed_s
        # By whether it is after stamps or arrivals: when it was told, and what.
        self._latencies: dict[str, tuple[float, float]] = {}
        self._transits: deque[tuple[float, float]] = deque()  # when, and how long
        self._transit_s = self._median_s = 0.0  # what nearly all of them take, and half
        self._looked_s = float("-inf")
        self._s: float | None = None
        self._now_s = float("-inf")
        self.page_sounds = False  # a screen is the loudspeaker
        self.late = 0  # frames that came after the time to show them

    @property
    def source(self) -> str:
        """What the delay is of: "audio_delay_ms", "speaker" or "arrival"."""
        if self._fixed_s is not None:
            return "audio_delay_ms"
        return "speaker" if self._latencies else "arrival"

    @property
    def s(self) -> float:
        """The delay of now, in seconds."""
        return self._target_s if self._s is None else self._s

    def note_latency(self, latency_s: float, now_s: float, after: str = "stamp") -> None:
        """The loudspeaker told how long after their stamps samples sound.

        For messages without stamps it is after their "arrival", which is when their frames come.
        """
        last_s, _ = self._latencies.get("stamp", (now_s, 0.0))
        self._latencies[after] = (now_s, latency_s)
        told_s, _ = self._latencies.get("arrival", (now_s, 0.0))
        if told_s < last_s - _TOGETHER_S:  # its messages have stamps again
            del self._latencies["arrival"]

    def note_frame(self, transit_s: float, now_s: float) -> float:
        """A frame came so long after its stamp; return the delay by which it is shown."""
        for after, (told_s, _) in list(self._latencies.items()):
            if now_s - told_s > _LATENCY_AGE_S:
                del self._latencies[after]
        self._transits.append((now_s, transit_s))
        while now_s - self._transits[0][0] > _WINDOW_S:
            self._transits.popleft()
        if now_s - self._looked_s >= _LOOK_S:
            self._looked_s = now_s
            transits = [s for _, s in self._transits]
            self._median_s, self._transit_s = np.percentile(transits, [50.0, _SHARE]).tolist()
        self._approach(now_s)
        self.late += transit_s > self.s
        return self.s

    @property
    def after_arrival_s(self) -> float:
        """The delay of what comes now and has no stamp, as it came with the frames."""
        return self.s - self._median_s

    @property
    def _target_s(self) -> float:
        if self._fixed_s is not None:
            return self._fixed_s
        if "arrival" in self._latencies:
            delay_s = self._median_s + self._latencies["arrival"][1]
        elif "stamp" in self._latencies:
            delay_s = self._latencies["stamp"][1]
        else:
            delay_s = self._transit_s + _MARGIN_S
        if self.page_sounds:
            delay_s = max(delay_s, self._transit_s + _SOUND_LEAD_S)
        return delay_s

    def _approach(self, now_s: float) -> None:
        target_s = self._target_s
        most_s = _SLEW * max(now_s - self._now_s, 0.0)
        self._now_s = now_s
        behind_s = target_s - self.s
        if self._s is None or abs(behind_s) > _STEP_S or (behind_s > 0 and not self._latencies):
            self._s = target_s
        else:
            self._s += min(max(behind_s, -most_s), most_s)
