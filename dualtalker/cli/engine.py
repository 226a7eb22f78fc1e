"""The subcommands of `dualtalker engine`: build, compare, measure and convert."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from dualtalker.engine import Reference

_Bundle = Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[BUNDLE]")]
_Bundles = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[BUNDLE...]")]


@dataclass
class Build:
    """Build the TensorRT engine of a model.

    For example:
        dualtalker engine build
        dualtalker engine build NAME.onnx -o engines_here --precision fp32

    Run it on the machine that will run the engine: engines are tied to the GPU and to the version
    of TensorRT. Where only `tensorrt_rtx` is installed, no GPU is needed. An engine that is there
    already and fits is kept; --rebuild makes it anew.
    """

    bundle: _Bundle = None
    """The bundle's .onnx file, fp32 or fp16. Default: the shipped model."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="DIR")] = None
    """Folder to write to. Default: $DUALTALKER_ENGINES or ~/.cache/dualtalker/engines, where the
    runtime looks by itself; it also looks beside the bundle."""
    precision: Literal["fp32", "fp16"] = "fp16"
    """Precision of weights and products; normalizations and the spectrum stay in fp32."""
    workspace_mb: int = 1024
    """GPU memory that the builder may use for scratch, MiB."""
    rebuild: bool = False
    """Build even if a fitting engine is there."""
    verbose: bool = False
    """Keep TensorRT's verbose lines in the log."""
    progress: bool = True
    """Show a progress bar."""

    def run(self) -> int:
        """Build, say where it is and how it is used."""
        from dualtalker.engine import BuildOptions, build

        options = BuildOptions(self.workspace_mb, verbose=self.verbose, progress=self.progress)
        built = build(self.bundle, self.out, self.precision, rebuild=self.rebuild, options=options)
        size_mb = built.path.stat().st_size / 1e6
        how = f"{built.layers} layers, {built.seconds:.1f} s" if built.seconds else "already built"
        model = f" --model {self.bundle}" if self.bundle else ""
        print(
            f"{built.path}: {size_mb:.2f} MB, {how}\n"
            f"use it: dualtalker animate speech.wav -o out --engine tensorrt{model}"
        )
        if self.out is not None:
            print(f"the runtime finds it with: export DUALTALKER_ENGINES={self.out.resolve()}")
        return 0


@dataclass
class Compare:
    """Compare a model across runtimes and precisions: are they all one function?

    For example:
        dualtalker engine compare NAME.onnx NAME-fp16.onnx --audio speech.wav

    Runs speech with one unbroken state through onnxruntime and TensorRT, and compares every weight
    of every frame with the first of them: largest and relative error, drift over time, and the
    difference of the lip gap in mm. The status is 1 where the lips differ too much.
    """

    bundles: _Bundles = ()
    """Bundles of the same model (.onnx), the fp32 one first. None: the shipped model."""
    audio: Path | None = None
    """Speech to run. Default: a made signal."""
    seconds: float = 60.0
    """Length of the run; the audio is repeated or cut to it."""
    style: str = ""
    """Style to run in, a name or `NAME:WEIGHT,NAME:WEIGHT`. Default: the model's own mixture."""
    channels: int = 5
    """How many of the worst channels to list; the JSON has all."""
    json: Path | None = None
    """Also write the figures here."""

    def make_reference(self) -> Reference | None:
        """Return what the others are compared with; None: the first model in onnxruntime."""
        return None

    def run(self) -> int:
        """Compare and print; return 1 where the lips differ too much."""
        from dualtalker.engine import collect_figures, compare, format_comparisons
        from dualtalker.files import refuse_foreign, write_output

        refuse_foreign(*filter(None, [self.json]))
        name, results = compare(
            self.bundles, self.audio, self.seconds, self.style, self.make_reference()
        )
        print(format_comparisons(name, results, self.channels))
        if self.json:
            write_output(self.json, json.dumps(collect_figures(name, results), indent=2) + "\n")
        return 0 if all(result.passed for result in results if result.difference) else 1


