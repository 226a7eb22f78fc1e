"""The subcommands of `dualtalker servos`: what joints will do, and their limits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from dualtalker.cli.sheets import draw_sheet

if TYPE_CHECKING:
    from dualtalker.outputs import Joint, Servos

_File = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
_Picture = Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="PNG")]
_BAR = 44  # signs
# Speech has four to five syllables a second, and the mouth opens and shuts in each.
_SYLLABLE_HALF_S = 0.125


@dataclass
class Check:
    """Check a file of servos, and tell what each joint will do.

    For example:
        dualtalker servos check my_robot.yaml
        dualtalker servos check my_robot.yaml -o joints.png

    Each joint's bar goes from its least to its greatest position: = is what the face uses, o the
    position at rest. config/servos_example.yaml explains the fields of the file.
    """

    file: _File
    """The YAML file."""
    out: _Picture = None
    """Draw the face at each joint's least position, at rest and at its greatest (.png)."""

    def run(self) -> int:
        """Tell it, and draw it."""
        from dualtalker.outputs import load_servos

        servos = load_servos(self.file)
        kind = f"{servos.message} on {servos.topic}, {servos.rate_hz:g} times a second"
        print(f"{self.file}: {_count(servos)}: {kind}")
        for name, joint in servos.joints.items():
            print("\n".join(_tell_joint(servos, name, joint)))
        lead_ms = max(joint.lead_ms for joint in servos.joints.values())
        if lead_ms:
            print(f"frames must be known {lead_ms:g} ms before their sound: docs/outputs.md")
        if self.out is not None:
            _draw(self.out, servos)
        return 0


@dataclass
class Calibrate:
    """Set the limits of each joint in a terminal, and write them to the file.

    For example:
        dualtalker servos calibrate my_robot.yaml
        dualtalker servos calibrate my_robot.yaml --joint jaw -o joints.png

    Tells of each joint what moves it, and a command that moves its motor by ROS, so that you find
    where it may go. Return keeps a limit, q ends. All else in the file stays as it is.
    """

    file: _File
    """The YAML file; config/servos_example.yaml is one to begin with."""
    joint: str | None = None
    """This joint alone."""
    out: _Picture = None
    """Draw the face at the limits as they are then (.png)."""

    def run(self) -> int:
        """Ask, then write."""
        from dualtalker.outputs import find_joint, load_servos, write_limits

        servos = load_servos(self.file)
        if self.joint is not None:
            find_joint(servos, self.joint)
        limits: dict[str, tuple[float, float]] = {}
        names = [self.joint] if self.joint is not None else list(servos.joints)
        for place, name in enumerate(names, 1):
            print(f"joint {place} of {len(names)}")
            asked = _ask_limits(servos, name)
            if asked is None:
                break
            if asked != servos.joints[name].limits:
                limits[name] = asked
        if limits:
            write_limits(self.file, limits)
        told = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in limits.items())
        print(f"{self.file}: {told or 'as it was'}")
        if self.out is not None:
            _draw(self.out, load_servos(self.file))
        return 0


Commands = (
    Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Calibrate, tyro.conf.subcommand("calibrate")]
)


@dataclass
class ServoTools:
    """Motors of a robot's face: what a file of servos makes of them, and their limits."""

    command: tyro.conf.OmitArgPrefixes[tyro.conf.OmitSubcommandPrefixes[Commands]]

    def run(self) -> int:
        """Run the subcommand."""
        return self.command.run()


def _count(servos: Servos) -> str:
    count = len(servos.joints)
    return f"{count} joint{'s' * (count != 1)}"


def _tell_joint(servos: Servos, name: str, joint: Joint) -> Iterator[str]:
    low, high = joint.limits
    least, most = _find_reach(servos, name)
    shown = (max(least, low), min(most, high))
    yield f"{name}: {_tell_shapes(joint)}"
    yield f"  {_draw_bar(joint, shown)}"
    cut = [
        f"{abs(beyond):g} {where}"
        for beyond, where in ((low - least, "below"), (most - high, "above"))
        if beyond > 1e-9
    ]
    way = max(shown[1] - joint.offset, joint.offset - shown[0])
    moved_s = _time_travel(way, joint)
    yield (
        f"  the face asks for {least:g} to {most:g}{', cut off by ' * bool(cut)}"
        f"{' and '.join(cut)}; from rest to the further end in {1e3 * moved_s:.0f} ms"
    )
    if moved_s > _SYLLABLE_HALF_S and any(n.startswith(("jaw", "mouth")) for n in joint.shapes):
        yield (
            f"  note: slow for speech, which opens or shuts a mouth in {1e3 * _SYLLABLE_HALF_S:g} "
            "ms: a smaller gain moves less, and in time"
        )


