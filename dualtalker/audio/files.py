"""Reads recordings: wav, flac and ogg, whole or not at all.

libsndfile skips damage in Ogg and reads a cut wav without a word: everything after it is then out
of time. So the containers are checked byte for byte before they are decoded: Ogg by checksums and
page numbers, wav by its sizes.
"""

from __future__ import annotations

import io
import logging
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

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
_CONTAINERS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG")  # as libsndfile calls them
_BLOCK = 1 << 20  # samples read at a time
# Speech in flac takes at least a twentieth of its samples; silence is not worth gigabytes.
_LARGE_BYTES, _LARGEST_RATIO = 1 << 28, 200
_UNKNOWN_LENGTH = (1 << 63) - 1  # libsndfile's, where a file does not say

# Programs that write wav into a pipe put one of these for the sizes that they cannot know.
_LARGEST_PIPED = 0x8000FFFF
_SMALLEST_PIPED = 0x7FFF0000
_UNKNOWN = 0xFFFFFFFF

_PCM_TAGS = (1, 3, 0xFFFE)  # whole numbers, floats, either with a longer header

_OGG_HEADER_BYTES = 27
_OGG_FIRST, _OGG_LAST = 2, 4  # flags of a stream's first and last page
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

log = logging.getLogger("dualtalker")


def read_audio(
    path: str | Path, max_minutes: float = MAX_MINUTES, channel: int | None = None
) -> tuple[np.ndarray, int]:
    """Read a wav, flac or ogg file; return mono float32 samples [n] in [-1, 1] and the rate in Hz.

    They are those of one channel, counted from 0, or the mean of all for None.

    Raises:
        AudioError: missing, unreadable, truncated, empty or non-finite, a rate out of range,
            longer than `max_minutes`, or without that channel.
    """
    path = Path(path)
    _check_is_file(path)
    mono, rate_hz = _decode_file(path, max_minutes, channel)
    if len(mono) == 0:
        raise AudioError(f"{path}: holds no samples; record or copy it again")
    return mono, rate_hz


def _decode_file(path: Path, max_minutes: float, channel: int | None) -> tuple[np.ndarray, int]:
    """Return mono samples [n] float32 and the rate; raises AudioError unless it is whole."""
    soundfile = _import_soundfile()
    filled = check_container(path)
    # As bytes, because soundfile refuses a name that is no Unicode; Windows has no such names.
    name = str(path) if os.name == "nt" else os.fsencode(path)
    try:
        with soundfile.SoundFile(name if filled is None else io.BytesIO(filled)) as file:
            if file.format not in _CONTAINERS:  # damage to others could not be told
                raise AudioError(
                    f"{path}: found {file.format}; expected wav, flac or ogg. Convert it with: "
                    f"ffmpeg -i {path.name} {path.stem}_converted.wav, or: sox {path.name} "
                    f"{path.stem}_converted.wav"
                )
            if file.frames >= _UNKNOWN_LENGTH:
                raise AudioError(
                    f"{path}: its header gives no length, as of a flac written into a pipe; "
                    f"write it anew with: ffmpeg -i {path.name} mended.flac"
                )
            _check_length(path, file, max_minutes)
            return _mix_blocks(path, file, channel), file.samplerate
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(
            f"{path}: not readable as audio ({error}); expected wav, flac or ogg. Convert it "
            f"with: ffmpeg -i {path.name} {path.stem}_converted.wav"
        ) from error


def _check_length(path: Path, file: soundfile.SoundFile, max_minutes: float) -> None:
    try:
        check_rate(file.samplerate)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error
    minutes = file.frames / file.samplerate / 60
    if minutes > max_minutes:
        raise AudioError(
            f"{path}: {minutes:.1f} minutes long, expected at most {max_minutes:g}; cut it, or "
            "give `dualtalker animate` a larger --max-minutes"
        )
    unpacked, size = 4 * file.frames * file.channels, path.stat().st_size
    if unpacked > _LARGE_BYTES and unpacked > _LARGEST_RATIO * size:
        raise AudioError(
            f"{path}: {size} bytes that unpack to {unpacked}, which no recording does; expected "
            f"at most {_LARGEST_RATIO} times its size"
        )


