"""Mouths of single sounds as ARKit weights, to look at a rig by and to teach from."""

from __future__ import annotations

# Five vowels, and the three sounds that people see: lips shut, lip on teeth, tongue out. Own
# values, set against the shapes of two ARKit rigs and 8 s of articulograph data. Names without
# Left or Right stand for both sides.
VISEMES: dict[str, dict[str, float]] = {
    "AA": {"jawOpen": 0.62, "mouthLowerDown": 0.25, "mouthUpperUp": 0.08},
    "EH": {"jawOpen": 0.36, "mouthStretch": 0.2, "mouthLowerDown": 0.28, "mouthUpperUp": 0.1},
    "IY": {
        "jawOpen": 0.15,
        "mouthStretch": 0.35,
        "mouthSmile": 0.2,
        "mouthLowerDown": 0.3,
        "mouthUpperUp": 0.1,
    },
    "OW": {"jawOpen": 0.32, "mouthFunnel": 0.45, "mouthPucker": 0.35},
    "UW": {"jawOpen": 0.14, "mouthFunnel": 0.25, "mouthPucker": 0.75},
    "PP": {
        "jawOpen": 0.06,
        "mouthClose": 0.06,
        "mouthPress": 0.3,
        "mouthRollLower": 0.25,
        "mouthRollUpper": 0.2,
    },
    "FF": {"jawOpen": 0.09, "mouthRollLower": 0.4, "mouthUpperUp": 0.25, "mouthShrugLower": 0.2},
    "TH": {"jawOpen": 0.14, "mouthLowerDown": 0.25, "tongueOut": 0.3},
}
