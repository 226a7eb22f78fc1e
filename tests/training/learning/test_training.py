"""The trainer on a tiny corpus: repeats from a seed, resumes exactly, learns, and exports."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dualtalker.errors import DualtalkerError
from dualtalker.model import load_bundle
from engines.export_onnx import ExportConfig, ExportError, compare_with_torch, export
from tiny_training import TINY_NETWORK, make_clip, tiny_train_config
from training.configs import DataConfig, LossConfig
from training.data import PHONE_CLASSES, SILENCE, Phone, load_clips, save_clips
from training.learning import (
    CURVE_NAME,
    CheckpointError,
    Objective,
    load_checkpoint,
    load_network,
    read_curve,
    save_checkpoint,
    take_step,
    train,
)
from training.learning.batches import Batch, BatchMaker, label_contacts
from training.learning.loop import note_figures
from training.learning.run import prepare, split_clips
from training.network import StreamingTalker


def read_weights(path: Path) -> dict[str, np.ndarray]:
    return {k: v.numpy() for k, v in load_checkpoint(path).tensors.items()}


def assert_same_weights(left: Path, right: Path) -> None:
    first, second = read_weights(left), read_weights(right)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_same_seed_gives_the_same_weights(corpus: Path, trained: Path, tmp_path: Path) -> None:
    again = train(tiny_train_config(corpus, tmp_path))
    assert_same_weights(trained, again)
    other = train(tiny_train_config(corpus, tmp_path / "other", seed=1))
    different = read_weights(other)["network.animation.head.weight"]
    assert not np.array_equal(different, read_weights(trained)["network.animation.head.weight"])


def test_interrupted_and_resumed_gives_the_same_weights(
    corpus: Path, trained: Path, tmp_path: Path
) -> None:
    whole = tiny_train_config(corpus, tmp_path)
    run = prepare(whole)
    for _ in range(3):
        take_step(run)
    from training.learning import save

    save(run)  # killed here
    resumed = train(dataclasses.replace(whole, resume=True))
    assert_same_weights(trained, resumed)


def test_training_goes_on_from_a_checkpoint_and_its_export_tells(
    corpus: Path, trained: Path, tmp_path: Path
) -> None:
    earlier = dataclasses.replace(TINY_NETWORK, early_contacts=True)  # sizes stay as they are
    config = tiny_train_config(corpus, tmp_path / "second", start_from=trained, network=earlier)
    run = prepare(config)
    before = load_checkpoint(trained)
    for name, tensor in before.group("ema").items():
        assert torch.equal(run.network.state_dict()[name], tensor), name
        assert torch.equal(run.ema[name], tensor), name
    for name, tensor in before.group("priors").items():
        assert torch.equal(getattr(run.objective.priors, name), tensor), name
    with_rest = dataclasses.replace(earlier, rest_gate=True)  # which the checkpoint has not
    taught = prepare(dataclasses.replace(config, network=with_rest)).network.state_dict()
    assert all(torch.equal(taught[name], tensor) for name, tensor in before.group("ema").items())
    second = train(config)
    assert not np.array_equal(
        read_weights(second)["ema.animation.head.weight"],
        read_weights(trained)["ema.animation.head.weight"],
    )
    export(ExportConfig(second, tmp_path / "tiny.onnx", steps=100))
    told = load_bundle(tmp_path / "tiny.onnx").sidecar
    assert told.lookahead_samples == TINY_NETWORK.lookahead_samples  # smoothing costs none
    assert told.training["config"]["start_from"] == trained.name
    assert told.training["began_as"]["step"] == before.meta["step"]
    assert str(trained.parent.parent) not in (tmp_path / "tiny.json").read_text()


def test_training_goes_on_from_nothing_that_does_not_fit(
    corpus: Path, trained: Path, tmp_path: Path
) -> None:
    wider = dataclasses.replace(TINY_NETWORK, channels=24)
    with pytest.raises(CheckpointError, match=r"another size.*--network options"):
        prepare(tiny_train_config(corpus, tmp_path, start_from=trained, network=wider))
    save_clips(tmp_path / "clips", [make_clip("other", 1, style="captured:other")])
    with pytest.raises(CheckpointError, match=r"has styles .*captured:other.*--start-from"):
        prepare(tiny_train_config(tmp_path / "clips", tmp_path, start_from=trained))
    with pytest.raises(CheckpointError, match="found no"):
        prepare(tiny_train_config(corpus, tmp_path, start_from=tmp_path / "none.safetensors"))


def test_resume_without_a_checkpoint_says_what_to_do(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="without --resume"):
        train(tiny_train_config(corpus, tmp_path, resume=True))


def test_loss_falls_on_one_batch(corpus: Path, tmp_path: Path) -> None:
    run = prepare(tiny_train_config(corpus, tmp_path, steps=60, learning_rate=1e-2))
    batch = run.batches.make(0)
    generator = torch.Generator().manual_seed(0)
    first = None
    for _ in range(40):
        total, terms, _ = run.objective(batch, generator)
        first = first or {k: v.item() for k, v in terms.items()}
        run.optimizer.zero_grad()
        total.backward()
        run.optimizer.step()
    assert terms["total"].item() < 0.75 * first["total"]
    for name in ("motion", "closure", "lipread_true", "consistency"):
        assert terms[name].item() < first[name], name


def test_each_loss_term_can_be_switched_off(corpus: Path, tmp_path: Path) -> None:
    resting = dataclasses.replace(TINY_NETWORK, rest_gate=True)
    run = prepare(tiny_train_config(corpus, tmp_path, network=resting))
    batch = run.batches.make(1)
    names = [f.name for f in dataclasses.fields(LossConfig)]
    everything = LossConfig(**dict.fromkeys(names, 1.0))
    _, terms, _ = Objective(run.network, run.priors, everything)(batch, torch.Generator())
    assert set(terms) == {*names, "total"}
    for name in names:
        without = dataclasses.replace(everything, **{name: 0.0})
        _, terms, _ = Objective(run.network, run.priors, without)(batch, torch.Generator())
        assert name not in terms and terms["total"].isfinite()
    single = LossConfig(lipread_true=0, lipread_predicted=0, consistency=0, duality=0)
    total, _, _ = Objective(run.network, run.priors, single)(batch, torch.Generator())
    run.network.zero_grad()
    total.backward()
    assert all(p.grad is None for p in run.network.motion_encoder.parameters())


def test_reader_that_judges_the_animation_is_not_taught_by_it(
    corpus: Path, tmp_path: Path
) -> None:
    run = prepare(tiny_train_config(corpus, tmp_path))
    config = LossConfig(
        motion=0, velocity=0, lip_vertices=0, closure=0, lipread_true=0, consistency=0, duality=0,
        lipread_predicted=1.0,
    )  # fmt: skip
    objective = Objective(run.network, run.priors, config)
    objective(run.batches.make(0), torch.Generator())[0].backward()
    assert all(p.grad is None for p in run.network.lip_reader.parameters())
    assert all(p.grad is None for p in run.network.motion_encoder.parameters())
    assert run.network.audio_encoder.inlet.weight.grad.abs().sum() > 0


def test_unpaired_audio_trains_the_primary_task_through_the_dual(
    corpus: Path, tmp_path: Path
) -> None:
    run = prepare(tiny_train_config(corpus, tmp_path))
    clips = [c for c in load_clips(corpus) if c.motion is None]
    config = tiny_train_config(corpus, tmp_path)
    config.data = DataConfig(segment_s=1.0, batch=2, noise_share=0.0, unpaired_share=1.0)
    styles = run.network.animation.styles
    maker = BatchMaker(clips, config, run.network.phones, styles, np.ones(52, bool))
    batch = maker.make(0)
    assert batch.mask.sum() == 0 and batch.paired.sum() == 0
    Objective(run.network, run.priors, LossConfig())(batch, torch.Generator())[0].backward()
    assert run.network.audio_encoder.inlet.weight.grad.abs().sum() > 0


def test_rest_is_labelled_in_long_pauses_in_noise_and_after_the_end(tmp_path: Path) -> None:
    config = tiny_train_config(tmp_path, tmp_path, augment=False)
    config.data = DataConfig(segment_s=3.0, batch=4, noise_share=0.0, hold_share=0.0)
    phones = (Phone("AA", 0.0, 0.6), Phone(SILENCE, 0.6, 1.6), Phone("AA", 1.6, 2.0))
    clip = dataclasses.replace(make_clip("one", 0, seconds=2.0), phones=phones)
    unknown = dataclasses.replace(clip, phones=None)

    def make(clips, share=0.0):
        config.data.noise_share = share
        maker = BatchMaker(clips, config, ["AA"], [clip.style], np.ones(52, bool))
        return maker.make(0)

    spoken, noise = make([clip]), make([clip], share=1.0)
    assert (noise.rest == 1).all() and (noise.contacts_mask == 1).all()
    assert (make([unknown]).contacts_mask == 0).all()
    rest = spoken.rest[0, :, 0].bool()
    times_s = torch.arange(len(rest)) / TINY_NETWORK.model_rate_hz
    assert rest[(times_s > 1.0) & (times_s < 1.3)].all() and rest[times_s > 2.02].all()
    assert not rest[times_s < 0.6].any() and not rest[(times_s > 1.6) & (times_s < 2.0)].any()


def test_from_afar_other_things_are_heard_and_the_same_is_learned(tmp_path: Path) -> None:
    clips = [make_clip("one", 0, seconds=2.0), make_clip("two", 1, seconds=1.5)]

    def make(step: int, share: float) -> Batch:
        config = tiny_train_config(tmp_path, tmp_path, augment=True)
        config.data = DataConfig(segment_s=1.0, batch=1, noise_share=0.0, far_share=share)
        styles = [clip.style for clip in clips]
        return BatchMaker(clips, config, [*PHONE_CLASSES], styles, np.ones(52, bool)).make(step)

    for step in range(30):  # some of them beside the other clip's voice
        near, far = make(step, 0.0), make(step, 1.0)
        assert torch.equal(far.clean, near.clean) and torch.equal(far.motion, near.motion)
        assert torch.equal(far.rest, near.rest) and not torch.equal(far.audio, near.audio)
        assert torch.isfinite(far.audio).all() and far.audio.abs().max() <= 1.0


def test_batches_repeat_and_differ_by_step(corpus: Path, tmp_path: Path) -> None:
    run = prepare(tiny_train_config(corpus, tmp_path))
    first, again, other = run.batches.make(5), run.batches.make(5), run.batches.make(6)
    assert torch.equal(first.audio, again.audio) and torch.equal(first.motion, again.motion)
    assert not torch.equal(first.audio, other.audio)
    assert first.audio.abs().max() <= 1 and torch.isfinite(first.audio).all()
    hops = first.motion.shape[1] + TINY_NETWORK.shift_frames
    assert first.audio.shape[1] == hops * TINY_NETWORK.hop_samples


def test_batches_of_worker_processes_are_the_same(corpus: Path, tmp_path: Path) -> None:
    run = prepare(tiny_train_config(corpus, tmp_path, loader_workers=1))
    for step in (3, 4, 9):
        fetched, made = run.batches.fetch(step), run.batches.make(step)
        assert torch.equal(fetched.audio, made.audio) and torch.equal(fetched.phones, made.phones)


def test_held_out_clips_are_never_trained_on(corpus: Path) -> None:
    clips = load_clips(corpus)
    train_clips, validation = split_clips(clips, ("made_1",), 1.0, seed=0)
    names = {c.name for c in train_clips}
    assert names.isdisjoint({"held", "held_rules", "made_1"})
    assert {c.name for c in validation} == {"held", "held_rules", "made_1"}
    fewer, _ = split_clips(clips, (), 0.4, seed=0)
    assert sum(c.motion is not None for c in fewer) == 2
    assert any(c.motion is None for c in fewer)
    with pytest.raises(ValueError, match="none with motion"):
        split_clips([c for c in clips if c.motion is None], (), 1.0, seed=0)


def test_contact_labels_cover_bilabials_and_labiodentals() -> None:
    phones = [Phone("PP", 0.5, 0.6), Phone("AA", 0.6, 1.0), Phone("FF", 1.0, 1.02)]
    clip = make_clip("x", 0, phones=phones)
    times_s = np.arange(150) / 50
    kinds = ("bilabial", "labiodental")
    contacts, known = label_contacts(clip, times_s, kinds)
    assert known == 1.0
    for phone in clip.phones or ():
        middle = round((phone.start_s + phone.end_s) / 2 * 50)
        if middle < 150:
            assert contacts[middle, 0] == (phone.label == "PP")
            assert contacts[middle, 1] == (phone.label == "FF")
    assert contacts.sum(axis=0).tolist() == [6, 4], "short ones widened"
    assert label_contacts(make_clip("y", 0, phones=None), times_s, kinds)[1] == 0.0
    assert label_contacts(clip, times_s, kinds[:1])[0].shape == (150, 1)


def test_export_equals_torch_and_loads_as_a_bundle(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny.onnx"
    difference = export(ExportConfig(trained, out, steps=400))
    assert difference < 1e-4
    bundle = load_bundle(out)
    assert bundle.sidecar.lookahead_samples == TINY_NETWORK.lookahead_samples + 320
    assert bundle.sidecar.training["config"]["seed"] == 0
    # What is published names no folder of the machine that trained it.
    assert str(trained.parent.parent) not in out.with_suffix(".json").read_text()
    assert b"/training/" not in out.read_bytes()
    network, _ = load_network(trained)
    wrong = StreamingTalker(network, {"rules": 1.0}, smooth=True)
    assert compare_with_torch(wrong, out, 50) > 1e-4


def test_export_that_differs_is_refused_and_leaves_nothing(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="nothing was written"):
        export(ExportConfig(trained, tmp_path / "bad.onnx", steps=20, tolerance=-1.0))
    assert list(tmp_path.iterdir()) == []


def test_truncated_checkpoint_is_refused(trained: Path, tmp_path: Path) -> None:
    broken = tmp_path / "step_0000006.safetensors"
    broken.write_bytes(trained.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="json"):
        load_checkpoint(broken)
    broken.with_suffix(".json").write_text(trained.with_suffix(".json").read_text())
    with pytest.raises(CheckpointError, match="truncated"):
        load_checkpoint(broken)


def test_tensors_and_json_of_two_checkpoints_are_refused(trained: Path, tmp_path: Path) -> None:
    loaded, path = load_checkpoint(trained), tmp_path / "best.safetensors"
    for step in (7, 8):
        save_checkpoint(
            path, {"ema": {"a": torch.full((3,), step)}}, {**loaded.meta, "step": step}
        )
    assert load_checkpoint(path).meta["step"] == 8
    assert load_checkpoint(path).group("ema")["a"].tolist() == [8, 8, 8]
    with pytest.MonkeyPatch.context() as patch:  # killed between the two names
        real = os.replace

        def replace(source: Path, target: Path) -> None:
            if target.suffix == ".json":
                raise KeyboardInterrupt
            real(source, target)

        patch.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(path, {"ema": {"a": torch.full((3,), 9)}}, {**loaded.meta, "step": 9})
    with pytest.raises(CheckpointError, match=r"best\.json is not of best\.safetensors.*another"):
        load_checkpoint(path)
    old = json.loads(path.with_suffix(".json").read_text())
    del old["tensors_sha256"]  # as earlier versions wrote it
    path.with_suffix(".json").write_text(json.dumps(old))
    assert load_checkpoint(path).meta["step"] == 8


def test_checkpoint_of_another_network_is_refused(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "step_0000006.safetensors"
    copy.write_bytes(trained.read_bytes())
    meta = json.loads(trained.with_suffix(".json").read_text())
    meta["description"]["network"]["channels"] = 24
    copy.with_suffix(".json").write_text(json.dumps(meta))
    with pytest.raises(CheckpointError, match="does not fit"):
        load_network(copy)


def test_a_learning_curve_outlives_a_killed_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_curve(tmp_path) == []
    for step, loss in ((2, 0.5), (4, 0.25), (2, 0.375)):
        note_figures(tmp_path, step, {"loss": loss})
    rows = [{"step": 2, "loss": 0.375}, {"step": 4, "loss": 0.25}]
    assert read_curve(tmp_path) == rows and not caplog.text
    with (tmp_path / CURVE_NAME).open("ab") as file:
        file.write(b'{"step": 6, "lo')
    assert read_curve(tmp_path) == rows
    assert "half written" in caplog.text
    note_figures(tmp_path, 8, {"loss": 0.125})
    assert read_curve(tmp_path) == [*rows, {"step": 8, "loss": 0.125}]


@pytest.mark.parametrize(
    "broken", [b'{"step": 6, "lo', b"[3]", b"3", b'{"loss": 1}', b"\xff", b""]
)
def test_a_broken_line_of_a_learning_curve_is_named(tmp_path: Path, broken: bytes) -> None:
    note_figures(tmp_path, 2, {"loss": 0.5})
    with (tmp_path / CURVE_NAME).open("ab") as file:
        file.write(broken + b"\n")
    note_figures(tmp_path, 4, {"loss": 0.25})
    with pytest.raises(DualtalkerError, match=rf"line 2 of .*{CURVE_NAME} is no validation"):
        read_curve(tmp_path)


def test_what_is_named_alone_learns_and_a_resumed_training_repeats(
    corpus: Path, trained: Path, tmp_path: Path
) -> None:
    resting = dataclasses.replace(TINY_NETWORK, rest_gate=True)
    fields = {"start_from": trained, "network": resting, "learn": ("animation.gate_rest",)}
    whole = train(tiny_train_config(corpus, tmp_path / "whole", **fields))
    train(tiny_train_config(corpus, tmp_path / "parts", **fields, steps=3))
    parts = train(tiny_train_config(corpus, tmp_path / "parts", **fields, resume=True))
    before, after = read_weights(trained), read_weights(whole)
    averaged = [name for name in before if name.startswith("ema.")]
    assert all(np.array_equal(after[name], before[name]) for name in averaged)
    learned = "ema.animation.gate_rest.0.weight"
    assert np.array_equal(read_weights(parts)[learned], after[learned])
    with pytest.raises(ValueError, match=r"--learn gates names nothing of animation\.blocks"):
        prepare(tiny_train_config(corpus, tmp_path, learn=("gates",)))
