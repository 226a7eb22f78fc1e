"""The evaluation of meshes: formulas in blocks, baselines, lip reading, the whole command."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import metrics
from tiny_training import TINY_NETWORK, TINY_VERTEX, mesh_config
from tiny_vertices import LIPS, VERTICES, make_vertex_corpus
from training import evaluate_vertices as evaluation
from training.configs import EncoderConfig
from training.data import iterate_vertex_clips, read_corpus
from training.evaluation import MeshTally, Ruler
from training.evaluation import mesh_accuracy as vertex_accuracy
from training.evaluation import mesh_baselines as vertex_baselines
from training.evaluation import mesh_reading as vertex_reading
from training.evaluation.mesh_accuracy import Spread
from training.learning import load_network, train
from training.network import (
    DualTalker,
    animate_pieces,
    utterances,
)


@pytest.fixture(scope="module")
def checkpoint(meshes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head for the tiny mesh, trained for a few steps."""
    out = tmp_path_factory.mktemp("run")
    return train(mesh_config(meshes, out, steps=8, validate_every=99, learning_rate=1e-2))


@given(st.integers(0, 5000), st.integers(1, 30_000), st.integers(1, 1 << 24))
@settings(max_examples=50, deadline=None)
def test_blocks_cover_all_frames_and_stay_small(frames: int, vertices: int, most: int) -> None:
    blocks = list(vertex_baselines.iterate_blocks(frames, vertices, most))
    assert [k for block in blocks for k in range(block.start, block.stop)] == list(range(frames))
    for block in blocks:
        count = block.stop - block.start
        assert count == 1 or count * vertices * 12 <= most


def make_ruler(meshes: Path, **changes: object) -> Ruler:
    corpus = replace(read_corpus(meshes), **changes)
    opening = np.zeros((VERTICES, 3), np.float32)
    opening[LIPS, 1] = -0.1
    return Ruler(corpus, corpus.lips, corpus.upper_face, opening)


def show(vertices: np.ndarray) -> vertex_baselines.Pose:
    return lambda frames: vertices[frames]


