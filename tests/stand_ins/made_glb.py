"""Files of binary glTF from a JSON document and bytes, and changes to those that exist."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FLOAT, SHORT, UNSIGNED_BYTE, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5122, 5121, 5123, 5125
COMPONENTS = {"f4": FLOAT, "i1": 5120, "u1": UNSIGNED_BYTE, "i2": SHORT, "u2": UNSIGNED_SHORT}
COMPONENTS["u4"] = UNSIGNED_INT
KINDS = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


def write_container(path: Path, document: dict[str, Any], binary: bytes = b"") -> Path:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    total = 20 + len(text) + (8 + len(binary) if binary else 0)
    content = struct.pack("<IIIII", 0x46546C67, 2, total, len(text), 0x4E4F534A) + text
    if binary:
        content += struct.pack("<II", len(binary), 0x004E4942) + binary
    path.write_bytes(content)
    return path


def read_container(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    return json.loads(content[20 : 20 + length]), content[28 + length :]


def edit_glb(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite the JSON of a .glb with consistent lengths."""
    document, binary = read_container(path)
    change(document)
    write_container(path, document, binary)


def set_in(*keys_and_value):
    """A change that puts a value where the keys before it lead."""
    *keys, last, value = keys_and_value

    def change(document):
        place = document
        for key in keys:
            place = place[key]
        place[last] = value

    return change


class Accessors:
    """Collects arrays as the accessors of a document with one buffer."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, array: np.ndarray) -> int:
        content = np.ascontiguousarray(array).tobytes()
        start = len(self.data)
        self.data += content + b"\0" * (-len(content) % 4)
        self.views.append({"buffer": 0, "byteOffset": start, "byteLength": len(content)})
        return len(self.views) - 1

    def add(self, array: np.ndarray, **more: Any) -> int:
        """Add [count] or [count, width]; `more` such as normalized=True goes into the accessor."""
        rows = np.ascontiguousarray(array).reshape(len(array), -1)
        self.accessors.append(
            {
                "bufferView": self.view(rows),
                "componentType": COMPONENTS[rows.dtype.str[1:]],
                "count": len(rows),
                "type": KINDS[rows.shape[1]],
                **more,
            }
        )
        return len(self.accessors) - 1

    def add_sparse(self, array: np.ndarray, places: np.ndarray, **more: Any) -> int:
        """Add [count, width] of which only the rows at `places` are stored; others are zero."""
        self.accessors.append(
            {
                "componentType": COMPONENTS[array.dtype.str[1:]],
                "count": len(array),
                "type": KINDS[array.shape[1]],
                "sparse": {
                    "count": len(places),
                    "indices": {
                        "bufferView": self.view(places.astype("<u2")),
                        "componentType": UNSIGNED_SHORT,
                    },
                    "values": {"bufferView": self.view(array[places])},
                },
                **more,
            }
        )
        return len(self.accessors) - 1

    def document(self, nodes: list[dict[str, Any]], mesh: dict[str, Any], **more: Any) -> dict:
        return {
            "asset": {"version": "2.0"},
            "scenes": [{"nodes": [0]}],
            "nodes": nodes,
            "meshes": [mesh],
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.data)}],
            **more,
        }
