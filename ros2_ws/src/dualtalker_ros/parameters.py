"""A node's parameters: name, default, meaning, unit and range, declared, checked and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, ParameterException

from dualtalker.errors import DualtalkerError
from dualtalker_ros.processes import GuardedNode

_WHEN = {
    "configure": " Takes effect in configure.",
    "activate": " Takes effect in activate.",
    "live": " Live: takes effect at once.",
}


@dataclass(frozen=True)
class Parameter:
    """One parameter; `low` and `high` bound numbers, `choices` bound texts and those in lists."""

    name: str
    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = False
    changes: str = "configure"  # what it takes effect in: configure, activate, or live: at once
    # Of one that takes several types: raises a DualtalkerError for a value that it does not take.
    takes: Callable[[Any], Any] | None = None

    def describe(self) -> ParameterDescriptor:
        """Return the descriptor that `ros2 param describe` shows."""
        descriptor = ParameterDescriptor(
            description=f"{self.description}{'' if self.read_only else _WHEN[self.changes]}",
            read_only=self.read_only,
            additional_constraints=" | ".join(self.choices),
            dynamic_typing=self.takes is not None,
        )
        if self.low is not None and self.high is not None:
            if isinstance(self.default, int):
                bounds = IntegerRange(from_value=int(self.low), to_value=int(self.high), step=0)
                descriptor.integer_range = [bounds]
            else:
                bounds = FloatingPointRange(
                    from_value=float(self.low), to_value=float(self.high), step=0.0
                )
                descriptor.floating_point_range = [bounds]
        return descriptor


class DeclaringNode(GuardedNode):
    """A node whose parameters take integers wherever they are doubles, whoever gives them.

    ROS refuses `frame_rate: 60` where 60.0 is meant. Stands, as GuardedNode, before the base that
    tells the kind of node.
    """

    def declare_all(self, parameters: tuple[Parameter, ...]) -> None:
        """Declare parameters; ValueError for a value of another type or beyond the range."""
        for parameter in parameters:
            try:
                self._declare(parameter)
            except ParameterException as error:
                raise ValueError(f"parameter {parameter.name}: {error}") from error

    def _declare(self, parameter: Parameter) -> None:
        name, default, descriptor = parameter.name, parameter.default, parameter.describe()
        try:
            declared = self.declare_parameter(name, default, descriptor)
            if declared.value is None:  # what is given is an empty list, or nothing
                raise ValueError(f"parameter {name} has no value; expected one as {default!r}")
        except InvalidParameterTypeException:
            # What was given is told to those who declare a parameter of any type.
            any_type = ParameterDescriptor(dynamic_typing=True)
            given = widen(self.declare_parameter(name, default, any_type), default)
            self.undeclare_parameter(name)
            if not (isinstance(default, float) and isinstance(given.value, float)):
                raise
            self.declare_parameter(name, given.value, descriptor, ignore_override=True)

    def set_parameters_atomically(self, parameter_list: list[Any]) -> SetParametersResult:
        """Set parameters, all or none, as the services of every node do."""
        for given in parameter_list:
            reason = None
            if not self.has_parameter(given.name):
                reason = f"{given.name!r} is no parameter of this node"
            elif given.type_ == given.Type.NOT_SET:  # which deletes those of several types
                reason = f"{given.name} needs a value"
            if reason is not None:
                return SetParametersResult(successful=False, reason=reason)
        return super().set_parameters_atomically(
            [widen(p, self.get_parameter(p.name).value) for p in parameter_list]
        )

    def value(self, name: str) -> Any:
        """Return a parameter's value."""
        return self.get_parameter(name).value


class ParameterNode(DeclaringNode):
    """A node whose parameters are declared and checked when it is made."""

    def __init__(self, name: str, parameters: tuple[Parameter, ...]) -> None:
        """Raise ValueError for a value that a parameter does not take."""
        super().__init__(name)
        self.declare_all(parameters)
        check_choices(self, parameters)


def widen(given: Any, known: Any) -> Any:
    """Return an rclpy.parameter.Parameter; where it is an integer and `known` a float, as one."""
    if given.type_ != given.Type.INTEGER or not isinstance(known, float):
        return given
    return type(given)(given.name, given.Type.DOUBLE, float(given.value))


def check_choices(node: Any, parameters: tuple[Parameter, ...]) -> None:
    """ROS knows ranges but no choices: raise ValueError for a value that is none of them."""
    for parameter in parameters:
        complaint = complain_about(parameter, node.get_parameter(parameter.name).value)
        if complaint is not None:
            raise ValueError(f"parameter {parameter.name} {complaint}")


def complain_about(parameter: Parameter, value: Any) -> str | None:
    """Return what is wrong with a value, where the parameter does not take it."""
    if parameter.takes is not None:
        try:
            parameter.takes(value)
        except DualtalkerError as error:
            return f"is refused: {error}"
        return None
    texts = [value] if isinstance(value, str) else value
    if not parameter.choices or set(texts) <= set(parameter.choices):
        return None
    return f"is {value!r}; expected one of: " + ", ".join(parameter.choices)
