"""What pip and colcon install: the whole package, and nothing beside it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from packaging.requirements import Requirement

from bare_environment import read_requirements
from checkout import ROOT, run_apart
from lower_bounds import LISTS, list_lower_bounds, read_lists

SHARE = {
    "share/ament_index/resource_index/packages/dualtalker",
    "share/dualtalker/package.xml",
    "share/dualtalker/hook/path.dsv",
    "share/dualtalker/launch/replay.launch.py",
    "share/dualtalker/launch/talker.launch.py",
    "share/dualtalker/config/talker.yaml",
    "share/dualtalker/config/talker.rviz",
    "share/dualtalker/config/servos_example.yaml",
    "share/dualtalker/config/servos_jaw.yaml",
}
NODES = {
    "talker_node",
    "wav_publisher_node",
    "recorder_node",
    "bag_player_node",
    "microphone_node",
    "speaker_node",
    "face_node",
    "bridge_node",
}
COMMANDS = {"dualtalker", *NODES}


# What each part may not import, nor load lazily: the arrows between the parts go one way.
FORBIDDEN = {
    "dualtalker": {"dualtalker_ros", "training", "engines", "rclpy", "torch", "transformers"},
    "ros2_ws/src/dualtalker_ros": {"training", "engines", "torch"},
    "training": {"dualtalker_ros", "engines", "rclpy"},
    "engines": {"dualtalker_ros", "rclpy"},
}


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_the_parts_import_each_other_one_way_only(folder):
    """Also in functions, which tests may never run."""
    offenses, files = [], list((ROOT / folder).rglob("*.py"))
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found = FORBIDDEN[folder] & {name.split(".")[0] for name in names}
            offenses += [f"{path.relative_to(ROOT)}:{node.lineno}: {name}" for name in found]
    assert files and not offenses, offenses


@pytest.fixture(scope="module")
def wheel(wheel_path):
    with zipfile.ZipFile(wheel_path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_wheel_holds_the_share_files(wheel):
    data = {name.split(".data/data/")[1] for name in wheel if ".data/data/" in name}
    assert data == SHARE


def test_wheel_installs_no_other_top_level_names(wheel):
    top = {name.split("/")[0] for name in wheel if ".data/" not in name}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "dualtalker",
        "dualtalker_ros",
    }


def test_wheel_holds_every_module_the_models_and_the_page(wheel):
    expected = set()
    for package, folder in (
        ("dualtalker", ROOT / "dualtalker"),
        ("dualtalker_ros", ROOT / "ros2_ws" / "src" / "dualtalker_ros"),
    ):
        for path in folder.rglob("*"):
            wanted = path.suffix in (".py", ".onnx") or path.parent.name == "page"
            if wanted and "__pycache__" not in path.parts:
                expected.add(f"{package}/{path.relative_to(folder).as_posix()}")
    assert expected <= set(wheel)


def test_wheel_names_its_commands_and_they_exist(wheel):
    [text] = [body.decode() for name, body in wheel.items() if name.endswith("entry_points.txt")]
    commands = dict(re.findall(r"^(\w+) = (\S+)$", text, re.MULTILINE))
    assert set(commands) == COMMANDS
    for target in commands.values():
        module, function = target.split(":")
        source = wheel[module.replace(".", "/") + ".py"].decode()
        assert f"def {function}(" in source


def test_wheel_asks_for_no_build_tools_and_pins_all_of_ros(wheel):
    [text] = [body.decode() for name, body in wheel.items() if name.endswith("/METADATA")]
    needs = re.findall(r"^Requires-Dist: (.+)$", text, re.MULTILINE)

    ros = [need for need in needs if need.startswith("ros-")]
    assert len(ros) > 60
    for need in ros:
        assert [clause.operator for clause in Requirement(need).specifier] == ["=="], need
        assert 'platform_machine == "x86_64"' in need
    base = [need for need in needs if "extra ==" not in need]
    assert base and all(">=" in need for need in base)
    assert not any(need.startswith("setuptools") for need in base)


def test_the_oldest_versions_are_the_least_that_setup_allows():
    assert set(LISTS) == set(read_lists()) - {"TRAIN", "LIPS", "ROS", "ENGINES", "DEV"}
    bounds = dict(line.split("==") for line in list_lower_bounds())
    needed = {need for name in LISTS for need in read_lists()[name]}
    for need in map(Requirement, needed):
        assert ">=" + bounds[need.name] in {str(clause) for clause in need.specifier}
    assert {"scipy", "setuptools", "wheel"} < set(bounds) and "torch" not in bounds


def test_installed_ros_names_are_all_pinned(ros):
    """A wheel that came unpinned, as a dependency of another, could be Kilted's next time."""
    from importlib.metadata import distributions, version

    setup = (ROOT / "setup.py").read_text("utf-8")
    pins = re.search(r"_JAZZY = \{(.+?)\n\}", setup, re.DOTALL)[1]
    pinned = {}
    for number, names in re.findall(r'"([\d.]+)": ((?:"[^"]+"\s*)+)', pins):
        for name in re.sub(r'["\s]+', " ", names).split():
            pinned["ros-" + name.split("[")[0]] = number
    installed = {
        d.metadata["Name"] for d in distributions() if d.metadata["Name"].startswith("ros-")
    } - {"ros-ament-package"}
    if not installed:
        pytest.skip("ROS does not come from wheels here")
    assert installed <= set(pinned)
    assert {name: version(name) for name in installed} == {
        name: pinned[name] for name in installed
    }


