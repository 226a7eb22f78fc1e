"""The token that is kept, so that a screen finds its face again."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from dualtalker.display import FaceFile, FaceServer, keep_token
from dualtalker.display.access import list_addresses
from dualtalker.errors import DisplayError
from face_viewers import get, run

HOST = "0.0.0.0"


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "dualtalker" / "face_token"


def test_a_restart_keeps_the_address(path):
    addresses = []
    for _ in range(2):
        with FaceServer(FaceFile(b"", {}), host=HOST, port=0, token=keep_token(HOST)) as server:
            token = server.addresses()[0].rpartition("token=")[2]

            async def play(port=server.port, token=token):
                assert (await get(port, f"/?token={token}")).code == 302
                assert (await get(port, "/")).code == 403

            run(play)
        addresses.append(list_addresses(HOST, 1, token))
    assert addresses[0] == addresses[1]


def test_it_is_for_this_user_alone_and_has_128_bits(path):
    token = keep_token(HOST)
    assert path.read_text() == f"{token}\n" and len(token) >= 22
    assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    assert keep_token(HOST) != token
    assert [file.name for file in path.parent.iterdir()] == ["face_token"]


def test_several_faces_that_start_together_have_one(path):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(keep_token, [HOST] * 32))) == 1


def test_this_machine_alone_needs_none(path):
    assert keep_token("127.0.0.1") is None
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 30, b"a" * 22 + b"&x=1", b"a" * 200])
def test_a_file_without_a_token_is_told(path, content):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(DisplayError, match=r"face_token: holds no token.*Remove it"):
        keep_token(HOST)


def test_where_it_cannot_be_kept_there_is_another_each_time(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "dualtalker"):
        assert keep_token(HOST) is None
    assert "another address each time" in caplog.text
