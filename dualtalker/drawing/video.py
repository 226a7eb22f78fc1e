"""Writes pictures, or a moving rig, and sound to an MP4 file (H.264 and AAC)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.audio import import_av
from dualtalker.drawing.renderer import Renderer
from dualtalker.errors import DualtalkerError
from dualtalker.files import written_whole
from dualtalker.rig import Rig

_VIDEO_CODEC, _AUDIO_CODEC = "libx264", "aac"
_VIDEO_OPTIONS = {"crf": "20", "preset": "veryfast"}
_AUDIO_RATE_HZ = 48_000  # plays everywhere; AAC does not know every input rate
_AUDIO_CHUNK = 1024


def write_face_video(
    path: Path,
    weights: np.ndarray,
    fps: float,
    rig: Rig,
    samples: np.ndarray,
    rate_hz: int,
    progress: Callable[[int], object],
) -> None:
    """Write an MP4 of the rig moved by `weights` [frames, 52], with the sound that it says."""
    renderer = Renderer(rig, 480, 480)

    def pictures() -> Iterator[np.ndarray]:
        for row in weights:
            yield renderer.render(row)
            progress(1)

    with written_whole(path) as temporary:
        write_video(temporary, pictures(), fps, audio=samples, audio_rate_hz=rate_hz)


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[np.ndarray],
    fps: float,
    audio: np.ndarray | None = None,
    audio_rate_hz: int | None = None,
    *,
    total: int | None = None,
    progress: bool = False,
) -> Path:
    """Write an MP4 in which frame k is shown at k / fps and the audio starts at 0.

    frames: pictures [height, width, 3] uint8, all of one size; taken one at a time, so that they
    need not fit in memory. An odd height or width is padded by one pixel, as H.264 needs. audio:
    mono samples [n] in [-1, 1] at audio_rate_hz. With `progress` a bar counts to `total`.

    DualtalkerError where PyAV is not installed, on no frames, frames of changing shape, or audio
    that is not mono and finite.
    """
    path, rate = Path(path), _checked_fps(fps)
    samples = _checked_audio(audio, audio_rate_hz)
    if progress:
        from tqdm import tqdm

        frames = tqdm(frames, total=total, desc=path.name, unit="frame")
    av = import_encoders(f"{path}: a video")
    try:
        with av.open(
            str(path), "w", format="mp4", options={"movflags": "+faststart"}
        ) as container:
            _encode(container, frames, rate, samples, audio_rate_hz)
    except (av.FFmpegError, OSError) as error:
        raise DualtalkerError(f"{path}: the video could not be written ({error})") from error
    return path


def import_encoders(wanted_for: str) -> Any:
    """Import PyAV and see that it writes H.264 and AAC; DualtalkerError where it does not."""
    av = import_av(wanted_for)
    for name in (_VIDEO_CODEC, _AUDIO_CODEC):
        if name not in av.codecs_available:
            raise DualtalkerError(
                f"{wanted_for} needs the encoder {name}, which this PyAV {av.__version__} lacks; "
                'its wheels have it: pip install --force-reinstall "dualtalker[video]"'
            )
    return av


def _encode(
    container: Any,
    frames: Iterable[np.ndarray],
    rate: Fraction,
    samples: np.ndarray | None,
    audio_rate_hz: int | None,
) -> None:
    """Encode pictures and the sound that belongs to them in turn, as players like them laid."""
    import av

    video = container.add_stream(_VIDEO_CODEC, rate=rate, options=_VIDEO_OPTIONS)
    video.pix_fmt = "yuv420p"
    sound = None
    if samples is not None and audio_rate_hz is not None:
        sound = _Sound(container, samples, audio_rate_hz)
    shape: tuple[int, ...] | None = None
    index = -1
    for index, picture in enumerate(frames):
        picture = np.asarray(picture)
        if shape is None:
            shape = _checked_shape(picture)
            video.height, video.width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
        if picture.shape != shape or picture.dtype != np.uint8:
            raise DualtalkerError(
                f"video frame {index} is {picture.dtype} {list(picture.shape)}; "
                f"expected uint8 {list(shape)} as the first"
            )
        padding = ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0))
        frame = av.VideoFrame.from_ndarray(np.pad(picture, padding, mode="edge"), format="rgb24")
        frame.pts, frame.time_base = index, 1 / rate
        for packet in video.encode(frame):
            container.mux(packet)
        if sound is not None:
            sound.encode_until(float((index + 1) / rate))
    if index < 0:
        raise DualtalkerError("a video needs at least one frame; found none")
    for packet in video.encode(None):
        container.mux(packet)
    if sound is not None:
        sound.finish()


class _Sound:
    """Feeds samples to an AAC stream in step with the pictures."""

    def __init__(self, container: Any, samples: np.ndarray, rate_hz: int) -> None:
        import av

        self._container, self._samples, self._rate_hz, self._place = container, samples, rate_hz, 0
        self._stream = container.add_stream(_AUDIO_CODEC, rate=_AUDIO_RATE_HZ, layout="mono")
        self._stream.bit_rate = 128_000
        self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=_AUDIO_RATE_HZ)

    def encode_until(self, time_s: float) -> None:
        import av

        while self._place < min(len(self._samples), time_s * self._rate_hz):
            chunk = self._samples[self._place : self._place + _AUDIO_CHUNK]
            frame = av.AudioFrame.from_ndarray(chunk[None], format="fltp", layout="mono")
            frame.sample_rate = self._rate_hz
            frame.pts, frame.time_base = self._place, Fraction(1, self._rate_hz)
            self._place += len(chunk)
            self._encode(self._resampler.resample(frame))

    def finish(self) -> None:
        self.encode_until(float("inf"))
        self._encode(self._resampler.resample(None))
        for packet in self._stream.encode(None):
            self._container.mux(packet)

    def _encode(self, frames: Iterable[Any]) -> None:
        for frame in frames:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)


def _checked_fps(fps: float) -> Fraction:
    if not (np.isfinite(fps) and 1 <= fps <= 240):
        raise DualtalkerError(f"video rate is {fps} frames a second; expected 1 to 240")
    return Fraction(fps).limit_denominator(1001)


def _checked_audio(audio: np.ndarray | None, rate_hz: int | None) -> np.ndarray | None:
    if audio is None:
        return None
    audio = np.asarray(audio, dtype=np.float32)
    if rate_hz is None or rate_hz <= 0:
        raise DualtalkerError(f"audio rate is {rate_hz}; expected samples a second")
    if audio.ndim != 1 or not np.isfinite(audio).all():
        raise DualtalkerError(
            f"video sound has shape {list(audio.shape)} or is not finite; expected mono [samples]"
        )
    return np.clip(audio, -1, 1)


def _checked_shape(picture: np.ndarray) -> tuple[int, ...]:
    if picture.ndim != 3 or picture.shape[2] != 3 or min(picture.shape[:2]) < 16:
        raise DualtalkerError(
            f"video frame 0 has shape {list(picture.shape)}; expected [height, width, 3], "
            "at least 16 x 16"
        )
    return picture.shape
