"""Whole recordings to faces in one call, through the streaming Talker."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualtalker.audio import check_rate, check_samples, read_audio
from dualtalker.errors import AudioError
from dualtalker.model import Bundle, Style, load_bundle, load_offline
from dualtalker.speech import Phone, PhoneRows, read_phones
from dualtalker.stream.frames import Frame
from dualtalker.stream.talker import Talker

_TOLD_AHEAD_S = 300.0  # of a long recording, so that only so many phones wait


@dataclass(frozen=True)
class Animation:
    """The face of a whole recording."""

    times_s: np.ndarray  # [frames] float64, frame k at k / fps
    weights: np.ndarray  # [frames, 52] float32 in [0, 1]
    fps: float
    duration_s: float  # of the audio
    compute_s: float  # wall-clock time of resampling, model and finishing
    bundle: Bundle
    backend: str
    latency_s: float
    counters: dict[str, int]
    style: dict[str, float]  # weights of the model's styles; empty where it has one alone
    intensity: float
    head: np.ndarray | None = None  # [frames, 3] float32 radians, `HEAD_NAMES`; None where off

    @property
    def real_time_factor(self) -> float:
        """Compute time per second of audio."""
        return self.compute_s / self.duration_s


def animate(
    audio: str | Path | np.ndarray,
    sample_rate_hz: int | None = None,
    *,
    model: str | Path | Bundle | None = None,
    fps: float = 30.0,
    engine: str = "auto",
    idle_motion: bool = True,
    prosody: bool = True,
    head_motion: bool = False,
    smoothing_s: float = 0.0,
    seed: int = 0,
    style: Style = None,
    intensity: float = 1.0,
    phones: PhoneRows = (),
    progress: Callable[[float], object] | None = None,
) -> Animation:
    """Turn a file, or samples [n] or [n, channels] with their rate, into face frames.

    `style` and `intensity` as for `Talker.set_style` and `set_intensity`, `phones` of what is said
    as for `push_phones`. `progress` is called with the seconds of audio done since its last call.

    Raises:
        AudioError: the audio is unreadable, empty or not finite, or an array has no rate.
        BundleError, BackendError: the model cannot be loaded.
        SpeechError: a phone is none, or its label unknown.
        DualtalkerError: style, intensity or another setting is none.
    """
    samples, rate_hz = _take_audio(audio, sample_rate_hz)
    told = deque(read_phones(phones))
    bundle = model if isinstance(model, Bundle) else load_bundle(model)
    # Nobody waits for a frame: larger steps give the same for a fraction of the time.
    offline = load_offline(bundle) if engine in ("auto", "onnxruntime") else None
    talker = Talker(
        offline or bundle,
        fps=fps,
        engine="onnxruntime" if offline else engine,
        idle_motion=idle_motion,
        prosody=prosody,
        head_motion=head_motion,
        smoothing_s=smoothing_s,
        seed=seed,
        style=style,
        intensity=intensity,
    )
    started = time.perf_counter()
    face = _Face()
    for start in range(0, len(samples), rate_hz):
        second = samples[start : start + rate_hz]
        due_s = start / rate_hz + _TOLD_AHEAD_S
        talker.push_phones(_take_until(due_s, told))
        talker.push(second, rate_hz)
        face.add(talker.frames())
        if progress is not None:
            progress(len(second) / rate_hz)
    # With the resampler's part, which `flush` ends; a stream takes the bundle's own hops.
    latency_s = talker.latency_s - talker.bundle.sidecar.hop_s + bundle.sidecar.hop_s
    face.add(talker.flush())
    compute_s = time.perf_counter() - started
    talker.close()
    return _collect(talker, bundle, face, len(samples) / rate_hz, compute_s, latency_s)


class _Face:
    """Frames so far, as arrays: a long recording's would be many objects."""

    def __init__(self) -> None:
        self.times_s: list[np.ndarray] = []
        self.weights: list[np.ndarray] = []
        self.heads: list[np.ndarray] = []

    def add(self, frames: list[Frame]) -> None:
        if not frames:
            return
        self.times_s.append(np.array([frame.time_s for frame in frames]))
        self.weights.append(np.stack([frame.weights for frame in frames]))
        heads = [frame.head for frame in frames if frame.head is not None]
        if heads:
            self.heads.append(np.stack(heads))


def _take_audio(
    audio: str | Path | np.ndarray, sample_rate_hz: int | None
) -> tuple[np.ndarray, int]:
    if isinstance(audio, (str, Path)):
        samples, rate_hz = read_audio(audio)
    elif sample_rate_hz is None:
        raise AudioError("samples without a rate; give sample_rate_hz, for example 16000")
    else:
        samples, rate_hz = check_samples(audio), check_rate(sample_rate_hz)
    if len(samples) == 0:
        raise AudioError("no samples to animate; expected at least one")
    return samples, rate_hz


def _take_until(time_s: float, phones: deque[Phone]) -> list[Phone]:
    """Take off the phones that start before a time."""
    taken = []
    while phones and phones[0].start_s < time_s:
        taken.append(phones.popleft())
    return taken


def _collect(
    talker: Talker,
    bundle: Bundle,
    face: _Face,
    duration_s: float,
    compute_s: float,
    latency_s: float,
) -> Animation:
    return Animation(
        times_s=np.concatenate(face.times_s),
        weights=np.concatenate(face.weights),
        head=np.concatenate(face.heads) if face.heads else None,
        fps=talker.fps,
        duration_s=duration_s,
        compute_s=compute_s,
        bundle=bundle,
        backend=talker.backend_name,
        latency_s=latency_s,
        counters=dict(talker.counters),
        style=talker.style,
        intensity=talker.intensity,
    )
