"""What the kernel says about a process: memory, descriptors, threads, CPU time. Linux only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Vitals:
    """State of one process at one moment."""

    rss_mb: float
    open_files: int
    threads: int
    cpu_s: float


def read_vitals(pid: int) -> Vitals:
    """Read /proc; FileNotFoundError or ProcessLookupError where the process has ended."""
    root = Path("/proc", str(pid))
    fields = dict(line.split(":", 1) for line in (root / "status").read_text("utf-8").splitlines())
    # The program's name, in parentheses, may hold spaces.
    times = (root / "stat").read_text("utf-8").rpartition(")")[2].split()
    return Vitals(
        rss_mb=int(fields["VmRSS"].split()[0]) / 1024,
        open_files=len(os.listdir(root / "fd")),
        threads=int(fields["Threads"]),
        cpu_s=(int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
    )
