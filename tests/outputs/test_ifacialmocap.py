"""`ifacialmocap://` as receivers read it, by the rules of ifacialmocap.com/for-developer."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, expand
from dualtalker.errors import OutputError
from dualtalker.outputs import open_output, outputs_open
from dualtalker.stream import Frame


def make_frame(weights, head=None):
    return Frame(0, 0.0, None, weights, False, head)


def hear(frame):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        address = f"ifacialmocap://127.0.0.1:{receiver.getsockname()[1]}"
        with outputs_open([address]) as [output]:
            output.send(frame)
            assert output.counters["sent"] == 1
        return receiver.recv(8192)


def read(data):
    """NAME-PERCENT|...|=head#six numbers|rightEye#three|leftEye#three|, as public receivers do."""
    shapes, bones = {}, {}
    text = data.decode("ascii")
    assert text.endswith("|") and text.count("=") == 1
    for part in text.removesuffix("|").split("|"):
        if "#" in part:
            name, numbers = part.split("#")
            bones[name.removeprefix("=")] = [float(number) for number in numbers.split(",")]
        else:
            name, percent = part.split("-")
            shapes[name] = int(percent)
    return shapes, bones


def test_shapes_are_whole_percents_by_the_apps_names():
    weights = np.random.default_rng(0).random(52, np.float32)
    data = hear(make_frame(weights))
    assert len(data) <= 1472
    shapes, bones = read(data)
    assert len(shapes) == 52 and min(shapes.values()) >= 0 and max(shapes.values()) <= 100
    for name, percent in shapes.items():
        full = name.replace("_L", "Left").replace("_R", "Right")
        assert abs(percent / 100 - weights[ARKIT_INDEX[full]]) <= 0.005 + 1e-6
    assert {"mouthSmile_R", "eyeLookOut_L", "browInnerUp", "mouthLeft", "jawRight"} <= set(shapes)
    assert {name for name in ARKIT_NAMES if name in shapes} >= {"jawLeft", "mouthRight", "jawOpen"}
    assert [len(bones[name]) for name in ("head", "rightEye", "leftEye")] == [6, 3, 3]


def test_the_head_turns_in_degrees_as_it_does_here():
    head = np.deg2rad([10.0, -20.0, 5.0]).astype(np.float32)
    _, bones = read(hear(make_frame(np.zeros(52, np.float32), head)))
    np.testing.assert_allclose(bones["head"], [10, -20, 5, 0, 0, 0], atol=1e-3)
    assert bones["rightEye"] == bones["leftEye"] == [0, 0, 0]


def test_eyes_look_where_their_shapes_say():
    """In the example that is published x grows downwards, and y to the face's own left.

    It has eyeLookDown 17 with x 6, and eyes that both look in: the right one with y 2.4, the left
    one with -1.7.
    """
    weights = expand({"eyeLookDown": 0.2, "eyeLookIn": 0.1})
    _, bones = read(hear(make_frame(weights)))
    (right_x, right_y, _), (left_x, left_y, _) = bones["rightEye"], bones["leftEye"]
    assert right_x == left_x == pytest.approx(6.0) and right_y == -left_y == pytest.approx(3.0)


def test_what_is_no_address_is_refused():
    with pytest.raises(OutputError, match="found /robot; expected nothing"):
        open_output("ifacialmocap://127.0.0.1/robot")
    with outputs_open(["ifacialmocap://127.0.0.1"]) as [output]:
        assert output.name == "ifacialmocap://127.0.0.1:49983"
