"""A corpus, meshes and a short run on them, made once for all tests of the trainer."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of tiny clips; tests must not change it."""
    from tiny_training import make_corpus

    return make_corpus(tmp_path_factory.mktemp("corpus") / "clips")


@pytest.fixture(scope="session")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of tiny mesh clips; tests must not change it."""
    from tiny_vertices import make_vertex_corpus

    return make_vertex_corpus(tmp_path_factory.mktemp("meshes") / "tiny")


@pytest.fixture(scope="session")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of six steps on the corpus; tests must not change its folder."""
    from tiny_training import tiny_train_config
    from training.learning import train

    return train(tiny_train_config(corpus, tmp_path_factory.mktemp("run")))
