"""Stamps against the sample clock: which are believed, and how the audio follows them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from dualtalker.faults import Faults
from dualtalker.stream.clock import StampClock
from dualtalker.stream.executor import MAX_IDLE_FILL_S
from dualtalker.stream.intake import AudioIntake
from dualtalker.stream.segments import Segments
from dualtalker.stream.sources import EXACT_S, MAX_LATE_S, StampSource

# A device clock may be this wrong; a stamp may stray so much per second since the last one.
MAX_DRIFT = Fraction(1, 1000)
# Stamps that go back further than this are a source that started anew, not late audio.
MAX_OVERLAP_S = Fraction(1)
# Where a stamp is doubted, its chunk waits for the next; a longer one is placed by its own.
MAX_DOUBTED_S = Fraction(1)
# Stamps of arrivals that all lie behind the samples for so long are followed: no sample moves.
LATE_HABIT_S = Fraction(1)


class StampJudge:
    """Tells jitter of a stamp from missing and repeated audio; moves nothing itself.

    Errors up to the tolerance are jitter, those from `SURE_S` on are believed at once. In between
    one stamp alone is doubted, because a single stray one would tear a hole into good speech and
    then drop the audio after it; a second one that strays alike, within the tolerance, confirms.
    """

    SURE_S = Fraction(15, 100)
    # A repeated chunk shows by the next stamp fitting without it, this exactly.
    REPEAT_MATCH_S = Fraction(2, 1000)

    def __init__(self, tolerance_s: Fraction) -> None:
        """`tolerance_s` is the largest jitter of a stamp."""
        self._tolerance_s = tolerance_s
        self._doubted_s: Fraction | None = None  # error of the last stamp, if it was doubted
        # Stream time of the last stamp that was not: drift is allowed for from there on.
        self.believed_s = Fraction(0)

    def judge(
        self, error_s: Fraction, time_s: Fraction, *, hasty: bool
    ) -> Literal["jitter", "doubt", "believe"]:
        """Judge the error of a stamp for audio that starts at stream time `time_s`.

        Only `hasty` one stamp alone can be believed.
        """
        agrees = self._agrees(error_s)
        self._doubted_s = None
        if self._is_jitter(error_s, time_s):
            return "jitter"
        if hasty and (abs(error_s) >= self.SURE_S or agrees):
            return "believe"
        self._doubted_s = error_s
        return "doubt"

    def settle(self, after_s: Fraction, without_s: Fraction, time_s: Fraction) -> Fraction | None:
        """Judge the doubted stamp again by the next: return its error if it is true, else None.

        `after_s` is the next stamp's error if the doubted chunk is heard as seamless, up to
        `time_s`; `without_s` if it is not heard at all.
        """
        assert self._doubted_s is not None  # only a doubted chunk is settled
        if not self._is_jitter(after_s, time_s) and self._agrees(after_s):
            error_s, self._doubted_s = (self._doubted_s + after_s) / 2, after_s
            return error_s
        if self._doubted_s < 0 and abs(without_s) <= self.REPEAT_MATCH_S < abs(after_s):
            return min(self._doubted_s, after_s - without_s)
        return None

    def _is_jitter(self, error_s: Fraction, time_s: Fraction) -> bool:
        if not error_s or abs(error_s) <= self._tolerance_s:  # as it mostly is
            return True
        since_s = max(time_s - self.believed_s, Fraction(0))
        return abs(error_s) <= self._tolerance_s + MAX_DRIFT * since_s

    def _agrees(self, error_s: Fraction) -> bool:
        return self._doubted_s is not None and abs(error_s - self._doubted_s) <= self._tolerance_s


@dataclass
class Timeline:
    """Puts pushed audio where its stamps say: heals holes, overlaps and jumps, and counts them."""

    stamps: StampClock
    segments: Segments
    intake: AudioIntake
    faults: Faults
    source: StampSource
    tolerance_s: Fraction  # stamps off by less are jitter
    max_gap_s: Fraction  # holes up to this are heard as silence

    def __post_init__(self) -> None:
        self._judge = StampJudge(self.tolerance_s)
        self._holes: deque[tuple[Fraction, Fraction]] = deque(maxlen=16)  # heard as silence
        # Stream times and errors of the last stamps of arrivals, where all came late.
        self._late: list[tuple[Fraction, Fraction]] = []
        self._held: tuple[np.ndarray, int] | None = None  # chunk and rate of a doubted stamp
        self._idle_until_s = Fraction(0)  # how far idle frames took the place of audio
        self._heard = False  # whether any audio was pushed

    @property
    def end_s(self) -> Fraction:
        """End of all audio pushed, that of a doubted stamp included."""
        held_s = Fraction(len(self._held[0]), self._held[1]) if self._held else Fraction(0)
        return self.segments.end_s + held_s

    def push(self, chunk: np.ndarray, rate_hz: int, stamp_ns: int | None) -> None:
        """Take a checked chunk [n] or [n, channels], and the stamp of its first sample."""
        if stamp_ns is None:
            self.settle()
        else:
            self.source.note(stamp_ns, len(chunk), rate_hz)
        self._follow_idling(stamp_ns)
        if stamp_ns is None:
            self._hear(chunk, rate_hz)
        elif not self.stamps.anchored:
            self.stamps.anchor(self.segments.end_s, stamp_ns)
            self._judge.believed_s = self.segments.end_s
            self._hear(chunk, rate_hz)
        else:
            self._follow(chunk, rate_hz, stamp_ns)

    def settle(self, stamp_ns: int | None = None) -> None:
        """Hear the chunk whose stamp strayed, in the light of the next stamp if there is one."""
        if self._held is None:
            return
        after_end_s, (chunk, rate_hz), self._held = self.end_s, self._held, None
        if stamp_ns is not None:
            after_s = self.stamps.error_s(after_end_s, stamp_ns)
            without_s = self.stamps.error_s(self.segments.end_s, stamp_ns)
            error_s = self._judge.settle(after_s, without_s, after_end_s)
            fits_without = abs(without_s) <= self._judge.REPEAT_MATCH_S
            if error_s and self._confirms(error_s, fits_without):
                is_repeat = fits_without and self.source.is_proven
                if error_s < 0 and not is_repeat and self.source.stamps != "audio":
                    self._step_back(error_s)
                else:
                    chunk = chunk[self._heal(error_s, len(chunk), rate_hz, stamp_ns) :]
            else:
                self.faults.count("stray_stamps", "a stamp unlike the next; not believed")
        self._hear(chunk, rate_hz)

    def pause(self) -> None:
        """The speech is over: what is heard next may be the same again, and is heard."""
        self.settle()
        self.source.forget_audio()

    def idle_until(self, time_s: Fraction) -> None:
        """Idle frames were made up to `time_s`: audio without a usable stamp may begin there."""
        self._idle_until_s = time_s

    def take_back(self) -> None:
        """The audio from the segments' end on is void, and what waited for the next stamp."""
        end_s = self.segments.end_s
        self._idle_until_s = min(self._idle_until_s, end_s)
        self.stamps.rewind(end_s)
        self._held = None
        self._holes.clear()
        self._late.clear()
        self.source.forget_audio()

    def _follow_idling(self, stamp_ns: int | None) -> None:
        """Audio without a usable stamp, long after the last: it begins where idling stands."""
        if stamp_ns is None or not self.stamps.anchored:
            behind_s = self._idle_until_s - self.segments.end_s
            if behind_s > (self.max_gap_s if self._heard else 0):
                why = f"no audio for {float(behind_s):.2f} s"
                self.faults.count("gaps", why, int(self._heard))
                self.segments.jump(self._idle_until_s)
        self._heard = True

    def _follow(self, chunk: np.ndarray, rate_hz: int, stamp_ns: int) -> None:
        """Compare a stamp with the sample clock, heal what differs, and hear the chunk."""
        self.settle(stamp_ns)
        end_s = self.segments.end_s
        error_s = self.stamps.error_s(end_s, stamp_ns)
        ago = self.source.find_repeat(chunk, rate_hz)
        if ago:
            self._judge.believed_s = end_s
            self._hear(chunk[self._drop(Fraction(ago, rate_hz), len(chunk), rate_hz) :], rate_hz)
            return
        is_sure = self.source.stamps == "audio"
        if not is_sure:
            length_s = Fraction(len(chunk), rate_hz)
            if self._is_seamless(error_s, length_s):
                self._follow_arrival(error_s, stamp_ns)
                self._hear(chunk, rate_hz)
                return
            is_sure = self._is_sure(error_s, length_s)
        self._late.clear()
        verdict = self._judge.judge(error_s, end_s, hasty=is_sure)
        if verdict == "doubt" and len(chunk) <= rate_hz * MAX_DOUBTED_S:
            self._held = (chunk.copy(), rate_hz)
            return
        if verdict == "jitter":
            if error_s:
                self.stamps.track(error_s, float(end_s - self._judge.believed_s))
        else:
            chunk = chunk[self._heal(error_s, len(chunk), rate_hz, stamp_ns) :]
        self._judge.believed_s = self.segments.end_s
        self._hear(chunk, rate_hz)

    def _heal(self, error_s: Fraction, count: int, rate_hz: int, stamp_ns: int) -> int:
        """Bring the sample clock to where a stamp says; return how many samples to drop."""
        end_s = self.segments.end_s
        target_s = end_s + error_s
        to_fill_s = target_s - max(end_s, self.segments.executor.next_time_s)
        is_far = error_s > self.max_gap_s and to_fill_s > MAX_IDLE_FILL_S
        if error_s < -MAX_OVERLAP_S or is_far:
            begin_s = max(end_s, self._idle_until_s)
            self.faults.count("reanchors", f"time stamps jumped by {float(error_s):.3f} s")
            self.source.forget_audio()
            self.segments.jump(begin_s)
            self.stamps.anchor(begin_s, stamp_ns)
            return 0
        if error_s < 0:
            return self._drop(-error_s, count, rate_hz)
        if error_s > MAX_LATE_S:
            self.source.forget_audio()
        self.faults.count("gaps", f"{float(error_s):.3f} s of audio are missing")
        if error_s <= self.max_gap_s:
            missing = round(error_s * rate_hz)
            self.faults.count("gap_samples", f"{missing} samples of silence put in", missing)
            self.segments.hear(np.zeros(missing, np.float32), rate_hz)
            self._holes.append((end_s, target_s))
        else:
            self.segments.jump(target_s)
        return 0

    def _drop(self, overlap_s: Fraction, count: int, rate_hz: int) -> int:
        """Count an overlap; return how many of a chunk's `count` samples to drop."""
        skip = min(round(overlap_s * rate_hz), count)
        self.faults.count("overlaps", f"audio overlaps by {float(overlap_s):.3f} s")
        self.faults.count("overlap_samples", f"{skip} samples heard twice dropped", skip)
        if skip == count:
            self.faults.count("late_chunks", "a chunk came after its time; dropped")
        return skip

    def _is_seamless(self, error_s: Fraction, length_s: Fraction) -> bool:
        """Whether a chunk of `length_s` follows the audio so far, whatever its stamp says."""
        kind = self.source.kind
        if abs(error_s) <= self.tolerance_s:
            return False
        if error_s > 0:
            return kind == "arrival" and error_s <= MAX_LATE_S
        if error_s < -MAX_OVERLAP_S:
            return self.source.step_s >= -MAX_LATE_S  # else the source started anew
        settled = kind == "arrival" or length_s > MAX_DOUBTED_S
        return settled and not self._is_late(error_s, length_s)

    def _is_sure(self, error_s: Fraction, length_s: Fraction) -> bool:
        """Whether one stamp may move the audio: never where that drops what is new."""
        if error_s < -MAX_OVERLAP_S:
            return True
        if error_s < 0:
            return self._is_late(error_s, length_s)
        return self.source.kind == "audio" or error_s > MAX_LATE_S

    def _is_late(self, error_s: Fraction, length_s: Fraction) -> bool:
        """Whether a chunk is what was missing in a hole, of a source that stamps its samples."""
        begin_s = self.segments.end_s + error_s
        return self.source.is_proven and any(
            first_s - EXACT_S <= begin_s and begin_s + length_s <= last_s + EXACT_S
            for first_s, last_s in self._holes
        )

    def _follow_arrival(self, error_s: Fraction, stamp_ns: int) -> None:
        """No sample moves by such a stamp; where all lie behind the samples, the stamps do."""
        self.faults.count("arrival_stamps", "stamps are not of the samples' time")
        end_s = self.segments.end_s
        if error_s < 0:
            self._late.clear()
            return
        self._late.append((end_s, error_s))
        if end_s - self._late[0][0] >= LATE_HABIT_S:
            least_s = min(late_s for _, late_s in self._late)
            self.stamps.anchor(end_s, stamp_ns - round((error_s - least_s) * 10**9))
            self._late.clear()

    def _confirms(self, error_s: Fraction, fits_without: bool) -> bool:
        """Whether the newest stamp shows that a doubted one was right, by the samples between."""
        source = self.source
        if source.is_proven and fits_without:
            return True
        if source.stamps == "audio" or (source.kind == "audio" and error_s > 0):
            return True
        is_possible = source.kind == "audio" or (source.kind == "unknown" and error_s > 0)
        return is_possible and abs(source.stray_s) <= EXACT_S

    def _step_back(self, error_s: Fraction) -> None:
        """The source's clock was set back: its stamps are followed, and no sample is dropped."""
        end_s = self.segments.end_s
        self.faults.count("reanchors", f"time stamps jumped by {float(error_s):.3f} s")
        stamp_ns = self.stamps.stamp_of(end_s)
        assert stamp_ns is not None  # some stamp was doubted
        self.stamps.anchor(end_s, stamp_ns + round(error_s * 10**9))

    def _hear(self, chunk: np.ndarray, rate_hz: int) -> None:
        if self.stamps.anchored:
            self.source.hear(chunk, rate_hz)
        for mono in self.intake.mix(chunk, rate_hz):
            self.segments.hear(mono, rate_hz)
