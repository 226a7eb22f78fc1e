"""What the talker node loads at its start: nothing that only some of its outputs need."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ros_processes import TIMEOUT_S

pytestmark = pytest.mark.usefixtures("ros")

HEAVY = ("dualtalker.rig", "numpy.ma", "onnx", "onnxruntime", "PIL", "dualtalker.drawing")


def test_its_module_loads_nothing_heavy():
    program = (
        "import sys, dualtalker_ros.nodes.talker_node\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
