"""Where each chunk of audio lies on the node's clock, whatever its stamps say.

Audio stamps usually are of the node's clock. Where they are not (a bag played without its clock
or in a loop, another machine's time), their difference is measured on arrival, added on the way
in, and taken off again from frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from dualtalker.audio import AudioChunk
from dualtalker.stream import EXACT_S, MAX_LATE_S, StampSource

# Stamps that lie further than this behind the node's clock are of another clock.
MAX_AGE_S = 10.0
# So are those that lie further than this ahead of it and of all audio taken before: a burst goes
# on where it ended, and speech planned for later is planned with a pause of less.
MAX_AHEAD_S = 1.0
# Stamps that go back by more than this are of a source that started over: in mid-stream, and
# after a pause, when audio that was late cannot be meant.
MAX_STEP_BACK_S = 1.0
MAX_STEP_BACK_AFTER_PAUSE_S = 0.03
# Stamps stray by so much without meaning anything.
STAMP_JITTER_S = 0.03
# After a chunk that came twice the next one fits without it, this exactly.
REPEAT_MATCH_S = 0.002
# Audio without stamps that comes this much later than expected begins a new sample clock.
NEW_ANCHOR_S = 0.25
# What comes this long after the chunk before may be another utterance.
UTTERANCE_GAP_S = 0.3

_EXACT_S = float(EXACT_S)


class Placement:
    """Follows one stream of chunks."""

    def __init__(self, now_ns: int, stamps: str, count: Callable[[str, str], None]) -> None:
        """Nothing was heard before `now_ns`; `stamps` is what they are of (`StampSource`).

        `count` takes a kind of fault and what it means.
        """
        self._count = count
        self._source = StampSource(stamps)
        self._ago = 0  # how many samples ago the chunk at hand was heard first
        self._holes: deque[tuple[int, int]] = deque(maxlen=16)
        self.end_ns = now_ns  # of all audio that was taken
        self._arrival_ns: int | None = None  # of the last chunk
        # From a time on, how far the node's clock is ahead of the stamps; the latest is last.
        self._offsets: deque[tuple[int, int]] = deque([(now_ns, 0)], maxlen=16)

    def offset_ns(self, depicted_ns: int) -> int:
        """Return how far the node's clock was ahead of the stamps at a time."""
        for from_ns, offset_ns in reversed(self._offsets):
            if depicted_ns >= from_ns:
                return offset_ns
        return self._offsets[0][1]

    def begin_anew(self, now_ns: int) -> None:
        """The audio taken so far is void: the next chunk goes on from nothing."""
        self._arrival_ns = None
        self.end_ns = now_ns
        self._holes.clear()
        self._source.forget_audio()

    def goes_back(self, stamp_ns: int | None) -> bool:
        """Whether a stamp in mid-stream lies before the end of the audio, but by little."""
        if stamp_ns is None or self._arrival_ns is None or self._ago:
            return False
        back_s = (self.end_ns - stamp_ns - self._offsets[-1][1]) / 1e9
        return MAX_STEP_BACK_AFTER_PAUSE_S < back_s <= MAX_STEP_BACK_S

    def is_new_utterance(self, stamp_ns: int | None, now_ns: int, arrival_ns: int) -> bool:
        """Whether a chunk means to replace audio whose time has not come yet.

        It comes at least UTTERANCE_GAP_S after the chunk before, while audio lies ahead; and if
        it has a stamp, that lies before the end of that audio.
        """
        if self._arrival_ns is None or self.end_ns <= now_ns:
            return False
        if arrival_ns - self._arrival_ns < to_ns(UTTERANCE_GAP_S):
            return False
        if stamp_ns is None or self._source.kind == "arrival":
            return True
        return stamp_ns + self._offsets[-1][1] < self.end_ns - to_ns(STAMP_JITTER_S)

    def read(self, chunk: AudioChunk, starving: bool) -> AudioChunk:
        """Return the chunk that comes next with a stamp only where that tells its time."""
        self._ago = 0
        if starving:  # what was said before may be said again
            self._source.forget_audio()
        if chunk.stamp_ns is None:
            return chunk
        source = self._source
        source.note(chunk.stamp_ns, len(chunk.samples), chunk.rate_hz)
        if self._arrival_ns is None:
            return chunk if source.kind != "arrival" else replace(chunk, stamp_ns=None)
        self._ago = source.find_repeat(chunk.samples, chunk.rate_hz)
        if self._ago or source.stamps == "audio":
            return chunk
        ahead_s = (chunk.stamp_ns + self._offsets[-1][1] - self.end_ns) / 1e9
        if source.kind == "arrival":
            return self._append(chunk, ahead_s)
        if abs(ahead_s) <= _EXACT_S or source.step_s < -MAX_LATE_S:
            return chunk
        is_doubtful = source.kind == "unknown" and -STAMP_JITTER_S < ahead_s <= MAX_LATE_S
        if is_doubtful or ahead_s < -MAX_STEP_BACK_S:
            return self._append(chunk, ahead_s)
        return chunk

    def mend(self, chunk: AudioChunk) -> AudioChunk:
        """Return a chunk whose stamp goes back, without it unless it fills a hole."""
        assert chunk.stamp_ns is not None  # it goes back
        begin_ns, slack_ns = chunk.stamp_ns + self._offsets[-1][1], to_ns(_EXACT_S)
        end_ns = begin_ns + to_ns(chunk.duration_s)
        fills_hole = self._source.is_proven and any(
            first_ns - slack_ns <= begin_ns and end_ns <= last_ns + slack_ns
            for first_ns, last_ns in self._holes
        )
        if self._source.stamps == "audio" or fills_hole:
            return chunk
        return self._append(chunk, (begin_ns - self.end_ns) / 1e9)

    def _append(self, chunk: AudioChunk, ahead_s: float) -> AudioChunk:
        """Return a chunk that follows the audio so far, although its stamp is `ahead_s` off."""
        if abs(ahead_s) > STAMP_JITTER_S:
            if self._source.kind == "arrival":
                self._count("arrival_stamps", "stamps are not of the samples' time")
            else:
                self._count("stray_stamps", "a stamp went astray; it is not believed")
        if self._source.kind == "arrival":
            return replace(chunk, stamp_ns=None)
        return replace(chunk, stamp_ns=self.end_ns - self._offsets[-1][1])

    def resolve(self, chunk: AudioChunk, following: AudioChunk) -> AudioChunk:
        """Return a `chunk` whose stamp went back as it is to be taken, judged by the `following`.

        Where that continues it, the clock stepped, and is followed. Where that fits behind it all
        the same, its stamp alone strayed, and is mended. Where that fits without it, it came
        twice: the talker heals that. Otherwise it is new.
        """
        assert chunk.stamp_ns is not None  # it went back
        if following.stamp_ns is None:
            return self.mend(chunk)
        jitter_ns, offset_ns = to_ns(STAMP_JITTER_S), self._offsets[-1][1]
        length_ns = len(chunk.samples) * 10**9 // chunk.rate_hz
        ahead_ns = following.stamp_ns + offset_ns - self.end_ns
        is_audio = self._source.kind == "audio"
        if self._source.is_proven and abs(ahead_ns) <= to_ns(REPEAT_MATCH_S):
            return chunk
        exact_ns = jitter_ns if self._source.stamps == "audio" else to_ns(_EXACT_S)
        if is_audio and abs(following.stamp_ns - chunk.stamp_ns - length_ns) <= exact_ns:
            self._follow_clock(chunk.stamp_ns, self.end_ns)
        elif abs(ahead_ns - length_ns) <= jitter_ns:
            self._count("stray_stamps", "a stamp went back alone; it is not believed")
            return replace(chunk, stamp_ns=self.end_ns - offset_ns)
        else:
            return self.mend(chunk)
        return chunk

    def place(self, chunk: AudioChunk, now_ns: int, arrival_ns: int, starving: bool) -> int:
        """Take a chunk; return the time at which it begins, on the node's clock."""
        begin_ns = self.end_ns - self._ago * 10**9 // chunk.rate_hz
        if not self._ago:
            begin_ns = self._find_begin(chunk, now_ns, arrival_ns, starving)
            if begin_ns > self.end_ns and self._arrival_ns is not None:
                self._holes.append((self.end_ns, begin_ns))
        self._source.hear(chunk.samples[self._ago :], chunk.rate_hz)
        self._ago, self._arrival_ns = 0, arrival_ns
        return begin_ns

    def _find_begin(self, chunk: AudioChunk, now_ns: int, arrival_ns: int, starving: bool) -> int:
        stamp_ns, first = chunk.stamp_ns, self._arrival_ns is None
        if stamp_ns is None:
            # Time is that of arrival, and then counted in samples until audio comes late. What
            # lay in a queue while the machine had no time for it did not.
            late = arrival_ns - self.end_ns > to_ns(NEW_ANCHOR_S)
            return now_ns if late or first else self.end_ns
        begin_ns = stamp_ns + self._offsets[-1][1]
        step_back_s = MAX_STEP_BACK_AFTER_PAUSE_S if starving else MAX_STEP_BACK_S
        went_back = not first and begin_ns < self.end_ns - to_ns(step_back_s)
        ahead_ns = begin_ns - (now_ns if first else max(now_ns, self.end_ns))
        if went_back or ahead_ns > to_ns(MAX_AHEAD_S) or now_ns - begin_ns > to_ns(MAX_AGE_S):
            begin_ns = now_ns if first else max(now_ns, self.end_ns)
            # In mid-stream the audio goes on where it ended, as old as before.
            expected_s = chunk.duration_s + NEW_ANCHOR_S
            if not starving and now_ns - self.end_ns < to_ns(expected_s):
                begin_ns = self.end_ns
            self._follow_clock(stamp_ns, begin_ns)
        return begin_ns

    def _follow_clock(self, stamp_ns: int, begin_ns: int) -> None:
        """From now on a stamp of `stamp_ns` is `begin_ns` on the node's clock."""
        offset_ns = begin_ns - stamp_ns
        step_s = (self._offsets[-1][1] - offset_ns) / 1e9
        where = f"{step_s:.2f} s ahead" if step_s > 0 else f"{-step_s:.2f} s behind"
        self._count("clock_offsets", f"audio stamps went {where}; they are followed")
        self._offsets.append((begin_ns, offset_ns))


def to_ns(time_s: float) -> int:
    """Return seconds in whole nanoseconds."""
    return round(time_s * 1e9)
