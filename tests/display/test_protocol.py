"""The words between the face server and its viewers."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.display.protocol import (
    FACE_NAMES,
    Ping,
    Statistics,
    encode_frame,
    encode_hello,
    encode_pong,
    encode_sound,
    read_message,
)

HEADER = struct.Struct("<BBHIdd")
TIMES = st.floats(-1e9, 1e9)


@settings(deadline=None)
@given(st.integers(0, 2**40), TIMES, TIMES, st.lists(st.floats(0, 1, width=32), max_size=60))
def test_a_frame_says_what_it_was_given(index, show_at_s, stamp_s, weights):
    message = encode_frame(index, show_at_s, stamp_s, np.array(weights, np.float32))
    kind, version, count, number, at, stamp = HEADER.unpack_from(message)
    assert (kind, version, count, number) == (1, 1, len(weights), index % 2**32)
    assert (at, stamp) == (show_at_s, stamp_s)
    assert np.frombuffer(message, "<f4", offset=24).tolist() == weights


def test_a_face_takes_232_bytes_and_the_heads_angles():
    assert FACE_NAMES[:52] == ARKIT_NAMES
    assert len(encode_frame(0, 0.0, 0.0, np.zeros(len(FACE_NAMES)))) == 232 + 3 * 4


@settings(deadline=None)
@given(st.integers(0, 200_000), st.integers(8000, 192_000), TIMES, st.integers(0, 2**40))
def test_pieces_of_sound_join(count, rate_hz, at_s, position):
    samples = np.linspace(-2.0, 2.0, count, dtype=np.float32)
    pieces = encode_sound(samples, rate_hz, at_s, position)
    joined = []
    for piece in pieces:
        kind, version, held, rate, at, number = HEADER.unpack_from(piece)
        assert (kind, version, rate) == (2, 1, rate_hz)
        assert number == position + len(joined)
        assert at == pytest.approx(at_s + len(joined) / rate_hz, abs=1e-6)
        values = np.frombuffer(piece, "<i2", offset=24)
        assert len(values) == held
        joined += values.tolist()
    expected = (np.clip(samples, -1, 1) * 32767).round()
    assert joined == expected.astype(int).tolist()


def test_hello_and_pong_are_json():
    shapes = {"Jaw": [("jawOpen", 1.0)]}
    hello = json.loads(encode_hello(60.0, "ab", shapes, 12.5))
    assert hello["type"] == "hello" and hello["protocol"] == 1
    assert hello["names"] == list(FACE_NAMES)
    assert hello["fps"] == 60.0 and hello["server_s"] == 12.5
    assert hello["rig"] == {
        "url": "/rig.glb?sha256=ab",
        "sha256": "ab",
        "shapes": {"Jaw": [["jawOpen", 1.0]]},
    }
    assert json.loads(encode_pong(Ping(7), 1.5)) == {"type": "pong", "id": 7, "server_s": 1.5}


def test_a_viewer_pings_and_tells_of_itself():
    assert read_message('{"type":"ping","id":3}') == Ping(3)
    told = read_message('{"type":"stats","delay_ms":1.5,"late":2}')
    assert isinstance(told, Statistics)
    assert (told.delay_ms, told.late, told.fps) == (1.5, 2, 0.0)


@pytest.mark.parametrize(
    "message",
    [
        b"binary",
        "",
        "no json",
        "[]",
        "{}",
        '{"type":"hello"}',
        '{"type":"ping"}',
        '{"type":"ping","id":-1}',
        '{"type":"ping","id":1.5}',
        '{"type":"ping","id":"1"}',
        f'{{"type":"ping","id":{2**70}}}',
        '{"type":"ping","id":1,"more":2}',
        '{"type":"stats","delay_ms":"1"}',
        '{"type":"stats","delay_ms":1e300}',
        '{"type":"stats","delay_ms":NaN}',
        '{"type":"stats","unheard_of":1}',
        "[" * 2000,
    ],
)
def test_all_else_that_a_viewer_says_is_refused(message):
    with pytest.raises(ValueError):
        read_message(message)


@settings(deadline=None)
@given(st.text() | st.binary())
def test_no_message_does_more_than_be_refused(message):
    with pytest.raises(ValueError):
        read_message(message)
