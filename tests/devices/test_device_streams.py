"""Streams of devices without hardware: loss and return, stamps by the sample clock."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.devices import Block, CaptureClock, StreamKeeper
from dualtalker.devices.capture import SETTLING_S
from dualtalker.devices.keeper import CHECK_S, STALL_S
from dualtalker.errors import DeviceError
from ros_processes import TIMEOUT_S

RATE_HZ = 16000
CHUNK = 320
CHUNK_S = CHUNK / RATE_HZ


class Bench:
    """A simulated clock, and a device that can be unplugged, be stuck, and return."""

    def __init__(self):
        self.now_s = 100.0
        self.plugged = self.delivering = True
        self.tries_s, self.events = [], []

    def open(self):
        self.tries_s.append(self.now_s)
        if not self.plugged:
            raise DeviceError("there is no input device")
        return FakeStream(self)

    def make_keeper(self, **settings):
        return StreamKeeper(
            self.open,
            on_open=lambda stream: self.events.append("open"),
            on_loss=lambda reason: self.events.append(reason),
            on_failure=lambda reason, wait_s: self.events.append(f"{reason}, {wait_s:g} s"),
            clock=lambda: self.now_s,
            **settings,
        )

    def run(self, keeper, duration_s):
        end_s = self.now_s + duration_s
        while self.now_s < end_s:
            self.now_s += keeper.step()


class FakeStream:
    name, rate_hz, latency_s = "fake", RATE_HZ, 0.02

    def __init__(self, bench):
        self._bench = bench
        self._last_s = bench.now_s
        self.closed = False

    def is_active(self):
        return self._bench.plugged

    @property
    def last_call_s(self):
        if self._bench.delivering:
            self._last_s = self._bench.now_s
        return self._last_s

    def close(self):
        self.closed = True


def test_a_lost_device_is_opened_again():
    bench = Bench()
    keeper = bench.make_keeper()
    bench.run(keeper, 10)
    assert bench.events == ["open"]
    stream = keeper.stream
    bench.plugged = False
    bench.run(keeper, 60)
    assert stream.closed and keeper.stream is None
    assert "unplugged" in bench.events[1]
    # The same reason is told once, however often it stands in the way.
    assert bench.events[2:] == ["there is no input device, 1 s"]
    assert keeper.counters["device_failures"] > 5
    bench.plugged = True
    bench.run(keeper, 8 + CHECK_S)
    assert bench.events[3:] == ["open"]
    assert keeper.counters["device_losses"] == 1 and keeper.counters["device_opens"] == 2


def test_pauses_between_tries_double_to_their_limit():
    bench = Bench()
    bench.plugged = False
    keeper = bench.make_keeper(longest_wait_s=4.0)
    bench.run(keeper, 40)
    pauses_s = np.diff(bench.tries_s)
    expected = [0.5, 1, 2, *[4] * (len(pauses_s) - 3)]
    np.testing.assert_allclose(pauses_s, expected, atol=2 * CHECK_S)


def test_a_stuck_device_is_noticed():
    bench = Bench()
    keeper = bench.make_keeper()
    bench.run(keeper, 20)
    bench.delivering = False
    bench.run(keeper, STALL_S + 1)
    assert "stuck for 5" in bench.events[1]
    bench.delivering = True
    bench.run(keeper, 5)
    assert bench.events[-1] == "open"


def test_a_device_that_fails_at_once_each_time_is_not_hammered():
    """It opens and is gone: pauses grow although opening succeeds."""
    bench = Bench()
    keeper = bench.make_keeper()
    for _ in range(10):
        while keeper.stream is None:
            bench.now_s += keeper.step()
        bench.plugged = False
        bench.now_s += keeper.step()
        bench.plugged = True
    assert np.diff(bench.tries_s)[-1] >= 8


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0.1, 20)), max_size=12))
@settings(max_examples=40, deadline=None)
def test_whatever_happens_it_runs_again_within_the_longest_pause(history):
    bench = Bench()
    keeper = bench.make_keeper()
    for bench.plugged, bench.delivering, duration_s in history:
        bench.run(keeper, duration_s)
    bench.plugged = bench.delivering = True
    bench.run(keeper, 8 + 3 * CHECK_S)
    assert keeper.stream is not None and not keeper.stream.closed


def test_the_thread_opens_and_closes():
    bench = Bench()
    keeper = StreamKeeper(bench.open)
    keeper.start()
    deadline = time.monotonic() + TIMEOUT_S
    while keeper.stream is None and time.monotonic() < deadline:
        time.sleep(0.01)
    stream = keeper.stream
    keeper.close()
    assert stream.closed and keeper.stream is None


def make_blocks(count, ppm=0.0, latency_s=0.01, jitter_s=0.0, seed=0):
    """Return blocks and the true times of their first samples."""
    random = np.random.default_rng(seed)
    taken_s = 1000.0 + np.arange(count) * CHUNK_S * (1 + ppm * 1e-6)
    arrivals_s = taken_s + CHUNK_S + latency_s + random.exponential(jitter_s + 1e-9, count)
    reports_s = taken_s + random.normal(0, jitter_s / 3 + 1e-9, count)
    blocks = [
        Block(b"", CHUNK, arrival_s, report_s, False)
        for arrival_s, report_s in zip(arrivals_s, reports_s, strict=True)
    ]
    return blocks, taken_s


def stamp_all(blocks, latency_s=0.01):
    clock = CaptureClock(RATE_HZ, latency_s)
    return clock, np.array([np.nan if s is None else s for s in map(clock.stamp, blocks)])


@given(st.floats(-200, 200), st.floats(0, 0.003), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_stamps_do_not_drift_from_the_converter(ppm, jitter_s, seed):
    """Whatever its quartz: after a minute the stamps are as right as after two seconds."""
    blocks, taken_s = make_blocks(3000, ppm, jitter_s=jitter_s, seed=seed)
    clock, stamps_s = stamp_all(blocks)
    error_s = (stamps_s - taken_s)[100:]
    assert np.abs(error_s).max() < 0.001 + 1.5 * jitter_s
    assert clock.counters == {"overflows": 0, "clock_steps": 0}
    # And they are even: no more than a thousandth away from the nominal length.
    assert np.abs(np.diff(stamps_s[100:]) / CHUNK_S - 1).max() < 0.00101


def test_lost_samples_move_the_stamps_once():
    """With the driver's word for it at once, without after half a second."""
    for told in (True, False):
        blocks, taken_s = make_blocks(400)
        gap_s = 0.3
        late = [
            Block(b"", CHUNK, block.arrival_s + gap_s, block.adc_s + gap_s, told and i == 0)
            for i, block in enumerate(blocks[200:])
        ]
        clock, stamps_s = stamp_all(blocks[:200] + late)
        true_s = np.concatenate([taken_s[:200], taken_s[200:] + gap_s])
        begin = 200 if told else 230
        assert np.abs(stamps_s - true_s)[begin:].max() < 0.001
        assert np.abs(stamps_s - true_s)[:200].max() < 0.001 or np.isnan(stamps_s[:5]).any()
        assert clock.counters == {"overflows": int(told), "clock_steps": int(not told)}


