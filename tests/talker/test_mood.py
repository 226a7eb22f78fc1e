"""An expression of hri_msgs, where that is installed: its name, or valence and arousal."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.usefixtures("ros")


@pytest.fixture
def hears(monkeypatch):
    """What a talker was asked for by messages of `hri_msgs`, and how to send one."""
    from dualtalker_ros.talker import mood

    asked, handlers = [], {}

    class Expression:
        def __init__(self, expression="", valence=0.0, arousal=0.0):
            self.expression, self.valence, self.arousal = expression, valence, arousal

    class Node:
        def get_parameter(self, name):
            return SimpleNamespace(value="face")

        def get_logger(self):
            return logging.getLogger("dualtalker")

        def create_subscription(self, message_class, topic, hear, qos):
            handlers[topic] = (message_class, hear)

    monkeypatch.setattr(mood, "import_type", lambda name: Expression)
    talker = SimpleNamespace(set_expression=asked.append)
    mood.MoodListener(Node(), talker)
    message_class, hear = handlers["expression"]
    assert message_class is Expression
    return asked, lambda **fields: hear(Expression(**fields))


def test_a_name_goes_before_valence_and_arousal(hears):
    asked, send = hears
    send(expression="happy", valence=-1.0, arousal=1.0)
    send(valence=-0.5, arousal=0.25)
    send()
    assert asked == ["happy", (-0.5, 0.25), (0.0, 0.0)]
