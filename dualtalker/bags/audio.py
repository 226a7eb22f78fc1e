"""Finds the audio of a bag, its format, what makes it doubtful, and the phones told of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from dualtalker.audio import (
    BARE_TYPES,
    INFO_TYPE,
    SUPPORTED_TYPES,
    AudioFormat,
    is_info,
    read_info,
    read_message,
)
from dualtalker.bags.reading import Bag, BagMessage
from dualtalker.errors import AudioError, BagError

USUAL_RATES_HZ = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
# Rates that differ from what the times say by more than this are wrong; usual ones differ by more.
RATE_TOLERANCE = 0.04
STEADY_SHARE = 0.25  # of their median, by which steady chunks' intervals may differ
PHONES_TYPE, PHONES_ENDING = "std_msgs/msg/String", "/phones"
MIN_JUDGED_S = 1.0  # shorter audio tells nothing about its rate
log = logging.getLogger("dualtalker")


@dataclass(frozen=True)
class GivenFormat:
    """What the user says of audio that does not say it itself; None is: not said."""

    rate_hz: int | None = None
    channels: int | None = None
    sample_format: str | None = None
    channel: int | None = None
    """The one that is heard, of all audio; None is the mean."""


@dataclass(frozen=True)
class ChunkTimes:
    """When the usable chunks came, what their stamps say, and how long they are; each [chunks]."""

    received_ns: np.ndarray
    stamps_ns: np.ndarray | None
    """Of their first samples; None where the messages carry no time."""
    lengths_s: np.ndarray
    rate_hz: int
    """Of the last chunk."""

    @property
    def begins_ns(self) -> np.ndarray:
        """When the chunks begin: by stamp, or counted from the first one's arrival."""
        if self.stamps_ns is not None:
            return self.stamps_ns
        before_s = np.concatenate([[0.0], np.cumsum(self.lengths_s)[:-1]])
        return np.asarray(self.received_ns[0] + (before_s * 1e9).astype(np.int64))

    def find_start_ns(self) -> int:
        """Return when the first sample was heard, by the recorder's clock.

        The latest start for which no chunk was received before it was due: neither a delayed
        message nor stamps of another clock move it.
        """
        begins_ns = self.begins_ns
        return int((self.received_ns - (begins_ns - begins_ns[0])).min())


@dataclass(frozen=True)
class BagAudio:
    """The audio messages of a bag."""

    topic: str
    type_name: str
    messages: list[BagMessage]
    format: AudioFormat  # of messages that do not tell their own
    format_source: str  # where that comes from, in words
    times: ChunkTimes


def read_bag_audio(bag: Bag, topic: str | None, given: GivenFormat) -> BagAudio:
    """Read the audio topic: `topic`, or the only one that there is.

    Raises:
        BagError: there is none, there are several, it is empty, or its rate cannot be true.
    """
    name = find_audio_topic(bag, topic)
    type_name = bag.topics[name].type_name
    messages = list(bag.read(name))
    if not messages:
        raise BagError(
            f"{bag.path}: {name} ({type_name}) holds no message: was anything said, and the "
            f"driver running? The bag holds {bag.describe()}"
        )
    audio_format, source = _find_format(bag, name, given)
    audio = BagAudio(
        name, type_name, messages, audio_format, source, _time_chunks(bag, messages, audio_format)
    )
    if given.rate_hz is None:
        _check_rate(bag, audio)
    return audio


def find_audio_topic(bag: Bag, wanted: str | None) -> str:
    """Return the name of the topic that holds the audio."""
    possible = [t.name for t in bag.topics.values() if t.type_name in SUPPORTED_TYPES]
    if wanted is not None:
        name = wanted if wanted in bag.topics else f"/{wanted.lstrip('/')}"
        if name not in bag.topics:
            raise BagError(f"{bag.path} has no topic {wanted}; it holds {bag.describe()}")
        if name not in possible:
            raise BagError(
                f"{bag.path}: {name} has type {bag.topics[name].type_name}; expected one of "
                + ", ".join(SUPPORTED_TYPES)
            )
        return name
    if not possible:
        raise BagError(
            f"{bag.path} has no audio topic: it holds {bag.describe()}. Record the topic that the "
            f"talker listens to; known types: {', '.join(SUPPORTED_TYPES)}"
        )
    # std_msgs arrays hold all kinds of things: where one topic is called audio, it is that.
    named = [name for name in possible if name.rsplit("/", 1)[-1] == "audio"]
    if len(possible) > 1 and len(named) != 1:
        topics = "; ".join(str(bag.topics[name]) for name in possible)
        raise BagError(
            f"{bag.path} has several topics that may be the audio: {topics}. Choose one: "
            f"--audio-topic {possible[0]}"
        )
    return named[0] if named else possible[0]


