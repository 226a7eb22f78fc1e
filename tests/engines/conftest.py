"""Tiny networks, exported once for all tests of the exporter and the converter."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def stateful(tmp_path_factory):
    """A stateful bundle; tests must not change its folder."""
    from tiny_exports import make_stateful

    return make_stateful(tmp_path_factory.mktemp("stateful"))


@pytest.fixture(scope="session")
def windowed(tmp_path_factory):
    """A windowed bundle, and its network; tests must not change its folder."""
    from tiny_exports import make_windowed

    return make_windowed(tmp_path_factory.mktemp("windowed"))
