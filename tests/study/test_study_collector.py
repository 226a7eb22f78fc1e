"""The collector: answers are kept whole and once; nonsense and strangers are refused."""

from __future__ import annotations

import copy
import errno
import http.client
import json
import re
import signal
import socket
import subprocess
import sys

import pytest

from dualtalker.cli.main import main
from dualtalker.errors import StudyError
from dualtalker.study import Collector
from tiny_study import answer_all, choose_first, make_tiny_study

pytest.importorskip("av")
pytest.importorskip("tornado")

PATIENCE_S = 30


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("collected")
    return folder / "study", make_tiny_study(folder)


@pytest.fixture
def desk(made):
    for path in (made[0] / "answers").glob("*"):
        path.unlink()
    with Collector(made[0], port=0) as collector:
        yield collector


def ask(collector, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def post(collector, record, **headers):
    body = record if isinstance(record, bytes) else json.dumps(record).encode()
    status, text, _ = ask(collector, "POST", "/answers", body, **headers)
    return status, text.decode()


def test_answers_are_kept_whole_and_once(desk, made):
    folder, key = made
    given = answer_all(key, 7, choose_first)
    assert post(desk, given)[0] == 200
    path = folder / "answers" / "7.json"
    kept = path.read_bytes()
    assert json.loads(kept) == given and [p.name for p in path.parent.iterdir()] == ["7.json"]
    assert post(desk, given)[0] == 200  # the thanks were lost on the way
    other = answer_all(key, 7, lambda *shown: not choose_first(*shown))
    assert post(desk, other) == (409, "409: participant 7 has answered\n")
    assert path.read_bytes() == kept
    assert desk.counters == {"kept": 1, "refused_answers": 1}


def change(given, key, value, number=None):
    record = copy.deepcopy(given)
    (record if number is None else record["answers"][number])[key] = value
    return record


def list_nonsense(key):
    given = answer_all(key, 3, choose_first)
    text = json.dumps(given)
    yield b"", "no answers"
    yield b"\xff" * 100, "no answers"
    yield b"[" * 100_000, "no answers"
    yield text[:-5].encode(), "no answers"
    yield text.replace("12.5", "NaN").encode(), "no answers"
    yield text.replace("12.5", "1e999").encode(), "no answers"
    for name, value in (
        ("study", "0" * 64),
        ("study", 5),
        ("format", 2),
        ("participant", -1),
        ("participant", 2**31),
        ("participant", "../../key"),
        ("participant", 4),
        ("began", "x" * 41),
        ("began", "<script>"),
        ("answers", []),
        ("answers", given["answers"] * 2),
        ("name", "not asked for"),
    ):
        yield change(given, name, value), "expected" if name != "name" else "unknown field"
    for name, value in (
        ("pair", 99),
        ("left", given["answers"][0]["right"]),
        ("chosen", {"sync": "left"}),
        ("chosen", {"sync": "left", "natural": "middle"}),
        ("chosen", {"sync": "left", "natural": "left", "more": "left"}),
        ("plays", [0, 1]),
        ("plays", [1]),
        ("seconds", -1),
        ("seconds", 1e300),
    ):
        yield change(given, name, value, 0), "answer"


def test_nonsense_is_refused_and_nothing_written(desk, made):
    folder, key = made
    count = 0
    for record, expected in list_nonsense(key):
        status, told = post(desk, record)
        assert status == 400 and expected.lower() in told.lower(), (record, told)
        count += 1
    assert not list((folder / "answers").iterdir())
    assert desk.counters == {"refused_answers": count}
    assert post(desk, answer_all(key, 3, choose_first))[0] == 200  # it still works


def test_a_huge_post_is_refused_unread(desk):
    with socket.create_connection(("127.0.0.1", desk.port), PATIENCE_S) as stream:
        stream.sendall(
            b"POST /answers HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n"
        )
        assert b" 400 " in stream.recv(4096)


def test_other_sites_and_other_names_are_refused(desk, made):
    given = answer_all(made[1], 5, choose_first)
    assert post(desk, given, Origin="http://evil.example")[0] == 403
    assert post(desk, given, Host="evil.example")[0] == 403
    assert ask(desk, "POST", "/participant", Origin="http://evil.example")[0] == 403
    assert ask(desk, "GET", "/", Host="evil.example")[0] == 403
    own = f"127.0.0.1:{desk.port}"
    assert post(desk, given, Host=own, Origin=f"http://{own}")[0] == 200


def test_the_page_is_served_and_nothing_beside_it(desk, made):
    folder, key = made
    status, page, headers = ask(desk, "GET", "/")
    assert status == 200 and b"study.js" in page
    assert "media-src 'self'" in headers["Content-Security-Policy"]
    assert ask(desk, "GET", "/collector.js")[1] == b"globalThis.COLLECTOR = true;\n"
    name = next(iter(key.videos))
    status, video, _ = ask(desk, "GET", f"/videos/{name}.mp4")
    assert status == 200 and video == (folder / f"public/videos/{name}.mp4").read_bytes()
    status, part, _ = ask(desk, "GET", f"/videos/{name}.mp4", Range="bytes=4-7")
    assert status == 206 and part == b"ftyp"
    for path in ("/key.json", "/../key.json", "/%2e%2e/key.json", "/..%2fkey.json", "/answers",
                 "//etc/passwd", "/videos", "/videos/"):  # fmt: skip
        status, told, _ = ask(desk, "GET", path)
        assert status in (301, 403, 404, 405) and b"contestants" not in told, path


def test_participants_are_numbered_in_a_row(desk, made):
    folder, key = made

    def take():
        return json.loads(ask(desk, "POST", "/participant")[1])["participant"]

    assert [take(), take()] == [0, 1]
    assert post(desk, answer_all(key, 2, choose_first))[0] == 200
    assert take() == 3
    with Collector(folder, port=0) as other:
        assert json.loads(ask(other, "POST", "/participant")[1]) == {"participant": 0}


def test_a_full_disk_is_told_and_leaves_nothing(desk, made, monkeypatch, caplog):
    def fill(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    folder, key = made
    monkeypatch.setattr("dualtalker.study.handlers.write_whole", fill)
    status, told = post(desk, answer_all(key, 5, choose_first))
    assert status == 507 and "No space left on device" in told and str(folder) not in told
    assert "participant 5" in caplog.text and not list((folder / "answers").iterdir())


def test_on_a_network_the_token_of_the_address_is_needed(made):
    with Collector(made[0], host="0.0.0.0", port=0, token="sesame") as collector:
        assert all("?token=sesame" in address for address in collector.addresses())
        assert ask(collector, "GET", "/")[0] == 403
        status, _, headers = ask(collector, "GET", "/?token=sesame&participant=5")
        assert status == 302 and headers["Location"] == "/?participant=5"
        cookie = headers["Set-Cookie"].split(";")[0]
        assert ask(collector, "GET", "/", Cookie=cookie)[0] == 200
        given = answer_all(made[1], 9, choose_first)
        assert post(collector, given)[0] == 403
        assert post(collector, given, Cookie=cookie)[0] == 200


def test_the_command_serves_until_it_is_ended(made):
    words = [sys.executable, "-m", "dualtalker", "study", "collect", str(made[0]), "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline()
        assert re.match(r"the study: http://127\.0\.0\.1:\d+/\n", address), address
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0 and "no answers" in out, errors
    finally:
        process.kill()
        process.wait()


def test_what_cannot_be_served_is_told(tmp_path, made, capsys):
    assert main(["study", "collect", str(tmp_path)]) == 2
    assert "expected the key of a study" in capsys.readouterr().err
    make_tiny_study(tmp_path, consent=None)
    with pytest.raises(StudyError, match="--consent"):
        Collector(tmp_path / "study", port=0)
    with pytest.raises(Exception, match="cannot listen"), Collector(made[0], port=0) as first:
        Collector(made[0], port=first.port)
