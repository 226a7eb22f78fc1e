"""The options of a talker are the same ones in library, command, replay, node and talker.yaml."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from checkout import ROOT
from dualtalker import Talker, animate
from dualtalker.bags import ReplaySettings
from dualtalker.cli.bags import Evaluate
from dualtalker.cli.main import Animate
from dualtalker.errors import DualtalkerError
from dualtalker.options import TalkerOptions, tell_range

FIELDS = {field.name: field for field in dataclasses.fields(TalkerOptions)}
BOUNDED = [name for name, field in FIELDS.items() if tell_range(field)]


@pytest.mark.parametrize("function", [Talker.__init__, animate])
def test_the_library_has_the_same_options_and_defaults(function):
    found = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name in TalkerOptions().keywords()
    }
    assert found.pop("style") is None  # the model's own, as the empty text is
    expected = TalkerOptions().keywords()
    assert expected.pop("style") == "" and found == expected


def test_command_and_replay_have_the_same_defaults():
    command = Animate(out=Path("out"), wavs=())
    assert command.talker.settle(command.format) == ReplaySettings().talker == TalkerOptions()
    replayed = dataclasses.asdict(Evaluate().talker)
    assert replayed.pop("fps") is None  # that of the recorded talker
    assert replayed.items() <= dataclasses.asdict(TalkerOptions()).items()


@pytest.mark.parametrize("name", BOUNDED)
def test_numbers_out_of_range_are_refused_by_name(name):
    low, high = FIELDS[name].metadata["low"], FIELDS[name].metadata["high"]
    beyond = [float("nan"), low - 1, *([] if high is None else [high + 1, float("inf")])]
    for value in beyond:
        with pytest.raises(DualtalkerError, match=rf"{name} is .*expected {low:g} (to|or)"):
            TalkerOptions(**{name: value})
    for value in (low, high if high is not None else 10**30):
        assert getattr(TalkerOptions(**{name: value}), name) == value


def test_help_tells_every_option_and_range():
    for name, field in FIELDS.items():
        line = re.search(rf"^ *{name}: (.+)$", TalkerOptions.__doc__, re.MULTILINE)[1]
        assert field.metadata["meaning"] in line and tell_range(field) in line


def test_talker_yaml_has_the_same_defaults_and_tells_the_ranges():
    yaml = pytest.importorskip("yaml")
    text = (ROOT / "config" / "talker.yaml").read_text("utf-8")
    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    for name, field in FIELDS.items():
        if name == "seed":
            continue
        parameter = {"fps": "frame_rate"}.get(name, name)
        assert values[parameter] == field.default
        assert type(values[parameter]) is type(field.default)
        above = re.search(rf"((?: *#.*\n)+) *{parameter}:", text)[1]
        assert tell_range(field) in " ".join(above.split())
