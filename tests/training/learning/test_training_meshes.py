"""The trainer on meshes: learning, resuming, validation, mixed heads, early stop, the preset."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from checkout import ROOT

torch = pytest.importorskip("torch")

from tiny_training import (
    TINY_NETWORK,
    TINY_VERTEX,
    mesh_config,
    tiny_train_config,
)
from tiny_vertices import VERTICES, make_vertex_corpus
from training.learning import (
    load_checkpoint,
    load_network,
    move_mesh,
    parse_config,
    pose_mesh,
    resample,
    save,
    take_step,
    train,
)
from training.learning.batches import MixedBatches
from training.learning.run import find_newest, prepare, restore
from training.learning.validation import validate_meshes


@pytest.mark.parametrize("fps", [25.0, 30.0])
def test_mesh_training_learns_exports_its_basis_and_resumes(tmp_path: Path, fps: float) -> None:
    folder = make_vertex_corpus(tmp_path / "meshes", fps=fps)
    config = mesh_config(folder, tmp_path / "run", validate_every=3)
    path = train(config)
    network, checkpoint = load_network(path)
    assert checkpoint.meta["description"]["heads"][0]["vertices"] == VERTICES
    assert network.animation.styles == ["tiny:ann", "tiny:bob"]
    again = mesh_config(folder, tmp_path / "again")
    run = prepare(again)
    for _ in range(3):
        take_step(run)
    save(run)
    resumed = train(dataclasses.replace(again, resume=True))
    first, second = (load_checkpoint(p).tensors for p in (path, resumed))
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_mesh_loss_falls_and_beats_a_face_at_rest(meshes: Path, tmp_path: Path) -> None:
    run = prepare(mesh_config(meshes, tmp_path, steps=60, learning_rate=1e-2, ema=0.9))
    first = take_step(run)
    for _ in range(49):
        last = take_step(run)
    assert last["motion"] < 0.7 * first["motion"]
    assert last["lip_vertices"] < 0.7 * first["lip_vertices"]
    figures = validate_meshes(run.network, run.ema, run.meshes, 2)
    assert figures["tiny_lve_mm"] < figures["tiny_rest_lve"]


def test_validation_of_meshes_is_the_lip_vertex_error(meshes: Path, tmp_path: Path) -> None:
    from training.data import iterate_vertex_clips

    run = prepare(mesh_config(meshes, tmp_path))
    (mesh,) = run.meshes
    clips = list(iterate_vertex_clips(mesh.corpus, "validation"))
    expected = []
    for clip in clips:
        moved = move_mesh(run.network.eval(), clip, mesh.corpus)
        predicted = pose_mesh(run.network, moved, clip, mesh.corpus)
        assert predicted.shape == clip.vertices.shape
        lips = mesh.corpus.lips.indices
        error = np.linalg.norm(predicted[:, lips] - clip.vertices[:, lips], axis=-1)
        expected.append(1000 * error.max(1).mean())
        # Eve was never seen: she moves as the mean of those who were.
        mixture = {"tiny:ann": 1.0, "tiny:bob": 1.0}
        moved = move_mesh(run.network, clip, mesh.corpus, mixture)
        same = pose_mesh(run.network, moved, clip, mesh.corpus)
        np.testing.assert_allclose(same, predicted, atol=1e-6)
    weights = dict(run.network.state_dict())
    figures = validate_meshes(run.network, weights, run.meshes, 9)
    assert figures["tiny_lve_mm"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert validate_meshes(run.network, weights, run.meshes, 0) == {}


def test_blendshapes_and_meshes_train_one_trunk(
    corpus: Path, meshes: Path, tmp_path: Path
) -> None:
    config = tiny_train_config(corpus, tmp_path, accumulate=4)
    config.data.vertices = (meshes,)
    config.network = dataclasses.replace(TINY_NETWORK, vertex=TINY_VERTEX)
    run = prepare(config)
    assert isinstance(run.batches, MixedBatches)
    heads = [run.batches.make(number).head for number in range(8)]
    assert set(heads) == {"arkit", "tiny"}
    before = {n: p.clone() for n, p in run.network.named_parameters()}
    numbers = [take_step(run) for _ in range(2)]
    assert all(np.isfinite(n["total"]) for n in numbers)
    for name in ("animation.head.weight", "animation.vertex_heads.tiny.outlet.weight"):
        assert not torch.equal(before[name], dict(run.network.named_parameters())[name]), name


def test_resampled_motion_keeps_its_times() -> None:
    motion = np.linspace(0, 1, 61)[:, None].astype(np.float32)  # two seconds at 30 Hz
    at_50 = resample(motion, 30.0, 50.0)
    np.testing.assert_allclose(at_50[:, 0], np.arange(len(at_50)) / 50 / 2, atol=1e-6)
    assert len(at_50) == 101
    np.testing.assert_allclose(resample(at_50, 50.0, 30.0), motion, atol=1e-6)


def test_training_stops_when_validation_no_longer_improves(meshes: Path, tmp_path: Path) -> None:
    config = mesh_config(
        meshes, tmp_path, steps=40, validate_every=1, patience=2, learning_rate=0.0
    )
    path = train(config)
    assert path.name == "best.safetensors"
    # Nothing is learned, so the first validation stays the best and two more are waited for.
    assert load_checkpoint(path).meta["step"] == 1
    last = sorted(tmp_path.glob("step_*.safetensors"))[-1]
    assert last.name == "step_0000003.safetensors"
    run = prepare(config)
    restore(run, last)
    assert run.early_stop.reached and run.early_stop.best_step == 1


def test_vocaset_preset_trains_wav2vec2_on_meshes(meshes: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    flags = (
        "vocaset --network.encoder.pretrained= --network.encoder.layers 1 "
        "--network.encoder.hidden 16 --network.encoder.attention-heads 2 "
        "--network.encoder.front-channels 8 --network.channels 16 --network.vertex.rank 3 "
        "--network.units 6 --network.vertex.fit-frames 60 --data.segment-s 1 --data.batch 2 "
        "--loader-workers 0 --threads 1 --steps 2 --validate-every 2 --validation-clips 1"
    )
    words = flags.split()
    config = parse_config([*words, "--data.vertices", str(meshes), "--out", str(tmp_path)], "")
    path = train(config)
    _, checkpoint = load_network(path)
    assert checkpoint.meta["description"]["architecture"]["hidden_size"] == 16
    start = prepare(config)
    # The pretrained part learns more slowly than the rest.
    scales = [group.get("scale", 1.0) for group in start.optimizer.param_groups]
    assert scales == [1.0, config.network.encoder.learning_rate_scale]
    moved = {
        name: float((tensor - start.network.state_dict()[name]).abs().max())
        for name, tensor in checkpoint.group("network").items()
        if tensor.is_floating_point()
    }
    assert moved["audio_encoder.outlet.weight"] > 0
    assert 0 < moved["audio_encoder.model.encoder.layers.0.attention.q_proj.weight"]
    assert moved["audio_encoder.model.feature_extractor.conv_layers.0.conv.weight"] == 0


def test_averaged_weights_follow_the_networks(meshes: Path, tmp_path: Path) -> None:
    run = prepare(mesh_config(meshes, tmp_path, ema=0.3))
    name = "audio_encoder.inlet.weight"
    expected = dict(run.network.state_dict())[name].clone()
    for step in range(4):
        take_step(run)
        # The average begins faster than it goes on, so that the first weights are forgotten.
        decay = min(0.3, (step + 1) / (step + 10))
        expected = decay * expected + (1 - decay) * dict(run.network.state_dict())[name]
        torch.testing.assert_close(run.ema[name], expected)
    assert not torch.equal(run.ema[name], dict(run.network.state_dict())[name])


KILLED = """
import sys
from pathlib import Path
from test_training_meshes import make_killed_config
from training.learning import train

