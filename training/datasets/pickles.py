"""Reads pickles of numbers in plain containers, and refuses by name whatever else they ask for.

A pickle is a program. VOCASET is distributed as pickles, so its files are read once, here. An
allow-list of what may be called (`find_class`) is not enough: a dict may be given keys that take
for ever to hash. So this is Python's reader in its Python form, whose opcodes can be replaced.
Nothing of numpy's own unpickling runs: arrays are made from their bytes.
"""

from __future__ import annotations

import math
import mmap
import pickle
import pickletools
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from dualtalker.files import check_file
from training.data import CorpusError

MAX_DEPTH = 32  # containers within containers; the deepest file we know has 3
MAX_DIMENSIONS = 8
_NUMBER_KINDS = "biuf"  # bool, signed, unsigned, float
_CALLABLE = {
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "numpy.core.numeric": ("_frombuffer",),
    "numpy": ("ndarray", "dtype"),
    "_codecs": ("encode",),
    "collections": ("OrderedDict", "defaultdict"),
    "builtins": ("dict", "list", "set", "frozenset", "bytes"),
}


class PickleError(CorpusError):
    """The file is no pickle, is cut short, or asks for something that is not plain data."""


def load_pickle(path: Path | str) -> Any:
    """Return the plain data of a pickle of any protocol, also one that Python 2 wrote.

    Python 2's byte strings come as text (Latin-1), numpy scalars as numpy scalars, arrays as
    read-only arrays over the bytes of the file. Time and memory grow with the file's size alone.

    Raises:
        PickleError: it is broken, or not plain data; says what the file asked for.
    """
    check_file(Path(path), PickleError, "a pickle")
    try:
        # A map never gives more than there is, whatever length an opcode announces.
        with (
            open(path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as all_,
        ):
            data = _Reader(all_, len(all_)).load()
        _check_plain(data, set(), 0)
        return data
    except PickleError as error:
        raise PickleError(f"{path}: {error}") from error
    except OSError as error:
        raise PickleError(f"{path}: cannot be read ({error})") from error
    except _BROKEN as error:
        raise PickleError(
            f"{path}: broken or cut short ({type(error).__name__}: {error}): "
            "download it again and compare its size with the one stated at the source"
        ) from error


_BROKEN = (
    *(pickle.UnpicklingError, struct.error, EOFError, LookupError, ValueError, TypeError),
    *(AttributeError, OverflowError, MemoryError),
)


@dataclass(frozen=True)
class _Callable:
    """What the pickle gets for a global; `_Reader.load_reduce` knows what calling it means."""

    name: str


@dataclass
class _Dtype:
    """Stands for numpy.dtype: a type of numbers, whose byte order comes later."""

    dtype: np.dtype


@dataclass
class _Array:
    """Stands for an array until its state comes."""

    array: np.ndarray | None = None


class _Memo(dict):
    """What the file may name again, no larger than the file; arrays instead of their stand-ins."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def __getitem__(self, index: int) -> Any:
        found = super().__getitem__(index)
        return found.array if isinstance(found, _Array) and found.array is not None else found

    def __setitem__(self, index: int, item: Any) -> None:
        if index > self.size:
            raise PickleError(f"refused: memo index {index} in a file of {self.size} bytes")
        super().__setitem__(index, item)


_PythonReader: Any = pickle._Unpickler  # type: ignore[attr-defined]


class _Reader(_PythonReader):  # type: ignore[misc]
    """Python's reader of pickles, where it could call, change or hash what a file names."""

    def __init__(self, content: mmap.mmap, size: int) -> None:
        super().__init__(content, encoding="latin1")
        self.memo = _Memo(size)
        # Text that is copied, and entries that are: a file could name the same again and again.
        self.budget = 4 * size + 1024

    def find_class(self, module: str, name: str) -> _Callable:
        """Return the stand-in of a global; refuse by name whatever is not of plain data."""
        plain = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
        if name not in _CALLABLE.get(plain, ()):
            raise PickleError(
                f"refused: asks for {module}.{name}; only numpy arrays of numbers and plain "
                "containers are read. This is not a file of the data set: do not open it elsewhere"
            )
        return _Callable(name)

    def load_reduce(self) -> None:
        """Do what numpy and the containers call, and nothing else."""
        arguments, called = self.stack.pop(), self.stack.pop()
        match called, arguments:
            case _Callable("dict" | "OrderedDict"), ():
                self.append({})
            case _Callable("defaultdict"), () | (_Callable(),):
                self.append({})
            case _Callable("set"), (list() as entries,):
                self.append(set(self.take_keys(entries)))
            case _Callable("frozenset"), (list() as entries,):
                self.append(frozenset(self.take_keys(entries)))
            case _Callable("bytes"), ():  # how an empty array is written
                self.append(b"")
            case _Callable("encode"), (str() as text, "latin1"):
                self.append(self.take_bytes(text))
            case _Callable("dtype"), (str() as code, *_):
                self.append(_Dtype(_make_dtype(code)))
            case _Callable("_reconstruct"), (_Callable("ndarray"), *_):
                self.append(_Array())
            case _Callable("scalar"), (dtype, data):
                self.append(_make_array((), dtype, self.take_bytes(data), False)[()])
            case _Callable("_frombuffer"), (data, dtype, shape, order):
                self.append(_make_array(shape, dtype, self.take_bytes(data), order == "F"))
            case _:
                raise PickleError(f"refused: calls {_describe(called)} as numpy never does")

    def load_build(self) -> None:
        """Give an array or its type the state that numpy wrote, and no other object any."""
        state, target = self.stack.pop(), self.stack.pop()
        match target, state:
            case _Array(), ((shape, dtype, order, data) | (_, shape, dtype, order, data)):
                target.array = _make_array(shape, dtype, self.take_bytes(data), bool(order))
                self.append(target.array)
            case _Dtype(), (_, "<" | ">" | "|" | "=" as order, None, None, None, *_):
                target.dtype = target.dtype.newbyteorder(order)
                self.append(target)
            case _:
                raise PickleError(
                    f"refused: tries to change {_describe(target)} as numpy never does"
                )

    def load_dict(self) -> None:
        """Make a dict of keys and values."""
        items = self.pop_mark()
        self.append(dict(zip(self.take_keys(items[::2]), items[1::2], strict=True)))

    def load_setitem(self) -> None:
        """Put one value into a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self.top(dict)[self.take_keys([key])[0]] = value

    def load_setitems(self) -> None:
        """Put values into a dict."""
        items = self.pop_mark()
        self.top(dict).update(zip(self.take_keys(items[::2]), items[1::2], strict=True))

    def load_additems(self) -> None:
        """Put entries into a set."""
        entries = self.pop_mark()
        self.top(set).update(self.take_keys(entries))

    def load_frozenset(self) -> None:
        """Make a set that does not change."""
        self.append(frozenset(self.take_keys(self.pop_mark())))

    def load_bytearray8(self) -> None:
        """Take bytes; Python's own makes room for them before they come."""
        self.append(self.read(struct.unpack("<Q", self.read(8))[0]))

    def top(self, kind: type) -> Any:
        """Return the container that is filled, which must be of a kind."""
        if type(self.stack[-1]) is not kind:
            raise PickleError(f"refused: fills a {_describe(self.stack[-1])} as numpy never does")
        return self.stack[-1]

    def take_keys(self, entries: list[Any]) -> list[Any]:
        """Return entries that hash in no time: no tuples of tuples, no numbers made to collide."""
        self.spend(len(entries))
        for entry in entries:
            whole = isinstance(entry, int) and entry.bit_length() < 64
            if not whole and not isinstance(entry, str | bytes | float | np.generic | None):
                raise PickleError(f"refused: a key of type {_describe(entry)}")
        return entries

    def take_bytes(self, data: Any) -> bytes:
        """Return the bytes of an array; Python 2 wrote them as a string, which came as text."""
        if isinstance(data, str):
            self.spend(len(data))
            return data.encode("latin1")
        if not isinstance(data, bytes):
            raise PickleError(f"refused: array data of type {_describe(data)}; expected bytes")
        return data

    def spend(self, count: int) -> None:
        """Count what is copied."""
        self.budget -= count
        if self.budget < 0:
            raise PickleError("refused: uses the same text as array again and again")


def _replace_opcodes() -> None:
    """Let the reader run its own methods, and refuse by name what plain data never needs."""
    _Reader.dispatch = dict(_PythonReader.dispatch)
    refused = "PERSID BINPERSID EXT1 EXT2 EXT4 INST OBJ NEWOBJ NEWOBJ_EX NEXT_BUFFER"
    for opcode in pickletools.opcodes:
        own = vars(_Reader).get(f"load_{opcode.name.lower()}")
        if opcode.name in (*refused.split(), "READONLY_BUFFER"):

            def own(reader: _Reader, name: str = opcode.name) -> NoReturn:
                raise PickleError(f"refused: uses {name}, which plain data never needs")

        if own is not None:
            _Reader.dispatch[ord(opcode.code)] = own


_replace_opcodes()


def _make_dtype(code: str) -> np.dtype:
    """Return a type of numbers; refuse any other."""
    dtype = np.dtype(code) if len(code) <= 4 else None
    if dtype is None or dtype.kind not in _NUMBER_KINDS:
        raise PickleError(
            f"refused: an array of type {dtype}; only arrays of numbers are read "
            "(arrays of objects can hold anything)"
        )
    return dtype


def _make_array(shape: Any, dtype: Any, raw: bytes, fortran: bool) -> np.ndarray:
    """Return bytes as an array of the given shape; they must be there, to the last one."""
    if not isinstance(dtype, _Dtype):
        raise PickleError("refused: an array without a numeric type")
    if not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS:
        raise PickleError(f"refused: an array with more than {MAX_DIMENSIONS} dimensions")
    if not all(type(length) is int and 0 <= length < 1 << 63 for length in shape):
        raise PickleError("refused: an array of lengths that no memory has")
    needed = dtype.dtype.itemsize * math.prod(shape)
    if needed != len(raw):
        raise PickleError(
            f"an array of shape {list(shape)} {dtype.dtype} needs {needed} bytes, the file holds "
            f"{len(raw)}: download it again"
        )
    return np.frombuffer(raw, dtype.dtype).reshape(shape, order="F" if fortran else "C")


def _describe(item: Any) -> str:
    return item.name if isinstance(item, _Callable) else type(item).__name__.strip("_").lower()


def _check_plain(item: Any, seen: set[int], depth: int) -> None:
    """Refuse stand-ins that are left over, and deep nesting."""
    if depth > MAX_DEPTH:
        raise PickleError(f"refused: containers nested more than {MAX_DEPTH} deep")
    if isinstance(item, dict | list | tuple):
        if id(item) not in seen:
            seen.add(id(item))
            for entry in item.values() if isinstance(item, dict) else item:
                _check_plain(entry, seen, depth + 1)
    elif isinstance(item, _Callable | _Dtype | _Array):
        raise PickleError(f"refused: holds a {type(item).__name__}; expected plain data")
