"""Which shapes the names in other programs' files mean: one table, one way to read a name.

What is known of a name here: the 52 of ARKit in every usual spelling, the words of Character
Creator for the same shapes, and `EXPRESSIONS`, which move more than one ARKit shape does.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, mirror_name

_SIDES = {"left": ("left", "l", "lf", "lt"), "right": ("right", "r", "rt")}
# Names that say a direction: not what one side of the face does.
_DIRECTIONS = ("jawLeft", "jawRight", "mouthLeft", "mouthRight")

# Whole-mouth and whole-eye shapes, by the names of VRM 1.0, and what else they are called: VRM 0,
# the visemes of Oculus (Ready Player Me, VRChat, Rocketbox), VRoid Studio, Character Creator, MMD.
EXPRESSIONS: dict[str, tuple[str, ...]] = {
    "aa": (
        *("viseme_aa", "v_aa", "vrc.v_aa", "AA_VI_10_aa", "Fcl_MTH_A", "あ"),
        *("V_Open", "Mouth_Open"),
    ),
    "ih": ("viseme_I", "viseme_ih", "v_ih", "vrc.v_ih", "AA_VI_12_I", "Fcl_MTH_I", "い"),
    "ou": ("viseme_U", "viseme_ou", "v_ou", "vrc.v_ou", "AA_VI_14_U", "Fcl_MTH_U", "う"),
    "ee": ("viseme_E", "v_e", "vrc.v_e", "AA_VI_11_E", "Fcl_MTH_E", "え"),
    "oh": ("viseme_O", "viseme_oh", "v_oh", "vrc.v_oh", "AA_VI_13_O", "Fcl_MTH_O", "お"),
    "blink": ("eyesClosed", "eyesBlink", "vrc.blink", "Fcl_EYE_Close", "まばたき"),
    "blinkLeft": ("blink_L", "Fcl_EYE_Close_L"),
    "blinkRight": ("blink_R", "Fcl_EYE_Close_R"),
    "lookUp": ("eyesLookUp", "vrc.lookingup"),
    "lookDown": ("eyesLookDown", "vrc.lookingdown"),
    "lookLeft": ("eyesLookLeft",),
    "lookRight": ("eyesLookRight",),
}

# Character Creator 3 and 4 and iClone, where their words are not ARKit's; sides follow.
_CHARACTER_CREATOR: dict[str, tuple[str, ...]] = {
    "browDown": ("Brow_Drop",),
    "browInnerUp": ("Brow_Raise_Inner",),
    "browOuterUp": ("Brow_Raise_Outer",),
    "cheekPuff": ("Cheek_Blow",),
    "cheekSquint": ("Cheek_Raise",),
    "mouthLowerDown": ("Mouth_Down_Lower", "Mouth_Bottom_Lip_Down"),
    "mouthRollLower": ("Mouth_Roll_In_Lower", "Mouth_Bottom_Lip_Under"),
    "mouthRollUpper": ("Mouth_Roll_In_Upper", "Mouth_Top_Lip_Under"),
    "mouthStretch": ("Mouth_Widen",),
    "mouthUpperUp": ("Mouth_Up_Upper", "Mouth_Top_Lip_Up"),
    "noseSneer": ("Nose_Scrunch",),
}
# ... and where they cut a shape into quarters.
_QUARTERED = {"mouthFunnel": "Mouth_Funnel", "mouthPucker": "Mouth_Pucker"}
# Before an underscore these say that a shape is not what its name ends with.
_UNLIKE = {"no", "not", "non", "anti", "inv", "inverse", "neg", "negative", "corrective", "fix"}
# At a name's end these say nothing: Maya's mouthSmile_LShape.
_SAYS_NOTHING = re.compile(
    r"[\W_]*(shapes?|blendshapes?|morphs?|targets?|mesh|geo|bs)[\W_]*$", re.IGNORECASE
)
_NUMBERED = re.compile(r"(a|t|ak)\d*|arkit")  # A25_Jaw_Open, AK_25_JawOpen: ARKit's set by number
_NAMESPACES = ".:|/"
_WORD = re.compile(r"[^\W_]+")
_SHORT = 7  # a shorter spelling, such as `mouth_l`, is too little to be found at a name's end
_TAIL = 120  # characters at a name's end that are looked at, for what stands before the shape
_ENDING = 60  # and for the shape itself


@dataclass(frozen=True)
class Meaning:
    """What a name says: the shape, and which part of it where it is only a part."""

    name: str  # an ARKit name, the stem of two (`mouthSmile`: both sides), or an expression
    part: str = ""  # "left", "upper left" and so on: parts of one shape add up
    distance: int = 0  # how far the spelling is from the name; the nearest counts
    spelling: str = ""  # what of the raw name says it, in lower case without separators

    @property
    def is_shape(self) -> bool:
        """Whether it is one of ARKit's 52, or a part of it."""
        return self.name in ARKIT_INDEX


