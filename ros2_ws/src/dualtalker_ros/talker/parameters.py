"""The talker node's parameters: name, default, meaning, unit and range, and when each may change.

config/talker.yaml repeats the defaults for people to edit; a test keeps the two equal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from rcl_interfaces.msg import SetParametersResult

from dualtalker.options import TalkerOptions
from dualtalker.stream import STAMPS
from dualtalker_ros.parameters import Parameter, complain_about
from dualtalker_ros.talker.executors import EXECUTORS
from dualtalker_ros.topics import INPUT_PARAMETERS

DELIVERIES = ("paced", "immediate")
OUTPUTS = (
    "blendshapes",
    "mouth_open",
    "speaking",
    "facs",
    "audio_synced",
    "vertices",
    "face_marker",
)
# What a node must do before a parameter of each kind can change, by the stage it is in.
_HINDRANCES = {
    ("configure", "active"): "takes effect in configure: deactivate and clean up the node first",
    ("configure", "inactive"): "takes effect in configure: clean up the node first",
    ("activate", "active"): "takes effect in activate: deactivate the node first",
}
# The node's names of `TalkerOptions`, where they differ; there is no parameter for the seed.
_NAMES = {"fps": "frame_rate"}
_OPTIONS = {field.name: field for field in dataclasses.fields(TalkerOptions)}


# Those that change together.
TIMING_PARAMETERS = (
    "playout_delay_ms",
    "starvation_ms",
    "max_queue_s",
    "interrupt_on_new_utterance",
)
MANNER_PARAMETERS = ("style", "intensity")
LIFE_PARAMETERS = ("idle_motion", "prosody", "head_motion")


def _take_option(name: str, changes: str = "configure") -> Parameter:
    """Return the parameter of one of `TalkerOptions`."""
    option = _OPTIONS[name]
    low, high = option.metadata["low"], option.metadata["high"]
    meaning = f"{option.metadata['meaning']}."
    return Parameter(_NAMES.get(name, name), option.default, meaning, low, high, changes=changes)


TALKER_PARAMETERS = (
    Parameter(
        "autostart",
        True,
        "Configure and activate on start; false leaves that to a lifecycle manager.",
        read_only=True,
    ),
    Parameter(
        "executor",
        "single",  # see `make_executor`
        "What serves the node: single (SingleThreadedExecutor), events "
        "(rclpy.experimental.EventsExecutor, cheaper), auto: events where this rclpy has it.",
        choices=EXECUTORS,
        read_only=True,
    ),
    Parameter("model", "", "Model bundle, the .onnx file's path; empty is the shipped model."),
    _take_option("engine"),
    _take_option("fps"),
    Parameter(
        "delivery",
        "paced",
        "paced: each frame goes out playout_delay_ms after the instant it depicts, so that "
        "frames are steady and bursts of speech play in real time; immediate: when computed.",
        choices=DELIVERIES,
    ),
    Parameter(
        "playout_delay_ms",
        -1.0,
        "From the audio's stamp to its frame's going out (ms); a negative one is the stated "
        "latency of the model and 5 ms, and for long chunks their lag as well.",
        -1.0,
        5000.0,
        changes="live",
    ),
    Parameter(
        "starvation_ms",
        100.0,
        "Audio that stays away for so long (ms) has ended: the mouth closes; longer where chunks "
        "are long.",
        20.0,
        2000.0,
        changes="live",
    ),
    Parameter(
        "max_queue_s", 60.0, "Audio that may wait for its playout (s).", 1.0, 600.0, changes="live"
    ),
    Parameter(
        "interrupt_on_new_utterance",
        False,
        "Audio that comes 300 ms or more after the chunk before, while audio waits for its "
        "playout, and that is not stamped to follow it, takes its place.",
        changes="live",
    ),
    Parameter(
        "stamps",
        "auto",
        "What stamps of audio are of: audio, the first sample's time; arrival, as speech servers "
        "and some drivers stamp; auto: found out in the first second.",
        choices=STAMPS,
    ),
    _take_option("idle_motion", changes="live"),
    _take_option("prosody", changes="live"),
    _take_option("head_motion", changes="live"),
    _take_option("smoothing_ms", changes="live"),
    _take_option("style", changes="live"),
    _take_option("intensity", changes="live"),
    *INPUT_PARAMETERS,
    Parameter("frame_id", "face", "header.frame_id of all that has a header."),
    Parameter(
        "outputs",
        ["blendshapes", "mouth_open", "speaking", "facs", "audio_synced"],
        "Topics that exist; vertices (with topology) and face_marker load the rig.",
        choices=("all", *OUTPUTS),
    ),
    Parameter(
        "rig",
        "",
        "Face of vertices and face_marker: .glb, .vrm, .npz, OBJ folder; empty: the robot head.",
    ),
    Parameter("marker_triangles", 5000, "Most triangles of face_marker.", 100, 100000),
    Parameter(
        "speaking_hold_ms",
        300.0,
        "How long the mouth rests (ms) before speaking is false.",
        0.0,
        5000.0,
        changes="live",
    ),
    Parameter(
        "warn_real_time_factor",
        0.7,
        "Diagnostics WARN where computing takes more than this share of the audio's time.",
        0.0,
        10.0,
        changes="live",
    ),
    Parameter(
        "error_real_time_factor",
        1.0,
        "Diagnostics ERROR where it is more than this.",
        0.0,
        10.0,
        changes="live",
    ),
    Parameter(
        "warn_late_ms",
        100.0,
        "Diagnostics WARN where one frame in ten of speech goes out this much too late (ms).",
        0.0,
        10000.0,
        changes="live",
    ),
    Parameter(
        "error_late_ms",
        300.0,
        "Diagnostics ERROR where it is more than this.",
        0.0,
        10000.0,
        changes="live",
    ),
    Parameter(
        "warn_clipping",
        0.01,
        "Diagnostics WARN where more than this share of the samples is at full scale.",
        0.0,
        1.0,
        changes="live",
    ),
    Parameter(
        "error_clipping",
        0.2,
        "Diagnostics ERROR where it is more than this.",
        0.0,
        1.0,
        changes="live",
    ),
    Parameter(
        "warn_queue",
        0.8,
        "Diagnostics WARN where more than this share of max_queue_s waits.",
        0.0,
        1.0,
        changes="live",
    ),
    Parameter(
        "error_queue",
        0.98,
        "Diagnostics ERROR where it is more than this.",
        0.0,
        1.0,
        changes="live",
    ),
)


def read_options(node: Any) -> TalkerOptions:
    """Return the options of the talker that the node's parameters give."""
    names = {name: _NAMES.get(name, name) for name in _OPTIONS if name != "seed"}
    return TalkerOptions(**{k: node.get_parameter(name).value for k, name in names.items()})


