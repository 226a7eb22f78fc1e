"""The launch file: executed where launch_ros is installed, and read as source everywhere."""

from __future__ import annotations

import ast
import importlib.util
import sys

import pytest
from conftest import ROOT

LAUNCH_FILE = ROOT / "launch" / "talker.launch.py"


def find_calls(tree, name):
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name
    ]


def read_tree():
    return ast.parse(LAUNCH_FILE.read_text("utf-8"))


def read_parameter_table():
    """Return {name: (description, type's name)} of the launch file's PARAMETERS."""
    for node in read_tree().body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "PARAMETERS":
            return {
                key.value: (value.elts[0].value, getattr(value.elts[1], "id", "bool"))
                for key, value in zip(node.value.keys, node.value.values, strict=True)
            }
    raise AssertionError("no PARAMETERS in the launch file")


def test_every_argument_is_described():
    declared = find_calls(read_tree(), "DeclareLaunchArgument")
    assert len(declared) >= 6
    for call in declared:
        assert {"default_value", "description"} <= {keyword.arg for keyword in call.keywords}
    assert all(len(description) > 20 for description, _ in read_parameter_table().values())


def test_arguments_are_parameters_of_the_node(ros):
    """Same names, and the types that the node declares: ROS refuses 60 for a double."""
    from dualtalker_ros.parameters import TALKER_PARAMETERS

    declared = {parameter.name: type(parameter.default) for parameter in TALKER_PARAMETERS}
    for name, (_, type_name) in read_parameter_table().items():
        assert declared[name].__name__ == type_name


def test_it_starts_what_setup_installs():
    [node] = find_calls(read_tree(), "Node")
    given = {
        keyword.arg: keyword.value.value
        for keyword in node.keywords
        if isinstance(keyword.value, ast.Constant)
    }
    assert given["package"] == "dualtalker"
    assert f'"{given["executable"]} = ' in (ROOT / "setup.py").read_text("utf-8")


def test_describing_and_starting_for_real(ros, tmp_path, monkeypatch):
    """`launch` alone proves nothing: our own folder of that name is found as a namespace."""
    pytest.importorskip(
        "launch_ros", reason="launch_ros is not on PyPI; comes with ROS's packages"
    )
    import ament_index_python.packages
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    monkeypatch.setattr(
        ament_index_python.packages, "get_package_share_directory", lambda name: str(ROOT)
    )
    spec = importlib.util.spec_from_file_location("talker_launch", LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "talker_launch", module)
    spec.loader.exec_module(module)
    context = LaunchContext()
    context.launch_configurations["frame_rate"] = "60"
    for entity in module.generate_launch_description().entities:
        if isinstance(entity, DeclareLaunchArgument):
            assert entity.description
            entity.execute(context)
        elif isinstance(entity, OpaqueFunction):
            [node] = module.make_node(context)
    assert node.node_executable == "talker_node"
