"""A node's parameters: name, default, meaning, unit and range, declared, checked and read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

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

    def describe(self) -> ParameterDescriptor:
        """Return the descriptor that `ros2 param describe` shows."""
        descriptor = ParameterDescriptor(
            description=f"{self.description}{'' if self.read_only else _WHEN[self.changes]}",
            read_only=self.read_only,
            additional_constraints=" | ".join(self.choices),
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


class ParameterNode(Node):
    """A node whose parameters are declared and checked when it is made."""

    def __init__(self, name: str, parameters: tuple[Parameter, ...]) -> None:
        """Raise ValueError for a text that is none of a parameter's choices."""
        super().__init__(name)
        declare_parameters(self, parameters)
        check_choices(self, parameters)

    def value(self, name: str) -> Any:
        """Return a parameter's value."""
        return self.get_parameter(name).value


def declare_parameters(node: Any, parameters: tuple[Parameter, ...]) -> None:
    """Declare parameters on a node, with their descriptors."""
    for parameter in parameters:
        node.declare_parameter(parameter.name, parameter.default, parameter.describe())


def check_choices(node: Any, parameters: tuple[Parameter, ...]) -> None:
    """ROS knows ranges but no choices: raise ValueError for a text that is none of them."""
    for parameter in parameters:
        complaint = complain_about(parameter, node.get_parameter(parameter.name).value)
        if complaint is not None:
            raise ValueError(f"parameter {parameter.name} {complaint}")


def complain_about(parameter: Parameter, value: Any) -> str | None:
    """Return what is wrong with a value, where it is none of the choices."""
    texts = [value] if isinstance(value, str) else value
    if not parameter.choices or set(texts) <= set(parameter.choices):
        return None
    return f"is {value!r}; expected one of: " + ", ".join(parameter.choices)
