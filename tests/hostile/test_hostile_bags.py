"""Bags whose definitions and names would cost minutes, gigabytes or a traceback."""

from __future__ import annotations

import sqlite3
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
def test_a_chunk_is_unpacked_no_further_than_it_claims(tmp_path, claimed):
    from rosbags.rosbag2 import storage_mcap

    topic = ("std_msgs/msg/Int16MultiArray", [(START_NS, int16_message(np.zeros(320)))])
    write_topics(tmp_path / "bag", {"/audio": topic})
    packed = storage_mcap.zstd.compress(bytes(100 << 20))
    assert len(packed) < 20_000
    with Bag(tmp_path / "bag"):
        tracemalloc.start()
        try:
            with pytest.raises((storage_mcap.ReaderError, ValueError), match=r"[Cc]hunk"):
                storage_mcap.decompress(packed, "zstd", claimed, 0)
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()


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
