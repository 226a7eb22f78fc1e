"""Tells compressed audio and files from raw PCM by their bytes.

PCM can begin with any bytes. So a short mark at the start is believed only where more agrees: the
frames it announces must follow each other, or fill the message exactly.
"""

from __future__ import annotations

import re
from collections.abc import Callable

# How files and containers begin, also in mid-stream where they repeat a mark.
_STARTS = (
    (re.compile(rb"RIFF"), "a wav file"),
    (re.compile(rb"FORM....AIF", re.DOTALL), "an AIFF file"),
    (re.compile(rb"OggS\x00"), "Ogg"),
    (re.compile(rb"fLaC"), "FLAC"),
    (re.compile(rb"ID3[\x02-\x04]"), "MP3"),
    (re.compile(rb"\x1aE\xdf\xa3|\x1fC\xb6u"), "WebM or Matroska"),
    (re.compile(rb"....(ftyp|styp|moof)", re.DOTALL), "MP4"),
)

# ISO/IEC 11172-3 and 13818-3, layer III: kbit/s by index, and sample rates of MPEG-1 in Hz. Those
# of MPEG-2 are half, those of MPEG-2.5 a quarter.
_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_RATES_HZ = (44100, 48000, 32000)
_RATE_DIVISORS = {0: 4, 2: 2, 3: 1}  # by version: MPEG-2.5, MPEG-2, MPEG-1

# How far into a message that begins within a frame the next frame may begin: the longest is so
# long. There three frames in a row are wanted, because there are many places to look at.
_LONGEST_MP3 = 1441
_MP3_SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")


def name_compression(data: bytes) -> str | None:
    """Return what `data` is, where it is no PCM: "MP3", for example; None for PCM."""
    for start, name in _STARTS:
        if start.match(data):
            return name
    if data[:1] == b"\xff":
        if _frames_follow(data, 0, _mp3_frame, wanted=2):
            return "MP3"
        if _frames_follow(data, 0, _adts_frame, wanted=2):
            return "AAC"
        if _is_flac_frame(data):
            return "FLAC"
    for sync in _MP3_SYNC.finditer(data, 1, _LONGEST_MP3):
        if _frames_follow(data, sync.start(), _mp3_frame, wanted=3):
            return "MP3"
    return None


def skip_id3(data: bytes) -> int:
    """Return where the ID3 tag (version 2) at the start of a file ends; 0 where there is none."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:  # seven bits each
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if data[5] & 0x10 else 0)


Header = tuple[int, int]  # length of the frame in bytes, and what all frames of a stream share


def _frames_follow(
    data: bytes, at: int, read: Callable[[bytes], Header | None], wanted: int
) -> bool:
    """Whether `wanted` frames begin one after the other from `at` on, or fill the rest exactly."""
    # Two constant channels repeat the same four bytes, and so any header.
    if data[at : at + 4] == data[at + 4 : at + 8]:
        return False
    first = read(data[at : at + 7])
    header, found = first, 0
    while header is not None and first is not None and header[1] == first[1]:
        found += 1
        at += header[0]
        if found == wanted or (at == len(data) and wanted <= 2):
            return True
        header = read(data[at : at + 7])
    return False


def _mp3_frame(head: bytes) -> Header | None:
    """Read the header of a frame of layer III, of which the usual is believed alone."""
    frame = read_mp3_frame(head)
    if frame is None:
        return None
    mode, extension, emphasis = head[3] >> 6, (head[3] >> 4) & 3, head[3] & 3
    # Only joint stereo has a mode extension, and emphasis is never used in practice.
    return None if emphasis or (extension and mode != 1) else frame


def read_mp3_frame(head: bytes) -> Header | None:
    """Read the header of an MPEG-1, 2 or 2.5 layer III frame: its length, and what all share."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, rate = (head[1] >> 3) & 3, (head[2] >> 2) & 3
    kbps = (_KBPS_1 if version == 3 else _KBPS_2)[head[2] >> 4]
    if version == 1 or rate == 3 or not kbps:
        return None
    rate_hz = _RATES_HZ[rate] // _RATE_DIVISORS[version]
    padding = (head[2] >> 1) & 1
    length = (144000 if version == 3 else 72000) * kbps // rate_hz + padding
    return length, head[1] << 8 | rate


def _adts_frame(head: bytes) -> Header | None:
    """Read the header of an AAC frame in ADTS (ISO/IEC 13818-7)."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if (head[2] >> 2) & 15 > 12 or length <= 7:
        return None
    return length, head[1] << 8 | head[2] & 0xFC


def _is_flac_frame(data: bytes) -> bool:
    """Whether a FLAC frame header (RFC 9639, 9.1) begins `data`: its checksum must be right."""
    if len(data) < 16 or data[0] != 0xFF or data[1] & 0xFE != 0xF8:
        return False
    block, rate, channels = data[2] >> 4, data[2] & 15, data[3] >> 4
    if not block or rate == 15 or channels > 10 or data[3] & 1 or (data[3] >> 1) & 7 == 3:
        return False
    ones = 8 - (data[4] ^ 0xFF).bit_length()  # leading ones: bytes of the coded number
    if ones in (1, 8):
        return False
    end = 4 + max(ones, 1) + {6: 1, 7: 2}.get(block, 0) + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    return end < len(data) and _crc8(data[:end]) == data[end]


def _crc8(data: bytes) -> int:
    """Return the checksum with polynomial x^8 + x^2 + x + 1."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc
