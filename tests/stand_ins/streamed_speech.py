"""Sound like speech, and its way through a talker in pieces."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

STAMP_NS = 1_700_000_000_000_000_000


def speech(seconds, rate_hz, seed=0):
    """Bursts of noise and tones: loud and silent in turn, as speech is."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    envelope = np.clip(np.sin(2 * np.pi * 3 * times + rng.uniform(0, 6)), 0, 1)
    sound = 0.3 * rng.standard_normal(len(times)) + 0.5 * np.sin(2 * np.pi * 220 * times)
    return (0.5 * envelope * sound).astype(np.float32)


def stream(talker, samples, rate_hz, cuts, stamped=False):
    bounds = [0, *sorted(cut for cut in cuts if cut < len(samples)), len(samples)]
    frames = []
    for start, end in pairwise(bounds):
        stamp = STAMP_NS + start * 10**9 // rate_hz if stamped else None
        talker.push(samples[start:end], rate_hz, stamp)
        frames += talker.frames()
    return frames + talker.flush()


def weights_of(frames):
    return np.stack([frame.weights for frame in frames])
