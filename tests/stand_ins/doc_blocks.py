"""Code blocks of the pages, and an environment in which they run as a reader's would. No tests."""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest.mock import patch

from checkout import ROOT

_BLOCK = re.compile(
    r"(?:^<!-- needs (?P<needs>[^>]+?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One block; `needs` says what a machine must have to run it, where a test has it not."""

    page: str
    line: int
    language: str
    text: str
    needs: str

    @property
    def commands(self) -> list[list[str]]:
        """The commands of a shell block, as words; those that `&` and `;` part stand alone."""
        joined = self.text.replace("\\\n", " ")
        lines = [line for line in joined.splitlines() if line.strip()]
        words = [shlex.split(line, comments=True) for line in _join_quoted(lines)]
        return [part for line in words for part in _split(line)]

    @property
    def stated(self) -> list[str]:
        """The block's lines with the reader's quotes, one a command."""
        return [line for line in self.text.splitlines() if line.strip()]


def _join_quoted(lines: list[str]) -> list[str]:
    """Join lines that one pair of double quotes spans."""
    joined: list[str] = []
    for line in lines:
        if joined and joined[-1].count('"') % 2:
            joined[-1] += " " + line
        else:
            joined.append(line)
    return joined


def _split(words: list[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word in ("&&", ";", "&", "|"):
            parts.append([])
        elif word.endswith(";"):
            parts[-1].append(word[:-1])
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]


def read_blocks(path: Path) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    text = path.read_text("utf-8")
    name = path.relative_to(ROOT).as_posix()
    return [
        Block(
            name,
            text.count("\n", 0, match.start()) + 1,
            match["language"],
            match["text"],
            match["needs"] or "",
        )
        for match in _BLOCK.finditer(text)
    ]


@cache
def read_entry_points() -> dict[str, str]:
    """Return the installed commands, {name: "module:function"}, as setup.py has them."""
    text = (ROOT / "setup.py").read_text("utf-8")
    return dict(re.findall(r'"(\w+) = ([\w.]+:\w+)"', text))


@cache
def read_options(*command: str) -> frozenset[str]:
    """Return the long options that `python -m MODULE [SUBCOMMAND] --help` lists."""
    module, *rest = command
    output = io.StringIO()
    environment = patch.dict(os.environ, {"COLUMNS": "200"})
    arguments = patch.object(sys, "argv", [module, *rest, "--help"])
    with environment, arguments, contextlib.redirect_stdout(output):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            assert end.code in (0, None), output.getvalue()
    return frozenset(re.findall(r"(?<!\w)--?[a-z][\w.-]*", output.getvalue()))


# Runs the lines of its input, each a command `python -m MODULE ...`, as if by itself.
MODULES_RUNNER = """
import runpy, shlex, sys
if __name__ == "__main__":
    for line in sys.stdin:
        sys.argv = shlex.split(line, comments=True)[2:]
        try:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        except SystemExit as end:
            if end.code:
                sys.exit(f"{line}: {end.code}")
"""


class Desk:
    """A folder whose path has commands that run the checkout: `dualtalker`, nodes, `ros2 run`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._bin, self.modules = folder / ".bin", folder / ".modules"
        self._bin.mkdir()
        self.modules.mkdir()
        self._add("python", f'exec {sys.executable} "$@"')
        for name, target in read_entry_points().items():
            module, function = target.split(":")
            code = f"import sys; from {module} import {function}; sys.exit({function}())"
            self._add(name, f'exec {sys.executable} -c "{code}" "$@"')
        self._add("ros2", '[ "$1 $2" = "run dualtalker" ] && shift 2 && exec "$@"; exit 3')
        paths = [self.modules, ROOT, ROOT / "ros2_ws" / "src"]
        self.environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(self._bin), os.environ["PATH"]]),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(str(path) for path in paths),
        }

    def _add(self, name: str, body: str) -> None:
        path = self._bin / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def run(self, text: str, language: str = "bash") -> str:
        """Run a block as it stands; return what it prints."""
        return self._run(self._command(text, language), text)

    def run_modules(self, lines: list[str]) -> str:
        """Run commands `python -m ...` one after the other, importing torch once for all."""
        return self._run([sys.executable, "-c", MODULES_RUNNER], "\n".join(lines))

    def _run(self, command: list[str], text: str) -> str:
        done = subprocess.run(
            command,
            input=text,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=170,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
        return done.stdout

    def start(self, text: str, log: Path, language: str = "bash") -> subprocess.Popen:
        """Start a block that runs until it is stopped, its output in the file `log`."""
        with log.open("wb") as output:
            return subprocess.Popen(
                self._command(text, language),
                cwd=self.folder,
                env={**self.environment, "PYTHONUNBUFFERED": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _command(self, text: str, language: str) -> list[str]:
        if language == "python":
            return [sys.executable, "-c", text]
        assert language == "bash"
        # `exec` of one command: signals reach it, and not a shell around it.
        single = len(text.strip().splitlines()) == 1
        return ["bash", "-euo", "pipefail", "-c", f"exec {text}" if single else text]