@given(st.integers(0, 10_000), st.lists(st.integers(1, 7), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_spread_in_blocks_is_the_deviation_of_the_whole(seed: int, sizes: list[int]) -> None:
    values = 3.0 + 0.01 * np.random.default_rng(seed).standard_normal((sum(sizes), 4))
    spread = Spread()
    for block in np.split(values, np.cumsum(sizes)[:-1]):
        spread.add(block)
    np.testing.assert_allclose(spread.deviation(), values.std(0), rtol=1e-9)
    np.testing.assert_allclose(spread.mean, values.mean(0), rtol=1e-12)


@pytest.mark.parametrize("most_bytes", [1, 5 * VERTICES * 12, 1 << 24])
def test_figures_in_blocks_are_those_of_the_formulas(
    meshes: Path, most_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = vertex_baselines.iterate_blocks
    monkeypatch.setattr(
        vertex_accuracy, "iterate_blocks", lambda frames, size: cut(frames, size, most_bytes)
    )
    ruler = make_ruler(meshes)
    tally = MeshTally(ruler)
    rng = np.random.default_rng(0)
    pairs, deviations = [], []
    # Of unlike length, so that a mean over clips is told from one over frames.
    for clip, count in zip(iterate_vertex_clips(meshes, "train"), (60, 20, 41, 7), strict=True):
        clip = replace(clip, vertices=np.asarray(clip.vertices[:count]))
        noise = 0.01 * rng.standard_normal(clip.vertices.shape)
        shown = (clip.vertices + noise).astype(np.float32)
        asked: list[int] = []

        def pose(frames: slice, shown: np.ndarray = shown, asked: list[int] = asked) -> np.ndarray:
            asked.append(frames.stop - frames.start)
            return shown[frames]

        tally.add(clip, pose, np.ones(count, bool))
        assert sum(asked) == count and max(asked) <= max(1, most_bytes // (VERTICES * 12))
        pairs.append((shown, clip.vertices))
        upper = ruler.upper_face.indices
        deviations.append(
            metrics.measure_dynamics_deviation(
                shown[:, upper].astype(float),
                clip.vertices[:, upper].astype(float),
                clip.template[upper].astype(float),
            )
        )
    shown, truth = (np.concatenate(part).astype(float) for part in zip(*pairs, strict=True))
    found = tally.result()
    errors = metrics.measure_lip_error(shown[:, LIPS], truth[:, LIPS])
    assert found["LVE mm2"] == pytest.approx(errors["lve_squared_mm2"], rel=1e-6)
    assert found["LVE root mm"] == pytest.approx(errors["lve_root_mm"], rel=1e-6)
    assert found["LVE mm"] == pytest.approx(errors["lve_mm"], rel=1e-6)
    whole = 1e3 * np.linalg.norm(shown - truth, axis=-1).mean()
    assert found["vertex error mm"] == pytest.approx(whole, rel=1e-6)
    for key, name in (("FDD signed", "fdd_signed"), ("FDD absolute", "fdd_absolute")):
        expected = 1e5 * np.mean([d[name] for d in deviations])
        assert found[key] == pytest.approx(expected, rel=1e-5)
    pytest.importorskip("torchmetrics")
    assert found["LVE torchmetrics"] == pytest.approx(found["LVE mm2"], rel=1e-9)


def test_units_of_the_data_set_become_millimetres_where_they_are_known(meshes: Path) -> None:
    clip = next(iterate_vertex_clips(meshes, "train"))
    # One lip vertex is wrong by 0.01 of the unit, all the time.
    shown = np.array(clip.vertices)
    shown[:, 1, 0] += 0.01
    index = {"normalization": "area", "template_scales": dict.fromkeys(("ann", "bob", "eve"), 200)}
    found = {}
    for name, unit, about in (
        ("metres", "m", {}),
        ("area", "square root of the face's area", index),
        ("recorded", "as recorded", {"normalization": "none"}),
        ("unknown", "as prepared", {"normalization": "as prepared"}),
    ):
        tally = MeshTally(make_ruler(meshes, unit=unit, index=about))
        tally.add(clip, show(shown), np.ones(clip.frames, bool))
        found[name] = tally.result()
    assert found["metres"]["LVE root mm"] == pytest.approx(10.0, rel=1e-4)
    assert found["area"]["LVE root mm"] == pytest.approx(2.0, rel=1e-4)
    assert found["area"]["LVE unit2"] == pytest.approx(1.0, rel=1e-4)  # 1e-4 unit²
    assert found["recorded"]["LVE root mm"] == pytest.approx(0.01, rel=1e-4)
    assert "LVE unit2" not in found["metres"]
    assert not any("mm" in name for name in found["unknown"])
    assert found["unknown"]["LVE unit2"] == pytest.approx(1.0, rel=1e-4)


def test_perfect_motion_has_no_error_and_late_motion_is_late(meshes: Path) -> None:
    clip = next(iterate_vertex_clips(meshes, "train"))
    truth = np.array(clip.vertices)
    found = {}
    for late in (0, 3):
        tally = MeshTally(make_ruler(meshes))
        pose = show(np.concatenate([np.repeat(truth[:1], late, 0), truth])[: len(truth)])
        tally.add(clip, pose, np.ones(clip.frames, bool))
        found[late] = tally.result()
    assert found[0]["LVE mm2"] == found[0]["FDD absolute"] == found[0]["vertex error mm"] == 0
    assert found[0]["opening r"] == pytest.approx(1.0)
    assert found[0]["jitter ratio"] == pytest.approx(1.0)
    assert found[0]["offset ms"] == pytest.approx(0.0, abs=1.0)
    assert found[3]["offset ms"] == pytest.approx(100.0, abs=5.0)


def test_motion_of_another_length_is_refused(meshes: Path) -> None:
    clip = next(iterate_vertex_clips(meshes, "train"))
    tally = MeshTally(make_ruler(meshes))
    with pytest.raises(DualtalkerError, match="resample"):
        tally.add(clip, show(np.array(clip.vertices[:-1])), np.ones(clip.frames, bool))


def test_without_vertex_sets_there_is_neither_lve_nor_fdd(meshes: Path) -> None:
    none = replace(read_corpus(meshes).lips, indices=np.zeros(0, np.int32))
    clip = next(iterate_vertex_clips(meshes, "train"))
    tally = MeshTally(make_ruler(meshes, lips=none, upper_face=none))
    tally.add(clip, show(np.array(clip.vertices)), np.ones(clip.frames, bool))
    found = tally.result()
    assert not any(name.startswith(("LVE", "FDD")) for name in found)
    assert found["vertex error mm"] == 0.0


def measure(meshes: Path, perform: vertex_baselines.Perform, split: str) -> dict[str, float]:
    tally = MeshTally(make_ruler(meshes))
    for clip in iterate_vertex_clips(meshes, split):
        tally.add(clip, perform(clip), np.ones(clip.frames, bool))
    return tally.result()


def test_baselines_of_meshes_learn_what_they_should(meshes: Path) -> None:
    baselines = vertex_baselines.learn_baselines(read_corpus(meshes))
    # Loudness moves the lips down, and nothing else as far.
    assert (baselines.opening[LIPS, 1] < 0).all()
    others = np.delete(np.abs(baselines.opening), LIPS, axis=0)
    assert np.abs(baselines.opening[LIPS, 1]).min() > 5 * others.max()
    moved = [np.asarray(c.vertices) - c.template for c in iterate_vertex_clips(meshes, "train")]
    np.testing.assert_allclose(baselines.mean, np.concatenate(moved).mean(0), atol=1e-6)
    # A stranger's face: each baseline knows more than the one before it.
    figures = {
        name: measure(meshes, getattr(baselines, name), "validation")
        for name in ("rest", "mean_face", "loudness")
    }
    errors = [figures[name]["LVE mm2"] for name in figures]
    assert errors[0] > errors[1] > errors[2]
    assert figures["loudness"]["opening r"] > 0.9
    assert figures["mean_face"]["opening r"] == 0.0
    # What was heard in training is found again, exactly.
    assert measure(meshes, baselines.nearest_neighbor, "train")["LVE mm"] < 0.5


def test_nearest_neighbor_of_a_known_subject_is_the_subject(meshes: Path) -> None:
    baselines = vertex_baselines.learn_baselines(read_corpus(meshes))
    ann, bob = list(iterate_vertex_clips(meshes, "train"))[1:3]
    disguised = replace(ann, audio=bob.audio)
    pose = baselines.nearest_neighbor(disguised)(slice(0, 60)) - ann.template
    stranger = baselines.nearest_neighbor(replace(disguised, subject="x"))(slice(0, 60))
    theirs = np.asarray(bob.vertices) - bob.template
    assert np.abs(stranger - ann.template - theirs).max() < 1e-6
    assert np.abs(pose - theirs).max() > 1e-3


def make_network(**fields: object) -> DualTalker:
    from training.network import HeadPlan

    torch.manual_seed(0)
    config = replace(TINY_NETWORK, vertex=TINY_VERTEX, **fields)
    plan = HeadPlan("tiny", rank=3, vertices=VERTICES, lips=4, styles=1)
    network = DualTalker(config, [True] * 52, ["tiny:ann"], ["AA"], heads=[plan])
    return network.eval()


@pytest.mark.parametrize("samples", [100, 16000, 16320, 20001])
@pytest.mark.parametrize("piece_steps", [7, 50])
def test_pieces_of_an_utterance_are_those_of_the_whole(samples: int, piece_steps: int) -> None:
    network = make_network()
    audio = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(1))
    style = network.animation.mix_styles({})
    with torch.no_grad():
        for head in ("arkit", "tiny"):
            whole = network.animate_whole(audio, style, head)
            pieces = list(animate_pieces(network, audio, style, head, piece_steps))
            torch.testing.assert_close(torch.cat(pieces), whole, atol=2e-5, rtol=1e-4)


def make_wav2vec2() -> DualTalker:
    pytest.importorskip("transformers")
    sizes = {"hidden": 16, "attention_heads": 2, "layers": 1, "front_channels": 8}
    return make_network(encoder=EncoderConfig(kind="wav2vec2", **sizes))


def test_long_sounds_reach_wav2vec2_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_wav2vec2()
    audio = 0.1 * torch.randn(1, 64000, generator=torch.Generator().manual_seed(1))
    style = network.animation.mix_styles({})
    with torch.no_grad():
        whole = network.animate_whole(audio, style, "tiny")
        (same,) = animate_pieces(network, audio, style, "tiny")  # shorter than 40 s
        torch.testing.assert_close(same, whole, atol=0, rtol=0)
        monkeypatch.setattr(utterances, "MARGIN_STEPS", 20)
        pieces = list(animate_pieces(network, audio, style, "tiny", 40))
        assert sum(map(len, pieces)) == len(whole) and len(pieces) == 6
        # What lies beyond the margin changes nothing, or memory would grow with the sound.
        audio[:, 110 * 320 :] = 0.0
        again = list(animate_pieces(network, audio, style, "tiny", 40))
    assert torch.equal(again[0], pieces[0]) and not torch.equal(again[-1], pieces[-1])


def test_windows_of_wav2vec2_are_cut_at_their_own_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that only tells which sample it was asked for."""
    network = make_wav2vec2()
    hop = network.config.hop_samples

    def tell(self: object, window: torch.Tensor, frames: int, first: int = 0) -> torch.Tensor:
        at = (first + torch.arange(frames) * hop).clamp(0, window.shape[1] - 1)
        return window[:, at].unsqueeze(-1)

    monkeypatch.setattr(type(network.audio_encoder), "encode", tell)
    monkeypatch.setattr(utterances, "MARGIN_STEPS", 7)
    audio = torch.arange(100 * hop, dtype=torch.float32).unsqueeze(0)
    whole = network.audio_encoder(audio)
    parts = [part[:, before:] for part, before in utterances._encode(network, audio, 5, 30)]
    assert len(parts) == 4
    assert torch.equal(torch.cat(parts, dim=1), whole)


def test_reader_in_pieces_reads_the_same(
    meshes: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = vertex_reading.UnitReader.load(checkpoint, "tiny", VERTICES)
    assert reader is not None
    clip = next(iterate_vertex_clips(meshes, "validation"))
    pose = evaluation.show_recording(clip)
    whole = reader.count_errors(clip, pose)
    assert 0 < whole[1] <= 100 and 0 <= whole[0] <= whole[1]
    monkeypatch.setattr("training.network.PIECE_STEPS", 9)
    assert reader.count_errors(clip, pose) == whole
    assert vertex_reading.UnitReader.load(checkpoint, "other", VERTICES) is None


def test_reader_that_names_what_is_heard_makes_no_errors(
    meshes: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = vertex_reading.UnitReader.load(checkpoint, "tiny", VERTICES)
    assert reader is not None
    clip = next(iterate_vertex_clips(meshes, "validation"))
    heard = reader._name_units(clip.audio)
    monkeypatch.setattr(reader, "_read", lambda motion: heard[: len(motion)])
    assert reader.count_errors(clip, evaluation.show_recording(clip))[0] == 0
    monkeypatch.setattr(reader, "_read", lambda motion: heard[: len(motion)] + 1)
    wrong, count = reader.count_errors(clip, evaluation.show_recording(clip))
    assert wrong == count > 0


def test_whole_evaluation_of_meshes_writes_table_report_and_json(
    meshes: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    lips = tmp_path / "my_lips.txt"
    lips.write_text("0, 1, 2")
    words = [str(checkpoint), "--vertices", str(meshes), "--lips", str(lips), "--video-s", "0.3"]
    words += ["--report", str(tmp_path / "report"), "--json-out", str(tmp_path / "figures.json")]
    monkeypatch.setattr(sys, "argv", ["evaluate_vertices", *words])
    evaluation.main()
    printed = capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert list(figures) == ["rest", "mean face", "loudness", "nearest neighbor", "model"]
    for text in ("my_lips.txt", "2 vertices (test)", "trained on this folder", "0 trained on"):
        assert text in printed, text
    assert "mean of the trained styles" in printed and "maximum squared" in printed
    keys = ("LVE mm2", "LVE root mm", "FDD signed", "FDD absolute", "vertex error mm")
    more = ("offset ms", "jitter ratio", "unit error rate", "unit error rate, true", "opening r")
    assert set(keys + more) <= set(figures["model"])
    assert figures["model"]["LVE mm2"] != figures["rest"]["LVE mm2"]
    assert "unit error rate, true" not in figures["rest"]
    page = (tmp_path / "report" / "report.html").read_text()
    for kind in ("<svg", "data:image/png", "data:video/mp4", "my_lips.txt"):
        assert kind in page, kind
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert content["figures"] == figures and content["recordings"] == ["eve_0", "eve_1"]


def test_strangers_in_each_style_have_the_mean_of_its_figures(
    meshes: Path, checkpoint: Path, tmp_path: Path
) -> None:
    config = evaluation.EvaluateVerticesConfig(
        checkpoint, meshes, condition="each", report=tmp_path, video_s=0.0, clips=1
    )
    figures = evaluation.run_vertex_evaluation(config).figures
    by_style = json.loads((tmp_path / "report.json").read_text())["by_style"]
    assert set(by_style) == {"model as tiny:ann", "model as tiny:bob"}
    errors = [column["LVE mm2"] for column in by_style.values()]
    assert errors[0] != errors[1]
    assert figures["model"]["LVE mm2"] == pytest.approx(np.mean(errors))
    # Who was trained on is shown as himself, whatever the convention.
    own = [
        evaluation.run_vertex_evaluation(replace(config, split="train", condition=c, report=None))
        for c in ("mean", "each")
    ]
    assert own[0].figures["model"] == own[1].figures["model"]


def test_wrong_split_mesh_and_topology_are_told(
    meshes: Path, checkpoint: Path, tmp_path: Path
) -> None:
    config = evaluation.EvaluateVerticesConfig(checkpoint, meshes, split="test-a")
    with pytest.raises(DualtalkerError, match=r"no clips of split 'test-a'.*validation.*--split"):
        evaluation.run_vertex_evaluation(config)
    other = make_vertex_corpus(tmp_path / "other", dataset="other")
    with pytest.raises(DualtalkerError, match=r"heads \['tiny \(12 vertices\)'\], expected other"):
        evaluation.run_vertex_evaluation(replace(config, vertices=other, split="validation"))
    network, _ = load_network(checkpoint)
    grown = replace(read_corpus(meshes), vertex_count=13)
    with pytest.raises(DualtalkerError, match=r"expected tiny \(13 vertices\)"):
        evaluation.MeshModel(network, grown, "mean")
