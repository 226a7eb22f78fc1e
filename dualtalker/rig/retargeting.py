"""Brings the shapes of other rigs to ARKit's: which are used, and what stands in for missing ones.

`RECIPES` says what a rig with whole-mouth shapes alone, such as a VRM with its five vowels, does
for ARKit's shapes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, mirror_name
from dualtalker.errors import RigError
from dualtalker.rig.shape_names import Meaning, read_name

# What a shape is made of: (index of a target on its mesh, weight) pairs, by the shape's name.
Plan = dict[str, list[tuple[int, float]]]

_log = logging.getLogger("dualtalker")

_MOST_TOLD = 12  # names in a line of the log; `dualtalker rig` lists all
_NOTHING_SHARE = 0.02  # of its source's largest displacement: less is no shape of its own
_MOVED_SHARE = 0.1  # of a shape's largest displacement: less does not tell where its middle is
_BLEND_SHARE = 0.15  # of a shape's width: so far around the middle one half fades into the other


@dataclass(frozen=True)
class Use:
    """What becomes of one shape of a mesh."""

    raw: str
    meaning: Meaning | None
    note: str = ""  # why it is left out, though its name is known

    @property
    def is_used(self) -> bool:
        """Whether the rig has it."""
        return self.meaning is not None and not self.note


@dataclass(frozen=True)
class Term:
    """One part of a stand-in: `gain` times a shape, or the half of it on one side."""

    source: str
    gain: float = 1.0
    side: str = ""  # "left" or "right" half only
    is_closed: bool = False  # without what it has in common with the open mouth of "aa"

    def __str__(self) -> str:
        """Tell it in words: `0.6 x left half of ee without its opening`."""
        gain = "" if self.gain == 1.0 else f"{self.gain:g} x "
        half = f"{self.side} half of " if self.side else ""
        return gain + half + self.source + (" without its opening" if self.is_closed else "")


def _both(stem: str, source: str, gain: float, is_closed: bool = True) -> dict[str, Term]:
    return {
        f"{stem}{side.capitalize()}": Term(source, gain, side, is_closed)
        for side in ("left", "right")
    }


# Used where a rig has no shape of that name. The gains are our choice: in speech jawOpen seldom
# passes 0.8, which is the whole of "aa"; rounding and spreading are what remains of the vowels
# once the opening is taken out, so that the jaw opens by jawOpen alone and /p b m/ can close.
RECIPES: dict[str, Term] = {
    "jawOpen": Term("aa", 1.25),
    "mouthClose": Term("aa", -1.25),  # ARKit's corrective: as much as jawOpen shuts the lips
    "mouthFunnel": Term("oh", 1.0, is_closed=True),
    "mouthPucker": Term("ou", 1.0, is_closed=True),
    **_both("mouthStretch", "ih", 1.0),
    **_both("mouthSmile", "ih", 0.5),
    **_both("mouthLowerDown", "ee", 0.6),
    "eyeBlinkLeft": Term("blinkLeft"),
    "eyeBlinkRight": Term("blinkRight"),
    **_both("eyeLookUp", "lookUp", 1.0, is_closed=False),
    **_both("eyeLookDown", "lookDown", 1.0, is_closed=False),
    "eyeLookOutLeft": Term("lookLeft", side="left"),
    "eyeLookInRight": Term("lookLeft", side="right"),
    "eyeLookInLeft": Term("lookRight", side="left"),
    "eyeLookOutRight": Term("lookRight", side="right"),
}
# Where even the source of a recipe is missing.
_SECOND = _both("eyeBlink", "blink", 1.0, is_closed=False)


def choose_shapes(raw_names: Sequence[str]) -> list[Use]:
    """Return what becomes of each shape of one mesh, by its name.

    Of several that mean the same the name nearest to ARKit's is used, and a whole shape rather
    than its parts. RigError where two are spelled alike, so that nothing tells which to use.
    """
    meanings = [read_name(raw) for raw in raw_names]
    best: dict[tuple[str, str], int] = {}
    for index, meaning in enumerate(meanings):
        if meaning is not None:
            kept = meanings[best.setdefault((meaning.name, meaning.part), index)]
            if kept is not None and meaning.distance < kept.distance:
                best[meaning.name, meaning.part] = index
    for index, meaning in enumerate(meanings):
        if meaning is not None and meaning.is_shape:
            other = best[meaning.name, meaning.part]
            if other != index and meaning == meanings[other]:
                what = f"half of {meaning.name}" if meaning.part else meaning.name
                pair = f"{raw_names[other]!r} and {raw_names[index]!r}"
                alike = "of the same name " if raw_names[other] == raw_names[index] else ""
                raise RigError(f"two shapes {alike}mean {what}; keep one ({pair})")
    uses = []
    for index, (raw, meaning) in enumerate(zip(raw_names, meanings, strict=True)):
        note = ""
        if meaning is not None:
            chosen = best[meaning.name, meaning.part]
            if meaning.part:
                chosen = best.get((meaning.name, ""), chosen)
            note = "" if chosen == index else f"{raw_names[chosen]} is used"
        uses.append(Use(raw, meaning, note))
    return uses


def plan_shapes(uses: Iterable[Use]) -> Plan:
    """Return the targets of each shape that a mesh has; parts of one add up."""
    plan: Plan = {}
    for index, use in enumerate(uses):
        if use.meaning is not None and use.is_used:
            plan.setdefault(use.meaning.name, []).append((index, 1.0))
    return plan


def tell_ignored(source: str, uses: Iterable[Use]) -> None:
    """Log the names that mean nothing, and those that another name is used for."""
    unused = dict.fromkeys(use.raw for use in uses if not use.is_used)
    if unused:
        # Without what a terminal would obey.
        names = ["".join(c if c.isprintable() else "?" for c in raw[:80]) for raw in unused]
        more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
        _log.warning(
            "%signored shapes that ARKit does not have: %s%s",
            source and f"{source}: ",
            ", ".join(names[:_MOST_TOLD]),
            more,
        )


def complete_shapes(
    found: Mapping[str, np.ndarray], neutral: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return ARKit names in ARKit's order and deltas [shapes, vertices, 3].

    `found` holds displacements [vertices, 3] by name: of ARKit's shapes, of stems without a side
    (`mouthSmile`), which are cut in two halves, and of expressions, from which `RECIPES` makes
    what is missing. x of `neutral` [vertices, 3] points to the face's own left.

    Raises:
        RigError: what they give moves nothing.
    """
    shapes = {name: delta for name, delta in found.items() if name in ARKIT_INDEX}
    for name in ARKIT_INDEX:
        term = find_stand_in(name, found)
        if term is None:
            continue
        made, source = _make(term, found, neutral), found[term.source]
        # An "oh" that is a smaller "aa" rounds nothing.
        if np.abs(made).max(initial=0) > _NOTHING_SHARE * np.abs(source).max(initial=0):
            shapes[name] = made
    if not shapes:
        raise RigError(
            f"the shapes {sorted(found)[:8]} move no vertex; export them with their data"
        )
    names = tuple(sorted(shapes, key=ARKIT_INDEX.__getitem__))
    return names, np.stack([shapes[name] for name in names]).astype(np.float32, copy=False)


