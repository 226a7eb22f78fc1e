"""Plots are written, show what they are given, and refuse what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.drawing import pick_moments, plot_curves, write_contact_sheet
from dualtalker.errors import DualtalkerError
from dualtalker.rig.robot_head import build_head

Image = pytest.importorskip("PIL.Image")


def speech_like(frames=30):
    times_s = np.arange(frames) / 30
    weights = np.zeros((frames, 52), dtype=np.float32)
    weights[:, ARKIT_INDEX["jawOpen"]] = 0.5 - 0.5 * np.cos(2 * np.pi * 3 * times_s)
    samples = np.sin(np.arange(16000) * 0.1) * 0.3
    return samples, times_s, weights


def picture(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_curves_are_drawn_and_follow_the_motion(tmp_path):
    samples, times_s, weights = speech_like()
    rig = build_head()
    moving = picture(plot_curves(tmp_path / "a.png", rig, samples, 16000, times_s, weights))
    still = picture(plot_curves(tmp_path / "b.png", rig, samples, 16000, times_s, weights * 0))
    assert moving.shape == still.shape and (moving != still).any()


def test_curves_without_sound_are_drawn(tmp_path):
    _, times_s, weights = speech_like()
    plot = plot_curves(tmp_path / "a.png", build_head(), np.zeros(0), 16000, times_s, weights)
    assert plot.stat().st_size


def test_contact_sheet_shows_as_many_faces_as_asked(tmp_path):
    _, times_s, weights = speech_like()
    rig = build_head()
    two = picture(write_contact_sheet(tmp_path / "a.png", rig, times_s, weights, count=2))
    six = picture(write_contact_sheet(tmp_path / "b.png", rig, times_s, weights, count=6))
    assert six.shape[1] == 3 * two.shape[1]
    _, times_s, weights = speech_like(3)
    labels = ["AA", "OO", "MM"]
    path = write_contact_sheet(tmp_path / "c.png", rig, times_s, weights, labels, size_px=96)
    assert picture(path).shape[1] == pytest.approx(3 * 96, abs=2)


def test_what_does_not_fit_is_refused(tmp_path):
    samples, times_s, weights = speech_like()
    with pytest.raises(DualtalkerError, match=r"\[29\].*\[30, 52\]"):
        plot_curves(tmp_path / "a.png", build_head(), samples, 16000, times_s[1:], weights)
    with pytest.raises(DualtalkerError, match="at least one frame"):
        write_contact_sheet(tmp_path / "a.png", build_head(), times_s[:0], weights[:0])
    with pytest.raises(DualtalkerError, match="2 labels for 30 frames"):
        write_contact_sheet(tmp_path / "a.png", build_head(), times_s, weights, ["a", "b"])
    with pytest.raises(DualtalkerError, match="could not be written"):
        plot_curves(tmp_path / "a.doc", build_head(), samples, 16000, times_s, weights)


def test_picked_moments_are_the_telling_ones_all_over_the_clip() -> None:
    weights = np.zeros((120, 52), np.float32)
    peaks = [5, 33, 61, 110]
    for peak, name in zip(
        peaks, ("jawOpen", "mouthPucker", "mouthFunnel", "tongueOut"), strict=True
    ):
        weights[peak, ARKIT_INDEX[name]] = 1.0
    weights[35, ARKIT_INDEX["jawOpen"]] = 1.0  # seen before
    weights[80, ARKIT_INDEX["eyeBlinkLeft"]] = 1.0  # a blink tells nothing of speech
    assert pick_moments(weights, 4).tolist() == peaks
    assert pick_moments(weights[:3], 12).tolist() == [0, 1, 2]
