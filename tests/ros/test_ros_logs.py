"""Nodes log what rclpy's logger would log, without its search for source."""

from __future__ import annotations

import inspect

import pytest

pytestmark = pytest.mark.usefixtures("ros")

SEVERITIES = ("debug", "info", "warning", "error", "fatal")


@pytest.fixture
def told(monkeypatch):
    """What is logged, as rcutils is told: severity, name, message, function, file and line."""
    from rclpy.impl.implementation_singleton import rclpy_implementation as rcl

    calls = []
    monkeypatch.setattr(rcl, "rclpy_logging_rcutils_log", lambda *call: calls.append(call))
    return calls


def test_it_tells_what_rclpys_tells(told):
    from rclpy.impl.rcutils_logger import RcutilsLogger

    from dualtalker_ros.logs import NodeLogger

    for severity in SEVERITIES:
        for logger in (RcutilsLogger("talker"), NodeLogger("talker")):
            getattr(logger, severity)(f"of {severity}")
    plain, quick = told[::2], told[1::2]
    assert [call[2] for call in quick] == [f"of {severity}" for severity in SEVERITIES[1:]]
    assert quick == plain


def test_it_looks_for_no_source(told, monkeypatch):
    from dualtalker_ros.logs import NodeLogger

    monkeypatch.setattr(inspect, "getframeinfo", None)
    NodeLogger("talker").info("quick")
    assert told[0][2:5] == ("quick", "test_it_looks_for_no_source", __file__)


def test_filters_belong_to_the_place_that_logs(told):
    from dualtalker_ros.logs import NodeLogger

    logger = NodeLogger("talker")
    for number in range(3):
        logger.warning(f"first {number}", once=True)
        logger.error(f"second {number}", once=True)
        logger.info(f"third {number}", throttle_duration_sec=1000.0)
    assert [call[2] for call in told] == ["first 0", "second 0", "third 0"]


def test_a_node_and_the_library_log_by_it(ros_domain, told):
    import logging

    import rclpy

    from dualtalker_ros.logs import NodeLogger
    from dualtalker_ros.processes import GuardedNode, forward_logs

    rclpy.init()
    library = logging.getLogger("dualtalker")
    handlers, propagate = library.handlers, library.propagate
    try:
        node = GuardedNode("talker", namespace="/robot")
        assert isinstance(node.get_logger(), NodeLogger)
        assert node.get_logger() is node.get_logger()
        forward_logs(node.get_logger())
        library.warning("of the library")
        assert told[-1][1:3] == ("robot.talker", "of the library")
        node.destroy_node()
    finally:
        library.handlers, library.propagate = handlers, propagate
        rclpy.shutdown()
