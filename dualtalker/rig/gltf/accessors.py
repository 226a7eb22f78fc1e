"""Reads numeric arrays out of a glTF buffer, checking every offset."""

from __future__ import annotations

from typing import Any

import numpy as np

from dualtalker.errors import RigError
from dualtalker.rig.gltf.compression import check_view
from dualtalker.rig.gltf.container import Buffer
from dualtalker.rig.gltf.format import COMPONENT_DTYPES, TYPE_WIDTHS, find_item

_LARGEST_STRIDE = 252  # bytes, by the specification
_LARGEST_SPAN = 1 << 27  # bytes; what lies between the rows is read, too


class AccessorReader:
    """Accessors of one document over its binary chunk."""

    def __init__(
        self, document: dict[str, Any], buffer: Buffer, max_count: int, file_name: str
    ) -> None:
        """max_count bounds the vertices of an accessor; indices may be twelve times as many."""
        self.document, self.file_name = document, file_name
        self._buffer, self._max_count = buffer, max_count
        self._supplied: dict[int, np.ndarray] = {}

    def supply(self, index: int, values: np.ndarray) -> None:
        """Take the entries [count, width] of an accessor from elsewhere, not from the buffer."""
        accessor = find_item(self.document, "accessors", index)
        what = f"accessor {index}"
        dtype, width = _dtype(accessor, what), TYPE_WIDTHS.get(str(accessor.get("type")))
        shape = (self.count(index, whole=True), width)
        kinds = "iuf" if dtype.kind == "f" else "iu"
        if values.shape != shape or values.dtype.kind not in kinds:
            found = f"{values.dtype} {list(values.shape)}"
            raise RigError(f"{what}: found {found}; expected {dtype} {list(shape)}")
        self._supplied[index] = values.astype(dtype)

    def read_view(self, index: object, what: str) -> bytes:
        """Return all bytes of a buffer view. Raises RigError."""
        view = find_item(self.document, "bufferViews", index)
        length = _whole(view, "byteLength", what)
        return self._view(index, 0, np.dtype("u1"), length, 1, what).tobytes()

    def count(self, index: object, whole: bool = False) -> int:
        """Return how many entries an accessor says it has, without reading any of them."""
        count = _whole(find_item(self.document, "accessors", index), "count", f"accessor {index}")
        limit = self._max_count * (12 if whole else 1)
        if not 1 <= count <= limit:
            raise RigError(f"accessor {index}: found count {count}; expected 1 to {limit}")
        return count

    def read(
        self, index: object, kinds: str | tuple[str, ...], what: str, count: int | None = None
    ) -> np.ndarray:
        """Return an accessor as [count, width] float64.

        `kinds` are the glTF types allowed, `what` is how errors call it, and `count` is how many
        entries it must have. RigError on anything that lies outside of its buffer, is of another
        type, or is not finite.
        """
        what = f"{what} (accessor {index})"
        values = self._values(index, kinds, what, count)
        result = values.astype(np.float64)
        normalized = find_item(self.document, "accessors", index).get("normalized")
        if normalized and values.dtype.kind in "iu":
            # The specification's 3.6.2.2: both -128 and -127 are -1.
            result = np.maximum(result / np.iinfo(values.dtype).max, -1.0)
        if not np.isfinite(result).all():
            raise RigError(f"{what}: found NaN or infinite values; expected finite numbers")
        return result

    def read_whole(
        self, index: object, what: str, kind: str = "SCALAR", count: int | None = None
    ) -> np.ndarray:
        """Return the unsigned whole numbers of an accessor, [count] or [count, width]."""
        what = f"{what} (accessor {index})"
        values = self._values(index, kind, what, count, whole=True)
        if values.dtype.kind != "u":
            raise RigError(f"{what}: found {values.dtype}; expected unsigned whole numbers")
        return values[:, 0] if kind == "SCALAR" else values

    def _values(
        self,
        index: object,
        kinds: str | tuple[str, ...],
        what: str,
        expected: int | None,
        whole: bool = False,
    ) -> np.ndarray:
        accessor = find_item(self.document, "accessors", index)
        kinds = (kinds,) if isinstance(kinds, str) else kinds
        if accessor.get("type") not in kinds:
            raise RigError(f"{what}: found type {accessor.get('type')!r}; expected {kinds}")
        count = self.count(index, whole)
        if expected is not None and count != expected:
            raise RigError(f"{what}: found {count} entries; expected {expected} as in its mesh")
        width = TYPE_WIDTHS[accessor["type"]]
        dtype = _dtype(accessor, what)
        if index in self._supplied:
            values = self._supplied[index]
        elif "bufferView" in accessor:
            offset = _whole(accessor, "byteOffset", what, default=0)
            values = self._view(accessor["bufferView"], offset, dtype, count, width, what).copy()
        else:
            values = np.zeros((count, width), dtype=dtype)
        if "sparse" in accessor:
            self._fill(values, accessor["sparse"], what)
        return values

    def _fill(self, values: np.ndarray, sparse: dict[str, Any], what: str) -> None:
        count = _whole(sparse, "count", what)
        if not 1 <= count <= len(values):
            raise RigError(f"{what}: sparse count {count}; expected 1 to {len(values)}")
        places, entries = sparse["indices"], sparse["values"]
        dtype = _dtype(places, what)
        offset = _whole(places, "byteOffset", what, default=0)
        if dtype.kind != "u":
            raise RigError(f"{what}: sparse indices are {dtype}; expected unsigned numbers")
        index = self._view(places["bufferView"], offset, dtype, count, 1, what).ravel()
        if index.max() >= len(values):
            raise RigError(f"{what}: sparse index {index.max()}; expected under {len(values)}")
        offset = _whole(entries, "byteOffset", what, default=0)
        values[index] = self._view(
            entries["bufferView"], offset, values.dtype, count, values.shape[1], what
        )

    def _view(
        self, index: object, offset: int, dtype: np.dtype[Any], count: int, width: int, what: str
    ) -> np.ndarray:
        """Rows [count, width] of a buffer view from a byte offset."""
        view = find_item(self.document, "bufferViews", index)
        check_view(self.document, view, self.file_name)
        buffer = find_item(self.document, "buffers", view.get("buffer"))
        if view["buffer"] != 0 or "uri" in buffer:
            raise RigError(
                f"{what}: its data lies outside of the file; export one self-contained .glb"
            )
        size = min(self._buffer.size, _whole(buffer, "byteLength", what))
        start = _whole(view, "byteOffset", what, default=0)
        length = _whole(view, "byteLength", what)
        row = dtype.itemsize * width
        stride = _whole(view, "byteStride", what, default=row)
        if count <= 1:  # no second row lies a stride away
            stride = row
        if stride > max(row, _LARGEST_STRIDE):
            raise RigError(
                f"{what}: byteStride {stride}; expected at most {_LARGEST_STRIDE}: the file is "
                "damaged"
            )
        needed = offset + (count - 1) * stride + row
        if start + length > size or needed > length or stride < row:
            raise RigError(
                f"{what}: needs {needed} bytes of a view of {length} at byte {start}, "
                f"but the buffer has {size}: the file is damaged"
            )
        span = (count - 1) * stride + row
        if span > _LARGEST_SPAN:
            raise RigError(f"{what}: lies on {span} bytes; expected at most {_LARGEST_SPAN}")
        return np.ndarray(
            (count, width),
            dtype=dtype,
            buffer=self._buffer.read(start + offset, span),
            strides=(stride, dtype.itemsize),
        )


def _whole(holder: dict[str, Any], key: str, what: str, default: int | None = None) -> int:
    value = holder.get(key, default)
    if type(value) is not int or value < 0:
        raise RigError(f"{what}: {key} is {value!r}; expected a whole number from 0")
    return value


def _dtype(holder: dict[str, Any], what: str) -> np.dtype[Any]:
    component = holder.get("componentType")
    if component not in COMPONENT_DTYPES:
        raise RigError(
            f"{what}: componentType {component!r}; expected one of {list(COMPONENT_DTYPES)}"
        )
    return np.dtype(COMPONENT_DTYPES[component])
