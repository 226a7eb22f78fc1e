"""What a bag may claim: files are looked at before opening, sizes before unpacking.

A chunk of some kilobytes may hold gigabytes, and thousands may point to one; MCAP's format is
https://mcap.dev/spec.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from dualtalker.errors import BagError
from dualtalker.files import check_file, scratch_folder

MAX_CHUNK_BYTES = 1 << 26
MAX_MESSAGES = 500_000  # of one topic: hours of speech in pieces of 20 ms
_MAX_METADATA_BYTES = 1 << 23
_MAX_RECORDS = 8_000_000
_MAX_TOPICS = 4096
# Together; recorders' chunks are of a megabyte, follow each other and shrink to a tenth or so.
_LARGE_BYTES, _LARGEST_RATIO = 1 << 28, 200

_MAGIC = b"\x89MCAP0\r\n"
_FOOTER, _CHUNK, _CHUNK_INDEX = 0x02, 0x06, 0x08
_Claim = tuple[int, int, int]  # begin and end in ns, bytes when unpacked


@contextlib.contextmanager
def checked_storage(storage: Path) -> Iterator[Path]:
    """Give the folder or file to open: the same, or an unpacked copy that goes afterwards.

    Raises:
        BagError: a file is a pipe or device, claims more than it can hold, or computes its rows.
    """
    if not storage.is_dir():
        _check_one(storage, storage.suffix)
        yield storage
        return
    metadata_path = storage / "metadata.yaml"
    check_file(metadata_path, BagError, "a bag's metadata", _MAX_METADATA_BYTES)
    content = _read_metadata(metadata_path)
    information = content.get("rosbag2_bagfile_information")
    information = information if isinstance(information, dict) else {}
    listed = information.get("relative_file_paths")
    names = listed if isinstance(listed, list) else []
    files = [storage / PurePath(str(name)).name for name in names]
    files = [file for file in files if file.exists()]  # which are missing, rosbags tells
    suffix = ".db3" if information.get("storage_identifier") == "sqlite3" else ".mcap"
    if str(information.get("compression_mode", "")).lower() != "file":
        for file in files:
            _check_one(file, suffix)
        yield storage
        return
    with scratch_folder() as folder:
        for file in files:
            check_file(file, BagError, "a file of a bag")
            _unpack_file(file, folder / file.stem)
            _check_one(folder / file.stem, suffix)
        information |= {"compression_mode": "", "compression_format": ""}
        information["relative_file_paths"] = [file.stem for file in files]
        text = json.dumps(content, default=str)  # which is YAML, too
        (folder / "metadata.yaml").write_text(text, encoding="utf-8")
        yield folder


def _read_metadata(path: Path) -> dict[str, Any]:
    """Return the YAML; empty where it is none, which rosbags tells."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _check_one(file: Path, suffix: str) -> None:
    check_file(file, BagError, "a file of a bag")
    if suffix == ".db3":
        check_tables(file)
    elif suffix == ".mcap":
        check_records(file)


def check_records(file: Path) -> None:
    """Refuse an MCAP whose chunks claim more than such a file holds; damage is told by rosbags.

    Raises:
        BagError: too many records, or too much to unpack at once or in all.
    """
    chunks: list[_Claim] = []
    indexed: list[_Claim] = []
    count, end = 0, file.stat().st_size
    with file.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            return
        while len(head := stream.read(9)) == 9 and head[0] != _FOOTER:
            start, length = stream.tell(), int.from_bytes(head[1:], "little")
            count += 1
            if count > _MAX_RECORDS:
                raise BagError(f"{file}: more than {_MAX_RECORDS} records; no recorder writes so")
            if head[0] == _CHUNK and length >= 28:
                chunks.append(struct.unpack("<QQQ", stream.read(24)))
            elif head[0] == _CHUNK_INDEX and 68 <= length <= _LARGE_BYTES:
                record = stream.read(length)
                indexed.append((*struct.unpack_from("<QQ", record), _read_size(record)))
            if start + length >= end:  # cut off, or a length that no file has
                break
            stream.seek(start + length)
    for claims in (chunks, indexed):
        _check_claims(file, claims)


def _read_size(index: bytes) -> int:
    """Return what a chunk index says of the unpacked size: its last number."""
    return int.from_bytes(index[-8:], "little")


