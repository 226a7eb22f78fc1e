"""The recipe of the default model: stages, records, resumption. Its commands are tested apart."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import tyro

pytest.importorskip("torch")

from engines.export_offline import OfflineConfig
from engines.export_onnx import ExportConfig
from training import build_default
from training.build_default import build, check_data
from training.building import (
    FOLDERS,
    BuildConfig,
    BuildError,
    Stage,
    digest_path,
    plan_stages,
    run_stage,
)
from training.calibrate import CalibrationConfig
from training.corpus import CorpusConfig
from training.evaluate import EvaluateConfig
from training.learning import parse_config
from training.pack import PackConfig
from training.teaching import TeacherConfig


def fake_stage(program: str, source: Path, output: Path, log: Path, **options: Any) -> Stage:
    """A stage that runs a program with (source, output, log, words that are added)."""
    words = (str(source), str(output), str(log))
    stage = Stage("copy it", "unused", words, (source,), output, **options)
    command = (sys.executable, "-c", f"import sys, shutil, pathlib\n{program}", *words)
    object.__setattr__(stage, "__class__", type("Fake", (Stage,), {"command": command}))
    return stage


def copy_stage(source: Path, output: Path, log: Path) -> Stage:
    """A stage whose command copies a file and notes that it ran."""
    program = (
        "shutil.copy(sys.argv[1], sys.argv[2])\nwith open(sys.argv[3], 'a') as log:\n"
        "    log.write('ran\\n')"
    )
    return fake_stage(program, source, output, log)


# Notes the words after its own, steps once, and ends for good only where there is a file `go`.
TRAINING = """
source, output, log = map(pathlib.Path, sys.argv[1:4])
with log.open('a') as file:
    file.write(' '.join(['began', *sys.argv[4:]]) + '\\n')
output.parent.mkdir(exist_ok=True)
steps = len(list(output.parent.glob('step_*.json')))
(output.parent / f'step_{steps}.json').write_text(source.read_text())
if not log.with_name('go').exists():
    sys.exit(3)
