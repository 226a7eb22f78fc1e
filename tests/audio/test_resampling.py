"""Laws of StreamingResampler: any cutting gives the same, lengths are exact, time stays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.audio import StreamingResampler, check_rate
from dualtalker.errors import AudioError

RATES_HZ = [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 192000]


def convert(samples, rate_hz, cuts):
    resampler = StreamingResampler(rate_hz, 16000)
    bounds = [0, *sorted(min(cut, len(samples)) for cut in cuts), len(samples)]
    parts = [resampler.push(samples[a:b]) for a, b in pairwise(bounds)]
    return np.concatenate([*parts, resampler.flush()])


@settings(max_examples=40, deadline=None)
@given(
    rate_hz=st.sampled_from(RATES_HZ),
    count=st.integers(0, 20000),
    cuts=st.lists(st.integers(0, 20000), max_size=30),
)
def test_any_cutting_gives_the_same(rate_hz, count, cuts):
    samples = np.random.default_rng(count).uniform(-1, 1, count).astype(np.float32)
    whole = convert(samples, rate_hz, [])
    np.testing.assert_allclose(convert(samples, rate_hz, cuts), whole, atol=1e-6)
    assert len(whole) == round(count * 16000 / rate_hz)


def test_single_samples_are_enough():
    samples = np.random.default_rng(1).uniform(-1, 1, 2000).astype(np.float32)
    np.testing.assert_allclose(
        convert(samples, 48000, list(range(2000))), convert(samples, 48000, []), atol=1e-6
    )


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_time_does_not_move(rate_hz):
    """The phase of a tone tells a shift far below one sample."""
    hz, seconds = 400.0, 2
    tone = np.sin(2 * np.pi * hz * np.arange(rate_hz * seconds) / rate_hz).astype(np.float32)
    out = convert(tone, rate_hz, range(0, len(tone), rate_hz // 50))
    middle = np.arange(4000, len(out) - 4000)
    component = (out[middle] * np.exp(-2j * np.pi * hz * middle / 16000)).mean()
    shift_s = -np.angle(component * 2j) / (2 * np.pi * hz)
    assert abs(shift_s) < 0.00013
    assert abs(component) * 2 == pytest.approx(1.0, abs=0.002)


def test_aliases_are_filtered_out():
    tone = np.sin(2 * np.pi * 11000 * np.arange(48000) / 48000).astype(np.float32)
    assert np.abs(convert(tone, 48000, [])[2000:-2000]).max() < 1e-3


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_stated_delay_is_never_exceeded_and_not_idle_talk(rate_hz):
    resampler = StreamingResampler(rate_hz, 16000)
    rng = np.random.default_rng(0)
    pushed = ready = 0
    held_s = []
    for _ in range(200):
        count = int(rng.integers(1, rate_hz // 20))
        pushed += count
        ready += len(resampler.push(np.zeros(count, np.float32)))
        held_s.append(pushed / rate_hz - ready / 16000)
    assert max(held_s) <= resampler.delay_s + 1.5 / 16000
    assert max(held_s) >= resampler.delay_s * 0.6
    assert resampler.delay_s <= 0.031


def test_equal_rates_are_identity():
    samples = np.random.default_rng(0).uniform(-1, 1, 100).astype(np.float32)
    resampler = StreamingResampler(16000, 16000)
    assert resampler.push(samples) is samples
    assert len(resampler.flush()) == 0
    assert resampler.delay_s == 0.0


def test_flush_starts_anew():
    samples = np.random.default_rng(0).uniform(-1, 1, 3000).astype(np.float32)
    resampler = StreamingResampler(44100, 16000)
    first = np.concatenate([resampler.push(samples), resampler.flush()])
    second = np.concatenate([resampler.push(samples), resampler.flush()])
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("rate", [7999, 192001, 0, -8000, float("nan"), "48000", None, 44100.5])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(AudioError, match="expected"):
        check_rate(rate)


def test_whole_float_rates_are_taken():
    assert check_rate(48000.0) == 48000
    assert check_rate(np.int32(8000)) == 8000
