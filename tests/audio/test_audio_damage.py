"""Damaged sound files are told, whatever the format; files that only look odd are read."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.audio import read_audio
from dualtalker.audio.containers import check_container
from dualtalker.audio.sniffing import read_mp3_frame
from dualtalker.errors import AudioError

RATE_HZ = 16000
TIMES_S = np.arange(2 * RATE_HZ) / RATE_HZ
SOUND = (
    0.4 * np.sin(2 * np.pi * 300 * TIMES_S * (1 + TIMES_S))
    + 0.1 * np.random.default_rng(0).standard_normal(len(TIMES_S))
).clip(-1, 1)
FORMATS = {
    "vorbis.ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus.ogg": {"format": "OGG", "subtype": "OPUS"},
    "sound.flac": {"format": "FLAC"},
    "sound.wav": {"format": "WAV", "subtype": "PCM_16"},
    "float.wav": {"format": "WAV", "subtype": "FLOAT"},
    "extensible.wav": {"format": "WAVEX", "subtype": "PCM_24"},
    "large.wav": {"format": "RF64", "subtype": "PCM_16"},
    "sound.mp3": {"format": "MP3"},
}
CHECKSUMMED = [name for name in FORMATS if name.endswith((".ogg", ".flac"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    for name, options in FORMATS.items():
        soundfile.write(folder / name, SOUND, RATE_HZ, **options)
    return folder


def damaged(folder, name, content):
    path = folder / f"damaged.{name}"
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_whole_files_are_read(folder, name):
    samples, rate_hz = read_audio(folder / name)
    assert rate_hz == RATE_HZ and len(samples) == len(SOUND)
    assert np.corrcoef(samples, SOUND)[0, 1] > 0.9


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_cut_anywhere_is_told(folder, name, data):
    whole = (folder / name).read_bytes()
    kept = data.draw(st.integers(0, len(whole) - 1))
    path = damaged(folder, name, whole[:kept])
    with pytest.raises(AudioError, match=name):
        read_audio(path)


@pytest.mark.parametrize("name", CHECKSUMMED)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_damage_to_the_sound_is_told_or_harmless(folder, name, data):
    """Some bytes zeroed or a bit flipped in compressed sound: never silently out of time."""
    whole = bytearray((folder / name).read_bytes())
    at = data.draw(st.integers(len(whole) // 4, len(whole) - 201))
    if data.draw(st.booleans()):
        whole[at : at + 200] = bytes(200)
    else:
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(AudioError, match=rf"{name}.*ffmpeg"):
        read_audio(damaged(folder, name, whole))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_damage_to_an_mp3_is_told_or_leaves_it_in_time(folder, data):
    """It has no checksums: what is lost of its frames is told, a wrong sound in one is not."""
    whole = bytearray((folder / "sound.mp3").read_bytes())
    at = data.draw(st.integers(len(whole) // 4, len(whole) // 2))
    kind = data.draw(st.sampled_from(["zeroed", "flipped", "left out", "put in"]))
    if kind == "zeroed":
        whole[at : at + 2000] = bytes(2000)
    elif kind == "flipped":
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "left out":
        del whole[at : at + data.draw(st.integers(1, 2000))]
    else:
        whole[at:at] = b"rubbish"
    try:
        samples, _ = read_audio(damaged(folder, "sound.mp3", whole))
    except AudioError as error:
        assert re.search(r"sound\.mp3.*ffmpeg", str(error))
    else:
        assert len(samples) == len(SOUND)


def test_tags_around_an_mp3_are_no_damage(folder):
    whole = (folder / "sound.mp3").read_bytes()
    picture = b"ID3\x04\0\0\0\0\x7f\x7f" + bytes(0x3FFF)
    for start in (b"", picture):
        for end in (b"", b"TAG" + bytes(125), b"APETAGEX" + bytes(24), bytes(700)):
            samples, _ = read_audio(damaged(folder, "sound.mp3", start + whole + end))
            assert len(samples) == len(SOUND)


def leave_header(content):
    """An MP3 without the first frame, which holds no sound and counts the others."""
    assert re.search(b"Xing|Info", content[:48])
    return content[read_mp3_frame(content[:4])[0] :]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
def test_an_mp3_that_does_not_count_its_frames_is_read_whole(tmp_path, channels, rate_hz):
    """libsndfile guesses by the first frame, which is short in silence, and reads no further."""
    path = tmp_path / "stream.mp3"
    sound = np.concatenate([np.zeros(rate_hz), SOUND, SOUND, SOUND])
    sound = np.stack([sound] * channels, axis=1)
    soundfile.write(path, sound, rate_hz, format="MP3")
    whole, _ = read_audio(path)
    assert len(whole) == len(sound)
    path.write_bytes(leave_header(path.read_bytes()))
    streamed, _ = read_audio(path)
    # Without the header nobody knows how much silence the encoder put around.
    assert 0 <= len(streamed) - len(whole) <= 4 * 1152
    lag = next(n for n in range(3000) if np.allclose(streamed[n:][: len(whole)], whole, atol=0.02))
    assert lag < 3000


@pytest.mark.parametrize("tagged", [False, True])
def test_mp3s_one_after_another_are_read_as_one(folder, tmp_path, caplog, tagged):
    """As servers write that stream speech sentence by sentence."""
    content = (folder / "sound.mp3").read_bytes()
    tag = b"ID3\x04\0\0\0\0\0\x40" + bytes(0x40) if tagged else b""
    path = tmp_path / "sentences.mp3"
    path.write_bytes((tag + content) * 3)
    samples, _ = read_audio(path)
    assert 0 <= len(samples) - 3 * len(SOUND) < 3 * 4 * 576
    assert "MP3 frames" in caplog.text


def test_mp3_of_several_rates_is_refused(folder, tmp_path):
    path = tmp_path / "other.mp3"
    soundfile.write(path, SOUND, 22050, format="MP3")
    path.write_bytes((folder / "sound.mp3").read_bytes() + path.read_bytes())
    with pytest.raises(AudioError, match="several rates"):
        read_audio(path)


def ogg_pages(content):
    starts = [i for i in range(len(content)) if content[i : i + 4] == b"OggS"]
    return [content[a:b] for a, b in zip(starts, [*starts[1:], len(content)], strict=True)]


@pytest.mark.parametrize("name", ["vorbis.ogg", "opus.ogg"])
def test_lost_doubled_and_mixed_pages_are_told(folder, name):
    content = (folder / name).read_bytes()
    pages = ogg_pages(content)
    assert len(pages) > 3 and b"".join(pages) == content
    middle = len(pages) // 2
    for changed, message in (
        (pages[:middle] + pages[middle + 1 :], f"page {middle + 1} follows"),
        (pages[: middle + 1] + pages[middle:], f"page {middle} follows"),
        (pages[:-1], "truncated"),
        (pages[1:], "page 1 follows"),
        ([*pages[:middle], b"rubbish", *pages[middle:]], "no Ogg page begins"),
        (pages + pages, "page 0 follows"),
    ):
        with pytest.raises(AudioError, match=message):
            read_audio(damaged(folder, name, b"".join(changed)))
    other = (folder / ("opus.ogg" if name.startswith("v") else "vorbis.ogg")).read_bytes()
    with pytest.raises(AudioError, match="several Ogg streams"):
        read_audio(damaged(folder, name, content + other))


@settings(max_examples=150, deadline=None)
@given(head=st.sampled_from([b"RIFF", b"RIFX", b"RF64", b"OggS"]), rest=st.binary(max_size=120))
def test_any_bytes_after_a_magic_word_are_judged(tmp_path_factory, head, rest):
    path = tmp_path_factory.getbasetemp() / "any.bin"
    path.write_bytes(head + rest)
    try:
        check_container(path)
    except AudioError as error:
        assert "any.bin" in str(error)


PIPED = [0, 0xFFFFFFFF, 0x7FFFF024, 0x80000024]


def with_sizes(content, riff, data):
    changed = bytearray(content)
    at = content.index(b"data") + 4
    changed[4:8], changed[at : at + 4] = riff.to_bytes(4, "little"), data.to_bytes(4, "little")
    return changed


@pytest.mark.parametrize("riff", [*PIPED, 36])
@pytest.mark.parametrize("data", PIPED)
def test_wavs_from_a_pipe_or_a_crashed_recorder_are_read(folder, riff, data):
    """ffmpeg, sox, GStreamer and arecord each leave other sizes where they cannot seek back."""
    whole = (folder / "sound.wav").read_bytes()
    expected, _ = read_audio(folder / "sound.wav")
    path = damaged(folder, "sound.wav", with_sizes(whole, riff, data))
    np.testing.assert_array_equal(read_audio(path)[0], expected)
    odd = damaged(folder, "sound.wav", with_sizes(whole, riff, data) + b"\x01")
    np.testing.assert_array_equal(read_audio(odd)[0], expected)


@pytest.mark.parametrize("riff, data", [(0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (36, 0)])
def test_a_header_alone_holds_no_samples(folder, riff, data):
    whole = with_sizes((folder / "sound.wav").read_bytes(), riff, data)
    with pytest.raises(AudioError, match="no samples"):
        read_audio(damaged(folder, "sound.wav", whole[:44]))


def test_chunks_after_the_sound_are_not_the_sound(folder):
    """No samples and a title: nothing but the RIFF's own size tells them apart."""
    bare = with_sizes((folder / "sound.wav").read_bytes()[:44], 36 + 12, 0)
    title = b"LIST\x04\x00\x00\x00INFO"
    with pytest.raises(AudioError, match="no samples"):
        read_audio(damaged(folder, "sound.wav", bytes(bare) + title))


