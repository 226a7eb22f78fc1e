"""Figures of over-smoothing: what a still, a damped and a true motion must give."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from dualtalker.evaluation import Recording
from dualtalker.rig.robot_head import build_head
from tiny_training import make_clip
from training.data import Clip
from training.evaluation import Training, to_recording
from training.studies.dynamics import BANDS_HZ, measure_dynamics, measure_spectrum
from training.studies.word_reader import smooth

SHARES = [f"lip speed {low:g}-{high:g} Hz" for low, high in BANDS_HZ]


def record(seed: int) -> tuple[Clip, Recording]:
    clip = make_clip(f"clip{seed}", seed, style="captured:one", phones=None)
    return clip, dataclasses.replace(to_recording(clip, Training()), captured=True)


def damp(motion: np.ndarray, share: float) -> np.ndarray:
    """Motion that keeps so much of its way from its mean."""
    return motion.mean(0) + share * (motion - motion.mean(0))


def test_the_capture_keeps_all_of_itself() -> None:
    clip, recording = record(1)
    figures = measure_dynamics([recording], [clip.motion], build_head())
    for name, value in figures.items():
        assert value == pytest.approx(0.0 if "FDD" in name else 1.0), name
    assert {"lip gap kept", "jaw explained", "rounding explained", *SHARES} <= set(figures)


@given(st.floats(0.05, 0.95))
@settings(max_examples=10, deadline=None)
def test_damped_motion_keeps_the_square_of_its_share(share: float) -> None:
    """Speech frames have a mean of their own, so the truth is damped about theirs."""
    clip, recording = record(1)
    figures = measure_dynamics([recording], [damp(clip.motion, share)], build_head())
    assert figures["jaw kept"] == pytest.approx(share**2, rel=1e-3)
    assert figures["lip speed 2-4 Hz"] == pytest.approx(share**2, rel=1e-3)
    assert figures["lip FDD signed"] > 0
    assert figures["lip FDD absolute"] >= abs(figures["lip FDD signed"])


def test_a_still_face_tells_nothing_and_smoothing_takes_the_fast() -> None:
    clip, recording = record(1)
    still = np.zeros_like(clip.motion)
    figures = measure_dynamics([recording], [still], build_head())
    assert figures["jaw kept"] == 0 and figures["jaw explained"] <= 0
    assert figures["lip FDD signed"] == pytest.approx(1.0)
    figures = measure_dynamics([recording], [smooth(clip.motion, 0.08)], build_head())
    shares = [figures[name] for name in SHARES]
    assert shares[0] > shares[2] > shares[4]


def test_talkers_have_means_of_their_own() -> None:
    """Two talkers held at their own means: nothing told, nothing lost."""
    pairs = [record(1), record(3)]
    recordings = [dataclasses.replace(r, talker=str(k)) for k, (_, r) in enumerate(pairs)]
    motions = [np.tile(clip.motion.mean(0), (clip.frames, 1)) for clip, _ in pairs]
    apart = measure_dynamics(recordings, motions, build_head())
    assert apart["jaw kept"] == pytest.approx(0.0, abs=1e-9)


def test_a_spectrum_has_its_peak_where_the_jaw_moves() -> None:
    clip, recording = record(1)
    time_s = np.arange(clip.frames) / 50
    motion = np.zeros_like(clip.motion)
    motion[:, 17] = 0.3 + 0.2 * np.sin(2 * np.pi * 5.0 * time_s)
    frequencies, power = measure_spectrum([recording], [motion], build_head())
    assert abs(frequencies[power.argmax()] - 5.0) < 0.8
    bare = dataclasses.replace(recording, reference=None)
    with pytest.raises(ValueError, match="no captured reference"):
        measure_dynamics([bare], [motion], build_head())
