"""`vrchat://` as python-osc's server hears it, by the names and ranges of docs.vrcft.io."""

from __future__ import annotations

import socket
import sys

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_NAMES, MIRROR_INDICES, expand
from dualtalker.errors import OutputError
from dualtalker.outputs import open_output, outputs_open
from dualtalker.stream import Frame

pytest.importorskip("pythonosc")
# Parameters that go both ways, and stand for two shapes each.
SIGNED = ("X", "Y", "Z", "BrowExpression", "SmileFrown", "SmileSad", "CheekPuffSuck")


def hear(weights, path=""):
    """Every message of a frame: address and value."""
    from pythonosc.osc_bundle import OscBundle

    heard = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        with outputs_open([f"vrchat://127.0.0.1:{receiver.getsockname()[1]}{path}"]) as [output]:
            output.send(Frame(0, 0.0, None, weights, False))
            receiver.setblocking(False)
            while True:
                try:
                    data = receiver.recv(8192)
                except BlockingIOError:
                    break
                assert len(data) <= 1472
                for message in OscBundle(data):
                    [value] = message.params
                    assert message.address not in heard
                    heard[message.address] = value
    return heard


def hear_parameters(weights):
    heard = hear(weights)
    start = "/avatar/parameters/v2/"
    return {name.removeprefix(start): v for name, v in heard.items() if name.startswith(start)}


def test_a_face_at_rest_has_open_eyes_and_is_tracked():
    heard = hear(np.zeros(52, np.float32))
    start = "/avatar/parameters/"
    for name in ("EyeTrackingActive", "ExpressionTrackingActive", "LipTrackingActive"):
        assert heard.pop(f"{start}{name}") is True
    moved = {name.removeprefix(f"{start}v2/"): value for name, value in heard.items() if value}
    assert moved == {
        **dict.fromkeys(("EyeOpenLeft", "EyeOpenRight"), 1.0),
        **dict.fromkeys(("EyeLid", "EyeLidLeft", "EyeLidRight"), 0.75),
    }


def test_parameters_stay_in_their_ranges():
    rng = np.random.default_rng(0)
    for _ in range(20):
        for name, value in hear_parameters((rng.random(52) > 0.5).astype(np.float32)).items():
            signed = name.startswith(SIGNED) or name.endswith(SIGNED)
            assert (-1.0 if signed else 0.0) <= value <= 1.0, name


def test_sides_are_the_faces_own():
    weights = np.random.default_rng(1).random(52).astype(np.float32)
    one, other = (hear_parameters(w) for w in (weights, weights[list(MIRROR_INDICES)]))
    for name, value in one.items():
        mirrored = name.replace("Left", "_").replace("Right", "Left").replace("_", "Right")
        sign = -1.0 if name.endswith("X") else 1.0
        assert other[mirrored] == pytest.approx(sign * value, abs=1e-6), name


def test_every_shape_moves_something():
    rest = hear_parameters(np.zeros(52, np.float32))
    for index, name in enumerate(ARKIT_NAMES):
        found = hear_parameters(np.eye(52, dtype=np.float32)[index])
        assert found != rest, name


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ({"jawOpen": 0.5}, {"JawOpen": 0.5, "MouthClosed": 0.0}),
        ({"jawLeft": 1.0}, {"JawX": -1.0, "JawLeft": 1.0}),
        ({"mouthFunnel": 0.6}, {"LipFunnel": 0.6, "LipFunnelUpperLeft": 0.6}),
        ({"mouthSmileLeft": 0.8}, {"SmileFrownLeft": 0.8, "SmileFrown": 0.4}),
        ({"mouthFrown": 0.8}, {"SmileFrownLeft": -0.8, "MouthFrownRight": 0.8}),
        ({"eyeBlink": 1.0}, {"EyeLid": 0.0, "EyeOpenLeft": 0.0, "EyeClosedRight": 1.0}),
        ({"eyeWide": 1.0}, {"EyeLidLeft": 1.0, "EyeOpenLeft": 1.0}),
        # 30 degrees to the own left: two thirds of the 45 that are -1.
        ({"eyeLookOutLeft": 1, "eyeLookInRight": 1}, {"EyeLeftX": -2 / 3, "EyeX": -2 / 3}),
        ({"eyeLookUp": 1.0}, {"EyeLeftY": 2 / 3, "EyeRightY": 2 / 3, "EyeY": 2 / 3}),
        ({"browDown": 1.0}, {"BrowExpressionLeft": -1.0, "BrowPinchRight": 1.0}),
        ({"browInnerUp": 1, "browOuterUp": 1}, {"BrowExpression": 1.0}),
    ],
)
def test_shapes_mean_what_the_page_says(shape, expected):
    found = hear_parameters(expand(shape))
    assert {name: pytest.approx(found[name], abs=1e-6) for name in expected} == expected


def test_a_prefix_stands_before_the_parameters():
    heard = hear(expand({"jawOpen": 1.0}), "/FT")
    assert heard["/avatar/parameters/FT/v2/JawOpen"] == 1.0
    assert heard["/avatar/parameters/LipTrackingActive"] is True
    assert not any(name.startswith("/avatar/parameters/v2/") for name in heard)


def test_what_cannot_be_is_refused(monkeypatch):
    for path in ("/" + "a" * 65, "/%00", "/%C3%A4"):
        with pytest.raises(OutputError, match="expected a prefix of parameters, as FT"):
            open_output(f"vrchat://127.0.0.1{path}")
    with outputs_open(["vrchat://127.0.0.1"]) as [output]:
        assert output.name == "vrchat://127.0.0.1:9000"
    monkeypatch.setitem(sys.modules, "pythonosc", None)
    with pytest.raises(OutputError, match=r"vrchat:// needs .* pip install python-osc"):
        open_output("vrchat://127.0.0.1")
