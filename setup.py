"""How the one package `dualtalker` is built, by pip and by colcon; tool settings are elsewhere.

    pip install .                 the library and the `dualtalker` command
    pip install ".[ros,speech]"   and the ROS 2 nodes with ROS 2 Jazzy itself, and a voice
    colcon build                  the same package in a ROS workspace

`training/` and `engines/` run from the checkout and are never installed.
"""

from __future__ import annotations

import re
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

NAME = "dualtalker"
VERSION = re.search(
    r'^__version__ = "(.+)"$', Path("dualtalker/__init__.py").read_text("utf-8"), re.MULTILINE
)[1]

# Lower bounds, each tried by `make test-oldest`. No upper ones: an application that embeds
# dualtalker must be free to choose.

# What a robot needs: the library's `Talker` and the talker node run with these alone.
CORE = [
    "numpy>=1.24.2",  # what onnxruntime 1.17 asks for
    "onnxruntime>=1.17",  # reads IR up to 9; 1.23.2 is the last for Python 3.10
    "soxr>=1.1",  # 1.1 offers the variable-rate mode, whose delay is constant
    "msgspec>=0.18",  # reads sidecars and configs, and says which field is wrong
]

# What the command, recordings and pictures need; imported where they are used.
COMFORT = [
    "soundfile>=0.12",  # 0.12 bundles a libsndfile that reads ogg, flac and mp3
    "tyro>=0.9.16",  # the first that leaves out optional positional arguments
    "tqdm>=4.60",
    "matplotlib>=3.7",
    "pillow>=9.4",
]

# Videos, and recordings that libsndfile cannot read. An extra, because PyAV's wheels load x264 and
# x265, which are under the GPL; imported only where one of these is asked for.
VIDEO = ["av>=12.0"]  # 12 is the first with wheels that carry an H.264 encoder on every platform

# Lips measured in videos, `python -m training.prepare video`; 14.2 tells how a phone was held.
# Never among the tests' own: MediaPipe brings OpenCV with it.
LIPS = ["mediapipe>=0.10.35", "av>=14.2"]

TRAIN = [
    # Pinned: the exporter's graphs change from one torch to the next, and the parity numbers in
    # docs/ were measured with this one. On Linux the build of the CPU index is enough and saves
    # gigabytes of CUDA libraries: install torch from there first, then this extra.
    "torch==2.13.0",
    "transformers>=4.57",
    "safetensors>=0.4",
    "tensorboard>=2.15",
    "onnx>=1.16",
    "onnxscript>=0.5",
    "scipy>=1.10",
    "jiwer>=3.0",  # phone error rate of lip reading
    "torchmetrics>=1.8",  # the second opinion on LVE, of meshes and in the tests
    *VIDEO,  # recordings of a phone are videos
]

# The sound card for microphone_node and speaker_node. On Linux, PortAudio itself comes from the
# distribution: apt install libportaudio2.
DEVICES = ["sounddevice>=0.4.6"]

# The face on screens. ROS has the same by rosdep: python3-tornado, 6.1 on Ubuntu 22.04.
FACE = ["tornado>=6.1"]

# Studies that people answer: videos, a page that collects, statistics.
STUDY = ["scipy>=1.10", *VIDEO, *FACE]

# The face by OSC to VTuber programs and VRChat: `--send vmc://HOST`, `--send vrchat://HOST`.
OSC = ["python-osc>=1.8"]

# The YAML of a robot's servos; rclpy brings the same.
SERVOS = ["pyyaml>=6.0.1"]

# Bags without ROS: `dualtalker bag` and `dualtalker evaluate`.
BAG = ["rosbags>=0.11.7"]  # reads and writes rosbag2; 0.11.7 unpacks no more than we ask for

# ROS 2 Jazzy from PyPI, for Linux on x86_64; other machines install ROS with apt and need none
# of these. Every name is pinned: distributions share the names, so that a single unpinned one
# is replaced by Kilted's, and the mixture crashes on import.
_JAZZY = {
    "2.0.3": "action-msgs builtin-interfaces lifecycle-msgs rcl-interfaces rosgraph-msgs "
    "service-msgs type-description-interfaces",
    "0.17.3": "ament-cmake-cppcheck ament-cmake-cpplint ament-cmake-flake8 ament-cmake-pep257 "
    "ament-cmake-uncrustify",
    "1.8.1": "ament-index-cpp ament-index-python",
    "5.3.6": "diagnostic-msgs geometry-msgs sensor-msgs shape-msgs std-msgs std-srvs "
    "visualization-msgs",
    "2.2.5": "fastcdr",
    "2.14.5": "fastrtps",
    "3.6.2": "fastrtps-cmake-module rosidl-typesupport-fastrtps-c rosidl-typesupport-fastrtps-cpp",
    "1.3.1": "foonathan-memory-vendor",
    "1.6.3": "libyaml-vendor",
    "9.2.8": "rcl rcl-action rcl-lifecycle rcl-yaml-param-parser",
    "3.1.1": "rcl-logging-interface rcl-logging-spdlog",
    "7.1.6": "rclpy[fastrtps]",
    "2.11.2": "rcpputils",
    "6.7.4": "rcutils",
    "7.3.2": "rmw rmw-implementation-cmake",
    "3.1.0": "rmw-dds-common",
    "8.4.3": "rmw-fastrtps-cpp rmw-fastrtps-shared-cpp",
    "2.15.6": "rmw-implementation",
    "4.6.6": "rosidl-adapter rosidl-cli rosidl-cmake rosidl-generator-c rosidl-generator-cpp "
    "rosidl-generator-type-description rosidl-parser rosidl-pycommon rosidl-runtime-c "
    "rosidl-runtime-cpp rosidl-typesupport-interface rosidl-typesupport-introspection-c "
    "rosidl-typesupport-introspection-cpp",
    "0.2.0": "rosidl-core-runtime",
    "1.6.0": "rosidl-default-runtime",
    "0.1.2": "rosidl-dynamic-typesupport wheels-bootstrapper",
    "0.1.0": "rosidl-dynamic-typesupport-fastrtps",
    "0.22.2": "rosidl-generator-py",
    "3.2.2": "rosidl-typesupport-c rosidl-typesupport-cpp",
    "0.4.2": "rpyutils",
    "1.6.1": "spdlog-vendor",
    "8.2.4": "tracetools",
    "2.5.0": "unique-identifier-msgs",
}
ON_JAZZY_WHEELS = (
    'sys_platform == "linux" and platform_machine == "x86_64" and python_version < "3.14"'
)
ROS = [
    f"ros-{name}=={version} ; {ON_JAZZY_WHEELS}"
    for version, names in _JAZZY.items()
    for name in names.split()
] + [*BAG, *DEVICES, *FACE]

