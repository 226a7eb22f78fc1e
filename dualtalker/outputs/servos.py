"""Servos of a robot's face: a YAML file says which blendshapes move which joint, and how far.

config/servos_example.yaml explains each field. How joints move in time is in `servo_motion`.
"""

from __future__ import annotations

import difflib
import math
import shutil
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, HEAD_NAMES
from dualtalker.errors import OutputError
from dualtalker.files import check_file, written_whole

if TYPE_CHECKING:
    from yaml import MappingNode, Node

MOST_JOINTS = 255  # one byte's addresses: no bus of servos has more
_MAX_BYTES = 1 << 17
_MOST_DEPTH = 8  # of lists and tables in each other; four are needed
_PLACES = {**ARKIT_INDEX}
_PLACES |= {name: len(ARKIT_NAMES) + index for index, name in enumerate(HEAD_NAMES)}
# A name without a side means the mean of both.
_PAIRS = {
    name.removesuffix("Left"): (name, f"{name.removesuffix('Left')}Right")
    for name in ARKIT_NAMES
    if f"{name.removesuffix('Left')}Right" in ARKIT_INDEX and name.endswith("Left")
}
_KNOWN = (*_PLACES, *(name for name in _PAIRS if name not in _PLACES))
# How far the head is taken to turn (rad), where its angles move a joint.
_HEAD_REACH = 0.5
# msgspec's own error is a ValueError only in newer versions; the oldest raises SystemError for an
# integer that no float holds.
_REFUSALS = (ValueError, OverflowError, msgspec.ValidationError, SystemError)


class Joint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One motor. Positions are in the unit of its controller: rad, degrees, m or ticks."""

    shapes: Annotated[dict[str, float], Meta(min_length=1)]  # factor by blendshape: they are added
    gain: float = 1.0  # by which the sum moves the joint
    offset: float = 0.0  # the position at rest
    limits: tuple[float, float]  # the least and the greatest position
    speed: Annotated[float, Meta(gt=0)] | None = None  # the most, per second
    acceleration: Annotated[float, Meta(gt=0)] | None = None  # the most, per second squared
    lead_ms: Annotated[float, Meta(ge=0, le=2000)] = 0.0  # by how much the motor lags


class Servos(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """The joints of a face, in the order of their commands."""

    joints: Annotated[dict[str, Joint], Meta(min_length=1, max_length=MOST_JOINTS)]
    message: Literal["positions", "trajectory"] = "positions"
    topic: Annotated[str, Meta(min_length=1)] = "servos"
    rate_hz: Annotated[float, Meta(ge=5, le=500)] = 50.0  # of commands

    @cached_property
    def matrix(self) -> np.ndarray:
        """Factors [joints, 55] of the 52 weights and the head's angles, the gain among them."""
        matrix = np.zeros((len(self.joints), len(_PLACES)))
        for row, joint in zip(matrix, self.joints.values(), strict=True):
            for name, factor in joint.shapes.items():
                sides = (name,) if name in _PLACES else _PAIRS[name]
                for side in sides:
                    row[_PLACES[side]] += joint.gain * factor / len(sides)
        return matrix

    @cached_property
    def offsets(self) -> np.ndarray:
        """Positions at rest [joints]."""
        return np.array([joint.offset for joint in self.joints.values()])

    @cached_property
    def limits(self) -> np.ndarray:
        """The least and the greatest positions [2, joints]."""
        return np.array([joint.limits for joint in self.joints.values()]).T

    def place(self, values: np.ndarray) -> np.ndarray:
        """Return positions [..., joints] within the limits.

        `values` [..., 55] are the weights and the head's angles (rad), or [..., 52] weights.
        """
        matrix = self.matrix[:, : values.shape[-1]]
        return np.clip(self.offsets + values @ matrix.T, *self.limits)

    @property
    def extremes(self) -> np.ndarray:
        """The faces [2, joints, 55] that move each joint furthest down and up.

        Each is its own shapes alone: those that move it there in full, or the head's angles.
        """
        signs = np.sign(self.matrix)
        faces = np.stack([signs < 0, signs > 0]).astype(np.float64)
        head = slice(len(ARKIT_NAMES), None)
        faces[:, :, head] = _HEAD_REACH * np.stack([-signs[:, head], signs[:, head]])
        return faces


def find_joint(servos: Servos, name: str) -> Joint:
    """Return a joint by its name; OutputError offers the nearest names."""
    if name not in servos.joints:
        raise OutputError(f"no joint {name!r}; {_offer(name, servos.joints)}")
    return servos.joints[name]


def load_servos(path: Path) -> Servos:
    """Read the YAML file of a robot's servos.

    Raises:
        OutputError: no such file, no YAML, or something in it that makes no sense.
    """
    return parse_servos(_read_text(path), str(path))


def write_limits(path: Path, limits: dict[str, tuple[float, float]]) -> None:
    """Change the limits of some joints in a file: all else in it, and its rights, stay.

    Raises:
        OutputError: as `load_servos`.
    """
    place = path.resolve()
    text = replace_limits(_read_text(path), limits, str(path))
    with written_whole(place) as part:
        part.write_bytes(text.encode())
        shutil.copymode(place, part)


