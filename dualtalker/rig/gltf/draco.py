"""Undoes Draco's compression of glTF primitives by the package DracoPy, in a child with limits.

A few kilobytes of it may ask for more points than any memory holds.
"""

from __future__ import annotations

import importlib.util
import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from dualtalker.children import run_child
from dualtalker.errors import RigError
from dualtalker.rig.gltf.accessors import AccessorReader
from dualtalker.rig.gltf.compression import DRACO, is_draco_alone, make_refusal

_WORKER = "dualtalker.rig.gltf.draco_worker"
_CPU_S, _MEMORY_BYTES = 6, 512 << 20
_MOST_PRIMITIVES = 500


def undo_draco(reader: AccessorReader, primitives: Sequence[dict[str, Any]]) -> None:
    """Give `reader` what compressed primitives hold; others are left alone.

    Raises:
        RigError: DracoPy is not installed, or the data is damaged or takes too much.
    """
    packed = {id(one): one for one in primitives if is_draco_alone(reader.document, one)}
    if not packed:
        return
    if importlib.util.find_spec("DracoPy") is None:
        raise make_refusal(
            DRACO, reader.file_name, "install what reads it: python -m pip install DracoPy; or "
        )
    if len(packed) > _MOST_PRIMITIVES:
        raise make_refusal(DRACO, reader.file_name, f"{len(packed)} primitives are too many; ")
    tasks: list[dict[str, Any]] = []
    data: dict[str, Any] = {}  # arrays; numpy's types know no names for `savez`
    for number, primitive in enumerate(packed.values()):
        tasks.append(_describe(reader, primitive))
        view = primitive["extensions"][DRACO]["bufferView"]
        data[str(number)] = np.frombuffer(reader.read_view(view, DRACO), np.uint8)
    unpacked = _decode(reader, tasks, data)
    for number, task in enumerate(tasks):
        for accessor, _ in task["arrays"]:
            reader.supply(accessor, unpacked[f"{number}/{accessor}"])


def _describe(reader: AccessorReader, primitive: dict[str, Any]) -> dict[str, Any]:
    """What the child must know: counts, and (accessor, id in Draco's data) of each array.

    The id of the triangles' corners is -1.
    """
    ids = primitive["extensions"][DRACO]["attributes"]
    attributes = primitive["attributes"]
    arrays = [(attributes[name], ids[name]) for name in attributes if name in ids]
    if not all(type(number) is int for pair in arrays for number in pair):
        raise RigError(f"the ids of {DRACO} are not whole numbers")
    corners = reader.count(primitive["indices"], whole=True)
    arrays.append((primitive["indices"], -1))
    return {"count": reader.count(attributes["POSITION"]), "corners": corners, "arrays": arrays}


def _decode(
    reader: AccessorReader, tasks: list[dict[str, Any]], data: dict[str, Any]
) -> dict[str, np.ndarray]:
    packed = io.BytesIO()
    np.savez(packed, **data)
    limits = [str(_CPU_S), str(_MEMORY_BYTES)]
    status, output, said = run_child(
        _WORKER, limits, json.dumps(tasks).encode() + b"\n" + packed.getvalue()
    )
    if status == 0:
        try:
            with np.load(io.BytesIO(output), allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            said = str(error)
    found = said.rpartition("\n")[2][-300:] or f"it takes over {_CPU_S} s or memory"
    raise make_refusal(DRACO, reader.file_name, f"it cannot be read ({found}); ")
