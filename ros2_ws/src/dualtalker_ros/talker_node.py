"""The talker node: audio topic in, blendshapes out. Glue only; the face is made by dualtalker.

    ros2 run dualtalker talker_node
    python -m dualtalker_ros.talker_node --ros-args -p frame_rate:=60.0 -r audio:=/mic/audio

docs/ros_api.md lists topics and parameters.
"""

from __future__ import annotations

import sys
from collections import ChainMap
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, ReliabilityPolicy

from dualtalker.errors import AudioError, DualtalkerError
from dualtalker.talker import Talker
from dualtalker_ros.audio_messages import (
    KINDS,
    SUPPORTED_TYPES,
    AudioFormat,
    kind_of,
    read_message,
)
from dualtalker_ros.delivery import Delivery
from dualtalker_ros.diagnostics import Diagnostician
from dualtalker_ros.logs import forward_logs
from dualtalker_ros.parameters import TALKER_PARAMETERS, check_choices, declare_parameters
from dualtalker_ros.processes import ros_running, spin
from dualtalker_ros.publishers import FacePublishers, open_rig
from dualtalker_ros.topic_types import find_type, import_type

# Several seconds of 20 ms chunks: a burst must fit, because best effort sends nothing twice.
AUDIO_QUEUE_DEPTH = 1000
# How much of a frame's time may go into one round of computing before frames are sent again.
COMPUTE_SHARE = 0.5
LOOK_AROUND_S = 0.1  # between looks for a publisher, while the audio's type is not known