@dataclass
class Benchmark:
    """Measure how fast each engine is here: models in all engines that load.

    For example:
        dualtalker engine benchmark NAME.onnx NAME-fp16.onnx --json jetson.json --plot jetson.png

    One after the other in one run, so that the ratios can be trusted where the machine is shared.
    Hot: steps without pause. Paced: the steps due at each tick of 30 and 60 Hz, as on a robot,
    with sleep between. Streams: several faces on one engine.
    """

    bundles: _Bundles = ()
    """Bundles (.onnx). None: the shipped model."""
    engines: tuple[str, ...] = ("onnxruntime", "tensorrt")
    """Engines to try."""
    steps: int = 500
    """Steps of the hot run."""
    paced_s: float = 10.0
    """Length of each paced run, seconds; 0 skips them."""
    rates_hz: tuple[float, ...] = (30.0, 60.0)
    """Ticks per second of the paced runs."""
    streams: tuple[int, ...] = (1, 4, 16)
    """Numbers of faces on one engine."""
    cold: bool = True
    """Also time a new process from start to first face."""
    json: Path | None = None
    """Also write the figures here."""
    plot: Path | None = None
    """Also draw them here (.png)."""

    def run(self) -> int:
        """Measure and print."""
        from dualtalker.engine import Workload, benchmark, draw_report, format_report
        from dualtalker.files import refuse_foreign, write_output, written_output

        refuse_foreign(*filter(None, [self.json, self.plot]))
        workload = Workload(self.steps, self.paced_s, self.rates_hz, self.streams, self.cold)
        report = benchmark(self.bundles, self.engines, workload)
        print(format_report(report))
        if self.json:
            write_output(self.json, json.dumps(dataclasses.asdict(report), indent=2) + "\n")
        if self.plot:
            with written_output(self.plot) as part:
                draw_report(report, part)
            print(f"drawn: {self.plot}")
        return 0


@dataclass
class Convert:
    """Convert an fp32 model to fp16.

    For example:
        dualtalker engine convert NAME.onnx -o NAME-fp16.onnx

    `dualtalker engine build` does it by itself. The lip gap of the result is compared with the
    original's before the bundle is written.
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """The fp32 bundle (.onnx)."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="BUNDLE")]
    """Where to write the new graph; the sidecar goes beside it as .json."""
    precision: Literal["fp16"] = "fp16"
    """Precision of the weights."""
    audio: Path | None = None
    """Speech to compare on. Default: a made signal."""
    seconds: float = 20.0
    """Length of the comparison; the audio is repeated or cut to it."""
    tolerance_mm: float = 0.2
    """Largest difference of the lip gap on the default head that is accepted, mm."""

    def run(self) -> int:
        """Convert, and say how far the result is from the original."""
        from dualtalker.engine import convert

        difference = convert(self.bundle, self.out, self.audio, self.seconds, self.tolerance_mm)
        sizes = [path.stat().st_size / 1e6 for path in (self.bundle, self.out)]
        print(
            f"{self.out}: {sizes[1]:.2f} MB (from {sizes[0]:.2f} MB), lip gap differs by at most "
            f"{difference.lip_gap_max_mm:.4f} mm, weights by {difference.largest:.1e}"
        )
        return 0


Commands = (
    Annotated[Build, tyro.conf.subcommand("build")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Benchmark, tyro.conf.subcommand("benchmark")]
    | Annotated[Convert, tyro.conf.subcommand("convert")]
)


@dataclass
class Engine:
    """Build, compare and measure the engines that run a model: TensorRT beside onnxruntime."""

    command: tyro.conf.OmitArgPrefixes[tyro.conf.OmitSubcommandPrefixes[Commands]]

    def run(self) -> int:
        """Run the subcommand."""
        return self.command.run()
