"""The benchmark of lookahead and width takes its whole road on a tiny corpus."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tyro

pytest.importorskip("torch")

from engines.export_onnx import ExportConfig, export
from training.studies import tradeoff


def test_lookaheads_at_the_first_width_and_widths_at_the_middle_lookahead() -> None:
    words = ["--corpus", "x", "--lookahead-ms", "60", "20", "100", "--channels", "8", "16", "4"]
    points = tradeoff.plan_points(tyro.cli(tradeoff.TradeoffConfig, args=words))
    assert points == [(20, 8), (60, 8), (100, 8), (60, 4), (60, 16)]


def export_here(command: list[str], check: bool) -> None:
    """Export in this process, which has torch."""
    assert command[:3] == [sys.executable, "-m", "engines.export_onnx"] and check
    export(tyro.cli(ExportConfig, args=command[3:]))


def test_every_point_is_trained_measured_timed_and_kept(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["tradeoff", "--corpus", str(corpus), "--out", str(tmp_path / "out"), "--steps", "2"]
    words += ["--lookahead-ms", "20", "--channels", "8"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(tradeoff, "subprocess", SimpleNamespace(run=export_here))
    assert tradeoff.main() == 0
    table = (tmp_path / "out/tradeoff.md").read_text()
    assert table.splitlines()[2].startswith("| 20 ms | 8 | ")
    assert table.splitlines()[2].endswith("| 1.00 |")
    assert (tmp_path / "out/tradeoff.svg").stat().st_size > 1000
    stamps = [p.stat().st_mtime_ns for p in sorted((tmp_path / "out").rglob("*.safetensors"))]
    assert tradeoff.main() == 0
    again = [p.stat().st_mtime_ns for p in sorted((tmp_path / "out").rglob("*.safetensors"))]
    assert stamps == again and len(stamps) == 1, "finished points are kept"
    monkeypatch.setattr(sys, "argv", [*words, "--lookahead-ms", "30"])
    assert tradeoff.main() == 2
    assert "multiples of 20" in capsys.readouterr().err
