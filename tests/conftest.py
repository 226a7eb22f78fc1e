"""Fixtures that several test files share, and the settings that must stand before any import."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest
from tiny_bundle import make_tiny_bundle

ROOT = Path(__file__).resolve().parent.parent

# Wrong field types raise instead of publishing garbage; read when messages are first imported.
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
# Node processes run the checkout's code, as the tests themselves do.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "ros2_ws" / "src")])


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Path of a tiny stateful bundle, made once a session; tests must not change it."""
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def ros():
    """Need ROS: skip without it, but fail where `make test` has installed it."""
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        reason = f"no rclpy here ({error}); `make test` installs it on Linux x86_64"
        wheels_exist = (
            sys.platform == "linux"
            and platform.machine() == "x86_64"
            and sys.version_info < (3, 14)
        )
        if wheels_exist and os.environ.get("DUALTALKER_REQUIRE_ROS"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def ros_domain(ros):
    """A ROS domain of this module's own, also for the processes that it starts."""
    from dualtalker_ros.domains import find_free_domain

    with pytest.MonkeyPatch.context() as patch:
        domain = find_free_domain()
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        yield domain
