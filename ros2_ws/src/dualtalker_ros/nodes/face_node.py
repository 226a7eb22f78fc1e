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
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import JointState
from std_msgs.msg import Float32

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.audio import AudioChunk, mix_to_mono
from dualtalker.display import PORT, FaceServer, ShowDelay, SteppedClock, keep_token, load_face
from dualtalker.faults import Faults
from dualtalker_ros.parameters import Parameter, ParameterNode
from dualtalker_ros.processes import run_node, spin_and_close
from dualtalker_ros.topics import (
    INPUT_PARAMETERS,
    AudioInput,
    FaceReader,
    Growth,
    import_type,
    judge_growth,
    make_diagnostics,
)

# Stamps further from now than this are of another clock: then arrival counts.
_FOREIGN_STAMP_S = 10.0
_FRAMES_TIMED = 30  # of which the frame rate is told
_QUEUE_DEPTH = 100  # frames: a moment that the machine has no time must lose none
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
    Parameter(
        "audio_delay_ms",
        -1.0,
        "From the audio's stamp to its sound (ms), of a player that does not tell; -1: what "
        "speaker/latency tells, else frames are shown as soon as all have come.",
        -1.0,
        5000.0,
        read_only=True,
    ),
    *(replace(parameter, read_only=True) for parameter in INPUT_PARAMETERS),
)


class FaceNode(ParameterNode):
    """The executor's thread hands frames on; the server's thread deals with screens."""

    def __init__(self) -> None:
        """Raises ValueError and ImportError for parameters, RigError and DisplayError else."""
        super().__init__("face", PARAMETERS)
        if self.value("audio_type") != "auto":
            import_type(self.value("audio_type"))  # not first when a screen asks for sound
        delay_ms = self.value("audio_delay_ms")
        self._simulated = SteppedClock()
        self._delay = ShowDelay(delay_ms / 1e3 if delay_ms >= 0 else None)
        self._server = FaceServer(
            load_face(self.value("rig") or None),
            host=self.value("host"),
            port=self.value("port"),
            names=[name for name in self.value("allow_hosts") if name],
            token=keep_token(self.value("host")),
        ).start()
        for address in self._server.addresses():
            self.get_logger().info(f"the face: {address}")
        self._reader = FaceReader()
        self._stamps_s: deque[float] = deque(maxlen=_FRAMES_TIMED)
        self._shown = 0
        faults = Faults(("foreign_stamps", "bad_frames"), self.get_logger().warning)
        self._counters, self._count = faults.counters, faults.count
        self._growth = Growth()
        self._audio = AudioInput(self, self._play)
        self._hears = False
        self.create_subscription(JointState, "blendshapes", self._show, _QUEUE_DEPTH)
        for topic, after in (("latency", "stamp"), ("latency_after_arrival", "arrival")):
            follow = partial(self._follow_speaker, after)
            self.create_subscription(Float32, f"speaker/{topic}", follow, 10)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # one that /clock does not stop
        self.create_timer(_LOOK_S, self._look, clock=steady)
        self.create_timer(1.0, self._report, clock=steady)

    def close(self) -> None:
        """Say goodbye to the screens."""
        self._server.close()

    def _show(self, message: JointState) -> None:
        now_s, age_s = self._read_age(message.header.stamp.sec, message.header.stamp.nanosec)
        try:
            values = self._reader.read(message)
        except ValueError as error:
            self._count("bad_frames", str(error))
            return
        delay_s = self._delay.note_frame(age_s, now_s)
        stamp_s = message.header.stamp.sec + message.header.stamp.nanosec / 1e9
        count = len(ARKIT_NAMES)
        self._server.send_frame(
            self._shown, now_s - age_s + delay_s, values[:count], values[count:], stamp_s
        )
        self._shown += 1
        self._tell_rate(stamp_s)

    def _read_age(self, seconds: int, nanoseconds: int) -> tuple[float, float]:
        """Return the monotonic time, and how long ago a stamp was; 0 for one of another clock."""
        now_s, clock = time.monotonic(), self.get_clock()
        age_s = (clock.now().nanoseconds - seconds * 10**9 - nanoseconds) / 1e9
        if clock.ros_time_is_active:
            stamp_s = seconds + nanoseconds / 1e9
            age_s = self._simulated.read(age_s + stamp_s, now_s) - stamp_s
        if abs(age_s) > _FOREIGN_STAMP_S:
            self._count("foreign_stamps", f"a stamp is {age_s:.1f} s old: taken for now")
            return now_s, 0.0
        return now_s, age_s

    def _tell_rate(self, stamp_s: float) -> None:
        """Tell screens that come later the frame rate, as the stamps show it."""
        self._stamps_s.append(stamp_s)
        if self._shown % _FRAMES_TIMED == 0 and len(self._stamps_s) == _FRAMES_TIMED:
            step_s = median(np.diff(self._stamps_s).tolist())
            if step_s > 0:
                self._server.set_fps(round(1.0 / step_s, 2))

    def _follow_speaker(self, after: str, message: Float32) -> None:
        if 0.0 <= message.data < _FOREIGN_STAMP_S:
            self._delay.note_latency(float(message.data), time.monotonic(), after)

    def _look(self) -> None:
        """Hear the speech while a screen is a loudspeaker, and only then."""
        wanted = self._server.wants_sound
        if wanted == self._hears:
            return
        self._hears = self._delay.page_sounds = wanted
        if wanted:
            self._audio.open()
        else:
            self._audio.close()

    def _play(self, chunk: AudioChunk, received_ns: int) -> None:
        if chunk.stamp_ns is None:
            sounds_s = time.monotonic() + self._delay.after_arrival_s
        else:
            now_s, age_s = self._read_age(*divmod(chunk.stamp_ns, 10**9))
            sounds_s = now_s - age_s + self._delay.s
        mono, _ = mix_to_mono(chunk.samples)
        self._server.send_sound(mono, chunk.rate_hz, sounds_s)

    def _report(self) -> None:
        server, told = self._server, self._server.statistics()
        counters = {**server.counters, **self._counters, "late_frames": self._delay.late}
        grown = self._growth.look(counters)
        level, message = judge_growth(grown, f"{server.viewer_count} screens")
        values: dict[str, Any] = {
            "screens": server.viewer_count,
            "frames": self._shown,
            "show delay (ms)": f"{self._delay.s * 1e3:.1f}",
            "show delay is of": self._delay.source,
        }
        for name in ("delay_ms", "jitter_ms", "fps", "rtt_ms", "late", "starved"):
            worst = max((entry[name] for entry in told), default=None, key=abs)
            values[f"worst screen: {name}"] = "-" if worst is None else f"{worst:.1f}"
        self._diagnostics.publish(
            make_diagnostics(self, "face", level, message, {**values, **counters})
        )


def main(args: list[str] | None = None) -> int:
    """Show the face until interrupted."""
    return run_node("face", FaceNode, spin_and_close, args)


if __name__ == "__main__":
    sys.exit(main())
