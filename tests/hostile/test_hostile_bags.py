"""Bags whose definitions and names would cost minutes, gigabytes or a traceback."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tempfile
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("rosbags")

from bag_messages import START_NS, int16_message, write_topics
from dualtalker.arkit import ARKIT_NAMES
from dualtalker.bags import Bag, find_types
from dualtalker.errors import BagError
from dualtalker.evaluation.accuracy import Recording, measure_motions
from limited_process import refuse, run_limited
from made_mcap import Chunk, channel, message, schema, write_mcap
from tiny_rig import tiny_rig

TYPE = "made_msgs/msg/Made"
IDL = "=" * 80 + f"\nIDL: {TYPE}\nmodule made_msgs {{ module msg {{ "


def in_structure(member: str) -> str:
    return f"{IDL}struct Made {{ {member} }}; }}; }};"


def constant(value: str) -> str:
    constants = f"module Made_Constants {{ const long X = {value}; }};"
    return f"{IDL}{constants} struct Made {{ long y; }}; }}; }};"


@pytest.mark.parametrize(
    "definition",
    [
        "string[2000000000] x",
        "uint8[0002000000000] x",
        "string[1000] x\nstring[1000] y",
        "float64 X=1e999\nuint8[] data",
        "float32 X=-1e999\nuint8[] data",
        "string x\n" * 20_000,
        "uint8[] data\n" + "#" * (1 << 19),
        "uint8[",
        "\0",
        constant("(" * 400 + "1" + ")" * 400),
        constant("((1))"),
        constant("-" * 100 + "1"),
        constant("~ ~ ~ ~ 1"),
        in_structure("sequence<" * 30 + "long" + "> " * 30 + " y;"),
        f"{IDL}typedef string A[2000000000]; struct Made {{ A x; }}; }}; }};",
    ],
    ids=range(15),
)
def test_definitions_beyond_reason_are_refused(definition):
    with pytest.raises(BagError, match="definition"):
        find_types(TYPE, definition)


@pytest.mark.parametrize(
    "definition",
    [
        "uint8[] data\nstring<=5 b\nuint8[<=5] c\nfloat64[36] covariance",
        'string NAME="((((" # (((\nuint8[] data',
        constant("-1"),
        in_structure("sequence<string, 9> x; sequence<octet> y;"),
        f'{IDL}@verbatim (language="comment", text="see (here (now))")\n'
        "struct Made { sequence<octet> data; }; }; };",
    ],
    ids=range(5),
)
def test_usual_definitions_are_read(definition):
    assert TYPE in find_types(TYPE, definition).types


@pytest.mark.parametrize("column", ["name", "type"])
def test_a_topic_whose_name_is_no_text_is_refused(tmp_path, column):
    from rosbags.rosbag2 import StoragePlugin, Writer

    type_name = "std_msgs/msg/Int16MultiArray"
    store = find_types(type_name)
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection("/audio", type_name, typestore=store)
        message = store.serialize_cdr(int16_message(np.zeros(320)), type_name)
        writer.write(connection, START_NS, message)
    file = next((tmp_path / "bag").glob("*.db3"))
    base = sqlite3.connect(file)
    base.execute(f"UPDATE topics SET {column} = CAST({column} AS BLOB)")
    base.commit()
    base.close()
    with pytest.raises(BagError), Bag(file) as bag:
        list(bag.read("/audio"))
    refuse("dualtalker", "evaluate", file, "-o", tmp_path / "report", folder=tmp_path)


@pytest.mark.parametrize("computed", ["generated", "view"])
def test_rows_that_are_computed_are_refused(tmp_path, computed):
    file = tmp_path / "a.db3"
    base = sqlite3.connect(file)
    large = "zeroblob(900000000)"
    if computed == "generated":
        base.execute(f"CREATE TABLE messages(id INTEGER, data BLOB GENERATED ALWAYS AS ({large}))")
    else:
        base.execute(f"CREATE VIEW messages AS SELECT 1 AS id, {large} AS data")
    base.commit()
    base.close()
    said = refuse("dualtalker", "evaluate", file, "-o", tmp_path / "report", folder=tmp_path)
    assert "computes its rows" in said


@pytest.mark.parametrize("claimed", [0, 1000, 1 << 33, -1])
@pytest.mark.parametrize("kind", ["zstd", "lz4"])
def test_a_chunk_is_unpacked_no_further_than_it_claims(tmp_path, claimed, kind):
    from rosbags.rosbag2 import storage_mcap

    topic = ("std_msgs/msg/Int16MultiArray", [(START_NS, int16_message(np.zeros(320)))])
    write_topics(tmp_path / "bag", {"/audio": topic})
    packed = pack(bytes(100 << 20), kind)
    assert len(packed) < 500_000
    with Bag(tmp_path / "bag"):
        tracemalloc.start()
        try:
            with pytest.raises((storage_mcap.ReaderError, ValueError), match=r"[Cc]hunk"):
                storage_mcap.decompress(packed, kind, claimed, 0)
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()


def pack(data: bytes, kind: str) -> bytes:
    if kind == "lz4":
        return pytest.importorskip("lz4.frame").compress(data)
    from rosbags.rosbag2 import storage_mcap

    return storage_mcap.zstd.compress(data)


def refuse_bag(path, folder) -> str:
    return refuse("dualtalker", "evaluate", path, "-o", folder / "report", folder=folder)


@pytest.mark.parametrize("kind", ["zstd", "lz4", ""])
@pytest.mark.parametrize("bomb", ["lies", "large", "many", "at once", "one many times"])
def test_chunks_that_unpack_beyond_reason_are_refused(tmp_path, kind, bomb):
    size = {"lies": 100 << 20, "large": 100 << 20}.get(bomb, 60 << 20)
    if kind == "" and bomb != "lies":
        pytest.skip("not packed, a chunk is as large as its file")
    content = pack(bytes(size), kind) if kind else bytes(1000)
    claimed = 1000 if bomb == "lies" and kind else size
    count = {"many": 400, "at once": 8}.get(bomb, 1)
    ends = range(1, count + 1) if bomb == "many" else [count] * count
    chunks = [Chunk(content, kind, claimed, end - 1, end, {1: 1}) for end in ends]
    if bomb == "one many times":
        chunks[0].end_ns = 1
    parts = [schema(), channel("/audio"), *chunks]
    again = 100_000 if bomb == "one many times" else 1
    write_mcap(tmp_path / "a.mcap", parts, repeated=parts[0] + parts[1], chunk_index=again)
    refuse_bag(tmp_path / "a.mcap", tmp_path)


@pytest.mark.parametrize("length", [1, 1 << 40, 1 << 61, (1 << 63) - 1, (1 << 64) - 1])
def test_a_record_longer_than_the_file_is_refused(tmp_path, length):
    header = b"\x89MCAP0\r\n" + bytes([6]) + length.to_bytes(8, "little")
    (tmp_path / "a.mcap").write_bytes(header + bytes(64))
    refuse_bag(tmp_path / "a.mcap", tmp_path)


def test_a_flood_of_messages_is_refused(tmp_path):
    """40 MB of empty messages in some kilobytes."""
    content = message(START_NS, b"") * 1_300_000
    chunk = Chunk(pack(content, "zstd"), "zstd", len(content), START_NS, START_NS + 1, {1: 1})
    parts = [schema(), channel("/audio"), chunk]
    write_mcap(tmp_path / "a.mcap", parts, repeated=parts[0] + parts[1])
    refuse_bag(tmp_path / "a.mcap", tmp_path)


def test_a_flood_of_topics_is_told_in_a_line(tmp_path):
    topics = b"".join(channel(f"/camera_{number}", number) for number in range(1, 60_000))
    write_mcap(tmp_path / "a.mcap", [schema("sensor_msgs/msg/Image"), topics])
    said = refuse_bag(tmp_path / "a.mcap", tmp_path)
    assert len(said) < 10_000 and "more topics" in said


@pytest.mark.parametrize("place", ["mcap", "db3", "metadata.yaml", "in the bag"])
@pytest.mark.parametrize("kind", ["fifo", "zero", "folder"])
def test_pipes_and_devices_are_refused(tmp_path, place, kind):
    bag = tmp_path / "bag"
    if place == "in the bag":
        topic = ("std_msgs/msg/Int16MultiArray", [(START_NS, int16_message(np.zeros(320)))])
        write_topics(bag, {"/audio": topic})
        target = bag / "bag.mcap"
        target.unlink()
    elif place == "metadata.yaml":
        bag.mkdir()
        target = bag / place
    else:
        bag = target = tmp_path / f"a.{place}"
    if kind == "fifo":
        os.mkfifo(target)
    elif kind == "zero":
        target.symlink_to("/dev/zero")
    else:
        target.mkdir()
    refuse_bag(bag, tmp_path)


def compress_bag(bag, mode: str, content: bytes | None = None) -> None:
    """Make of a bag in one MCAP file one that is packed by file, or that says so of messages."""
    metadata = bag / "metadata.yaml"
    told = metadata.read_text().replace("compression_format: ''", "compression_format: zstd")
    told = told.replace("compression_mode: ''", f"compression_mode: {mode}")
    if mode == "FILE":
        file = bag / "bag.mcap"
        (bag / "bag.mcap.zstd").write_bytes(pack(content or file.read_bytes(), "zstd"))
        file.unlink()
        told = told.replace("- bag.mcap", "- bag.mcap.zstd")
    assert mode in told
    metadata.write_text(told)


def test_a_bag_that_is_packed_by_file_is_read_and_leaves_nothing(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr("dualtalker.files._swept", set())
    dead = subprocess.Popen(["true"])
    dead.wait()
    (scratch / f".part-{dead.pid}-abc").mkdir()
    topic = ("std_msgs/msg/Int16MultiArray", [(START_NS, int16_message(np.arange(320)))])
    write_topics(tmp_path / "bag", {"/audio": topic})
    compress_bag(tmp_path / "bag", "FILE")
    with Bag(tmp_path / "bag") as bag:
        (found,) = bag.read("/audio")
        assert found.message.data.tolist() == list(range(320))
        assert len(list(scratch.iterdir())) == 1
    assert not list(scratch.iterdir())


def test_whole_files_and_messages_that_unpack_beyond_reason_are_refused(tmp_path):
    topic = ("std_msgs/msg/Int16MultiArray", [(START_NS, int16_message(np.zeros(320)))])
    write_topics(tmp_path / "bag", {"/audio": topic})
    compress_bag(tmp_path / "bag", "FILE", bytes(600 << 20))
    said = refuse_bag(tmp_path / "bag", tmp_path)
    assert "unpacks to more than" in said
    write_topics(tmp_path / "other", {"/audio": topic})
    parts = [schema(), channel("/audio"), message(START_NS, pack(bytes(600 << 20), "zstd"))]
    write_mcap(tmp_path / "other" / "other.mcap", parts)
    compress_bag(tmp_path / "other", "MESSAGE")
    refuse_bag(tmp_path / "other", tmp_path)


def test_tables_that_multiply_are_refused(tmp_path):
    base = sqlite3.connect(tmp_path / "a.db3")
    base.execute("CREATE TABLE topics(id, name, type, serialization_format, offered_qos_profiles)")
    base.execute("CREATE TABLE messages(id, topic_id, timestamp, data)")
    base.executemany("INSERT INTO topics VALUES(1, '/a', 'b', 'cdr', '')", [()] * 20_000)
    base.executemany("INSERT INTO messages VALUES(1, 1, 1, '')", [()] * 20_000)
    base.commit()
    base.close()
    assert "numbers of their own" in refuse_bag(tmp_path / "a.db3", tmp_path)


@pytest.mark.parametrize("samples", [16, 160, 320, 1600])
def test_speech_of_one_short_message_is_evaluated(tmp_path, samples):
    sound = 8000 * np.sin(np.arange(samples))
    topic = ("std_msgs/msg/Int16MultiArray", [(START_NS, int16_message(sound))])
    write_topics(tmp_path / "bag", {"/audio": topic})
    arguments = ("evaluate", tmp_path / "bag", "-o", tmp_path / "report")
    status, said = run_limited("dualtalker", *arguments, folder=tmp_path)
    assert "Traceback" not in said, said[-2000:]
    assert status in (0, 2)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 7, 12, 13, 25, 61])
@pytest.mark.parametrize("captured", [False, True])
def test_motions_of_any_length_are_measured(frames, captured):
    rng = np.random.default_rng(frames)
    weights = rng.uniform(0, 1, (2, frames, len(ARKIT_NAMES)))
    audio = rng.uniform(-0.5, 0.5, frames * 533).astype(np.float32)
    recording = Recording("made", audio, 16000, 30.0, frames, weights[0], captured)
    figures = measure_motions([recording], [weights[1]], tiny_rig(False))
    assert all(np.isfinite(value) for value in figures.values())
