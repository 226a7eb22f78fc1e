"""Reads pickles of numbers in plain containers, and refuses by name whatever else they ask for.

A pickle is a program. VOCASET is distributed as pickles, so its files are read once, here, by an
interpreter that can make dict, list, tuple, set, text, numbers and numpy arrays of numbers, and
nothing else. Nothing of numpy's own unpickling runs: arrays are made from their bytes.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from training.data import CorpusError

MAX_DEPTH = 32  # containers within containers; the deepest file we know has 3
_NUMBER_KINDS = "biuf"  # bool, signed, unsigned, float

# Opcodes that pickles of plain data use. Left out: persistent ids, the extension registry,
# instances of classes (INST, OBJ, NEWOBJ) and buffers from elsewhere.
_REFUSED_OPCODES = {
    "PERSID",
    "BINPERSID",
    "EXT1",
    "EXT2",
    "EXT4",
    "INST",
    "OBJ",
    "NEWOBJ",
    "NEWOBJ_EX",
    "NEXT_BUFFER",
    "READONLY_BUFFER",
}


class PickleError(CorpusError):
    """The file is no pickle, is cut short, or asks for something that is not plain data."""


def load_pickle(path: Path | str) -> Any:
    """Return the plain data of a pickle of any protocol, also one that Python 2 wrote.

    Python 2's byte strings come as text (Latin-1), numpy scalars as numpy scalars, arrays as
    read-only arrays over the bytes of the file. Raises `PickleError`, which names what the file
    asked for, where that is not plain data, or says that the file is broken.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            _scan(path, _Capped(stream, size), size)
            stream.seek(0)
            return _restore(_Reader(_Capped(stream, size), size).load(), {}, 0)
    except PickleError as error:
        message = str(error)
        known = message.startswith(str(path))
        raise PickleError(message if known else f"{path}: {message}") from error
    except OSError as error:
        raise PickleError(f"{path}: cannot be read ({error})") from error
    except (
        pickle.UnpicklingError,
        ValueError,
        TypeError,
        EOFError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as error:
        raise PickleError(
            f"{path}: broken or cut short ({type(error).__name__}: {error}): "
            "download it again and compare its size with the one stated at the source"
        ) from error


class _Capped:
    """A file that never promises more bytes than it has, so that no size in it is believed."""

    def __init__(self, stream: io.BufferedReader, size: int) -> None:
        self._stream = stream
        self._size = size

    def read(self, count: int = -1) -> bytes:
        left = self._size - self._stream.tell()
        if count > left:
            raise PickleError(f"cut short: {count} more bytes announced, {left} are there")
        return self._stream.read(count)

    def readline(self) -> bytes:
        return self._stream.readline()

    def readinto(self, target: bytearray) -> int:
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)

    def tell(self) -> int:
        return self._stream.tell()


def _scan(path: Path, stream: _Capped, size: int) -> None:
    """Go through the file without running it; refuse what the reader must never meet."""
    for opcode, argument, _ in pickletools.genops(stream):  # type: ignore[arg-type]
        if opcode.name in _REFUSED_OPCODES:
            raise PickleError(f"{path}: refused: uses {opcode.name}, which plain data never needs")
        # A memo is a list as long as its largest index, so a tiny file could ask for gigabytes.
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > size:
            raise PickleError(f"{path}: refused: memo index {argument} in a file of {size} bytes")
        if opcode.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            _find(module, name)


