"""The page in a real browser, against a real server: what it draws, when, and what it survives."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.display import FacePlayer, FaceServer, Performance, load_face
from face_pages import FPS, Face, Proxy, Sender, browser_running, make_face, why_not

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timed,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]

JAW = ARKIT_INDEX["jawOpen"]


@pytest.fixture(scope="module")
def browser():
    with browser_running() as running:
        yield running


@pytest.fixture(scope="module")
def head():
    return load_face()


@pytest.fixture
def server(head):
    with FaceServer(head, fps=FPS, port=0) as running:
        yield running


def settle(face: Face, jaw: float) -> None:
    """Wait until the page has drawn a jaw so far open, a few times."""
    face.watch()
    face.wait(f"window.drawn.slice(-3).filter(r => Math.abs(r[2] - {jaw}) < 0.02).length == 3")


@pytest.mark.parametrize("query", ["", "face=2d"])
def test_the_mouth_of_the_picture_opens_and_shuts(browser, server, query):
    with Sender(server) as sender, Face(browser, server.addresses(query)[0]) as face:
        pictures = {}
        for name, weights in (
            ("shut", {}),
            ("open", {"jawOpen": 0.7}),
            ("pressed", {"jawOpen": 0.3, "mouthClose": 0.3}),
            ("again", {}),
        ):
            sender.face = make_face(**weights)
            settle(face, weights.get("jawOpen", 0.0))
            pictures[name] = face.picture().astype(int)
        height, width, _ = pictures["shut"].shape
        mouth = np.s_[height // 2 :, width // 4 : -width // 4]
        brow = np.s_[: height // 4]

        def change(name, place=mouth):
            return np.abs(pictures[name][place] - pictures["shut"][place]).mean()

        assert change("open") > 4 * max(change("again"), 0.2)
        assert change("open", brow) < 0.3 * change("open")
        assert change("pressed") < 0.8 * change("open")
        opened = (pictures["open"][mouth].sum(-1) < 200).mean()
        assert opened > (pictures["shut"][mouth].sum(-1) < 200).mean()  # it is dark inside
        assert all(
            request.startswith(("http://127.0.0.1", "ws://127.0.0.1", "blob:"))
            for request in face.requests
        )


def test_every_picture_is_of_its_moment(browser, server):
    """Frames are lines in time, so what is drawn tells of when it was."""
    with Face(browser, server.addresses()[0]) as face:
        face.watch()
        begun_s = time.monotonic() + 0.3
        for index in range(100):  # ahead of their time: none is late, however busy the machine
            at_s = begun_s + index / FPS
            server.send_frame(index, at_s, make_face(jawOpen=index / FPS / 4))
        time.sleep(2.2)
        rows = face.drawn()
    moving = (rows[:, 2] > 0.02) & (rows[:, 1] < begun_s + 99 / FPS)
    told_s = rows[moving, 2] * 4 + begun_s
    assert moving.sum() > 5
    # What is drawn is the frames' line at the time that the page depicts.
    assert np.abs(told_s - rows[moving, 1]).max() < 2e-3
    # And that time is the server's: the same machine's monotonic clock, by pings alone.
    ahead_s = rows[moving, 1] - rows[moving, 0]
    assert np.ptp(ahead_s) < 0.02


def make_clicks(duration_s: float, rate_hz: int = 16000) -> Performance:
    """A click each half second, and a jaw that is open for 100 ms from it."""
    count = round(duration_s * FPS)
    times_s = np.arange(count) / FPS
    since_s = times_s % 0.5
    weights = np.zeros((count, 52), np.float32)
    weights[:, JAW] = since_s < 0.1
    samples = np.zeros(round(duration_s * rate_hz), np.float32)
    for start in np.arange(0.0, duration_s, 0.5):
        first = round(start * rate_hz)
        samples[first : first + 160] = 0.5
    return Performance(times_s, weights, None, samples, rate_hz)


def test_the_mouth_follows_what_the_page_plays(browser, server):
    """The context's time of what is heard, and the mouth's, go together."""
    with Face(browser, server.addresses("audio=1")[0]) as face:
        face.wait("window.dualtalkerFace.sound.running")
        assert server.wants_sound
        face.watch()
        assert FacePlayer(server).play(make_clicks(4.0))
        time.sleep(0.3)
        rows = face.drawn()
    # In the middle of the speech face time runs with the time that is heard.
    middle = rows[len(rows) // 4 : -len(rows) // 4]
    heard_s = middle[:, 3] + middle[:, 0] - middle[:, 4]  # context time that sounds at the draw
    shift_s = middle[:, 1] - heard_s
    assert np.ptp(shift_s) < 0.03
    opened = np.flatnonzero((rows[1:, 2] > 0.5) & (rows[:-1, 2] <= 0.5))
    assert len(opened) >= 4


def test_a_server_that_ends_and_returns_is_met_again(browser, head):
    first = FaceServer(head, fps=FPS, port=0).start()
    with Face(browser, first.addresses("face=2d")[0]) as face:
        with Sender(first) as sender:
            sender.face = make_face(jawOpen=0.5)
            settle(face, 0.5)
        first.close()
        settle(face, 0.0)  # the mouth rests while nobody is there
        with FaceServer(head, fps=FPS, port=first.port) as second, Sender(second) as sender:
            sender.face = make_face(jawOpen=0.3)
            settle(face, 0.3)


def test_a_network_that_halts_for_two_seconds(browser, server):
    proxy = Proxy(server.port)
    try:
        with Sender(server) as sender:
            sender.face = make_face(jawOpen=0.5)
            with Face(browser, f"http://127.0.0.1:{proxy.port}/") as face:
                settle(face, 0.5)
                proxy.hold()
                time.sleep(2.0)
                rows = face.drawn()
                proxy.release()
                assert rows[-1, 2] < 0.02  # the mouth rested ...
                settle(face, 0.5)  # ... and speaks again
    finally:
        proxy.close()


def test_a_second_screen_shows_the_same_at_the_same_time(browser, server):
    with Sender(server) as sender:
        sender.face = make_face(jawOpen=0.4)
        address = server.addresses("face=2d")[0]
        with Face(browser, address) as first, Face(browser, address) as second:
            settle(first, 0.4)
            settle(second, 0.4)
            assert server.viewer_count == 2
            times = [face.drawn()[-1] for face in (first, second)]
            ahead = [
                row[1] - row[0] - face.ask("performance.timeOrigin / 1e3")
                for row, face in zip(times, (first, second), strict=True)
            ]
            assert abs(ahead[0] - ahead[1]) < 0.01


def test_without_frames_the_face_rests_and_blinks(browser, server):
    with Face(browser, server.addresses("face=2d")[0]) as face:
        server.send_frame(0, time.monotonic(), make_face(jawOpen=0.8))
        settle(face, 0.0)
        face.watch()
        face.wait("window.drawn.some(r => r[5] > 0.5)", 30.0)
        assert max(face.drawn()[:, 2]) < 0.02


def test_the_token_becomes_a_cookie(browser, head):
    with FaceServer(head, fps=FPS, host="0.0.0.0", port=0) as server, Sender(server):
        token = server.addresses()[0].rpartition("=")[2]
        address = f"http://127.0.0.1:{server.port}/?token={token}&face=2d"
        with Face(browser, address) as face:
            assert face.ask("location.search") == "?face=2d"
            assert face.ask("document.cookie") == ""  # no script reads it
            settle(face, 0.0)


def test_another_sites_page_gets_nothing(browser, server):
    class Site(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<title>another site</title>")

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{site.server_port}/")
        opened = page.evaluate(
            f"""() => new Promise((done) => {{
              const url = 'ws://127.0.0.1:{server.port}/live';
              const socket = new WebSocket(url, 'dualtalker-face-1');
              socket.onopen = () => done('open');
              socket.onclose = () => done('closed');
            }})"""
        )
        context.close()
        site.shutdown()
    assert opened == "closed"
    assert server.counters["foreign_origins"] == 1


@pytest.mark.parametrize("size", [(390, 844), (1280, 800), (480, 320)])
def test_the_overlay_fits_the_screen(browser, server, size):
    with Sender(server), Face(browser, server.addresses("face=2d")[0], size) as face:
        assert face.ask("getComputedStyle(document.getElementById('overlay')).display") == "none"
        face.page.keyboard.press("d")
        face.wait("document.getElementById('overlay').innerText.includes('ms')")
        box = face.ask(
            "(({left, top, right, bottom}) => [left, top, right, bottom])"
            "(document.getElementById('overlay').getBoundingClientRect())"
        )
        assert 0 <= box[0] < box[2] <= size[0] and 0 <= box[1] < box[3] <= size[1]
        assert face.ask("document.documentElement.scrollHeight <= innerHeight")
