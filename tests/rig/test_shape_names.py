"""Names of shapes: every usual spelling of ARKit's is read, no two are taken for each other."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, mirror_name
from dualtalker.rig.shape_names import EXPRESSIONS, list_spellings, read_name

DIRECTIONS = ("jawLeft", "jawRight", "mouthLeft", "mouthRight")
CENTRAL = [name for name in ARKIT_NAMES if mirror_name(name) == name]
PREFIXES = [
    *(
        "",
        "blendShape1.",
        "blendShape2.",
        "Face.M_F00_000_00_",
        "head_lod0_mesh__",
        "A25_",
        "A07_",
    ),
    *(
        "AK_25_",
        "ARKit_",
        "CTRL_expressions_",
        "CC_Base_Body.",
        "rig:head|",
        "Wolf3D_Head_",
        "bs_",
    ),
    *("teeth_lower_", "Scene/Head/", "blendShapes."),
]
ENDINGS = [
    "",
    ".001",
    ".012",
    ".001.002",
    " ",
    "1",
    "_001",
    "012",
    "Shape",
    "_geo",
    "_blendShape1",
]


def shape_of(raw: str) -> tuple[str, str] | None:
    """The ARKit shape that a name means, and which part of it."""
    meaning = read_name(raw)
    return (meaning.name, meaning.part) if meaning and meaning.is_shape else None


def words_of(name: str) -> list[str]:
    return re.findall(r"[A-Z]?[a-z]+", name)


@st.composite
def spellings(draw, name: str) -> str:
    """A name as some program might write it: words, side, separators, case, surroundings."""
    words = words_of(name)
    if words[-1] in ("Left", "Right"):
        *stem, side = words
        letter = side[0]
        parts = draw(
            st.sampled_from(
                [[*stem, side], [*stem, letter], [*stem, {"L": "lf", "R": "rt"}[letter]]]
                if name in DIRECTIONS
                else [[*stem, side], [*stem, letter], [side, *stem], [letter, *stem]]
            )
        )
    else:
        parts = words
    between = draw(st.sampled_from(["", "_", "-", " ", "__", "."]))
    style = draw(st.sampled_from(["camel", "Pascal", "lower", "UPPER"]))
    shaped = [part.capitalize() for part in parts]
    if style == "camel":
        shaped[0] = shaped[0].lower()
    elif style == "lower":
        shaped = [part.lower() for part in parts]
    elif style == "UPPER":
        shaped = [part.upper() for part in parts]
    plain = between.join(shaped)
    before, after = draw(st.sampled_from(PREFIXES)), draw(st.sampled_from(ENDINGS))
    if len(re.sub(r"[\W_]", "", plain)) < 7 and not before.endswith((".", "|", ":", "/")):
        before = ""  # `mouth_l` at a name's end may be a corner of the mouth
    return before + plain + after


@given(data=st.data(), name=st.sampled_from(ARKIT_NAMES))
def test_every_spelling_of_an_arkit_name_is_that_name(data, name):
    raw = data.draw(spellings(name))
    assert shape_of(raw) == (name, ""), raw


@given(data=st.data(), name=st.sampled_from(CENTRAL))
def test_halves_of_a_central_shape_are_parts_of_it(data, name):
    side = data.draw(st.sampled_from(["_L", "_R", "_Left", ".R", "L", " right", "-left"]))
    meaning = read_name(name + side)
    assert meaning.name == name
    assert meaning.part == ("left" if side.strip("_.- ").lower()[0] == "l" else "right")


@given(st.text(max_size=40))
def test_other_names_mean_nothing(raw):
    """Anything without the letters of a shape's two words."""
    squashed = re.sub(r"[\W_]", "", raw.lower())
    meaning = read_name(raw)
    if meaning is not None and meaning.is_shape:
        area = re.match(r"[a-z]+?(?=[A-Z]|$)", meaning.name).group()
        assert area in squashed


@pytest.mark.parametrize(
    "raw",
    [
        *("PupilDilate_L", "jawOpen_mouthClose", "head_mesh__jaw_open_mouth_stretch_L", "mouth"),
        *("not_jawOpen", "corrective_mouthSmileLeft", "jaw", "eye", "Left", "L", "A25_", "", "_"),
        *("jawOpen_50", "jawOpening", "smile", "corner_mouth_l", "viseme_PP", "Key 1", "口"),
    ],
)
def test_what_only_looks_like_a_shape_is_none(raw):
    assert shape_of(raw) is None


CHARACTER_CREATOR = {
    "Brow_Drop_L": "browDownLeft",
    "Brow_Raise_Outer_R": "browOuterUpRight",
    "Cheek_Raise_L": "cheekSquintLeft",
    "Mouth_Up_Upper_R": "mouthUpperUpRight",
    "Mouth_Down_Lower_L": "mouthLowerDownLeft",
    "Mouth_L": "mouthLeft",
    "Jaw_R": "jawRight",
    "Eye_L_Look_L": "eyeLookOutLeft",
    "Eye_L_Look_R": "eyeLookInLeft",
    "Eye_R_Look_L": "eyeLookInRight",
    "Eye_R_Look_R": "eyeLookOutRight",
    "Eye_L_Look_Up": "eyeLookUpLeft",
    "Eye_R_Look_Down": "eyeLookDownRight",
    "Jaw_Open": "jawOpen",
    "Mouth_Close": "mouthClose",
    "Nose_Sneer_R": "noseSneerRight",
    "A14_Eye_Blink_Left": "eyeBlinkLeft",
}


@pytest.mark.parametrize(("raw", "name"), CHARACTER_CREATOR.items())
def test_character_creator_is_understood(raw, name):
    assert shape_of(raw) == (name, "")


@pytest.mark.parametrize("raw", ["Brow_Raise_Inner_L", "Mouth_Roll_In_Upper_R", "Cheek_Puff_L"])
def test_shapes_that_character_creator_halves_are_parts(raw):
    assert shape_of(raw)[1]


def test_quarters_are_four_parts_of_one_shape():
    raws = [f"Mouth_Funnel_{lip}_{side}" for lip in ("Up", "Down") for side in "LR"]
    meanings = [read_name(raw) for raw in raws]
    assert {meaning.name for meaning in meanings} == {"mouthFunnel"}
    assert len({meaning.part for meaning in meanings}) == 4


@pytest.mark.parametrize("name", [*ARKIT_NAMES, *EXPRESSIONS])
def test_what_is_listed_is_understood(name):
    for raw in list_spellings(name):
        assert read_name(raw).name == name


def test_a_name_without_its_side_stands_for_both():
    assert read_name("Mouth_Smile").name == "mouthSmile"
    assert not read_name("mouthSmile").is_shape


def test_the_nearest_spelling_wins():
    order = ["jawOpen", "A25_Jaw_Open", "head_jawOpen", "jawOpen1"]
    distances = [read_name(raw).distance for raw in order]
    assert distances == sorted(distances) and distances[0] == 0
    assert read_name("Brow_Drop_L").distance > read_name("brow_down_l").distance


def test_a_name_of_a_million_characters_takes_no_time():
    assert read_name("_a" * 500_000) is None
    assert read_name("jawOpen_" * 100_000) is None
    assert read_name("." * 1_000_000 + "jawOpen").name == "jawOpen"


def test_no_spelling_says_two_things():
    from dualtalker.rig.shape_names import _list_meanings, _words_of

    said = {}
    for spelling, meaning in _list_meanings():
        key = "".join(_words_of(spelling))
        assert said.setdefault(key, (meaning.name, meaning.part)) == (meaning.name, meaning.part)
    assert set(ARKIT_INDEX) <= {name for name, _ in said.values()}
