"""Speech on its way: cut, sent faster or slower than spoken, in bursts, late, twice, or not."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

RATE_HZ = 16000

chunk_lengths = st.sampled_from([0.005, 0.01, 0.02, 0.046, 0.1, 0.25, 0.5]) | st.floats(0.005, 0.5)
ways = st.fixed_dictionaries(
    {
        "chunk_s": chunk_lengths,
        "burst": st.integers(1, 16),
        "speed": st.sampled_from([0.9, 0.95, 1.0, 1.05, 1.11, 2.0, 4.6]) | st.floats(0.9, 10.0),
        "jitter_s": st.sampled_from([0.0, 0.001, 0.005]) | st.floats(0.0, 0.05),
        "seed": st.integers(0, 1000),
    }
)


def voice(duration_s, seed=0):
    """Syllables of noise over the noise of a room, float32 [n]: no part of it comes twice."""
    count = round(duration_s * RATE_HZ)
    noise = np.random.default_rng(seed).uniform(-0.8, 0.8, count)
    loudness = 0.01 + np.sin(np.arange(count) * 2 * np.pi * 2 / RATE_HZ) ** 2
    return (noise * loudness / 1.01).astype(np.float32)


def cut(samples, chunk_s):
    """Return the chunks and the time in s of each one's first sample."""
    size = round(chunk_s * RATE_HZ)
    starts = range(0, len(samples), size)
    return [(start / RATE_HZ, samples[start : start + size]) for start in starts]


def send(samples, chunk_s, burst, speed, jitter_s, seed):
    """Return the chunks in order, each with the time in s at which it arrives.

    A burst comes when its first chunk would have come; the chunks of one follow within 0.1 ms.
    """
    rng, sent, last_s = np.random.default_rng(seed), [], 0.0
    for number, (_, chunk) in enumerate(cut(samples, chunk_s)):
        length_s = round(chunk_s * RATE_HZ) / RATE_HZ
        due_s = number // burst * burst * length_s / speed
        late_s = rng.uniform(0, jitter_s) if number % burst == 0 else 0.0
        last_s = max(due_s + late_s, last_s + (1e-4 if number else 0.0))
        sent.append((last_s, chunk))
    return sent
