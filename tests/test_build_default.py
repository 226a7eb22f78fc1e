"""The recipe of the default model: stages, records, resumption. Its commands are tested apart."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import tyro

pytest.importorskip("torch")

from engines.export_onnx import ExportConfig
from training import build_default
from training.build_default import (
    FOLDERS,
    BuildConfig,
    BuildError,
    Stage,
    build,
    check_data,
    digest_path,
    plan_stages,
    run_stage,
)
from training.corpus import CorpusConfig
from training.evaluate import EvaluateConfig
from training.presets import parse_config
from training.teacher import TeacherConfig


def copy_stage(source: Path, output: Path, log: Path) -> Stage:
    """A stage whose command copies a file and notes that it ran."""
    program = (
        "import sys, shutil; shutil.copy(sys.argv[1], sys.argv[2]); "
        "open(sys.argv[3], 'a').write('ran\\n')"
    )
    stage = Stage("copy it", "unused", (str(source), str(output), str(log)), (source,), output)
    command = (sys.executable, "-c", program, *stage.arguments)
    object.__setattr__(stage, "__class__", type("Copy", (Stage,), {"command": command}))
    return stage


def test_stages_hand_on_what_they_make() -> None:
    stages = plan_stages(BuildConfig(Path("data"), Path("out")))
    made = {Path("data") / name for name in FOLDERS}
    for stage in stages:
        assert set(stage.inputs) <= made, f"{stage.name} needs what no stage before it makes"
        made.add(stage.output)
    assert stages[-1].output == Path("out/default.onnx")


@pytest.mark.parametrize("stage", plan_stages(BuildConfig(Path("data"))), ids=lambda s: s.name)
def test_every_command_parses(stage: Stage) -> None:
    if stage.module == "training.train":
        config = parse_config(stage.arguments, "")
        assert config.steps == BuildConfig.steps and config.network.dropout > 0
        return
    kinds = {
        "training.corpus": CorpusConfig,
        "training.teacher": TeacherConfig,
        "training.evaluate": EvaluateConfig,
        "engines.export_onnx": ExportConfig,
    }
    parsed = tyro.cli(kinds[stage.module], args=stage.arguments)
    assert any(Path(str(value)) == stage.output for value in vars(parsed).values())


def test_a_finished_stage_is_skipped_until_its_input_changes(tmp_path: Path) -> None:
    source, output, log = (tmp_path / name for name in ("source", "output", "log"))
    source.write_text("one")
    stage = copy_stage(source, output, log)
    records = tmp_path / "stages"
    first = run_stage(stage, records)
    assert first["output"] == {"output": digest_path(output)}
    assert run_stage(stage, records) == first
    assert log.read_text() == "ran\n"
    source.write_text("two")
    assert run_stage(stage, records)["inputs"] != first["inputs"]
    assert log.read_text() == "ran\nran\n" and output.read_text() == "two"
    output.unlink()
    run_stage(stage, records)
    assert log.read_text() == "ran\n" * 3, "a product that is gone is made again"
    source.unlink()
    source.mkdir()
    with pytest.raises(BuildError, match=r"copy it.*finished stages are kept"):
        run_stage(stage, records)


def test_missing_recordings_are_named(tmp_path: Path) -> None:
    (tmp_path / FOLDERS[0]).mkdir(parents=True)
    with pytest.raises(BuildError, match=r"lacks speech/ljspeech.*model_card"):
        check_data(tmp_path)
    with pytest.raises(BuildError):
        build(BuildConfig(tmp_path, tmp_path / "out"))


def test_the_manifest_names_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output, log = (tmp_path / name for name in ("source", "output", "log"))
    source.write_text("one")
    monkeypatch.setattr(build_default, "plan_stages", lambda _: [copy_stage(source, output, log)])
    for name in FOLDERS:
        (tmp_path / "data" / name).mkdir(parents=True)
    config = BuildConfig(tmp_path / "data", tmp_path / "out")
    assert build(config) == output
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    record = manifest["stages"]["copy it"]
    assert record["inputs"] == {"source": digest_path(source)}
    assert record["output"] == {"output": digest_path(output)}
    config.dry_run = True
    assert build(config) is None
    assert "python -m unused" in capsys.readouterr().out
