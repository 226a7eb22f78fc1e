"""Recordings as distributed, prepared, trained on and measured: the roads of three data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from recorded_files import make_take, write_biwi, write_live_link, write_vocaset
from tiny_training import mesh_config, tiny_train_config
from training.data import read_corpus
from training.datasets.vocaset import TEST, TRAIN
from training.evaluate_vertices import EvaluateVerticesConfig, run_vertex_evaluation
from training.learning import train
from training.prepare import main as prepare


def write_download(kind: str, folder: Path) -> None:
    """Files of a few subjects, of which the last two are strangers to training."""
    if kind == "biwi":
        sentences = {"F2": ("e01",), "M3": ("e01",), "F1": ("e37",), "M1": ("e37",)}
        write_biwi(folder, sentences, columns=20, rows=24, frames=40)
    else:
        write_vocaset(folder, (*TRAIN[:2], *TEST), ("sentence21",), vertices=480, frames=80)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "split"), [("biwi", "test-b"), ("vocaset", "test")])
def test_downloads_become_figures_in_their_unit_and_in_mm(
    kind: str, split: str, tmp_path: Path
) -> None:
    write_download(kind, tmp_path / "download")
    clips = tmp_path / "clips"
    words = [kind, str(tmp_path / "download"), str(clips), "--vertices", "480"]
    assert prepare(words) == 0
    path = train(mesh_config(clips, tmp_path / "run", steps=2, validate_every=99))
    out = tmp_path / "report"
    report = run_vertex_evaluation(
        EvaluateVerticesConfig(path, clips, split=split, report=out, video_s=0.2)
    )
    assert "computed" in report.facts["Lips"] and "computed" in report.facts["Upper face"]
    assert "2 not trained on, shown in the mean" in report.facts["Subjects"]
    rest = report.figures["rest"]
    # The mouth opens by up to 12 mm.
    assert 3.0 < rest["LVE root mm"] < 12.0
    if kind == "vocaset":
        assert rest["LVE mm2"] == pytest.approx(rest["LVE torchmetrics"])
        return
    # A unit is the square root of the face's area; the two strangers differ in size.
    unit_mm = read_corpus(clips).index["template_scales"]["F1"]
    ratio = rest["LVE mm2"] / (rest["LVE unit2"] * 1e-4)
    assert ratio == pytest.approx(unit_mm**2, rel=0.4)
    assert rest["LVE torchmetrics"] == pytest.approx(rest["LVE unit2"] * 100.0)


@pytest.mark.slow
def test_takes_of_a_phone_become_a_bundle_and_its_figures(tmp_path: Path) -> None:
    import soundfile

    from engines.export_onnx import ExportConfig, export
    from training.evaluate import EvaluateConfig, run_evaluation

    for number in (1, 2):
        name = f"MySlate_{number}_iPhone"
        opening, samples = make_take(5.0, seed=number)
        write_live_link(tmp_path / "ada" / f"{name}.csv", opening)
        soundfile.write(tmp_path / "ada" / f"{name}.wav", samples, 16000, subtype="PCM_16")
    clips = tmp_path / "clips"
    assert prepare(["arkit", str(tmp_path / "ada"), str(clips), "--holdout", "MySlate_2*"]) == 0
    path = train(tiny_train_config(clips, tmp_path / "run", steps=2))
    bundle = tmp_path / "ada.onnx"
    export(ExportConfig(path, bundle, style={"captured:ada": 1.0}, steps=20))
    figures = run_evaluation(EvaluateConfig(bundle, (clips,), suite="clips")).figures
    # The voice of these takes follows their jaw.
    assert figures["loudness"]["jaw r"] > 0.5
    assert abs(figures["loudness"]["offset ms"]) < 40.0
    assert {"jaw r", "LVE mm2", "FDD absolute"} <= set(figures["model"])
    assert np.isfinite(list(figures["model"].values())).all()
