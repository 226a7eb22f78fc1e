"""What is known of the words: phones told before their frames are made, and what they do there."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from dualtalker.face import ROUNDING, round_lips, smoothstep, touch_lips
from dualtalker.faults import Faults
from dualtalker.speech import BILABIAL, BURST_S, LABIODENTAL, SILENCE, Phone
from dualtalker.stream.agreement import Agreement, expect_level
from dualtalker.stream.clock import StampClock

# Lips take so long to meet and to part, and to be rounded.
_MEET_S, _PART_S, _ROUND_S = 0.06, 0.05, 0.08
# A contact ends a burst before its label does, or at this share of it if that is later.
_HELD_SHARE = 0.6
# Where frames are too far apart to fall into a contact, it grows by so much on either side.
_GROWTH_S = 0.04
# No phone shuts or rounds the lips for longer, whatever is told.
_LONGEST_S = 2.0
# What is told of a phone that has begun: its contact comes this fast.
_HASTE_S = 0.03
# Phones that wait, at most, and how long before their time they may be told.
MAX_PHONES, MAX_EARLY_S = 10_000, 600.0
# An utterance goes on where another call's phones follow within this.
_UTTERANCE_GAP_S = 0.3


@dataclass(frozen=True)
class _Told:
    """A phone in stream time, and what it does to the mouth from `begin_s` to `end_s`."""

    label: str
    start_s: float
    over_s: float  # end of the phone
    begin_s: float
    full_s: float
    part_s: float
    end_s: float
    utterance: int

    def gate(self, time_s: float) -> float:
        """Return how far it is made, 0 to 1: from `full_s` to `part_s` wholly."""
        rise = smoothstep((time_s - self.begin_s) / max(self.full_s - self.begin_s, 1e-9))
        fall = smoothstep((self.end_s - time_s) / max(self.end_s - self.part_s, 1e-9))
        return rise * fall


class KnownText:
    """Phones in, contacts out; they are judged against the sound and bounded in number.

    Times are of the stream. Each phone is decided on once, as its effect begins, so that frames
    made before stay as they are and nothing jumps.
    """

    def __init__(
        self, frame_s: float, step_s: float, lookahead_s: float, stamps: StampClock, faults: Faults
    ) -> None:
        """Frames are shown every `frame_s`; the model makes one every `step_s`."""
        self._frame_s, self._step_s = frame_s, step_s
        self._stamps, self._faults = stamps, faults
        self._agreement = Agreement(step_s, lookahead_s)
        self._made_s = -np.inf  # frames up to here are made
        self._utterance = 0  # of the phones told last
        self._forget()

    def take_back(self, time_s: float) -> None:
        """Forget all phones; frames are made anew from `time_s` on."""
        self.make_again(time_s)
        self._forget()

    def make_again(self, time_s: float) -> None:
        """Frames are made anew from `time_s` on."""
        self._made_s = time_s - self._frame_s

    def _forget(self) -> None:
        self._waiting: list[_Told] = []  # by `begin_s`
        self._passing: list[_Told] = []  # those that are heard now, or whose effect is not over
        self._shown: list[_Told] = []  # of them, what is to be shown
        self._unplaced: list[tuple[int, list[Phone]]] = []  # until the audio of their stamp comes
        self._heard_utterance = -1
        self._last_s = -np.inf  # end of the phones told last
        self._agreement.restart()

    def push(self, phones: Sequence[Phone], stamp_ns: int | None) -> None:
        """Take phones in order of time, of the stream or after the sample stamped `stamp_ns`."""
        if stamp_ns is not None and not isinstance(stamp_ns, (int, np.integer)):
            raise TypeError(f"stamp_ns is {type(stamp_ns).__name__}; expected int nanoseconds")
        room = MAX_PHONES - len(self._waiting) - sum(len(rest) for _, rest in self._unplaced)
        if len(phones) > room:
            self._refuse(len(phones) - room, f"more than {MAX_PHONES} of them wait")
        taken = list(phones[: max(room, 0)])
        if taken and stamp_ns is None:
            self._place(taken, 0.0)
        elif taken and stamp_ns is not None:
            self._unplaced.append((int(stamp_ns), taken))

    def place(self, heard_s: Fraction) -> None:
        """Find the stream time of stamped phones whose audio has been heard up to `heard_s`."""
        if not self._unplaced or not self._stamps.anchored:
            return
        later = []
        for stamp_ns, phones in self._unplaced:
            origin_s = self._stamps.time_of(stamp_ns)
            assert origin_s is not None  # it is anchored
            if origin_s > heard_s + Fraction(MAX_EARLY_S):
                self._refuse(len(phones), f"more than {MAX_EARLY_S:g} s ahead of the audio")
            elif origin_s > heard_s:
                later.append((stamp_ns, phones))
            else:
                self._place(phones, float(origin_s))
        self._unplaced = later

    def restart(self) -> None:
        """The sound begins anew."""
        self._agreement.forget_sound()

    def hear(self, samples: np.ndarray, time_s: float) -> None:
        """The model has heard a step's audio [n] and depicts `time_s` next."""
        if self._waiting or self._passing:
            self._agreement.hear(samples)
            self._pass_through(time_s)
            self._tell(time_s - self._step_s / 2)
        else:
            self._agreement.forget_sound()
        self._made_s = max(self._made_s, time_s)

    def rest(self, time_s: float) -> None:
        """A frame was made without a model: phones of its time have no sound."""
        self._made_s = max(self._made_s, time_s)
        while self._waiting and self._waiting[0].end_s < time_s:
            self._count_wrong(self._waiting.pop(0))

    def shape(self, time_s: float, weights: np.ndarray, intensity: float) -> np.ndarray:
        """Return weights [52] with what is known at `time_s`; the input is kept."""
        shut = bite = 0.0
        for told in self._shown:
            if not told.begin_s < time_s < told.end_s:
                continue
            gate = told.gate(time_s)
            if told.label == BILABIAL:
                shut = max(shut, gate)
            elif told.label == LABIODENTAL:
                bite = max(bite, gate)
            else:
                least = np.float32(gate) * ROUNDING[told.label]
                weights = round_lips(weights, least, intensity)
        if shut or bite:
            weights = touch_lips(weights, shut, bite, intensity)
        return weights

    def _place(self, phones: Sequence[Phone], origin_s: float) -> None:
        if not abs(phones[0].start_s + origin_s - self._last_s) <= _UTTERANCE_GAP_S:
            self._utterance += 1
        self._last_s = phones[-1].end_s + origin_s
        late = early = 0
        for phone in phones:
            told = self._plan(phone, origin_s)
            if told.begin_s > max(self._made_s, 0.0) + MAX_EARLY_S:
                early += 1
            elif told.part_s < told.full_s:
                late += 1
            else:
                bisect.insort(self._waiting, told, key=lambda other: other.begin_s)
        self._refuse(early, f"more than {MAX_EARLY_S:g} s ahead of the frames")
        if late:
            self._faults.count("late_phones", "their frames were made before they came", late)

    def _plan(self, phone: Phone, origin_s: float) -> _Told:
        start_s = phone.start_s + origin_s
        over_s = min(phone.end_s + origin_s, start_s + _LONGEST_S)
        meet_s, part_s = _MEET_S, _PART_S
        full_s, until_s = start_s, over_s
        if phone.label in (BILABIAL, LABIODENTAL):
            full_s, until_s = _find_contact(start_s, over_s, 1.001 * self._frame_s)
        elif phone.label in ROUNDING:
            meet_s = part_s = _ROUND_S
            edge_s = min(_ROUND_S, over_s - start_s) / 2
            full_s, until_s = start_s + edge_s, over_s - edge_s
        begin_s = full_s - meet_s
        if begin_s < self._made_s:
            begin_s = self._made_s
            full_s = max(full_s, begin_s + _HASTE_S)
        end_s = until_s + part_s
        return _Told(
            phone.label, start_s, over_s, begin_s, full_s, until_s, end_s, self._utterance
        )

    def _pass_through(self, time_s: float) -> None:
        """Decide on the phones whose effect begins before `time_s`."""
        while self._waiting and self._waiting[0].begin_s < time_s:
            told = self._waiting.pop(0)
            if told.utterance != self._heard_utterance:
                self._heard_utterance = told.utterance
                self._agreement.restart()
            self._passing.append(told)
            if not self._agreement.agrees:
                self._count_wrong(told)
            elif told.label in (BILABIAL, LABIODENTAL) or told.label in ROUNDING:
                self._shown.append(told)
        past_s = time_s - 2 * self._step_s
        self._passing = [told for told in self._passing if told.over_s > past_s]
        self._shown = [told for told in self._shown if told.end_s > past_s]

    def _tell(self, time_s: float) -> None:
        level_db = np.nan
        for told in self._passing:
            if told.start_s <= time_s < told.over_s:
                level_db = expect_level(told.label)
        self._agreement.tell(level_db)

    def _count_wrong(self, told: _Told) -> None:
        if told.label != SILENCE:
            self._faults.count("wrong_phones", "they are not of the sound that is heard")

    def _refuse(self, count: int, why: str) -> None:
        if count > 0:
            self._faults.count("early_phones", f"phones dropped: {why}", count)


def _find_contact(start_s: float, over_s: float, shortest_s: float) -> tuple[float, float]:
    """Return from when to when a contact is whole, for `shortest_s` if `_GROWTH_S` allows it."""
    length_s = over_s - start_s
    until_s = start_s + max(length_s - BURST_S, _HELD_SHARE * length_s)
    missing_s = max(shortest_s - (until_s - start_s), 0.0)
    full_s = max(start_s - missing_s / 2, start_s - _GROWTH_S)
    until_s = min(max(until_s, full_s + shortest_s), over_s + _GROWTH_S)
    return max(min(full_s, until_s - shortest_s), start_s - _GROWTH_S), until_s
