"""Plays a face that is known whole, and its sound, on the screens of a server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.display.server import FaceServer
from dualtalker.outputs import Output
from dualtalker.stream import Frame

# Frames and sound leave so long before they are due: for the way, and for the page's own queue.
_LEAD_S = 0.25
_STEP_S = 0.01
_PIECE_S = 0.02


@dataclass(frozen=True)
class Performance:
    """Frames and, where there is one, their sound; both begin at time 0."""

    times_s: np.ndarray  # [frames] float64, rising
    weights: np.ndarray  # [frames, 52]
    head: np.ndarray | None = None  # [frames, 3] radians
    samples: np.ndarray | None = None  # [n] float32, mono
    rate_hz: int = 16000

    @property
    def duration_s(self) -> float:
        """Until the last frame and the last sample."""
        sound_s = 0.0 if self.samples is None else len(self.samples) / self.rate_hz
        return max(float(self.times_s[-1]) if len(self.times_s) else 0.0, sound_s)

    @property
    def fps(self) -> float:
        """Frames per second, the usual one."""
        if len(self.times_s) < 2:
            return 0.0
        return float(np.round(1.0 / np.median(np.diff(self.times_s)), 2))


class FacePlayer:
    """Sends performances, one after the other, each frame shortly before it is due."""

    def __init__(
        self,
        server: FaceServer | None,
        stop: threading.Event | None = None,
        outputs: Sequence[Output] = (),
    ) -> None:
        """`stop`, where it is set, ends what plays; `outputs` get each frame when it is due."""
        self._server, self._outputs = server, outputs
        self._stop = threading.Event() if stop is None else stop
        self._index = 0

    def play(
        self, performance: Performance, progress: Callable[[float], object] = lambda done_s: None
    ) -> bool:
        """Play to the end, in real time; return whether it came there.

        `progress` is called with the seconds played since its last call.
        """
        start_s = time.monotonic() + _LEAD_S
        frame = sample = given = 0
        done_s = 0.0
        while (played_s := time.monotonic() - start_s) < performance.duration_s:
            given = self._give_frames(performance, given, played_s)
            frame = self._send_frames(performance, start_s, frame, played_s + _LEAD_S)
            sample = self._send_sound(performance, start_s, sample, played_s + _LEAD_S)
            if played_s > done_s:
                progress(played_s - done_s)
                done_s = played_s
            next_s = performance.times_s[given : given + 1].sum() - played_s  # of an output
            step_s = min(_STEP_S, max(next_s, 1e-4)) if self._outputs else _STEP_S
            if self._stop.wait(step_s):
                return False
        self._give_frames(performance, given, performance.duration_s)
        progress(performance.duration_s - done_s)
        return True

    def _give_frames(self, what: Performance, k: int, until_s: float) -> int:
        """Give outputs the frames due by `until_s`, from the `k`-th on; return which is next."""
        while k < len(what.times_s) and what.times_s[k] <= until_s:
            head = None if what.head is None else what.head[k]
            frame = Frame(k, float(what.times_s[k]), None, what.weights[k], False, head)
            for output in self._outputs:
                output.send(frame)
            k += 1
        return k

    def _send_frames(self, what: Performance, start_s: float, k: int, until_s: float) -> int:
        """Send the frames before `until_s`, from the `k`-th on; return which is the next."""
        while self._server and k < len(what.times_s) and what.times_s[k] <= until_s:
            self._server.send_frame(
                self._index,
                start_s + float(what.times_s[k]),
                what.weights[k],
                None if what.head is None else what.head[k],
                float(what.times_s[k]),
            )
            self._index += 1
            k += 1
        return k

    def _send_sound(self, what: Performance, start_s: float, n: int, until_s: float) -> int:
        """Send the samples before `until_s`, from the `n`-th on; return which is the next."""
        if what.samples is None or self._server is None:
            return n
        size = round(_PIECE_S * what.rate_hz)
        while n < len(what.samples) and n / what.rate_hz <= until_s:
            piece = what.samples[n : n + size]
            self._server.send_sound(piece, what.rate_hz, start_s + n / what.rate_hz)
            n += len(piece)
        return n


def read_performance(path: Path, sound: Path | None = None) -> Performance:
    """Return the face of a motion CSV, with the sound of a recording where one is given.

    Alone it begins with its first frame; the times of one with sound are those of the sound.

    Raises:
        MotionError, AudioError: a file cannot be read.
    """
    from dualtalker.audio import read_audio
    from dualtalker.evaluation import read_motion_csv

    times_s, weights = read_motion_csv(path)
    assert weights.shape[1] == len(ARKIT_NAMES)
    weights = weights.astype(np.float32)
    if sound is None:
        return Performance(times_s - times_s[0], weights)
    return Performance(times_s, weights, None, *read_audio(sound))
