"""Files: written whole or not at all, never over what is not ours; read within bounds; digests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.errors import DualtalkerError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FOLDER = "a folder"
_BEYOND_FLOAT = re.compile(r"\d{309}")  # whole numbers of Python have no limit
RECORD_NAME = ".dualtalker"
_MAX_RECORD_BYTES = 1 << 26

# What a process that was killed leaves: a file of `written_whole`, a folder of `written_together`.
_PART = re.compile(r"\..*\.(\d+)\.part(?:\.[^.]*)?|\.part-(\d+)-.*", re.DOTALL)
_swept: set[Path] = set()  # folders that this process has looked through


# --- Writing -------------------------------------------------------------------------------------


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path`, of its suffix, for a file that takes its place if all goes well.

    Until then, and where anything is raised, `path` is what it was and nothing else is left. The
    file is on the disk before it takes the name, so that no loss of power leaves an empty one.
    An OSError on the file names `path`.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    _sweep(path.parent)
    try:
        with _held(part):
            yield part
            _flush(part)
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

    All lie in one folder, which is made; they move in the order given, while no other process
    moves its own there. Where anything is raised before, all paths are what they were and nothing
    else is left.
    """
    place = paths[0].parent
    place.mkdir(parents=True, exist_ok=True)
    _sweep(place)
    prefix = f".part-{os.getpid()}-"
    with tempfile.TemporaryDirectory(dir=place, prefix=prefix) as name, _held(Path(name)):
        folder = Path(name)
        yield folder
        for path in paths:
            _flush(folder / path.name)
        with _held(place, wait=True):
            for path in paths:
                os.replace(folder / path.name, path)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a temporary folder; where this process is killed, the next of ours removes it."""
    _sweep(Path(tempfile.gettempdir()))
    prefix = f".part-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix) as name, _held(Path(name)):
        yield Path(name)


def _flush(path: Path) -> None:
    """Bring a file, or those directly in a folder, to the disk."""
    for file in path.iterdir() if path.is_dir() else [path]:
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())


@contextlib.contextmanager
def _held(path: Path, wait: bool = False) -> Iterator[bool]:
    """Hold the lock of a file, which is made, or of a folder; give whether it was free.

    With `wait` until it is free. The lock of a process that dies is free again.
    """
    if fcntl is None:  # Windows
        yield False
        return
    made = 0 if path.is_dir() else os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW
    handle, free = os.open(path, os.O_RDONLY | os.O_NONBLOCK | made, 0o666), True
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:  # held, or a network drive without locks
            free = False
        yield free
    finally:
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove what writers that are dead left in a folder; once a process."""
    if folder in _swept:
        return
    _swept.add(folder)
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            found = _PART.fullmatch(entry.name)
            if found and _is_dead(int(found[1] or found[2])):
                # A process of another container has a number of its own, but the same lock.
                with _held(Path(entry.path)) as free:
                    if free and entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    elif free:
                        os.unlink(entry.path)


