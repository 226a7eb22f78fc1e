"""The whole road at once: speech on a topic, the talker, a recorder, then tables and pictures.

python -m dualtalker_ros.demo
python -m dualtalker_ros.demo --wav my.wav --fps 60 -o demo_out
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tqdm import tqdm

from dualtalker.audio import import_av, read_audio
from dualtalker.errors import DualtalkerError
from dualtalker.files import (
    ending_in_order,
    record_output,
    refuse_foreign,
    written_output,
    written_together,
)
from dualtalker.model import load_bundle
from dualtalker.stream import FrameClock
from dualtalker_ros.demo.domains import find_free_domain
from dualtalker_ros.demo.page import is_watched, show_recording
from dualtalker_ros.demo.pictures import list_pictures, write_pictures
from dualtalker_ros.demo.recording import Recording, describe, read_recording

SENTENCE = (
    "Hello! I am a robot with a moving face. Peter bought five blue boats, "
    "and my mouth follows every word you hear."
)
# espeak-ng's event for a stop marks its release; the mouth is closed this much earlier.
STOPS = ("p", "b", "t", "d", "k", "ɡ")
CLOSURE_S = 0.045
START_S = 20.0  # for nodes to find each other
_TAIL_S = 1.0  # recorded after the speech: the mouth closes in it
_LOG_HEAD = b"dualtalker_ros.demo: what the nodes say\n"


@dataclass(kw_only=True)
class Demo:
    """Speak through the talker node on ROS 2, record, measure and draw what comes back."""

    wav: Path | None = None
    """Recording to use instead of a made sentence: wav, flac, ogg or mp3."""
    text: str = SENTENCE
    """What to say where no recording is given."""
    voice: str = "en-us"
    """espeak-ng voice, for example en-us, de, cmn."""
    fps: float = 30.0
    """Frames per second, 1 to 120."""
    model: Path | None = None
    """Model bundle (.onnx). Default: the shipped model."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("demo_out")
    """Folder for the results."""

    def run(self) -> None:
        """Do all of it; DualtalkerError says what to mend."""
        import_av("the demo's video")
        FrameClock(self.fps)
        bag, log_path = self.output / "bag", self.output / "nodes.log"
        made = [] if self.wav else [self.output / "speech.wav"]
        refuse_foreign(bag, *made, *list_pictures(self.output), inputs=[self.wav])
        if not _is_log(log_path):
            refuse_foreign(log_path)
        bundle = load_bundle(self.model)
        self.output.mkdir(parents=True, exist_ok=True)
        wav, marks = self._provide_speech()
        samples, rate_hz = read_audio(wav)
        duration_s = len(samples) / rate_hz
        with written_together(bag) as folder:
            with Nodes(log_path) as nodes:
                print(f"ROS_DOMAIN_ID={nodes.domain}, output of the nodes in {nodes.log_path}")
                self._speak(nodes, bundle.onnx_path, wav, folder / bag.name, duration_s)
            record_output(folder / bag.name, bag)
            refuse_foreign(bag)
            if bag.exists():
                shutil.rmtree(bag)
        recording = read_recording(bag)
        written = write_pictures(self.output, recording, marks)
        print_table(recording)
        for path in (bag, *written):
            print(f"  {path}")
        if is_watched():
            show_recording(recording)

    def _speak(self, nodes: Nodes, model: Path, wav: Path, bag: Path, duration_s: float) -> None:
        """Record what the talker answers to a recording."""
        nodes.start("recorder_node", output=bag)
        nodes.start("talker_node", model=model, frame_rate=self.fps)
        publisher = nodes.start(
            "wav_publisher_node", file=wav, wait_for_subscribers=2, wait_s=START_S, lead_in_s=0.5
        )
        nodes.watch(publisher, duration_s)

    def _provide_speech(self) -> tuple[Path, list[tuple[float, str]]]:
        """Return the recording, and moments worth a picture with their labels, if they are known.

        A sentence is made by espeak-ng, which tells when each phoneme begins.
        """
        if self.wav is not None:
            return self.wav, []
        import soundfile

        from dualtalker.speech import synthesize

        speech = synthesize(self.text, self.voice)
        path = self.output / "speech.wav"
        with written_output(path) as part:
            soundfile.write(part, speech.samples, speech.sample_rate_hz, subtype="PCM_16")
        starts = [phoneme.start_s for phoneme in speech.phonemes] + [speech.duration_s]
        return path, [
            (start - CLOSURE_S if phoneme.ipa in STOPS else (start + end) / 2, phoneme.ipa)
            for phoneme, start, end in zip(speech.phonemes, starts, starts[1:], strict=False)
            if phoneme.ipa
        ]