def _mix_blocks(path: Path, file: soundfile.SoundFile, channel: int | None) -> np.ndarray:
    """Return a channel [n] of a file, or the mix; a block of all channels is held at a time."""
    mono = np.empty(file.frames, np.float32)
    clipped = at = 0
    cancelled = False
    # Not `blocks`, which refuses codecs in which libsndfile cannot seek, such as GSM 6.10.
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
        try:
            block = pick_channel(check_samples(block), channel)
            mixed, beyond = mix_to_mono(block)
        except AudioError as error:
            raise AudioError(f"{path}: {error}") from error
        mono[at : at + len(mixed)] = mixed[: len(mono) - at]
        at, clipped = at + len(mixed), clipped + beyond
        cancelled = cancelled or channels_cancel(block, mixed)
    if at < len(mono):
        raise truncated(path, f"{at} samples", f"{len(mono)}")
    if clipped:
        log.warning("%s: %d samples beyond full scale were clipped", path, clipped)
    if cancelled:
        log.warning("%s: %s", path, CANCEL_MESSAGE)
    return mono


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
        raise AudioError(f"{path}: {found}; expected a wav, flac or ogg recording")


def check_container(path: Path) -> bytes | None:
    """Check a wav or Ogg file; other formats have their own checksums or are refused later.

    Returns the file's content with its sizes filled in where a wav was written into a pipe and
    says none, else None: the file can be read as it is.

    Raises:
        AudioError: the file is truncated or damaged; says where.
    """
    with path.open("rb") as file:
        head = file.read(4)
        if head in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
            return _check_wav(path, file, head)
        if head == b"OggS":
            check_ogg(path, path.read_bytes())
    return None


# --- wav -----------------------------------------------------------------------------------------


Order = Literal["little", "big"]


@dataclass(frozen=True)
class _WavSizes:
    riff: int  # bytes after the first eight, as the header says
    data: int  # bytes of samples, as their chunk says
    data_at: int  # where they begin
    is_pcm: bool  # plain numbers, as many as there are bytes for
    frame_bytes: int  # of one sample of all channels; 0 where no "fmt " chunk came before


def _check_wav(path: Path, file: BinaryIO, head: bytes) -> bytes | None:
    order: Order = "big" if head == b"RIFX" else "little"
    size = path.stat().st_size
    sizes = _find_data(path, file, order, head in (b"RF64", b"BW64"))
    rest = size - sizes.data_at
    # A recorder that crashed leaves a RIFF of nothing but the header, and no size for the data.
    unfinished = sizes.data == 0 and (_is_piped(sizes.riff) or 8 + sizes.riff <= sizes.data_at)
    if unfinished or _is_piped(sizes.data):
        return _fill_sizes(path, sizes, rest, order) if rest and unfinished else None
    if sizes.data > rest:
        raise truncated(path, f"{rest} bytes of samples", f"{sizes.data}")
    return _read_beyond(path, file, sizes, rest, order)


def _read_beyond(
    path: Path, file: BinaryIO, sizes: _WavSizes, rest: int, order: Order
) -> bytes | None:
    """Return the content with its sizes filled in where samples follow the end of its RIFF.

    Servers that stream speech write the sizes of the first piece, and then all pieces.
    """
    end = sizes.data_at + sizes.data
    beyond = rest - sizes.data
    if beyond <= sizes.data % 2 or 8 + sizes.riff > end + 8 or not sizes.data:
        return None
    file.seek(end)
    head = file.read(9)
    # A chunk begins at an even byte.
    starts = (head[:8], head[1:]) if sizes.data % 2 else (head[:8],)
    is_another = any(start.startswith(b"RIFF") for start in starts)
    if not is_another and any(_is_appendix(start, beyond, order) for start in starts):
        return None
    if not sizes.is_pcm or is_another:
        raise AudioError(
            f"{path}: its header covers {sizes.data} bytes of samples, and {beyond} more follow; "
            f"write it anew with: ffmpeg -ignore_length 1 -i {path.name} {path.stem}_mended.wav"
        )
    log.warning(
        "%s: its header covers %d bytes of samples; the %d after them are read as samples too",
        *(path, sizes.data, beyond),
    )
    return _fill_sizes(path, sizes, rest, order)


def _is_appendix(start: bytes, size: int, order: Order) -> bool:
    """Whether these 8 bytes, of `size` after the samples, begin a chunk or a tag of MP3."""
    is_chunk = start[:4].isalnum() and int.from_bytes(start[4:], order) + 8 <= size
    return is_chunk or start.startswith((b"TAG", b"ID3"))


