"""Reads the expressions of VRM avatars, versions 0.x and 1.0: which morph targets they move."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from dualtalker.errors import RigError
from dualtalker.rig.gltf.format import find_item
from dualtalker.rig.retargeting import Use, choose_shapes

# Presets of VRM 0.x that VRM 1.0 calls otherwise; those of emotions mean nothing to ARKit.
_PRESETS_OF_0 = {
    "a": "aa",
    "i": "ih",
    "u": "ou",
    "e": "ee",
    "o": "oh",
    "blink_l": "blinkLeft",
    "blink_r": "blinkRight",
    "lookup": "lookUp",
    "lookdown": "lookDown",
    "lookleft": "lookLeft",
    "lookright": "lookRight",
}

_MOST_EXPRESSIONS = 2000  # an avatar with one for each of ARKit's shapes has 70
_MOST_BINDS = 64  # targets that an expression moves on a mesh; more is a mistake or an attack

# Targets of a mesh: weights by the target's index, by the mesh's index.
Binds = dict[int, dict[int, float]]


def faces_backward(document: dict[str, Any]) -> bool:
    """Whether the avatar looks along -z, as VRM 0.x has it; VRM 1.0 and others look along +z."""
    return "VRM" in _extensions(document)


def read_expressions(document: dict[str, Any]) -> list[tuple[Use, Binds]]:
    """Return what each expression means and moves; none where the file is no VRM.

    Expressions that move no morph target are left out. RigError where one moves a target that
    the file does not have.
    """
    found = []
    for number, (name, binds) in enumerate(_list_all(document)):
        if number >= _MOST_EXPRESSIONS:
            raise RigError(f"found over {_MOST_EXPRESSIONS} expressions; expected fewer")
        if any(binds.values()):
            found.append((name, binds))
    uses = choose_shapes([name for name, _ in found])
    return [(use, binds) for use, (_, binds) in zip(uses, found, strict=True)]


def _list_all(document: dict[str, Any]) -> Iterator[tuple[str, Binds]]:
    extensions = _extensions(document)
    counts: dict[int, int] = {}
    if "VRMC_vrm" in extensions:
        expressions = extensions["VRMC_vrm"].get("expressions") or {}
        for kind in ("preset", "custom"):
            for name, expression in (expressions.get(kind) or {}).items():
                binds: Binds = {}
                for bind in expression.get("morphTargetBinds") or []:
                    mesh = find_item(document, "nodes", bind["node"])["mesh"]
                    _add(binds, mesh, _count(document, mesh, counts), bind, name, 1.0)
                yield name, binds
    elif "VRM" in extensions:
        master = extensions["VRM"].get("blendShapeMaster") or {}
        for group in master.get("blendShapeGroups") or []:
            binds = {}
            preset = str(group.get("presetName") or "unknown").lower()
            name = str(group.get("name") if preset == "unknown" else preset)
            name = _PRESETS_OF_0.get(name.lower(), name)
            for bind in group.get("binds") or []:
                mesh = bind["mesh"]
                _add(binds, mesh, _count(document, mesh, counts), bind, name, 100.0)
            yield name, binds


def _count(document: dict[str, Any], mesh: Any, counts: dict[int, int]) -> int:
    """How many targets a mesh has; `counts` keeps what was found for its index."""
    primitives = find_item(document, "meshes", mesh)["primitives"]
    if mesh not in counts:
        sizes = (len(primitive.get("targets", [])) for primitive in primitives)
        counts[mesh] = max(sizes, default=0)
    return counts[mesh]


def _add(
    binds: Binds,
    mesh: int,
    count: int,
    bind: dict[str, Any],
    name: str,
    full: float,
) -> None:
    index, weight = bind["index"], bind.get("weight", full)
    if type(index) is not int or not 0 <= index < count:
        raise RigError(
            f"expression {name!r} moves the morph target {index!r} of mesh {mesh}, "
            f"which has {count}"
        )
    if type(weight) not in (int, float) or not math.isfinite(weight) or not 0 <= weight <= full:
        raise RigError(f"expression {name!r} has the weight {weight!r}; expected 0 to {full:g}")
    if weight > 0:
        moved = binds.setdefault(mesh, {})
        moved[index] = moved.get(index, 0.0) + weight / full
        if len(moved) > _MOST_BINDS:
            raise RigError(f"expression {name!r} moves over {_MOST_BINDS} targets of mesh {mesh}")


def _extensions(document: dict[str, Any]) -> dict[str, Any]:
    return document.get("extensions") or {}
