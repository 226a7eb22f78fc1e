"""Builds ROS interface packages from field layouts, for a PYTHONPATH; what uses them is elsewhere.

    python tests/stand_ins/ros_interfaces.py FOLDER    needs a C and a C++ compiler, and ROS here

Two unrelated packages are called `audio_common_msgs`, so each layout has a folder of its own.
They are built as on a robot: rosidl's generators write the Python classes and the C code of two
type supports (Fast DDS, introspection), and compilers make libraries of it. Only CMake has no
part in it, because ament's macros do not come as wheels.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np

# Layout -> package -> message -> fields, as these projects publish them for ROS 2. Names, types
# and order make the type that DDS compares; comments and constants do not.
LAYOUTS = {
    "ros_drivers": {  # https://github.com/ros-drivers/audio_common
        "audio_common_msgs": {
            "AudioData": "uint8[] data",
            "AudioDataStamped": "std_msgs/Header header\naudio_common_msgs/AudioData audio",
            "AudioInfo": (
                "uint8 channels\nuint32 sample_rate\nstring sample_format\nuint32 bitrate\n"
                "string coding_format"
            ),
        }
    },
    "mgonzs13": {  # https://github.com/mgonzs13/audio_common
        "audio_common_msgs": {
            "AudioData": (
                "float32[] float32_data\nint32[] int32_data\nint16[] int16_data\n"
                "int8[] int8_data\nuint8[] uint8_data"
            ),
            "AudioInfo": "int32 format\nint32 channels\nint32 rate\nint32 chunk",
            "Audio": "audio_common_msgs/AudioData audio_data\naudio_common_msgs/AudioInfo info",
            "AudioStamped": "std_msgs/Header header\naudio_common_msgs/Audio audio",
        }
    },
    "ros4hri": {  # https://github.com/ros4hri/hri_msgs, branch humble-devel
        "hri_msgs": {
            "FacialActionUnits": (
                "std_msgs/Header header\nfloat32[99] intensity\nfloat32[99] confidence"
            )
        }
    },
    # https://github.com/ros4hri/interaction_skills; its `meta` is left out, and `expression` is of
    # hri_msgs there, with these fields.
    "skills": {
        "interaction_skills": {
            "Expression": (
                "std_msgs/Header header\nstring expression\nfloat32 valence\nfloat32 arousal\n"
                "float32 confidence"
            ),
            "SetExpression": "interaction_skills/Expression expression",
        }
    },
    "trajectory": {  # https://github.com/ros2/common_interfaces
        "trajectory_msgs": {
            "JointTrajectoryPoint": (
                "float64[] positions\nfloat64[] velocities\nfloat64[] accelerations\n"
                "float64[] effort\nbuiltin_interfaces/Duration time_from_start"
            ),
            "JointTrajectory": (
                "std_msgs/Header header\nstring[] joint_names\n"
                "trajectory_msgs/JointTrajectoryPoint[] points"
            ),
        }
    },
}

# What the messages above are made of, besides themselves.
DEPENDENCIES = ("std_msgs", "builtin_interfaces")
TYPE_SUPPORTS = ("rosidl_typesupport_fastrtps_c", "rosidl_typesupport_introspection_c")
RUNTIME_LIBRARIES = (
    "rosidl_runtime_c",
    "rosidl_typesupport_c",
    "rosidl_typesupport_fastrtps_c",
    "rosidl_typesupport_fastrtps_cpp",
    "rosidl_typesupport_introspection_c",
    "fastcdr",
    "rmw",
    "rcutils",
)


def name_missing() -> str | None:
    """Return what is missing for a build, in words; None where all is there."""
    for compiler in ("cc", "c++"):
        if shutil.which(compiler) is None:
            return f"no {compiler} on PATH; on Debian and Ubuntu: apt install build-essential"
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    if not header.is_file():
        return f"no {header}; on Debian and Ubuntu: apt install python3-dev"
    if not (_prefix() / "include" / "rosidl_runtime_c").is_dir():
        return f"no rosidl headers in {_prefix() / 'include'}; ROS is not from wheels there"
    return None


def digest() -> str:
    """Return a name for all that a build depends on, so that one can be kept."""
    parts = [Path(__file__).read_text("utf-8"), sys.version, sys.prefix, np.__version__]
    parts += [version(f"ros-rosidl-generator-{language}") for language in ("c", "py")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


class Built(dict[str, Path]):
    """Each layout's folder for PYTHONPATH, below `folder`; built when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __missing__(self, layout: str) -> Path:
        packages, made = LAYOUTS[layout], self._folder / layout
        if not made.is_dir():
            work = self._folder / f"{layout}.{os.getpid()}"
            for package, messages in packages.items():
                _Package(package, messages, work).build()
            try:
                (work / "python").rename(made)
            except OSError:  # another process was quicker
                if not made.is_dir():
                    raise
            shutil.rmtree(work)
        self[layout] = made
        return made


