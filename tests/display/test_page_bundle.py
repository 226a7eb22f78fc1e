"""The page's own tests, and that what is committed is what its sources build."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from checkout import ROOT

WEB, PAGE = ROOT / "web", ROOT / "dualtalker" / "display" / "page"
NODE, NPM = shutil.which("node"), shutil.which("npm")
OFFLINE = ("ENOTFOUND", "ECONNREFUSED", "EAI_AGAIN", "ETIMEDOUT", "ECONNRESET")


def run(*command, folder):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=170)


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """A copy of the sources with what they need; skips where that cannot be had."""
    if NODE is None or NPM is None:
        pytest.skip("no node and npm here")
    version = run(NODE, "--version", folder=WEB).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < 20:
        pytest.skip(f"node is {version}; the page's tests need 20")
    copy = tmp_path_factory.mktemp("page") / "web"
    shutil.copytree(WEB, copy, ignore=shutil.ignore_patterns("node_modules"))
    done = run(NPM, "ci", "--no-audit", "--no-fund", "--prefer-offline", folder=copy)
    if done.returncode and any(sign in done.stderr for sign in OFFLINE):
        pytest.skip("no package registry for three.js and esbuild here")
    assert done.returncode == 0, done.stderr
    return copy


@pytest.mark.slow
def test_the_pages_own_tests_pass(web):
    done = run(NODE, "--test", folder=web)
    failed = [line for line in done.stdout.splitlines() if line.strip().startswith("not ok")]
    assert done.returncode == 0 and not failed, failed or done.stdout[-2000:]
    assert "fail 0" in done.stdout and "tests 0" not in done.stdout


@pytest.mark.slow
def test_the_sources_build_what_is_committed(web, tmp_path):
    done = run(NODE, "build.mjs", tmp_path, folder=web)
    assert done.returncode == 0, done.stderr
    built = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_bytes() for path in PAGE.iterdir()}
    assert sorted(built) == sorted(committed)
    assert [name for name in built if built[name] != committed[name]] == []


def test_the_page_keeps_to_its_policy_and_names_what_it_holds():
    for path in PAGE.iterdir():
        if path.suffix == ".html":
            text = path.read_text("utf-8")
            assert "<script>" not in text and "style=" not in text and "http" not in text
    notice = (PAGE / "NOTICE.txt").read_text("utf-8")
    assert "three.js" in notice and "MIT" in notice
    assert sum(path.stat().st_size for path in PAGE.iterdir()) < 1_000_000