def _tell_shapes(joint: Joint) -> str:
    told = " ".join(
        f"{'-' if factor < 0 else '+'} {'' if abs(factor) == 1 else f'{abs(factor):g} '}{name}"
        for name, factor in joint.shapes.items()
    )
    return told.removeprefix("+ ")


def _draw_bar(joint: Joint, shown: tuple[float, float]) -> str:
    low, high = joint.limits

    def place(position: float) -> int:
        return round((_BAR - 1) * min(max((position - low) / (high - low), 0.0), 1.0))

    bar = ["-"] * _BAR
    bar[place(shown[0]) : place(shown[1]) + 1] = "=" * (place(shown[1]) + 1 - place(shown[0]))
    bar[place(joint.offset)] = "o"
    return f"{low:g} [{''.join(bar)}] {high:g}"


def _find_reach(servos: Servos, name: str) -> tuple[float, float]:
    """Return the positions that the face asks for, whatever the limits."""
    row = list(servos.joints).index(name)
    asked = servos.offsets[row] + servos.extremes[:, row] @ servos.matrix[row]
    return float(asked[0]), float(asked[1])


def _time_travel(distance: float, joint: Joint) -> float:
    """Return the time (s) in which a joint goes from rest to rest."""
    speed, growth = joint.speed or math.inf, joint.acceleration or math.inf
    if math.isfinite(growth) and speed**2 / growth > distance:
        return 2.0 * math.sqrt(distance / growth)
    return distance / speed + (speed / growth if math.isfinite(speed) else 0.0)


def _ask_limits(servos: Servos, name: str) -> tuple[float, float] | None:
    """Return a joint's limits as a person sets them; None where that ends."""
    joint = servos.joints[name]
    print("\n".join(_tell_joint(servos, name, joint)))
    print(f"  move it: {_tell_command(servos, name)}")
    while True:
        low = _ask_number("least", joint.limits[0])
        high = None if low is None else _ask_number("greatest", joint.limits[1])
        if low is None or high is None:
            return None
        if low < high and low <= joint.offset <= high:
            return low, high
        print(f"  expected the least first, and {joint.offset:g}, the offset, between them")


def _ask_number(label: str, value: float) -> float | None:
    """Return a number, the old one for an empty line; None for q or where nobody answers."""
    while True:
        try:
            answer = input(f"  {label} [{value:g}]: ").strip()
        except EOFError:
            print()
            return None
        if answer in ("", "q"):
            return value if answer == "" else None
        try:
            given = float(answer)
        except ValueError:
            given = math.nan
        if math.isfinite(given):
            return given
        print(f"  {answer!r} is no number; return keeps {value:g}, q ends")


def _tell_command(servos: Servos, name: str) -> str:
    """Return the command that moves one motor to VALUE and the others to rest."""
    places = {other: f"{joint.offset:g}" for other, joint in servos.joints.items()}
    places[name] = "VALUE"
    if servos.message == "trajectory":
        kind = "trajectory_msgs/msg/JointTrajectory"
        points = "[{positions: [VALUE], time_from_start: {sec: 1}}]"
        content = f"{{joint_names: [{name}], points: {points}}}"
    else:
        kind = "std_msgs/msg/Float64MultiArray"
        content = f"{{data: [{', '.join(places.values())}]}}"
    return f'ros2 topic pub --once {servos.topic} {kind} "{content}"'


def _draw(path: Path, servos: Servos) -> None:
    import numpy as np

    from dualtalker.arkit import ARKIT_NAMES
    from dualtalker.errors import DualtalkerError
    from dualtalker.rig.robot_head import build_head

    if path.suffix.lower() != ".png":
        raise DualtalkerError(f"-o {path}: expected a picture's name, such as joints.png")
    faces, captions = [], []
    for row, (name, joint) in enumerate(servos.joints.items()):
        for way, limit in enumerate(joint.limits):
            asked = _find_reach(servos, name)[way] - joint.offset
            part = min((limit - joint.offset) / asked, 1.0) if asked else 0.0
            faces.append(part * servos.extremes[way, row, : len(ARKIT_NAMES)])
            captions.append(f"{name}  {joint.offset + part * asked:.3g}")
        faces.insert(-1, np.zeros(len(ARKIT_NAMES)))
        captions.insert(-1, f"{name}  {joint.offset:.3g}, at rest")
    weights = np.stack(faces).astype(np.float32)
    draw_sheet(path, build_head(), weights, captions, columns=3, size_px=240)
