"""The nodes of a glTF document: which of them show a mesh, and where they stand in the world."""

from __future__ import annotations

import reprlib
from collections import deque
from typing import Any

import numpy as np

from dualtalker.errors import RigError
from dualtalker.rig.gltf.format import find_item

_MOST_NODES = 50_000  # an avatar has some hundreds
_LARGEST = 1e12  # of what places vertices, in any unit


def place_nodes(document: dict[str, Any]) -> np.ndarray:
    """Return the world matrix of every node, [nodes, 4, 4]. RigError where they are no trees."""
    nodes = document.get("nodes", [])
    if not isinstance(nodes, list) or len(nodes) > _MOST_NODES:
        raise RigError(f"found {len(nodes)} nodes; expected a list of at most {_MOST_NODES}")
    world = np.tile(np.eye(4), (len(nodes), 1, 1))
    order = _from_roots(document, len(nodes))
    with np.errstate(over="ignore", invalid="ignore"):
        for index, above in order:
            node = nodes[index]
            if not node.keys().isdisjoint(("matrix", "rotation", "scale", "translation")):
                world[index] = _local_matrix(node)
                if above is not None:
                    world[index] = world[above] @ world[index]
            elif above is not None:
                world[index] = world[above]
    check_size("the nodes' transforms multiply", world)
    return world


def check_size(what: str, values: np.ndarray) -> None:
    """Refuse numbers so large that further sums of them would overflow. Raises RigError."""
    if not (np.abs(values) <= _LARGEST).all():
        raise RigError(f"{what} to numbers beyond {_LARGEST:g}")


def find_mesh_nodes(document: dict[str, Any]) -> list[int]:
    """Return the nodes with a mesh of the default scene, or of all where there is no scene."""
    scenes = document.get("scenes") or []
    nodes = document.get("nodes", [])
    if not scenes:
        return [index for index, node in enumerate(nodes) if "mesh" in node]
    waiting = deque(scenes[document.get("scene", 0)].get("nodes", []))
    visited: set[int] = set()
    found = []
    while waiting:
        index = waiting.popleft()
        node = find_item(document, "nodes", index)
        if index in visited:
            raise RigError(f"node {index} is reached twice; a scene must be a tree")
        visited.add(index)
        waiting += node.get("children", [])
        if "mesh" in node:
            found.append(index)
    return found


def _from_roots(document: dict[str, Any], count: int) -> list[tuple[int, int | None]]:
    """All nodes with their parents, parents first."""
    parents: dict[int, int] = {}
    for index in range(count):
        for child in find_item(document, "nodes", index).get("children", []):
            find_item(document, "nodes", child)
            if child in parents:
                raise RigError(f"node {child} is reached twice; a scene must be a tree")
            parents[child] = index
    order: list[tuple[int, int | None]] = [(i, None) for i in range(count) if i not in parents]
    for index, _ in order:  # grows meanwhile
        order += [(child, index) for child in document["nodes"][index].get("children", [])]
    if len(order) < count:
        raise RigError(f"{count - len(order)} nodes stand in a circle; a scene must be a tree")
    return order


def _local_matrix(node: dict[str, Any]) -> np.ndarray:
    if "matrix" in node:
        return _numbers(node["matrix"], 16).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = _numbers(node.get("rotation", [0, 0, 0, 1]), 4)
    matrix[:3, :3] = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    ) * _numbers(node.get("scale", [1, 1, 1]), 3)
    matrix[:3, 3] = _numbers(node.get("translation", [0, 0, 0]), 3)
    return matrix


def _numbers(values: object, count: int) -> np.ndarray:
    if (
        not isinstance(values, list)
        or len(values) != count
        or not all(type(value) in (int, float) for value in values)
    ):
        raise RigError(f"a node's transform has {reprlib.repr(values)}; expected {count} numbers")
    array = np.array(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise RigError(f"a node's transform has {reprlib.repr(values)}; expected finite numbers")
    return array
