"""`dualtalker engine`, and the doors to it: a robot builds and checks its own engine."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys

import pytest

from checkout import ROOT
from dualtalker.cli.engine import Benchmark, Build, Compare, Convert
from dualtalker.cli.main import main
from dualtalker.engine import BuildOptions, Workload, benchmark, build, compare, convert
from dualtalker.engine.compare import LIMITS_MM
from dualtalker.errors import BackendError
from dualtalker.model import load_bundle
from dualtalker.model.backends import Target, check_engine
from dualtalker.model.backends.engine_files import find_engine

DOORS = ("build_engine", "compare", "benchmark", "convert")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "engines"
    monkeypatch.setenv("DUALTALKER_ENGINES", str(folder))
    return folder


def run(*arguments):
    return main(["engine", *(str(item) for item in arguments)])


def test_build_makes_an_engine_that_fits_and_says_how_to_use_it(tiny, tmp_path, folder, capsys):
    tensorrt_rtx = pytest.importorskip("tensorrt_rtx")
    target = Target("any", "", 0, "tensorrt_rtx", tensorrt_rtx.__version__)
    assert run("build", tiny, "--no-progress") == 0
    said = capsys.readouterr().out
    path, record = find_engine(load_bundle(tiny), target)
    assert path.parent == folder and record.precision == "fp16"
    assert said.startswith(f"{path}: ") and f"--engine tensorrt --model {tiny}" in said
    assert run("build", tiny, "--no-progress") == 0
    assert "already built" in capsys.readouterr().out

    other = tmp_path / "other"
    assert run("build", tiny, "-o", other, "--precision", "fp32", "--no-progress") == 0
    assert f"export DUALTALKER_ENGINES={other}" in capsys.readouterr().out
    [path] = other.glob("*.engine")
    assert check_engine(path, load_bundle(tiny), target).precision == "fp32"


def test_what_the_runtime_prints_is_a_command_that_the_parser_takes(tiny, capsys, monkeypatch):
    """Without a builder it ends in an error of its own, not in one of the command line."""
    with pytest.raises(BackendError) as caught:
        find_engine(load_bundle(tiny), Target("Orin", "8.7", 16, "tensorrt", "10.3.0"))
    line = str(caught.value).splitlines()[-1]
    command, *arguments = line[line.index("dualtalker engine") :].split()
    assert command == "dualtalker" and str(tiny) in arguments
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("dualtalker: error: TensorRT cannot be imported")
    assert "python3-libnvinfer" in error


def test_convert_and_compare(tiny, tmp_path, capsys):
    half, figures = tmp_path / "half.onnx", tmp_path / "figures.json"
    assert run("convert", tiny, "-o", half, "--seconds", 2) == 0
    assert capsys.readouterr().out.startswith(f"{half}: ")
    assert load_bundle(half).sidecar.precision == "fp16"

    assert run("compare", tiny, half, "--seconds", 2, "--json", figures) == 0
    said = capsys.readouterr().out
    assert "against onnxruntime tiny.onnx" in said and "onnxruntime half.onnx fp16" in said
    [result, missing] = json.loads(figures.read_text())["results"]
    assert result["passed"] and 0 < result["largest"] < 0.02
    assert missing["name"] == "tensorrt tiny.onnx" and missing["not_run"]


def test_lips_that_differ_too_much_are_status_1(tiny, tmp_path, capsys, monkeypatch):
    half = tmp_path / "half.onnx"
    assert run("convert", tiny, "-o", half, "--seconds", 1) == 0
    monkeypatch.setitem(LIMITS_MM, "fp16", 1e-6)
    assert run("compare", tiny, half, "--seconds", 1) == 1
    assert "TOO MUCH" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["build", "compare", "benchmark", "convert"])
def test_a_model_that_is_missing_is_named(name, tmp_path, capsys):
    more = ("-o", tmp_path / "new.onnx") if name == "convert" else ()
    assert run(name, tmp_path / "none.onnx", *more) == 2
    error = capsys.readouterr().err
    assert error.startswith("dualtalker: error: ") and "none.onnx: no such file" in error


def test_without_the_package_onnx_it_says_how_to_install_it(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert run("convert", tiny, "-o", tmp_path / "half.onnx") == 2
    assert "python -m pip install onnx" in capsys.readouterr().err
    assert not (tmp_path / "half.onnx").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["engine", "build", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from dualtalker.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "heavy = {'numpy', 'msgspec', 'onnxruntime', 'onnx', 'torch', 'dualtalker.engine'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("--workspace-mb" if len(arguments) > 1 else "engine") in done.stdout


def test_command_and_library_have_the_same_defaults():
    pairs = {
        Build: [build, BuildOptions],
        Compare: [compare],
        Benchmark: [benchmark, Workload],
        Convert: [convert],
    }
    for command, functions in pairs.items():
        fields = {field.name: field.default for field in dataclasses.fields(command)}
        found = {}
        for function in functions:
            for name, parameter in inspect.signature(function).parameters.items():
                if name in fields and name not in ("out", "progress"):
                    found[name] = parameter.default
        assert len(found) > 1 and found == {name: fields[name] for name in found}


@pytest.mark.parametrize("door", DOORS)
def test_the_doors_of_the_checkout_open_the_same_command(door, tmp_path):
    more = ["-o", str(tmp_path / "new.onnx")] if door == "convert" else []
    done = subprocess.run(
        [sys.executable, "-m", f"engines.{door}", str(tmp_path / "none.onnx"), *more],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "dualtalker: error: " in done.stderr and "none.onnx: no such file" in done.stderr
