"""Decodes primitives that Draco compressed, under limits: the child of `draco`.

    python -m dualtalker.rig.gltf.draco_worker CPU_S MEMORY_BYTES

Its input is a line of JSON, one record for each primitive, and an .npz with the data of each; its
output an .npz with the arrays `PRIMITIVE/ACCESSOR`. Status 1 with a line on stderr: why not.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import DracoPy
import numpy as np

from dualtalker.children import limit_self


def main(cpu_s: int, memory_bytes: int) -> int:
    """Return the status of the process."""
    tasks = json.loads(sys.stdin.buffer.readline())
    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as file:
        packed = [file[str(number)].tobytes() for number in range(len(tasks))]
    limit_self(cpu_s, memory_bytes)
    arrays: dict[str, Any] = {}
    try:
        for number, (task, data) in enumerate(zip(tasks, packed, strict=True)):
            for accessor, array in _decode(task, data).items():
                arrays[f"{number}/{accessor}"] = array
        np.savez(sys.stdout.buffer, **arrays)
    except (DracoPy.FileTypeException, ValueError, RuntimeError, MemoryError) as error:
        sys.stderr.write(str(error) or type(error).__name__)
        return 1
    return 0


def _decode(task: dict[str, Any], data: bytes) -> dict[int, np.ndarray]:
    """The arrays of one primitive by the accessor that they are for."""
    mesh = DracoPy.decode(data)
    if not isinstance(mesh, DracoPy.DracoMesh):
        raise ValueError("it holds points, no triangles")
    found = (len(mesh.points), mesh.faces.size)
    expected = (task["count"], task["corners"])
    if found != expected:
        raise ValueError(f"{found[0]} vertices and {found[1]} corners; expected {expected}")
    by_id = {attribute["unique_id"]: attribute["data"] for attribute in mesh.attributes}
    by_id[-1] = mesh.faces.reshape(-1, 1)
    missing = [number for _, number in task["arrays"] if number not in by_id]
    if missing:
        raise ValueError(f"no attributes {missing}; found {sorted(by_id)[1:]}")
    return {accessor: np.ascontiguousarray(by_id[number]) for accessor, number in task["arrays"]}


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
