"""A delivery under a simulated clock, and the audio that it is given."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.audio import AudioChunk

RATE_HZ = 16000
CHUNK_S = 0.02
START_NS = 1_700_000_000 * 10**9
JAW = ARKIT_INDEX["jawOpen"]
BUDGET_S = 60.0  # of true time, so that no round ends by it, however busy the machine


@dataclass
class Sent:
    """What went out, with times in seconds since the start."""

    at_s: np.ndarray
    stamps_s: np.ndarray
    indices: np.ndarray
    idle: np.ndarray
    weights: np.ndarray

    def assert_steady(self, fps, stretch=1.35):
        """No frame is lost, repeated or out of order, and none keeps others waiting."""
        assert (np.diff(self.indices) == 1).all()
        assert (np.diff(self.stamps_s) > 0).all()
        assert np.diff(self.at_s).max() < stretch / fps


def speak(duration_s, seed=0):
    """Noise in syllables, float32 [n]."""
    n = round(duration_s * RATE_HZ)
    noise = np.random.default_rng(seed).uniform(-0.8, 0.8, n)
    return (noise * np.sin(np.arange(n) * 2 * np.pi * 2 / RATE_HZ) ** 2).astype(np.float32)


def chunks_of(samples, from_s, stamped=True, offset_s=0.0, chunk_s=CHUNK_S):
    """Cut samples into (position in s, AudioChunk), the first at `from_s`."""
    size = round(chunk_s * RATE_HZ)
    for first in range(0, len(samples), size):
        at_ns = START_NS + round((from_s + first / RATE_HZ) * 1e9)
        stamp_ns = at_ns + round(offset_s * 1e9) if stamped else None
        yield at_ns, AudioChunk(samples[first : first + size], RATE_HZ, stamp_ns)


def microphone(samples, from_s, chunk_s, stamped):
    """Chunks that arrive 1 ms after they are full, stamped with the time of their first sample."""
    for at_ns, chunk in chunks_of(samples, from_s, stamped, chunk_s=chunk_s):
        yield at_ns + len(chunk.samples) * 10**9 // RATE_HZ + 10**6, chunk


def simulate(delivery, arrivals, end_s, orders=()):
    """Step time from wake to wake and event to event; computing takes none.

    `orders` are pairs of a time in s and a function of the time in ns.
    """
    events = [(at_ns, functools.partial(delivery.add, chunk)) for at_ns, chunk in arrivals]
    events += [(START_NS + round(at_s * 1e9), order) for at_s, order in orders]
    events.sort(key=lambda event: event[0])
    delivery.start(START_NS)
    now_ns, sent = START_NS, []
    while now_ns < START_NS + end_s * 1e9:
        wake_ns = max(delivery.next_wake_ns(now_ns), now_ns + 200_000)
        now_ns = min(wake_ns, events[0][0]) if events else wake_ns
        while events and events[0][0] <= now_ns:
            events.pop(0)[1](now_ns)
        sent += [(now_ns, timed) for timed in delivery.run(now_ns, BUDGET_S)]
    return Sent(
        np.array([at_ns - START_NS for at_ns, _ in sent]) / 1e9,
        np.array([timed.stamp_ns - START_NS for _, timed in sent]) / 1e9,
        np.array([timed.frame.index for _, timed in sent]),
        np.array([timed.frame.idle for _, timed in sent]),
        np.array([timed.frame.weights for _, timed in sent]),
    )
