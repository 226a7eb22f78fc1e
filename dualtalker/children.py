"""Runs a module of ours on files of others in a child process with limits on time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

WALL_S = 60.0  # a machine may be busy; what counts is CPU time


def run_child(module: str, arguments: Sequence[str], content: bytes) -> tuple[int, bytes, str]:
    """Run `python -m module arguments` with `content` as its input.

    The child calls `limit_self` once its imports are done. Returns its status, negative where a
    signal or the wall time ended it, its output, and what it said besides.
    """
    # The child must find this very package, wherever its parent has it from.
    paths = os.pathsep.join(path for path in sys.path if path)
    try:
        child = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
            input=content,
            capture_output=True,
            timeout=WALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1, b"", ""
    return child.returncode, child.stdout, child.stderr.decode(errors="replace").strip()


def limit_self(cpu_s: int, memory_bytes: int) -> None:
    """Limit this process's CPU time and memory; more of the first ends it by a signal."""
    try:
        import resource
    except ImportError:  # Windows: the parent's limit of wall time holds
        return
    limits = ((resource.RLIMIT_CPU, cpu_s), (resource.RLIMIT_DATA, memory_bytes))
    for kind, limit in (*limits, (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, limit))
