"""The browser that `--kiosk` starts: found, started with the page, and ended."""

from __future__ import annotations

import os
import time

import pytest

from dualtalker.display import browser_open
from dualtalker.errors import DisplayError

URL = "http://127.0.0.1:7652/?audio=1"


def test_the_browser_shows_the_page_and_ends(tmp_path, monkeypatch):
    program = tmp_path / "google-chrome"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$NOTE"\nexec sleep 60\n')
    program.chmod(0o755)
    note = tmp_path / "note"
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("NOTE", str(note))
    monkeypatch.setattr("dualtalker.display.kiosk.CHROMIUM", ("google-chrome",))
    with browser_open(URL) as process:
        end_s = time.monotonic() + 20
        while not (note.exists() and URL in note.read_text()):
            assert time.monotonic() < end_s
            time.sleep(0.02)
        given = note.read_text().splitlines()
        profile = next(word for word in given if word.startswith("--user-data-dir="))
        assert os.path.isdir(profile.partition("=")[2])
        assert process.poll() is None
    assert process.poll() is not None
    assert "--kiosk" in given and "--autoplay-policy=no-user-gesture-required" in given
    assert given[-1] == URL
    assert not os.path.exists(profile.partition("=")[2])


def test_without_a_browser_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(DisplayError, match=r"apt install chromium.*127\.0\.0\.1"),
        browser_open(URL),
    ):
        pass


def test_a_browser_that_ends_at_once_is_told(tmp_path, monkeypatch):
    program = tmp_path / "google-chrome"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setattr("dualtalker.display.kiosk.CHROMIUM", ("google-chrome",))
    monkeypatch.setattr("dualtalker.display.kiosk._LOOK_S", 20.0)
    with pytest.raises(DisplayError, match=r"status 3.*screen.*root"), browser_open(URL):
        pass
