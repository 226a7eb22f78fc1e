"""Sound to try engines on: a made signal, or a recording at the model's rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dualtalker.errors import DualtalkerError


def make_test_signal(samples: int, seed: int = 0) -> np.ndarray:
    """Return speech-like sound `[samples]`: voiced bursts of changing pitch, hiss and silences."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 16000.0
    pitch_hz = 120.0 + 60.0 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / 16000.0
    voice = sum(np.sin(h * phase) / h for h in range(1, 20))
    syllables = np.maximum(0.0, np.sin(2 * np.pi * 2.3 * time))
    envelope = syllables * (np.sin(2 * np.pi * 0.3 * time) > -0.5)
    return (0.2 * envelope * voice + 0.01 * rng.standard_normal(samples)).astype(np.float32)


def read_speech(path: Path | None, seconds: float, rate_hz: int) -> np.ndarray:
    """Return speech `[samples]` float32 at `rate_hz`, repeated or cut; None: a made signal."""
    count = round(seconds * rate_hz)
    if path is None:
        if rate_hz != 16000:
            raise DualtalkerError(f"no made signal at {rate_hz} Hz: give a recording with --audio")
        return make_test_signal(count)
    from dualtalker.audio import StreamingResampler, read_audio

    samples, own_rate_hz = read_audio(path)
    resampler = StreamingResampler(own_rate_hz, rate_hz)
    audio = np.concatenate([resampler.push(samples), resampler.flush()])
    return np.resize(audio, count).astype(np.float32)


def uneven_weights(count: int) -> np.ndarray:
    """Return weights `[1, count]` float32 of a mixture in which no two styles have the same."""
    weights = np.arange(count, 0, -1, dtype=np.float32)
    return (weights / weights.sum())[np.newaxis]