def find_stand_in(name: str, found: Iterable[str]) -> Term | None:
    """Return from what a missing ARKit shape is made; None where it is there, or cannot be."""
    found = set(found)
    if name in found:
        return None
    if mirror_name(name) != name:
        side = "left" if name.endswith("Left") else "right"
        stem = name[: -len(side)]
        if stem in found:
            return Term(stem, side=side)
    if name == "mouthClose" and "jawOpen" in found:
        return None  # it undoes the jawOpen that is made of "aa", no other
    for recipes in (RECIPES, _SECOND):
        term = recipes.get(name)
        if term is not None and term.source in found:
            return term
    return None


def find_used(names: Iterable[str]) -> set[str]:
    """Return those of these shapes, stems and expressions that give a rig an ARKit shape."""
    found = set(names)
    used = {name for name in found if name in ARKIT_INDEX}
    terms = [term for name in ARKIT_INDEX if (term := find_stand_in(name, found))]
    used |= {term.source for term in terms}
    if "aa" in found and any(term.is_closed for term in terms):
        used.add("aa")
    return used


def _make(term: Term, found: Mapping[str, np.ndarray], neutral: np.ndarray) -> np.ndarray:
    delta = np.asarray(found[term.source], dtype=np.float64)
    if term.is_closed and "aa" in found:
        opening = np.asarray(found["aa"], dtype=np.float64)
        size = float((opening * opening).sum())
        share = float((opening * delta).sum()) / size if size > 0 else 0.0
        delta = delta - max(share, 0.0) * opening
    delta = term.gain * delta
    return delta * _side_weights(delta, neutral, term.side) if term.side else delta


def _side_weights(delta: np.ndarray, neutral: np.ndarray, side: str) -> np.ndarray:
    """Weights [vertices, 1] of one half of a shape; those of both halves add up to 1."""
    size = np.linalg.norm(delta, axis=1)
    x = neutral[:, 0].astype(np.float64)
    if not size.max(initial=0) > 0:
        return np.full((len(delta), 1), 0.5)
    moved = x[size >= _MOVED_SHARE * size.max()]
    middle, width = 0.5 * (moved.min() + moved.max()), float(np.ptp(moved))
    place = (x - middle) / max(2 * _BLEND_SHARE * width, 1e-12)
    left = np.clip(0.5 + place, 0.0, 1.0)[:, None]
    return left if side == "left" else 1.0 - left
