"""Recordings as servers, telephones and attackers write them: read whole, or refused in time."""

from __future__ import annotations

import logging
import struct

import numpy as np
import pytest
import soundfile

from dualtalker.audio import read_audio
from dualtalker.errors import AudioError
from limited_process import refuse, run_limited

RATE_HZ = 16000


def speech(seconds: float) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return 0.5 * np.sin(2 * np.pi * 220 * time_s) * np.sin(2 * np.pi * 3 * time_s)


@pytest.mark.parametrize("subtype", ["GSM610", "NMS_ADPCM_16", "NMS_ADPCM_32", "G721_32"])
def test_codecs_that_cannot_seek_are_read_whole(tmp_path, subtype):
    path = tmp_path / "a.wav"
    if not soundfile.check_format("WAV", subtype):
        pytest.skip(f"this libsndfile does not write {subtype}")
    soundfile.write(path, speech(2), 8000 if subtype == "GSM610" else RATE_HZ, subtype=subtype)
    samples, _ = read_audio(path)
    assert len(samples) >= 2 * RATE_HZ
    assert np.corrcoef(samples[: 2 * RATE_HZ], speech(2))[0, 1] > 0.9


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("pieces", [2, 7])
def test_samples_beyond_the_header_of_the_first_piece_are_read(tmp_path, caplog, subtype, pieces):
    """The header is that of the first piece; the others are written after it."""
    path, whole = tmp_path / "a.wav", tmp_path / "whole.wav"
    sound = speech(1.4)
    size = len(sound) // pieces
    soundfile.write(path, sound[:size], RATE_HZ, subtype=subtype)
    soundfile.write(whole, sound, RATE_HZ, subtype=subtype)
    content = whole.read_bytes()
    data_at = content.index(b"data") + 8
    head = path.read_bytes()
    path.write_bytes(head[: head.index(b"data") + 8] + content[data_at:])
    with caplog.at_level(logging.WARNING):
        samples, _ = read_audio(path)
    np.testing.assert_array_equal(samples, read_audio(whole)[0])
    assert "read as samples too" in caplog.text
    assert str(len(content) - data_at - (len(head) - head.index(b"data") - 8)) in caplog.text


@pytest.mark.parametrize(
    "tail", [b"LIST\4\0\0\0INFO", b"TAG" + bytes(125), b"ID3\4\0" + bytes(50)]
)
@pytest.mark.parametrize("count", [1000, 1001])
def test_what_follows_the_samples_and_is_none_stays_out(tmp_path, tail, count):
    path = tmp_path / "a.wav"
    soundfile.write(path, speech(1)[:count], RATE_HZ, subtype="PCM_U8")
    content = path.read_bytes()
    path.write_bytes(content + b"\0" * (len(content) % 2) + tail)
    assert len(read_audio(path)[0]) == count


def test_pieces_of_a_codec_or_whole_files_one_after_another_are_refused(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, speech(1), RATE_HZ, subtype="PCM_16")
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(AudioError, match=r"32044 more follow.*mended"):
        read_audio(path)


def test_an_mp3_by_the_name_of_a_wav_is_read(tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, speech(1), RATE_HZ, format="MP3")
    assert len(read_audio(path)[0]) == len(speech(1))


def test_an_aiff_by_the_name_of_a_wav_is_not_converted_onto_itself(tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, speech(1), RATE_HZ, format="AIFF")
    with pytest.raises(AudioError, match=r"ffmpeg -i speech\.wav (?!speech\.wav)\S+\.wav"):
        read_audio(path)


def write_silent_flac(path, frames: int, channels: int) -> None:
    """A flac of constant blocks: some bytes for 65,535 samples of each channel."""
    with soundfile.SoundFile(path, "w", 48000, channels, "PCM_16") as file:
        block = np.zeros((1 << 20, channels), np.int16)
        for start in range(0, frames, len(block)):
            file.write(block[: frames - start])


def test_a_flac_that_unpacks_beyond_memory_is_refused(tmp_path):
    path = tmp_path / "bomb.flac"
    write_silent_flac(path, 40_000_000, 8)
    assert path.stat().st_size < 1 << 20
    said = refuse("dualtalker", "animate", path, "-o", tmp_path / "out", folder=tmp_path)
    assert "unpack to" in said


def test_longer_recordings_than_asked_for_are_refused(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, speech(4), RATE_HZ)
    with pytest.raises(AudioError, match="--max-minutes"):
        read_audio(path, max_minutes=0.05)
    assert len(read_audio(path, max_minutes=0.07)[0]) == 4 * RATE_HZ


def test_a_header_that_claims_hours_makes_nothing(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, speech(1), RATE_HZ)
    content = bytearray(path.read_bytes())
    content[21:26] = bytes([content[21] | 0x0F]) + b"\xff\xff\xff\xfe"  # 2 ** 36 samples
    path.write_bytes(content)
    with pytest.raises(AudioError, match="minutes long"):
        read_audio(path)


@pytest.mark.parametrize("peak, told", [(0.0, "silent"), (0.004, "dBFS"), (0.3, "")])
def test_a_quiet_recording_is_told_and_can_be_normalized(tmp_path, peak, told):
    path = tmp_path / "a.wav"
    sound = speech(1.5)
    soundfile.write(path, sound * peak / np.abs(sound).max(), RATE_HZ, subtype="FLOAT")
    status, said = run_limited("dualtalker", "animate", path, "-o", "plain", folder=tmp_path)
    assert status == 0
    assert ("--normalize" in said) == bool(told) and told in said
    if not peak:
        return
    arguments = ("animate", path, "-o", "loud", "--normalize")
    status, said = run_limited("dualtalker", *arguments, folder=tmp_path)
    assert status == 0 and "dBFS" not in said
    loud = np.genfromtxt(tmp_path / "loud/a.csv", delimiter=",", names=True)["jawOpen"]
    plain = np.genfromtxt(tmp_path / "plain/a.csv", delimiter=",", names=True)["jawOpen"]
    assert loud.sum() >= plain.sum() and loud.max() > 0


def test_a_pipe_is_refused_at_once(tmp_path):
    import os

    os.mkfifo(tmp_path / "a.wav")
    (tmp_path / "b.wav").symlink_to("/dev/zero")
    for name in ("a.wav", "b.wav"):
        said = refuse("dualtalker", "animate", name, "-o", "out", folder=tmp_path)
        assert "not a regular file" in said


def test_a_cut_file_of_two_channels_is_still_told(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([speech(1)] * 2, axis=1), RATE_HZ)
    content = path.read_bytes()
    assert struct.unpack_from("<I", content, 40) == (64000,)
    path.write_bytes(content[:-1000])
    with pytest.raises(AudioError, match="truncated"):
        read_audio(path)
