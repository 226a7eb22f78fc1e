"""Compressed audio on a byte topic is recognized, however it is cut; PCM never is."""

from __future__ import annotations

import array
import io
from types import SimpleNamespace as Fields

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from dualtalker.audio import AudioFormat, read_message
from dualtalker.audio.messages import CompressedError
from dualtalker.audio.sniffing import _mp3_frame, name_compression

MP3_RATES_HZ = [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000]


def encode(file_format, rate_hz=16000, channels=1, **options):
    """Two seconds of noise in syllables as bytes of a file."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2 * rate_hz, channels))
    noise *= np.sin(np.arange(2 * rate_hz) * 12 / rate_hz)[:, None] ** 2
    file = io.BytesIO()
    soundfile.write(file, noise, rate_hz, format=file_format, **options)
    return file.getvalue()


def frames_of(mp3):
    at, frames = 0, []
    while at + 4 <= len(mp3):
        length = _mp3_frame(mp3[at : at + 4])[0]
        frames.append(mp3[at : at + length])
        at += length
    return frames


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", MP3_RATES_HZ)
def test_mp3_by_frames(rate_hz, channels):
    """As `audio_capture` sends it: one or several whole frames a message."""
    frames = frames_of(encode("MP3", rate_hz, channels))
    assert len(frames) > 30
    for count in (1, 2, 5):
        for first in range(len(frames) - count):
            data = b"".join(frames[first : first + count])
            with pytest.raises(CompressedError, match=r"MP3.*format:=wave"):
                read_message(Fields(data=array.array("B", data)), AudioFormat())


@pytest.mark.parametrize("rate_hz", MP3_RATES_HZ)
def test_mp3_cut_anywhere(rate_hz):
    mp3 = encode("MP3", rate_hz)
    longest = max(len(frame) for frame in frames_of(mp3))
    for first in range(1, len(mp3) - 5 * longest, 97):
        assert name_compression(mp3[first : first + 5 * longest]) == "MP3"


def adts(payload):
    """One AAC frame: MPEG-4, low complexity, 16 kHz, mono."""
    length = len(payload) + 7
    head = [0xFF, 0xF1, 0x60, 0x40 | length >> 11, length >> 3 & 255, (length & 7) << 5 | 31, 252]
    return bytes(head) + payload


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (adts(bytes(200)), "AAC"),
        (adts(bytes(200)) + adts(bytes(90)) + bytes(17), "AAC"),
        (encode("OGG", subtype="VORBIS")[:500], "Ogg"),
        (encode("FLAC"), "FLAC"),
        (encode("WAV"), "a wav file"),
        (encode("AIFF"), "an AIFF file"),
        (b"ID3\x04\x00" + bytes(50), "MP3"),
        (b"\x1aE\xdf\xa3\x01" + bytes(50), "WebM or Matroska"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(50), "MP4"),
    ],
)
def test_other_kinds_are_named(data, name):
    assert name_compression(data) == name


def test_pages_and_frames_in_mid_stream_are_recognized():
    ogg = encode("OGG", subtype="VORBIS")
    assert name_compression(ogg[ogg.index(b"OggS", 100) :][:700]) == "Ogg"
    flac = encode("FLAC")
    assert name_compression(flac[flac.index(b"\xff\xf8", 100) :][:700]) == "FLAC"


def test_random_pcm_is_never_refused():
    random = np.random.default_rng(1)
    for number in range(10_000):
        data = random.bytes((320, 640, 960, 1024, 2048)[number % 5])
        assert name_compression(data) is None


def test_pcm_that_begins_as_frames_do_is_never_refused():
    random = np.random.default_rng(2)
    for second in (0xE2, 0xE3, 0xF2, 0xF3, 0xFA, 0xFB, 0xF0, 0xF1, 0xF8, 0xF9):
        for _ in range(500):
            # 642 and 1026 bytes: as many as no frame has that is exactly one message long.
            data = bytes([0xFF, second]) + random.bytes((640, 1024)[_ % 2])
            assert name_compression(data) is None


@pytest.mark.parametrize("level", [0, 1, 2, 20, 300, 3000])
def test_quiet_pcm_is_never_refused(level):
    random = np.random.default_rng(level)
    for _ in range(300):
        noise = random.integers(-level, level + 1, 640).astype("<i2")
        assert name_compression(noise.tobytes()) is None


@given(st.integers(-32768, 32767), st.integers(-32768, 32767))
def test_constant_channels_are_never_refused(left, right):
    data = np.tile(np.array([left, right], "<i2"), 1000).tobytes()
    assert name_compression(data) is None
