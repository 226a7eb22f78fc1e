"""Starts a browser that shows one page on the whole screen, and ends it again."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from dualtalker.errors import DisplayError

# Chromium's relatives take the same options; without them a page may not sound before a touch.
CHROMIUM = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "brave-browser",
)
_OPTIONS = (
    "--kiosk",
    "--autoplay-policy=no-user-gesture-required",
    "--no-first-run",
    "--noerrdialogs",
    "--disable-session-crashed-bubble",
    "--disable-translate",
)
# A browser that cannot show anything, as without a screen or as root, ends within so much.
_LOOK_S = 2.0


@contextmanager
def browser_open(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Have a browser show `url` on the whole screen in the `with`, with a profile of its own.

    Raises:
        DisplayError: none of the browsers is installed, or the one that is ends at once.
    """
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if program is None:
        raise DisplayError(
            f"--kiosk found no browser among {', '.join(CHROMIUM)}: apt install chromium, or "
            f"open {url} yourself"
        )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, *_OPTIONS, f"--user-data-dir={profile}", url]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _check(process, program, url)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _check(process: subprocess.Popen[bytes], program: str, url: str) -> None:
    try:
        status = process.wait(_LOOK_S)
    except subprocess.TimeoutExpired:
        return
    raise DisplayError(
        f"--kiosk: {program} ended at once (status {status}). It needs a screen (DISPLAY or "
        "WAYLAND_DISPLAY) and a user other than root; to see what it says: "
        f"{program} --kiosk '{url}'"
    )
