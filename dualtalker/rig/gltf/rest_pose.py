"""Where the vertices of a glTF document rest: with their node, or with the joints of a skin."""

from __future__ import annotations

from typing import Any

import numpy as np

from dualtalker.errors import RigError
from dualtalker.rig.gltf.accessors import AccessorReader
from dualtalker.rig.gltf.format import find_item
from dualtalker.rig.gltf.nodes import check_size, place_nodes
from dualtalker.rig.gltf.vrm import faces_backward

_MOST_JOINTS = 100_000  # of all skins together; an avatar has 60 to 300 in each of a few
_MOST_SETS = 8  # of four joints for each vertex: JOINTS_0 and so on; files have one or two


class RestPose:
    """The nodes and skeletons of one document as the file leaves them."""

    def __init__(self, reader: AccessorReader) -> None:
        """Raises RigError where the nodes are no trees."""
        self._reader = reader
        self._world = place_nodes(reader.document)
        if faces_backward(reader.document):
            self._world = np.diag([-1.0, 1.0, -1.0, 1.0]) @ self._world
        self._joints: dict[object, np.ndarray] = {}  # matrices [joints, 4, 4] of each skin

    def find_matrices(self, node: int, attributes: dict[str, Any], count: int) -> np.ndarray:
        """Return the matrices that bring a primitive's vertices to rest: [1 or count, 4, 4].

        By the specification (glTF 2.0, 3.7.3.3) a skinned mesh ignores its node's place. Raises
        RigError.
        """
        skin = self._reader.document["nodes"][node].get("skin")
        if skin is None or "JOINTS_0" not in attributes:
            return self._world[node][None]
        return self._blend_joints(skin, attributes, count)

    def _blend_joints(self, skin: object, attributes: dict[str, Any], count: int) -> np.ndarray:
        """The sum of weight * joint * inverse bind of each vertex, whose weights are made 1."""
        matrices = self._joint_matrices(skin)
        placed = np.zeros((count, 4, 4))
        total = np.zeros(count)
        for number in range(_MOST_SETS):
            if f"JOINTS_{number}" not in attributes:
                break
            joints = self._reader.read_whole(
                attributes[f"JOINTS_{number}"], f"JOINTS_{number}", "VEC4", count
            )
            weights = self._reader.read(
                attributes[f"WEIGHTS_{number}"], "VEC4", f"WEIGHTS_{number}", count
            )
            # Exporters leave any joint where the weight is 0.
            joints = np.where(weights > 0, joints, 0)
            if joints.max() >= len(matrices):
                raise RigError(f"JOINTS_{number} names joint {joints.max()} of {len(matrices)}")
            for column in range(4):
                used = np.flatnonzero(weights[:, column] > 0)
                share = weights[used, column]
                total[used] += share
                placed[used] += share[:, None, None] * matrices[joints[used, column]]
        placed[total <= 0] = matrices[0]
        return placed / np.where(total > 0, total, 1.0)[:, None, None]

    def _joint_matrices(self, index: object) -> np.ndarray:
        """World matrix times inverse bind matrix of each joint of a skin, [joints, 4, 4]."""
        skin = find_item(self._reader.document, "skins", index)
        if index in self._joints:
            return self._joints[index]
        joints = skin["joints"]
        if not isinstance(joints, list) or not 1 <= len(joints) <= _MOST_JOINTS:
            raise RigError(
                f"skin {index}: found {len(joints)} joints; expected 1 to {_MOST_JOINTS}"
            )
        for joint in joints:
            find_item(self._reader.document, "nodes", joint)
        matrices = self._world[joints]
        if "inverseBindMatrices" in skin:
            what = f"inverse bind matrices of skin {index}"
            columns = self._reader.read(skin["inverseBindMatrices"], "MAT4", what)
            if len(columns) < len(joints):
                raise RigError(f"{what}: found {len(columns)}; expected {len(joints)}")
            binds = columns[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1)
            with np.errstate(over="ignore", invalid="ignore"):
                matrices = matrices @ binds
        check_size(f"the joints of skin {index} multiply", matrices)
        self._joints[index] = matrices
        return matrices