# Building TensorRT engines. Jetsons have TensorRT itself from JetPack (docs/jetson.md).
ENGINES = [
    "onnx>=1.16",
    # Builds engines without a GPU, so that every model is proven to build in the tests. Pinned:
    # its parser and its Python API change with the minor version. Wheels for x86_64 only.
    f"tensorrt-rtx==1.7.1.116 ; {ON_JAZZY_WHEELS}",
    # The runner's calls are checked against these; 13.0 is what JetPack 7 takes.
    f"cuda-bindings>=12.9,<13.1 ; {ON_JAZZY_WHEELS}",
]

# Reads rigs that Draco compressed; wheels for x86_64 and aarch64. Apache-2.0.
DRACO = ["DracoPy>=2.2"]

SPEECH = ["espeakng-loader>=0.2.4"]  # GPL-3, run as a separate program; never imported here

# onnx: the tests make their own small models. playwright drives the distribution's chromium, and
# brings no browser of its own.
TEST = [
    "pytest>=8.0",
    "pytest-timeout>=2.3.1",
    "hypothesis>=6.100",
    "onnx>=1.16",
    "playwright>=1.40",
    *FACE,
    *OSC,
    *SERVOS,
    *DRACO,
]

DEV = [
    *TEST,
    "ruff>=0.17,<0.18",  # the formatter's taste changes with the minor version
    "mypy>=1.15",
    # To build wheels without the network in the tests; never a dependency of the package, because
    # the newest turn `colcon build --symlink-install` into a copy.
    "setuptools>=59.6",  # Ubuntu 22.04's
    "wheel>=0.38",
    # The pair that is known to build the package; ros-ament-package is Jazzy's.
    "colcon-common-extensions==0.3.0",
    f"ros-ament-package==0.16.4 ; {ON_JAZZY_WHEELS}",
]

setup(
    name=NAME,
    version=VERSION,
    description="Speech in, a moving robot face out: ARKit-52 blendshapes in time with the audio",
    long_description=Path("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    maintainer="dualtalker maintainers",
    maintainer_email="maintainers@users.noreply.dualtalker.example",
    python_requires=">=3.10",
    packages=[
        *find_packages(include=["dualtalker", "dualtalker.*"]),
        "dualtalker_ros",
        *(f"dualtalker_ros.{name}" for name in find_packages("ros2_ws/src/dualtalker_ros")),
    ],
    # One package.xml at the root builds library and nodes: colcon looks no further down.
    package_dir={"dualtalker_ros": "ros2_ws/src/dualtalker_ros"},
    package_data={"dualtalker": ["models/*", "display/page/*", "study/page/*"]},
    exclude_package_data={"dualtalker": ["models/*.training.*"]},  # for the checkout's trainer
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        # After a colcon build: the programs on the PATH (colcon.pkg names it).
        (f"share/{NAME}/hook", ["resource/path.dsv"]),
        (f"share/{NAME}/launch", sorted(glob("launch/*.launch.py"))),
        (f"share/{NAME}/config", sorted(glob("config/*"))),
    ],
    install_requires=[*CORE, *COMFORT],
    extras_require={
        "train": TRAIN,
        "engines": ENGINES,
        "bag": BAG,
        "ros": ROS,
        "devices": DEVICES,
        "video": VIDEO,
        "lips": LIPS,
        "face": FACE,
        "study": STUDY,
        "osc": OSC,
        "servos": SERVOS,
        "speech": SPEECH,
        "draco": DRACO,
        "dev": DEV,
        "test": TEST,  # `colcon test` runs no pytest at all without an extra of this name
    },
    entry_points={
        "console_scripts": [
            "dualtalker = dualtalker.__main__:main",
            "talker_node = dualtalker_ros.nodes.talker_node:main",
            "wav_publisher_node = dualtalker_ros.nodes.wav_publisher_node:main",
            "recorder_node = dualtalker_ros.nodes.recorder_node:main",
            "bag_player_node = dualtalker_ros.nodes.bag_player_node:main",
            "microphone_node = dualtalker_ros.nodes.microphone_node:main",
            "face_node = dualtalker_ros.nodes.face_node:main",
            "bridge_node = dualtalker_ros.nodes.bridge_node:main",
            "speaker_node = dualtalker_ros.nodes.speaker_node:main",
        ],
    },
    zip_safe=False,
)