class _Reader(pickle.Unpickler):
    """An unpickler whose only callables are the ones below."""

    def __init__(self, stream: _Capped, size: int) -> None:
        # Text of the file as bytes of arrays: at most once over, whatever the references.
        self.budget = [4 * size + 1024]
        super().__init__(stream, encoding="latin1")  # type: ignore[arg-type]

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name; refuse any that has none."""
        return _Callable(_find(module, name), self.budget)

    def persistent_load(self, pid: Any) -> Any:
        """Refuse: nothing lies outside the file."""
        raise PickleError("refused: asks for an object outside the file")


def _find(module: str, name: str) -> str:
    """Return which stand-in a global means; refuse by name whatever is not of plain data."""
    plain = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
    found = _GLOBALS.get((plain, name))
    if found is None:
        raise PickleError(
            f"refused: asks for {module}.{name}; only numpy arrays of numbers and plain "
            "containers are read. This is not a file of the data set: do not open it elsewhere"
        )
    return found


_GLOBALS = {
    ("numpy.core.multiarray", "_reconstruct"): "array",
    ("numpy.core.multiarray", "scalar"): "scalar",
    ("numpy.core.numeric", "_frombuffer"): "buffer",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("collections", "OrderedDict"): "dict",
    ("collections", "defaultdict"): "defaultdict",
    ("builtins", "dict"): "dict",
    ("builtins", "list"): "list",
    ("builtins", "set"): "set",
    ("builtins", "frozenset"): "frozenset",
    ("builtins", "bytes"): "bytes",
}
_CONTAINERS: dict[str, type] = {"dict": dict, "list": list, "set": set, "frozenset": frozenset}


class _Callable:
    """What the pickle gets for a global: it can be called, but neither changed nor looked into."""

    __slots__ = ("_budget", "_role")
    _role: str
    _budget: list[int]

    def __init__(self, role: str, budget: list[int]) -> None:
        object.__setattr__(self, "_role", role)
        object.__setattr__(self, "_budget", budget)

    def __setattr__(self, name: str, value: Any) -> None:
        raise PickleError(f"refused: tries to set {name} on {self._role}")

    def __setstate__(self, state: Any) -> None:
        raise PickleError(f"refused: tries to change {self._role}")

    def __call__(self, *arguments: Any) -> Any:
        if self._role in _CONTAINERS and all(type(entry) is list for entry in arguments):
            return _CONTAINERS[self._role](*arguments)
        if self._role == "defaultdict" and all(map(_role_of, arguments)):
            return {}
        if self._role == "bytes" and not arguments:  # how an empty array is written
            return b""
        if self._role == "encode" and len(arguments) == 2 and arguments[1] == "latin1":
            return _as_bytes(arguments[0], self._budget)
        if self._role == "dtype" and arguments:
            return _Dtype(arguments[0])
        if self._role == "array" and arguments and _role_of(arguments[0]) == "ndarray":
            return _Array(self._budget)
        if self._role == "scalar" and len(arguments) == 2:
            return _make_array((), arguments[0], arguments[1], False, self._budget)[()]
        if self._role == "buffer" and len(arguments) == 4:
            data, dtype, shape, order = arguments
            return _make_array(shape, dtype, data, order == "F", self._budget)
        raise PickleError(f"refused: calls {self._role} as numpy never does")


def _role_of(item: Any) -> str | None:
    return item._role if isinstance(item, _Callable) else None


class _Dtype:
    """Stands for numpy.dtype: takes the byte order, refuses everything that is not a number."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any) -> None:
        if not isinstance(code, str) or len(code) > 4:
            raise PickleError(f"refused: array type {code!r}")
        dtype = np.dtype(code)
        if dtype.kind not in _NUMBER_KINDS:
            raise PickleError(
                f"refused: an array of type {dtype}; only arrays of numbers are read "
                "(arrays of objects can hold anything)"
            )
        self.dtype = dtype

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) >= 5 else None
        if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise PickleError(
                "refused: an array type with fields; only arrays of numbers are read"
            )
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for an array until its state comes."""

    __slots__ = ("_budget", "array")

    def __init__(self, budget: list[int]) -> None:
        self._budget = budget
        self.array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise PickleError("refused: an array whose state is not numpy's")
        shape, dtype, fortran, data = state[-4:]
        self.array = _make_array(shape, dtype, data, bool(fortran), self._budget)


def _make_array(shape: Any, dtype: Any, data: Any, fortran: bool, budget: list[int]) -> np.ndarray:
    """Return data as an array of the given shape; its bytes must be there, to the last one."""
    if not isinstance(dtype, _Dtype):
        raise PickleError("refused: an array without a numeric type")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise PickleError(f"refused: array shape {shape!r}")
    count = 1
    for length in shape:
        count *= length
    raw = _as_bytes(data, budget)
    if len(shape) > 8 or count * dtype.dtype.itemsize != len(raw):
        raise PickleError(
            f"an array of shape {list(shape)} {dtype.dtype} needs "
            f"{count * dtype.dtype.itemsize} bytes, the file holds {len(raw)}: download it again"
        )
    return np.frombuffer(raw, dtype.dtype).reshape(shape, order="F" if fortran else "C")


def _as_bytes(data: Any, budget: list[int]) -> bytes:
    """Return the bytes of an array; Python 2 wrote them as a string, which came as text."""
    if isinstance(data, str):
        budget[0] -= len(data)
        if budget[0] < 0:
            raise PickleError("refused: uses the same text as array again and again")
        return data.encode("latin1")
    if isinstance(data, (bytes, bytearray)):
        return bytes(data)
    raise PickleError(f"refused: array data of type {type(data).__name__}; expected bytes")


def _restore(item: Any, seen: dict[int, Any], depth: int) -> Any:
    """Return the data with arrays in place of their stand-ins; refuse stand-ins left over."""
    if depth > MAX_DEPTH:
        raise PickleError(f"refused: containers nested more than {MAX_DEPTH} deep")
    if isinstance(item, _Array):
        if item.array is None:
            raise PickleError("refused: an array without content")
        return item.array
    if item is None or isinstance(item, (bool, int, float, str, bytes, np.generic, np.ndarray)):
        return item
    if id(item) in seen:
        return seen[id(item)]
    if isinstance(item, dict):
        seen[id(item)] = item
        for key in item:
            item[key] = _restore(item[key], seen, depth + 1)
        return item
    if isinstance(item, list):
        seen[id(item)] = item
        item[:] = [_restore(entry, seen, depth + 1) for entry in item]
        return item
    if isinstance(item, (tuple, set, frozenset)):
        restored = type(item)(_restore(entry, seen, depth + 1) for entry in item)
        seen[id(item)] = restored
        return restored
    raise PickleError(f"refused: holds a {type(item).__name__}; expected plain data")