def read_timing(node: Any) -> dict[str, Any]:
    """Return the TIMING_PARAMETERS as arguments of `Delivery.retune`."""
    delay_ms, starvation_ms, max_queue_s, replaces = (
        node.get_parameter(name).value for name in TIMING_PARAMETERS
    )
    return {
        "playout_delay_s": None if delay_ms < 0 else delay_ms / 1e3,
        "starvation_s": starvation_ms / 1e3,
        "max_queue_s": max_queue_s,
        "replace_utterances": replaces,
    }


class LiveParameters:
    """Guards the parameters of a lifecycle node."""

    def __init__(
        self,
        node: Any,
        parameters: Sequence[Parameter],
        stage: Callable[[], str],
        apply: Callable[[set[str]], None],
        complain: Callable[[dict[str, Any]], str | None],
    ) -> None:
        """Watch a node that has declared its parameters.

        Args:
            node: the node.
            parameters: those it declared.
            stage: returns "unconfigured", "inactive" or "active".
            apply: is told the names of parameters that have changed; it may not raise.
            complain: returns what speaks against new values by name, None where nothing does.
        """
        self._parameters = {parameter.name: parameter for parameter in parameters}
        self._stage, self._apply, self._complain = stage, apply, complain
        self._judged: set[str] = set()
        self._guard: Any = None
        node.add_on_set_parameters_callback(self._judge)
        if hasattr(node, "add_post_set_parameters_callback"):
            node.add_post_set_parameters_callback(self._tell)
        else:
            # Humble's rclpy (3.3) calls nobody after a change: the executor does, right behind it.
            self._guard = node.create_guard_condition(self._tell_judged)

    def _judge(self, changes: list[Any]) -> SetParametersResult:
        reasons = [self._find_hindrance(change.name, change.value) for change in changes]
        if not any(reasons):
            reasons.append(self._complain({change.name: change.value for change in changes}))
        for reason in filter(None, reasons):
            return SetParametersResult(successful=False, reason=reason)
        if self._guard is not None:
            self._judged |= {change.name for change in changes}
            self._guard.trigger()
        return SetParametersResult(successful=True)

    def _find_hindrance(self, name: str, value: Any) -> str | None:
        known = self._parameters.get(name)
        # Nobody moves the clock under a running face.
        kind = "activate" if name == "use_sim_time" else known.changes if known else "live"
        hindrance = _HINDRANCES.get((kind, self._stage()))
        if hindrance is None and known is not None:
            hindrance = complain_about(known, value)
        return None if hindrance is None else f"{name} {hindrance}"

    def _tell(self, changes: list[Any]) -> None:
        self._apply({change.name for change in changes})

    def _tell_judged(self) -> None:
        judged, self._judged = self._judged, set()
        self._apply(judged)
