"""What to say of compressed glTF meshes: by which extension, and what undoes it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from dualtalker.errors import RigError
from dualtalker.rig.gltf.format import find_item

# Of buffer views, with the data in another place. The first became the second.
_OF_VIEWS = ("EXT_meshopt_compression", "KHR_meshopt_compression")
_OF_PRIMITIVES = ("KHR_draco_mesh_compression",)


def check_view(document: dict[str, Any], view: dict[str, Any], file_name: str) -> None:
    """Refuse a view of which only the compressed form is in the file. Raises RigError."""
    used = [name for name in _OF_VIEWS if name in (view.get("extensions") or {})]
    if used:
        buffer = find_item(document, "buffers", view.get("buffer"))
        is_there = view["buffer"] == 0 and "uri" not in buffer
        if not is_there or used[0] in (buffer.get("extensions") or {}):
            raise _refusal(used[0], file_name)


def check_primitive(document: dict[str, Any], primitive: dict[str, Any], file_name: str) -> None:
    """Refuse a primitive whose vertices are only in their compressed form. Raises RigError.

    Other extensions, such as KHR_materials_variants, change nothing in its vertices.
    """
    used = [name for name in _OF_PRIMITIVES if name in (primitive.get("extensions") or {})]
    if used:
        position = find_item(document, "accessors", primitive["attributes"]["POSITION"])
        if "bufferView" not in position:
            raise _refusal(used[0], file_name)


def _refusal(extension: str, file_name: str) -> RigError:
    names = shlex.join([file_name, f"{Path(file_name).stem}_plain.glb"])
    return RigError(
        f"its meshes are compressed by {extension}; undo it with: "
        f"npx @gltf-transform/cli copy {names}"
    )
