"""Opens rosbag2 recordings (MCAP, sqlite3) without ROS, and says what is wrong with bad ones."""

from __future__ import annotations

import logging
import re
import sqlite3
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from dualtalker.bags.types import find_types, import_rosbags
from dualtalker.errors import BagError

MAX_CHUNK_BYTES = 1 << 28
STORAGE_SUFFIXES = (".mcap", ".db3")
# What rosbags raises on files that are cut off or damaged, besides its own errors.
_DAMAGE = (
    AssertionError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,  # a length that was overwritten
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    sqlite3.Error,
    struct.error,
)
_REPAIR = (
    "the recorder was probably killed before it closed the file. Repair it with "
    "`mcap recover {path} -o whole.mcap` (https://mcap.dev/guides/cli) or "
    "`ros2 bag reindex {folder}`, and evaluate the result"
)

log = logging.getLogger("dualtalker")


class BagMessage(NamedTuple):
    """One message and when it was recorded."""

    received_ns: int
    message: Any


@dataclass(frozen=True)
class Topic:
    """One topic of a bag."""

    name: str
    type_name: str
    count: int
    connections: tuple[Any, ...] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name} ({self.type_name}, {self.count} messages)"


class Bag:
    """An open bag; a context manager.

    `topics` are by name. BagError where the bag cannot be read, with what would mend it.
    """

    def __init__(self, path: Path) -> None:
        """Open a folder with metadata.yaml, or one .mcap or .db3 file."""
        self.path = path
        self._storage = find_storage(path)
        rosbag2 = import_rosbags().rosbag2
        self._damage = (*_DAMAGE, *_sqlite_errors(), rosbag2.ReaderError)
        _bound_chunks()
        try:
            _check_tables(self._storage)
            self._reader = rosbag2.Reader(self._storage)
            self._reader.open()
            self.topics = self._list_topics()
        except PermissionError:
            raise
        except self._damage as error:
            raise BagError(self._explain(error)) from error

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()

    def describe(self) -> str:
        """Return all topics with types and counts, for errors and reports."""
        return "; ".join(str(topic) for topic in self.topics.values()) or "nothing"

    def read(self, name: str) -> Iterator[BagMessage]:
        """Yield a topic's messages in the order of recording."""
        topic = self.topics[name]
        definition = next((c.msgdef.data for c in topic.connections if c.msgdef.data), "")
        store = find_types(topic.type_name, definition)
        from rosbags.serde import SerdeError

        try:
            for index, (_, received_ns, data) in enumerate(
                self._reader.messages(list(topic.connections))
            ):
                try:
                    message = store.deserialize_cdr(data, topic.type_name)
                except (SerdeError, *_DAMAGE) as error:
                    raise BagError(
                        f"{self.path}: message {index + 1} of {topic.name} is no "
                        f"{topic.type_name} ({error}); was the type changed since?"
                    ) from error
                yield BagMessage(received_ns, message)
        except self._damage as error:
            raise BagError(self._explain(error)) from error

    def read_raw(self, names: Collection[str]) -> Iterator[tuple[int, str, bytes]]:
        """Yield (time of recording in ns, topic, CDR) of several topics, in that order."""
        connections = [c for name in names for c in self.topics[name].connections]
        if not connections:  # which would mean all of them
            return
        try:
            for connection, received_ns, data in self._reader.messages(connections):
                yield received_ns, connection.topic, bytes(data)
        except self._damage as error:
            raise BagError(self._explain(error)) from error

    def _list_topics(self) -> dict[str, Topic]:
        found: dict[str, list[Any]] = {}
        for connection in self._reader.connections:
            found.setdefault(connection.topic, []).append(connection)
        topics = {}
        texts = [text for c in self._reader.connections for text in (c.topic, c.msgtype)]
        if odd := next((text for text in texts if not isinstance(text, str)), None):
            raise BagError(self._explain(TypeError(f"{odd!r:.80} is no name of a topic or type")))
        for name, connections in sorted(found.items()):
            types = sorted({connection.msgtype for connection in connections})
            if len(types) > 1:
                raise BagError(
                    f"{self.path}: {name} has messages of several types ({', '.join(types)}); "
                    "keep one with `ros2 bag convert`"
                )
            count = sum(connection.msgcount for connection in connections)
            topics[name] = Topic(name, types[0], count, tuple(connections))
        return topics

    def _explain(self, error: BaseException) -> str:
        text = str(error) or type(error).__name__
        folder = self._storage if self._storage.is_dir() else self._storage.parent
        mend = _REPAIR.format(path=self._storage, folder=folder)
        return f"{self.path} is no whole bag ({text}); {mend}"


