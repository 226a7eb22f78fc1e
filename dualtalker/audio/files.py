"""Reads recordings, at once or a block at a time: wav, flac, ogg and mp3 by libsndfile alone.

The sound of videos and of other compressed files is read through PyAV, where it is installed.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dualtalker.audio.compressed import find_container, is_short, open_soundtrack
from dualtalker.audio.containers import check_container, check_mp3, read_head, truncated
from dualtalker.audio.pcm import (
    CANCEL_MESSAGE,
    channels_cancel,
    check_samples,
    mix_to_mono,
    pick_channel,
)
from dualtalker.audio.resampling import check_rate
from dualtalker.errors import AudioError
from dualtalker.files import tell_fault

if TYPE_CHECKING:
    import soundfile

MAX_MINUTES = 60.0  # of a recording, unless more is asked for
_CONTAINERS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3")  # as libsndfile calls them
_EXPECTED = "expected wav, flac, ogg or mp3"
_BLOCK = 1 << 17  # samples of each channel read at a time
# Speech in flac takes at least a twentieth of its samples; silence is not worth gigabytes.
_LARGE_BYTES, _LARGEST_RATIO = 1 << 28, 200
_UNKNOWN_LENGTH = (1 << 63) - 1  # libsndfile's, where a file does not say

log = logging.getLogger("dualtalker")


@dataclass(frozen=True)
class AudioStream:
    """A recording that is being read."""

    rate_hz: int
    expected: int  # how many samples there are, by its header; 0 where it does not say
    blocks: Iterator[np.ndarray]  # mono float32 [n] in [-1, 1]; AudioError where it is bad


def read_audio(
    path: str | Path, max_minutes: float = MAX_MINUTES, channel: int | None = None
) -> tuple[np.ndarray, int]:
    """Read a recording; return mono float32 samples [n] in [-1, 1] and the rate in Hz.

    They are those of one channel, counted from 0, or the mean of all for None. wav, flac, ogg and
    mp3 are read by libsndfile alone; the sound of mp4, m4a, aac, webm, wma and other videos with
    the package's extra `video`.

    Raises:
        AudioError: missing, unreadable, truncated, empty or non-finite, a rate out of range,
            longer than `max_minutes`, without that channel, or in need of the extra.
    """
    stream = open_audio(path, max_minutes, channel)
    mono, count = np.empty(stream.expected, np.float32), 0
    for block in stream.blocks:
        if count + len(block) > len(mono):
            mono.resize(max(count + len(block), 2 * len(mono)), refcheck=False)
        mono[count : count + len(block)] = block
        count += len(block)
    mono.resize(count, refcheck=False)
    return mono, stream.rate_hz


def open_audio(
    path: str | Path, max_minutes: float = MAX_MINUTES, channel: int | None = None
) -> AudioStream:
    """Open a recording to read it a block at a time; the first is read at once.

    Raises:
        AudioError: as `read_audio`, as far as it shows by now; blocks raise what shows later. That
            a recording is whole is known at its end.
    """
    path = Path(path)
    _check_is_file(path)
    container = find_container(read_head(path))
    if container is None:
        stream = _decode_file(path, max_minutes, channel)
    else:
        stream = _decode_compressed(path, container, max_minutes, channel)
    first = next(stream.blocks, None)
    if first is None:
        raise AudioError(f"{path}: holds no samples; record or copy it again")
    return replace(stream, blocks=itertools.chain([first], stream.blocks))


def _decode_file(path: Path, max_minutes: float, channel: int | None) -> AudioStream:
    soundfile = _import_soundfile()
    filled = check_container(path)
    # As bytes, because soundfile refuses a name that is no Unicode; Windows has no such names.
    name = str(path) if os.name == "nt" else os.fsencode(path)
    with contextlib.ExitStack() as stack:
        with _faults_told(path):
            file = soundfile.SoundFile(name if filled is None else io.BytesIO(filled))
        stack.enter_context(file)
        if file.format not in _CONTAINERS:  # damage to others could not be told
            raise AudioError(
                f"{path}: found {file.format}; {_EXPECTED}. Convert it with: "
                f"ffmpeg -i {path.name} {path.stem}_converted.wav, or: sox {path.name} "
                f"{path.stem}_converted.wav"
            )
        if file.frames >= _UNKNOWN_LENGTH:
            raise AudioError(
                f"{path}: its header gives no length, as of a flac written into a pipe; "
                f"write it anew with: ffmpeg -i {path.name} mended.flac"
            )
        _check_length(path, file.frames, file.samplerate, file.channels, max_minutes)
        if file.format == "MP3" and filled is None:  # one with a strange start, too
            check_mp3(path, path.read_bytes())
        stack.pop_all()
    return AudioStream(file.samplerate, file.frames, _decode_blocks(path, file, channel))


def _decode_blocks(
    path: Path, file: soundfile.SoundFile, channel: int | None
) -> Iterator[np.ndarray]:
    """Yield mono blocks [n]; the file is closed at their end."""
    count = 0
    with file:
        for mono in _mix_blocks(path, _read_blocks(path, file), channel):
            count += len(mono)
            yield mono
        if count < file.frames:
            raise truncated(path, f"{count} samples", f"{file.frames}")


def _read_blocks(path: Path, file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    # Not `blocks`, which refuses codecs in which libsndfile cannot seek, such as GSM 6.10.
    while True:
        with _faults_told(path):
            block = file.read(_BLOCK, dtype="float32", always_2d=True)
        if not len(block):
            return
        yield block


@contextlib.contextmanager
def _faults_told(path: Path) -> Iterator[None]:
    """Raise AudioError for what libsndfile does not read."""
    soundfile = _import_soundfile()
    try:
        yield
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(
            f"{path}: not readable as audio ({error}); {_EXPECTED}. Convert it "
            f"with: ffmpeg -i {path.name} {path.stem}_converted.wav"
        ) from error


def _decode_compressed(
    path: Path, container: str, max_minutes: float, channel: int | None
) -> AudioStream:
    with contextlib.ExitStack() as stack:
        track = stack.enter_context(open_soundtrack(path, container))
        _check_length(path, 0, track.rate_hz, track.channels, max_minutes)
        opened = stack.pop_all()

    def limited() -> Iterator[np.ndarray]:
        count = 0
        for block in track.blocks:
            count += len(block)
            _check_length(path, count, track.rate_hz, track.channels, max_minutes)
            yield block

    def decode() -> Iterator[np.ndarray]:
        count = 0
        with opened:
            for mono in _mix_blocks(path, limited(), channel):
                count += len(mono)
                yield mono
        if is_short(track, count):
            found = f"{count / track.rate_hz:.2f} s"
            raise truncated(path, found, f"{track.promised_s:.2f} s")

    return AudioStream(track.rate_hz, 0, decode())


def _check_length(
    path: Path, frames: int, rate_hz: int, channels: int, max_minutes: float
) -> None:
    try:
        check_rate(rate_hz)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error
    minutes = frames / rate_hz / 60
    if minutes > max_minutes:
        raise AudioError(
            f"{path}: {minutes:.1f} minutes long, expected at most {max_minutes:g}; cut it, or "
            "give `dualtalker animate` a larger --max-minutes"
        )
    unpacked, size = 4 * frames * channels, path.stat().st_size
    if unpacked > _LARGE_BYTES and unpacked > _LARGEST_RATIO * size:
        raise AudioError(
            f"{path}: {size} bytes that unpack to {unpacked}, which no recording does; expected "
            f"at most {_LARGEST_RATIO} times its size"
        )


def _mix_blocks(
    path: Path, blocks: Iterator[np.ndarray], channel: int | None
) -> Iterator[np.ndarray]:
    """Yield a channel [n] of each block of a file, or the mix; warn at the end of what was odd."""
    clipped, cancelled = 0, False
    for block in blocks:
        if not len(block):
            continue
        try:
            heard = pick_channel(check_samples(block), channel)
            mixed, beyond = mix_to_mono(heard)
        except AudioError as error:
            raise AudioError(f"{path}: {error}") from error
        clipped += beyond
        cancelled = cancelled or channels_cancel(heard, mixed)
        yield mixed
    if clipped:
        log.warning("%s: %d samples beyond full scale were clipped", path, clipped)
    if cancelled:
        log.warning("%s: %s", path, CANCEL_MESSAGE)


def _import_soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: libsndfile itself is missing
        raise AudioError(
            f"recordings are read with the package soundfile ({error}); install it: "
            "python -m pip install soundfile"
        ) from error
    return soundfile


def _check_is_file(path: Path) -> None:
    if found := tell_fault(path):
        raise AudioError(f"{path}: {found}; expected a wav, flac, ogg or mp3 recording")
