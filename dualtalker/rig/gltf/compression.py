"""What to say of compressed glTF meshes: by which extension, and what undoes it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from dualtalker.errors import RigError
from dualtalker.rig.gltf.format import find_item

# Of buffer views, with the data in another place. The first became the second.
_OF_VIEWS = ("EXT_meshopt_compression", "KHR_meshopt_compression")
DRACO = "KHR_draco_mesh_compression"


def check_view(document: dict[str, Any], view: dict[str, Any], file_name: str) -> None:
    """Refuse a view of which only the compressed form is in the file. Raises RigError."""
    used = [name for name in _OF_VIEWS if name in (view.get("extensions") or {})]
    if used:
        buffer = find_item(document, "buffers", view.get("buffer"))
        is_there = view["buffer"] == 0 and "uri" not in buffer
        if not is_there or used[0] in (buffer.get("extensions") or {}):
            raise make_refusal(used[0], file_name)


def is_draco_alone(document: dict[str, Any], primitive: dict[str, Any]) -> bool:
    """Whether a primitive's vertices are in the file in Draco's form only. Raises RigError.

    Other extensions, such as KHR_materials_variants, change nothing in its vertices.
    """
    if DRACO not in (primitive.get("extensions") or {}):
        return False
    position = find_item(document, "accessors", primitive["attributes"]["POSITION"])
    return "bufferView" not in position


def make_refusal(extension: str, file_name: str, remedy: str = "") -> RigError:
    """Return an error that names the extension and the command that undoes it."""
    names = shlex.join([file_name, f"{Path(file_name).stem}_plain.glb"])
    return RigError(
        f"its meshes are compressed by {extension}; {remedy}undo it with: "
        f"npx @gltf-transform/cli copy {names}"
    )
