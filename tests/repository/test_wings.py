"""The plan of the house: wings, their doors, the order of the floors, and how large a room may be.

docs/architecture.md draws it; tests/test_docs.py holds that drawing to the imports.
"""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from checkout import ROOT

SOURCES = {
    "dualtalker": ROOT / "dualtalker",
    "training": ROOT / "training",
    "engines": ROOT / "engines",
    "dualtalker_ros": ROOT / "ros2_ws" / "src" / "dualtalker_ros",
}
# From the ground up: a room imports from rooms that stand before it.
FLOORS = {
    "dualtalker": "errors arkit faults files children options audio speech model model.backends "
    "face stream delivery rig rig.robot_head drawing evaluation bags devices engine outputs "
    "display study cli",
    "training": "configs network data datasets learning building teaching evaluation "
    "studies.gallery studies",
    "dualtalker_ros": "logs processes parameters topics talker demo nodes",
}
# What stands at a root beside wings and ground-floor modules: programs that people start.
DOORS = {
    "dualtalker": "__main__",
    "training": "corpus prepare teacher train finetune pack evaluate evaluate_vertices lipread "
    "ablate gallery build_default calibrate",
    "dualtalker_ros": "",
}
# A folder inside a wing whose modules are the wing's own.
INNER = {"dualtalker.rig.gltf"}
# Programs, each a module: doors import the one that they start.
OPEN = {"dualtalker.cli", "dualtalker_ros.nodes"}
MOST_MODULES, MOST_LINES = 12, 400
# Names by which modules that are alike each tell their own.
PER_MODULE = {
    *("PARAMETERS", "LICENSE", "SENTENCES", "VERTICES", "ERROR", "MANIFEST_NAME"),
    *("INDEX_NAME", "FORMAT", "FORMAT_VERSION"),
}


@cache
def find_modules() -> dict[str, Path]:
    """Every module by its dotted name; a package's is its `__init__`."""
    found = {}
    for top, folder in SOURCES.items():
        for path in folder.rglob("*.py"):
            parts = [top, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def find_room(module: str) -> str:
    """The wing that a module stands in, or the module itself where it stands at a root."""
    modules = find_modules()
    room = module
    while modules[room].name != "__init__.py" or room in INNER:
        room = room.rpartition(".")[0]
    return module if room in SOURCES else room


@cache
def list_imports() -> list[tuple[str, str, str]]:
    """(module, imported module, name) of each import of ours, also of those in functions."""
    modules, found = find_modules(), []
    for module, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found += [(module, alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert node.level == 0, f"{path}: a relative import"
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    target = inner if inner in modules else node.module
                    found.append((module, target, "" if target == inner else alias.name))
    return [entry for entry in found if entry[1] in modules]


@pytest.mark.parametrize("top", FLOORS)
def test_every_room_is_in_the_plan(top):
    rooms = {find_room(module) for module in find_modules() if module.startswith(f"{top}.")}
    assert rooms == {f"{top}.{name}" for name in (FLOORS[top] + " " + DOORS[top]).split()}


@pytest.mark.parametrize("top", FLOORS)
def test_no_import_goes_up(top):
    """Doors come last, and no door opens into another."""
    height = {f"{top}.{name}": floor for floor, name in enumerate(FLOORS[top].split())}
    height |= dict.fromkeys((f"{top}.{door}" for door in DOORS[top].split()), len(height))
    rising = []
    for module, target, _ in list_imports():
        own, other = find_room(module), find_room(target)
        ours = own in height and own != other and other.startswith(f"{top}.")
        if ours and height[other] >= height[own]:
            rising.append(f"{module} imports {target}")
    assert not rising


def test_modules_import_each_other_in_no_circle():
    graph: dict[str, set[str]] = {module: set() for module in find_modules()}
    for module, target, _ in list_imports():
        # Inside a wing its own `__init__` is no part of the road.
        if target != module and not module.startswith(f"{target}."):
            graph[module].add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_outsiders_import_what_a_wing_names():
    """From the wing itself, never from a module in it; the wing's `__all__` names it."""
    modules, reaching = find_modules(), []
    for module, target, name in list_imports():
        room = find_room(target)
        if room in (find_room(module), target) and not name:
            continue
        if find_room(module) == room or room in OPEN or modules[room].name != "__init__.py":
            continue
        named = ast.literal_eval(_find_value(modules[room], "__all__") or ast.List([]))
        if not name:
            name = target.removeprefix(f"{room}.")  # a module used whole
            target = room
        if target != room or (name not in named and f"{room}.{name}" not in modules):
            reaching.append(f"{module} imports {name} from {target}")
    assert not reaching


def _find_value(path: Path, name: str) -> ast.expr | None:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node.value
    return None


def test_a_wing_names_what_it_imports():
    for room in {find_room(module) for module in find_modules()} - OPEN:
        path = find_modules()[room]
        if path.name == "__init__.py" and (value := _find_value(path, "__all__")) is not None:
            names = ast.literal_eval(value)
            assert sorted(names) == sorted(set(names))
            imported = {name for module, _, name in list_imports() if module == room}
            assert set(names) - {"__version__"} <= imported, room


def test_rooms_are_small():
    """No folder with more than 12 modules, no file over 400 lines."""
    folders = Counter(
        path.parent for path in find_modules().values() if path.parent not in SOURCES.values()
    )
    crowded = [str(path) for path, count in folders.items() if count - 1 > MOST_MODULES]
    long = [
        f"{path}: {lines}"
        for path in find_modules().values()
        if (lines := path.read_text("utf-8").count("\n")) > MOST_LINES
    ]
    assert not crowded and not long


def test_a_constant_stands_in_one_place():
    """Two of one name are one thought twice, or two thoughts under one name."""
    places: dict[str, set[str]] = {}
    for module, path in find_modules().items():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Assign):
                for name in ast.walk(node.targets[0]):
                    if isinstance(name, ast.Name) and name.id.isupper() and name.id[0] != "_":
                        places.setdefault(name.id, set()).add(module)
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert not {name: where for name, where in twice.items() if name not in PER_MODULE}
