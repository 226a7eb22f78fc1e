"""A real browser that shows the face's page, and what a test asks it."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np

from dualtalker.arkit import ARKIT_INDEX

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# WebGL without a GPU, and sound without a touch.
OPTIONS = (
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--autoplay-policy=no-user-gesture-required",
    # Pictures are drawn as they are due, also where nobody sees the window.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
)
PATIENCE_S = 60.0
FPS = 60.0


def why_not() -> str:
    """Return what is missing here for a browser, or "" where there is one."""
    if find_spec("playwright") is None:
        return 'no playwright here; pip install ".[test]"'
    if CHROMIUM is None:
        return "no chromium here; sudo apt install chromium"
    return ""


@contextmanager
def browser_running(*more: str) -> Iterator[Any]:
    """Have a browser in the `with`; asyncio.run does not work beside it in this thread.

    `more` are further options.
    """
    from playwright.sync_api import sync_playwright

    options = [*OPTIONS, *more, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=options, ignore_default_args=["--mute-audio"]
        )
        try:
            yield browser
        finally:
            browser.close()


def make_face(**weights: float) -> np.ndarray:
    face = np.zeros(52, np.float32)
    for name, value in weights.items():
        face[ARKIT_INDEX[name]] = value
    return face


class Sender:
    """Sends one face again and again, as a talker does, until the `with` ends."""

    def __init__(self, server: Any):
        self.server, self.face = server, make_face()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()

    def _run(self):
        begun_s = time.monotonic()
        index = 0
        while not self._stop.wait(max(begun_s + index / FPS - time.monotonic(), 0.0)):
            due_s = begun_s + index / FPS + 0.05
            self.server.send_frame(index, due_s, self.face)
            index += 1


class Face:
    """One page; `problems` are what it complains of, `requests` what it asks for."""

    def __init__(self, browser: Any, address: str, size: tuple[int, int] = (320, 240)):
        self.address = address
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, reduced_motion="no-preference"
        )
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._note)
        self.page.goto(address)

    def _note(self, message: Any) -> None:
        # The server that a test ends is no fault of the page.
        ended = ("WebSocket connection", "ERR_CONNECTION_REFUSED")
        if message.type == "error" and not any(text in message.text for text in ended):
            self.problems.append(message.text)

    def __enter__(self) -> Face:
        """Wait until it draws."""
        self.wait("window.dualtalkerFace && window.dualtalkerFace.statistics().fps > 0")
        return self

    def __exit__(self, *error: object) -> None:
        self.context.close()
        if error[0] is None:
            assert not self.problems, self.problems

    def ask(self, script: str) -> Any:
        return self.page.evaluate(script)

    def wait(self, condition: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until a script is true."""
        end_s = time.monotonic() + patience_s
        while not self.ask(f"Boolean({condition})"):
            assert time.monotonic() < end_s, (condition, self.problems, self.statistics())
            time.sleep(0.05)

    def statistics(self) -> dict[str, float]:
        return self.ask("window.dualtalkerFace ? window.dualtalkerFace.statistics() : {}")

    def picture(self) -> np.ndarray:
        """What the canvas shows, read as it is drawn: uint8 [48, 64, 3]."""
        pixels = self.ask(
            """() => new Promise((done) => {
              const face = window.dualtalkerFace, before = face.onDraw;
              face.onDraw = (info) => {
                before?.(info);
                face.onDraw = before;
                const small = new OffscreenCanvas(64, 48).getContext('2d');
                small.drawImage(face.canvas, 0, 0, 64, 48);
                done(Array.from(small.getImageData(0, 0, 64, 48).data));
              };
            })"""
        )
        return np.array(pixels, np.uint8).reshape(48, 64, 4)[..., :3]

    def watch(self) -> None:
        """From now on keep what is drawn: `drawn`."""
        self.ask(
            """() => { window.drawn = []; window.dualtalkerFace.onDraw = (info) => {
              const sound = window.dualtalkerFace.sound;
              const out = sound?.context.getOutputTimestamp?.();
              window.drawn.push([info.now_s, info.face_s, info.weights[17],
                                 out ? out.contextTime : 0, out ? out.performanceTime / 1e3 : 0,
                                 info.weights[0]]);
            }; }"""
        )

    def watch_pixels(self, left: float, top: float, width: float, height: float) -> None:
        """From now on keep how bright a part of each picture is, read as it is drawn.

        `rows` are the page's time at the beginning of the drawing and after the reading, the face
        time, jawOpen less mouthClose, and the mean of the part's colors, 0 to 255. The part is
        told in shares of the picture.
        """
        self.page.evaluate(
            """([left, top, width, height, jaw, close]) => {
              const wide = 48, high = 32;
              const small = new OffscreenCanvas(wide, high).getContext('2d',
                                                                       {willReadFrequently: true});
              window.rows = [];
              window.dualtalkerFace.onDraw = ({ now_s, face_s, weights }) => {
                const { canvas } = window.dualtalkerFace;
                small.drawImage(canvas, left * canvas.width, top * canvas.height,
                                width * canvas.width, height * canvas.height, 0, 0, wide, high);
                const { data } = small.getImageData(0, 0, wide, high);
                let sum = 0;
                data.forEach((color, i) => { if (i % 4 < 3) sum += color; });
                window.rows.push([now_s, performance.now() / 1000, face_s,
                                  weights[jaw] - weights[close], sum / (wide * high * 3)]);
              };
            }""",
            [left, top, width, height, ARKIT_INDEX["jawOpen"], ARKIT_INDEX["mouthClose"]],
        )

    def rows(self) -> np.ndarray:
        """What `watch_pixels` has kept so far [pictures, 5]."""
        return np.array(self.ask("window.rows"), np.float64).reshape(-1, 5)

    def drawn(self) -> np.ndarray:
        """Rows of page time, face time, jawOpen, heard context time, its page time, blink."""
        return np.array(self.ask("window.drawn"), np.float64).reshape(-1, 6)


class Proxy:
    """A TCP relay that can be held up, as a network is."""

    def __init__(self, port: int):
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._flows = threading.Event()
        self._flows.set()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        self._flows.clear()

    def release(self) -> None:
        self._flows.set()

    def close(self) -> None:
        self._flows.set()
        for end in (self._listener, *self._sockets):
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                viewer, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._sockets += [viewer, server]
            for source, sink in ((viewer, server), (server, viewer)):
                threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._flows.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
