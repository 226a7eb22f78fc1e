"""Files appear whole or not at all; digests tell what is in them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from dualtalker.files import (
    sha256,
    sha256_of_file,
    sha256_of_files,
    write_whole,
    written_together,
    written_whole,
)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), written_whole(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with written_whole(path) as part:
        assert part.suffix == path.suffix
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["größer", b"\0\xff"])
def test_text_and_bytes_are_written(tmp_path, content):
    write_whole(tmp_path / "a", content)
    assert (tmp_path / "a").read_bytes() == (
        content.encode() if isinstance(content, str) else content
    )


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    (tmp_path / "file").write_text("a file, no folder")
    for path in (tmp_path / "none" / "a.json", tmp_path / "file" / "a.json"):
        with pytest.raises(OSError) as caught:
            write_whole(path, "text")
        assert caught.value.filename == str(path) and ".part" not in str(caught.value)
    with pytest.raises(FileNotFoundError) as caught, written_whole(tmp_path / "a"):
        (tmp_path / "another").read_bytes()
    assert caught.value.filename == str(tmp_path / "another")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_keeps_the_old_file_and_is_told_of_it(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(OSError, match=r"No space left.*a\.json"), written_whole(path) as part:
        part.write_text("half")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_files_that_belong_together_appear_together(tmp_path):
    paths = [tmp_path / "new" / name for name in ("a.onnx", "a.json")]
    with pytest.raises(RuntimeError), written_together(*paths) as folder:
        (folder / "a.onnx").write_text("half")
        raise RuntimeError
    assert list(paths[0].parent.iterdir()) == []
    with written_together(*paths) as folder:
        for path in paths:
            (folder / path.name).write_text(path.name)
        (folder / "scratch").write_text("of no use")
        assert not any(path.exists() for path in paths)
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)


def test_digests_are_sha256_of_what_is_in_them(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert sha256(array) == sha256(array.tobytes()) == hashlib.sha256(array.tobytes()).hexdigest()
    assert sha256(array.T) == sha256(array.T.tobytes()) != sha256(array)
    assert sha256("größer") == sha256("größer".encode())
    path = tmp_path / "a"
    path.write_bytes(bytes(3_000_000))
    assert sha256_of_file(path) == sha256(bytes(3_000_000))


def test_a_digest_of_files_knows_names_and_contents(tmp_path):
    def digest(files):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        return sha256_of_files(sorted(folder.iterdir()), folder)

    same, other = {"a": "1", "b": "2"}, [{"a": "2", "b": "1"}, {"a": "1", "c": "2"}, {"a": "1"}]
    assert digest(same) == digest(same)
    assert len({digest(files) for files in [same, *other]}) == 4
