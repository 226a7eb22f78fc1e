"""Timecodes become seconds: every count, NTSC, drop-frame, any start and length, with gaps."""

from __future__ import annotations

import logging
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.errors import MotionError
from dualtalker.evaluation import read_motion_csv, read_motion_table
from dualtalker.evaluation.timecodes import find_counting, parse_timecodes

NTSC = 1000 / 1001


@cache
def list_labels(frames: int, drop: bool) -> list[tuple[int, int, int]]:
    """All of ten minutes, in which what is left out repeats."""
    return [
        (m, s, f)
        for m in range(10)
        for s in range(60)
        for f in range(frames)
        if not (drop and m and s == 0 and f < 2 * frames // 30)
    ]


def list_codes(indices, frames: int, drop: bool, separator: str = ":", fraction: str = "") -> list:
    """Codes of the frames since midnight `indices`, numbered one by one as SMPTE ST 12-1 does."""
    labels = list_labels(frames, drop)
    codes = []
    for index in indices:
        tens, rest = divmod(int(index), len(labels))
        minute, second, frame = labels[rest]
        hours, tens = divmod(tens % 144, 6)
        last = f"{separator}{frame:02d}{fraction}"
        codes.append(f"{hours:02d}:{tens * 10 + minute:02d}:{second:02d}{last}")
    return codes


def test_the_numbers_are_those_of_the_standard():
    codes = list_codes(range(1797, 1803), 30, True, ";")
    assert codes == [f"00:00:59;{f}" for f in (27, 28, 29)] + [f"00:01:00;0{f}" for f in (2, 3, 4)]
    assert list_codes([17982], 30, True) == ["00:10:00:00"]
    assert list_codes([3600], 60, True) == ["00:01:00:04"]
    assert list_codes([24 * 6 * 17982], 30, True) == ["00:00:00:00"]


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([24, 30, 48, 60]),
    st.booleans(),
    st.integers(0, 24 * 3600 * 24 - 1),
    st.integers(2, 5000),
    st.integers(1, 3),
    st.floats(0, 0.2),
    st.integers(0, 2**32 - 1),
)
def test_ntsc_seconds_are_of_the_clock(frames, marked, start, count, step, gaps, seed):
    """Whatever is left out, at any time of the day: within a millionth of a second."""
    for drop in (False, True) if frames in (30, 60) else (False,):
        indices = start + step * np.arange(count)
        kept = np.random.default_rng(seed).uniform(size=count) >= gaps
        kept[0] = True
        indices = indices[kept]
        codes = list_codes(indices, frames, drop, ";" if drop and marked else ":", ".250")
        rate_hz = round(frames * NTSC, 3)
        times_s = parse_timecodes(codes, rate_hz)
        expected_s = (indices - indices[0]) / (frames * NTSC)
        # Where a gap lies over a full minute, its numbers tell nothing of what was left out.
        if (marked and drop) or not gaps:
            np.testing.assert_allclose(times_s, expected_s, atol=1e-6)
        else:
            minutes = 1 + count * step // (frames * 60)
            lost_s = minutes * 2 * frames / 30 / (frames * NTSC)
            np.testing.assert_allclose(times_s, expected_s, atol=lost_s + 1e-6)