class Nodes:
    """The processes of the demo, in a ROS domain of their own; all have ended after the `with`."""

    def __init__(self, log_path: Path) -> None:
        """Take ROS_DOMAIN_ID where it is set, else a free one."""
        self.log_path = log_path
        self.domain = os.environ.get("ROS_DOMAIN_ID") or str(find_free_domain())
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Nodes:
        self._log = self.log_path.open("wb")
        self._log.write(_LOG_HEAD)
        self._log.flush()
        return self

    def __exit__(self, *error: object) -> None:
        # The recorder was started first and ends last, so that it misses nothing.
        for process in reversed(self._processes):
            _end(process)
        self._log.close()

    def start(self, module: str, **parameters: object) -> subprocess.Popen[bytes]:
        """Start a node of this package with parameters."""
        command = [sys.executable, "-m", f"dualtalker_ros.nodes.{module}", "--ros-args"]
        for name, value in parameters.items():
            # ROS reads values as YAML, where a path with a colon would be something else.
            quoted = f"""'{str(value).replace("'", "''")}'""" if isinstance(value, Path) else value
            command += ["-p", f"{name}:={quoted}"]
        environment = {**os.environ, "ROS_DOMAIN_ID": self.domain}
        process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, env=environment
        )
        self._processes.append(process)
        return process

    def watch(self, publisher: subprocess.Popen[bytes], duration_s: float) -> None:
        """Wait for the publisher, showing progress; DualtalkerError where a node dies."""
        limit_s = START_S + duration_s + 30.0
        # disable=None: no bar where the output is not a terminal.
        with tqdm(total=round(duration_s), desc="speaking", unit="s", disable=None) as bar:
            self._wait(lambda: publisher.poll() is not None, limit_s, bar.update)
        if publisher.returncode:
            raise self._failure("the wav publisher failed")
        self._wait(lambda: False, _TAIL_S, lambda _: None)

    def _wait(
        self, done: Callable[[], bool], limit_s: float, progress: Callable[[float], object]
    ) -> None:
        begun = time.monotonic()
        while not done() and time.monotonic() - begun < limit_s:
            time.sleep(0.1)
            progress(0.1)
            if any(process.poll() for process in self._processes):
                raise self._failure("a node ended early")

    def _failure(self, what: str) -> DualtalkerError:
        self._log.flush()
        lines = self.log_path.read_text("utf-8", errors="replace").splitlines()
        return DualtalkerError("\n".join([f"{what}; its last words:", *lines[-8:]]))


def _is_log(path: Path) -> bool:
    """Whether a log of ours lies there, of a run that may have been killed."""
    if not path.is_file() or path.is_symlink():
        return False
    with path.open("rb") as file:
        return file.read(len(_LOG_HEAD)) == _LOG_HEAD


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def print_table(recording: Recording) -> None:
    """Print the measures, and what they are."""
    rows = describe(recording.figures)
    width = max(len(label) for label, _ in rows)
    print(f"\n{recording.duration_s:.1f} s of speech at {np.round(recording.fps, 3):g} frames/s")
    for label, value in rows:
        print(f"  {label:<{width}}  {value}")
    print(
        "Beyond: receipt of a frame in the recording process, less the moment its instant was\n"
        "heard at speaking speed, less the stated latency (lookahead + hop + resampler).\n"
        "The planned delay of paced delivery is the stated latency and 5 ms.\n"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return 2 where the user can mend something."""
    demo = tyro.cli(Demo, prog="dualtalker_ros.demo", args=arguments)
    try:
        with ending_in_order():
            demo.run()
    except (DualtalkerError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("demo: stopped", file=sys.stderr)
        return 130
    return 0