def read_name(raw: str) -> Meaning | None:
    """Return what a shape's name in a file means; None where it means nothing known.

    `head.MouthSmile_L` is mouthSmileLeft, `browInnerUp_R` the right part of browInnerUp,
    `A25_Jaw_Open` jawOpen. Case, separators, Blender's `.001` (also where its dot got lost),
    Maya's last digit or `Shape`, and what stands before the name do not count, unless that is a
    shape itself (`jawOpen_mouthClose` is none).
    """
    plain = re.sub(r"(\.\d+|_0\d\d)+\s*$", "", raw[-_TAIL:])
    plain, digits = re.subn(r"(?<=[^\W\d_])(0\d\d|\d\d?)$", "", plain.strip())
    plain, endings = _SAYS_NOTHING.subn("", plain)
    spelling, start = _find_ending(plain)
    if not spelling or not _may_precede(plain[:start], spelling):
        return None
    found = _SPELLINGS[spelling]
    distance = 1 + found.distance + _distance_of(plain[:start]) + (3 if digits or endings else 0)
    return replace(found, distance=0 if raw == found.name else distance, spelling=spelling)


def list_spellings(name: str) -> list[str]:
    """Return how other programs write a shape or an expression; case and separators are free."""
    stem = _stem_of(name)
    if name in EXPRESSIONS:
        return list(EXPRESSIONS[name])
    words = [*_CHARACTER_CREATOR.get(stem, ())]
    if stem == name:
        words += [f"{quarter}_Up_L" for quarter in [_QUARTERED.get(name)] if quarter]
        return words
    letter = "L" if name.endswith("Left") else "R"
    return [f"{word}_{letter}" for word in (stem, *words)]


def _find_ending(plain: str) -> tuple[str, int]:
    """Return the longest spelling that a name ends with, and where it begins; "" for none."""
    tail, spelling, start = "", "", 0
    first = max(len(plain) - _ENDING, 0)
    words = list(_WORD.finditer(plain, first))
    for word in reversed(words):
        tail = word.group().lower() + tail
        if tail not in _ENDINGS:
            break
        if tail in _SPELLINGS:
            spelling, start = tail, word.start()
    return spelling, start


def _may_precede(before: str, spelling: str) -> bool:
    """Whether a shape's name may follow this: another shape's name may not, nor a negation."""
    inner = re.split(rf"[{re.escape(_NAMESPACES)}]", before)[-1]
    words = _words_of(inner)
    if not words:
        return True
    other, _ = _find_ending(inner)
    is_shape = bool(other) and _SPELLINGS[other].is_shape
    return len(spelling) >= _SHORT and _UNLIKE.isdisjoint(words) and not is_shape


def _distance_of(before: str) -> int:
    words = _words_of(before)
    if not words:
        return 0
    return 0 if all(_NUMBERED.fullmatch(word) or word.isdigit() for word in words) else 1


def _words_of(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _stem_of(name: str) -> str:
    """The name without its side, or as it is where it has none."""
    if mirror_name(name) == name or name in _DIRECTIONS:
        return name
    return name.removesuffix("Left").removesuffix("Right")


def _spell(name: str, word: str, distance: int) -> Iterator[tuple[str, Meaning]]:
    """Spellings of a shape by one word for it, with its side where it has one, or its halves."""
    stem = _stem_of(name)
    if stem == name:
        yield word, Meaning(name, "", distance)
        for part, marks in _SIDES.items():
            for mark in marks:
                yield f"{word}{mark}", Meaning(name, part, distance)
                yield f"{mark}{word}", Meaning(name, part, distance)
        return
    yield word, Meaning(stem, "", distance)
    first, *rest = re.findall(r"[A-Za-z][a-z]*", word.replace("_", " "))
    for mark in _SIDES["left" if name.endswith("Left") else "right"]:
        yield f"{word}{mark}", Meaning(name, "", distance)
        yield f"{mark}{word}", Meaning(name, "", distance)
        yield f"{first}{mark}{''.join(rest)}", Meaning(name, "", distance)  # Eye_L_Look_Up


def _list_meanings() -> Iterator[tuple[str, Meaning]]:
    """Every spelling that is understood, with its meaning; ARKit's own words first."""
    for name in ARKIT_NAMES:
        yield from _spell(name, _stem_of(name), 0)
    for name in ARKIT_NAMES:
        for word in _CHARACTER_CREATOR.get(_stem_of(name), ()):
            yield from _spell(name, word, 2)
    for name in _DIRECTIONS:
        side = "left" if name.endswith("Left") else "right"
        for mark in _SIDES[side]:
            yield f"{name.removesuffix(side.capitalize())}{mark}", Meaning(name)
    for eye, left, right in (("left", "Out", "In"), ("right", "In", "Out")):
        for side, way in (("left", left), ("right", right)):
            name = f"eyeLook{way}{eye.capitalize()}"
            for eye_mark, side_mark in itertools.product(_SIDES[eye], _SIDES[side]):
                yield f"eye{eye_mark}look{side_mark}", Meaning(name, "", 2)
    for name, word in _QUARTERED.items():
        for lip, mark in (("upper", "up"), ("lower", "down")):
            for side, marks in _SIDES.items():
                for side_mark in marks:
                    yield f"{word}{mark}{side_mark}", Meaning(name, f"{lip} {side}", 2)
    for name, words in EXPRESSIONS.items():
        for word in (name, *words):
            yield word, Meaning(name)


def _build_table() -> dict[str, Meaning]:
    table: dict[str, Meaning] = {}
    for spelling, meaning in _list_meanings():
        table.setdefault("".join(_words_of(spelling)), meaning)
    return table


_SPELLINGS = _build_table()
_ENDINGS = {spelling[at:] for spelling in _SPELLINGS for at in range(len(spelling))}
