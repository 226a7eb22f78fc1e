"""Checks the containers of recordings byte for byte before they are decoded.

libsndfile skips damage in Ogg and MP3 and reads a cut wav without a word: everything after it is
then out of time. Ogg is checked by its checksums and page numbers, MP3 by its frames, wav by its
sizes.
"""

from __future__ import annotations

import logging
import mmap
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from dualtalker.audio.sniffing import name_compression, read_mp3_frame, skip_id3
from dualtalker.errors import AudioError

# Programs that write wav into a pipe put one of these for the sizes that they cannot know.
_LARGEST_PIPED = 0x8000FFFF
_SMALLEST_PIPED = 0x7FFF0000
_UNKNOWN = 0xFFFFFFFF

_PCM_TAGS = (1, 3, 0xFFFE)  # whole numbers, floats, either with a longer header

_HEAD_BYTES = 1 << 14  # of a file, by which it is known
_LARGEST_MP3 = 1 << 29  # of those whose header must be written anew
_OGG_HEADER_BYTES = 27
_OGG_FIRST, _OGG_LAST = 2, 4  # flags of a stream's first and last page
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

log = logging.getLogger("dualtalker")


def read_head(path: Path) -> bytes:
    """Return how a file begins, without a tag of ID3."""
    with path.open("rb") as file:
        file.seek(skip_id3(file.read(10)))
        return file.read(_HEAD_BYTES)


def check_container(path: Path) -> bytes | None:
    """Check a wav, Ogg or MP3 file; other formats have their own checksums or are refused later.

    Returns the file's content with its sizes filled in where a wav or MP3 was written into a pipe
    and says none, else None: the file can be read as it is.

    Raises:
        AudioError: the file is truncated or damaged; says where.
    """
    with path.open("rb") as file:
        head = file.read(4)
        if head in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
            return _check_wav(path, file, head)
        if head[:3] not in (b"Ogg", b"ID3") and head[:1] != b"\xff":
            return None
        # Not read, for it may be larger than the memory.
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if head == b"OggS":
                check_ogg(path, content)
            elif name_compression(read_head(path)) == "MP3":
                return check_mp3(path, content)
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


def check_ogg(path: Path, content: bytes | mmap.mmap) -> None:
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


def _find_page_end(path: Path, content: bytes | mmap.mmap, at: int) -> int:
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


# --- MP3 -----------------------------------------------------------------------------------------


def check_mp3(path: Path, content: bytes | mmap.mmap) -> bytes | None:
    """Check that frames of layer III follow each other to the end of an MP3 file.

    Returns the content with a header that counts all frames, where there is none or it counts
    fewer, else None: libsndfile reads no more than it promises, and guesses where it does not.

    Raises:
        AudioError: something else lies between the frames, or some are missing.
    """
    at = start = skip_id3(content[:10])
    count, rates = 0, set[int]()
    while at < len(content):
        head = content[at : at + 11]
        frame = read_mp3_frame(head)
        if frame is not None:
            at, count = at + frame[0], count + 1
            rates.add(frame[1] & 0x1803)  # MPEG's version and the index of the rate
        elif count and head.startswith((b"ID3", b"TAG")):  # several files in one, or the end
            at += skip_id3(head) or 128
        elif count and (head.startswith((b"APETAGEX", b"LYRICSBEGIN")) or _is_zero(content, at)):
            break
        else:
            raise _damaged(path, f"no MP3 frame begins at byte {at}, where one was expected")
    if at > len(content):
        raise truncated(path, f"all but {at - len(content)} bytes of its last frame", "all of it")
    if len(rates) > 1:
        raise AudioError(
            f"{path}: holds MP3 of several rates; expected one. Join them with: "
            f"ffmpeg -i {path.name} joined.wav"
        )
    first = content[start : start + 48]
    told, told_at = _read_frame_count(first)
    count -= told_at > 0
    if told == count:
        return None
    if told > count:
        raise truncated(path, f"{count} MP3 frames", f"{told}")
    if len(content) > _LARGEST_MP3:
        raise AudioError(
            f"{path}: its header does not count its frames; write it anew with: "
            f"ffmpeg -i {path.name} mended.mp3"
        )
    if told_at:
        log.warning("%s: its header tells of %d MP3 frames; %d are read", path, told, count)
        start += read_mp3_frame(first)[0]  # type: ignore[index]
    return _write_frame_count(first, count) + content[start:]


def _read_frame_count(first: bytes) -> tuple[int, int]:
    """Return the count in the header frame of Xing and LAME, and where it stands; 0 for none."""
    match = re.search(rb"(Xing|Info)...[\x01\x03\x05\x07\x09\x0b\x0d\x0f]", first, re.DOTALL)
    if match is None:
        return 0, 0
    return int.from_bytes(first[match.end() : match.end() + 4], "big"), match.end()


def _write_frame_count(first: bytes, count: int) -> bytes:
    """Return a silent frame of the kind of `first` that counts the frames after it, as Xing's."""
    head = bytearray(first[:4])
    head[1] |= 1  # no checksum follows
    head[2] = 0x90 | head[2] & 0x0C  # large enough for what is written into it
    length = read_mp3_frame(bytes(head))[0]  # type: ignore[index]
    is_mono, is_version_1 = head[3] >> 6 == 3, head[1] & 8 == 8
    side = (17 if is_mono else 32) if is_version_1 else (9 if is_mono else 17)
    told = b"Xing" + (1).to_bytes(4, "big") + count.to_bytes(4, "big")
    return (bytes(head) + bytes(side) + told).ljust(length, b"\0")


def _is_zero(content: bytes | mmap.mmap, at: int) -> bool:
    return not content[at:].strip(b"\0")


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
