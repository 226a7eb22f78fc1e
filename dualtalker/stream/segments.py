"""Runs audio through the model, one segment without holes after the other."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from dualtalker.stream.executor import FrameExecutor
from dualtalker.stream.frames import Frame
from dualtalker.stream.intake import AudioAccumulator


class Segments:
    """Mono audio in, frames out; they wait until they are taken.

    All times are of the stream. The model starts anew with each segment.
    """

    def __init__(self, audio: AudioAccumulator, executor: FrameExecutor) -> None:
        self.audio, self.executor = audio, executor
        self._origin_s = Fraction(0)  # where this segment's audio begins
        self.end_s = Fraction(0)  # of the audio so far
        self._waiting: list[Frame] = []

    def hear(self, mono: np.ndarray, rate_hz: int) -> None:
        """Take samples [n]; the model runs where more than a second of them waits."""
        self.audio.push(mono, rate_hz)
        self.end_s = self._origin_s + self.audio.duration_s
        if len(self.audio.ready) > self.audio.rate_hz:
            self.run_ready()

    def run_ready(self) -> None:
        """Run the model as far as the audio goes."""
        end_s = self.end_s
        while (hop := self.audio.pop()) is not None:
            self._waiting += self.executor.run(hop, end_s)
        self._waiting += self.executor.release(end_s)

    def rest_through(self, time_s: Fraction) -> int:
        """Make idle frames through `time_s`; return how many are passed over, as it is far."""
        skipped = self.executor.skip_far(time_s)
        self._waiting += self.executor.rest_through(time_s, last=True)
        return skipped

    def finish(self) -> None:
        """Run out all audio as if silence followed, and start the model anew at its end."""
        self.audio.finish()
        end_s = self.end_s
        self._waiting += self.executor.release(end_s)
        while self.executor.needs_more(end_s):
            hop = self.audio.pop(pad=True)
            assert hop is not None  # `pad` always gives one
            self._waiting += self.executor.run(hop, end_s)
        self._begin(end_s)

    def jump(self, time_s: Fraction) -> None:
        """End the segment; the next audio begins at `time_s`, idle frames fill the hole."""
        self.finish()
        self._waiting += self.executor.rest_through(time_s, last=False)
        self._begin(time_s)

    def take_back(self, time_s: Fraction) -> int:
        """Drop all audio, and the frames from `time_s` on; return the next one's index."""
        index = self.executor.take_back(time_s)
        self._origin_s = self.end_s = self.executor.next_time_s
        self.audio.restart()
        self._waiting = []
        return index

    def take_frames(self) -> list[Frame]:
        """Return the frames that wait, which then wait no more."""
        ready, self._waiting = self._waiting, []
        return ready

    def _begin(self, time_s: Fraction) -> None:
        self.audio.restart()
        self._origin_s = self.end_s = time_s
        self.executor.begin(time_s)