@pytest.mark.parametrize("frames", [30, 60])
@pytest.mark.parametrize("start", [0, 1700, 24 * 3600 * 30 - 40000])
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("separator", [":", ";"])
def test_drop_frame_is_known_by_itself(frames, start, step, separator):
    """Ten minutes: steady steps, no drift, no gap that is none."""
    indices = start + step * np.arange(600 * frames // step)
    codes = list_codes(indices, frames, True, separator)
    times_s = parse_timecodes(codes)
    np.testing.assert_allclose(np.diff(times_s), step / (frames * NTSC), atol=1e-6)
    assert times_s[-1] == pytest.approx((indices[-1] - indices[0]) / (frames * NTSC), abs=1e-6)
    counting = find_counting(codes)
    assert counting.drop_frame and counting.is_ntsc and counting.other_hz is None
    assert f"{frames * NTSC:.5g} frames a second, drop-frame (by its" in counting.describe()


@pytest.mark.parametrize("frames, rates", [(24, (23.976, 23.98)), (30, (29.97,)), (60, (59.94,))])
def test_ten_minutes_of_ntsc_last_as_long_as_their_sound(frames, rates):
    indices = 12345 + np.arange(round(600 * frames * NTSC) + 1)
    codes = list_codes(indices, frames, False)
    assert parse_timecodes(codes)[-1] == pytest.approx(599.4, abs=0.05)
    assert find_counting(codes).other_hz == pytest.approx(frames * NTSC, abs=1e-3)
    for rate_hz in (*rates, frames * NTSC):
        assert parse_timecodes(codes, rate_hz)[-1] == pytest.approx(600, abs=0.02)
        counting = find_counting(codes, rate_hz)
        assert not counting.drop_frame and counting.other_hz is None
        assert "as given" in counting.describe()


@pytest.mark.parametrize("separator", [":", ";"])
@pytest.mark.parametrize("frames", [24, 25, 30, 50, 60])
def test_whole_rates_stay_whole_over_full_minutes(frames, separator):
    """A semicolon means nothing where the numbers are there that it says are not."""
    indices = 50 * frames + np.arange(100 * frames)
    codes = list_codes(indices, frames, False, separator)
    np.testing.assert_allclose(np.diff(parse_timecodes(codes)), 1 / frames, atol=1e-9)


@pytest.mark.parametrize("rate_hz", [0, -30, 29.5, float("nan"), float("inf"), 1e9])
def test_rates_that_are_none_are_refused(rate_hz):
    with pytest.raises(ValueError, match=r"expected a whole number, or 23\.976"):
        parse_timecodes(list_codes(range(40), 30, False), rate_hz)


def test_numbers_beyond_the_rate_are_refused():
    with pytest.raises(ValueError, match="count to frame 29 of a second"):
        parse_timecodes(list_codes(range(40), 30, False), 23.976)


@pytest.mark.parametrize("code", ["10:60:00:01", "10:00:61:01", "1.5:00:00:01", "1:2:3:4000"])
def test_codes_of_no_time_are_refused(code):
    with pytest.raises(ValueError, match="that are none"):
        parse_timecodes([code, code])


def write_table(path, codes):
    rows = "".join(f"{code},52,{k % 7 / 10}\n" for k, code in enumerate(codes))
    path.write_text(f"Timecode,BlendshapeCount,JawOpen\n{rows}")
    return path


def test_what_is_assumed_is_told(tmp_path, caplog):
    codes = list_codes(range(200), 30, False)
    path = write_table(tmp_path / "a.csv", codes)
    with caplog.at_level(logging.WARNING):
        times_s, _ = read_motion_csv(path)
    assert "timecode at 30 frames a second (assumed); it may be 29.97" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        given_s, _ = read_motion_csv(path, 29.97)
    assert not caplog.text
    np.testing.assert_allclose(given_s, times_s * 1.001, atol=1e-9)
    assert read_motion_table(path).counting.rate_hz == 30
    with pytest.raises(MotionError, match="expected a whole number"):
        read_motion_csv(path, 29.5)


def test_bag_prints_it(tmp_path, capsys):
    pytest.importorskip("rosbags")
    import soundfile

    from dualtalker.cli.main import main

    soundfile.write(tmp_path / "a.wav", np.zeros(16000), 16000)
    csv = write_table(tmp_path / "a.csv", list_codes(range(1790, 1820), 30, True, ";"))
    arguments = [str(tmp_path / "a.wav"), str(csv), "-o", str(tmp_path / "a.mcap")]
    assert main(["bag", *arguments]) == 0
    assert "29.97 frames a second, drop-frame (by its semicolon)" in capsys.readouterr().out
