"""The launch files as source: their arguments are the node's and in the docs."""

from __future__ import annotations

import ast
import re

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML comes with ROS")

from checkout import ROOT
from launch_sources import declared_arguments, find_calls, path_of, read_keys, read_tree

NAMES = ("talker", "replay")


def read_parameter_table():
    """Return {name: type's name} of the talker's PARAMETERS."""
    types = {"read_list": "list"}
    for node in read_tree("talker").body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "PARAMETERS":
            entries = {}
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                kind = getattr(value.elts[1], "id", "bool")
                entries[key.value] = types.get(kind, kind)
            return entries
    raise AssertionError("no PARAMETERS in the launch file")


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_that_is_read_is_declared_and_in_the_docs(name):
    arguments = declared_arguments(name)
    assert len(arguments) == len(set(arguments))
    used = {
        call.args[0].value
        for call in find_calls(read_tree(name), "LaunchConfiguration")
        if isinstance(call.args[0], ast.Constant)
    }
    assert used <= set(arguments)
    page = (ROOT / "docs" / "ros_api.md").read_text("utf-8")
    section = page.split(f"### {name}.launch.py")[1].split("\n## ")[0].split("\n### ")[0]
    assert all(f"`{argument}`" in section for argument in arguments)


def test_arguments_are_parameters_of_the_node(ros):
    """Same names, and the types that the node declares: ROS refuses 60 for a double."""
    from dualtalker_ros.talker import TALKER_PARAMETERS

    declared = {parameter.name: type(parameter.default) for parameter in TALKER_PARAMETERS}
    for name, type_name in read_parameter_table().items():
        assert declared[name].__name__ == type_name


def test_choices_are_those_of_the_node(ros):
    from dualtalker_ros.talker import TALKER_PARAMETERS

    known = {parameter.name: parameter for parameter in TALKER_PARAMETERS}
    for node in read_tree("talker").body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "CHOICES":
            choices = ast.literal_eval(node.value)
    assert choices["delivery"] == known["delivery"].choices
    for engine in choices["engine"]:
        assert engine in known["engine"].description


@pytest.mark.parametrize("name", ["talker", "microphone", "speaker", "recorder", "bag_player"])
def test_what_they_start_is_installed(name):
    sources = "".join(path_of(launch).read_text("utf-8") for launch in NAMES)
    assert re.search(rf'"{name}(_node)?"', sources)
    assert f'"{name}_node = ' in (ROOT / "setup.py").read_text("utf-8")


def test_replay_runs_a_command_that_exists():
    """Its options are those of `dualtalker evaluate`."""
    import tyro

    from dualtalker.cli.bags import Evaluate

    arguments = ["bag", "--out", "report", "--reference", "a.csv", "--model", "m.onnx"]
    arguments += ["--engine", "auto", "--audio-topic", "/audio", "--playout-delay-ms", "300"]
    arguments += ["--channel", "0"]
    assert str(tyro.cli(Evaluate, args=arguments).bag) == "bag"
    source = path_of("replay").read_text("utf-8")
    assert '"python3", "-m", "dualtalker", "evaluate", bag, "--out", output' in source
    assert '"--audio-topic"' in source
    options = {"reference", "channel", "model", "engine", "playout_delay_ms"}
    assert set(read_keys(read_tree("replay"), "OPTIONS")) == options


def test_rviz_shows_a_topic_that_the_talker_has():
    config = yaml.safe_load((ROOT / "config/talker.rviz").read_text("utf-8"))
    manager = config["Visualization Manager"]
    [display] = manager["Displays"]
    source = path_of("talker").read_text("utf-8")
    assert f'MARKER = "{display["Topic"]["Value"]}"' in source
    parameters = yaml.safe_load((ROOT / "config/talker.yaml").read_text("utf-8"))
    own = parameters["/**"]["ros__parameters"]
    assert manager["Global Options"]["Fixed Frame"] == own["frame_id"]
    assert display["Topic"]["Value"] not in own["outputs"], "or the launch file need not add it"
