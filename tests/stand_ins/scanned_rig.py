"""A scanned face with ARKit's shapes, where its data lies beside the checkout."""

from __future__ import annotations

import json

import numpy as np
import pytest

from checkout import ROOT
from dualtalker.arkit import ARKIT_NAMES
from dualtalker.rig import Rig, build_rig


def scanned_rig() -> Rig:
    """The ICT-FaceKit face; centimetres in the file."""
    folder = ROOT.parent / "shared" / "data" / "face" / "ict_facekit"
    if not folder.exists():
        pytest.skip("needs ../shared/data/face/ict_facekit beside the checkout")
    data = np.load(folder / "ict_facekit_light.npz")
    mapping = json.loads((folder / "arkit52_to_ict.json").read_text())
    row = {str(name): index for index, name in enumerate(data["expression_names"])}
    names = [name for name in ARKIT_NAMES if mapping[name]]
    to_m = 0.01 * float(data["expression_scale"])
    deltas = [
        sum(data["expression_delta"][row[n]] * to_m for n in mapping[name]) for name in names
    ]
    quads = data["faces"]
    full = quads[quads[:, 3] >= 0]
    triangles = np.concatenate([quads[:, :3], full[:, [0, 2, 3]]])
    return build_rig("ICT", data["neutral"] * 0.01, triangles, names, np.stack(deltas))
