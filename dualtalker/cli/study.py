"""The subcommands of `dualtalker study`: a study is made, answered, and reported."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dualtalker.cli.progress import open_bar

_Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY")]


@dataclass(kw_only=True)
class Make:
    """Render the videos of a study and write the page that shows them.

    For example:
        dualtalker study make ours=model.onnx theirs=curves/ --recordings a.wav b.wav
            --consent consent.md -o study/

    What is to be published lies in study/public, a page that works from a file or any web host;
    study/key.json tells whose video is whose and is kept back.
    """

    contestants: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME=PATH...")
    ]
    """Two or more: a model (.onnx), or a folder of motion CSVs, named as the recordings. Checks
    are made of the first: name the one that follows the sound best."""
    recordings: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="WAV...")]
    """What all of them say."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
    """Folder of the study."""
    layout: Literal["side", "turn"] = "side"
    """Two faces side by side, at once; or one after the other, in turn."""
    consent: Annotated[Path | None, tyro.conf.arg(metavar="TEXT")] = None
    """What participants agree to: a text of paragraphs, # headings and - lists. Without it the
    page does not begin, and a text to fill in is written."""
    title: str = "Which face speaks better?"
    """Heading of the page."""
    trials: int | None = None
    """Pairs for each participant, beside four checks and a repeated one. Default: all, 24 at
    most."""
    most_mistakes: int = 1
    """A participant with more, in checks and the repeated pair, is excluded from the report."""
    fps: float = 30.0
    """Frames per second of the videos (Hz)."""
    rig: Annotated[Path | None, tyro.conf.arg(metavar="RIG")] = None
    """Face that all have: .npz, .glb, .vrm, folder of OBJs. Default: the robot head."""
    seed: int = 0
    """Decides names of videos, orders and sides."""

    def run(self) -> int:
        """Make it, and tell what to do with it."""
        from dualtalker.rig import load_rig
        from dualtalker.rig.robot_head import build_head
        from dualtalker.study import PUBLIC, StudyOptions, make_study, read_contestants

        contestants = read_contestants(self.contestants)
        rig = load_rig(self.rig) if self.rig is not None else build_head()
        options = StudyOptions(
            title=self.title,
            layout=self.layout,
            consent=self.consent,
            trials=self.trials,
            fps=self.fps,
            seed=self.seed,
            most_mistakes=self.most_mistakes,
        )
        key = make_study(self.out, contestants, self.recordings, rig, options, _progress)
        shown = len(key.plan.schedules[0])
        print(f"study {key.digest[:12]}: {len(key.videos)} videos, {shown} pairs a participant")
        print(f"  publish {self.out / PUBLIC}, or: dualtalker study collect {self.out}")
        print(f"  keep back {self.out / 'key.json'}: it tells whose video is whose")
        if not key.plan.consent:
            text = self.out / "consent.md"
            print(f"  the page does not begin yet: fill in {text}, and make it with --consent")
        return 0


@dataclass(kw_only=True)
class Collect:
    """Serve a study's page and take its answers, one file a participant, until Ctrl-C."""

    study: _Folder
    """Folder of `dualtalker study make`; answers go to its folder answers."""
    host: str = "127.0.0.1"
    """Address to listen on: 127.0.0.1 is this machine alone, 0.0.0.0 all networks by a token."""
    port: int = 7653
    """TCP port."""
    allow_host: tuple[str, ...] = ()
    """Further names by which this machine is asked for, for example study.example.org."""

    def run(self) -> int:
        """Serve until a signal, then tell what came."""
        from dualtalker.cli.face import stopped_by_signals
        from dualtalker.display import keep_token
        from dualtalker.study import Collector

        collector = Collector(
            self.study,
            host=self.host,
            port=self.port,
            names=self.allow_host,
            token=keep_token(self.host),
        )
        with stopped_by_signals() as stop, collector:
            for address in collector.addresses():
                print(f"the study: {address}", flush=True)
            print("  Ctrl-C ends.", flush=True)
            stop.wait()
        told = [f"{kind.replace('_', ' ')} {count}" for kind, count in collector.counters.items()]
        print(f"{self.study}: {', '.join(told) or 'no answers'}")
        return 0


@dataclass(kw_only=True)
class Report:
    """Tell what a study's answers say: preference, scores, agreement, and how many to ask next."""

    study: _Folder
    """Folder of `dualtalker study make`, with its key."""
    answers: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[ANSWERS...]")
    ] = ()
    """Files of answers, or folders of them. Default: the study's folder answers."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="DIR")] = None
    """Folder for report.html, report.json and report.md. Default: report in the study's."""

    def run(self) -> int:
        """Write it, and print its tables."""
        from dualtalker.study import ANSWERS, read_key, report_study

        paths = self.answers or (self.study / ANSWERS,)
        report = report_study(read_key(self.study), paths, self.out or self.study / "report")
        print(report.to_markdown())
        for path in report.paths:
            print(f"  {path}")
        return 0


Commands = (
    Annotated[Make, tyro.conf.subcommand("make")]
    | Annotated[Collect, tyro.conf.subcommand("collect")]
    | Annotated[Report, tyro.conf.subcommand("report")]
)


@dataclass
class Study:
    """A study of what people prefer: pairs of faces that say the same, on a page."""

    command: tyro.conf.OmitArgPrefixes[tyro.conf.OmitSubcommandPrefixes[Commands]]

    def run(self) -> int:
        """Run the subcommand."""
        return self.command.run()


@contextlib.contextmanager
def _progress(label: str, total: float, unit: str) -> Iterator[Callable[[float], object]]:
    with open_bar(label, total, unit) as bar:
        yield bar.update
