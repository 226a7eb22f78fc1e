"""The evaluation of a bundle: trials, baselines, and the whole command on a tiny corpus."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dualtalker.errors import DualtalkerError
from dualtalker.model import load_bundle
from dualtalker.rig.robot_head import build_head
from tiny_training import TINY_NETWORK, make_clip
from training import evaluate as evaluation
from training import lipread
from training.data import (
    PHONE_CLASSES,
    Clip,
    save_clips,
)
from training.evaluation import (
    Loudness,
    NearestNeighbor,
    animate_by_loudness,
    find_mean_face,
    lip_reading,
    noises,
    trials,
)
from training.evaluation.baselines import describe_sound, smooth_causally
from training.learning import describe_network, save_checkpoint
from training.network import DualTalker


def make_reader() -> lip_reading.LipReader:
    torch.manual_seed(0)
    network = DualTalker(TINY_NETWORK, [True] * 52, ["rules"], list(PHONE_CLASSES))
    return lip_reading.LipReader(network)


@pytest.mark.parametrize("kind", list(noises.NOISES))
def test_noises_have_their_level_and_repeat(kind: str) -> None:
    noise = noises.make_noise_at(kind, 32000, 0.05)
    assert noise.dtype == np.float32 and noise.shape == (32000,)
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(0.05, rel=0.1)
    np.testing.assert_array_equal(noise, noises.make_noise_at(kind, 32000, 0.05))
    assert np.abs(noises.make_noise_at(kind, 32000, 5.0)).max() <= 1.0


def test_speech_level_is_that_of_the_speech_frames() -> None:
    audio = np.zeros(16000, np.float32)
    audio[3200:6400] = 0.5
    speech = np.zeros(50, bool)
    speech[10:20] = True
    assert noises.measure_speech_level(audio, speech) == pytest.approx(0.5)
    assert noises.measure_speech_level(audio, ~np.ones(50, bool)) == 0.0


def test_nearest_neighbor_finds_a_training_clip_again() -> None:
    clips = [make_clip(f"c{seed}", seed, 2.0) for seed in range(3)]
    neighbor = NearestNeighbor(clips)
    for clip in clips:
        weights = neighbor.animate(clip.audio, clip.frames, clip.style)
        assert np.abs(weights - clip.motion).mean() < 0.01
    quieter = neighbor.animate(0.3 * clips[1].audio, clips[1].frames, "unheard style")
    assert np.abs(quieter - clips[1].motion).mean() < 0.05
    with pytest.raises(ValueError, match="no clip with motion"):
        NearestNeighbor([make_clip("u", 0, motion=None, phones=None)])


def test_sound_is_described_at_the_instant_of_each_frame() -> None:
    audio = np.full(16000, 1e-4, np.float32) * np.random.default_rng(0).standard_normal(16000)
    audio[8000:8160] += 0.5
    description = describe_sound(audio.astype(np.float32), 50)
    now = description.reshape(50, 3, -1)[:, 1].mean(-1)
    assert abs(int(np.argmax(now)) - 25) <= 1


def test_mean_face_is_of_the_style_asked_for() -> None:
    clips = [make_clip("a", 0), make_clip("b", 1, style="captured:one")]
    np.testing.assert_allclose(find_mean_face(clips, "rules"), clips[0].motion.mean(0), rtol=1e-5)
    both = np.concatenate([c.motion for c in clips]).mean(0)
    np.testing.assert_allclose(find_mean_face(clips, "other"), both, rtol=1e-5)


def test_loudness_with_a_given_gain_stays_shut_in_silence() -> None:
    quiet = 1e-4 * np.ones(16000, np.float32)
    assert animate_by_loudness(quiet, 50, full_loudness=0.1).max() < 0.01
    assert animate_by_loudness(quiet, 50, 1e-4).max() == pytest.approx(0.5)


def make_mouth_after_loudness(seconds: float, style: str) -> Clip:
    """Syllables of uneven loudness whose mouth is the loudness, smoothed so long."""
    rng = np.random.default_rng(0)
    steps = np.repeat(rng.uniform(0.0, 0.3, 60), 5)
    audio = np.repeat(steps, 320) * rng.standard_normal(96000)
    clip = make_clip("smooth", 0, 6.0, style=style)
    audio = np.clip(audio, -1, 1).astype(np.float32)
    motion = animate_by_loudness(audio, clip.frames, 0.5, seconds)
    return dataclasses.replace(clip, audio=audio, motion=motion)


def test_loudness_is_smoothed_by_what_training_clips_say_of_each_style() -> None:
    clips = [make_mouth_after_loudness(0.1, "captured:one"), make_mouth_after_loudness(0, "rules")]
    loudness = Loudness(clips, build_head(), 0.5)
    assert loudness.smoothings_s == {"captured:one": 0.1, "rules": 0.0}
    assert loudness.name == "loudness smoothed 100 ms"
    for clip in clips:
        np.testing.assert_allclose(
            loudness.animate(clip.audio, clip.frames, clip.style), clip.motion, atol=1e-6
        )
    unheard = loudness.animate(clips[0].audio, clips[0].frames, "captured:new")
    np.testing.assert_allclose(unheard, clips[0].motion, atol=1e-6)
    assert Loudness([], build_head(), 0.5).name == "loudness"


def test_smoothing_is_causal_and_keeps_the_level() -> None:
    curve = np.zeros(50)
    curve[10:] = 1.0
    smooth = smooth_causally(curve, 0.06)
    assert np.all(smooth[:10] == 0.0) and smooth[-1] == pytest.approx(1.0, abs=1e-3)
    assert smooth[12] == pytest.approx(1 - np.exp(-3 / 3))  # three frames of 20 ms


def test_trials_see_what_a_contestant_does() -> None:
    """One that moves with loudness moves in loud noise and less in quiet noise."""
    head = build_head()
    heard: list[float] = []

    def by_loudness(audio: np.ndarray, frames: int, style: str) -> np.ndarray:
        heard.append(float(np.sqrt(np.mean(audio**2))))
        return animate_by_loudness(audio, frames, 0.1)

    sweep = trials.sweep_noise(by_loudness, head, 1.0, 0.1, "rules", 1.5)
    assert set(sweep) == set(noises.NOISES)
    for points in sweep.values():
        assert points[0.0] > 2 * points[20.0] >= 0.0
    assert max(heard) == pytest.approx(0.1, rel=0.1)
    assert min(heard) == pytest.approx(0.01, rel=0.1)
    still = trials.measure_silence(
        lambda audio, frames, style: np.zeros((frames, 52), np.float32), head, 1.0, "rules", 1.5
    )
    assert still == 0.0


def test_noise_costs_loudness_its_correlation_and_a_deaf_contestant_nothing() -> None:
    clip = make_clip("c", 3, 4.0, style="captured:one")

    def by_loudness(audio: np.ndarray, frames: int, style: str) -> np.ndarray:
        return animate_by_loudness(audio, frames, 0.1)

    losses = trials.sweep_noisy_speech(by_loudness, [clip])
    assert losses["fan"][0.0] > losses["fan"][20.0] > -0.01
    perfect = trials.sweep_noisy_speech(lambda a, n, style: clip.motion[:n], [clip])
    assert all(abs(v) < 1e-6 for points in perfect.values() for v in points.values())
    assert trials.sweep_noisy_speech(by_loudness, [make_clip("r", 1)]) == {}


def test_tick_is_timed(tiny: Path) -> None:
    assert 0.0 < trials.measure_tick_ms(load_bundle(tiny), 1.5) < 1000.0


def test_decoding_collapses_repeats_and_drops_blanks_and_silence() -> None:
    phones = ["sil", "PP", "AA"]
    best = np.array([0, 2, 2, 0, 2, 3, 3, 1, 0, 3])
    assert lip_reading.decode(best, phones) == ["PP", "PP", "AA", "AA"]


def test_error_rate_counts_edits_over_all_phones() -> None:
    truth = [["PP", "AA", "DD", "IY"], ["SS"]]
    assert lip_reading.measure_error_rate(truth, truth) == 0.0
    read = [["PP", "AA", "IY"], ["SS", "AA"]]
    assert lip_reading.measure_error_rate(truth, read) == pytest.approx(2 / 5)
    assert lip_reading.measure_error_rate(truth, [[], []]) == 1.0
    with pytest.raises(ValueError, match="without phones"):
        lip_reading.measure_error_rate([[]], [["PP"]])


def test_reader_sees_only_channels_that_the_clip_has() -> None:
    clip = make_clip("c", 0)
    clip.motion_mask[:] = False
    reader = make_reader()
    loud = np.ones_like(clip.motion)
    rates = {lip_reading.read_clips(reader, [clip], [m]) for m in (loud, clip.motion)}
    assert len(rates) == 1


def test_lip_reading_loads_a_checkpoint_and_reads_true_and_predicted_motion(
    tiny: Path, corpus: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = DualTalker(TINY_NETWORK, [True] * 52, ["rules"], list(PHONE_CLASSES))
    path = tmp_path / "step_0000001.safetensors"
    meta = {"description": describe_network(network), "config": {}, "data": [], "step": 0}
    save_checkpoint(path, {"ema": dict(network.state_dict())}, meta)
    rates = lipread.lipread(lipread.LipreadConfig(path, (corpus,), tiny))
    assert set(rates) == {"true motion", "animation"} and min(rates.values()) > 0.0
    loaded, made = lip_reading.LipReader.load(path), make_reader()
    motion = make_clip("c", 3).motion
    assert loaded.read(motion) == made.read(motion)
    save_clips(tmp_path / "unlabelled", [make_clip("a", 0, phones=None, split="validation")])
    with pytest.raises(DualtalkerError, match="motion and phones"):
        lipread.lipread(lipread.LipreadConfig(path, (tmp_path / "unlabelled",)))
    meta["description"]["network"]["lipread_targets"] = ["units"]
    save_checkpoint(path, {"ema": dict(network.state_dict())}, meta)
    with pytest.raises(DualtalkerError, match="reads units, expected phones"):
        lip_reading.LipReader.load(path)


def test_whole_evaluation_writes_table_report_and_json(
    tiny: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(
        lip_reading.LipReader, "load", classmethod(lambda cls, path: make_reader())
    )
    figures_path = tmp_path / "figures.json"
    arguments = [str(tiny), "--corpus", str(corpus), "--suite", "default", "--trial-s", "1"]
    arguments += ["--timing-s", "1.2", "--video-s", "0.2", "--report", str(tmp_path / "report")]
    arguments += ["--reader", "any.safetensors", "--json-out", str(figures_path)]
    arguments += ["--markdown", str(tmp_path / "card.md")]
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments])
    evaluation.main()
    printed = capsys.readouterr().out
    figures = json.loads(figures_path.read_text())
    loudness = next(iter(figures))
    assert loudness.startswith("loudness")
    assert list(figures) == [loudness, "mean face", "nearest neighbor", "model"]
    figures["loudness"] = figures[loudness]
    # In this corpus the jaw is the loudness, and the mean face never moves.
    assert figures["loudness"]["jaw r"] > 0.9 and figures["mean face"]["jaw r"] == 0.0
    assert abs(figures["loudness"]["offset ms"]) < 20
    assert figures["mean face"]["noise motion"] == 0.0 < figures["loudness"]["noise motion"]
    by_kind = [v for k, v in figures["loudness"].items() if k.startswith("noise motion, ")]
    assert len(by_kind) == 4
    assert np.mean(by_kind) == pytest.approx(figures["loudness"]["noise motion"])
    assert "| mouth motion in noise alone: music |" in printed
    wanted = ("size MB", "lookahead ms", "step p99 ms", "phone error rate, true", "LVE mm2")
    wanted += ("closures met", "false closures", "noise motion", "held jaw", "whispered gap r")
    wanted += ("shouted closures met", "in a hall gap r", "laughter gap", "hall loss")
    assert set(wanted) <= set(figures["model"])
    assert figures["model"]["lookahead ms"] == 80.0
    assert "| jaw opening r, made |" in printed and "| one clip |" in printed
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Speech in noise" in page and "data:video/mp4" in page
    assert "made: 1 clip, unknown trained on" in page
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert card in printed and "## Captured motion by source and talker" in card
    report = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert report["groups"]["model"]["made"]["clips"] == 1.0


def test_speakers_of_the_training_split_are_not_unseen(tiny: Path, tmp_path: Path) -> None:
    clips = [
        make_clip("a", 0, speaker="ann"),
        make_clip("b", 1, speaker="ann", split="validation"),
        make_clip("c", 2, speaker="bob", split="validation"),
    ]
    save_clips(tmp_path / "clips", clips)
    config = evaluation.EvaluateConfig(tiny, (tmp_path / "clips",), suite="clips")
    report = evaluation.run_evaluation(config)
    assert report.html is None and "noise motion" not in report.figures["model"]
    assert "closures met, unseen speakers" in report.figures["model"]
    training = evaluation.read_training(config.corpus)
    assert training.speakers == {"ann"} and training.paired_s == {"rules": 3.0}
    assert [evaluation.to_recording(c, training).unseen for c in clips] == [False, False, True]


def test_corpus_without_validation_says_what_to_do(tiny: Path, tmp_path: Path) -> None:
    save_clips(tmp_path / "clips", [make_clip("a", 0)])
    with pytest.raises(DualtalkerError, match="--holdout"):
        evaluation.run_evaluation(evaluation.EvaluateConfig(tiny, (tmp_path / "clips",)))
