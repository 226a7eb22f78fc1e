"""The subcommand `rig`: what of a file is understood as a face, and how its mouth looks."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from dualtalker.cli.sheets import draw_sheet
from dualtalker.errors import DualtalkerError, RigError

if TYPE_CHECKING:
    from dualtalker.evaluation import Mouth
    from dualtalker.rig import Rig, ShapeGroup, Survey

_CAPTIONS = {
    "AA": "/a/",
    "EH": "/e/",
    "IY": "/i/",
    "OW": "/o/",
    "UW": "/u/",
    "PP": "/p b m/",
    "FF": "/f v/",
    "TH": "/th/",
}
_MOST_LISTED = 300  # names in a paragraph
_HUMAN_WIDTH_MM = (20.0, 200.0)  # of mouths from small robots to stage puppets


@dataclass(kw_only=True)
class ShowRig:
    """Show what a face file gives: its shapes, their meaning, what is missing, its mouth.

    For example:
        dualtalker rig avatar.glb
        dualtalker rig avatar.vrm -o mouth.png --expressions moods.png
        dualtalker rig head_objs/ --scale 0.01
        dualtalker rig --names

    Names are read in every usual spelling: jawOpen, Jaw_Open, blendShape2.jawOpen, A25_Jaw_Open,
    mouthSmile.L, and those of Character Creator. Where ARKit's shapes are missing, a VRM's vowels
    or visemes by name stand in. docs/rigs.md has the rules.
    """

    file: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[FILE]")] = None
    """A rig: .glb, .vrm, .npz, or a folder of OBJ files."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="PNG")] = None
    """Draw five vowels and three contacts of the lips into this picture (.png)."""
    expressions: Annotated[Path | None, tyro.conf.arg(metavar="PNG")] = None
    """Draw the 25 expressions into this picture (.png)."""
    scale: float | None = None
    """Metres in one unit of the file. Default: 1, or what makes the mouth human (told)."""
    names: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the table of names that are understood, and nothing else."""

    def run(self) -> int:
        """Print the shapes, then load the rig and print what it can do; draw it."""
        from dualtalker.files import refuse_foreign
        from dualtalker.rig import survey_rig

        if self.names:
            print("\n".join(_tell_names()))
            return 0
        if self.file is None:
            raise RigError("no file given: dualtalker rig avatar.glb, or dualtalker rig --names")
        if self.out is not None and self.out == self.expressions:
            raise DualtalkerError(f"-o and --expressions are both {self.out}; give two names")
        pictures = {self.out: _draw, self.expressions: _draw_expressions}
        _check(pictures, self.scale)
        refuse_foreign(*filter(None, pictures), inputs=[self.file])
        survey = survey_rig(self.file)
        # Printed first: it helps most where no rig can be made of the file.
        print("\n".join(_tell_shapes(survey)), flush=True)
        rig = _load(self.file, self.scale)
        print("\n".join(_tell_rig(rig)))
        for path, draw in pictures.items():
            if path is not None:
                draw(path, rig)
        return 0


def _check(pictures: Iterable[Path | None], scale: float | None) -> None:
    for path in filter(None, pictures):
        if path.suffix.lower() != ".png":
            raise DualtalkerError(f"-o {path}: expected a picture's name, such as mouth.png")
        if not path.parent.is_dir():
            raise DualtalkerError(f"-o {path}: there is no folder {path.parent}; make it first")
    if scale is not None and not 1e-9 <= scale <= 1e9:
        raise DualtalkerError(f"--scale {scale}; expected the metres in one unit, as 0.01 for cm")


def _load(path: Path, scale: float | None) -> Rig:
    """Load a rig, and let it tell which unit it takes."""
    from dualtalker.rig import load_rig

    log = logging.getLogger("dualtalker")
    before = log.level
    log.setLevel(logging.INFO)
    try:
        return load_rig(path, scale)
    finally:
        log.setLevel(before)


def _tell_names() -> Iterator[str]:
    from dualtalker.arkit import ARKIT_NAMES
    from dualtalker.rig import EXPRESSIONS, list_spellings

    yield "Names of shapes; case, separators, a prefix and Blender's .001 do not count:"
    for name in ARKIT_NAMES:
        yield f"  {name:<22}{', '.join(list_spellings(name))}".rstrip()
    yield ""
    yield "Whole mouths and eyes, which stand in for shapes that a rig does not have:"
    for name in EXPRESSIONS:
        yield f"  {name:<22}{', '.join(list_spellings(name))}"


def _tell_shapes(survey: Survey) -> Iterator[str]:
    used = survey.used
    for group in survey.groups:
        yield from _tell_group(group, used)
    if not survey.groups:
        yield "no morph targets"
    if survey.stand_ins:
        yield "made of others, for want of a shape of the name"
        for name, source in survey.stand_ins.items():
            yield f"  {name:<24}{source}"
    missing = survey.missing
    yield f"{52 - len(missing)} of ARKit's 52 shapes; missing: {len(missing) or 'none'}"
    yield from _wrap(missing)


def _tell_group(group: ShapeGroup, used: set[str]) -> Iterator[str]:
    """One line for each shape that is called otherwise than by ARKit; the rest in paragraphs."""
    if group.note:
        yield f"{group.label}: left out: {group.note}"
        return
    if not group.uses:
        yield f"{group.label}: no names; the expressions move it"
        return
    yield f"{group.label}: {len(group.uses)} shape{'s' * (len(group.uses) != 1)}"
    plain, unknown = [], []
    for use in group.uses:
        meaning = use.meaning
        if meaning is None:
            unknown.append(_clean(use.raw))
        elif use.is_used and meaning.name == use.raw and meaning.name in used:
            plain.append(use.raw)
        else:
            part = f", {meaning.part} part" if meaning.part else ""
            note = use.note or ("" if meaning.name in used else "not needed")
            yield f"  {_clean(use.raw):<32}-> {meaning.name}{part}{note and f' ({note})'}"
    if plain:
        yield f"  as they are called: {len(plain)}"
        yield from _wrap(plain, 4)
    if unknown:
        yield f"  that ARKit does not have: {len(unknown)}"
        yield from _wrap(unknown, 4)


def _wrap(names: Iterable[str], indent: int = 2) -> list[str]:
    margin, names = " " * indent, list(names)
    if len(names) > _MOST_LISTED:
        names = [*names[:_MOST_LISTED], f"and {len(names) - _MOST_LISTED} more"]
    return textwrap.wrap(", ".join(names), 96, initial_indent=margin, subsequent_indent=margin)


def _clean(raw: str) -> str:
    """A name without what a terminal would obey, and no longer than a line."""
    return "".join(sign if sign.isprintable() else "?" for sign in raw[:80])


def _tell_rig(rig: Rig) -> Iterator[str]:
    from dualtalker.evaluation import measure_mouth

    width, height, depth = (rig.neutral.max(axis=0) - rig.neutral.min(axis=0)).tolist()
    yield (
        f"{_clean(rig.name)}: {len(rig.neutral)} vertices, {len(rig.triangles)} triangles, "
        f"{width:.3g} m wide, {height:.3g} m high, {depth:.3g} m deep"
    )
    mouth = measure_mouth(rig)
    gaps = {"at rest": mouth.rest_m} | {
        f"in {_CAPTIONS[name]}": mouth.gaps_m[name] for name in ("AA", "PP", "FF")
    }
    told = ", ".join(f"{1e3 * gap:.1f} mm {where}" for where, gap in gaps.items())
    yield f"mouth: {1e3 * mouth.width_m:.0f} mm wide; between the lips {told}"
    yield from _judge(mouth, rig)


def _judge(mouth: Mouth, rig: Rig) -> Iterator[str]:
    """What a builder would want to mend."""
    low, high = _HUMAN_WIDTH_MM
    if not low <= 1e3 * mouth.width_m <= high:
        yield (
            f"note: the mouth is {mouth.width_m:.3g} m wide; a person's is 0.055 m. If the unit "
            "is not the metre, give --scale, such as 0.01 for centimetres"
        )
    if not mouth.opens:
        yield "note: jawOpen hardly parts the lips; is it the jaw's shape, and does y point up?"
    elif mouth.shuts:
        yield "the lips meet in /p b m/"
    else:
        close = "mouthClose" if "mouthClose" not in rig.names else "a larger mouthClose"
        where = "meet at rest, but not in /p b m/" if mouth.meets_at_rest else "never meet"
        yield (
            f"note: the lips {where}: they stay {1e3 * mouth.gaps_m['PP']:.1f} mm apart there. "
            f"The rig needs {close}: as much of it as of jawOpen shuts the lips"
        )


def _draw(path: Path, rig: Rig) -> None:
    import numpy as np

    from dualtalker.arkit import expand
    from dualtalker.rig import VISEMES

    weights = np.stack([expand(shape) for shape in VISEMES.values()])
    gaps_mm = 1e3 * rig.lip_gap(weights)
    captions = [
        f"{_CAPTIONS[name]}  {gap_mm:.1f} mm"
        for name, gap_mm in zip(VISEMES, gaps_mm, strict=True)
    ]
    draw_sheet(path, rig, weights, captions, columns=4, size_px=320)


def _draw_expressions(path: Path, rig: Rig) -> None:
    import numpy as np

    from dualtalker.face import EXPRESSIONS, pose_expression

    weights = np.stack([pose_expression(name) for name in EXPRESSIONS])
    draw_sheet(path, rig, weights, list(EXPRESSIONS), columns=5, size_px=320)