def test_package_xml_agrees_with_setup():
    import dualtalker

    root = ET.parse(ROOT / "package.xml").getroot()
    assert root.get("format") == "3"
    assert root.findtext("name") == "dualtalker"
    assert root.findtext("version") == dualtalker.__version__
    assert root.findtext("license") == "Apache-2.0"
    assert root.findtext("export/build_type") == "ament_python"
    depends = {element.text for element in root.findall("exec_depend")}
    assert {"rclpy", "std_msgs", "sensor_msgs", "diagnostic_msgs"} <= depends


@pytest.mark.parametrize("name", ["CORE", "COMFORT"])
def test_package_xml_has_a_key_or_a_word_for_every_requirement(name):
    """What rosdep has no key for is named as pip's, in a comment of its own kind."""
    text = (ROOT / "package.xml").read_text("utf-8")
    keys = re.findall(r"<exec_depend>python3-([\w-]+?)(?:-pip)?</exec_depend>", text)
    brought = {"pillow" if key == "pil" else key for key in keys}
    from_pip = {
        word
        for words in re.findall(r"from pip: ([\w, -]+?) -->", text)
        for word in words.split(", ")
    }
    needed = {requirement.name for requirement in read_requirements(name)}
    assert needed <= brought | from_pip and not brought & from_pip


def test_symlink_leads_to_the_root():
    link = ROOT / "ros2_ws" / "src" / "dualtalker"
    assert link.is_symlink()
    assert os.readlink(link) == os.path.join("..", "..")


FIND_SHARE = """
import dualtalker_ros
from ament_index_python.packages import get_package_share_directory
print(get_package_share_directory("dualtalker"), dualtalker_ros.__file__)
"""


def check_it_runs(installed):
    """As after `. install/setup.bash`: the share is found, every program starts from there."""
    [packages] = installed.glob("lib/python*/site-packages")
    environment = {
        **os.environ,
        "AMENT_PREFIX_PATH": os.pathsep.join([str(installed), sys.prefix]),
        "PYTHONPATH": str(packages),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }

    def start(*command):
        return subprocess.run(
            command, cwd=installed, capture_output=True, text=True, env=environment, timeout=60
        )

    share, module = start(sys.executable, "-c", FIND_SHARE).stdout.split()
    assert Path(share) == installed / "share" / "dualtalker"
    assert packages in Path(module).parents
    scripts = installed / "lib" / "dualtalker"
    assert start(scripts / "dualtalker", "--help").returncode == 0
    # A value that each node refuses by itself, after its start and before any work.
    refused = {"talker_node": "delivery", "recorder_node": "output"}
    for node in sorted(NODES):
        value = "/tmp" if node == "recorder_node" else "none"
        given = f"{refused.get(node, 'audio_type')}:={value}"
        done = start(scripts / node, "--ros-args", "-p", given, "-p", "file:=/none.wav")
        assert done.returncode == 1, (node, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("start", [".", "ros2_ws"])
def test_colcon_builds_the_package(ros, checkout, start):
    """From the root and from the workspace."""
    pytest.importorskip("colcon_core", reason="no colcon; `make test` installs it")
    workspace = checkout / start
    environment = {"AMENT_PREFIX_PATH": sys.prefix, "CMAKE_PREFIX_PATH": sys.prefix}
    colcon = os.path.join(sys.prefix, "bin", "colcon")
    run_apart([colcon, "build", "--packages-select", "dualtalker"], workspace, **environment)
    installed = workspace / "install" / "dualtalker"
    present = {path.relative_to(installed).as_posix() for path in installed.rglob("*")}
    assert present >= SHARE
    scripts = installed / "lib" / "dualtalker"
    assert {path.name for path in scripts.iterdir()} == COMMANDS
    for script in scripts.iterdir():
        assert script.read_text().splitlines()[0] == "#!/usr/bin/env python3"
    assert not any(re.search(r"site-packages/(training|engines)(/|$)", name) for name in present)
    if start == ".":
        check_it_runs(installed)
    # Scripts take the python3 of the path, as a user's shell has it.
    environment["PATH"] = os.pathsep.join([f"{sys.prefix}/bin", os.environ["PATH"]])
    for shell, setup in (("bash", "setup.bash"), ("sh", "setup.sh")):
        script = f". install/{setup} && command -v dualtalker && dualtalker animate --help"
        told = run_apart([shell, "-c", script], workspace, **environment)
        assert told.splitlines()[0] == str(scripts / "dualtalker") and "--channel" in told
    shutil.rmtree(workspace / "install")
    shutil.rmtree(workspace / "build")
    shutil.rmtree(workspace / "log")
