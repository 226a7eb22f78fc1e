"""What microphone and loudspeaker nodes share: parameters, the kept stream, diagnostics."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType

from dualtalker.devices import (
    DeviceStream,
    StreamKeeper,
    format_devices,
    import_sounddevice,
    list_devices,
)
from dualtalker_ros.parameters import Parameter, ParameterNode
from dualtalker_ros.processes import run_node, spin_and_close
from dualtalker_ros.topics import Growth, judge_growth, make_diagnostics

LIST_FLAG = "--list-devices"
# A call of the driver that takes longer hangs; nothing but a new process helps.
HANGING_S = 15.0

DEVICE_PARAMETERS = (
    Parameter(
        "device",
        "",
        "Sound device: its index, its name or a part of it; empty: the default one.",
        read_only=True,
        takes=str,
    ),
    Parameter("list_devices", False, "Print the sound devices and end.", read_only=True),
    Parameter(
        "device_latency_ms",
        0.0,
        "Audio that the driver buffers (ms); more survives a busier machine. 0: its lowest.",
        0.0,
        2000.0,
        read_only=True,
    ),
    Parameter(
        "reconnect_s",
        8.0,
        "Longest pause between tries to open a device that is not there (s).",
        0.5,
        300.0,
        read_only=True,
    ),
)


class DeviceNode(ParameterNode):
    """Keeps one stream of a sound device; subclasses say what flows."""

    def __init__(self, name: str, parameters: tuple[Parameter, ...]) -> None:
        """Raises ValueError for a parameter, DeviceError without PortAudio; opens nothing."""
        super().__init__(name, (*DEVICE_PARAMETERS, *parameters))
        import_sounddevice()
        self._growth = Growth()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.steady = Clock(clock_type=ClockType.STEADY_TIME)  # one that /clock does not stop
        self.create_timer(1.0, self._on_diagnostics, clock=self.steady)
        self.keeper = StreamKeeper(
            self.open_stream,
            on_open=self.on_open,
            on_loss=self.on_loss,
            on_failure=self._on_failure,
            longest_wait_s=self.value("reconnect_s"),
        )

    @property
    def wanted(self) -> str:
        """The device as the user named it."""
        return str(self.value("device"))

    def open_stream(self) -> DeviceStream:
        """Open the device; raises DeviceError."""
        raise NotImplementedError

    def on_open(self, stream: DeviceStream) -> None:
        """Tell that a device was opened."""
        self.get_logger().info(
            f"opened {stream.name}: {stream.rate_hz} Hz, latency {stream.latency_s * 1e3:.0f} ms"
        )

    def on_loss(self, reason: str) -> None:
        """Tell that it was lost."""
        self.get_logger().warning(f"lost the device: {reason}; trying to open it again")

    def _on_failure(self, reason: str, wait_s: float) -> None:
        self.get_logger().error(
            f"{reason} (next try in {wait_s:g} s, then less and less often; "
            "the same reason is not told again)"
        )

    def counters(self) -> Mapping[str, int]:
        """Return what was counted since the start; a growing count is a warning."""
        return self.keeper.counters

    def measurements(self) -> Mapping[str, Any]:
        """Return further values for the diagnostics."""
        return {}

    def _on_diagnostics(self) -> None:
        stream, counters = self.keeper.stream, dict(self.counters())
        level, message = self._judge(stream, counters)
        name = ""
        values: dict[str, Any] = {"device": "-", "rate (Hz)": "-", "device latency (ms)": "-"}
        if stream is not None:
            name = stream.name
            values = {
                "device": name,
                "rate (Hz)": stream.rate_hz,
                "device latency (ms)": f"{stream.latency_s * 1e3:.1f}",
            }
        values.update(self.measurements())
        values.update(counters)
        self._diagnostics.publish(make_diagnostics(self, "device", level, message, values, name))

    def _judge(self, stream: DeviceStream | None, counters: dict[str, int]) -> tuple[bytes, str]:
        grown = self._growth.look(counters)
        if stream is None:
            busy_since_s = self.keeper.busy_since_s
            if busy_since_s is not None and time.monotonic() - busy_since_s > HANGING_S:
                return DiagnosticStatus.ERROR, "the sound driver hangs; restart this node"
            return DiagnosticStatus.ERROR, "no device; trying to open it"
        grown.pop("device_opens", None)
        return judge_growth(grown, f"running on {stream.name}")

    def close(self) -> None:
        """Free the device."""
        self.keeper.close()


def run_device_node(name: str, make_node: Callable[[], DeviceNode], args: list[str] | None) -> int:
    """Run a device node until a signal; exit status 1 where it cannot start."""
    given = sys.argv[1:] if args is None else args

    def start() -> DeviceNode | None:
        if LIST_FLAG not in given:
            node = make_node()
            if not node.value("list_devices"):
                return node
        sys.stdout.write(format_devices(list_devices()) + "\n")
        return None

    return run_node(name, start, _serve, [word for word in given if word != LIST_FLAG])


def _serve(node: DeviceNode | None) -> None:
    if node is None:  # the devices were listed, which is all
        return
    node.keeper.start()
    spin_and_close(node)
