"""A virtual environment with the package as installed, its core and ROS, and nothing else."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from lower_bounds import read_lists


def read_requirements(name: str) -> list[Requirement]:
    """Return a list of requirements of setup.py, such as CORE."""
    return [Requirement(line) for line in read_lists()[name]]


def leave_checkout() -> dict[str, str]:
    """Return the environment's variables without the checkout on Python's path."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@dataclass(frozen=True)
class BareEnvironment:
    """Where it is, and how programs run in it."""

    prefix: Path

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.prefix / "bin" / "python")

    @property
    def variables(self) -> dict[str, str]:
        """What programs in it need to see: ROS's libraries, and not the checkout."""
        return leave_checkout()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program of its `bin`, outside the checkout."""
        return subprocess.run(
            [str(self.prefix / "bin" / command[0]), *command[1:]],
            cwd=self.prefix, env=self.variables, capture_output=True, text=True, timeout=120,
        )  # fmt: skip


def make_bare_environment(prefix: Path, wheel: Path) -> BareEnvironment:
    """Install a wheel without its requirements, and link what CORE and ROS are made of."""
    venv.create(prefix, symlinks=True, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(prefix / "bin" / "python"), "install"]
    # Building in the checkout leaves metadata there, by which pip would take it for installed.
    options = ["--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, *options], check=True, env=leave_checkout())
    [site] = prefix.glob("lib/python*/site-packages")
    wanted = [requirement.name for requirement in read_requirements("CORE")]
    wanted += [
        found.metadata["Name"]
        for found in importlib.metadata.distributions()
        if found.metadata["Name"].startswith("ros-")
    ]
    for found in _find_all(wanted):
        for name in {path.parts[0] for path in found.files or ()} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(Path(str(found.locate_file(name))))
    return BareEnvironment(prefix)


def _find_all(names: Iterable[str]) -> list[importlib.metadata.Distribution]:
    """Return what is installed under these names, with all that it requires in turn."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        needs = [Requirement(text) for text in found[name].requires or ()]
        waiting += [
            need.name for need in needs if not need.marker or need.marker.evaluate({"extra": ""})
        ]
    return list(found.values())
