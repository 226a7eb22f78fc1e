"""Opens rosbag2 recordings (MCAP, sqlite3) without ROS, and says what is wrong with bad ones."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from dualtalker.bags.limits import (
    MAX_CHUNK_BYTES,
    MAX_MESSAGES,
    bound_unpacking,
    checked_storage,
    unpack,
)
from dualtalker.bags.types import find_types, import_rosbags
from dualtalker.errors import BagError

STORAGE_SUFFIXES = (".mcap", ".db3")
_TOLD = 50  # topics in one line
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
        bound_unpacking()
        with contextlib.ExitStack() as stack:
            try:
                storage = stack.enter_context(checked_storage(self._storage))
                self._reader = rosbag2.Reader(storage)
                self._reader.open()
                stack.callback(self._reader.close)
                self._packed = self._reader.compression_mode == "message"
                self._files = _read_by_records(self._reader.storage)
                self.topics = self._list_topics()
            except PermissionError:
                raise
            except self._damage as error:
                raise BagError(self._explain(error)) from error
            self._open = stack.pop_all()

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def describe(self) -> str:
        """Return all topics with types and counts, for errors and reports."""
        told = [str(topic) for topic in self.topics.values()]
        more = [f"and {len(told) - _TOLD} more topics"] if len(told) > _TOLD else []
        return "; ".join(told[:_TOLD] + more) or "nothing"

    def read(self, name: str) -> Iterator[BagMessage]:
        """Yield a topic's messages in the order of recording."""
        topic = self.topics[name]
        known = [*topic.connections, *(c for file in self._files for c in file.connections)]
        texts = (c.msgdef.data for c in known if c.msgtype == topic.type_name)
        definition = next(filter(None, texts), "")
        store = find_types(topic.type_name, definition)
        from rosbags.serde import SerdeError

        try:
            for index, (_, received_ns, data) in enumerate(self._messages(topic.connections)):
                if index == MAX_MESSAGES:
                    raise BagError(
                        f"{self.path}: {topic.name} holds more than {MAX_MESSAGES} messages; take "
                        "a part of it: ros2 bag convert, or mcap filter"
                    )
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
            for connection, received_ns, data in self._messages(connections):
                yield received_ns, connection.topic, bytes(data)
        except self._damage as error:
            raise BagError(self._explain(error)) from error

    def _messages(self, connections: Collection[Any]) -> Iterator[tuple[Any, int, bytes]]:
        mode = self._reader.storage.metadata
        if self._packed:  # rosbags would unpack to any size
            self._reader.storage.metadata = mode._replace(compression_mode=None)
        for connection, received_ns, data in self._reader.messages(list(connections)):
            yield connection, received_ns, _unpack_message(data) if self._packed else data

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


def _unpack_message(data: bytes) -> bytes:
    unpacked = unpack(bytes(data), MAX_CHUNK_BYTES, "zstd")
    if len(unpacked) > MAX_CHUNK_BYTES:
        raise ValueError(f"a message unpacks to more than {MAX_CHUNK_BYTES} bytes")
    return unpacked


def _read_by_records(storage: Any) -> list[Any]:
    """Return the files of a bag; those of MCAP whose index lacks something are read whole instead.

    A writer may leave out the summary, what repeats the channels in it, or the messages' index.
    """
    files = getattr(storage, "storages", [storage])
    for file in (f for f in files if hasattr(f, "meta_scan")):
        counted = {number for number, count in _counts(file).items() if count}
        indexed = all(chunk.message_index_offsets for chunk in file.chunks)
        if file.chunks and indexed and counted <= {c.id for c in file.connections}:
            continue
        file.chunks.clear()
        file.meta_scan()
        counts = _counts(file)
        file.connections = [c._replace(msgcount=counts.get(c.id, 0)) for c in file.connections]
        # In the order of time, which rosbags wants of the records.
        file.messages = partial(_scan_messages, file)
    return files


def _counts(file: Any) -> dict[int, int]:
    return dict(file.statistics.channel_message_counts) if file.statistics else {}


def _scan_messages(
    file: Any, connections: Collection[Any], start: int | None = None, stop: int | None = None
) -> list[tuple[Any, int, bytes]]:
    return sorted(file.messages_scan(connections, start, stop), key=lambda found: found[1])


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
