"""Recordings of a mouth that moves as it is told."""

from __future__ import annotations

import numpy as np

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.evaluation import Recording

FPS = 50.0
RATE_HZ = 16000


def syllables(frames: int, delay_frames: int = 0) -> np.ndarray:
    """An opening curve that is never periodic within the search for the offset."""
    time_s = (np.arange(frames) - delay_frames) / FPS
    return np.maximum(0.0, np.sin(2 * np.pi * (2.0 + 0.2 * time_s) * time_s))


def make_motion(frames: int, delay_frames: int = 0, scale: float = 0.6) -> np.ndarray:
    motion = np.zeros((frames, 52), np.float32)
    curve = syllables(frames, delay_frames)
    motion[:, ARKIT_INDEX["jawOpen"]] = scale * curve
    motion[:, ARKIT_INDEX["mouthFunnel"]] = 0.3 * curve**2
    return motion


def make_recording(frames: int = 250, **fields: object) -> Recording:
    samples = frames * RATE_HZ // int(FPS)
    envelope = np.interp(np.arange(samples) / RATE_HZ, np.arange(frames) / FPS, syllables(frames))
    noise = np.random.default_rng(0).standard_normal(samples)
    audio = (0.1 * envelope * noise).astype(np.float32)
    values = {"reference": make_motion(frames), "captured": True, **fields}
    return Recording("test", audio, RATE_HZ, FPS, frames, **values)  # type: ignore[arg-type]