def _find_data(path: Path, file: BinaryIO, order: Order, is_64: bool) -> _WavSizes:
    """Walk the chunks up to the samples."""
    file.seek(4)
    riff = int.from_bytes(file.read(4), order)
    if file.read(4) != b"WAVE":
        raise AudioError(f"{path}: not readable as audio (a RIFF file, but no wav)")
    data_64, frame_bytes, is_pcm = _UNKNOWN, 0, False
    while True:
        header = file.read(8)
        if len(header) < 8:
            raise truncated(path, "no samples at all", "a chunk of them")
        kind, size = header[:4], int.from_bytes(header[4:], order)
        if kind == b"data":
            if is_64 and size == _UNKNOWN:
                size = data_64
            return _WavSizes(riff, size, file.tell(), is_pcm, frame_bytes)
        start = file.tell()
        if kind == b"ds64":
            data_64 = int.from_bytes(file.read(16)[8:], order)
        elif kind == b"fmt ":
            fields = file.read(14)
            is_pcm = int.from_bytes(fields[:2], order) in _PCM_TAGS
            frame_bytes = int.from_bytes(fields[12:], order)
        file.seek(start + size + size % 2)


def _fill_sizes(path: Path, sizes: _WavSizes, rest: int, order: Order) -> bytes:
    """Return the content of a wav whose header promises no length, with what is there."""
    if sizes.frame_bytes:
        rest -= rest % sizes.frame_bytes
    if rest >= _SMALLEST_PIPED:
        raise AudioError(
            f"{path}: its header gives no length and {rest} bytes follow; write its sizes anew "
            f"with: ffmpeg -i {path.name} -rf64 auto mended.wav"
        )
    content = bytearray(path.read_bytes())
    content[4:8] = (sizes.data_at + rest - 8).to_bytes(4, order)
    content[sizes.data_at - 4 : sizes.data_at] = rest.to_bytes(4, order)
    return bytes(content[: sizes.data_at + rest])


def _is_piped(size: int) -> bool:
    return size in (0, _UNKNOWN) or _SMALLEST_PIPED <= size <= _LARGEST_PIPED


# --- Ogg -----------------------------------------------------------------------------------------


def check_ogg(path: Path, content: bytes) -> None:
    """Check every page of an Ogg file (RFC 3533): its checksum, its number, and the last's mark.

    Raises:
        AudioError: a page is damaged, missing or cut off, or there are several streams.
    """
    serials: set[int] = set()
    at = number = flags = 0
    while at < len(content):
        end = _find_page_end(path, content, at)
        page = content[at:end]
        if _ogg_checksum(page) != int.from_bytes(page[22:26], "little"):
            raise _damaged(path, f"page {number} at byte {at} does not fit its checksum")
        flags = page[5]
        serials.add(int.from_bytes(page[14:18], "little"))
        if len(serials) > 1:
            raise AudioError(
                f"{path}: holds several Ogg streams; expected one. Join them with: "
                f"ffmpeg -i {path.name} joined.wav"
            )
        found = int.from_bytes(page[18:22], "little")
        if found != number or bool(flags & _OGG_FIRST) != (number == 0):
            raise _damaged(path, f"page {found} follows where page {number} was expected")
        at, number = end, number + 1
    if not flags & _OGG_LAST:
        raise truncated(path, f"{number} Ogg pages", "one more that ends the stream")


def _find_page_end(path: Path, content: bytes, at: int) -> int:
    header = content[at : at + _OGG_HEADER_BYTES]
    if header[:4] != b"OggS"[: len(header)] or header[4:5] not in (b"\0", b""):
        raise _damaged(path, f"no Ogg page begins at byte {at}, where one was expected")
    if len(header) == _OGG_HEADER_BYTES:
        body_at = at + _OGG_HEADER_BYTES + header[26]
        lengths = content[at + _OGG_HEADER_BYTES : body_at]
        end = body_at + sum(lengths)
        if len(lengths) == header[26] and end <= len(content):
            return end
    raise truncated(path, f"{len(content) - at} bytes of its last Ogg page", "all of it")


def _ogg_checksum(page: bytes) -> int:
    """Return the CRC-32 of a page, polynomial 0x04C11DB7 with the highest bit first (RFC 3533).

    zlib's has the same polynomial with the lowest bit first, and inverts start and end.
    """
    blanked = page[:22] + bytes(4) + page[26:]
    mirrored = zlib.crc32(blanked.translate(_MIRRORED), _UNKNOWN) ^ _UNKNOWN
    return int(f"{mirrored:032b}"[::-1], 2)


def truncated(path: Path, found: str, expected: str) -> AudioError:
    """Return the error for a file that ends too early."""
    return AudioError(
        f"{path}: truncated: holds {found}, its header promises {expected}. Copy it again, or "
        f"keep what is there with: ffmpeg -i {path.name} mended.wav"
    )


def _damaged(path: Path, what: str) -> AudioError:
    return AudioError(
        f"{path}: damaged: {what}; what follows would be out of time. Copy it again, or keep "
        f"what can be read with: ffmpeg -i {path.name} mended.wav"
    )
