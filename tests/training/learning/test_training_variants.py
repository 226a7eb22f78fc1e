"""The trainer beyond its defaults: micro-batches, precision, early stop, collapse."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dualtalker.errors import DualtalkerError
from tiny_training import (
    TINY_NETWORK,
    join,
    make_clip,
    tiny_train_config,
)
from training.configs import LossConfig, TrainConfig, from_plain, to_plain
from training.data import save_clips
from training.learning import (
    CheckpointError,
    load_network,
    parse_config,
    save,
    take_step,
)
from training.learning.health import CollapseDetector, Vitals, measure_vitals
from training.learning.loop import check_progress
from training.learning.objective import count_evidence
from training.learning.presets import make_presets
from training.learning.run import prepare, restore
from training.learning.schedules import EarlyStop, rate_at
from training.learning.step import learn, share_evidence

# ---- Micro-batches and precision ----------------------------------------------------------------


def test_micro_batches_add_up_to_the_bigger_batch(corpus: Path, tmp_path: Path) -> None:
    config = tiny_train_config(corpus, tmp_path, accumulate=3)
    config.loss = LossConfig(consistency=0.0)  # contrasts instants within a micro-batch
    run = prepare(config)
    batches = [run.batches.make(number) for number in range(3)]
    shares = share_evidence(run, batches)
    run.step = config.dual_start_step
    figures = sum(
        learn(run, batch, share, number, last=True)
        for number, (batch, share) in enumerate(zip(batches, shares, strict=True))
    )
    divided = {n: p.grad.clone() for n, p in run.network.named_parameters() if p.grad is not None}
    run.network.zero_grad()
    total, _, _ = run.objective(join(batches), torch.Generator())
    total.backward()
    assert float(figures[0, -1]) == pytest.approx(total.item(), rel=1e-5)
    for name, parameter in run.network.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(divided[name], parameter.grad, atol=1e-6, rtol=1e-3)


def test_evidence_of_a_whole_is_that_of_its_parts(corpus: Path, tmp_path: Path) -> None:
    run = prepare(tiny_train_config(corpus, tmp_path))
    batches = [run.batches.make(number) for number in range(3)]
    parts = [count_evidence(batch) for batch in batches]
    whole = count_evidence(join(batches))
    for name, value in whole.items():
        if name != "consistency":
            assert value == pytest.approx(sum(part[name] for part in parts)), name


def test_bfloat16_comes_close_to_float32(corpus: Path, tmp_path: Path) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        run = prepare(tiny_train_config(corpus, tmp_path, precision=precision))
        losses[precision] = take_step(run)["total"]
        assert all(p.dtype == torch.float32 for p in run.network.parameters())
    assert losses["float32"] != losses["bfloat16"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    run.config.precision = "int4"
    with pytest.raises(ValueError, match="float32"):
        take_step(run)


def test_devices_that_are_not_there_are_refused(corpus: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match="--device cpu"):
        prepare(tiny_train_config(corpus, tmp_path, device="cuda"))


# ---- Early stop, collapse, presets --------------------------------------------------------------


def test_early_stop_counts_from_the_best() -> None:
    stop = EarlyStop(patience=2)
    assert stop.update(3.0, 1) and stop.update(2.0, 2) and not stop.update(2.5, 3)
    assert not stop.reached
    stop.update(2.0, 4)
    assert stop.reached and stop.best == 2.0 and stop.best_step == 2
    never = EarlyStop(patience=0)
    for step in range(9):
        never.update(1.0, step)
    assert not never.reached


def test_patience_without_anything_to_measure_is_refused(corpus: Path, tmp_path: Path) -> None:
    run = prepare(tiny_train_config(corpus, tmp_path, patience=1))
    with pytest.raises(DualtalkerError, match="hold some out"):
        check_progress(run, {"closure_recall": 1.0})


def watch(detector: CollapseDetector, loss: float, vitals: Vitals, times: int = 10) -> None:
    for _ in range(times):
        detector.observe(vitals, loss)


HEALTHY = Vitals(0.08, 0.1, 0.05, 0.9, 0.02)


def test_healthy_training_gets_no_warning() -> None:
    detector = CollapseDetector()
    watch(detector, 1.0, HEALTHY)
    watch(detector, 0.5, HEALTHY)
    assert detector.warn(5000, 1e-3) == []


def test_exploding_loss_is_called_so_once() -> None:
    detector = CollapseDetector()
    watch(detector, 0.5, HEALTHY)
    watch(detector, 9.0, HEALTHY)
    (warning,) = detector.warn(5000, 1e-3)
    assert "exploding loss: 9" in warning and "halve --learning-rate" in warning
    assert detector.warn(5010, 1e-3) == []


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({}, "its own sound"),
        ({"audio_level": 1e-5}, "nearly silent"),
        ({"supervised": 0.1}, "motion_mask"),
        ({"lag_gain": 0.4}, "in time"),
        ({"target_deviation": 1e-3, "predicted_deviation": 1e-6}, "unit"),
    ],
)
def test_static_face_is_called_so_with_its_cause(changed: dict, cause: str) -> None:
    still = dataclasses.replace(HEALTHY, predicted_deviation=0.002)
    detector = CollapseDetector()
    watch(detector, 0.5, dataclasses.replace(still, **changed))
    assert detector.warn(10, 1e-3) == []  # every network begins so
    (warning,) = detector.warn(5000, 1e-3)
    assert "static face" in warning
    first_cause = warning.split("first: ")[1].split(";")[0]
    assert cause in first_cause


def test_vitals_tell_a_still_face_and_a_shifted_one(corpus: Path, tmp_path: Path) -> None:
    config = tiny_train_config(corpus, tmp_path)
    config.data.segment_s, config.augment = 2.0, False
    batch = prepare(config).batches.make(1)
    hop = TINY_NETWORK.hop_samples
    fair = measure_vitals(batch.motion * 0.7, batch, hop)
    assert fair.predicted_deviation == pytest.approx(0.7 * fair.target_deviation, rel=1e-3)
    still = measure_vitals(torch.full_like(batch.motion, 0.3), batch, hop)
    assert still.predicted_deviation < 1e-6 and still.target_deviation > 0.01
    assert still.audio_level > 1e-3 and still.supervised > 0.5


def test_presets_are_whole_configs_that_flags_override() -> None:
    for name, (_, preset) in make_presets().items():
        preset.loss.check(preset.network.lipread_targets)
        assert from_plain(TrainConfig, to_plain(preset)) == preset
        parsed = parse_config([name, "--steps", "7", "--network.dropout", "0.3"], "")
        assert parsed.steps == 7 and parsed.network.dropout == 0.3
        assert parsed.out == preset.out and parsed.data == preset.data
    assert parse_config(["--seed", "3"], "") == TrainConfig(seed=3)
    assert parse_config([], "") == TrainConfig()
    assert parse_config(["vocaset"], "").network.encoder.kind == "wav2vec2"


def test_rate_warms_up_then_falls_to_two_percent() -> None:
    config = TrainConfig(steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [rate_at(config, step) for step in range(101)]
    assert rates[0] == 0.1 and rates[9] == 1.0 and rates[100] == pytest.approx(0.02)
    assert (np.diff(rates[10:]) <= 0).all()


def test_checkpoint_from_before_the_variants_loads_and_resumes(
    corpus: Path, tmp_path: Path
) -> None:
    import json

    config = tiny_train_config(corpus, tmp_path)
    run = prepare(config)
    take_step(run)
    path = save(run)
    meta_path = path.with_suffix(".json")
    meta = json.loads(meta_path.read_text())
    del meta["description"]["heads"], meta["early_stop"]
    for name in ("encoder", "vertex", "lipread_targets"):
        del meta["description"]["network"][name], meta["config"]["network"][name]
    meta_path.write_text(json.dumps(meta))
    network, _ = load_network(path)
    assert network.config == config.network
    again = prepare(config)
    restore(again, path)
    assert again.step == 1


def test_checkpoint_with_variants_that_are_gone_loads_where_it_used_none(
    corpus: Path, tmp_path: Path
) -> None:
    import json

    config = tiny_train_config(corpus, tmp_path)
    run = prepare(config)
    take_step(run)
    path = save(run)
    meta_path = path.with_suffix(".json")
    meta = json.loads(meta_path.read_text())
    meta["description"]["characters"] = ""
    gone = {"decoder": "parallel", "autoregressive": {"layers": 2, "teacher_forcing": True}}
    for network in (meta["description"]["network"], meta["config"]["network"]):
        network |= gone
        network["vertex"] |= {"basis": "pca", "components": 48}
    meta["config"]["data"]["style_dropout"] = 0.1
    meta_path.write_text(json.dumps(meta))
    assert load_network(path)[0].config == config.network
    assert from_plain(TrainConfig, meta["config"]) == config
    again = prepare(config)
    restore(again, path)
    assert again.step == 1
    for place, name, value in (
        (meta["description"]["network"], "decoder", "autoregressive"),
        (meta["description"]["network"]["vertex"], "basis", "learned"),
    ):
        kept, place[name] = place[name], value
        meta_path.write_text(json.dumps(meta))
        with pytest.raises(CheckpointError, match=rf"{name} \('{value}'\)"):
            load_network(path)
        place[name] = kept


def test_config_of_the_shipped_model_is_understood() -> None:
    import json

    from dualtalker.model import DEFAULT_MODEL

    sidecar = json.loads(DEFAULT_MODEL.with_suffix(".json").read_text())
    config = from_plain(TrainConfig, sidecar["training"]["config"])
    assert config.network.contacts == ("bilabial", "labiodental")


def test_a_run_that_collapses_says_so(tmp_path: Path) -> None:
    """Sound that is the same hiss whatever the face does makes a still face the best answer."""
    rng = np.random.default_rng(0)
    clips = [make_clip(f"hiss_{i}", i) for i in range(4)]
    for clip in clips:
        clip.audio = (0.1 * rng.standard_normal(len(clip.audio))).astype(np.float32)
    save_clips(tmp_path / "hiss", clips)
    config = tiny_train_config(tmp_path / "hiss", tmp_path, steps=200, augment=False)
    config.loss = LossConfig(lipread_true=0, lipread_predicted=0, consistency=0, duality=0)
    run = prepare(config)
    run.detector.patience_steps = 60
    for _ in range(100):
        take_step(run)
    (warning,) = run.detector.warn(run.step, 1e-2)
    assert "static face" in warning and "its own sound" in warning