output.write_text(source.read_text())
"""


def test_stages_hand_on_what_they_make() -> None:
    stages = plan_stages(BuildConfig(Path("data"), Path("out")))
    made = {Path("data") / name for name in FOLDERS}
    for stage in stages:
        assert set(stage.inputs) <= made, f"{stage.name} needs what no stage before it makes"
        made.add(stage.output)
    names = ("default.onnx", "default.offline.onnx", "default.training.safetensors")
    assert [stage.output for stage in stages[-3:]] == [Path("out") / name for name in names]


@pytest.mark.parametrize("stage", plan_stages(BuildConfig(Path("data"))), ids=lambda s: s.name)
def test_every_command_parses(stage: Stage) -> None:
    if stage.module == "training.train":
        config = parse_config(stage.arguments, "")
        rest, first = stage.name == "gate of rest", stage.name == "training"
        names = {"training": "steps", "training from afar": "far_steps"}
        assert config.steps == getattr(BuildConfig, names.get(stage.name, "rest_steps"))
        assert (config.data.far_share > 0) is (config.start_from is not None) is not first
        assert bool(config.learn) is config.network.rest_gate is rest
        assert set(config.data.corpus) <= set(stage.inputs)
        assert config.network.dropout > 0 and config.network.early_contacts
        return
    kinds = {
        "engines.export_offline": OfflineConfig,
        "training.calibrate": CalibrationConfig,
        "training.corpus": CorpusConfig,
        "training.teacher": TeacherConfig,
        "training.evaluate": EvaluateConfig,
        "training.pack": PackConfig,
        "engines.export_onnx": ExportConfig,
    }
    parsed = tyro.cli(kinds[stage.module], args=stage.arguments)
    given = [Path(str(value)) for value in vars(parsed).values()]
    made_beside = {"engines.export_offline", "training.pack"}
    assert stage.output in given or (stage.module in made_beside and stage.inputs[-1] in given)


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


@pytest.mark.parametrize("resumable", [True, False])
def test_only_the_same_command_on_the_same_data_goes_on(tmp_path: Path, resumable: bool) -> None:
    source, log, run = (tmp_path / name for name in ("source", "log", "run"))
    stage = fake_stage(TRAINING, source, run / "last", log, folder=run, resumable=resumable)
    records = tmp_path / "stages"

    def interrupt() -> list[str]:
        with pytest.raises(BuildError, match="status 3"):
            run_stage(stage, records)
        return log.read_text().splitlines()

    source.write_text("one")
    assert interrupt() == ["began"]
    goes_on = "began --resume" if resumable else "began"
    assert interrupt() == ["began", goes_on]
    assert len(list(run.iterdir())) == (2 if resumable else 1)
    source.write_text("two")
    assert interrupt()[2:] == ["began"], "other data: the old checkpoints must not be used"
    assert [path.read_text() for path in run.iterdir()] == ["two"]
    (tmp_path / "go").touch()
    done = run_stage(stage, records)
    assert log.read_text().splitlines()[3:] == [goes_on]
    assert run_stage(stage, records) == done, "a finished stage is skipped"
    source.write_text("three")
    run_stage(stage, records)
    assert log.read_text().splitlines()[4:] == ["began"]
    assert {path.read_text() for path in run.iterdir()} == {"three"}


def test_another_command_begins_anew(tmp_path: Path) -> None:
    source, log, run = (tmp_path / name for name in ("source", "log", "run"))
    source.write_text("one")
    stages = [
        fake_stage(TRAINING, source, run / last, log, folder=run, resumable=True)
        for last in ("step_1", "step_2")
    ]
    for stage in stages:
        with pytest.raises(BuildError, match="status 3"):
            run_stage(stage, tmp_path / "stages")
    assert log.read_text() == "began\nbegan\n" and len(list(run.iterdir())) == 1


def test_what_no_record_knows_is_never_removed(tmp_path: Path) -> None:
    source, log, run = (tmp_path / name for name in ("source", "log", "run"))
    source.write_text("one")
    run.mkdir()
    (run / "step_1.json").write_text("another's")
    stage = fake_stage(TRAINING, source, run / "last", log, folder=run, resumable=True)
    for _ in range(2):
        with pytest.raises(BuildError, match=r"run, which no earlier run .*move it away"):
            run_stage(stage, tmp_path / "stages")
    assert (run / "step_1.json").read_text() == "another's" and not log.exists()


def test_no_stage_empties_what_another_made() -> None:
    stages = plan_stages(BuildConfig(Path("data"), Path("out")))
    places = [stage.place for stage in stages]
    for number, stage in enumerate(stages):
        assert stage.output == stage.place or stage.place in stage.output.parents
        others = {*places[:number], *places[number + 1 :], *(Path("data") / f for f in FOLDERS)}
        for other in others:
            assert stage.place != other and stage.place not in other.parents


def test_missing_recordings_are_named(tmp_path: Path) -> None:
    (tmp_path / FOLDERS[0]).mkdir(parents=True)
    with pytest.raises(BuildError, match=r"lacks motion/grid.*model_card"):
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
    assert build(config) == tmp_path / "out" / "default.onnx"
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    record = manifest["stages"]["copy it"]
    assert record["inputs"] == {"source": digest_path(source)}
    assert record["output"] == {"output": digest_path(output)}
    config.dry_run = True
    assert build(config) is None
    assert "python -m unused" in capsys.readouterr().out


def test_a_digest_covers_the_sidecar(tmp_path: Path) -> None:
    model, sidecar = tmp_path / "model.onnx", tmp_path / "model.json"
    model.write_text("graph")
    alone = digest_path(model)
    sidecar.write_text("one")
    beside = digest_path(model)
    sidecar.write_text("two")
    assert len({alone, beside, digest_path(model)}) == 3