def with_flac_length(content, samples):
    """STREAMINFO keeps the count in 36 bits, from the lower half of its byte 13 on."""
    changed = bytearray(content)
    assert changed[:4] == b"fLaC" and changed[4] & 0x7F == 0
    changed[21] = changed[21] & 0xF0 | samples >> 32
    changed[22:26] = (samples & 0xFFFFFFFF).to_bytes(4, "big")
    return changed


def test_a_flac_without_a_length_is_told(folder):
    """What `flac -` writes into a pipe; libsndfile cannot read it."""
    whole = with_flac_length((folder / "sound.flac").read_bytes(), 0)
    with pytest.raises(AudioError, match=r"sound\.flac: its header gives no length.*ffmpeg"):
        read_audio(damaged(folder, "sound.flac", whole))


def test_a_flac_that_promises_a_terabyte_is_told(folder):
    whole = with_flac_length((folder / "sound.flac").read_bytes(), (1 << 36) - 1)
    with pytest.raises(AudioError, match=r"sound\.flac"):
        read_audio(damaged(folder, "sound.flac", whole))


@pytest.mark.parametrize("container", ["AIFF", "AU", "CAF", "W64"])
def test_other_formats_are_refused_with_the_way_to_convert(tmp_path, container):
    path = tmp_path / f"sound.{container.lower()}"
    soundfile.write(path, SOUND, RATE_HZ, format=container, subtype="PCM_16")
    with pytest.raises(
        AudioError, match=rf"found {container}; expected wav.*ffmpeg -i sound.*sox"
    ):
        read_audio(path)


def test_folders_and_pipes_are_called_so(tmp_path):
    with pytest.raises(AudioError, match="a folder"):
        read_audio(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AudioError, match="not a regular file"):
        read_audio(tmp_path / "pipe")


def test_inverted_stereo_is_told(tmp_path, caplog):
    soundfile.write(tmp_path / "a.wav", np.stack([SOUND, -SOUND], axis=1), RATE_HZ)
    soundfile.write(tmp_path / "b.wav", np.stack([SOUND, 0.5 * SOUND], axis=1), RATE_HZ)
    read_audio(tmp_path / "b.wav")
    assert not caplog.records
    read_audio(tmp_path / "a.wav")
    assert "a.wav: the channels cancel each other" in caplog.text
