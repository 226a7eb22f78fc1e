"""Tells what of a rig's file becomes which shape, also where no rig can be made of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.files import FOLDER
from dualtalker.rig.archive import read_archive
from dualtalker.rig.files import find_kind
from dualtalker.rig.gltf.reader import list_targets
from dualtalker.rig.obj_folder import list_files
from dualtalker.rig.retargeting import Use, choose_shapes, find_stand_in, find_used


@dataclass(frozen=True)
class ShapeGroup:
    """The shapes of one mesh, the expressions of an avatar, or the files of a folder."""

    label: str
    uses: Sequence[Use]
    note: str = ""  # why all of it is left out


@dataclass(frozen=True)
class Survey:
    """All shapes of a file, and what they give a rig."""

    groups: list[ShapeGroup]
    found: frozenset[str]  # names of shapes, of stems without a side, of expressions

    @property
    def used(self) -> set[str]:
        """Those of `found` that give a rig an ARKit shape."""
        return find_used(self.found)

    @property
    def stand_ins(self) -> dict[str, str]:
        """Of what each ARKit shape is made that the file does not have by name."""
        terms = {name: find_stand_in(name, self.found) for name in ARKIT_NAMES}
        return {name: str(term) for name, term in terms.items() if term is not None}

    @property
    def missing(self) -> list[str]:
        """ARKit shapes that the rig does not have."""
        made = self.stand_ins
        return [name for name in ARKIT_NAMES if name not in self.found and name not in made]


def survey_rig(path: str | os.PathLike[str]) -> Survey:
    """List the shapes in a file or folder that `load_rig` takes; little but names is read.

    Raises:
        RigError: it cannot be read, or two of its shapes cannot be told apart.
    """
    path = Path(path)
    kind = find_kind(path)
    if kind == FOLDER:
        return _survey([ShapeGroup("files", list_files(path))])
    if kind == ".npz":
        return _survey([ShapeGroup("shapes", choose_shapes(read_archive(path, 1.0).names))])
    targets = list_targets(path)
    groups = [
        ShapeGroup(own.mesh, own.uses, "" if own.plan else own.note)
        for own in targets.primitives.values()
    ]
    if targets.expressions:
        groups.insert(0, ShapeGroup("expressions", targets.expressions))
    return Survey(groups, frozenset(targets.names))


def _survey(groups: list[ShapeGroup]) -> Survey:
    uses = [use for group in groups for use in group.uses]
    names = {use.meaning.name for use in uses if use.meaning is not None and use.is_used}
    return Survey(groups, frozenset(names))
