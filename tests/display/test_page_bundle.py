"""The page's own tests, and that what is committed is what its sources build."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from checkout import ROOT

WEB, PAGE = ROOT / "web", ROOT / "dualtalker" / "display" / "page"
NODE, NPM = shutil.which("node"), shutil.which("npm")


def read_version() -> int:
    done = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True)
    return int(done.stdout.lstrip("v").split(".")[0])


needs_node = pytest.mark.skipif(
    NODE is None or NPM is None or read_version() < 20, reason="no node 20 and npm here"
)


@needs_node
def test_the_pages_own_tests_pass():
    done = subprocess.run([NODE, "--test"], cwd=WEB, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "# fail 0" in done.stdout or "ℹ fail 0" in done.stdout
    assert "tests 0" not in done.stdout


@needs_node
@pytest.mark.slow
def test_the_sources_build_what_is_committed(tmp_path):
    copy = tmp_path / "web"
    shutil.copytree(WEB, copy, ignore=shutil.ignore_patterns("node_modules"))
    installed = subprocess.run(
        [NPM, "ci", "--no-audit", "--no-fund", "--prefer-offline"],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=150,
    )
    if installed.returncode and any(
        sign in installed.stderr
        for sign in ("ENOTFOUND", "ECONNREFUSED", "EAI_AGAIN", "ETIMEDOUT")
    ):
        pytest.skip("no package registry for three.js and esbuild here")
    assert installed.returncode == 0, installed.stderr
    out = tmp_path / "dualtalker" / "display" / "page"
    out.mkdir(parents=True)
    subprocess.run([NODE, "build.mjs"], cwd=copy, check=True, timeout=150)
    built = {path.name: path.read_bytes() for path in out.iterdir()}
    committed = {path.name: path.read_bytes() for path in PAGE.iterdir()}
    assert sorted(built) == sorted(committed)
    assert [name for name in built if built[name] != committed[name]] == []


def test_the_page_asks_nobody_else_and_names_its_parts():
    assert not [
        path.name
        for path in PAGE.iterdir()
        if path.suffix in (".html", ".css", ".js")
        and any(sign in path.read_text("utf-8") for sign in ("<script>", "style=", "eval("))
    ]
    assert "three.js" in (PAGE / "NOTICE.txt").read_text("utf-8")
    assert "MIT" in (PAGE / "NOTICE.txt").read_text("utf-8")
    assert sum(path.stat().st_size for path in PAGE.iterdir()) < 1_000_000