def _is_dead(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


class _Stopped(BaseException):
    """A signal came that asks the process to end."""


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a terminal that closes, unwind the program before they end it.

    Files that are half written are then removed, and child processes ended. For the `main` of a
    command, also as a decorator; signals that are handled or ignored already stay so.
    """
    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    taken = [number for number in wanted if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        taken = []
    owner = os.getpid()

    def stop(number: int, frame: object) -> None:
        if os.getpid() != owner:  # a fork
            end(number)
        for each in taken:
            signal.signal(each, signal.SIG_IGN)  # once is enough
        raise _Stopped(number)

    def end(number: int) -> None:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in taken:
        signal.signal(number, stop)
    try:
        yield
    except _Stopped as stopped:
        end(stopped.args[0])
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


# --- What is ours --------------------------------------------------------------------------------


def refuse_foreign(*outputs: Path, inputs: Iterable[Path | None] = ()) -> None:
    """Raise where an output would take the place of what no command of ours wrote there.

    What we wrote is known by its digest in the file `.dualtalker` beside it: a file that was
    changed since is somebody's work. A folder is ours where all in it is.

    Raises:
        DualtalkerError: what lies at an output is not ours, or is one of the `inputs`.
    """
    for path in outputs:
        if not os.path.lexists(path):
            continue
        for other in inputs:
            if other is not None and other.exists() and other.samefile(path):
                raise DualtalkerError(
                    f"{path} is read, and would be written over; give another output folder"
                )
        foreign = _find_foreign(path)
        if foreign is not None:
            raise DualtalkerError(
                f"{foreign} is in the way of what is to be written, and was not written by "
                "dualtalker, or changed since; move it away, or give another output"
            )


def _find_foreign(path: Path) -> Path | None:
    """Return the file at or below a path that is not ours, or the path where it is a link."""
    ours = _read_record(path.parent)
    files = sorted(path.rglob("*")) if path.is_dir() and not path.is_symlink() else [path]
    for file in files:
        if file.is_dir() and not file.is_symlink() and file != path:
            continue
        regular = file.is_file() and not file.is_symlink()
        if not regular or _record_line(file, path.parent, sha256_of_file(file)) not in ours:
            return file
    return None


def _read_record(folder: Path) -> set[str]:
    path = folder / RECORD_NAME
    if not os.path.lexists(path):
        return set()
    check_file(path, DualtalkerError, "the list of what was written there", _MAX_RECORD_BYTES)
    return set(path.read_text("utf-8", errors="replace").splitlines())


def _record_line(file: Path, folder: Path, digest: str) -> str:
    name = ascii(file.relative_to(folder).as_posix())[1:-1]
    return f"{digest}  {name}"


def record_output(made: Path, path: Path) -> None:
    """Note that a file, or all files of a folder, that is to lie at `path` is ours."""
    lines = []
    for file in sorted(made.rglob("*")) if made.is_dir() else [made]:
        if file.is_file():
            digest = sha256_of_file(file)
            lines.append(_record_line(path / file.relative_to(made), path.parent, digest) + "\n")
    with (path.parent / RECORD_NAME).open("a", encoding="ascii") as record:
        record.write("".join(lines))  # at once: other processes write here, too


def claim_folder(folder: Path, *signs: str) -> None:
    """Make a folder for a command that fills it with files of many names, or find it ours.

    Ours is what is new, empty, has our record, or a file like one of `signs` (as of `glob`), which
    only that command writes.

    Raises:
        DualtalkerError: it holds what is not ours.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / RECORD_NAME
    is_ours = os.path.lexists(record) or any(any(folder.glob(sign)) for sign in signs)
    found = next((path for path in folder.iterdir() if not _PART.fullmatch(path.name)), None)
    if found is not None and not is_ours:
        raise DualtalkerError(
            f"{folder} holds what was not written by dualtalker, {found.name} for one; expected a "
            "folder that is new or empty: give another"
        )
    with record.open("a", encoding="ascii"):
        pass


@contextlib.contextmanager
def written_output(path: Path) -> Iterator[Path]:
    """Give a path as `written_whole` does, for what a command writes.

    Raises:
        DualtalkerError: what lies at `path` is not ours (`refuse_foreign`).
    """
    refuse_foreign(path)
    with written_whole(path) as part:
        yield part
        record_output(part, path)


def write_output(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, as `written_output` does."""
    with written_output(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


# --- Reading -------------------------------------------------------------------------------------


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


def check_file(
    path: Path, error: type[DualtalkerError], expected: str, max_bytes: int | None = None
) -> None:
    """Check a file that a user names before it is opened (`tell_fault`).

    Raises:
        DualtalkerError: of type `error`: no regular file, or larger than `max_bytes`; `expected`
            says in words what file it should be.
    """
    fault = tell_fault(path)
    if fault is None and max_bytes is not None and (size := path.stat().st_size) > max_bytes:
        fault = f"{size} bytes, which are more than {max_bytes}"
    if fault is not None:
        raise error(f"{path}: {fault}; expected {expected}")


def read_json(path: Path, max_bytes: int) -> Any:
    """Read a JSON file strictly: no key twice in an object, no number that is NaN or beyond 1e308.

    Raises:
        ValueError: it is no regular file, larger than `max_bytes`, or not such JSON.
    """
    if path.exists() and (fault := tell_fault(path)):
        raise ValueError(fault)
    if (size := path.stat().st_size) > max_bytes:
        raise ValueError(f"{size} bytes, expected at most {max_bytes}")
    try:
        # Not msgspec's reader, which takes the last of two values of one key.
        record = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique_keys)
        for name, value in record.items() if isinstance(record, dict) else [("", record)]:
            _check_numbers(name, value)
    except RecursionError as error:
        raise ValueError(str(error)) from error
    return record


def _check_numbers(name: str, value: Any) -> None:
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError as error:  # NaN, or a fraction that overflows
        raise ValueError(f"{name}: {error}") from error
    if _BEYOND_FLOAT.search(text):
        raise ValueError(f"{name}: a number beyond 1e308")


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