def test_reports_off_by_a_block_for_a_moment_move_nothing():
    """As measured on a busy machine: five or eight blocks in a row are off by a block's length."""
    blocks, taken_s = make_blocks(300)
    for i in range(150, 158):
        blocks[i] = Block(b"", CHUNK, blocks[i].arrival_s, blocks[i].adc_s - CHUNK_S, False)
    clock, stamps_s = stamp_all(blocks)
    assert np.abs(stamps_s - taken_s)[10:].max() < 0.001
    assert clock.counters["clock_steps"] == 0


def test_nothing_is_stamped_while_the_driver_settles():
    """PulseAudio: too old by a quarter of a second, then a ramp, then right."""
    blocks, taken_s = make_blocks(300)
    wrong_s = np.clip(0.25 - 0.02 * (np.arange(300) - 50), 0, 0.25)
    blocks = [
        Block(b"", CHUNK, block.arrival_s, block.adc_s - wrong, False)
        for block, wrong in zip(blocks, wrong_s, strict=True)
    ]
    _, stamps_s = stamp_all(blocks)
    begun = np.flatnonzero(np.isfinite(stamps_s))[0]
    assert 55 < begun < SETTLING_S / CHUNK_S + 2
    assert np.abs(stamps_s - taken_s)[begun:].max() < 0.03
    assert np.abs(stamps_s - taken_s)[begun + 60 :].max() < 0.02


def test_a_driver_without_times_is_stamped_by_the_earliest_arrival():
    blocks, taken_s = make_blocks(600, latency_s=0.0, jitter_s=0.004)
    blocks = [Block(b"", CHUNK, block.arrival_s, None, False) for block in blocks]
    _, stamps_s = stamp_all(blocks)
    assert np.abs(stamps_s - taken_s)[300:].max() < 0.003
    arrivals_s = np.array([block.arrival_s for block in blocks])
    assert (stamps_s + CHUNK_S <= arrivals_s + 1e-3)[300:].all(), "a block is full when it comes"
