"""`dualtalker face` and `live`: a talking face of files or a voice, in the browser or sent."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from dualtalker.cli.progress import open_bar
from dualtalker.errors import DisplayError
from dualtalker.options import TalkerOptions

if TYPE_CHECKING:
    import numpy as np

    from dualtalker.display import FaceServer, LiveFace, Performance
    from dualtalker.model import Bundle
    from dualtalker.outputs import Output
    from dualtalker.speech import Phone

# Silence after a recording that is repeated: the face blinks and looks about in it.
_PAUSE_S = 2.0
# A page that just came takes a moment until it draws.
_SETTLE_S = 1.0


@dataclass(kw_only=True)
class Screen:
    """Where the face is shown, and which."""

    rig: Annotated[Path | None, tyro.conf.arg(metavar="RIG")] = None
    """Face to show: .glb with its materials, .npz, folder of OBJs. Default: the robot head."""
    host: str = "127.0.0.1"
    """Address to listen on: 127.0.0.1 is this machine alone, 0.0.0.0 all networks by a token."""
    port: int = 7652
    """TCP port."""
    allow_host: tuple[str, ...] = ()
    """Further names by which this machine is asked for, for example robot.example.org."""
    kiosk: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also start the browser that is found here, on the whole screen; ends with it."""
    page: bool = True
    """Serve the page; without it the face goes to --send alone."""
    send: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Also send the face as it is due, for example vmc://127.0.0.1:39539 (VTuber programs),
    livelink://192.168.1.20:11111 (Unreal), ifacialmocap://127.0.0.1 or vrchat://127.0.0.1; may be
    given several times."""

    @contextlib.contextmanager
    def open_all(
        self, fps: float, query: str = ""
    ) -> Iterator[tuple[FaceServer | None, Sequence[Output]]]:
        """Open page and outputs for the `with`; tell where, and at the end what was sent."""
        from dualtalker.outputs import outputs_open

        if not self.page and not self.send:
            raise DisplayError("nobody sees the face: --no-page needs --send livelink://HOST")
        with contextlib.ExitStack() as stack:
            outputs = stack.enter_context(outputs_open(self.send))
            server = stack.enter_context(self.open(fps, query)) if self.page else None
            yield server, outputs
            for address, output in zip(self.send, outputs, strict=True):
                told = ", ".join(f"{kind} {count}" for kind, count in output.counters.items())
                print(f"{address}: {told}", flush=True)

    @contextlib.contextmanager
    def open(self, fps: float, query: str = "") -> Iterator[FaceServer]:
        """Serve the face in the `with`, and tell where."""
        from dualtalker.display import FaceServer, browser_open, keep_token, load_face

        server = FaceServer(
            load_face(self.rig),
            fps=fps,
            host=self.host,
            port=self.port,
            names=self.allow_host,
            token=keep_token(self.host),
        )
        with server, contextlib.ExitStack() as stack:
            for address in server.addresses(query):
                print(f"the face: {address}", flush=True)
            print("  ?face=2d draws it flat; the key d shows its timing. Ctrl-C ends.", flush=True)
            if self.kiosk:
                stack.enter_context(browser_open(server.addresses(query)[0]))
            yield server


@dataclass(kw_only=True)
class Face:
    """Show a talking face in the browser: of a recording, or of a CSV of `animate`."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """Recording (wav, flac, ogg, mp3), or motion CSV."""
    screen: Annotated[Screen, tyro.conf.OmitArgPrefixes] = field(default_factory=Screen)
    sound: Annotated[Path | None, tyro.conf.arg(metavar="WAV")] = None
    """Recording that goes with a CSV."""
    channel: str = "mix"
    """Channel of the recording that is heard, an index from 0; mix is the mean of all."""
    once: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Play once, to the first viewer, and end; without it, repeat until Ctrl-C."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="BUNDLE")] = None
    """Model bundle: path of its .onnx. Default: the shipped model."""
    talker: Annotated[TalkerOptions, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: TalkerOptions(fps=60.0)
    )

    def run(self) -> int:
        """Wait for a viewer, then play."""
        performance = self._prepare()
        query = "audio=1" if performance.samples is not None else ""
        with (
            stopped_by_signals() as stop,
            self.screen.open_all(performance.fps, query) as (server, outputs),
        ):
            play(server, performance, stop, outputs, once=self.once, label=self.file.name)
        return 0

    def _prepare(self) -> Performance:
        from dualtalker.display import read_performance

        if self.file.suffix.lower() == ".csv":
            return read_performance(self.file, self.sound)
        if self.sound is not None:
            raise DisplayError("--sound goes with a CSV; a recording brings its own")
        from dualtalker.audio import read_audio, read_channel

        samples, rate_hz = read_audio(self.file, channel=read_channel(self.channel))
        return _animate(samples, rate_hz, self.model, self.talker, self.file.name)


@dataclass(kw_only=True)
class Live:
    """Show a face in the browser that says what you say: microphone to face, without ROS."""

    screen: Annotated[Screen, tyro.conf.OmitArgPrefixes] = field(default_factory=Screen)
    device: str = ""
    """Microphone: its index, its name or a part of it; empty: the default one."""
    list_devices: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the sound devices and end."""
    rate_hz: int = 16000
    """Sample rate of the microphone (Hz); 0: the one that the device prefers."""
    channels: int = 1
    """Channels of the microphone to record."""
    channel: str = "mix"
    """Channel that is heard, an index from 0; mix is the mean of all."""
    wav: Annotated[Path | None, tyro.conf.arg(metavar="WAV")] = None
    """Recording to hear instead of a microphone, at speaking speed; ends with it."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="BUNDLE")] = None
    """Model bundle: path of its .onnx. Default: the shipped model."""
    talker: Annotated[TalkerOptions, tyro.conf.OmitArgPrefixes] = field(
        default_factory=lambda: TalkerOptions(fps=60.0)
    )

    def run(self) -> int:
        """Hear and show until Ctrl-C, or the recording's end."""
        if self.list_devices:
            from dualtalker.devices import format_devices, list_devices

            print(format_devices(list_devices()))
            return 0
        from dualtalker.audio import read_audio, read_channel
        from dualtalker.devices import import_sounddevice
        from dualtalker.display import LiveFace
        from dualtalker.stream import Talker

        channel = read_channel(self.channel)
        recording = None if self.wav is None else read_audio(self.wav, channel=channel)
        if recording is None:
            import_sounddevice()
        talker = Talker(self.model, **self.talker.keywords())
        query = "audio=1" if self.wav is not None else ""
        with (
            stopped_by_signals() as stop,
            self.screen.open_all(talker.fps, query) as (server, outputs),
            LiveFace(server, talker, is_heard=recording is not None, outputs=outputs) as face,
        ):
            print(f"from sound to face: {face.delay_s * 1e3:.0f} ms", flush=True)
            if recording is None:
                self._hear(face, channel, stop)
            else:
                _wait_for_viewer(server, outputs, stop)
                self._read_out(face, *recording, stop)
        return 0

    def _hear(self, face: LiveFace, channel: int | None, stop: threading.Event) -> None:
        from dualtalker.display import Microphone

        with Microphone(face, self.device, self.rate_hz, self.channels, channel):
            stop.wait()

    def _read_out(
        self, face: LiveFace, samples: np.ndarray, rate_hz: int, stop: threading.Event
    ) -> None:
        from tqdm import tqdm

        from dualtalker.display import pace_recording

        with tqdm(total=round(len(samples) / rate_hz, 1), unit="s", disable=None) as bar:
            for given_s in pace_recording(face, samples, rate_hz, stop):
                bar.update(given_s)
        stop.wait(face.delay_s + 0.5)  # until the last of it is shown


