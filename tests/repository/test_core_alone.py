"""The library and the talker node run with CORE of setup.py alone, installed as on a robot."""

from __future__ import annotations

import ast
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import soundfile

from bare_environment import make_bare_environment, read_requirements
from checkout import ROOT
from dualtalker import save_rig
from ros_processes import TIMEOUT_S, command_of
from tiny_rig import tiny_rig

CORE, COMFORT = (
    {requirement.name for requirement in read_requirements(name)} for name in ("CORE", "COMFORT")
)
PARTS = {
    "dualtalker": ROOT / "dualtalker",
    "dualtalker_ros": ROOT / "ros2_ws" / "src" / "dualtalker_ros",
}
# Programs for a terminal; none is imported by the library or by a node.
PROGRAMS = {"dualtalker/cli", "dualtalker_ros/demo"}
# Modules that a function imports, and what they may import beside the core.
LATE = {
    "dualtalker/display/handlers.py": {"tornado"},
    "dualtalker/study/handlers.py": {"tornado"},
    "dualtalker/rig/gltf/draco_worker.py": {"DracoPy"},  # a program of its own
}
# Modules of other names than their packages.
MODULES = {"PIL": "pillow"}


def list_imports(body: list[ast.stmt]) -> Iterator[str]:
    """The top-level names that these statements import when the module itself is imported."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from list_imports(node.orelse)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from list_imports(
                [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.stmt)]
            )


def list_messages() -> set[str]:
    """ROS packages that package.xml names."""
    return {element.text for element in ET.parse(ROOT / "package.xml").iter("exec_depend")}


@pytest.mark.parametrize("part", PARTS)
def test_modules_import_the_core_alone(part):
    allowed = {*sys.stdlib_module_names, *PARTS, *CORE}
    if part == "dualtalker_ros":
        allowed |= list_messages() | {"lifecycle_msgs", "rcl_interfaces", "builtin_interfaces"}
    offenses, files = [], 0
    for path in PARTS[part].rglob("*.py"):
        place = f"{part}/{path.relative_to(PARTS[part]).as_posix()}"
        if place.rpartition("/")[0] not in PROGRAMS:
            files += 1
            names = set(list_imports(ast.parse(path.read_text("utf-8")).body))
            names -= LATE.get(place, set())
            offenses += [f"{place}: {name}" for name in sorted(names - allowed)]
    assert files > 20 and not offenses


@pytest.mark.parametrize("place", LATE)
def test_late_modules_are_imported_in_functions_alone(place):
    name = place.removesuffix(".py").replace("/", ".")
    for path in (path for folder in PARTS.values() for path in folder.rglob("*.py")):
        for node in ast.walk(ast.Module(list(list_module_level(path)), [])):
            assert not (isinstance(node, ast.ImportFrom) and node.module == name), path


def list_module_level(path: Path) -> Iterator[ast.stmt]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.If)):
            yield node


def test_what_is_missing_is_told_by_its_package():
    """The command names the packages of COMFORT, each by the module that Python misses."""
    packages = runpy.run_path(str(ROOT / "dualtalker" / "__main__.py"))["_PACKAGES"]
    assert set(packages.values()) == COMFORT
    assert all(MODULES.get(module, module) == name for module, name in packages.items())


# --- in a bare environment ---


@pytest.fixture(scope="module")
def bare(wheel_path, tmp_path_factory):
    return make_bare_environment(tmp_path_factory.mktemp("bare") / "env", wheel_path)


@pytest.mark.slow
def test_it_is_bare(bare):
    done = bare.run("python", "-c", "import sys, dualtalker; print(dualtalker.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(bare.prefix), done.stderr
    code = "import importlib.util as u, sys; sys.exit(any(u.find_spec(n) for n in sys.argv[1:]))"
    absent = [*COMFORT - {"pillow"}, "PIL", "rosbags", "scipy", "torch", "onnx", "sounddevice"]
    assert all(bare.run("python", "-c", code, name).returncode == 0 for name in absent)


TALK = """
import sys
import numpy as np
import dualtalker
from dualtalker.errors import AudioError
from dualtalker.rig.robot_head import build_head

model, npz, glb, wav, out = sys.argv[1:]
talker = dualtalker.Talker(model, fps=60)
samples = np.sin(np.arange(32000) / 20).astype(np.float32) / 2
for chunk in np.split(samples, 100):
    talker.push(chunk, 16000)
frames = talker.frames() + talker.flush()
assert len(frames) == 120 and all(frame.weights.shape == (52,) for frame in frames)
talker.close()
weights = dualtalker.animate(samples, 16000, model=model).weights
assert weights.shape == (60, 52)
for rig in (dualtalker.load_rig(npz), dualtalker.load_rig(glb), build_head()):
    assert rig.pose(weights).shape == (60, len(rig.neutral), 3)
    dualtalker.save_rig(rig, out)
try:
    dualtalker.animate(wav, model=model)
except AudioError as error:
    print(error)
"""


@pytest.mark.slow
def test_the_library_streams_and_loads_rigs(bare, tiny, tmp_path):
    rigs = [tmp_path / "face.npz", tmp_path / "face.glb"]
    for path in rigs:
        save_rig(tiny_rig(), path)
    wav = tmp_path / "speech.wav"
    soundfile.write(wav, np.zeros(1600), 16000)
    paths = [str(path) for path in (tiny, *rigs, wav, tmp_path / "out.glb")]
    done = bare.run("python", "-c", TALK, *paths)
    assert done.returncode == 0, done.stderr
    assert "python -m pip install soundfile" in done.stdout


@pytest.mark.slow
def test_the_command_says_what_to_install(bare):
    for command in (["dualtalker", "info"], ["python", "-m", "dualtalker", "--help"]):
        done = bare.run(*command)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert "python -m pip install tyro" in done.stderr


@pytest.mark.slow
def test_the_recorder_says_what_to_install(bare, ros_domain, tmp_path):
    done = bare.run("recorder_node", "--ros-args", "-p", f"output:={tmp_path / 'bag'}")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "rosbags" in done.stderr and "pip install" in done.stderr


@pytest.mark.slow
def test_the_talker_node_hears_speech_and_publishes_faces(bare, listener, tiny, tmp_path):
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Float32, Int16MultiArray

    faces = listener.hear(JointState, "blendshapes")
    mouths = listener.hear(Float32, "mouth_open")
    voice = listener.node.create_publisher(Int16MultiArray, "audio", 100)
    log = tmp_path / "node.log"
    options = command_of("talker_node", model=tiny, frame_rate=60.0)[3:]
    with log.open("wb") as output:
        node = subprocess.Popen(
            [bare.prefix / "bin" / "talker_node", *options],
            cwd=bare.prefix, env=bare.variables, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        listener.meet(voice)
        rng = np.random.default_rng(0)
        for _ in range(50):
            chunk = rng.integers(-8000, 8000, 320, dtype=np.int16)
            voice.publish(Int16MultiArray(data=chunk.tolist()))
            listener.spin(0.02)
        listener.spin_until(lambda: len(faces) > 60 and len(mouths) > 60)
        node.send_signal(signal.SIGINT)
        assert node.wait(TIMEOUT_S) == 0, log.read_text()
    finally:
        node.kill()
        node.wait()
    moved = np.array([message.position for _, message in faces])
    assert moved.shape[1] == 52 and np.ptp(moved, axis=0).max() > 0.01
