"""Shows `blendshapes` as a talking face in the browsers of screens and tablets.

    ros2 launch dualtalker talker.launch.py display:=face
    python -m dualtalker_ros.nodes.face_node --ros-args -p host:=0.0.0.0 -r audio:=audio_synced

docs/face_display.md tells of screens, docs/ros_api.md of topics and parameters.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.audio import AudioChunk, mix_to_mono
from dualtalker.display import PORT, FaceServer, keep_token, load_face
from dualtalker_ros.nodes.show_node import DELAY_PARAMETER, ShowNode
from dualtalker_ros.parameters import Parameter
from dualtalker_ros.processes import run_node, spin_and_close
from dualtalker_ros.topics import INPUT_PARAMETERS, AudioInput, import_type

_FRAMES_TIMED = 30  # of which the frame rate is told
_LOOK_S = 0.2  # between looks for a screen that is to sound

PARAMETERS = (
    Parameter(
        "host",
        "127.0.0.1",
        "Address to listen on: 127.0.0.1 is this machine alone, 0.0.0.0 all networks by a token.",
        read_only=True,
    ),
    Parameter("port", PORT, "TCP port; 0: a free one.", 0, 65535, read_only=True),
    Parameter(
        "allow_hosts",
        [""],
        "Further names by which this machine is asked for.",
        read_only=True,
    ),
    Parameter(
        "rig",
        "",
        "Face to show: .glb with its materials, .npz or a folder of OBJs; empty: the robot head.",
        read_only=True,
    ),
    DELAY_PARAMETER,
    *(replace(parameter, read_only=True) for parameter in INPUT_PARAMETERS),
)


class FaceNode(ShowNode):
    """The executor's thread hands frames on; the server's thread deals with screens."""

    part = "face"

    def __init__(self) -> None:
        """Raises ValueError and ImportError for parameters, RigError and DisplayError else."""
        super().__init__("face", PARAMETERS)
        if self.value("audio_type") != "auto":
            import_type(self.value("audio_type"))  # not first when a screen asks for sound
        self._server = FaceServer(
            load_face(self.value("rig") or None),
            host=self.value("host"),
            port=self.value("port"),
            names=[name for name in self.value("allow_hosts") if name],
            token=keep_token(self.value("host")),
        ).start()
        for address in self._server.addresses():
            self.get_logger().info(f"the face: {address}")
        self._stamps_s: deque[float] = deque(maxlen=_FRAMES_TIMED)
        self._audio = AudioInput(self, self._play)
        self._hears = False
        self.listen()
        self.create_timer(_LOOK_S, self._look, clock=self.steady)

    def close(self) -> None:
        """Say goodbye to the screens."""
        self._server.close()

    def show(self, stamp_ns: int, values: np.ndarray, has_head: bool) -> None:
        """Hand a frame to the screens."""
        show_s, _ = self.find_show_s(stamp_ns)
        stamp_s, count = stamp_ns / 1e9, len(ARKIT_NAMES)
        self._server.send_frame(self.shown, show_s, values[:count], values[count:], stamp_s)
        self._tell_rate(stamp_s)

    def _tell_rate(self, stamp_s: float) -> None:
        """Tell screens that come later the frame rate, as the stamps show it."""
        self._stamps_s.append(stamp_s)
        if self.shown % _FRAMES_TIMED == 0 and len(self._stamps_s) == _FRAMES_TIMED:
            step_s = median(np.diff(self._stamps_s).tolist())
            if step_s > 0:
                self._server.set_fps(round(1.0 / step_s, 2))

    def _look(self) -> None:
        """Hear the speech while a screen is a loudspeaker, and only then."""
        wanted = self._server.wants_sound
        if wanted == self._hears:
            return
        self._hears = self.delay.page_sounds = wanted
        if wanted:
            self._audio.open()
        else:
            self._audio.close()

    def _play(self, chunk: AudioChunk, received_ns: int) -> None:
        if chunk.stamp_ns is None:
            sounds_s = time.monotonic() + self.delay.after_arrival_s
        else:
            now_s, age_s = self.read_age(chunk.stamp_ns)
            sounds_s = now_s - age_s + self.delay.s
        mono, _ = mix_to_mono(chunk.samples)
        self._server.send_sound(mono, chunk.rate_hz, sounds_s)

    def describe(self) -> tuple[str, dict[str, Any], dict[str, int]]:
        """Return how many screens there are, and how they fare."""
        server, told = self._server, self._server.statistics()
        values: dict[str, Any] = {
            "screens": server.viewer_count,
            "frames": self.shown,
            "show delay (ms)": f"{self.delay.s * 1e3:.1f}",
            "show delay is of": self.delay.source,
        }
        for name in ("delay_ms", "jitter_ms", "fps", "rtt_ms", "late", "starved"):
            worst = max((entry[name] for entry in told), default=None, key=abs)
            values[f"worst screen: {name}"] = "-" if worst is None else f"{worst:.1f}"
        faults = {**server.counters, "late_frames": self.delay.late}
        return f"{server.viewer_count} screens", values, faults


def main(args: list[str] | None = None) -> int:
    """Show the face until interrupted."""
    return run_node("face", FaceNode, spin_and_close, args)


if __name__ == "__main__":
    sys.exit(main())
