"""What reader and writer of glTF share: its numbers, its lists, and the color curve."""

from __future__ import annotations

from typing import Any

import numpy as np

from dualtalker.errors import RigError

GLB_MAGIC, JSON_CHUNK, BIN_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942
TRIANGLES = 4  # mode of a primitive
FLOAT, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5123, 5125  # component types
COMPONENT_DTYPES = {
    5120: "<i1",
    5121: "<u1",
    5122: "<i2",
    UNSIGNED_SHORT: "<u2",
    UNSIGNED_INT: "<u4",
    FLOAT: "<f4",
}
TYPE_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


def find_item(document: dict[str, Any], kind: str, index: object) -> dict[str, Any]:
    """Return an object of one of the document's lists; RigError where there is none."""
    items = document.get(kind, [])
    if type(index) is not int or not isinstance(items, list) or not 0 <= index < len(items):
        raise RigError(f"{kind}[{index!r}] does not exist; the file has {len(items)}")
    if not isinstance(items[index], dict):
        raise RigError(f"{kind}[{index}] is not an object")
    return items[index]


# glTF stores linear colors, rigs and pictures sRGB: the transfer curve of IEC 61966-2-1.


def linear_from_srgb(colors: np.ndarray) -> np.ndarray:
    """Return linear light in [0, 1] for 8-bit sRGB values."""
    value = colors / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: np.ndarray) -> np.ndarray:
    """Return 8-bit sRGB values for linear light, clipped to [0, 1]."""
    linear = np.clip(linear, 0, 1)
    value = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(value * 255).astype(np.uint8)
