"""The face server, as viewers and those who are none meet it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import threading
import time

import numpy as np
import pytest
from tornado.simple_httpclient import HTTPStreamClosedError
from tornado.websocket import WebSocketClosedError

from dualtalker.display import FaceFile, FaceServer, serving
from dualtalker.display import server as server_module
from dualtalker.display.handlers import BURST, LONGEST_WAIT_S, MOST_VIEWERS, POLICY
from dualtalker.errors import DisplayError
from face_viewers import get, join, read, read_frames, run, stall, wait_until

GLB = bytes(range(256)) * 40
FACE = FaceFile(GLB, {"Jaw": [("jawOpen", 1.0)]})
WEIGHTS = np.linspace(0, 1, 52, dtype=np.float32)


@pytest.fixture
def server():
    with FaceServer(FACE, fps=60.0, port=0) as running:
        yield running


def send(server: FaceServer, count: int, first: int = 0) -> None:
    for index in range(first, first + count):
        server.send_frame(index, time.monotonic(), WEIGHTS, stamp_s=float(index))


def test_viewers_get_hello_and_the_frames(server):
    async def play():
        viewer, hello = await join(server.port)
        assert hello["fps"] == 60.0 and hello["rig"]["shapes"] == {"Jaw": [["jawOpen", 1.0]]}
        assert abs(hello["server_s"] - time.monotonic()) < 5.0
        assert viewer.selected_subprotocol == "dualtalker-face-1"
        send(server, 5)
        frames = await read_frames(viewer, 5)
        assert [frame.number for frame in frames] == list(range(5))
        assert [frame.stamp for frame in frames] == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert frames[0].values[:52].tolist() == WEIGHTS.tolist()
        assert frames[0].values[52:].tolist() == [0.0, 0.0, 0.0]

    run(play)


def test_a_late_viewer_gets_the_last_frame(server):
    async def play():
        first, _ = await join(server.port)
        send(server, 3)
        await read_frames(first, 3)
        late, hello = await join(server.port)
        assert hello is not None
        assert (await read_frames(late, 1))[0].number == 2

    run(play)


def test_sound_goes_to_those_who_want_it(server):
    async def play():
        deaf, _ = await join(server.port)
        assert not server.wants_sound
        ears, _ = await join(server.port, "?audio=1")
        wait_until(lambda: server.wants_sound)
        sound = np.full(160, 0.5, np.float32)
        begin_s = time.monotonic()
        for k in range(3):
            server.send_sound(sound, 16000, begin_s + k * 0.01)
        server.send_sound(sound, 16000, begin_s + 0.5)
        send(server, 1)
        heard = await read_frames(ears, 5)
        assert [piece.kind for piece in heard] == [2, 2, 2, 2, 1]
        assert [piece.stamp for piece in heard[:4]] == [
            0,
            160,
            320,
            0,
        ]  # a new stream after a pause
        assert [piece.number for piece in heard[:4]] == [16000] * 4
        assert (await read_frames(deaf, 1))[0].kind == 1

    run(play)


def test_pings_are_answered_and_statistics_kept(server):
    async def play():
        viewer, _ = await join(server.port)
        await viewer.write_message('{"type":"ping","id":9}')
        pong = json.loads(await read(viewer))
        assert pong["id"] == 9 and abs(pong["server_s"] - time.monotonic()) < 5.0
        await viewer.write_message('{"type":"stats","delay_ms":3.5}')
        await viewer.write_message("nonsense")
        await viewer.write_message('{"type":"ping","id":10}')
        assert json.loads(await read(viewer))["id"] == 10
        assert server.statistics()[0]["delay_ms"] == 3.5
        assert server.counters["bad_messages"] == 1

    run(play)


def test_a_flood_ends_its_viewer_and_no_other(server):
    async def play():
        good, _ = await join(server.port)
        flooder, _ = await join(server.port)
        with contextlib.suppress(WebSocketClosedError):
            for _ in range(int(BURST) + 40):
                await flooder.write_message('{"type":"ping","id":1}')
        while await read(flooder) is not None:
            pass
        assert flooder.close_code == 1008
        assert server.counters["floods"] == 1
        send(server, 1)
        await read_frames(good, 1)

    run(play)


def test_too_long_a_message_ends_its_viewer(server):
    async def play():
        viewer, _ = await join(server.port)
        await viewer.write_message("x" * 5000)
        assert await read(viewer) is None

    run(play)


def test_a_viewer_that_stalls_costs_half_a_second_of_frames_and_nobody_else(server):
    async def play():
        good, _ = await join(server.port)
        wait_until(lambda: server.viewer_count == 2)
        wall_s = time.monotonic()
        sent = 0
        while server.counters["dropped"] == 0:
            send(server, 200, sent)
            sent += 200
            await read_frames(good, 200)
            assert time.monotonic() - wall_s < 20.0
        assert max(len(viewer._queue) for viewer in server._stage.viewers) <= 512

    connection = stall(server.port)
    run(play)
    connection.close()
    assert LONGEST_WAIT_S == 0.5


def test_sending_waits_for_nobody(server):
    connection = stall(server.port)
    wait_until(lambda: server.viewer_count == 1)
    begun_s = time.perf_counter()
    send(server, 2000)
    assert (time.perf_counter() - begun_s) / 2000 < 0.005
    connection.close()
    wait_until(lambda: server.viewer_count == 0)


def test_a_page_of_another_version_is_told_to_load_anew(server):
    async def play():
        viewer, hello = await join(server.port, protocol="dualtalker-face-2")
        assert hello is None
        assert (viewer.close_code, server.viewer_count) == (1002, 0)

    run(play)


def test_no_more_viewers_than_there_is_room_for(server):
    async def play():
        viewers = [(await join(server.port))[0] for _ in range(MOST_VIEWERS)]
        refused, hello = await join(server.port)
        assert hello is None and refused.close_code == 1013
        assert len(viewers) == server.viewer_count

    run(play)


def test_files_and_nothing_else(server):
    async def play():
        page = await get(server.port, "/")
        assert page.code == 200 and page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert page.headers["Content-Security-Policy"] == POLICY
        assert "Server" not in page.headers
        for path in (
            "/../server.py",
            "/page/index.html",
            "/%2e%2e/server.py",
            "/face",
            "//",
            "/.",
        ):
            answer = await get(server.port, path)
            assert answer.code == 404, path
            assert answer.headers["Content-Security-Policy"] == POLICY
        assert (await get(server.port, "/", method="DELETE")).code == 405

    run(play)


def test_the_face_goes_packed_and_plain(server):
    async def play():
        packed = await get(server.port, "/rig.glb", **{"Accept-Encoding": "gzip"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.body) == GLB
        plain = await get(server.port, f"/rig.glb?sha256={FACE.digest}")
        assert plain.body == GLB
        assert "31536000" in plain.headers["Cache-Control"]

    run(play)


def test_foreign_hosts_and_origins_are_refused(server):
    own = f"http://127.0.0.1:{server.port}"

    async def play():
        for path in ("/", "/rig.glb", "/live"):
            answer = await get(server.port, path, Host="evil.example")
            assert answer.code == 403, path
        await join(server.port, Origin=own)
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
            with pytest.raises(Exception, match="403"):
                await join(server.port, Origin=origin)
        assert server.counters["foreign_origins"] == 3
        assert server.counters["unknown_hosts"] == 3

    run(play)


def test_a_face_on_the_network_demands_its_token():
    with FaceServer(FACE, host="0.0.0.0", port=0) as server:
        token = server.addresses()[0].rpartition("token=")[2]
        assert len(token) >= 22

        async def play():
            for path in ("/", "/?token=wrong", f"/?token={token}x", "/rig.glb", "/face.js"):
                assert (await get(server.port, path)).code == 403, path
            with pytest.raises(Exception, match="403"):
                await join(server.port)
            first = await get(server.port, f"/?token={token}&face=2d")
            assert (first.code, first.headers["Location"]) == (302, "/?face=2d")
            elsewhere = await get(server.port, f"//evil.example/?token={token}")
            assert elsewhere.code == 404 and "Location" not in elsewhere.headers
            cookie = first.headers["Set-Cookie"]
            assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
            pair = cookie.partition(";")[0]
            assert (await get(server.port, "/", Cookie=pair)).code == 200
            _, hello = await join(server.port, Cookie=pair)
            assert hello is not None
            _, hello = await join(server.port, f"?token={token}")  # a program keeps no cookies
            assert hello is not None

        run(play)


def test_a_taken_port_is_told_and_no_other_is_taken(server):
    with pytest.raises(DisplayError, match=f"cannot listen on 127.0.0.1:{server.port}.*--port"):
        FaceServer(FACE, port=server.port)


def test_a_foreign_address_is_told():
    with pytest.raises(DisplayError, match="address of this machine"):
        FaceServer(FACE, host="203.0.113.7", port=0)


def test_an_end_tells_the_viewers_and_leaves_no_thread():
    server = FaceServer(FACE, port=0).start()

    async def play():
        viewer, _ = await join(server.port)
        closing = threading.Thread(target=server.close)
        closing.start()
        assert await read(viewer) is None
        assert viewer.close_code == 1001
        closing.join()

    run(play)
    send(server, 3)  # nobody is there any more, and nothing is raised
    assert not any(thread.name == "face server" for thread in threading.enumerate())
    FaceServer(FACE, port=server.port).close()  # the port is free again


def test_all_threads_may_send(server):
    async def play():
        viewer, _ = await join(server.port)
        threads = [threading.Thread(target=send, args=(server, 50, k * 50)) for k in range(4)]
        for thread in threads:
            thread.start()
        frames = await read_frames(viewer, 200)
        assert {frame.number for frame in frames} == set(range(200))

    run(play)


def test_a_viewer_that_answers_pings_stays(monkeypatch):
    """A timeout as long as the interval has Tornado before 6.5 close everybody at the first."""
    monkeypatch.setattr(server_module, "_PING_S", 1.0)

    async def play():
        viewer, _ = await join(server.port)
        await asyncio.sleep(2.6)
        send(server, 1)
        await read_frames(viewer, 1)

    with FaceServer(FACE, port=0) as server:
        run(play)


def test_frames_of_a_later_time_are_sent_then(server):
    """A page keeps two seconds: frames far ahead would push out those that are due."""

    async def play():
        viewer, _ = await join(server.port, "?audio=1")
        now_s = time.monotonic()
        server.send_frame(0, now_s + 1.5, WEIGHTS)
        server.send_sound(np.zeros(160, np.float32), 16000, now_s + 1.6)
        server.send_frame(1, now_s + 0.9, WEIGHTS)
        server.send_frame(2, now_s - 1.0, WEIGHTS)
        seen = await read_frames(viewer, 4)
        assert [(one.kind, one.number) for one in seen] == [(1, 1), (1, 2), (1, 0), (2, 16000)]
        assert seen[2].received_s >= now_s + 0.5

    run(play)


def test_a_start_that_fails_raises(monkeypatch):
    def fail(stage):
        raise OSError("too many open files")

    monkeypatch.setattr(FaceServer, "_make_server", fail)
    server = FaceServer(FACE, port=0)
    with pytest.raises(OSError, match="too many open files"):
        server.start()
    server.close()


@pytest.mark.parametrize("port", [-1, 65536, 70000])
def test_a_port_that_is_none_is_refused(port):
    with pytest.raises(DisplayError, match="expected 0 to 65535"):
        FaceServer(FACE, port=port)


@pytest.mark.parametrize("host", ["a..b", "x" * 70])
def test_a_host_that_is_no_name_is_refused(host):
    with pytest.raises(DisplayError, match="Expected a name or an address"):
        FaceServer(FACE, host=host, port=0)


def test_those_who_hold_connections_leave_room_for_others(monkeypatch):
    monkeypatch.setattr(serving, "_MOST_CONNECTIONS", 4)
    with FaceServer(FACE, port=0) as server:

        async def play():
            viewer, _ = await join(server.port)  # counts apart
            connect = lambda: asyncio.open_connection("127.0.0.1", server.port)  # noqa: E731
            held = [await connect() for _ in range(4)]
            await asyncio.sleep(0.1)
            reader, _ = await connect()
            assert await asyncio.wait_for(reader.read(), 10.0) == b""
            assert server.counters["refused_connections"] == 1
            send(server, 1)
            await read_frames(viewer, 1)
            for _, writer in held:
                writer.close()
            answer = None
            while answer is None:
                with contextlib.suppress(HTTPStreamClosedError, ConnectionError):
                    answer = await get(server.port, "/")  # once their ends have come
            assert answer.code == 200

        run(play)


LARGE = FaceFile(np.random.default_rng(0).bytes(2**23), {})


def test_a_large_face_comes_whole_and_stops_nobody():
    with FaceServer(LARGE, port=0) as server:

        async def play():
            answer = await get(server.port, "/rig.glb")
            assert answer.body == LARGE.glb
            packed = await get(server.port, "/rig.glb", **{"Accept-Encoding": "gzip"})
            assert gzip.decompress(packed.body) == LARGE.glb
            head = await get(server.port, "/rig.glb", method="HEAD")
            assert (head.headers["Content-Length"], head.body) == (str(2**23), b"")

        run(play)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux ends those")
def test_one_who_takes_nothing_is_ended(monkeypatch):
    monkeypatch.setattr(serving, "_STALL_MS", 1000)
    with FaceServer(LARGE, port=0) as server, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        host = f"127.0.0.1:{server.port}"
        connection.sendall(f"GET /rig.glb HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        time.sleep(3.0)
        connection.settimeout(10.0)
        count = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                count += len(piece)
        assert 0 < count < len(LARGE.glb)
