"""Sound that libsndfile cannot read: by PyAV where it is installed, else the extra is named."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import soundfile

from dualtalker.audio import read_audio
from dualtalker.audio.compressed import find_container
from dualtalker.errors import AudioError
from dualtalker.files import read_json
from limited_process import refuse

RATE_HZ = 48000
MILLISECOND = Fraction(1, 1000)
TIMES_S = np.arange(2 * RATE_HZ) / RATE_HZ
SOUND = (0.4 * np.sin(2 * np.pi * 300 * TIMES_S * (1 + TIMES_S))).astype(np.float32)
# FFmpeg's container and codec.
KINDS = {
    "phone.m4a": ("ipod", "aac"),
    "film.mp4": ("mp4", "aac"),
    "camera.mov": ("mov", "pcm_s16le"),
    "stream.aac": ("adts", "aac"),
    "browser.webm": ("webm", "libopus"),
    "talk.mka": ("matroska", "ac3"),
    "office.wma": ("asf", "wmav2"),
    "old.flv": ("flv", "aac"),
    "older.avi": ("avi", "mp3"),
}


def write(path, container, codec, sound=SOUND, layout="mono", pictures=0, late_s=0.0,
          picture_s=0.0):  # fmt: skip
    import av

    with av.open(str(path), "w", format=container) as file:
        track = file.add_stream(codec, rate=RATE_HZ, layout=layout)
        track.bit_rate = 96_000
        if pictures:
            picture = file.add_stream("mpeg4", rate=10)
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
            picture.codec_context.time_base = MILLISECOND
            for number in range(pictures):
                image = np.zeros((32, 32, 3), np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = round(1000 * picture_s) + 100 * number, MILLISECOND
                file.mux(picture.encode(frame))
            file.mux(picture.encode(None))
        channels = 2 if layout == "stereo" else 1
        resampler = av.AudioResampler(track.format.name, layout, RATE_HZ, track.frame_size or 1024)
        planes = np.stack([sound] * channels).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate, frame.time_base = RATE_HZ, Fraction(1, RATE_HZ)
        frame.pts = round(late_s * RATE_HZ)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(track.encode(part))
        file.mux(track.encode(None))


def find_lag(samples):
    """By how many samples the sound comes later than written, and how alike the two are."""
    size = 1 << 19
    spectra = np.fft.rfft(samples, size) * np.conj(np.fft.rfft(SOUND, size))
    lag = int(np.fft.irfft(spectra, size)[: 1 << 16].argmax())
    piece = samples[lag:][: len(SOUND) - 5000]
    return lag, np.corrcoef(piece, SOUND[: len(piece)])[0, 1]


@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize("name", KINDS)
def test_what_libsndfile_cannot_read_is_read_with_the_extra(tmp_path, name, layout):
    pytest.importorskip("av")
    path = tmp_path / name
    write(path, *KINDS[name], layout=layout)
    samples, rate_hz = read_audio(path)
    lag, likeness = find_lag(samples)
    assert rate_hz == RATE_HZ and samples.dtype == np.float32
    assert likeness > 0.9 and lag / RATE_HZ < 0.06
    assert len(samples) / RATE_HZ == pytest.approx(2.0, abs=0.15)


def test_the_name_does_not_matter(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "speech.wav"
    write(path, "ipod", "aac")
    assert len(read_audio(path)[0]) == pytest.approx(len(SOUND), abs=4000)


def test_a_sound_that_begins_after_the_picture_is_preceded_by_silence(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "film.mov"
    write(path, "mov", "pcm_s16le", pictures=30, late_s=0.5)
    samples, _ = read_audio(path)
    assert find_lag(samples)[0] / RATE_HZ == pytest.approx(0.5, abs=0.01)
    assert not samples[: int(0.49 * RATE_HZ)].any()


@pytest.mark.parametrize("early_s", [0.01, 0.7])
def test_a_sound_that_begins_before_the_picture_loses_what_no_picture_belongs_to(
    tmp_path, early_s
):
    pytest.importorskip("av")
    path = tmp_path / "film.mov"
    write(path, "mov", "pcm_s16le", pictures=30, picture_s=early_s)
    samples, _ = read_audio(path)
    skipped = round(early_s * RATE_HZ)
    assert len(samples) == len(SOUND) - skipped
    assert np.abs(samples - SOUND[skipped:]).max() < 1e-3


@pytest.mark.parametrize("late_s", [0.01, 0.5])
def test_a_late_sound_of_a_film_is_placed_to_the_sample(tmp_path, late_s):
    pytest.importorskip("av")
    path = tmp_path / "film.mov"
    write(path, "mov", "pcm_s16le", pictures=30, late_s=late_s)
    samples, _ = read_audio(path)
    assert find_lag(samples)[0] == round(late_s * RATE_HZ)


def test_a_film_in_mpeg_is_read(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "film.mpg"
    with av.open(str(path), "w", format="mpeg") as file:
        picture = file.add_stream("mpeg1video", rate=25)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        track = file.add_stream("mp2", rate=RATE_HZ, layout="mono")
        image = np.zeros((32, 32, 3), np.uint8)
        for _ in range(50):
            file.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(picture.encode(None))
        resampler = av.AudioResampler(track.format.name, "mono", RATE_HZ, track.frame_size)
        frame = av.AudioFrame.from_ndarray(SOUND[None], format="fltp", layout="mono")
        frame.sample_rate = RATE_HZ
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(track.encode(part))
        file.mux(track.encode(None))
    lag, likeness = find_lag(read_audio(path)[0])
    assert likeness > 0.9 and lag / RATE_HZ < 0.06


@pytest.mark.parametrize("name", ["phone.m4a", "film.mp4", "camera.mov", "talk.mka"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_cut_file_is_told(tmp_path, name, share):
    pytest.importorskip("av")
    path = tmp_path / name
    write(path, *KINDS[name])
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(AudioError, match=rf"{name}.*(truncated|cannot be read)"):
        read_audio(path)


def test_a_film_without_sound_and_a_long_one_are_told(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w", format="mp4") as file:
        picture = file.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        image = np.zeros((32, 32, 3), np.uint8)
        file.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(picture.encode(None))
    with pytest.raises(AudioError, match="the file has no sound"):
        read_audio(path)
    write(tmp_path / "long.m4a", "ipod", "aac")
    with pytest.raises(AudioError, match=r"minutes long, expected at most 0\.01"):
        read_audio(tmp_path / "long.m4a", max_minutes=0.01)


def test_an_aac_that_unpacks_beyond_memory_is_refused(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "bomb.m4a"
    write(path, "ipod", "aac", np.zeros(1500 * RATE_HZ, np.float32))
    assert path.stat().st_size < 1 << 20
    said = refuse("dualtalker", "animate", path, "-o", tmp_path / "out", folder=tmp_path)
    assert "unpack to" in said


# How files begin that FFmpeg opens others for, or fetches.
LISTS = (
    b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.wav\n",
    b"ffconcat version 1.0\nfile other.wav\n",
    b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>",
    b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
)


@pytest.mark.parametrize("content", LISTS)
@pytest.mark.parametrize("name", ["list.m4a", "list.wav", "list.mp4"])
def test_lists_of_other_files_are_never_opened(tmp_path, content, name):
    soundfile.write(tmp_path / "other.wav", SOUND, RATE_HZ)
    (tmp_path / name).write_bytes(content)
    assert find_container(content) is None
    with pytest.raises(AudioError, match="not readable as audio"):
        read_audio(tmp_path / name)


# Runs a program where PyAV cannot be imported.
WITHOUT_AV = "import sys; sys.modules['av'] = None; from dualtalker.__main__ import main; main()"


def run_without_av(*arguments):
    command = [sys.executable, "-c", f"{WITHOUT_AV.replace('main()', 'sys.exit(main())')}"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


AAC = (b"\xff\xf1\x4c\x80\x02\x1f\xfc" + bytes(9)) * 3
BEGINNINGS = {
    "a.m4a": b"\0\0\0\x20ftypM4A \0\0\0\0",
    "a.mp4": b"\0\0\0\x20ftypisom\0\0\0\0",
    "a.webm": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01",
    "a.wma": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9",
    "a.aac": AAC,
    "tagged.aac": b"ID3\x04\0\0\0\0\0\x10" + bytes(16) + AAC,
    "a.avi": b"RIFF\x24\0\0\0AVI LIST",
    "a.flv": b"FLV\x01\x04\0\0\0\x09",
    "a.amr": b"#!AMR\n",
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_compressed_sound_without_the_extra_names_it(tmp_path, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / name).write_bytes(BEGINNINGS[name] + bytes(64))
    with pytest.raises(AudioError, match=rf'{name}.*pip install "dualtalker\[video\]"'):
        read_audio(tmp_path / name)


def test_a_video_without_the_extra_is_refused_before_any_work(tmp_path, tiny):
    wav, out = tmp_path / "a.wav", tmp_path / "out"
    soundfile.write(wav, SOUND, RATE_HZ)
    done = run_without_av("animate", wav, "-o", out, "--model", tiny, "--video")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert 'pip install "dualtalker[video]"' in done.stderr and not out.exists()
    assert run_without_av("animate", wav, "-o", out, "--model", tiny).returncode == 0
    assert read_json(out / "a.json", 1 << 20)["versions"]
