"""The core loads nothing that is under the GPL: PyAV, whose wheels bring x264 and x265, least."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from checkout import ROOT

MODULES = sorted(
    ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
    for folder in (ROOT, ROOT / "ros2_ws" / "src")
    for name in ("dualtalker", "dualtalker_ros")
    for path in (folder / name).rglob("*.py")
    if path.name != "__main__.py" and not path.name.endswith("_worker.py")  # programs
    if not (folder / name).is_symlink()
)
# Shared objects of the GPL that could come with what is imported.
GPL = ("x264", "x265", "xvid", "postproc", "espeak", "fftw", "rubberband", "gsl", "readline")

TELL = """
import json, pathlib
mapped = {line.split()[-1] for line in open("/proc/self/maps") if "/" in line}
names = sorted({pathlib.Path(path).name for path in mapped})
print(json.dumps({"av": "av" in sys.modules, "libraries": names}))
"""


def run(code, *arguments):
    """Run code in a process of its own; return whether it loaded av, and its shared objects."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{TELL}", *map(str, arguments)],
        capture_output=True, text=True, timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    suspects = [name for name in found["libraries"] if any(word in name for word in GPL)]
    return found["av"], suspects


def test_the_law_can_fail():
    pytest.importorskip("av")
    loaded, libraries = run("import av")
    assert loaded and any("x264" in name for name in libraries)


IMPORT_ALL = """
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_no_module_of_the_library_loads_the_gpl():
    names = [name for name in MODULES if name.split(".")[0] == "dualtalker"]
    assert len(names) > 80
    assert run(IMPORT_ALL, *names) == (False, [])


def test_no_module_of_the_nodes_loads_the_gpl(ros):
    names = [name for name in MODULES if name.split(".")[0] == "dualtalker_ros"]
    assert len(names) > 30
    assert run(IMPORT_ALL, *names) == (False, [])


ANIMATE = """
import dualtalker
from dualtalker.cli.main import main
model, out, *files = sys.argv[1:]
for file in files:
    dualtalker.animate(file, model=model)
    assert main(["animate", file, "-o", out, "--model", model, "--vertices"]) == 0
"""


def test_recordings_are_animated_without_the_gpl(tiny, tmp_path):
    sound = np.sin(np.arange(8000) / 20) / 2
    files = [tmp_path / f"{kind}.{kind}" for kind in ("wav", "flac", "ogg", "mp3")]
    for file in files:
        soundfile.write(file, sound, 16000)
    assert run(ANIMATE, tiny, tmp_path / "out", *files) == (False, [])
    assert len(list((tmp_path / "out").glob("*.csv"))) == 4


SPEAK = """
from dualtalker.cli.main import main
assert main(["speak", "Hello.", "-o", sys.argv[2], "--model", sys.argv[1]]) == 0
"""


def test_a_sentence_is_spoken_without_the_gpl(tiny, tmp_path):
    """espeak-ng runs as a program of its own."""
    pytest.importorskip("espeakng_loader", reason="needs pip install 'dualtalker[speech]'")
    assert run(SPEAK, tiny, tmp_path) == (False, [])
    assert list(tmp_path.glob("*.csv"))
