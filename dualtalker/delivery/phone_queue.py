"""Phones on their way to the talker: they wait for the audio of their stamp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from dualtalker.errors import SpeechError
from dualtalker.speech import Phone, PhoneRows, read_phones
from dualtalker.stream import MAX_PHONES, Talker

# An utterance's stamp may lie so much before the audio that begins it; audio that comes later is
# another's.
_EARLIEST_NS = 150_000_000
_MAX_AGE_NS, _MAX_EARLY_NS = 10 * 10**9, 600 * 10**9
_MAX_TEXT = 1 << 18  # characters of a message: some thousand phones


class _Stamp(msgspec.Struct):
    """A time, as `builtin_interfaces/Time`."""

    sec: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
    nanosec: Annotated[int, msgspec.Meta(ge=0, lt=10**9)]


class _Utterance(msgspec.Struct):
    """What a message says."""

    stamp: _Stamp  # of the utterance's first sample, as the audio's own stamps
    phones: list[list[str | int | float]]  # label, start and end in seconds after that sample


class PhoneQueue:
    """Utterances, each with the stamp of its first sample on the clock of the audio's stamps."""

    def __init__(self, talker: Talker, count: Callable[[str, str, int], None]) -> None:
        """`count` takes a kind of fault, what it means, and how many phones."""
        self._talker, self._count = talker, count
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._waiting: list[tuple[int, list[Phone]]] = []
        self._given: list[tuple[int, list[Phone]]] = []  # to the talker, since audio came last
        self._audio_ns = (0, 0, 0)  # begin and end of the audio without a break, and its offset

    def hear(self, text: str) -> None:
        """Take a message of the topic `phones`: JSON of an utterance's stamp and its phones.

        Raises:
            SpeechError: it is no such JSON, or `add` refuses what it says; nothing changes.
        """
        if len(text) > _MAX_TEXT:
            raise SpeechError(f"{len(text)} characters; expected at most {_MAX_TEXT}")
        try:
            told = msgspec.json.decode(text, type=_Utterance)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise SpeechError(str(error)) from error
        self.add(told.phones, told.stamp.sec * 10**9 + told.stamp.nanosec)

    def add(self, rows: PhoneRows, stamp_ns: int) -> None:
        """Take rows of (label, start_s, end_s), in seconds after the sample stamped `stamp_ns`.

        Raises:
            SpeechError: a row is no phone, or its label unknown; nothing changes.
        """
        phones = read_phones(rows)
        if not phones:
            return
        begin_ns, end_ns, offset_ns = self._audio_ns
        if begin_ns <= stamp_ns + offset_ns < end_ns:
            self._given.append((stamp_ns, phones))
            _drop_oldest(self._given)
            self._talker.push_phones(phones, stamp_ns + offset_ns)
            return
        self._waiting.append((stamp_ns, phones))
        if dropped := _drop_oldest(self._waiting):
            self._count("early_phones", f"more than {MAX_PHONES} wait for audio", dropped)

    def meet(self, begin_ns: int, end_ns: int, offset_ns: int) -> None:
        """Audio came from `begin_ns` to `end_ns`, which is `offset_ns` ahead of its stamps."""
        first_ns, last_ns, before_ns = self._audio_ns
        if begin_ns > last_ns + _EARLIEST_NS or offset_ns != before_ns:
            first_ns = begin_ns - _EARLIEST_NS
        self._audio_ns = (first_ns, max(end_ns, last_ns), offset_ns)
        self._given.clear()
        if self._waiting:
            self._offer(begin_ns, end_ns, offset_ns)

    def interrupt(self) -> None:
        """The audio is void, and what the talker was told; but not what came after the audio."""
        self._waiting += self._given
        self._given = []
        self._audio_ns = (0, 0, 0)

    def _offer(self, begin_ns: int, end_ns: int, offset_ns: int) -> None:
        waiting, self._waiting = self._waiting, []
        for stamp_ns, phones in waiting:
            place_ns = stamp_ns + offset_ns
            if begin_ns - _EARLIEST_NS <= place_ns < end_ns:
                self._talker.push_phones(phones, place_ns)
            elif place_ns < begin_ns - _MAX_AGE_NS:
                self._count("late_phones", "the audio of their stamp never came", len(phones))
            elif place_ns > end_ns + _MAX_EARLY_NS:
                why = "their stamp is more than 600 s ahead of the audio"
                self._count("early_phones", why, len(phones))
            else:
                self._waiting.append((stamp_ns, phones))


def _drop_oldest(utterances: list[tuple[int, list[Phone]]]) -> int:
    """Drop utterances beyond `MAX_PHONES`: what was told last is what will be said."""
    before = kept = sum(len(phones) for _, phones in utterances)
    while kept > MAX_PHONES:
        kept -= len(utterances.pop(0)[1])
    return before - kept
