"""Corpora of others: every file of them may be anything, and is refused by its name or used."""

from __future__ import annotations

import json
import os
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data import (
    Clip,
    CorpusError,
    Phone,
    iterate_clips,
    load_clips,
    read_rows,
    save_clips,
)
from training.data.mesh_clips import map_array, read_corpus
from training.datasets.regions import read_vertex_set

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora") / "good"
    sound, motion = np.zeros(640, np.float32), np.full((2, 52), 0.5, np.float32)
    phones = [Phone("SIL", 0.0, 0.04)]
    save_clips(folder, [Clip("a", sound, motion, np.ones(52, bool), phones), Clip("b", sound)])
    return folder


@pytest.fixture
def own(corpus, tmp_path):
    return shutil.copytree(corpus, tmp_path / "own")


def list_places(value, path=()):
    """Every place in a JSON value, by its keys."""
    yield path
    items = value.items() if isinstance(value, dict) else []
    items = list(enumerate(value)) if isinstance(value, list) else items
    for key, inner in items:
        yield from list_places(inner, (*path, key))


def put(value, path, new):
    if not path:
        return new
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("name", ["index.json", "shard-00000.json"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_value_in_any_place_is_refused_by_file_or_harmless(corpus, name, data):
    whole = json.loads((corpus / name).read_text())
    path = data.draw(st.sampled_from(list(list_places(whole))))
    folder = corpus.parent / "changed"
    shutil.copytree(corpus, folder, dirs_exist_ok=True)
    (folder / name).write_text(json.dumps(put(whole, path, data.draw(JSON))))
    try:
        load_clips(folder)
    except CorpusError as error:
        assert str(folder) in str(error)


def test_a_shard_is_a_file_of_the_corpus(own, corpus):
    index = json.loads((own / "index.json").read_text())
    for name in ("../good/shard-00000.npz", str(corpus / "shard-00000.npz"), "shard-00000.json"):
        index["shards"][0]["file"] = name
        (own / "index.json").write_text(json.dumps(index))
        with pytest.raises(CorpusError, match="a shard is called"):
            load_clips(own)


@pytest.mark.parametrize("kind", ["pipe", "zero", "folder"])
@pytest.mark.parametrize("name", ["index.json", "shard-00000.json", "shard-00000.npz"])
def test_pipes_devices_and_folders_are_not_waited_for(own, name, kind):
    path = own / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(CorpusError, match=str(own)):
        load_clips(own)


def write_archive(path, content, how=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", how) as archive:
        for number in range(2):
            archive.writestr(f"{number:05d}.audio.npy", content)
        archive.writestr("00000.motion.npy", content)


def npy(descr, shape):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    header = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


@pytest.mark.parametrize(
    "content, how",
    [
        (npy("<i2", "(1000000000000,)"), zipfile.ZIP_STORED),
        (npy("<i2", f"({10**30},)"), zipfile.ZIP_STORED),
        (npy("<i2", "(500,)") + bytes(100), zipfile.ZIP_STORED),
        (npy("<f8", "(4,)") + bytes(32), zipfile.ZIP_STORED),
        (npy("|O", "(4,)") + bytes(32), zipfile.ZIP_STORED),
        (npy("<i2", "(2, 2)") + bytes(8), zipfile.ZIP_STORED),
        (npy("<i2", "(100000000,)") + bytes(200_000_000), zipfile.ZIP_DEFLATED),
        (b"", zipfile.ZIP_STORED),
        (b"\x93NUMPY", zipfile.ZIP_STORED),
    ],
    # pytest 8.0 makes ids of the bytes themselves, 4 GB of them.
    ids=["terabytes", "beyond", "short", "kind", "objects", "shape", "packed", "empty", "magic"],
)
def test_archives_that_claim_more_than_they_hold_are_refused(own, content, how):
    write_archive(own / "shard-00000.npz", content, how)
    with pytest.raises(CorpusError, match=r"shard-00000\.npz is not what was written"):
        load_clips(own)


def test_an_archive_that_is_none_is_refused(own):
    for content in (b"", b"PK\x03\x04", bytes(1000), b"\x80\x04."):
        (own / "shard-00000.npz").write_bytes(content)
        with pytest.raises(CorpusError, match=r"shard-00000\.npz is not what was written"):
            list(iterate_clips(own))


def test_the_rows_of_a_shard_are_checked_by_themselves(own):
    assert [row["name"] for row in read_rows(own / "shard-00000.npz")] == ["a", "b"]
    (own / "shard-00000.json").write_text('{"sha256": "", "clips": [{"name": 3}]}')
    with pytest.raises(CorpusError, match=r"shard-00000\.json: .*clips\[0\]"):
        read_rows(own / "shard-00000.npz")


# --- vertices ---


@pytest.mark.parametrize("content", ["", "[]", "3", "null", '{"format": 1}', "{", '{"a": NaN}'])
def test_an_index_of_vertex_clips_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(CorpusError, match=r"index\.json or corpus\.npz cannot be used"):
        read_corpus(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "broken", "missing", "compressed"])
def test_arrays_of_vertex_clips_that_are_none_are_refused(tmp_path, kind):
    index = {"format": "dualtalker-vertex-clips", "format_version": 1}
    (tmp_path / "index.json").write_text(json.dumps(index))
    path = tmp_path / "corpus.npz"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "broken":
        path.write_bytes(b"PK\x03\x04" + bytes(50))
    elif kind == "compressed":
        np.savez_compressed(path, templates=np.zeros(3))
    with pytest.raises(CorpusError, match="cannot be used"):
        read_corpus(tmp_path)


def test_a_pipe_is_no_array_and_no_set_of_vertices(tmp_path):
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(CorpusError, match="not a regular file"):
        map_array(tmp_path / "a.npy")
    for name in ("lips.txt", "lips.json", "lips.npy", "lips.pkl"):
        path = tmp_path / name
        os.mkfifo(path)
        with pytest.raises(CorpusError, match=f"{name}: not a regular file"):
            read_vertex_set(path, "lips", 10)