class TalkerNode(LifecycleNode):
    """Loads the model in `configure`, listens and publishes once active."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare the parameters; nothing is loaded yet."""
        super().__init__("talker", **kwargs)
        declare_parameters(self, TALKER_PARAMETERS)
        self._delivery: Delivery | None = None
        self._subscription: Any = None
        self._timers: list[Any] = []
        self._refused = dict.fromkeys(KINDS, 0)
        self._published = 0

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check parameters, load the model, make the publishers."""
        try:
            check_choices(self, TALKER_PARAMETERS)
            rig = open_rig(self)
            delivery = self._make_delivery()
        except (DualtalkerError, ValueError) as error:
            self.get_logger().error(f"cannot configure: {error}")
            return TransitionCallbackReturn.FAILURE
        self._delivery = delivery
        talker = delivery.talker
        self._face = FacePublishers(self, talker.bundle.sidecar.output_names, rig)
        delivery.follower = self._face.synced_audio
        self._format = AudioFormat(
            self._value("sample_rate_hz"), self._value("channels"), self._value("sample_format")
        )
        self._diagnostics = self.create_lifecycle_publisher(DiagnosticArray, "/diagnostics", 10)
        name = f"{self.get_fully_qualified_name().lstrip('/')}: dualtalker"
        faults = ChainMap(self._refused, self._face.faults)
        self._diagnostician = Diagnostician(delivery, name, faults)
        self.get_logger().info(
            f"model {talker.bundle.digest[:12]} on {talker.backend_name}, {talker.fps:g} Hz, "
            f"stated latency {talker.latency_s * 1e3:.1f} ms, {self._value('delivery')} delivery"
        )
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen and publish; idle frames begin at once."""
        assert self._delivery is not None  # the state machine configures first
        self._delivery.start(self._now_ns())
        self._frame_timer = self.create_timer(1.0 / self._delivery.talker.fps, self._on_timer)
        self._timers = [self._frame_timer, self.create_timer(1.0, self._on_diagnostics)]
        audio_type = self._value("audio_type")
        if audio_type == "auto":
            self._search_timer = self.create_timer(LOOK_AROUND_S, self._look_for_audio)
            self._timers.append(self._search_timer)
        elif not self._subscribe(audio_type):
            return TransitionCallbackReturn.FAILURE
        result = super().on_activate(state)
        self._face.start()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and publishing; the model stays loaded."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and the publishers."""
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End from any state."""
        self._stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def _make_delivery(self) -> Delivery:
        talker = Talker(
            self._value("model") or None,
            fps=self._value("frame_rate"),
            engine=self._value("engine"),
            idle_motion=self._value("idle_motion"),
            smoothing_s=self._value("smoothing_ms") / 1e3,
        )
        delay_ms = self._value("playout_delay_ms")
        delivery = Delivery(
            talker,
            paced=self._value("delivery") == "paced",
            playout_delay_s=None if delay_ms < 0 else delay_ms / 1e3,
            starvation_s=self._value("starvation_ms") / 1e3,
            max_queue_s=self._value("max_queue_s"),
        )
        delivery.warm_up(self._value("sample_rate_hz"))
        return delivery

    def _look_for_audio(self) -> None:
        """Take the type of the topic's first publisher."""
        audio_type = find_type(self, "audio")
        if audio_type is not None and self._subscribe(audio_type):
            self._search_timer.cancel()

    def _subscribe(self, audio_type: str) -> bool:
        if audio_type not in SUPPORTED_TYPES:
            self.get_logger().error(
                f"audio has type {audio_type}; expected one of: {', '.join(SUPPORTED_TYPES)}",
                throttle_duration_sec=10.0,
            )
            return False
        try:
            message_class = import_type(audio_type)
        except ImportError as error:
            self.get_logger().error(str(error), throttle_duration_sec=10.0)
            return False
        qos = QoSProfile(depth=AUDIO_QUEUE_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._subscription = self.create_subscription(message_class, "audio", self._on_audio, qos)
        self._face.listen(message_class)
        self.get_logger().info(f"listening to {self.resolve_topic_name('audio')} ({audio_type})")
        return True

    def _on_audio(self, message: Any) -> None:
        assert self._delivery is not None
        try:
            self._delivery.add(read_message(message, self._format), self._now_ns())
        except AudioError as error:
            kind = kind_of(error)
            self._refused[kind] += 1
            if self._refused[kind] == 1:
                self.get_logger().warning(f"{kind}: {error} (further ones are only counted)")
            return
        self._advance()

    def _on_timer(self) -> None:
        self._advance()

    def _advance(self) -> None:
        """Compute what can be computed, send what is due, and come back when more will be."""
        delivery = self._delivery
        assert delivery is not None
        budget_s = COMPUTE_SHARE / delivery.talker.fps
        for timed in delivery.run(self._now_ns(), budget_s):
            self._face.send(timed)
            self._published += 1
        now_ns = self._now_ns()
        audio_ns = self._face.send_audio(now_ns, delivery.delay_s)
        wake_ns = min(delivery.next_wake_ns(now_ns), audio_ns)
        # Not 0: the executor must get to the subscriptions in between.
        wait_ns = max(wake_ns - now_ns, 200_000)
        self._frame_timer.timer_period_ns = wait_ns
        self._frame_timer.reset()

    def _on_diagnostics(self) -> None:
        stamp = self.get_clock().now().to_msg()
        sent = self._face.sent
        self._diagnostics.publish(self._diagnostician.examine(stamp, self._published, sent))

    def _stop(self) -> None:
        for timer in self._timers:
            self.destroy_timer(timer)
        self._timers = []
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
            self._subscription = None
        if self._delivery is not None:
            self._face.stop()

    def _free(self) -> None:
        if self._delivery is None:
            return
        self._delivery.talker.close()
        self._delivery = None
        self._face.destroy()
        self.destroy_lifecycle_publisher(self._diagnostics)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value


def start(node: TalkerNode) -> bool:
    """Bring the node up where `autostart` asks for it; return whether it is up or need not be."""
    if not node.get_parameter("autostart").value:
        return True
    return all(
        transition() == TransitionCallbackReturn.SUCCESS
        for transition in (node.trigger_configure, node.trigger_activate)
    )


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; exit status 1 where it cannot start."""
    with ros_running(args):
        node = TalkerNode()
        forward_logs(node.get_logger())
        if not start(node):
            return 1
        spin(node)
    return 0


if __name__ == "__main__":
    sys.exit(main())
