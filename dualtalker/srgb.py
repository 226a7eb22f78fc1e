"""The sRGB transfer curve of IEC 61966-2-1: glTF stores linear colors, rigs and pictures sRGB."""

from __future__ import annotations

import numpy as np


def linear_from_srgb(colors: np.ndarray) -> np.ndarray:
    """Return linear light in [0, 1] for 8-bit sRGB values."""
    value = colors / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: np.ndarray) -> np.ndarray:
    """Return 8-bit sRGB values for linear light, clipped to [0, 1]."""
    linear = np.clip(linear, 0, 1)
    value = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(value * 255).astype(np.uint8)
