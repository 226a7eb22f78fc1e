"""The face that screens load: what of a user's file is sent, and what is refused."""

from __future__ import annotations

import json
import struct

import pytest

from dualtalker.display import load_face
from dualtalker.errors import RigError
from dualtalker.rig import save_rig
from dualtalker.rig.robot_head import build_head


@pytest.fixture(scope="module")
def glb(tmp_path_factory):
    return save_rig(build_head(), tmp_path_factory.mktemp("face") / "head.glb").read_bytes()


def require(glb: bytes, *extensions: str) -> bytes:
    """Return a GLB that says that it needs extensions."""
    length = struct.unpack_from("<I", glb, 12)[0]
    document = json.loads(glb[20 : 20 + length])
    document["extensionsUsed"] = document["extensionsRequired"] = list(extensions)
    packed = json.dumps(document).encode()
    packed += b" " * (-len(packed) % 4)
    body = struct.pack("<I4s", len(packed), b"JSON") + packed + glb[20 + length :]
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def test_a_users_glb_is_sent_as_it_is(tmp_path, glb):
    path = tmp_path / "my face.glb"
    path.write_bytes(require(glb, "KHR_mesh_quantization"))
    face = load_face(path)
    assert face.glb == path.read_bytes()
    assert face.shapes == load_face().shapes


@pytest.mark.parametrize(
    ("extension", "command"),
    [
        ("KHR_draco_mesh_compression", "copy"),
        ("EXT_meshopt_compression", "copy"),
        ("KHR_texture_basisu", "ktxdecompress"),
    ],
)
def test_what_the_page_cannot_unpack_is_refused_with_what_undoes_it(
    tmp_path, glb, extension, command
):
    """Here the face's own mesh is plain; another one or a texture of the file is packed."""
    path = tmp_path / "my face.glb"
    path.write_bytes(require(glb, extension))
    with pytest.raises(RigError, match=rf"{extension}.*cli {command} '.*my face.glb' 'my face_pl"):
        load_face(path)
