"""What the pickle reader admits and what it refuses by name."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorded_files import dump_python2
from training.datasets.pickles import PickleError, load_pickle

TABLE = {
    "FaceTalk": {
        "sentence01": {"audio": np.arange(-300, 300, dtype=np.int16), "sample_rate": 22000},
        "frames": {0: 17, 1: 18},
    },
    "template": np.asfortranarray(np.arange(12.0).reshape(4, 3)),
    "big_endian": np.arange(5, dtype=">f4"),
    "empty": np.zeros((0, 3), np.float32),
}


# The rest of the state of a dtype of numbers.
NO_FIELDS = b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def save(tmp_path, content):
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    return path


def assert_same(found, expected):
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_gives_back_what_was_written(tmp_path, protocol):
    path = save(tmp_path, pickle.dumps(TABLE, protocol=protocol))
    assert_same(load_pickle(path), TABLE)


def test_files_of_python_2_are_read(tmp_path):
    table = {k: v for k, v in TABLE.items() if k != "big_endian"}
    table["template"] = np.ascontiguousarray(table["template"])
    content = dump_python2(table)
    # What we call a pickle of Python 2 is one to Python as well.
    assert pickle.loads(content, encoding="latin1").keys() == table.keys()  # noqa: S301
    assert_same(load_pickle(save(tmp_path, content)), table)


def test_other_plain_containers_are_read(tmp_path):
    ordered = collections.OrderedDict(a=1)
    counted = collections.defaultdict(dict, b={2: 3})
    content = {"o": ordered, "d": counted, "s": {1, 2}, "t": (np.ones(2), [None, True, 2**70])}
    found = load_pickle(save(tmp_path, pickle.dumps(content, protocol=2)))
    assert found["o"] == {"a": 1} and found["d"] == {"b": {2: 3}} and found["s"] == {1, 2}
    assert np.array_equal(found["t"][0], np.ones(2)) and found["t"][1] == [None, True, 2**70]
    scalar = load_pickle(save(tmp_path, pickle.dumps(np.float32(1.5))))
    assert scalar == 1.5


class Command:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile_calls(marker):
    return {
        "system": Command(os.system, f"touch {marker}"),
        "eval": Command(eval, f"open({str(marker)!r}, 'w')"),
        "getattr": Command(getattr, "text", "upper"),
        "exec": Command(exec, f"open({str(marker)!r}, 'w')"),
        "load": Command(np.load, str(marker)),
    }


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", ["system", "eval", "getattr", "exec", "load"])
def test_calls_are_refused_by_name_and_never_made(tmp_path, name, protocol):
    marker = tmp_path / "marker"
    content = {"audio": [1, 2], "more": hostile_calls(marker)[name]}
    path = save(tmp_path, pickle.dumps(content, protocol=protocol))
    with pytest.raises(PickleError, match=rf"{path}: refused: asks for \S+\.{name}"):
        load_pickle(path)
    assert not marker.exists()


class Thing:
    pass


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (pickle.dumps(np.array([{}, []], dtype=object)), "array of type object"),
        (pickle.dumps(np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])), "refused"),
        (pickle.dumps(np.array(["text"])), "array of type"),
        (pickle.dumps(Thing()), "refused"),
        (pickle.dumps(collections.Counter("aab")), "Counter"),
        (b"\x80\x02cnumpy\nndarray\nq\x00.", "holds a _Callable"),
        (b"\x80\x02cnumpy\ndtype\n}(U\x04nameU\x01xub.", "refused: tries to change dtype"),
        (b"\x80\x02ccollections\nOrderedDict\n(J\x01\x00\x00\x00tR.", "refused: calls"),
        (b"\x80\x02c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00rottR.", "refused"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "BINPERSID"),
        (b"\x80\x02K\x01r\xff\xff\xff\x7f.", "memo index"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc.", "cut short"),
        (b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"abc.", "cut short"),
        (b"version https://git-lfs", "broken"),
        (b"", "cut short"),
        (pickle.dumps(TABLE)[:-40], "broken|cut short"),
        (b"(" * 100 + b"l" * 99 + b".", "broken|nested"),
        (b"]" * 50 + b"a" * 49 + b".", "nested more than"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_what_is_not_plain_data_is_refused(tmp_path, content, problem):
    path = save(tmp_path, content)
    with pytest.raises(PickleError, match=problem) as caught:
        load_pickle(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("shape", [(10**12,), (2**62, 4), (-3,), (10**6, 10**6)])
def test_an_array_larger_than_its_bytes_is_refused(tmp_path, shape):
    dtype = b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01<" + NO_FIELDS
    numbers = b"".join(b"\x8a\x09" + n.to_bytes(9, "little", signed=True) for n in shape)
    content = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    content += b"(K\x01(" + numbers + b"t" + dtype + b"\x89U\x04abcdtb."
    with pytest.raises(PickleError, match="array"):
        load_pickle(save(tmp_path, content))


def test_one_text_used_as_thousands_of_arrays_is_refused(tmp_path):
    dtype = b"cnumpy\ndtype\n(U\x02i1K\x00K\x01tR(K\x03U\x01|" + NO_FIELDS + b"q\x01"
    text = b"T" + struct.pack("<i", 10000) + b"x" * 10000 + b"q\x02"
    one = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    one += b"(K\x01(M\x10\x27th\x01\x89h\x02tb"
    content = b"\x80\x02](" + dtype + text + one * 3000 + b"e."
    with pytest.raises(PickleError, match="again and again"):
        load_pickle(save(tmp_path, content))


def nest_tuples(depth: int) -> bytes:
    """Tuples of the same tuple twice: hashing, comparing or showing one takes 2^depth steps."""
    return b"K\x01" + b"2\x86" * depth


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"}" + nest_tuples(99) + b"K\x01s.", "a key of type tuple"),
        (b"}(" + nest_tuples(99) + b"K\x01u.", "a key of type tuple"),
        (b"(" + nest_tuples(99) + b"K\x01d.", "a key of type tuple"),
        (b"\x8f(" + nest_tuples(99) + b"\x90.", "a key of type tuple"),
        (b"\x8f(K\x01" + nest_tuples(99) + b"u.", "fills a set"),
        (b"(" + nest_tuples(99) + b"\x91.", "a key of type tuple"),
        (b"c__builtin__\nset\n](" + nest_tuples(99) + b"e\x85R.", "a key of type tuple"),
        (b"cnumpy\ndtype\n" + nest_tuples(99) + b"\x85R.", "calls dtype"),
        (nest_tuples(99) + b".", "nested more than"),
        (b"}(\x8a\x0a" + bytes(9) + b"\x01Nu.", "a key of type int"),  # 2^72
        (b"](" + b"K\x01" * 5000 + b"eq\x00c__builtin__\nset\nq\x010]"
         + b"h\x01h\x00\x85Ra" * 5000 + b".", "again and again"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)  # fmt: skip
def test_what_would_take_for_ever_is_refused_at_once(tmp_path, content, problem):
    with pytest.raises(PickleError, match=problem):
        load_pickle(save(tmp_path, b"\x80\x04" + content))


def test_lengths_that_multiply_to_a_huge_number_are_refused_at_once(tmp_path):
    huge = b"\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b"q\x05"
    content = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    content += b"(K\x01(" + huge + b"h\x05" * 20_000 + b"t"
    content += b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR\x89U\x04abcdtb."
    with pytest.raises(PickleError, match="dimensions"):
        load_pickle(save(tmp_path, content))


def test_references_to_itself_are_survived(tmp_path):
    loop: list = [1]
    loop.append(loop)
    found = load_pickle(save(tmp_path, pickle.dumps(loop)))
    assert found[0] == 1 and found[1] is found


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 10**6), st.integers(0, 255))
def test_any_broken_byte_gives_data_or_a_pickle_error(tmp_path, place, value):
    content = bytearray(pickle.dumps(TABLE, protocol=2))
    content[place % len(content)] = value
    with contextlib.suppress(PickleError):
        load_pickle(save(tmp_path, bytes(content)))