def _check_claims(file: Path, claims: list[_Claim]) -> None:
    largest = max((size for _, _, size in claims), default=0)
    if largest > MAX_CHUNK_BYTES:
        raise BagError(
            f"{file}: a chunk claims {largest} bytes, expected at most {MAX_CHUNK_BYTES}; write "
            "it anew in small ones: mcap filter --chunk-size 4194304 IN -o OUT"
        )
    total, size = sum(size for _, _, size in claims), file.stat().st_size
    if total > max(_LARGE_BYTES, _LARGEST_RATIO * size):
        raise BagError(
            f"{file}: {len(claims)} chunks of {size} bytes unpack to {total} bytes; no recording "
            "shrinks so far"
        )
    # Chunks of one time are unpacked at once. An end comes after a begin of the same time.
    events = [(begin, size) for begin, _, size in claims] + [
        (end, -size) for _, end, size in claims
    ]
    held = most = 0
    for _, change in sorted(events, key=lambda event: (event[0], -event[1])):
        held += change
        most = max(most, held)
    if most > _LARGE_BYTES:
        raise BagError(
            f"{file}: chunks of one time claim {most} bytes, expected at most {_LARGE_BYTES}; "
            "put its messages in order: mcap sort IN -o OUT"
        )


def check_tables(file: Path) -> None:
    """Refuse a sqlite3 file whose tables compute their rows, or whose topics are no list.

    Raises:
        BagError: a table is a view, virtual or has generated columns; topics of one number.
    """
    base = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        rows = base.execute("SELECT name, type, sql FROM sqlite_master").fetchall()
        for name, kind, sql in rows:
            if kind in ("view", "trigger") or re.search(r"\bAS\b|\bVIRTUAL\b", str(sql), re.I):
                raise BagError(f"{file}: {kind} {name!r} computes its rows; no recorder does that")
        for name in {"topics", "message_definitions"} & {row[0] for row in rows}:
            query = f"SELECT count(*), count(DISTINCT id) FROM {name}"
            count, different = base.execute(query).fetchone()
            if count > _MAX_TOPICS or count != different:
                raise BagError(
                    f"{file}: table {name} has {count} rows, {different} of them with numbers of "
                    f"their own; expected at most {_MAX_TOPICS}, all with one"
                )
    finally:
        base.close()


# --- Unpacking -----------------------------------------------------------------------------------


def bound_unpacking() -> None:
    """Let rosbags unpack a chunk of MCAP to the size that it claims and no further.

    It unpacks whole chunks before it compares sizes.
    """
    from rosbags.rosbag2 import storage_mcap

    storage_mcap.DECOMPRESSORS["zstd"] = lambda data, size: unpack(data, size, "zstd")
    storage_mcap.DECOMPRESSORS["lz4"] = lambda data, size: unpack(data, size, "lz4")


def unpack(data: bytes, size: int, kind: str) -> bytes:
    """Unpack to at most one byte more than `size`, which must be that of a chunk.

    Raises:
        ValueError: no chunk is so large, or the data are not packed so.
    """
    if not 0 <= size <= MAX_CHUNK_BYTES:
        raise ValueError(f"a chunk claims {size} bytes, expected at most {MAX_CHUNK_BYTES}")
    try:
        if kind == "lz4":
            from lz4.frame import LZ4FrameDecompressor

            return bytes(LZ4FrameDecompressor().decompress(data, max_length=size + 1))
        from rosbags.rosbag2 import storage_mcap

        if hasattr(storage_mcap, "zstd"):
            whole = storage_mcap.zstd.ZstdDecompressor()
            return bytes(whole.decompress(data, max_length=size + 1))
        import zstandard  # of rosbags 0.11.0

        return bytes(zstandard.ZstdDecompressor().stream_reader(data).read(size + 1))
    except ImportError as error:
        raise ValueError(f"a chunk of {kind} needs its package ({error})") from error
    except (RuntimeError, ValueError, EOFError) as error:
        raise ValueError(f"a chunk is no {kind} ({error})") from error
    except Exception as error:  # ZstdError of three packages
        if type(error).__name__ != "ZstdError":
            raise
        raise ValueError(f"a chunk is no {kind} ({error})") from error


def _unpack_file(source: Path, target: Path) -> None:
    limit = max(_LARGE_BYTES, _LARGEST_RATIO * source.stat().st_size)
    from rosbags.rosbag2 import storage_mcap

    written = 0
    try:
        with contextlib.ExitStack() as stack:
            packed = stack.enter_context(source.open("rb"))
            if hasattr(storage_mcap, "zstd"):
                stream = stack.enter_context(storage_mcap.zstd.open(packed, "rb"))
            else:
                import zstandard

                stream = zstandard.ZstdDecompressor().stream_reader(packed)
            made = stack.enter_context(target.open("wb"))
            while block := stream.read(1 << 20):
                written += len(block)
                if written > limit:
                    raise BagError(
                        f"{source}: unpacks to more than {limit} bytes; no recording shrinks so"
                    )
                made.write(block)
    except BagError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BagError(
            f"{source}: cannot be unpacked ({error}); copy it again, or try: zstd -d {source.name}"
        ) from error
