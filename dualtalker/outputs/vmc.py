"""Sends faces by the VMC protocol (OSC) to VTuber programs: VSeeFace, VMagicMirror, Warudo.

The addresses are those of protocol.vmc.info (Performer to Marionette): blendshapes, then Apply,
the head bone in Unity's axes, OK and the time. A bundle stays below what an Ethernet frame holds.
"""

from __future__ import annotations

import itertools
import time
from urllib.parse import SplitResult

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, expand
from dualtalker.errors import OutputError
from dualtalker.outputs.osc import bundle_messages, need_osc, write_message
from dualtalker.outputs.output import DatagramOutput
from dualtalker.rig import VISEMES
from dualtalker.stream import Frame

# VRM 0's vowels and the mouths that they stand for.
_VOWELS = {"A": "AA", "I": "IY", "U": "UW", "E": "EH", "O": "OW"}
_POSES = np.stack([expand(VISEMES[name]) for name in _VOWELS.values()])
# All choices of vowels, and what solves the normal equations of each [choices, 5, 5].
_CHOICES = [
    list(choice)
    for count in range(1, len(_VOWELS) + 1)
    for choice in itertools.combinations(range(len(_VOWELS)), count)
]
_SOLVERS = np.zeros((len(_CHOICES), len(_VOWELS), len(_VOWELS)))
for _solver, _choice in zip(_SOLVERS, _CHOICES, strict=True):
    _solver[np.ix_(_choice, _choice)] = np.linalg.inv(_POSES[_choice] @ _POSES[_choice].T)
_SIDES = {"Blink_L": "eyeBlinkLeft", "Blink_R": "eyeBlinkRight"}
# Names of shapes on avatars with ARKit's shapes ("perfect sync").
_SHAPES = tuple(name[0].upper() + name[1:] for name in ARKIT_NAMES)


class VmcOutput(DatagramOutput):
    """A face for VTuber programs; the path `/vowels` is for avatars without ARKit's shapes."""

    scheme, usual_port = "vmc", 39539

    def __init__(self, address: SplitResult) -> None:
        """Raises OutputError for an address that is none, or where python-osc is missing."""
        need_osc(self.scheme)
        path = address.path.strip("/")
        if path not in ("", "vowels"):
            raise OutputError(f"{address.geturl()}: found /{path}; expected nothing, or /vowels")
        super().__init__(address)
        self._vowels = path == "vowels"
        self._began_s = time.monotonic()

    def encode(self, frame: Frame) -> list[bytes]:
        """Return the bundles of a frame; the last one holds Apply."""
        shapes = (
            fit_vowels(frame.weights)
            if self._vowels
            else dict(zip(_SHAPES, frame.weights.tolist(), strict=True))
        )
        messages = [
            write_message("/VMC/Ext/Blend/Val", name, value) for name, value in shapes.items()
        ]
        messages.append(write_message("/VMC/Ext/Blend/Apply"))
        if frame.head is not None:
            turn = turn_head(frame.head).tolist()
            messages.append(write_message("/VMC/Ext/Bone/Pos", "Head", 0.0, 0.0, 0.0, *turn))
        messages.append(write_message("/VMC/Ext/OK", 1))
        messages.append(write_message("/VMC/Ext/T", time.monotonic() - self._began_s))
        return bundle_messages(messages)


def fit_vowels(weights: np.ndarray) -> dict[str, float]:
    """Return VRM 0's vowels and blinks [0, 1] for weights [52].

    Vowels are the mixture, without negative parts, that comes nearest to the mouth: of the least
    squares of all choices of vowels the best that has none.
    """
    wanted = _POSES @ weights
    mixtures = _SOLVERS @ wanted  # [choices, 5]
    gains = np.where((mixtures >= -1e-9).all(axis=1), mixtures @ wanted, 0.0)
    best = int(np.argmax(gains))
    mixture = np.maximum(mixtures[best], 0.0) if gains[best] > 0 else np.zeros(len(wanted))
    scale = 1.0 / max(1.0, float(mixture.sum()))
    shapes = {name: scale * float(part) for name, part in zip(_VOWELS, mixture, strict=True)}
    blinks = {name: float(weights[ARKIT_INDEX[shape]]) for name, shape in _SIDES.items()}
    both = min(blinks.values())
    # A model adds what it is given: what both eyes do is told once.
    return {**shapes, "Blink": both, **{name: value - both for name, value in blinks.items()}}


def turn_head(head: np.ndarray) -> np.ndarray:
    """Return the quaternion (x, y, z, w) of the head's angles [3] (rad) in Unity's axes.

    Unity: x to the face's right, y up, z forward, left-handed; turned by y, then x, then z.
    """
    pitch, yaw, roll = (float(angle) / 2 for angle in head)
    (sx, sy, sz), (cx, cy, cz) = np.sin([pitch, -yaw, -roll]), np.cos([pitch, -yaw, -roll])
    return np.array(
        [
            cy * sx * cz + sy * cx * sz,
            sy * cx * cz - cy * sx * sz,
            cy * cx * sz - sy * sx * cz,
            cy * cx * cz + sy * sx * sz,
        ]
    )
