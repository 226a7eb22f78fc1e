"""The subcommands `bag` and `evaluate`: recordings to bags, bags to reports."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from dualtalker.cli.progress import open_bar
from dualtalker.errors import BagError, DualtalkerError
from dualtalker.options import TalkerOptions

if TYPE_CHECKING:
    from dualtalker.bags import BagEvaluation, BagOptions
    from dualtalker.evaluation import Report
    from dualtalker.rig import Rig

log = logging.getLogger("dualtalker")


# Whose audio_common_msgs a type is of; std_msgs are part of every ROS.
_MAKERS = {
    "AudioDataStamped": "ros-drivers",
    "AudioData": "ros-drivers",
    "AudioStamped": "mgonzs13",
}


@dataclass(kw_only=True)
class MakeBag:
    """Make a rosbag2 of a recording, and of the motion that belongs to it, without ROS.

    For example:
        dualtalker bag speech.wav speech.mcap
        dualtalker bag speech.wav captured.csv -o speech.mcap

    The bag holds /audio in stamped chunks and, with a CSV, /reference/blendshapes. `dualtalker
    evaluate speech.mcap` reports on it; `ros2 bag play speech.mcap` plays it to a robot.
    """

    files: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="WAV [CSV] [TO]")
    ]
    """A recording (wav, flac, ogg, mp3); the motion as CSV, of `dualtalker animate`, Live Link
    Face, Audio2Face or MediaPipe; and the bag, unless -o gives it: NAME.mcap, NAME.db3, or a
    folder."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="TO")] = None
    """The bag to write."""
    audio_type: Literal["AudioDataStamped", "AudioData", "AudioStamped", "Int16MultiArray"] = (
        "AudioDataStamped"
    )
    """Type of the audio messages: AudioDataStamped and AudioData of ros-drivers, AudioStamped of
    mgonzs13's audio_common, Int16MultiArray of std_msgs, which alone is in every ROS but has no
    stamps."""
    channel: str = "mix"
    """Channel of the recording, an index from 0; mix is the mean of all."""
    chunk_ms: float = 20.0
    """Length of one message's audio, ms."""
    storage: Literal["", "mcap", "sqlite3"] = ""
    """Storage of a folder; default mcap. A file's ending tells it."""
    reference_offset_ms: float = 0.0
    """Move the motion by so much, ms; positive is later."""
    timecode_rate: float | None = None
    """Frames in a second of Live Link Face's timecode, 29.97 for NTSC. Default: the usual whole
    rate that fits; drop-frame is known by its numbers. It is printed."""

    def run(self) -> int:
        """Read everything, then write the bag."""
        from dualtalker.audio import read_audio, read_channel
        from dualtalker.bags import Motion, write_bag
        from dualtalker.evaluation import read_motion_table

        wav, csv, out = _sort_files(self.files, self.out)
        samples, rate_hz = read_audio(wav, channel=read_channel(self.channel))
        motion = None
        if csv is not None:
            table = read_motion_table(csv, self.timecode_rate)
            motion = Motion(table.times_s + self.reference_offset_ms / 1e3, table.weights)
            if table.counting is not None:
                print(f"{csv}: {table.counting.describe()}")
        write_bag(
            out,
            samples,
            rate_hz,
            motion,
            audio_type=self.audio_type,
            chunk_s=self.chunk_ms / 1e3,
            storage=self.storage,
        )
        beside = "" if motion is None else f" and {len(motion.times_s)} faces"
        print(f"{out}: {len(samples) / rate_hz:.2f} s of audio at {rate_hz} Hz{beside}")
        if maker := _MAKERS.get(self.audio_type):
            print(
                f"to play it with ROS, install audio_common_msgs of {maker} there, or make it "
                "with --audio-type Int16MultiArray; `dualtalker evaluate` needs neither"
            )
        return 0


def _sort_files(files: tuple[Path, ...], out: Path | None) -> tuple[Path, Path | None, Path]:
    """Return recording, CSV or None, and goal."""
    rest = list(files)
    wav = rest.pop(0) if rest else None
    csv = rest.pop(0) if rest and rest[0].suffix.lower() == ".csv" else None
    if out is None and rest:
        out = rest.pop(0)
    if wav is None or out is None or rest:
        raise BagError(
            f"found {', '.join(str(f) for f in files) or 'no file'}; expected a recording, a CSV "
            "if there is one, and the bag: dualtalker bag speech.wav captured.csv -o speech.mcap"
        )
    return wav, csv, out