train(make_killed_config(Path(sys.argv[1]), Path(sys.argv[2])))
"""


PATHS = os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]])


def make_killed_config(meshes: Path, out: Path, **fields: object):
    return mesh_config(meshes, out, steps=400, save_every=2, validate_every=999, **fields)


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_weights(meshes: Path, tmp_path: Path) -> None:
    """Nobody warned it: SIGKILL in the middle of steps, perhaps of a file."""
    out = tmp_path / "killed"
    script = tmp_path / "run.py"
    script.write_text(KILLED)
    process = subprocess.Popen(
        [sys.executable, str(script), str(meshes), str(out)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": PATHS,
            "OMP_NUM_THREADS": "1",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 150
    while len(list(out.glob("step_*.json"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    newest = sorted(out.glob("step_*.json"))[-1]
    last = int(newest.stem.split("_")[1]) + 4
    assert 4 < last < 400
    config = make_killed_config(meshes, out, resume=True)
    # Both are made to end a few steps on; the schedule stays that of the whole run.
    whole, resumed = prepare(make_killed_config(meshes, tmp_path / "whole")), prepare(config)
    restore(resumed, find_newest(out))
    for run in (whole, resumed):
        while run.step < last:
            take_step(run)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
    for name, tensor in whole.ema.items():
        assert torch.equal(tensor, resumed.ema[name]), name
