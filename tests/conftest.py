"""Fixtures that several test files share, and the settings that must stand before any import."""

from __future__ import annotations

import os
import platform
import sys
from importlib.util import find_spec

import pytest

from checkout import ROOT, copy_package, run_apart
from tiny_bundle import make_tiny_bundle

# Platforms that ROS 2 comes to as wheels.
WHEELS_EXIST = (
    sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 14)
)

# Of a test that compiles interface packages, where they are not kept from an earlier run: 3 s each
# on an idle machine, a minute on a busy one.
BUILD_TIMEOUT_S = 600

# Wrong field types raise instead of publishing garbage; read when messages are first imported.
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
# Node processes run the checkout's code, as the tests themselves do.
os.environ["PYTHONPATH"] = os.pathsep.join(
    str(ROOT / folder) for folder in (".", "ros2_ws/src", "tests/stand_ins")
)


if find_spec("hypothesis"):
    from hypothesis import settings

    # A busy machine is no fault of the code: time is measured in benchmarks, not in tests.
    settings.register_profile("any machine", deadline=None)
    settings.load_profile("any machine")

# Without these, tests skip; `make test` has installed them and may not lose them in silence.
INSTALLED = (
    "av",
    "colcon_core",
    "espeakng_loader",
    "onnx",
    "rosbags",
    "setuptools",
    "tensorrt_rtx",
    "torch",
    "transformers",
)


def pytest_configure(config):
    """Under `make test`, refuse to run where optional packages are missing."""
    missing = [name for name in INSTALLED if find_spec(name) is None]
    if missing and WHEELS_EXIST and os.environ.get("DUALTALKER_REQUIRE_ROS"):
        raise pytest.UsageError(
            f"not installed: {', '.join(missing)}; their tests would be skipped. Remove "
            ".venv/test.stamp and run `make test` again"
        )


def pytest_collection_modifyitems(items):
    """Mark what needs ROS, so that `make check` can leave it out, and what may take long."""
    for item in items:
        if "ros" in item.fixturenames:
            item.add_marker("ros")
        if "interfaces" in item.fixturenames:
            item.add_marker(pytest.mark.timeout(BUILD_TIMEOUT_S))


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
        if WHEELS_EXIST and os.environ.get("DUALTALKER_REQUIRE_ROS"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def ros_domain(ros):
    """A ROS domain of this module's own, also for the processes that it starts."""
    from dualtalker_ros.demo.domains import find_free_domain

    with pytest.MonkeyPatch.context() as patch:
        domain = find_free_domain()
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        yield domain


@pytest.fixture(scope="module")
def listener(ros_domain):
    """A node of the test's own that hears and speaks."""
    from ros_processes import Listener

    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture(scope="session")
def interfaces(ros, request):
    """Folders for PYTHONPATH, by layout, of interface packages built at need and then kept."""
    import ros_interfaces

    missing = ros_interfaces.name_missing()
    if missing:
        pytest.skip(f"interface packages cannot be built here: {missing}")
    folder = request.config.cache.mkdir("ros_interfaces") / ros_interfaces.digest()
    return ros_interfaces.Built(folder)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A copy of the files that make the package, so that nothing is built in the checkout."""
    return copy_package(tmp_path_factory.mktemp("checkout") / "dualtalker_clone")


@pytest.fixture(scope="session")
def wheel_path(checkout, tmp_path_factory):
    """The package as pip builds it."""
    pytest.importorskip("setuptools", reason="no setuptools; `make test` installs it")
    folder = tmp_path_factory.mktemp("wheel")
    # The metadata alone: dependencies are those of this environment.
    options = ["--no-deps", "--no-build-isolation", "--quiet", "-w", str(folder)]
    run_apart([sys.executable, "-m", "pip", "wheel", *options, "."], checkout)
    [path] = folder.glob("*.whl")
    return path