def _bound_chunks() -> None:
    """Let rosbags unpack a zstd chunk of MCAP to the size that it claims and no further.

    It unpacks whole chunks before it compares sizes: some kilobytes may hold gigabytes.
    """
    from rosbags.rosbag2 import storage_mcap

    def unpack(data: bytes, size: int) -> bytes:
        if not 0 <= size <= MAX_CHUNK_BYTES:
            raise ValueError(f"a chunk claims {size} bytes, expected at most {MAX_CHUNK_BYTES}")
        return bytes(storage_mcap.zstd.ZstdDecompressor().decompress(data, max_length=size + 1))

    storage_mcap.DECOMPRESSORS["zstd"] = unpack


def _check_tables(storage: Path) -> None:
    """Refuse sqlite3 files whose tables compute their rows, of any size, instead of holding them.

    Raises:
        BagError: a table is a view, virtual or has generated columns.
    """
    for file in sorted(storage.glob("*.db3")) if storage.is_dir() else [storage]:
        if file.suffix != ".db3" or not file.is_file():
            continue
        base = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        try:
            rows = base.execute("SELECT name, type, sql FROM sqlite_master").fetchall()
        finally:
            base.close()
        for name, kind, sql in rows:
            if kind in ("view", "trigger") or re.search(r"\bAS\b|\bVIRTUAL\b", str(sql), re.I):
                raise BagError(f"{file}: {kind} {name!r} computes its rows; no recorder does that")


def _sqlite_errors() -> tuple[type[Exception], ...]:
    """Newer versions of rosbags read sqlite3 through apsw, whose errors are its own."""
    try:
        import apsw
    except ImportError:
        return ()
    return (apsw.Error,)


def find_storage(path: Path) -> Path:
    """Return what to open for a path that a user gave: a folder with metadata, or a file.

    Raises:
        BagError: there is no bag at the path; the text says what was found there.
    """
    if not path.exists():
        raise BagError(
            f"{path} does not exist; expected the folder of a rosbag2, or its .mcap or .db3 file"
        )
    if path.name == "metadata.yaml":
        path = path.parent
    if path.is_dir():
        return path if (path / "metadata.yaml").is_file() else _find_single(path)
    if path.suffix == ".bag":
        raise BagError(
            f"{path} is a bag of ROS 1; convert it: rosbags-convert --src {path} "
            f"--dst {path.with_suffix('')}"
        )
    if path.suffix not in STORAGE_SUFFIXES:
        raise BagError(
            f"{path} is no bag by its name; expected a folder with metadata.yaml, or a "
            f"{' or '.join(STORAGE_SUFFIXES)} file"
        )
    return path


def _find_single(folder: Path) -> Path:
    """Return the only storage file of a folder whose metadata.yaml is missing."""
    files = sorted(p for p in folder.iterdir() if p.suffix in STORAGE_SUFFIXES)
    if len(files) == 1:
        log.warning("%s has no metadata.yaml; %s is read alone", folder, files[0].name)
        return files[0]
    if files:
        names = ", ".join(file.name for file in files)
        raise BagError(
            f"{folder} has no metadata.yaml, which tells the order of its files ({names}); make "
            f"it anew with `ros2 bag reindex {folder}`, or give one of the files"
        )
    names = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "nothing"
    raise BagError(
        f"{folder} is no bag: it has no metadata.yaml and no "
        f"{' or '.join(STORAGE_SUFFIXES)} file, but {names}"
    )