def _read_text(path: Path) -> str:
    check_file(path, OutputError, "a YAML file of servos", _MAX_BYTES)
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise OutputError(f"{path}: no UTF-8 text ({error.reason})") from error


def parse_servos(text: str, source: str) -> Servos:
    """Read servos from YAML; `source` names it in errors (OutputError)."""
    record = _to_record(_compose(text, source), source)
    if not isinstance(record, dict) or not isinstance(record.get("joints"), dict):
        raise OutputError(f"{source}: no joints; expected as in config/servos_example.yaml")
    joints = record["joints"]
    try:
        read = {name: _read_joint(name, joint) for name, joint in joints.items()}
        servos: Servos = msgspec.convert({**record, "joints": {}} | {"joints": read}, Servos)
    except _REFUSALS as error:
        raise OutputError(f"{source}: {_reword(error)}") from error
    return servos


def replace_limits(text: str, limits: dict[str, tuple[float, float]], source: str) -> str:
    """Return the YAML with other limits of some joints, and all else, comments too, as it is."""
    joints = _find_value(_compose(text, source), "joints")
    places = []
    for name, pair in limits.items():
        node = _find_value(_find_value(joints, name), "limits")
        # A list in lines ends where its last entry does: comments behind it stay. In brackets it
        # must stand further in than its name.
        end = node.end_mark if node.flow_style else node.value[-1].end_mark
        indent = "" if node.flow_style else "  "
        places.append((node.start_mark.index, end.index, indent, pair))
    for start, end, indent, (low, high) in sorted(places, reverse=True):
        text = f"{text[:start]}{indent}[{low:g}, {high:g}]{text[end:]}"
    return text


def _read_joint(name: object, record: object) -> Joint:
    """Return a joint; ValueError says what is wrong with it."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"joint {name!r}: expected a text as its name")
    try:
        # Not strict: YAML takes 1e-3 for a text.
        joint = msgspec.convert(record, Joint, strict=False)
        numbers = msgspec.structs.asdict(joint)
        shapes, limits = numbers.pop("shapes"), numbers.pop("limits")
        for key, value in (*numbers.items(), *shapes.items(), *(("limits", v) for v in limits)):
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{key} is {value}; expected a number")
    except _REFUSALS as error:
        raise ValueError(f"joint {name}: {_reword(error)}") from error
    for shape in joint.shapes:
        if shape not in _KNOWN:
            raise ValueError(f"joint {name}: no blendshape {shape!r}; {_offer(shape, _KNOWN)}")
    low, high = joint.limits
    if low >= high:
        raise ValueError(f"joint {name}: limits are [{low:g}, {high:g}]; the least goes first")
    if not low <= joint.offset <= high:
        raise ValueError(
            f"joint {name}: at rest it is at its offset, {joint.offset:g}, beyond its limits "
            f"[{low:g}, {high:g}]"
        )
    return joint


def _offer(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, 3, 0.4)
    return f"did you mean {', '.join(near)}?" if near else f"expected one of {', '.join(known)}"


def _reword(error: Exception) -> str:
    return str(error).replace("Object", "it").replace("`$.", "`")


def _compose(text: str, source: str) -> Node:
    """Return the tree of one YAML document.

    It has no tags, and no references, by which files can explode.
    """
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise OutputError(
            f"{source}: YAML needs the package PyYAML ({error}): python -m pip install pyyaml"
        ) from error
    depth = 0
    try:
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            where = f"{source}: line {event.start_mark.line + 1}: "
            if isinstance(event, yaml.AliasEvent):
                raise OutputError(
                    f"{where}*{event.anchor} refers to another place; write out what stands there"
                )
            if getattr(event, "tag", None) is not None:
                raise OutputError(f"{where}found the tag {event.tag}; expected none")
            if depth > _MOST_DEPTH:  # PyYAML's time grows with the square of the depth
                raise OutputError(f"{where}found {depth} lists and tables in each other")
        tree = yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise OutputError(f"{source}: {_tell_place(error)}") from error
    if tree is None:
        raise OutputError(f"{source}: it is empty; expected as in config/servos_example.yaml")
    return tree


def _to_record(tree: Node, source: str) -> Any:
    """Return what a tree holds; a key that is given twice is refused."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            for place, key in enumerate(keys):
                if key in keys[:place]:
                    problem = f"{key!r} is given twice"
                    raise yaml.constructor.ConstructorError(
                        None, None, problem, node.value[place][0].start_mark
                    )
            return super().construct_mapping(node, deep)

    try:
        return Loader("").construct_document(tree)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise OutputError(f"{source}: {_tell_place(error)}") from error


def _tell_place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    return f"{where}{getattr(error, 'problem', None) or str(error).splitlines()[0]}"


def _find_value(mapping: Any, key: str) -> Any:
    return next(value for name, value in mapping.value if name.value == key)
