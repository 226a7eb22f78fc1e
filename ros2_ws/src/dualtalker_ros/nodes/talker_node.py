"""The talker node, a lifecycle node: audio in, blendshapes of `dualtalker.Talker` out.

    ros2 run dualtalker talker_node
    python -m dualtalker_ros.nodes.talker_node --ros-args -p frame_rate:=60.0 -r audio:=/mic/audio

docs/ros_api.md lists topics and parameters.
"""

from __future__ import annotations

import sys
from collections import ChainMap
from contextlib import ExitStack
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.subscription import Subscription

from dualtalker.audio import BARE_TYPES, AudioChunk, AudioFormat
from dualtalker.delivery import Delivery
from dualtalker.errors import DualtalkerError
from dualtalker.model import mix_style
from dualtalker.stream import Talker
from dualtalker_ros.parameters import DeclaringNode, check_choices
from dualtalker_ros.processes import run_node, spin, tell_exceptions
from dualtalker_ros.talker import (
    LIFE_PARAMETERS,
    MANNER_PARAMETERS,
    TALKER_PARAMETERS,
    TIMING_PARAMETERS,
    AudioInfoListener,
    Controls,
    Diagnostician,
    FacePublishers,
    LiveParameters,
    MoodListener,
    NodeClock,
    StyleControl,
    make_executor,
    open_rig,
    read_options,
    read_timing,
)
from dualtalker_ros.topics import FORMAT_PARAMETERS, AudioInput, PhoneInput

# How much of a frame's time may go into one round of computing before frames are sent again.
COMPUTE_SHARE = 0.5
# From one round of computing to the next.
SHORTEST_WAIT_NS = 200_000
# A timer that calls later than planned by so much is left as it is.
WAKE_SLACK_NS = 250_000
# Simulated time that goes on by more at once is another time; /clock comes 10 times a second.
MAX_LEAP_NS = 10 * 10**9
# A system clock that was set by more is followed, once nobody speaks.
CLOCK_SET_S = 0.1


