"""Audio messages of all kinds become the same samples; what is no audio is refused by kind."""

from __future__ import annotations

import array
from types import SimpleNamespace as Fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="messages are filled where nodes publish them")

from dualtalker.audio import AudioFormat, kind_of, mix_to_mono, read_message
from dualtalker.errors import AudioError
from dualtalker_ros.topics import fill_message

RATE_HZ = 22050
PCM = np.array([0, 16384, -32768, 32767, -1, 256], np.int16)
FLOATS = (PCM / 32768).astype(np.float32)


def std_array(typecode, values, labels=(), offset=0):
    dim = [Fields(label=label, size=size, stride=0) for label, size in labels]
    return Fields(
        layout=Fields(dim=dim, data_offset=offset), data=array.array(typecode, values.tobytes())
    )


def stamped(body, sec=5, nanosec=7):
    return Fields(header=Fields(stamp=Fields(sec=sec, nanosec=nanosec)), audio=body)


def port_audio(number, channels=1, **data):
    arrays = dict.fromkeys(
        ("float32_data", "int32_data", "int16_data", "int8_data", "uint8_data"), array.array("b")
    )
    info = Fields(format=number, channels=channels, rate=RATE_HZ, chunk=512)
    return Fields(audio_data=Fields(**{**arrays, **data}), info=info)


def mono_of(chunk):
    return mix_to_mono(chunk.samples)[0]


def int16_bytes():
    return array.array("B", PCM.tobytes())


@pytest.mark.parametrize(
    "message",
    [
        std_array("h", PCM, [("sample_rate_hz=22050", 1)]),
        std_array("f", FLOATS, [("sample_rate_hz=22050", 1)]),
        std_array("d", FLOATS.astype(np.float64), [("sample_rate_hz=22050", 1)]),
        std_array("i", PCM.astype(np.int32) << 16, [("sample_rate_hz=22050", 1)]),
        std_array("B", PCM, [("sample_rate_hz=22050", 1)]),
        stamped(Fields(data=int16_bytes())),
        Fields(data=int16_bytes()),
        Fields(data=PCM.tobytes()),
        stamped(port_audio(8, int16_data=array.array("h", PCM.tobytes()))),
        stamped(port_audio(1, float32_data=array.array("f", FLOATS.tobytes()))),
    ],
)
def test_same_audio_in_every_type(message):
    chunk = read_message(message, AudioFormat(rate_hz=RATE_HZ))
    np.testing.assert_allclose(mono_of(chunk), FLOATS, atol=1e-6)
    assert chunk.rate_hz == RATE_HZ
    assert chunk.stamp_ns == (5 * 10**9 + 7 if hasattr(message, "header") else None)


def test_stamp_of_zero_is_no_stamp():
    assert read_message(stamped(Fields(data=int16_bytes()), 0, 0), AudioFormat()).stamp_ns is None


def test_channels_by_label_and_offset():
    values = np.array([9, 9, 100, 300, -200, 0], np.int16)
    message = std_array("h", values, [("samples", 2), ("channels", 2)], offset=2)
    chunk = read_message(message, AudioFormat())
    np.testing.assert_array_equal(chunk.samples, [[100, 300], [-200, 0]])
    np.testing.assert_allclose(mono_of(chunk) * 32768, [200, -100])


MP3_FRAME = bytes([0xFF, 0xFB, 0x90, 0xC4]) + bytes(417 - 4)  # 128 kbit/s at 44.1 kHz


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (std_array("h", PCM[:0]), "empty_messages"),
        (Fields(data=array.array("B")), "empty_messages"),
        (Fields(data=array.array("B", b"\x01\x02\x03")), "undecodable_messages"),
        (std_array("h", PCM[:5], [("channels", 2)]), "undecodable_messages"),
        (std_array("h", PCM, [("channels", 0)]), "undecodable_messages"),
        (std_array("h", PCM, [("sample_rate_hz=fast", 1)]), "undecodable_messages"),
        (std_array("h", PCM, [("sample_rate_hz=0", 1)]), "undecodable_messages"),
        (std_array("f", np.array([0.1, np.nan], np.float32)), "nonfinite_messages"),
        (std_array("f", np.array([0.1, -np.inf], np.float32)), "nonfinite_messages"),
        (Fields(data=array.array("B", MP3_FRAME)), "compressed_messages"),
        (Fields(data=array.array("B", 2 * MP3_FRAME)), "compressed_messages"),
        (Fields(data=array.array("B", b"OggS" + bytes(60))), "compressed_messages"),
        (Fields(data=array.array("B", b"RIFF" + bytes(60))), "compressed_messages"),
        (Fields(data=array.array("B", b"fLaC" + bytes(60))), "compressed_messages"),
        (stamped(port_audio(65536, uint8_data=int16_bytes())), "undecodable_messages"),
        (Fields(text="hello"), "undecodable_messages"),
    ],
)
def test_refused_by_kind(message, kind):
    with pytest.raises(AudioError) as caught:
        read_message(message, AudioFormat())
    assert kind_of(caught.value) == kind


def test_pcm_that_looks_like_an_mp3_header_is_heard():
    """One frame header alone proves nothing: -1025 is a sample like any other."""
    data = MP3_FRAME[:4] + bytes(636)
    assert len(read_message(Fields(data=array.array("B", data)), AudioFormat()).samples) == 320


@given(st.binary(max_size=700))
def test_any_bytes_are_samples_or_an_audio_error(data):
    try:
        chunk = read_message(Fields(data=array.array("B", data)), AudioFormat())
    except AudioError:
        return
    assert len(chunk.samples) == len(data) // 2
    assert np.abs(mono_of(chunk)).max() <= 1


def empty_message(kind):
    if kind == "array":
        return std_array("h", PCM[:0])
    if kind == "bytes":
        return stamped(Fields(data=array.array("B")))
    return stamped(port_audio(0))


@pytest.mark.parametrize("kind", ["array", "bytes", "port_audio"])
def test_filled_messages_read_back(kind, ros):
    message = fill_message(empty_message(kind), FLOATS, RATE_HZ, 3 * 10**9 + 1)
    chunk = read_message(message, AudioFormat(rate_hz=RATE_HZ))
    np.testing.assert_allclose(mono_of(chunk), FLOATS, atol=1e-4)
    assert chunk.rate_hz == RATE_HZ
    assert chunk.stamp_ns == (None if kind == "array" else 3 * 10**9 + 1)


def test_floats_are_no_place_for_16_bit_audio():
    with pytest.raises(AudioError, match="does not fit"):
        fill_message(Fields(data=array.array("f")), FLOATS, RATE_HZ, 1)


@pytest.mark.parametrize("stamp_ns", [2**31 * 10**9, 10**19 - 1])
def test_stamps_that_no_frame_could_carry_are_refused(stamp_ns, ros):
    """Frames carry the audio's stamps and go on from them, in 32 bits of seconds."""
    from std_msgs.msg import Int16MultiArray

    samples = np.zeros(320, np.int16)
    message = fill_message(Int16MultiArray(), samples, 16000, stamp_ns, stamp_layout=True)
    with pytest.raises(AudioError, match="builtin_interfaces/Time ends"):
        read_message(message, AudioFormat())
    edge_ns = (2**31 - 10**5) * 10**9
    fill_message(message, samples, 16000, edge_ns, stamp_layout=True)
    assert read_message(message, AudioFormat()).stamp_ns == edge_ns
