"""MCAP whose summary lacks something is read by its records: all that was recorded is there."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest

pytest.importorskip("rosbags")

from bag_messages import START_NS, int16_message, open_audio, write_topics
from dualtalker.bags import Bag, find_types
from made_mcap import Chunk, channel, message, record, schema, text, write_mcap

TYPE = "std_msgs/msg/Int16MultiArray"
COUNT = 12
# Out of order, as by two threads of a recorder.
ORDER = [0, 1, 3, 2, 4, 5, 7, 6, 8, 9, 11, 10]


def serialized(number: int) -> bytes:
    store = find_types(TYPE)
    return bytes(store.serialize_cdr(int16_message(np.full(320, number)), TYPE))


def at_ns(number: int) -> int:
    return START_NS + number * 20_000_000


SUMMARIES = {
    "none": {"has_summary": False},
    "empty": {},
    "statistics": {"statistics": {1: COUNT}},
    "schemas": {"repeated": schema(), "statistics": {1: COUNT}},
    "channels": {"repeated": schema() + channel("/audio")},
    "all": {"repeated": schema() + channel("/audio"), "statistics": {1: COUNT}},
    "another channel": {"repeated": schema() + channel("/b", 2), "statistics": {1: COUNT, 2: 0}},
}


@pytest.mark.parametrize("summary", SUMMARIES)
@pytest.mark.parametrize("kind", ["records", "chunks", "chunks without index", "zstd", "lz4"])
def test_every_message_is_read_in_order(tmp_path, summary, kind):
    messages = [message(at_ns(number), serialized(number)) for number in ORDER]
    head = schema() + channel("/audio") + channel("/b", 2)
    if kind == "records":
        parts = [head, *messages]
    else:
        parts = []
        for first in range(0, COUNT, 4):
            content = (b"" if first else head) + b"".join(messages[first : first + 4])
            packed, name = pack(content, kind)
            numbers = ORDER[first : first + 4]
            span = (at_ns(min(numbers)), at_ns(max(numbers)))
            counts = {} if kind == "chunks without index" else {1: 4}
            parts.append(Chunk(packed, name, len(content), *span, counts))
    path = write_mcap(tmp_path / "a.mcap", parts, **SUMMARIES[summary])
    with Bag(path) as bag:
        assert bag.topics["/audio"].type_name == TYPE and bag.topics["/audio"].count == COUNT
        for _ in range(2):  # again, as replay does
            found = list(bag.read("/audio"))
            assert [number for number, _ in found] == [at_ns(number) for number in range(COUNT)]
            assert [int(m.data[0]) for _, m in found] == list(range(COUNT))
        raw = list(bag.read_raw(bag.topics))  # a channel without messages may be there, or not
        assert [entry[0] for entry in raw] == [at_ns(number) for number in range(COUNT)]
    assert len(open_audio(path).messages) == COUNT


def pack(content: bytes, kind: str) -> tuple[bytes, str]:
    if kind == "lz4":
        return pytest.importorskip("lz4.frame").compress(content), kind
    if kind == "zstd":
        from rosbags.rosbag2 import storage_mcap

        return storage_mcap.zstd.compress(content), kind
    return content, ""


def test_a_folder_of_such_a_file_is_read(tmp_path):
    chunks = [(START_NS + k * 20_000_000, int16_message(np.full(320, k))) for k in range(COUNT)]
    write_topics(tmp_path / "bag", {"/audio": (TYPE, chunks)})
    messages = [message(at_ns(number), serialized(number)) for number in ORDER]
    parts = [schema(), channel("/audio"), *messages]
    write_mcap(tmp_path / "bag" / "bag.mcap", parts, **SUMMARIES["schemas"])
    found = open_audio(tmp_path / "bag").messages
    assert [int(m.data[0]) for _, m in found] == list(range(COUNT))


def test_definitions_of_the_records_count(tmp_path):
    """A type that only the bag itself knows."""
    own = "audio_common_msgs/msg/AudioData"
    store = find_types(own)
    data = np.arange(64, dtype=np.uint8)
    content = bytes(store.serialize_cdr(store.types[own](data=data), own))
    whole = record(0x03, struct.pack("<H", 1) + text(own) + text("ros2msg") + text("uint8[] data"))
    parts = [whole, channel("/audio"), *(message(at_ns(k), content) for k in range(3))]
    for name, summary in itertools.islice(SUMMARIES.items(), 3):
        path = write_mcap(tmp_path / f"{name}.mcap", parts, **summary)
        with Bag(path) as bag:
            assert [m.data.tolist() for _, m in bag.read("/audio")] == [data.tolist()] * 3
