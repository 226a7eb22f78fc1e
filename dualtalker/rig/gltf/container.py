"""The container of binary glTF (.glb): its JSON, and the bytes of its buffer as they are needed.

A .glb may hold gigabytes of textures, so that its buffer stays in the file.
"""

from __future__ import annotations

import json
import os
import struct
from typing import IO, Any

from dualtalker.errors import RigError
from dualtalker.rig.gltf.format import BIN_CHUNK, GLB_MAGIC, JSON_CHUNK

_LARGEST_JSON = 1 << 24  # bytes; that of a whole avatar takes less than one million
_MOST_CHUNKS = 64  # two, and those of vendors


class Buffer:
    """The binary chunk of an open .glb."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self.size = file, start, size

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on; RigError where the chunk ends before."""
        if offset + count > self.size:
            raise RigError(
                f"{count} bytes at byte {offset} of a buffer of {self.size}: truncated?"
            )
        self._file.seek(self._start + offset)
        content = self._file.read(count)
        if len(content) != count:
            raise RigError("the file became shorter while it was read")
        return content


def open_container(file: IO[bytes]) -> tuple[dict[str, Any], Buffer]:
    """Read the JSON of a .glb and find its buffer. RigError on any damage."""
    size = os.fstat(file.fileno()).st_size
    head = file.read(12)
    if size < 20 or len(head) < 12:
        raise RigError(f"found {size} bytes; a .glb has at least 20")
    magic, version, total = struct.unpack("<III", head)
    if magic != GLB_MAGIC or version != 2:
        raise RigError("found no glTF 2.0 header; export as 'glTF binary (.glb)', version 2")
    if total != size:
        raise RigError(f"the header says {total} bytes, the file has {size}: truncated?")
    chunks = _find_chunks(file, total)
    start, length = chunks.get(JSON_CHUNK, (0, 0))
    if length > _LARGEST_JSON:
        raise RigError(f"the JSON chunk has {length} bytes; expected at most {_LARGEST_JSON}")
    file.seek(start)
    try:
        document = json.loads(file.read(length).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RigError(f"the JSON chunk cannot be read ({error})") from error
    if not isinstance(document, dict):
        raise RigError("the JSON chunk is not an object")
    return document, Buffer(file, *chunks.get(BIN_CHUNK, (0, 0)))


def _find_chunks(file: IO[bytes], total: int) -> dict[int, tuple[int, int]]:
    """Where the first chunk of each kind starts, and its length, by kind."""
    chunks: dict[int, tuple[int, int]] = {}
    place, count = 12, 0
    while place < total:
        count += 1
        if place + 8 > total or count > _MOST_CHUNKS:
            raise RigError(f"a chunk header at byte {place} is cut off, or no glTF has so many")
        file.seek(place)
        length, kind = struct.unpack("<II", file.read(8))
        if place + 8 + length > total:
            raise RigError(f"the chunk at byte {place} claims {length} bytes beyond the end")
        chunks.setdefault(kind, (place + 8, length))
        place += 8 + length
    return chunks
