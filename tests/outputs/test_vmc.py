"""`vmc://` as python-osc's server hears it, by the rules of protocol.vmc.info."""

from __future__ import annotations

import socket
import sys

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, expand
from dualtalker.errors import OutputError
from dualtalker.outputs import open_output, outputs_open
from dualtalker.outputs.vmc import fit_vowels, turn_head
from dualtalker.rig import VISEMES
from dualtalker.stream import Frame

pytest.importorskip("pythonosc")
HEAD = np.array([0.1, -0.2, 0.3], np.float32)


def make_frame(head=None, weights=None):
    weights = np.random.default_rng(0).random(52, np.float32) if weights is None else weights
    return Frame(0, 0.0, None, weights, False, head)


def hear(frame, path="", frames=1):
    """What python-osc's dispatcher is called with, in order, and the sizes of the datagrams."""
    from pythonosc.dispatcher import Dispatcher
    from pythonosc.osc_server import BlockingOSCUDPServer

    heard, sizes, done = [], [], []
    dispatcher = Dispatcher()
    dispatcher.set_default_handler(lambda address, *values: heard.append((address, *values)))
    dispatcher.map("/VMC/Ext/T", lambda address, *values: done.append((address, *values)))

    class Server(BlockingOSCUDPServer):
        def get_request(self):
            data, place = super().get_request()
            sizes.append(len(data[0]))
            return data, place

    with Server(("127.0.0.1", 0), dispatcher) as server:
        server.timeout = 5
        with outputs_open([f"vmc://127.0.0.1:{server.server_address[1]}{path}"]) as [output]:
            for _ in range(frames):
                output.send(frame)
        while len(done) < frames:
            before = len(heard) + len(done)
            server.handle_request()
            assert len(heard) + len(done) > before
    return heard, done, sizes


def test_52_shapes_then_apply(tmp_path):
    frame = make_frame(HEAD)
    heard, done, sizes = hear(frame, frames=2)
    assert len(sizes) >= 4 and max(sizes) <= 1472
    one = heard[: len(heard) // 2]
    assert [entry[0] for entry in one] == [
        *["/VMC/Ext/Blend/Val"] * 52,
        "/VMC/Ext/Blend/Apply",
        "/VMC/Ext/Bone/Pos",
        "/VMC/Ext/OK",
    ]
    found = {name[0].lower() + name[1:]: value for _, name, value in one[:52]}
    assert list(found) == list(ARKIT_NAMES)
    np.testing.assert_array_equal(np.float32(list(found.values())), frame.weights)
    assert one[52] == ("/VMC/Ext/Blend/Apply",) and one[54] == ("/VMC/Ext/OK", 1)
    assert one[53][1:5] == ("Head", 0.0, 0.0, 0.0) and len(one[53]) == 9
    np.testing.assert_allclose(one[53][5:], turn_head(HEAD), atol=1e-6)
    assert 0 <= done[0][1] <= done[1][1] < 60


def rotate(quaternion, vector):
    axis, w = quaternion[:3], quaternion[3]
    return vector + 2 * np.cross(axis, np.cross(axis, vector) + w * vector)


def test_the_head_turns_as_in_unity():
    """Axes: x to the right, y up, z forward; ours: down, to the left, tilted to the right."""
    forward, up = np.array([0, 0, 1.0]), np.array([0, 1.0, 0])
    assert rotate(turn_head(np.array([0.3, 0, 0])), forward)[1] == pytest.approx(-np.sin(0.3))
    assert rotate(turn_head(np.array([0, 0.3, 0])), forward)[0] == pytest.approx(-np.sin(0.3))
    assert rotate(turn_head(np.array([0, 0, 0.3])), up)[0] == pytest.approx(np.sin(0.3))
    assert np.linalg.norm(turn_head(HEAD)) == pytest.approx(1.0)
    # By y, then x, then z, as Unity's Euler angles are.
    parts = [turn_head(HEAD * mask) for mask in np.eye(3)]
    for vector in np.eye(3):
        turned = rotate(parts[1], rotate(parts[0], rotate(parts[2], vector)))
        np.testing.assert_allclose(rotate(turn_head(HEAD), vector), turned, atol=1e-6)


@pytest.mark.parametrize(
    ("vowel", "viseme"), [("A", "AA"), ("I", "IY"), ("U", "UW"), ("E", "EH"), ("O", "OW")]
)
def test_vowels_are_found_again(vowel, viseme):
    for strength in (0.4, 1.0):
        found = fit_vowels(strength * expand(VISEMES[viseme]))
        assert found.pop(vowel) == pytest.approx(strength, abs=0.02)
        assert max(found.values()) < 0.02


def test_vowels_for_models_without_arkit_shapes():
    weights = expand({**VISEMES["OW"], "eyeBlinkLeft": 1.0, "eyeBlinkRight": 0.25})
    heard, _, sizes = hear(make_frame(weights=weights), "/vowels")
    assert len(sizes) == 1
    found = {entry[1]: entry[2] for entry in heard if entry[0] == "/VMC/Ext/Blend/Val"}
    assert list(found) == ["A", "I", "U", "E", "O", "Blink", "Blink_L", "Blink_R"]
    assert found["O"] > 0.9 and found["Blink"] == 0.25 and found["Blink_L"] == 0.75
    assert found["Blink_R"] == 0.0


def test_mixtures_stay_within_one():
    rng = np.random.default_rng(1)
    for _ in range(50):
        found = fit_vowels(rng.random(52).astype(np.float32))
        assert min(found.values()) >= 0 and sum(found[name] for name in "AIUEO") <= 1 + 1e-9
    shut = np.zeros(52, np.float32)
    shut[ARKIT_INDEX["mouthPressLeft"]] = 1.0
    assert sum(fit_vowels(shut)[name] for name in "AIUEO") == 0.0


def test_what_cannot_be_is_refused(monkeypatch):
    with pytest.raises(OutputError, match="expected nothing, or /vowels"):
        open_output("vmc://127.0.0.1/visemes")
    monkeypatch.setitem(sys.modules, "pythonosc", None)
    with pytest.raises(OutputError, match="pip install python-osc"):
        open_output("vmc://127.0.0.1")


def test_the_usual_port():
    with outputs_open(["vmc://127.0.0.1"]) as [output]:
        assert output.name == "vmc://127.0.0.1:39539"
        assert output._socket.family == socket.AF_INET
