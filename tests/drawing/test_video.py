"""Videos are read back: frame count, rate, size, sound and their synchrony."""

from __future__ import annotations

import numpy as np
import pytest

from dualtalker.drawing import write_video
from dualtalker.errors import DualtalkerError

av = pytest.importorskip("av")


def gray_frames(count, height=48, width=64):
    """Frame k is gray at level 4 k."""
    return (np.full((height, width, 3), 4 * index, dtype=np.uint8) for index in range(count))


def read_video(path):
    with av.open(str(path)) as container:
        frames = [(float(f.time), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    return [time for time, _ in frames], [picture for _, picture in frames]


def read_audio_track(path):
    """Samples and the time of the first, as a player would place them."""
    with av.open(str(path)) as container:
        blocks, start = [], None
        for frame in container.decode(audio=0):
            start = float(frame.time) if start is None else start
            blocks.append(frame.to_ndarray()[0])
        return np.concatenate(blocks), container.streams.audio[0].rate, start


@pytest.mark.parametrize("fps", [24, 25, 30, 29.97, 60])
def test_frames_come_back_in_order_at_their_times(tmp_path, fps):
    path = write_video(tmp_path / "a.mp4", gray_frames(20), fps)
    times, pictures = read_video(path)
    np.testing.assert_allclose(times, np.arange(20) / fps, atol=2e-4)
    levels = [picture.mean() for picture in pictures]
    np.testing.assert_allclose(levels, 4 * np.arange(20), atol=4)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (49, 64), (48, 65), (51, 67)])
def test_odd_sizes_are_padded(tmp_path, height, width):
    path = write_video(tmp_path / "a.mp4", gray_frames(3, height, width), 30)
    _, pictures = read_video(path)
    assert pictures[0].shape == (height + height % 2, width + width % 2, 3)
    assert pictures[2].std() < 2  # padding repeats the edge: no black border


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 44100, 48000])
def test_sound_lies_where_it_was_put(tmp_path, rate_hz):
    samples = np.zeros(2 * rate_hz, dtype=np.float32)
    click = slice(rate_hz, rate_hz + rate_hz // 20)  # at one second, 50 ms long
    samples[click] = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(click.stop - click.start) / rate_hz)
    path = write_video(
        tmp_path / "a.mp4", gray_frames(50), 25, audio=samples, audio_rate_hz=rate_hz
    )
    sound, out_hz, start = read_audio_track(path)
    loud = np.flatnonzero(np.abs(sound) > 0.2)
    assert start + loud[0] / out_hz == pytest.approx(1.0, abs=0.01)
    assert start + loud[-1] / out_hz == pytest.approx(1.05, abs=0.01)
    times, _ = read_video(path)
    assert len(times) == 50
    with av.open(str(path)) as container:
        assert container.duration / av.time_base == pytest.approx(2.0, abs=0.06)


def test_frames_are_taken_one_at_a_time(tmp_path):
    alive = 0

    def frames():
        nonlocal alive
        for _ in range(5):
            alive += 1
            yield np.zeros((32, 32, 3), dtype=np.uint8)

    write_video(tmp_path / "a.mp4", frames(), 30)
    assert alive == 5


@pytest.mark.parametrize(
    ("frames", "options", "expected"),
    [
        ([], {}, "at least one frame"),
        ([np.zeros((32, 32), np.uint8)], {}, r"expected \[height, width, 3\]"),
        ([np.zeros((32, 32, 3))], {}, "uint8"),
        ([np.zeros((32, 32, 3), np.uint8), np.zeros((32, 34, 3), np.uint8)], {}, "frame 1"),
        ([np.zeros((32, 32, 3), np.uint8)], {"fps": 0}, "1 to 240"),
        ([np.zeros((32, 32, 3), np.uint8)], {"fps": float("nan")}, "1 to 240"),
        ([np.zeros((32, 32, 3), np.uint8)], {"audio": np.zeros(9)}, "audio rate"),
        (
            [np.zeros((32, 32, 3), np.uint8)],
            {"audio": np.zeros((9, 2)), "audio_rate_hz": 16000},
            "mono",
        ),
        (
            [np.zeros((32, 32, 3), np.uint8)],
            {"audio": np.full(9, np.nan), "audio_rate_hz": 16000},
            "finite",
        ),
    ],
)
def test_what_cannot_be_a_video_is_refused(tmp_path, frames, options, expected):
    with pytest.raises(DualtalkerError, match=expected):
        write_video(tmp_path / "a.mp4", frames, **({"fps": 30} | options))


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DualtalkerError, match="gone"):
        write_video(tmp_path / "gone" / "a.mp4", gray_frames(1), 30)
