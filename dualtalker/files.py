"""Files that others see whole or not at all, and the SHA-256 digests of what is in them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = "a folder"


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path`, of its suffix, for a file that takes its place if all goes well.

    Until then, and where anything is raised, `path` is what it was and nothing else is left. The
    file is on the disk before it takes the name, so that no loss of power leaves an empty one.
    An OSError on the file names `path`.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(part)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, as `written_whole` does."""
    with written_whole(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def written_together(*paths: Path) -> Iterator[Path]:
    """Give a folder beside `paths` for files of their names, which move if all goes well.

    All lie in one folder, which is made; they move in the order given. Where anything is raised
    before, all paths are what they were and nothing else is left.
    """
    place = paths[0].parent
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=".part-") as folder:
        yield Path(folder)
        for path in paths:
            os.replace(Path(folder) / path.name, path)


def tell_fault(path: Path) -> str | None:
    """Say why `path` is no file whose bytes can be read to an end; None where it is one.

    A pipe may never end, and a device such as /dev/zero has no end.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "no such file"
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISDIR(mode):
        return FOLDER
    return None if stat.S_ISREG(mode) else "not a regular file (a pipe or device?)"


def read_json(path: Path, max_bytes: int) -> Any:
    """Read a JSON file strictly: no key comes twice in an object, no number is NaN or infinite.

    Raises:
        ValueError: it is larger than `max_bytes`, or not such JSON.
    """
    if (size := path.stat().st_size) > max_bytes:
        raise ValueError(f"{size} bytes, expected at most {max_bytes}")
    try:
        # Not msgspec's reader, which takes the last of two values of one key.
        record = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique_keys)
        json.dumps(record, allow_nan=False)  # refuses NaN and numbers that overflow
    except RecursionError as error:
        raise ValueError(str(error)) from error
    return record


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"keys given twice: {sorted({n for n in names if names.count(n) > 1})}")
    return record


def sha256(content: str | bytes | np.ndarray) -> str:
    """Return the SHA-256 of bytes, of text in UTF-8 or of an array's values, in hexadecimal."""
    if isinstance(content, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(content).data).hexdigest()
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file, of which little is in memory at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_files(paths: Iterable[Path], root: Path) -> str:
    """Return the SHA-256 of the names below `root` and the contents of files, in this order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(bytes.fromhex(sha256_of_file(path)))
    return digest.hexdigest()
