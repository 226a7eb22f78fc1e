"""One long utterance pushed in stamped chunks, for the tests of the Talker's time."""

from __future__ import annotations

import numpy as np
import pytest

from dualtalker.arkit import MOUTH_INDICES
from streamed_speech import STAMP_NS, speech, weights_of

RATE_HZ = 16000
CHUNK = 320
FPS = 50  # frame k is 20 ms after frame k - 1, as chunks are
MOUTH = list(MOUTH_INDICES)


def stamp_at(time_s):
    return STAMP_NS + round(time_s * 1e9)


def push_seconds(talker, start_s, end_s, seed=0, skip=(), shift_s=0.0):
    """Push chunks of one long utterance [start_s, end_s), but for the indices in `skip`."""
    samples = speech(20, RATE_HZ, seed)
    frames = []
    for i in range(round(start_s * 50), round(end_s * 50)):
        if i not in skip:
            chunk = samples[i * CHUNK : (i + 1) * CHUNK]
            talker.push(chunk, RATE_HZ, stamp_at(i * 0.02 + shift_s))
            frames += talker.frames()
    return frames


def check_order(frames):
    indices = [frame.index for frame in frames]
    assert indices == list(range(indices[0], indices[0] + len(indices)))
    for frame in frames:
        assert frame.time_s == pytest.approx(frame.index / FPS, abs=1e-9)


def largest_step(frames):
    return np.abs(np.diff(weights_of(frames), axis=0)).max()
