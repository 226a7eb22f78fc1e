"""Which shapes a document's morph targets are, by their names and by a VRM's expressions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import RigError
from dualtalker.rig.gltf.format import find_item
from dualtalker.rig.gltf.vrm import Binds, read_expressions
from dualtalker.rig.retargeting import (
    Plan,
    Term,
    Use,
    choose_shapes,
    find_stand_in,
    find_used,
    plan_shapes,
)

_MOST_TARGETS = 20_000  # an avatar of 100 primitives with 100 shapes each has 10,000


@dataclass
class MeshTargets:
    """The morph targets of one primitive of a mesh."""

    mesh: str
    uses: list[Use] = field(default_factory=list)  # empty where they have no names
    note: str = ""  # why it is left out
    plan: Plan = field(default_factory=dict)  # what of the rig it moves, by shape


@dataclass
class DocumentTargets:
    """All morph targets of a document."""

    primitives: dict[tuple[int, int], MeshTargets]  # by the indices of mesh and primitive
    expressions: list[Use]  # of a VRM

    @property
    def names(self) -> set[str]:
        """Shapes, stems and expressions that the meshes have."""
        return {name for targets in self.primitives.values() for name in targets.plan}


def read_targets(document: dict[str, Any]) -> DocumentTargets:
    """Read the names of all morph targets and decide which shapes they make.

    What a VRM's expressions say of a shape goes before the names of targets. Raises RigError.
    """
    expressions = [(use, binds) for use, binds in read_expressions(document)]
    primitives: dict[tuple[int, int], MeshTargets] = {}
    total = 0
    for mesh_index, mesh in enumerate(document.get("meshes", [])):
        mesh = find_item(document, "meshes", mesh_index)
        for index, primitive in enumerate(mesh["primitives"]):
            total += len(primitive.get("targets", []))
            if total > _MOST_TARGETS:
                raise RigError(f"found over {_MOST_TARGETS} morph targets; expected fewer")
            if primitive.get("targets"):
                primitives[mesh_index, index] = _read_primitive(mesh, mesh_index, primitive)
    _apply(expressions, primitives)
    result = DocumentTargets(primitives, [use for use, _ in expressions])
    used = find_used(result.names)
    for targets in primitives.values():
        targets.plan = {name: parts for name, parts in targets.plan.items() if name in used}
    return result


def _read_primitive(
    mesh: dict[str, Any], mesh_index: int, primitive: dict[str, Any]
) -> MeshTargets:
    label = f"mesh {mesh.get('name', mesh_index)!r}"
    count = len(primitive["targets"])
    names = _find_names(mesh, primitive)
    if names is None or len(names) != count or not all(isinstance(name, str) for name in names):
        found = "no names" if names is None else f"{len(names)} names"
        return MeshTargets(
            label, note=f"{count} morph targets with {found} for them in extras.targetNames"
        )
    try:
        uses = choose_shapes(names)
    except RigError as error:
        raise RigError(f"{label}: {error}") from error
    return MeshTargets(label, uses, plan=plan_shapes(uses))


def _find_names(mesh: dict[str, Any], primitive: dict[str, Any]) -> list[Any] | None:
    """Names where exporters put them: on the mesh, on the primitive (VRM 0.x), on each target."""
    for holder in (mesh, primitive):
        names = read_extras(holder).get("targetNames")
        if isinstance(names, list):
            return names
    names = [read_extras(target).get("name") for target in primitive["targets"]]
    return None if None in names else names


def read_extras(holder: dict[str, Any]) -> dict[str, Any]:
    """The extras of an object, which may be anything at all."""
    extras = holder.get("extras")
    return extras if isinstance(extras, dict) else {}


def _apply(
    expressions: list[tuple[Use, Binds]], primitives: dict[tuple[int, int], MeshTargets]
) -> None:
    """Put what the expressions move into the plans, in place of targets of the same meaning."""
    made: dict[str, dict[int, list[tuple[int, float]]]] = {}
    for use, binds in expressions:
        if use.meaning is not None and use.is_used:
            whole = made.setdefault(use.meaning.name, {})
            for mesh_index, moved in binds.items():
                whole.setdefault(mesh_index, []).extend(moved.items())
    for (mesh_index, _), targets in primitives.items():
        targets.uses = [
            replace(use, note="an expression is used")
            if use.is_used and use.meaning is not None and use.meaning.name in made
            else use
            for use in targets.uses
        ]
        for name, whole in made.items():
            targets.plan.pop(name, None)
            if mesh_index in whole:
                targets.plan[name] = whole[mesh_index]


def list_drivers(document: dict[str, Any]) -> dict[tuple[int, int, int], list[tuple[str, float]]]:
    """Return which ARKit weights move each morph target, and by which factors.

    The key is (mesh, primitive, target). A weighted sum of targets is all that a renderer of the
    file itself can do: of what `retargeting` makes of whole-mouth shapes, half a shape becomes
    the whole by half the factor, and nothing is taken out of it. Raises RigError.
    """
    targets = read_targets(document)
    drivers: dict[tuple[int, int, int], list[tuple[str, float]]] = {}
    for name in ARKIT_NAMES:
        term = find_stand_in(name, targets.names) or Term(name)
        factor = term.gain * (0.5 if term.side else 1.0)
        for (mesh, primitive), entry in targets.primitives.items():
            for target, weight in entry.plan.get(term.source, ()):
                moved = drivers.setdefault((mesh, primitive, target), [])
                moved.append((name, factor * weight))
    return drivers
