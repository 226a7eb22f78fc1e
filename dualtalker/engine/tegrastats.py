"""Power, clocks and temperature of a Jetson while something runs, through its `tegrastats`."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from typing import Any

import numpy as np

INTERVAL_MS = 200

# `VDD_IN 5023mW/4990mW`: now and average; rails are named by the module.
_POWER = re.compile(r"\b([A-Z][A-Z0-9_]+) (\d+)mW/\d+mW")
# `GR3D_FREQ 37%@[611]`: load and MHz of the GPU; the clock may be missing.
_GPU = re.compile(r"GR3D_FREQ (\d+)%(?:@\[?(\d+))?")
_RAM = re.compile(r"\bRAM (\d+)/(\d+)MB")
_HEAT = re.compile(r"\b(\w+)@(-?[\d.]+)C")


def parse_line(line: str) -> dict[str, float]:
    """Return what one line of tegrastats says: powers in mW, loads in %, MHz, MB, degrees C."""
    figures = {f"{rail} mW": float(now) for rail, now in _POWER.findall(line)}
    gpu = _GPU.search(line)
    if gpu:
        figures["GPU %"] = float(gpu[1])
        if gpu[2]:
            figures["GPU MHz"] = float(gpu[2])
    ram = _RAM.search(line)
    if ram:
        figures["RAM MB"] = float(ram[1])
    figures |= {f"{part} C": float(degrees) for part, degrees in _HEAT.findall(line)}
    return figures


class PowerMeter:
    """Collects tegrastats' lines inside a `with`; does nothing where there is no tegrastats."""

    def __init__(self, command: str = "tegrastats") -> None:
        self._path = shutil.which(command)
        self._lines: list[dict[str, float]] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> PowerMeter:
        if self._path is not None:
            self._process = subprocess.Popen(
                [self._path, "--interval", str(INTERVAL_MS)], stdout=subprocess.PIPE, text=True
            )
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._reader.join()

    def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(parse_line(line))

    def summary(self) -> dict[str, Any]:
        """Return mean and maximum of every figure seen; empty without tegrastats."""
        names = sorted({name for line in self._lines for name in line})
        result = {}
        for name in names:
            values = [line[name] for line in self._lines if name in line]
            result[name] = {"mean": float(np.mean(values)), "max": float(np.max(values))}
        return result
