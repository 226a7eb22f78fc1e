"""The benchmark of lookahead and width takes its whole road on a tiny corpus."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from checkout import ROOT

pytest.importorskip("torch")

from tiny_training import make_corpus


def load_benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "tradeoff", ROOT / "training/studies/tradeoff.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_point_is_trained_measured_timed_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tradeoff = load_benchmark()
    corpus = make_corpus(tmp_path / "corpus")
    words = ["tradeoff", "--corpus", str(corpus), "--out", str(tmp_path / "out"), "--steps", "2"]
    words += ["--lookahead-ms", "20", "--channels", "8", "12"]
    monkeypatch.setattr(sys, "argv", words)
    assert tradeoff.main() == 0
    table = (tmp_path / "out/tradeoff.md").read_text()
    cells = [line.split(" | ")[:2] for line in table.splitlines()[2:4]]
    assert cells == [["| 20 ms", "8"], ["| 20 ms", "12"]]
    assert table.splitlines()[2].endswith("| 1.00 |")
    assert (tmp_path / "out/tradeoff.svg").stat().st_size > 1000
    stamps = [p.stat().st_mtime_ns for p in sorted((tmp_path / "out").rglob("*.safetensors"))]
    assert tradeoff.main() == 0
    again = [p.stat().st_mtime_ns for p in sorted((tmp_path / "out").rglob("*.safetensors"))]
    assert stamps == again and len(stamps) == 2, "finished points are kept"
    monkeypatch.setattr(sys, "argv", [*words, "--lookahead-ms", "30"])
    assert tradeoff.main() == 2
    assert "multiples of 20" in capsys.readouterr().err
