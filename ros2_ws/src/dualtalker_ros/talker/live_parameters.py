"""Which parameters may change when: checks before, calls after. What they mean is elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from rcl_interfaces.msg import SetParametersResult

from dualtalker_ros.parameters import Parameter, complain_about

# What a node must do before a parameter of each kind can change, by the stage it is in.
_HINDRANCES = {
    ("configure", "active"): "takes effect in configure: deactivate and clean up the node first",
    ("configure", "inactive"): "takes effect in configure: clean up the node first",
    ("activate", "active"): "takes effect in activate: deactivate the node first",
}


class LiveParameters:
    """Guards the parameters of a lifecycle node."""

    def __init__(
        self,
        node: Any,
        parameters: Sequence[Parameter],
        stage: Callable[[], str],
        apply: Callable[[Collection[str]], None],
        complain: Callable[[str, Any], str | None],
    ) -> None:
        """Watch a node that has declared its parameters.

        Args:
            node: the node.
            parameters: those it declared.
            stage: returns "unconfigured", "inactive" or "active".
            apply: is told the names of parameters that have changed; it may not raise.
            complain: returns what speaks against a name's new value, None where nothing does.
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
        for change in changes:
            reason = self._find_hindrance(change.name, change.value)
            if reason is not None:
                return SetParametersResult(successful=False, reason=f"{change.name} {reason}")
        if self._guard is not None:
            self._judged |= {change.name for change in changes}
            self._guard.trigger()
        return SetParametersResult(successful=True)

    def _find_hindrance(self, name: str, value: Any) -> str | None:
        known = self._parameters.get(name)
        # Nobody moves the clock under a running face.
        kind = "activate" if name == "use_sim_time" else known.changes if known else "live"
        hindrance = _HINDRANCES.get((kind, self._stage()))
        if hindrance is not None or known is None:
            return hindrance
        return complain_about(known, value) or self._complain(name, value)

    def _tell(self, changes: list[Any]) -> None:
        self._apply({change.name for change in changes})

    def _tell_judged(self) -> None:
        judged, self._judged = self._judged, set()
        self._apply(judged)
