"""Where the checkout is that the tests are of, and copies of it to build from."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def copy_package(folder: Path) -> Path:
    """Copy the files that make the package."""
    folder.mkdir()
    for name in ("setup.py", "setup.cfg", "package.xml", "colcon.pkg", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("dualtalker", "resource", "launch", "config", "ros2_ws", "training", "engines"):
        shutil.copytree(
            ROOT / name,
            folder / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "build", "install", "log"),
        )
    return folder


def run_apart(command: Sequence[str], cwd: Path, **environment: str) -> str:
    """Run a build; the checkout must not be on its path, or it would hide what is missing."""
    env = {**os.environ, **environment}
    env.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=env, timeout=170)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
