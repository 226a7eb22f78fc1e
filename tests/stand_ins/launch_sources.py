"""The launch files, read as source."""

from __future__ import annotations

import ast

from checkout import ROOT


def path_of(name):
    return ROOT / "launch" / f"{name}.launch.py"


def read_tree(name):
    return ast.parse(path_of(name).read_text("utf-8"))


def find_calls(tree, name):
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name
    ]


def read_keys(tree, name):
    """Return the keys of the dictionary that a module assigns to `name`."""
    for node in tree.body:
        target = getattr(node, "target", None) or getattr(node, "targets", [None])[0]
        if getattr(target, "id", "") == name:
            return [key.value for key in node.value.keys]
    raise AssertionError(f"no {name} in the launch file")


def declared_arguments(name):
    """Return the names of a launch file's arguments, as its source declares them."""
    tree = read_tree(name)
    calls = find_calls(tree, "DeclareLaunchArgument")
    literal = [call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)]
    table = read_keys(tree, "PARAMETERS" if name == "talker" else "OPTIONS")
    return [*literal, *table]