def play(
    server: FaceServer | None,
    performance: Performance,
    stop: threading.Event,
    outputs: Sequence[Output] = (),
    *,
    once: bool,
    label: str = "",
) -> None:
    """Wait for a viewer and play, once or again and again until `stop` is set."""
    from dualtalker.display import FacePlayer

    player = FacePlayer(server, stop, outputs)
    while not stop.is_set():
        if not _wait_for_viewer(server, outputs, stop):
            return
        total_s = round(performance.duration_s, 1)
        with open_bar(label, total_s, "s") as bar:
            player.play(performance, bar.update)
        stop.wait(_PAUSE_S if not once else 0.5)
        if once:
            return


def play_speech(
    samples: np.ndarray,
    rate_hz: int,
    phones: Sequence[Phone],
    bundle: Bundle,
    options: TalkerOptions,
    where: str,
    rig: Path | None,
) -> None:
    """Say speech [n], of known phones, once: on a "page" with its face, or on the "speaker"."""
    with stopped_by_signals() as stop:
        if where == "speaker":
            from dualtalker.devices import play_samples

            play_samples(samples, rate_hz, stop)
            return
        performance = _animate(samples, rate_hz, bundle, options, "speech", phones)
        with Screen(rig=rig).open(performance.fps, "audio=1") as server:
            play(server, performance, stop, once=True, label="speech")


def _wait_for_viewer(
    server: FaceServer | None, outputs: Sequence[Output], stop: threading.Event
) -> bool:
    """Return whether a screen is there, before `stop` is set; outputs wait for none."""
    if server is None or outputs or server.viewer_count:
        return True
    print("waiting for a viewer ...", flush=True)
    while not server.viewer_count:
        if stop.wait(0.05):
            return False
    return not stop.wait(_SETTLE_S)


def _animate(
    samples: np.ndarray,
    rate_hz: int,
    model: Path | Bundle | None,
    options: TalkerOptions,
    label: str,
    phones: Sequence[Phone] = (),
) -> Performance:
    """Return the face of a recording [n], with a pause at its end in which it lives on."""
    import numpy as np

    from dualtalker.display import Performance
    from dualtalker.stream import animate

    padded = np.concatenate([samples, np.zeros(round(_PAUSE_S * rate_hz), np.float32)])
    total_s = round(len(padded) / rate_hz, 1)
    with open_bar(label, total_s, "s") as bar:
        animation = animate(
            padded, rate_hz, model=model, phones=phones, progress=bar.update, **options.keywords()
        )
    return Performance(animation.times_s, animation.weights, animation.head, samples, rate_hz)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set in the `with`; a second one interrupts."""
    stop = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
