"""Trials of one contestant beyond plain recordings: silence, noise, noisy speech, speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dualtalker.evaluation import metrics
from dualtalker.model import Bundle
from training.data import MOTION_RATE_HZ, SAMPLE_RATE_HZ, Clip
from training.evaluation.noises import NOISES, make_noise_at, measure_speech_level

if TYPE_CHECKING:
    from dualtalker.rig import Rig

Animate = Callable[[np.ndarray, int, str], np.ndarray]
"""(audio [samples] at 16 kHz, frames, style) -> weights [frames, 52] at 50 Hz."""
Sweep = dict[str, dict[float, float]]
"""A value by noise and by signal-to-noise ratio in dB."""

SNRS_DB = (20.0, 15.0, 10.0, 5.0, 0.0)
SPEECH_SNRS_DB = (20.0, 10.0, 0.0)
HISS_LEVEL = 1e-3  # -60 dB: a quiet room through a good microphone
NOISY_SPEECH_S = 20.0
NOISY_STYLE_S = 30.0  # of each captured style's recordings
SETTLE_S = 0.5  # of a trial's start, where the mouth may still move to its rest


def animate_by_model(
    audio: np.ndarray, frames: int, model: Bundle | Path | str | None
) -> np.ndarray:
    """The bundle through the Talker at the corpus' motion rate, idle life off; `[frames, 52]`."""
    from dualtalker.stream import animate

    animation = animate(
        audio, SAMPLE_RATE_HZ, model=model, fps=float(MOTION_RATE_HZ), idle_motion=False
    )
    weights = animation.weights[:frames]
    return np.pad(weights, ((0, frames - len(weights)), (0, 0)), mode="edge")


def measure_silence(
    animate: Animate, rig: Rig, speech_speed: float, style: str, seconds: float
) -> float:
    """Mouth motion in digital silence and in hiss at -60 dB, relative to speech; their mean."""
    samples = int(seconds * SAMPLE_RATE_HZ)
    hiss = np.random.default_rng(0).standard_normal(samples).astype(np.float32) * HISS_LEVEL
    sounds = (np.zeros(samples, np.float32), hiss)
    return float(np.mean([_motion_of(animate, s, rig, speech_speed, style) for s in sounds]))


def sweep_noise(
    animate: Animate,
    rig: Rig,
    speech_speed: float,
    speech_level: float,
    style: str,
    seconds: float,
) -> Sweep:
    """Mouth motion in each noise alone, `SNRS_DB` below speech, relative to speech."""
    samples = int(seconds * SAMPLE_RATE_HZ)
    sweep: Sweep = {}
    for seed, kind in enumerate(NOISES):
        sweep[kind] = {}
        for snr_db in SNRS_DB:
            sound = make_noise_at(kind, samples, speech_level * 10.0 ** (-snr_db / 20.0), seed)
            sweep[kind][snr_db] = _motion_of(animate, sound, rig, speech_speed, style)
    return sweep


def _motion_of(
    animate: Animate, sound: np.ndarray, rig: Rig, speech_speed: float, style: str
) -> float:
    frames = len(sound) * MOTION_RATE_HZ // SAMPLE_RATE_HZ
    gap = rig.lip_gap(animate(sound, frames, style))[int(SETTLE_S * MOTION_RATE_HZ) :]
    return metrics.measure_speed(gap, MOTION_RATE_HZ) / max(speech_speed, 1e-9)


@dataclass(frozen=True)
class Excerpt:
    """Captured speech in which a loss of jaw r is measured."""

    speaker: str
    style: str
    audio: np.ndarray
    """[samples]."""
    jaw: np.ndarray
    """The captured opening [frames]."""
    speech: np.ndarray
    """Speech frames [frames] bool."""
    level: float
    """Root mean square of the speech."""


def draw_excerpts(clips: Sequence[Clip]) -> list[Excerpt]:
    """Return the first 20 s of captured clips, up to half a minute of each style."""
    excerpts: list[Excerpt] = []
    heard_s: dict[str, float] = {}
    for clip in clips:
        before_s = heard_s.get(clip.style, 0.0)
        if clip.motion is None or not clip.style.startswith("captured"):
            continue
        if before_s >= NOISY_STYLE_S:
            continue
        heard_s[clip.style] = before_s + min(clip.duration_s, NOISY_SPEECH_S)
        audio = clip.audio[: int(NOISY_SPEECH_S * SAMPLE_RATE_HZ)]
        frames = min(len(clip.motion), len(audio) * MOTION_RATE_HZ // SAMPLE_RATE_HZ)
        jaw = metrics.jaw_opening(clip.motion[:frames])
        times_s = np.arange(frames) / MOTION_RATE_HZ
        speech = metrics.find_speech_frames(audio, SAMPLE_RATE_HZ, times_s)
        level = measure_speech_level(audio, speech)
        excerpts.append(Excerpt(clip.speaker, clip.style, audio, jaw, speech, level))
    return excerpts


def score_jaw(animate: Animate, excerpt: Excerpt, sound: np.ndarray) -> float:
    """Return Pearson's r of the jaw in `sound` with the captured one over speech frames."""
    jaw = metrics.jaw_opening(animate(sound, len(excerpt.jaw), excerpt.style))
    return metrics.correlate(jaw, excerpt.jaw, excerpt.speech)


def sweep_noisy_speech(animate: Animate, clips: Sequence[Clip]) -> Sweep:
    """Loss of jaw r when noise is added `SPEECH_SNRS_DB` below speech, mean over excerpts.

    The motion is never touched: it is the clean one.
    """
    losses: dict[str, dict[float, list[float]]] = {k: {} for k in NOISES}
    for excerpt in draw_excerpts(clips):
        clean, audio = score_jaw(animate, excerpt, excerpt.audio), excerpt.audio
        for seed, kind in enumerate(NOISES):
            for snr_db in SPEECH_SNRS_DB:
                level = excerpt.level * 10.0 ** (-snr_db / 20.0)
                noise = make_noise_at(kind, len(audio), level, seed)
                noisy = np.clip(audio + noise, -1.0, 1.0).astype(np.float32)
                loss = clean - score_jaw(animate, excerpt, noisy)
                losses[kind].setdefault(snr_db, []).append(loss)
    return {
        kind: {snr_db: float(np.mean(found)) for snr_db, found in by_snr.items()}
        for kind, by_snr in losses.items()
        if by_snr
    }


def measure_tick_ms(bundle: Bundle, seconds: float) -> float:
    """99th percentile of a tick's time in ms: push and frames at 60 frames/s, sleeping in between.

    Paced as on a robot; in a hot loop the same work takes half the time or less. The first
    second is not counted. `benchmarks/stream.py` measures more.
    """
    from dualtalker.stream import Talker

    fps = 60
    talker = Talker(bundle, fps=fps)
    step = SAMPLE_RATE_HZ // fps
    sound = 0.1 * np.random.default_rng(0).standard_normal(step * fps).astype(np.float32)
    spent_ms = []
    start = time.perf_counter()
    for tick in range(int(seconds * fps)):
        time.sleep(max(start + tick / fps - time.perf_counter(), 0.0))
        chunk = sound[tick % fps * step :][:step]
        began = time.perf_counter()
        talker.push(chunk, SAMPLE_RATE_HZ)
        talker.frames()
        spent_ms.append((time.perf_counter() - began) * 1e3)
    talker.close()
    return float(np.percentile(spent_ms[fps:], 99.0))