class TalkerNode(DeclaringNode, LifecycleNode):
    """Loads the model in `configure`, listens and publishes once active."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare the parameters; nothing is loaded yet."""
        super().__init__("talker", **kwargs)
        self.declare_all(TALKER_PARAMETERS)
        LiveParameters(self, TALKER_PARAMETERS, self._stage, self._apply, self._complain)
        StyleControl(self)
        self._clock_of_node = NodeClock(self.get_clock())
        self._audio = AudioInput(self, self._hear, self._on_found)
        self._infos = AudioInfoListener(self, self._take_format)
        # Whether it is told when messages came: not in Humble (rclpy 3.3 has no callbacks with the
        # message's info), and rclpy's EventsExecutor ends of such a callback (7.1.6).
        self.arrivals_told = False
        self._configured: Delivery | None = None
        self._parts = ExitStack()  # what configure made
        self._timers: list[Any] = []
        self._published = 0

    @tell_exceptions
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check parameters, load the model, make the publishers."""
        try:
            check_choices(self, TALKER_PARAMETERS)
            rig = open_rig(self)
            delivery = self._make_delivery()
        except (DualtalkerError, ValueError) as error:
            self.get_logger().error(f"cannot configure: {error}")
            return TransitionCallbackReturn.FAILURE
        talker = delivery.talker
        with ExitStack() as parts:  # ends what was made where a later part cannot be
            parts.callback(talker.close)
            self._face = FacePublishers(self, talker.bundle.sidecar.output_names, rig)
            parts.callback(self._face.destroy)
            delivery.follower = self._face.synced_audio
            self._infos.renew()
            self._diagnostics = self.create_lifecycle_publisher(
                DiagnosticArray, "/diagnostics", 10
            )
            parts.callback(self.destroy_lifecycle_publisher, self._diagnostics)
            mood = MoodListener(self, talker)
            parts.callback(mood.destroy)
            phones = PhoneInput(self, delivery.phones.hear)
            parts.callback(phones.destroy)
            faults = ChainMap(self._audio.refused, self._face.faults, mood.refused, phones.refused)
            self._diagnostician = Diagnostician(self, delivery, faults)
            parts.callback(Controls(self, self._reset, self._interrupt).destroy)
            self._parts = parts.pop_all()
        self._configured = delivery
        self.get_logger().info(
            f"model {talker.bundle.digest[:12]} on {talker.backend_name}, {talker.fps:g} Hz, "
            f"stated latency {talker.latency_s * 1e3:.1f} ms, {self.value('delivery')} delivery, "
            f"styles: {', '.join(talker.styles) or 'one alone'}"
        )
        return TransitionCallbackReturn.SUCCESS

    @tell_exceptions
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen and publish; idle frames begin at once."""
        clock = self._clock_of_node
        clock.start()
        self._last_ns = clock.now_ns()
        self._delivery.start(self._last_ns)
        period_s = 1.0 / self._delivery.talker.fps
        self._frame_ns = round(period_s * 1e9)
        self._frame_timer = self.create_timer(period_s, self._on_timer, clock=clock.timer_clock)
        self._timers = [
            self._frame_timer,
            self.create_timer(1.0, self._on_diagnostics, clock=clock.timer_clock),
        ]
        try:
            self._audio.open(self.arrivals_told)
        except ImportError as error:
            self.get_logger().error(f"cannot activate: {error}")
            self._stop()
            return TransitionCallbackReturn.FAILURE
        result = super().on_activate(state)
        self._face.start()
        return result

    @tell_exceptions
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and publishing; the model stays loaded."""
        self._stop()
        return super().on_deactivate(state)

    @tell_exceptions
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and the publishers."""
        self._free()
        return TransitionCallbackReturn.SUCCESS

    @tell_exceptions
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End from any state."""
        self._stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    @tell_exceptions
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Undo a transition that raised: the node can be configured again."""
        self._stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def _make_delivery(self) -> Delivery:
        talker = Talker(
            self.value("model") or None,
            **read_options(self).keywords(),
            stamps=self.value("stamps"),
        )
        delivery = Delivery(talker, paced=self.value("delivery") == "paced", **read_timing(self))
        delivery.warm_up(self.value("sample_rate_hz"))
        return delivery

    def _on_found(self, audio_class: Any) -> None:
        self._face.listen(audio_class)
        self._look_for_info()

    def _look_for_info(self) -> None:
        if self._audio.type_name in BARE_TYPES:
            self._infos.look()

    def _take_format(self, told: AudioFormat) -> None:
        self._audio.format = told

    def _hear(self, chunk: AudioChunk, received_ns: int) -> None:
        self._follow_clock()  # first: to begin again forgets all audio
        arrival_ns = self._clock_of_node.find_arrival_ns(received_ns)
        self._diagnostician.levels.note(chunk.samples)
        self._delivery.add(chunk, self._last_ns, arrival_ns)
        self._deliver()

    def _on_timer(self) -> None:
        if self._active:
            self._advance()

    def _advance(self) -> None:
        """See what time it is, and do what is due."""
        self._follow_clock()
        self._deliver()

    def _deliver(self) -> None:
        """Compute what can be computed, send what is due, and come back when more will be."""
        delivery = self._delivery
        for timed in delivery.run(self._last_ns, COMPUTE_SHARE * self._frame_ns / 1e9):
            self._face.send(timed)
            self._published += 1
        now_ns = self._clock_of_node.now_ns()
        audio_ns = self._face.send_audio(now_ns, delivery.delay_s)
        wake_ns = min(delivery.next_wake_ns(now_ns), audio_ns)
        # Not 0: the executor must get to the subscriptions in between.
        self._plan_wake(max(wake_ns - now_ns, SHORTEST_WAIT_NS))

    def _plan_wake(self, wait_ns: int) -> None:
        """Have the timer call in `wait_ns` at the latest; set it only where it would not.

        A timer that is set wakes the executor once more, for nothing; mostly its next call, a
        frame after the last, is the one that is wanted. One that comes for nothing costs no more.
        """
        timer = self._frame_timer
        if timer.time_until_next_call() - wait_ns <= WAKE_SLACK_NS:
            return
        timer.timer_period_ns = wait_ns
        timer.reset()
        timer.timer_period_ns = self._frame_ns  # from the next call on

    def _follow_clock(self) -> None:
        """Begin again where the time is not what it was: all plans were made for the other."""
        delivery, clock = self._delivery, self._clock_of_node
        clock.look()
        before_ns, self._last_ns = self._last_ns, clock.now_ns()
        if clock.simulated and self._last_ns - before_ns > MAX_LEAP_NS:
            if before_ns == 0:  # nothing was heard from /clock before
                delivery.start(self._last_ns)
            else:
                leap_s = (self._last_ns - before_ns) / 1e9
                delivery.jump(self._last_ns, f"/clock went on by {leap_s:.1f} s at once")
        elif delivery.starving and abs(step_s := clock.step_s) > CLOCK_SET_S:
            clock.start()
            self._last_ns = clock.now_ns()
            delivery.jump(self._last_ns, f"the system's clock was set by {step_s:.2f} s")

    def _interrupt(self) -> None:
        if self._active:
            self._delivery.interrupt(self._clock_of_node.now_ns())
            self._advance()

    def _reset(self) -> str:
        if not self._active:
            raise RuntimeError("the node is not active: there is nothing to reset")
        before_s = self._delivery.interrupted_s
        self._delivery.begin_stream(self._clock_of_node.now_ns())
        self._advance()
        return f"{self._delivery.interrupted_s - before_s:.2f} s of audio dropped"

    def _on_diagnostics(self) -> None:
        if self._active:
            self._look_for_info()
            state = self._diagnostician.examine(self._published, self._face.sent)
            self._diagnostics.publish(state)

    def _stop(self) -> None:
        for timer in self._timers:
            self.destroy_timer(timer)
        self._timers = []
        self._audio.close()
        self._infos.stop()
        if self._configured is not None:
            self._face.stop()

    def _free(self) -> None:
        self._configured = None
        self._parts.close()

    @property
    def _delivery(self) -> Delivery:
        """What there is from configure to cleanup."""
        assert self._configured is not None
        return self._configured

    @property
    def _active(self) -> bool:
        """Whether timers and subscription exist.

        Executors may still call back, once, for what was destroyed: the event was in their queue.
        """
        return bool(self._timers)

    def _stage(self) -> str:
        if self._active:
            return "active"
        return "unconfigured" if self._configured is None else "inactive"

    def _complain(self, changes: dict[str, Any]) -> str | None:
        """Return what the talker, once there is one, would refuse."""
        if self._configured is None:  # then nobody knows the model's styles, for one
            return None
        idle, head = (
            changes.get(name, self.value(name)) for name in ("idle_motion", "head_motion")
        )
        if head and not idle:
            return (
                "idle_motion must be on while head_motion is: head_motion is part of it; switch "
                "head_motion off first, or idle_motion on"
            )
        if "style" in changes:
            try:
                mix_style(changes["style"], self._configured.talker.bundle.sidecar)
            except DualtalkerError as error:
                return str(error)
        return None

    def _apply(self, names: set[str]) -> None:
        """Have the parameters that were changed take effect; those of `configure` wait for it."""
        if self._configured is None:
            return
        talker = self._delivery.talker
        if not names.isdisjoint(TIMING_PARAMETERS):
            self._delivery.retune(**read_timing(self))
        if not names.isdisjoint(FORMAT_PARAMETERS):
            self._infos.renew()
        if not names.isdisjoint(LIFE_PARAMETERS):
            talker.set_life(**{name: self.value(name) for name in LIFE_PARAMETERS})
        if "smoothing_ms" in names:
            talker.set_smoothing(self.value("smoothing_ms") / 1e3)
        if not names.isdisjoint(MANNER_PARAMETERS):
            talker.set_style(self.value("style"))
            talker.set_intensity(self.value("intensity"))
        self._face.retune()
        self._diagnostician.retune()
        if self._active:
            self._advance()


def start() -> tuple[TalkerNode, Any]:
    """Return the node, and the executor that its parameters ask for."""
    node = TalkerNode()
    executor, kind = make_executor(node.value("executor"))
    node.arrivals_told = kind == "single" and hasattr(Subscription, "CallbackType")
    return node, executor


def serve(parts: tuple[TalkerNode, Any]) -> int:
    """Bring the node up where `autostart` asks for it, and serve it; 1 where it does not come up.

    The reason is in the log.
    """
    node, executor = parts
    if node.value("autostart"):
        for transition in (node.trigger_configure, node.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                return 1
    kind = "single" if isinstance(executor, SingleThreadedExecutor) else "events"
    node.get_logger().info(f"executor: {kind}")
    spin(node, executor)
    return 0


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; exit status 1 where it cannot start."""
    return run_node("talker", start, serve, args)


if __name__ == "__main__":
    sys.exit(main())