class _Package:
    """One interface package on its way from field layouts to an importable folder."""

    def __init__(self, name: str, messages: dict[str, str], work: Path) -> None:
        self.name, self.messages, self.work = name, messages, work
        self.generated = work / "c"
        self.python = work / "python" / name
        (self.python / "lib").mkdir(parents=True)

    def build(self) -> None:
        """Generate, compile, link; subprocess.CalledProcessError shows the compiler's words."""
        self._generate(self._translate())
        headers = [self.generated / support for support in ("generator", *TYPE_SUPPORTS)]
        include = [f"-I{path}" for path in (*headers, *_include_paths())]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = {
                part: [pool.submit(self._compile, source, include) for source in sources]
                for part, sources in self._sources().items()
            }
            compiled = {part: [job.result() for job in jobs] for part, jobs in objects.items()}
        # A type support is loaded by its library's name: found, because it is loaded already.
        libraries = [
            self._link(f"lib{self.name}__rosidl_generator_c.so", compiled["generator"], [])
        ]
        for support in TYPE_SUPPORTS:
            name = f"lib{self.name}__{support}.so"
            libraries.append(self._link(name, compiled[support], libraries[:1]))
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        entry = f"{self.name}_s__rosidl_typesupport_c{suffix}"
        made = self._link(entry, compiled["python"], libraries)
        made.rename(self.python / entry)

    def _translate(self) -> list[str]:
        from rosidl_adapter.msg import convert_msg_to_idl

        source, idl = self.work / "msg_files", self.work / "idl" / self.name
        (source / "msg").mkdir(parents=True, exist_ok=True)
        for message, fields in self.messages.items():
            relative = Path("msg", f"{message}.msg")
            (source / relative).write_text(fields + "\n", "utf-8")
            convert_msg_to_idl(source, self.name, relative, idl / "msg")
        return [f"{idl}:msg/{message}.idl" for message in self.messages]

    def _generate(self, interfaces: list[str]) -> None:
        from rosidl_generator_c.cli import GenerateC
        from rosidl_generator_py.cli import GeneratePython
        from rosidl_generator_type_description.cli import HashTypeDescription
        from rosidl_typesupport_c.cli import GenerateCTypesupport
        from rosidl_typesupport_fastrtps_c.cli import GenerateFastRTPSCTypesupport
        from rosidl_typesupport_introspection_c.cli import GenerateIntrospectionCTypesupport

        share = [_prefix() / "share" / name for name in DEPENDENCIES]
        order = (self.name, interfaces, share)
        hashes = HashTypeDescription("hash").generate_type_hashes(*order, self.work / "hashes")
        GenerateC("c").generate(
            *order, self.generated / "generator" / self.name, type_description_files=hashes
        )
        for support, generator in zip(
            TYPE_SUPPORTS,
            (GenerateFastRTPSCTypesupport, GenerateIntrospectionCTypesupport),
            strict=True,
        ):
            generator(support).generate(*order, self.generated / support / self.name)
        GenerateCTypesupport("c", typesupport_implementations=list(TYPE_SUPPORTS)).generate(
            *order, self.generated / "dispatch" / self.name
        )
        GeneratePython("py", typesupport_implementations=["rosidl_typesupport_c"]).generate(
            *order, self.python
        )

    def _sources(self) -> dict[str, list[Path]]:
        """Return the sources of each library; C++ in one, because its headers take seconds."""
        parts = {
            part: sorted((self.generated / part).rglob("*.c"))
            for part in ("generator", *TYPE_SUPPORTS)
        }
        parts["python"] = sorted(self.python.rglob("*.c"))
        for part, folder in ((TYPE_SUPPORTS[0], TYPE_SUPPORTS[0]), ("python", "dispatch")):
            whole = self.generated / f"{folder}.cpp"
            sources = sorted((self.generated / folder).rglob("*.cpp"))
            whole.write_text("".join(f'#include "{path}"\n' for path in sources), "utf-8")
            parts[part].append(whole)
        return parts

    def _compile(self, source: Path, include: Sequence[str]) -> Path:
        # Three generators name their files alike.
        name = "_".join(source.relative_to(self.work).parts)
        made = self.work / f"{name}.o"
        cpp = source.suffix == ".cpp"
        compiler = ["c++", "-std=c++17"] if cpp else ["cc", "-std=c11"]
        _run([*compiler, "-O0", "-fPIC", "-c", str(source), "-o", str(made), *include])
        return made

    def _link(self, name: str, objects: Sequence[Path], libraries: Sequence[Path]) -> Path:
        made = self.python / "lib" / name
        installed = _prefix() / "lib"
        names = [
            *(f"{dependency}__rosidl_generator_{kind}" for dependency in DEPENDENCIES
              for kind in ("c", "py")),
            *(f"{dependency}__{support}" for dependency in DEPENDENCIES
              for support in TYPE_SUPPORTS),
            *RUNTIME_LIBRARIES,
        ]  # fmt: skip
        _run(
            [
                *("c++", "-shared", "-o", str(made), f"-Wl,-soname,{name}", "-Wl,--no-as-needed"),
                *map(str, [*objects, *libraries]),
                *(f"-L{installed}", *(f"-l{name}" for name in names)),
                *(f"-Wl,-rpath,$ORIGIN:$ORIGIN/lib:{installed}",),
            ]
        )
        return made


def _prefix() -> Path:
    return Path(sys.prefix)


def _include_paths() -> list[Path]:
    """Return the folders of headers; most ROS packages have one of their own."""
    root = _prefix() / "include"
    packages = [path for path in root.iterdir() if path.is_dir()]
    return [root, *packages, Path(sysconfig.get_paths()["include"]), Path(np.get_include())]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = f"status {done.returncode}: {done.stderr or 'it said nothing'}"
        raise RuntimeError(f"{said}\n{' '.join(command)}")


if __name__ == "__main__":
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    reason = name_missing()
    if reason:
        sys.exit(reason)
    built = Built(Path(sys.argv[1]).resolve())
    for each in LAYOUTS:
        print(built[each])
