"""Servos' YAML: what it means, and what is refused; examples that come with the package."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from checkout import ROOT
from dualtalker.arkit import ARKIT_INDEX, expand
from dualtalker.errors import OutputError
from dualtalker.outputs import find_joint, load_servos
from dualtalker.outputs.servos import parse_servos, replace_limits
from dualtalker.rig import VISEMES

pytest.importorskip("yaml", reason="PyYAML: extra servos, or ROS")

JAW = """
joints:
  jaw:
    shapes: {jawOpen: 1.0, mouthClose: -1.0}   # as mouth_open
    gain: 0.5
    offset: 0.1
    limits: [0.1, 0.5]
"""


def parse(text=JAW, **changes):
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    return parse_servos(text, "my.yaml")


def refuse(text):
    with pytest.raises(OutputError) as caught:
        parse_servos(text, "my.yaml")
    assert str(caught.value).startswith("my.yaml: ") and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("name", "count"), [("servos_jaw", 1), ("servos_example", 7)])
def test_the_examples_shut_the_mouth_on_p_and_open_it_on_a(name, count):
    servos = load_servos(ROOT / "config" / f"{name}.yaml")
    assert len(servos.joints) == count
    shut, wide = (servos.place(expand(VISEMES[viseme]))[0] for viseme in ("PP", "AA"))
    assert shut < 0.03 and wide > 0.15


def test_a_position_is_the_sum_within_the_limits():
    servos = parse()
    values = np.zeros((4, 55))
    values[:, ARKIT_INDEX["jawOpen"]] = 0.0, 0.5, 1.0, 0.2
    values[:, ARKIT_INDEX["mouthClose"]] = 0.0, 0.1, 0.0, 0.9
    np.testing.assert_allclose(servos.place(values)[:, 0], [0.1, 0.3, 0.5, 0.1])
    np.testing.assert_allclose(servos.place(values[:, :52])[:, 0], [0.1, 0.3, 0.5, 0.1])


def test_a_name_without_a_side_is_the_mean_of_both_and_the_head_has_angles():
    text = "joints: {lid: {shapes: {eyeBlink: 2, headYaw: -1.5}, limits: [-9, 9]}}"
    servos = parse(text)
    values = np.zeros(55)
    values[ARKIT_INDEX["eyeBlinkLeft"]], values[ARKIT_INDEX["eyeBlinkRight"]] = 1.0, 0.5
    values[53] = 0.2
    assert servos.place(values)[0] == pytest.approx(2 * 0.75 - 1.5 * 0.2)


def test_numbers_may_be_written_as_people_do():
    [joint] = parse(gain=("gain: 0.5", "gain: 5e-1"), offset=("0.1\n", "1e-1\n")).joints.values()
    assert joint.gain == 0.5 and joint.offset == 0.1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("jawOpen", "jawOpne", "joint jaw: no blendshape 'jawOpne'; did you mean jawOpen"),
        ("mouthClose", "eyeBlnk", "did you mean eyeBlink"),
        ("limits: [0.1, 0.5]", "limits: [0.5, 0.1]", "the least goes first"),
        ("limits: [0.1, 0.5]", "limits: [0.5, 0.5]", "the least goes first"),
        ("limits: [0.1, 0.5]", "limits: [.nan, 0.5]", "joint jaw: limits is nan"),
        ("limits: [0.1, 0.5]", "limits: [0.2, 0.5]", "beyond its limits [0.2, 0.5]"),
        ("limits: [0.1, 0.5]", "limits: 0.5", "joint jaw: "),
        ("    limits: [0.1, 0.5]\n", "", "joint jaw: it missing required field `limits`"),
        ("gain: 0.5", "gain: .inf", "joint jaw: gain is inf"),
        ("gain: 0.5", "gain: nan", "joint jaw: gain is nan"),
        ("gain: 0.5", "gain: wide", "joint jaw: Expected `float`"),
        ("gain: 0.5", "gain: 1" + "0" * 400, "joint jaw: "),
        ("gain: 0.5", "gian: 0.5", "`gian`"),
        ("gain: 0.5", "speed: 0", "joint jaw: Expected `float` > 0"),
        ("gain: 0.5", "acceleration: -1", "joint jaw: Expected `float` > 0"),
        ("gain: 0.5", "lead_ms: -20", "joint jaw: Expected `float` >= 0"),
        ("mouthClose: -1.0", "mouthClose: .nan", "mouthClose is nan"),
        ("mouthClose: -1.0", "jawOpen: 2", "line 4: 'jawOpen' is given twice"),
        ("{jawOpen: 1.0, mouthClose: -1.0}", "{}", "joint jaw: "),
        ("{jawOpen: 1.0, mouthClose: -1.0}", "[jawOpen]", "joint jaw: "),
        ("jaw:", "1:", "joint 1: expected a text"),
        ("joints:", "rate_hz: 9000\njoints:", "rate_hz"),
        ("joints:", "message: serial\njoints:", "'serial'"),
        ("joints:", "topik: /a\njoints:", "`topik`"),
        ("joints:", "joins:", "no joints"),
    ],
)
def test_what_makes_no_sense_is_refused(old, new, said):
    assert old in JAW
    assert said in refuse(JAW.replace(old, new))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("joints:", "no joints"),
        ("joints: {}", "joints"),
        ("[1, 2]", "no joints"),
        ("a: &a [x]\nb: [*a, *a, *a]", "line 2: *a refers to another place"),
        ("a: &a {b: *a}", "refers to another place"),
        ("!!python/object/apply:os.system ['true']", "line 1: found the tag"),
        ("joints: {a: !!timestamp 99}", "found the tag"),
        ("a: 1\n---\nb: 2", "line 2"),
        ("{a: [", "line 1"),
        ("[" * 100_000, "lists and tables in each other"),
        ("? " * 50_000, "lists and tables in each other"),
        ("{a: " * 30_000, "lists and tables in each other"),
        ("- " * 60_000, "lists and tables in each other"),
        ("a" * 100_000, "no joints"),
        ("joints:\n\tjaw: 1", "line 2"),
        ("a: \x00", "my.yaml"),
        ("joints: {[1]: 2}", "my.yaml"),
        ("joints: {jaw: null}", "joint jaw"),
    ],
)
def test_what_is_no_file_of_servos_is_refused(text, said):
    assert said in refuse(text)


def test_a_bus_has_255_servos_and_no_more():
    def write(count):
        row = "{shapes: {jawOpen: 1}, limits: [0, 1]}"
        return "joints:\n" + "".join(f"  servo_{n}: {row}\n" for n in range(count))

    assert len(parse_servos(write(255), "my.yaml").joints) == 255
    assert "joints" in refuse(write(256))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(OutputError, match=r"none\.yaml: no such file"):
        load_servos(tmp_path / "none.yaml")
    with pytest.raises(OutputError, match="a folder"):
        load_servos(tmp_path)
    path = tmp_path / "big.yaml"
    path.write_text(JAW + "# " + "x" * (1 << 18))
    began_s = time.monotonic()
    with pytest.raises(OutputError, match="bytes, which are more than"):
        load_servos(path)
    path.write_bytes(b"joints: \xff")
    with pytest.raises(OutputError, match="no UTF-8"):
        load_servos(path)
    assert time.monotonic() - began_s < 2.0


def test_without_pyyaml_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert "pip install pyyaml" in refuse(JAW)


def test_an_unknown_joint_is_told_with_the_nearest():
    with pytest.raises(OutputError, match="no joint 'jwa'; did you mean jaw"):
        find_joint(parse(), "jwa")


def test_limits_are_replaced_and_the_rest_stays():
    lid = "  lid:  # of the eyes\n    shapes: {eyeBlink: 1}\n    limits:\n    - 0\n    - 1 # up\n"
    text = replace_limits(JAW + lid, {"jaw": (0.05, 0.625), "lid": (-2.0, 3.0)}, "my.yaml")
    changed = lid.replace("- 0\n    - 1", "  [-2, 3]")
    assert text == JAW.replace("[0.1, 0.5]", "[0.05, 0.625]") + changed
    servos = parse_servos(text, "my.yaml")
    assert servos.limits.T.tolist() == [[0.05, 0.625], [-2.0, 3.0]]
