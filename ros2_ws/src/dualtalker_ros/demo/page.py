"""The end of the demo: what was recorded, on a page that talks, until Ctrl-C."""

from __future__ import annotations

import os
import sys

from dualtalker.cli.face import Screen, play, stopped_by_signals
from dualtalker.display import Performance
from dualtalker_ros.demo.recording import Recording


def is_watched() -> bool:
    """Whether somebody sits at a terminal and has not asked for an end by DEMO_ONCE=1."""
    return sys.stdin.isatty() and os.environ.get("DEMO_ONCE", "") in ("", "0")


def show_recording(recording: Recording) -> None:
    """Serve the face with its sound until Ctrl-C, again and again for whoever looks.

    Raises:
        DisplayError: the port is taken.
    """
    performance = Performance(
        recording.times_s, recording.weights, None, recording.samples, recording.rate_hz
    )
    with stopped_by_signals() as stop, Screen().open(performance.fps, "audio=1") as server:
        play(server, performance, stop, once=False, label="the recording")
