"""The subcommands of `dualtalker engine`: build, compare, measure and convert."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Annotated

import tyro

from dualtalker.engine import (
    BenchmarkConfig,
    BuildConfig,
    CompareConfig,
    ConvertConfig,
    Reference,
    benchmark,
    build,
    collect_figures,
    compare,
    convert,
    draw_report,
    format_comparisons,
    format_report,
)
from dualtalker.files import write_whole


@dataclass
class Build(BuildConfig):
    """Build the TensorRT engine of a model.

    For example:
        dualtalker engine build
        dualtalker engine build NAME.onnx -o engines_here --precision fp32

    Run it on the machine that will run the engine: engines are tied to the GPU and to the version
    of TensorRT. Where only `tensorrt_rtx` is installed, no GPU is needed. An engine that is there
    already and fits is kept; --rebuild makes it anew.
    """

    def run(self) -> int:
        """Build, say where it is and how it is used."""
        result = build(self)
        size_mb = result.path.stat().st_size / 1e6
        how = (
            f"{result.layers} layers, {result.seconds:.1f} s"
            if result.seconds
            else "already built"
        )
        model = f" --model {self.bundle}" if self.bundle else ""
        print(
            f"{result.path}: {size_mb:.2f} MB, {how}\n"
            f"use it: dualtalker animate speech.wav -o out --engine tensorrt{model}"
        )
        if self.out is not None:
            print(f"the runtime finds it with: export DUALTALKER_ENGINES={self.out.resolve()}")
        return 0


@dataclass
class Compare(CompareConfig):
    """Compare a model across runtimes and precisions: are they all one function?

    For example:
        dualtalker engine compare NAME.onnx NAME-fp16.onnx --audio speech.wav

    Runs speech with one unbroken state through onnxruntime and TensorRT, and compares every weight
    of every frame with the first of them: largest and relative error, drift over time, and the
    difference of the lip gap in mm. The status is 1 where the lips differ too much.
    """

    def make_reference(self) -> Reference | None:
        """Return what the others are compared with; None: the first model in onnxruntime."""
        return None

    def run(self) -> int:
        """Compare and print; return 1 where the lips differ too much."""
        name, results = compare(self, self.make_reference())
        print(format_comparisons(name, results, self.channels))
        if self.json:
            write_whole(self.json, json.dumps(collect_figures(name, results), indent=2) + "\n")
        return 0 if all(result.passed for result in results if result.difference) else 1


@dataclass
class Benchmark(BenchmarkConfig):
    """Measure how fast each engine is here: models in all engines that load.

    For example:
        dualtalker engine benchmark NAME.onnx NAME-fp16.onnx --json jetson.json --plot jetson.png

    One after the other in one run, so that the ratios can be trusted where the machine is shared.
    Hot: steps without pause. Paced: the steps due at each tick of 30 and 60 Hz, as on a robot,
    with sleep between. Streams: several faces on one engine.
    """

    def run(self) -> int:
        """Measure and print."""
        report = benchmark(self)
        print(format_report(report))
        if self.json:
            write_whole(self.json, json.dumps(dataclasses.asdict(report), indent=2) + "\n")
        if self.plot:
            draw_report(report, self.plot)
            print(f"drawn: {self.plot}")
        return 0


@dataclass
class Convert(ConvertConfig):
    """Convert an fp32 model to fp16.

    For example:
        dualtalker engine convert NAME.onnx -o NAME-fp16.onnx

    `dualtalker engine build` does it by itself. The lip gap of the result is compared with the
    original's before the bundle is written.
    """

    def run(self) -> int:
        """Convert, and say how far the result is from the original."""
        difference = convert(self)
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