@dataclass(frozen=True)
class _ReplayOptions(TalkerOptions):
    fps: float | None = None  # type: ignore[assignment]
    """Frames per second (Hz). Default: those of the recorded talker, else 30."""
    head_motion: tyro.conf.Suppress[bool] = False  # moves no weight


@dataclass(kw_only=True)
class Evaluate:
    """Tell from a rosbag2 how good the face is: replay its audio, compare, write a report.

    For example:
        dualtalker evaluate robot_bag/ -o report/
        dualtalker evaluate speech.mcap --reference captured.csv -o report/
        dualtalker evaluate speech.mcap --compare old.onnx new.onnx -o report/
        dualtalker evaluate --compare monday/ tuesday/ -o report/

    Reads MCAP and sqlite3 without ROS, faster than real time, by the very code of the talker
    node. With a reference (the topic /reference/blendshapes, or --reference) it reports accuracy
    and audio-visual offset; where the bag holds blendshapes that a talker sent, also its jitter,
    latency, losses, and whether the replay gives the same frames bit by bit.
    """

    bag: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="BAG")] = None
    """Folder with metadata.yaml, or a .mcap or .db3 file. Left out with --compare of two bags."""
    compare: Annotated[tuple[Path, Path] | None, tyro.conf.arg(metavar="A B")] = None
    """Two models (.onnx) on the bag, or two bags with one model: side by side in one report."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")] = Path("report")
    """Folder for report.html and report.json."""
    reference: Annotated[str | None, tyro.conf.arg(metavar="TOPIC|CSV")] = None
    """Motion to compare with. Default: the topic reference/blendshapes, where there is one."""
    reference_offset_ms: float = 0.0
    """Move the reference by so much, ms; positive is later."""
    timecode_rate: float | None = None
    """Frames in a second of a reference CSV's timecode, 29.97 for NTSC."""
    audio_topic: str | None = None
    """Topic of the audio. Default: the only one of a known type, or the one called audio."""
    run_topic: str | None = None
    """Topic of the blendshapes that a talker sent. Default: the only one, beside the audio."""
    sample_rate_hz: int | None = None
    """Rate of audio that does not tell it. Default: an AudioInfo in the bag, else 16000."""
    channels: int | None = None
    """Channels of audio that does not tell them. Default: an AudioInfo in the bag, else 1."""
    sample_format: str | None = None
    """Format of audio in bytes, such as S16LE. Default: an AudioInfo in the bag, else S16LE."""
    channel: str = "mix"
    """Channel that is heard, an index from 0; mix is the mean of all. As the node's parameter."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="BUNDLE")] = None
    """Model bundle: path of its .onnx. Default: the shipped model."""
    talker: Annotated[_ReplayOptions, tyro.conf.OmitArgPrefixes] = _ReplayOptions()
    delivery: Literal["paced", "immediate"] = "paced"
    """The node's parameter; it changes no weights."""
    playout_delay_ms: float = -1.0
    """The node's parameter, ms; negative is the stated latency and 5 ms."""
    starvation_ms: float = 100.0
    """The node's parameter: audio that stays away for so long has ended, ms."""
    interrupt_on_new_utterance: bool = False
    """The node's parameter: a new utterance takes the place of audio that waits."""
    stamps: Literal["auto", "audio", "arrival"] = "auto"
    """The node's parameter: what stamps of audio are of; auto is found out."""
    rig: Annotated[Path | None, tyro.conf.arg(metavar="RIG")] = None
    """Face to measure and draw on: .npz, .glb, .vrm, folder of OBJs. Default: the robot head."""
    video_s: float | None = None
    """Length of the video, s; 0 for none. Default: 8 where the extra `video` is installed."""

    def run(self) -> int:
        """Evaluate, print the table, write the report."""
        from dualtalker.evaluation import plan_report
        from dualtalker.rig import load_rig
        from dualtalker.rig.robot_head import build_head

        plan_report(self.out)
        bags, models = self._sort_inputs()
        rig = load_rig(self.rig) if self.rig is not None else build_head()
        report = self._report(bags, models, rig)
        print(f"{report.table}\n")
        for path in (report.html, report.json):
            print(f"  {path}")
        return 0

    def _sort_inputs(self) -> tuple[list[Path], dict[str, Path | None]]:
        """Return the bags, one or two, and the models by name of the contestant."""
        from dualtalker.bags import REPLAY

        if self.compare is None:
            if self.bag is None:
                raise BagError("no bag given: dualtalker evaluate BAG -o report/")
            return [self.bag], {REPLAY: self.model}
        are_models = [path.suffix == ".onnx" for path in self.compare]
        if all(are_models) and self.bag is not None:
            if self.model is not None:
                raise BagError("--model beside --compare of two models; leave it out")
            names = _name_apart(*self.compare)
            return [self.bag], dict(zip(names, self.compare, strict=True))
        if not any(are_models) and self.bag is None:
            return list(self.compare), {REPLAY: self.model}
        found = " ".join(str(path) for path in self.compare)
        raise BagError(
            f"--compare {found} with bag {self.bag}; expected two models (.onnx) and a bag, as "
            "`evaluate BAG --compare a.onnx b.onnx`, or two bags alone: `evaluate --compare A B`"
        )

    def _report(self, bags: list[Path], models: dict[str, Path | None], rig: Rig) -> Report:
        from dataclasses import replace

        from dualtalker.bags import evaluate_bag, write_bag_report, write_comparison

        options, video_s = self._options(), self._choose_video_s()
        found: list[BagEvaluation] = []
        for path in bags:
            evaluation = evaluate_bag(path, options, models, _progress)
            _tell(evaluation)
            found.append(evaluation)
            # Two bags are shown at one rate.
            options = replace(options, fps=evaluation.first.fps)
        if len(found) == 1:
            return write_bag_report(self.out, found[0], rig, video_s)
        pair = dict(zip(_name_apart(*bags), found, strict=True))
        return write_comparison(self.out, pair, rig, video_s)

    def _choose_video_s(self) -> float:
        from dualtalker.audio import import_av

        if self.video_s is None:
            if importlib.util.find_spec("av"):
                return 8.0
            log.info('the report is without a video; for one: pip install "dualtalker[video]"')
            return 0.0
        if not 0 <= self.video_s <= 3600:
            raise DualtalkerError(f"--video-s {self.video_s}; expected 0 to 3600")
        if self.video_s > 0:
            import_av("--video-s")
        return self.video_s

    def _options(self) -> BagOptions:
        from dualtalker.audio import read_channel
        from dualtalker.bags import BagOptions, GivenFormat, ReplaySettings

        if not 20 <= self.starvation_ms <= 2000:
            raise DualtalkerError(f"--starvation-ms {self.starvation_ms}; expected 20 to 2000")
        return BagOptions(
            audio_topic=self.audio_topic,
            run_topic=self.run_topic,
            reference=self.reference,
            reference_shift_s=self.reference_offset_ms / 1e3,
            timecode_rate_hz=self.timecode_rate,
            given=GivenFormat(
                self.sample_rate_hz,
                self.channels,
                self.sample_format,
                read_channel(self.channel),
            ),
            fps=self.talker.fps,
            settings=ReplaySettings(
                talker=self.talker,
                paced=self.delivery == "paced",
                playout_delay_s=(
                    None if self.playout_delay_ms < 0 else self.playout_delay_ms / 1e3
                ),
                starvation_s=self.starvation_ms / 1e3,
                replace_utterances=self.interrupt_on_new_utterance,
                stamps=self.stamps,
            ),
        )


def _name_apart(first: Path, second: Path) -> tuple[str, str]:
    """Return short names of two paths that differ."""
    if first.stem != second.stem:
        return first.stem, second.stem
    names = f"{first.parent.name}/{first.stem}", f"{second.parent.name}/{second.stem}"
    return names if names[0] != names[1] else ("A", "B")


def _tell(evaluation: BagEvaluation) -> None:
    """Print what was found in a bag, before the table."""
    from dualtalker.bags import describe

    for key, text in describe(evaluation).items():
        print(f"{key}: {text}")
    print()


def _progress(label: str, total: int) -> Callable[[int], object]:
    stack, done = contextlib.ExitStack(), 0
    bar = stack.enter_context(open_bar(label, total, "message"))

    def advance(count: int) -> None:
        nonlocal done
        done += count
        bar.update(count)
        if done >= total:
            stack.close()

    return advance
