"""The benchmark of gates and mixtures: what it accepts, and that its two tables agree."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from training.network import GATE_GAIN, GATE_TAPS
from training.studies import gates


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["gates", *words])
    return gates.main()


def read_rows(text: str) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:2] == "| "]
    return {name: cells for name, *cells in lines}


def test_a_gate_is_read_and_named() -> None:
    assert gates.read_gate("25,35,25,15:1.7") == gates.Gate((0.25, 0.35, 0.25, 0.15), 1.7)
    assert gates.read_gate("20,30,30,20:1.5").name == "20, 30, 30, 20 %, gain 1.5"
    assert gates.read_gate("25,35,25,15:0").name == "none"
    for wrong in ("", "25,35,25,15", "50,50:1", "25,35,25,16:1", "25,35,25,15:-1", "a,b,c,d:1"):
        with pytest.raises(ValueError, match="add up to 100"):
            gates.read_gate(wrong)
    assert gates.read_gate(gates.GATES[0]).name == "none"


def test_both_tables_agree_on_the_gate_that_is_built_in(
    trained: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [str(trained), "--corpus", str(corpus), "--mixture", "captured:one:0.9,rules:0.1"]
    shares = ",".join(f"{100 * tap:g}" for tap in GATE_TAPS)
    words += ["--gates", f"{shares}:{GATE_GAIN}", "25,35,25,15:0", "0,100,0,0:99"]
    words += ["--mixtures", "captured:one:0.9,rules:0.1", "rules"]
    assert run(monkeypatch, *words) == 0
    rows = read_rows(capsys.readouterr().out)
    built_in = rows[gates.Gate(GATE_TAPS, GATE_GAIN).name]
    assert built_in == rows["captured:one:0.9,rules:0.1"] != rows["rules"]
    assert built_in[0] != "–" and built_in[3] != "–", "captured and labelled clips are measured"
    assert float(rows["none"][3]) <= float(rows["0, 100, 0, 0 %, gain 99"][3])
    assert rows["none"] != rows["0, 100, 0, 0 %, gain 99"]


def test_what_cannot_be_measured_is_told(
    trained: Path,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, str(trained), "--corpus", str(corpus), "--mixture", "sung") == 2
    assert "unknown styles ['sung']" in capsys.readouterr().err
    assert run(monkeypatch, str(trained), "--corpus", str(tmp_path), "--mixture", "rules") == 2
    words = [str(tmp_path / "none.safetensors"), "--corpus", str(corpus)]
    assert run(monkeypatch, *words) == 2
    assert "none.safetensors" in capsys.readouterr().err
