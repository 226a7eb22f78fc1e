"""The oldest dependencies that setup.py allows: run as a program, it prints what pip installs.

It runs before anything is installed, so with the standard library alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SETUP = Path(__file__).parents[2] / "setup.py"
LISTS = (
    "CORE",
    "COMFORT",
    "VIDEO",
    "BAG",
    "DEVICES",
    "FACE",
    "STUDY",
    "OSC",
    "SERVOS",
    "SPEECH",
    "DRACO",
    "TEST",
)
# What the tests without torch take from the list of developers.
MORE = {"DEV": ("setuptools", "wheel")}


def read_lists() -> dict[str, list[str]]:
    """Return the requirements of setup.py by the name of their list, as they are written."""
    body = ast.parse(SETUP.read_text("utf-8")).body
    return {
        statement.targets[0].id: [
            item.value for item in statement.value.elts if isinstance(item, ast.Constant)
        ]
        for statement in body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.List)
    }


def list_lower_bounds() -> Iterator[str]:
    """Give `name==version` for each requirement; the version is the oldest allowed.

    Raises:
        ValueError: a requirement has no lower bound.
    """
    lists = read_lists()
    wanted = [line for name in LISTS for line in lists[name]]
    for name, packages in MORE.items():
        wanted += [line for line in lists[name] if line.startswith(packages)]
    for line in dict.fromkeys(wanted):
        match = re.fullmatch(r"([\w-]+)>=([\d.]+)(,<[\d.]+)?", line)
        if not match:
            raise ValueError(f"found {line!r} in setup.py, expected name>=version")
        yield f"{match[1]}=={match[2]}"


if __name__ == "__main__":
    print(*list_lower_bounds())
