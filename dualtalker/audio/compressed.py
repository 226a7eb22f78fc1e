"""The sound of videos and of files that libsndfile cannot read, through PyAV, which is an extra.

PyAV's wheels load x264 and x265, which are under the GPL: nothing else of the library imports it
but what writes videos.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.audio.containers import read_head
from dualtalker.audio.sniffing import name_compression
from dualtalker.errors import AudioError, DualtalkerError

# How such files begin, and what FFmpeg calls them. Named, for it would guess otherwise, and a list
# of addresses would make it open those.
_BEGINNINGS = (
    (re.compile(rb"....(ftyp|moov|mdat|wide|free|skip)", re.DOTALL), "mov"),
    (re.compile(rb"\x1aE\xdf\xa3"), "matroska"),
    (re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), "asf"),
    (re.compile(rb"RIFF....AVI ", re.DOTALL), "avi"),
    (re.compile(rb"FLV\x01"), "flv"),
    (re.compile(rb"\0\0\x01\xba"), "mpeg"),
    (re.compile(rb"#!AMR"), "amr"),
)
_GAP_S = 0.02  # between frames: less is rounding
_PIECE = 1 << 16  # samples of silence at a time
_TOLERANCE_S = 0.5  # of a length that a header promises: codecs add and drop some milliseconds


@dataclass(frozen=True)
class Soundtrack:
    """A recording that is being decoded."""

    rate_hz: int
    channels: int
    promised_s: float  # by its header; 0 where it does not say
    blocks: Iterator[np.ndarray]  # [n, channels] float32


def import_av(wanted_for: str, kind: type[DualtalkerError] = DualtalkerError) -> Any:
    """Import PyAV.

    Raises:
        DualtalkerError: it is not installed; of another `kind` where one is given.
    """
    try:
        import av
    except ImportError as error:
        raise kind(
            f"{wanted_for} needs PyAV ({error}), an extra for the licenses of what it loads; "
            'install it: pip install "dualtalker[video]"'
        ) from error
    return av


def find_container(head: bytes) -> str | None:
    """Return FFmpeg's name of what begins so; None for what libsndfile should read."""
    for beginning, name in _BEGINNINGS:
        if beginning.match(head):
            return name
    return "aac" if name_compression(head) == "AAC" else None


@contextlib.contextmanager
def open_video(path: Path, kind: type[DualtalkerError] = DualtalkerError) -> Iterator[Any]:
    """Open a video as PyAV's container, by how it begins: other files are not even tried.

    Raises:
        DualtalkerError: it is no video or damaged, or PyAV is not installed; of another `kind`
            where one is given.
    """
    av = import_av(f"{path}: a video", kind)
    container = find_container(read_head(path))
    if container is None:
        raise kind(f"{path}: no video that can be read; expected mp4, mov, mkv, webm, avi or mpg")
    try:
        with path.open("rb") as file, av.open(file, format=container) as opened:
            if not opened.streams.video:
                raise kind(f"{path}: there is no picture in it, only sound")
            yield opened
    except (av.FFmpegError, OSError, ValueError) as error:
        raise kind(
            f"{path}: not readable as a video ({error}); copy it again, or convert it with: "
            f"ffmpeg -i {path.name} {path.stem}_converted.mp4"
        ) from error


@contextlib.contextmanager
def open_soundtrack(path: Path, container: str) -> Iterator[Soundtrack]:
    """Decode the sound of a file, of which `find_container` tells the container.

    Its first sample is the first instant of the picture, where there is one: a sound that starts
    later is preceded by silence, and gaps between its frames are filled with it.

    Raises:
        AudioError: there is no sound, it is damaged, or PyAV is not installed.
    """
    av = import_av(f"{path}: compressed sound ({container})", AudioError)
    try:
        with path.open("rb") as file, av.open(file, format=container) as opened:
            if not opened.streams.audio:
                raise AudioError(
                    f"{path}: the file has no sound; record with the microphone on, or give one "
                    "that has"
                )
            track = opened.streams.audio[0]
            if track.codec_context is None:
                raise AudioError(f"{path}: its sound has a codec that PyAV cannot decode")
            rate_hz, layout = track.codec_context.sample_rate, track.codec_context.layout
            promised_s = _promised_s(opened, track, container)
            resampler = av.AudioResampler("fltp", layout, rate_hz)
            blocks = _decode(opened, track, resampler)
            channels = len(layout.channels)
            yield Soundtrack(rate_hz, channels, promised_s, blocks)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioError(
            f"{path}: its sound cannot be read ({error}); copy it again, or extract it with: "
            f"ffmpeg -i {path.name} {path.stem}_converted.wav"
        ) from error


def is_short(track: Soundtrack, samples: int) -> bool:
    """Whether a decoded track has fewer samples than its header promises."""
    return samples / track.rate_hz < track.promised_s - _TOLERANCE_S


def _decode(opened: Any, track: Any, resampler: Any) -> Iterator[np.ndarray]:
    """Decode to blocks [n, channels]; what the times of frames leave out is silence.

    What comes before the first picture is left out.
    """
    rate_hz, channels = resampler.rate, len(resampler.layout.channels)
    begin_s = _begin_s(opened, track)
    count = early = 0  # samples of the sound's clock that are done; samples still to leave out
    tolerated_s = 0.0 if opened.streams.video else _GAP_S  # the sound begins to the sample
    for frame in itertools.chain(opened.decode(track), [None]):
        ahead_s = 0.0
        if frame is not None and frame.pts is not None:
            time_s = float(frame.pts * frame.time_base)
            if tolerated_s == 0.0 and time_s < begin_s:
                early = round((begin_s - time_s) * rate_hz)
                count = -early
            ahead_s = time_s - begin_s - count / rate_hz
        silent = round(ahead_s * rate_hz) if ahead_s > tolerated_s else 0
        tolerated_s = _GAP_S
        for start in range(0, silent, _PIECE):
            yield np.zeros((min(_PIECE, silent - start), channels), np.float32)
        count += silent
        for part in resampler.resample(frame):
            count += part.samples
            yield part.to_ndarray().T[early:]
            early = max(0, early - part.samples)


def _begin_s(opened: Any, track: Any) -> float:
    """Return when the picture begins, or the sound where there is no picture."""
    first = opened.streams.video[0] if opened.streams.video else track
    return float((first.start_time or 0) * (first.time_base or 0))


def _promised_s(opened: Any, track: Any, container: str) -> float:
    """Return how long the sound is by the header; 0 where only the rate of bits would tell."""
    if container in ("aac", "amr"):
        return 0.0
    if track.duration:
        early_s = _begin_s(opened, track) - float((track.start_time or 0) * track.time_base)
        return float(track.duration * track.time_base) - max(0.0, early_s)
    return 0.0 if opened.streams.video else (opened.duration or 0) / 1e6