def _find_format(bag: Bag, topic: str, given: GivenFormat) -> tuple[AudioFormat, str]:
    """The user's word counts most, then an AudioInfo in the bag, then the node's defaults."""
    audio_format, sources = AudioFormat(channel=given.channel), []
    if bag.topics[topic].type_name in BARE_TYPES and (name := find_info_topic(bag, topic)):
        told = _read_infos(bag, name, audio_format)
        if told is not None:
            audio_format = told
            sources.append(name)
    fields = ("rate_hz", "channels", "sample_format")
    said = {name: getattr(given, name) for name in fields if getattr(given, name) is not None}
    if said:
        audio_format = replace(audio_format, **said)
        sources.append("the command line")
    return audio_format, " and ".join(sources) or "the talker's defaults"


def find_info_topic(bag: Bag, topic: str) -> str | None:
    """Return the AudioInfo that belongs to an audio topic: that nearest to it by name."""
    found = [t.name for t in bag.topics.values() if t.type_name == INFO_TYPE and t.count]
    namespace = topic.rsplit("/", 1)[0]
    return min(found, key=lambda n: (n.rsplit("/", 1)[0] != namespace, n), default=None)


def find_phones_topic(bag: Bag, audio_topic: str, run_topic: str | None = None) -> str | None:
    """Return the topic `phones` in the namespace of the run, else in that of the audio.

    Where no run is known it may be anywhere, if there is one alone.
    """
    found = [t.name for t in bag.topics.values() if t.type_name == PHONES_TYPE and t.count]
    found = [name for name in found if name.endswith(PHONES_ENDING)]
    for beside in filter(None, (run_topic, audio_topic)):
        if (name := beside.rsplit("/", 1)[0] + PHONES_ENDING) in found:
            return name
    return found[0] if run_topic is None and len(found) == 1 else None


def _read_infos(bag: Bag, name: str, defaults: AudioFormat) -> AudioFormat | None:
    """Return what the first AudioInfo tells that the node would believe; None without any."""
    refused: set[str] = set()
    for _, message in bag.read(name):
        if not is_info(message):
            return None
        try:
            return read_info(message, defaults)
        except AudioError as error:
            if str(error) not in refused:
                log.warning("%s: %s: %s; it changes nothing", bag.path, name, error)
            refused.add(str(error))
    return None


def _time_chunks(bag: Bag, messages: list[BagMessage], audio_format: AudioFormat) -> ChunkTimes:
    """Decode every message once for its times; BagError where none can be used."""
    rows, rate_hz = [], audio_format.rate_hz
    refusal: AudioError | None = None
    for received_ns, message in messages:
        try:
            chunk = read_message(message, audio_format)
        except AudioError as error:
            refusal = error
            continue
        rows.append((received_ns, chunk.stamp_ns, chunk.duration_s))
        rate_hz = chunk.rate_hz
    if not rows:
        raise BagError(
            f"{bag.path}: none of {len(messages)} audio messages can be used: {refusal}. What "
            "they do not say of themselves: --sample-rate-hz, --channels, --sample-format"
        )
    arrivals_ns, stamps_ns, lengths_s = zip(*rows, strict=True)
    stamped = None not in stamps_ns
    return ChunkTimes(
        np.array(arrivals_ns, np.int64),
        np.array(stamps_ns, np.int64) if stamped else None,
        np.array(lengths_s),
        rate_hz,
    )


def _check_rate(bag: Bag, audio: BagAudio) -> None:
    """Refuse a rate that the times of the messages contradict, naming the one that would fit.

    Medians over chunks, so that pauses do not count; what comes in bursts tells nothing.
    """
    times = audio.times
    if times.lengths_s.sum() < MIN_JUDGED_S or len(times.lengths_s) < 3:
        return
    seen_ns = times.received_ns if times.stamps_ns is None else times.stamps_ns
    steps_s = np.diff(seen_ns) / 1e9
    step_s, length_s = float(np.median(steps_s)), float(np.median(times.lengths_s))
    steady = np.abs(steps_s - step_s) < STEADY_SHARE * abs(step_s)
    if step_s <= 0 or steady.mean() < 0.5:
        return
    true_hz, rate_hz = times.rate_hz * length_s / step_s, times.rate_hz
    nearest_hz = min(USUAL_RATES_HZ, key=lambda usual: abs(usual - true_hz))
    fits = abs(nearest_hz - true_hz) < RATE_TOLERANCE * nearest_hz
    if fits and abs(nearest_hz - rate_hz) > RATE_TOLERANCE * rate_hz:
        raise BagError(
            f"{bag.path}: {audio.topic} is taken for {rate_hz} Hz ({audio.format_source}), but "
            f"chunks of {length_s * 1e3:.1f} ms at that rate come every {step_s * 1e3:.1f} ms. "
            f"Give the true one: --sample-rate-hz {nearest_hz}, or --channels where they are "
            f"interleaved; --sample-rate-hz {rate_hz} if it is right nevertheless"
        )
