"""JSON of earlier runs and the archives of a corpus, read within limits: both may be damaged."""

from __future__ import annotations

import tokenize
import zipfile
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from dualtalker.errors import DualtalkerError
from dualtalker.files import read_json, tell_fault

MAX_RECORD_BYTES = 1 << 28
MAX_MEASURES_BYTES = 1 << 31

# What broken archives of arrays raise in numpy and zipfile.
ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    ValueError,
    TypeError,
    KeyError,
    OSError,
    EOFError,
    SyntaxError,
    OverflowError,
    MemoryError,
    tokenize.TokenError,  # numpy tries to mend headers of Python 2
)

_Converted = TypeVar("_Converted")


class CorpusError(DualtalkerError):
    """Training data is missing, broken or of another kind than expected."""


class _ShardName(msgspec.Struct):
    file: str
    sha256: str


class Index(msgspec.Struct):
    """What is used of index.json, by type."""

    digest: str
    shards: list[_ShardName]


class _Row(msgspec.Struct):
    """What a shard's JSON tells of a clip, by type."""

    name: str
    duration_s: float
    paired: bool
    motion_channels: list[str]
    phones: list[tuple[str, float, float]] | None
    transcript: str | None
    style: str
    speaker: str
    source: str
    split: str


class Shard(msgspec.Struct):
    """What is used of a shard's JSON, by type."""

    sha256: str
    clips: list[_Row]


def read_rows(archive: Path) -> list[dict[str, Any]]:
    """Return what is told of each clip of a shard. Raises `CorpusError` where it is broken."""
    path = archive.with_suffix(".json")
    record = read_record(path)
    check_record(path, record, Shard)
    return list(record["clips"])


def read_record(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file of ours. Raises `CorpusError`."""
    try:
        record = read_json(path, MAX_RECORD_BYTES)
        if not isinstance(record, dict):
            raise ValueError(f"{type(record).__name__}, expected an object")
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"{path} is not JSON of a corpus ({error}): write the corpus again"
        ) from error
    return record


def check_record(path: Path, record: dict[str, Any], kind: type[_Converted]) -> _Converted:
    """Return what of a record is used, by type. Raises `CorpusError` naming the field."""
    try:
        return msgspec.convert(record, kind)
    except msgspec.ValidationError as error:
        raise CorpusError(f"{path}: {error}: write the corpus again") from error


def read_earlier(
    path: Path, kind: type[_Converted], error: type[DualtalkerError], mend: str
) -> _Converted:
    """Return the JSON that an earlier run of a command wrote, by type.

    Raises:
        DualtalkerError: of type `error`: it is no JSON or of another kind; `mend` says what to do.
    """
    try:
        return msgspec.convert(read_json(path, MAX_RECORD_BYTES), kind)
    except (OSError, ValueError, msgspec.DecodeError) as fault:
        raise error(f"{path} is not as it was written ({fault}): {mend}") from fault


def open_archive(path: Path) -> Any:
    """Open an .npz as we write it; no array in it unpacks to more than lies there.

    Raises:
        ARCHIVE_ERRORS: it is broken, compressed or no regular file.
    """
    if fault := tell_fault(path):
        raise ValueError(fault)
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("its arrays are compressed, which ours never are")
    return np.load(path, allow_pickle=False)


def open_measures(path: Path) -> Any:
    """Open an .npz of measurements, which may be compressed but not unpack to over 2 GiB.

    Raises:
        ARCHIVE_ERRORS: it is broken, too large or no regular file.
    """
    if fault := tell_fault(path):
        raise ValueError(fault)
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MAX_MEASURES_BYTES:
        raise ValueError(f"its arrays are {size >> 20} MiB, expected at most 2048")
    return np.load(path, allow_pickle=False)


def demand_array(arrays: Any, name: str, kind: Any, dimensions: int) -> np.ndarray:
    """Return an array of an archive; ValueError where it is of another kind."""
    array = arrays[name]
    if not isinstance(array, np.ndarray) or array.dtype != kind or array.ndim != dimensions:
        raise ValueError(f"{name} is no array of the kind that we write")
    return np.asarray(array)
