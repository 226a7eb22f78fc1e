"""A PulseAudio server of the tests' own, with a null sink: what is played there can be recorded.

Needs Debian's `pulseaudio libasound2-plugins libportaudio2`; runs as any user, root too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = "libportaudio2 libasound2-plugins pulseaudio"
# Debian's place of ALSA's plug-in; elsewhere ALSA's own list of devices tells.
START_S = 20.0


def why_not():
    """Return what is missing here for a null sink, or "" where it can be had."""
    if find_spec("sounddevice") is None:
        return 'no sounddevice here; pip install ".[devices]"'
    if shutil.which("pulseaudio") is None:
        return f"no pulseaudio here; sudo apt install {PACKAGES}"
    try:
        import sounddevice  # noqa: F401
    except OSError as error:
        return f"{error}; sudo apt install {PACKAGES}"
    return ""


class NullSink:
    """The server; `kill` and `start` are the unplugging and the return of its devices."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._process: Any = None
        self.environment = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_SERVER": f"unix:{folder}/socket",
            "PULSE_SINK": "wire",
            "PULSE_SOURCE": "wire.monitor",
        }

    def start(self):
        (self._folder / "socket").unlink(missing_ok=True)
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1"]
        command += ["--use-pid-file=no", "--disallow-exit", "--log-target=stderr"]
        command += [
            "-L",
            f"module-native-protocol-unix auth-anonymous=1 socket={self._folder}/socket",
        ]
        command += ["-L", "module-null-sink sink_name=wire rate=48000"]
        with (self._folder / "pulse.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        while not (self._folder / "socket").exists():
            assert self._process.poll() is None, (self._folder / "pulse.log").read_text()
            assert time.monotonic() < deadline, "pulseaudio does not start"
            time.sleep(0.05)

    def kill(self):
        self._process.kill()
        self._process.wait()
