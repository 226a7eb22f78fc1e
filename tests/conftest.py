"""Fixtures that several test files share."""

from __future__ import annotations

import pytest
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Path of a tiny stateful bundle, made once a session; tests must not change it."""
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny"))
