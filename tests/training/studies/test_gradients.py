"""The study of gradients: who pulls on what, on a tiny corpus."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import tyro

torch = pytest.importorskip("torch")

from tiny_training import tiny_train_config
from training.learning import prepare
from training.studies import gradients


@pytest.fixture
def config(corpus: Path, tmp_path: Path) -> gradients.GradientsConfig:
    train = tiny_train_config(corpus, tmp_path, steps=4, dual_start_step=0)
    return gradients.GradientsConfig((corpus,), tmp_path / "out", every=2, batches=1, train=train)


def test_the_terms_pulls_add_up_to_that_of_the_objective(config) -> None:  # type: ignore[no-untyped-def]
    run = prepare(config.train)
    batch = run.batches.make(7)
    found = gradients.measure_gradients(run, batch, 7)
    assert set(found) == {gradients.PRIMARY, *gradients.DUAL_TERMS}
    total, _, _ = run.objective(batch, torch.Generator().manual_seed(7))
    total.backward()
    for part, parameters in gradients.list_parts(run.network).items():
        whole = torch.cat([p.grad.flatten() for p in parameters])
        torch.testing.assert_close(sum(parts[part] for parts in found.values()), whole)


def test_reading_true_motion_never_reaches_the_animation(config) -> None:  # type: ignore[no-untyped-def]
    run = prepare(config.train)
    rows = gradients.measure_pulls(run, [(7, run.batches.make(7))])
    norms = {(row["term"], row["part"]): row["norm"] for row in rows}
    for part in ("audio encoder", "animation", "likelihood scale"):
        assert norms["lipread_true", part] == 0
    assert norms["lipread_true", "motion encoder"] > 0
    for part in ("motion encoder", "lip reader"):
        assert norms["lipread_predicted", part] == norms[gradients.PRIMARY, part] == 0
    assert norms["lipread_predicted", "audio encoder"] > 0
    apart = gradients.tell_apart(run.network, run.batches.make(7))
    mass = apart["nearby"] + apart["in the clip"] + apart["other clips"]
    assert 0 <= apart["own first"] <= 1 and 0 < mass < 1


def test_the_study_writes_its_tables(
    config: gradients.GradientsConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tyro, "cli", lambda *_args, **_named: config)
    monkeypatch.setattr(sys, "argv", ["gradients"])
    gradients.main()
    found = json.loads((config.out / "gradients.json").read_text())
    assert [row["step"] for row in found["consistency"]] == [2, 4]
    report = capsys.readouterr().out
    assert "| audio encoder |" in report and "of primary" in report
    assert (config.out / "gradients.svg").read_text().startswith("<svg")
