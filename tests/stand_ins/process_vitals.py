"""What the kernel says about a process: memory, files, threads, CPU had and waited for. Linux."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Vitals:
    """State of one process at one moment."""

    rss_mb: float
    open_files: int
    threads: int
    cpu_s: float
    waited_s: float  # of all its threads, for a CPU that others had
    at_s: float  # monotonic

    def wait_share(self, earlier: Vitals) -> float:
        """Return the share of the time since then in which it waited for a CPU."""
        return (self.waited_s - earlier.waited_s) / max(self.at_s - earlier.at_s, 1e-9)


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
        waited_s=sum(_read_wait_ns(task) for task in (root / "task").iterdir()) / 1e9,
        at_s=time.monotonic(),
    )


def _read_wait_ns(task: Path) -> int:
    """The second number of schedstat (linux/Documentation/scheduler/sched-stats)."""
    try:
        return int((task / "schedstat").read_text("utf-8").split()[1])
    except (FileNotFoundError, ProcessLookupError):  # a thread that ended just now
        return 0
