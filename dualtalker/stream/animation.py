"""Whole recordings to faces in one call, through the streaming Talker."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualtalker.arkit import ARKIT_NAMES, HEAD_NAMES
from dualtalker.audio import AudioStream, check_rate, check_samples, open_audio
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
    audio: str | Path | np.ndarray | AudioStream,
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

    A file is read a block at a time, as is what `audio.open_audio` returns.
    `style` and `intensity` as for `Talker.set_style` and `set_intensity`, `phones` of what is said
    as for `push_phones`. `progress` is called with the seconds of audio done since its last call.

    Raises:
        AudioError: the audio is unreadable, empty or not finite, or an array has no rate.
        BundleError, BackendError: the model cannot be loaded.
        SpeechError: a phone is none, or its label unknown.
        DualtalkerError: style, intensity or another setting is none.
    """
    sound = _take_audio(audio, sample_rate_hz)
    rate_hz = sound.rate_hz
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
    face = _Face(math.ceil(sound.expected / rate_hz * talker.fps))
    count = 0
    for second in _cut_seconds(sound):
        talker.push_phones(_take_until(count / rate_hz + _TOLD_AHEAD_S, told))
        talker.push(second, rate_hz)
        face.add(talker.frames())
        count += len(second)
        if progress is not None:
            progress(len(second) / rate_hz)
    if not count:
        raise AudioError("no samples to animate; expected at least one")
    # With the resampler's part, which `flush` ends; a stream takes the bundle's own hops.
    latency_s = talker.latency_s - talker.bundle.sidecar.hop_s + bundle.sidecar.hop_s
    face.add(talker.flush())
    compute_s = time.perf_counter() - started
    talker.close()
    return _collect(talker, bundle, face, count / rate_hz, compute_s, latency_s)


class _Rows:
    """Rows of numbers that come one after the other."""

    def __init__(self, count: int, shape: tuple[int, ...], kind: type) -> None:
        """There may be more than `count`, or fewer: what is not used takes no memory."""
        self._rows: np.ndarray = np.empty((count, *shape), kind)
        self._count = 0

    def add(self, rows: Sequence[object]) -> None:
        if not rows:
            return
        end = self._count + len(rows)
        if end > len(self._rows):
            self._resize(2 * end)
        self._rows[self._count : end] = rows
        self._count = end

    def take(self) -> np.ndarray:
        self._resize(self._count)
        return self._rows

    def _resize(self, count: int) -> None:
        self._rows.resize((count, *self._rows.shape[1:]), refcheck=False)


class _Face:
    """Frames so far, as arrays: a long recording's would be many objects."""

    def __init__(self, count: int) -> None:
        self.times_s = _Rows(count, (), np.float64)
        self.weights = _Rows(count, (len(ARKIT_NAMES),), np.float32)
        self.heads = _Rows(count, (len(HEAD_NAMES),), np.float32)

    def add(self, frames: list[Frame]) -> None:
        self.times_s.add([frame.time_s for frame in frames])
        self.weights.add([frame.weights for frame in frames])
        self.heads.add([frame.head for frame in frames if frame.head is not None])


def _take_audio(
    audio: str | Path | np.ndarray | AudioStream, sample_rate_hz: int | None
) -> AudioStream:
    if isinstance(audio, AudioStream):
        return audio
    if isinstance(audio, (str, Path)):
        return open_audio(audio)
    if sample_rate_hz is None:
        raise AudioError("samples without a rate; give sample_rate_hz, for example 16000")
    samples, rate_hz = check_samples(audio), check_rate(sample_rate_hz)
    if len(samples) == 0:
        raise AudioError("no samples to animate; expected at least one")
    return AudioStream(rate_hz, len(samples), iter([samples]))


def _cut_seconds(sound: AudioStream) -> Iterator[np.ndarray]:
    for block in sound.blocks:
        for start in range(0, len(block), sound.rate_hz):
            yield block[start : start + sound.rate_hz]


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
    heads = face.heads.take()
    return Animation(
        times_s=face.times_s.take(),
        weights=face.weights.take(),
        head=heads if len(heads) else None,
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
