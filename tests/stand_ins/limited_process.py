"""Runs a command on hostile input, which it must refuse within 10 s of CPU time and 1 GB."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CPU_S = 10
MEMORY_BYTES = 1 << 30
WALL_S = 120  # where others keep the machine busy

_LIMIT = f"""
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_CPU, ({CPU_S}, {CPU_S}))
resource.setrlimit(resource.RLIMIT_DATA, ({MEMORY_BYTES}, {MEMORY_BYTES}))
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def run_limited(module: str, *arguments: str | Path, folder: Path) -> tuple[int, str]:
    """Run `python -m module arguments` in `folder` under the limits.

    Returns its status and all that it said. Threads of OpenBLAS would reserve more than 1 GB.
    """
    command = [sys.executable, "-c", _LIMIT, module, *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=WALL_S,
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace")


def refuse(module: str, *arguments: str | Path, folder: Path) -> str:
    """Run as `run_limited`; return the error. No traceback is shown, and nothing written."""
    before = sorted(folder.rglob("*"))
    status, said = run_limited(module, *arguments, folder=folder)
    assert status == 2, (status, said[-2000:])
    assert "Traceback" not in said, said[-2000:]
    assert sorted(folder.rglob("*")) == before
    return said
