"""Runs the model hop by hop and reads its motion at the output's frame times."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from dualtalker.errors import BackendError
from dualtalker.face import FaceFinisher, Manner, Smoother, scale_speech
from dualtalker.faults import Faults
from dualtalker.model import Sidecar
from dualtalker.model.backends import Backend
from dualtalker.stream.clock import FrameClock, StampClock
from dualtalker.stream.frames import Frame
from dualtalker.stream.known_text import KnownText

# A hole longer than this gets no idle frames: stream time stands still and the stamps jump.
MAX_IDLE_FILL_S = 10


@dataclass
class FrameExecutor:
    """Hops in, finished frames out; indices only ever grow.

    Output frames lie between two model frames and are interpolated linearly: any smoother curve
    would have to wait for one more model frame. The wait is no longer than one hop, which
    `Talker.latency_s` already counts.

    Times of the model's frames and of the output's are whole numbers of ticks, of which a segment
    has as many in a second as all of them need: exact as fractions are, for a fifth of the price.
    """

    backend: Backend
    sidecar: Sidecar
    clock: FrameClock
    stamps: StampClock
    finisher: FaceFinisher
    smoother: Smoother
    manner: Manner
    faults: Faults

    def __post_init__(self) -> None:
        sidecar = self.sidecar
        self._spacing_s = Fraction(
            sidecar.hop_samples, sidecar.frames_per_step * sidecar.sample_rate_hz
        )
        self._lookahead_s = Fraction(sidecar.lookahead_samples, sidecar.sample_rate_hz)
        frame_s, step_s = float(1 / self.clock.fps), float(self._spacing_s)
        self.text = KnownText(frame_s, step_s, sidecar.lookahead_s, self.stamps, self.faults)
        self.next_index = 0  # of the next frame to emit
        self.begin(Fraction(0))

    @property
    def next_time_s(self) -> Fraction:
        """Stream time of the next frame to emit."""
        return self.clock.time_of(self.next_index)

    @property
    def next_s(self) -> float:
        """The same as a float, rounded once."""
        return self.clock.seconds_of(self.next_index)

    def begin(self, origin_s: Fraction) -> None:
        """Start the model anew: the next hop's first sample lies at stream time `origin_s`."""
        self._set_ticks(origin_s)
        self._cursor = self.clock.count_before(origin_s)  # output frame to make next
        self._count = 0  # model frames since the origin
        self._state = self.backend.new_state()
        self.smoother.reset()
        self._newest: np.ndarray | None = None  # the model's last answer
        self._last: tuple[int, np.ndarray] | None = None  # last model frame passed by, its tick
        # Model frames still to pass, by their ticks, and the intensity of each.
        self._ahead: deque[tuple[int, np.ndarray, float]] = deque()
        self.finisher.life.restart()
        self.text.restart()
        if self.next_index:
            self.finisher.cut()

    def run(self, hop: np.ndarray, end_s: Fraction) -> list[Frame]:
        """Run one hop [1, hop]; return the frames that are now computable before `end_s`.

        Style and intensity are those of the hop's end: a change that was made when all audio so
        far had been heard first shows in the hop that comes next.
        """
        count = self._count + self.sidecar.frames_per_step
        heard_s = Fraction(self._origin_tick + count * self._step_ticks, self._ticks_s)
        intensity = self.manner.intensity_at(heard_s)
        self.text.place(heard_s)
        motion = self._step(hop, self.manner.style_at(heard_s))
        self.finisher.life.hear(hop[0])
        frames: list[Frame] = []
        # As if each frame had come by itself: life does not depend on how large a step is.
        parts = [hop[0]] if len(motion) == 1 else np.array_split(hop[0], len(motion))
        for audio, weights in zip(parts, motion, strict=True):
            self._count += 1
            heard = self._count * self._step_ticks
            tick = self._origin_tick + heard - self._lookahead_ticks
            time_s = tick / self._ticks_s
            self.finisher.life.follow(time_s, heard / self._ticks_s, weights)
            self._newest = self.smoother(weights)
            self.text.hear(audio, time_s)
            self._ahead.append((tick, scale_speech(self._newest, intensity), intensity))
            frames += self.release(end_s)
        return frames

    def release(self, end_s: Fraction) -> list[Frame]:
        """Return the frames that the model's answers so far give before `end_s`.

        `end_s` is the end of the audio heard. A frame that depicts that very instant is beyond the
        audio: whether it is wanted is known when more audio comes. Without lookahead the model
        has answered for it already.
        """
        frames: list[Frame] = []
        end = -(-end_s.numerator * self._ticks_s // end_s.denominator)  # the first not before it
        while self._ahead and self._emit_through(*self._ahead[0], end, frames):
            self._last = self._ahead.popleft()[:2]
        return frames

    def needs_more(self, end_s: Fraction) -> bool:
        """Whether frames before `end_s` still wait for the model."""
        return self.clock.time_of(self._cursor) < end_s

    def rest_through(self, time_s: Fraction, last: bool) -> list[Frame]:
        """Return idle frames for the times from the next frame to `time_s`, itself if `last`."""
        clock = self.clock
        end = clock.count_through(time_s) if last else clock.count_before(time_s)
        frames = []
        while self.next_index < end:
            now_s = self.next_s
            self.text.rest(now_s)
            finished = self.finisher.rest(now_s)
            frames.append(self._make_frame(self.next_index, finished, idle=True))
        return frames

    def take_back_idle(self, time_s: Fraction) -> None:
        """Make the frames from `time_s` on anew: idle ones all, which nobody has seen."""
        self.next_index = min(self.clock.count_before(time_s), self.next_index)
        self.finisher.take_back(self.next_s, resting=True)
        self.text.make_again(self.next_s)

    def take_back(self, time_s: Fraction) -> int:
        """Make the frames from `time_s` on anew, without the audio so far.

        Nobody must have seen them. The face goes on from the frame before; its successor's index
        is returned.
        """
        self.next_index = min(self.clock.count_before(time_s), self.next_index)
        self.finisher.take_back(self.next_s)
        self.text.take_back(self.next_s)
        self.begin(self.next_time_s)
        return self.next_index

    def skip_far(self, time_s: Fraction) -> int:
        """Be within MAX_IDLE_FILL_S of `time_s`; return how many frames are passed over."""
        most = math.ceil(MAX_IDLE_FILL_S * self.clock.fps_hz)
        index = max(self.clock.count_before(time_s) - most, self.next_index)
        skipped, self.next_index = index - self.next_index, index
        return skipped

    def _step(self, hop: np.ndarray, style: np.ndarray | None) -> np.ndarray:
        """Return motion [frames_per_step, channels] of one hop, whatever the model does."""
        motion, self._state = self.backend.step(hop, self._state, style)
        expected = (1, self.sidecar.frames_per_step, len(self.sidecar.output_names))
        if motion.shape != expected:
            raise BackendError(f"motion has shape {motion.shape}; expected {expected}")
        if np.isfinite(motion).all():
            return motion[0]
        # A poisoned state would stay so for ever: start it anew and hold the face for this step.
        self.faults.count("bad_steps", "the model gave NaN or infinity; its state was reset")
        self._state = self.backend.new_state()
        held = np.zeros(motion.shape[2], np.float32) if self._newest is None else self._newest
        return np.repeat(held[np.newaxis], motion.shape[1], axis=0)

    def _set_ticks(self, origin_s: Fraction) -> None:
        """Choose ticks for a segment that begins at `origin_s`."""
        fps = self.clock.fps
        times_s = (origin_s, self._lookahead_s, self._spacing_s)
        self._ticks_s = math.lcm(*(t.denominator for t in times_s), fps.numerator)  # in a second
        self._origin_tick, self._lookahead_ticks, self._step_ticks = (
            int(time_s * self._ticks_s) for time_s in times_s
        )
        self._frame_ticks = self._ticks_s // fps.numerator * fps.denominator

    def _emit_through(
        self, tick: int, weights: np.ndarray, intensity: float, end: int, frames: list[Frame]
    ) -> bool:
        """Emit the output frames up to a model frame at a tick, interpolating from the last.

        Returns whether that model frame is done with; False where `end` came before.
        """
        while (wanted := self._cursor * self._frame_ticks) <= tick:
            if wanted >= end:
                return False
            if self._cursor < self.next_index:
                self.faults.count("late_frames", "audio came after its frames were due")
            else:
                between = weights
                if self._last is not None:
                    last_tick, last = self._last
                    share = np.float32((wanted - last_tick) / (tick - last_tick))
                    between = last + share * (weights - last)
                wanted_s = wanted / self._ticks_s
                shaped = self.text.shape(wanted_s, between, intensity)
                finished = self.finisher.speak(wanted_s, shaped)
                frames.append(self._make_frame(self._cursor, finished, idle=False))
            self._cursor += 1
        return True

    def _make_frame(self, index: int, weights: np.ndarray, idle: bool) -> Frame:
        self.next_index = index + 1
        stamp_ns = self.stamps.stamp_of(self.clock.time_of(index))
        time_s = self.clock.seconds_of(index)
        return Frame(index, time_s, stamp_ns, weights, idle, self.finisher.head)
