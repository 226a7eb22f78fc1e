"""Figures over recordings, and the table: known motions get known values and verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import FIGURES, Figure, Recording, measure_motions, measure_speeds
from dualtalker.evaluation.accuracy import measure_error_map
from dualtalker.evaluation.table import format_rows, list_rows
from dualtalker.rig.robot_head import build_head
from made_recordings import FPS, RATE_HZ, make_motion, make_recording, syllables


def test_the_truth_itself_is_perfect() -> None:
    recording = make_recording()
    figures = measure_motions([recording], [recording.reference], build_head())
    same = ("jaw r", "rounding r", "lip gap r", "jitter ratio", "jaw amplitude")
    for name in (*same, "rounding amplitude"):
        assert figures[name] == pytest.approx(1.0, abs=1e-5), name
    for name in ("LVE mm2", "LVE mm", "vertex error mm", "FDD signed", "FDD absolute"):
        assert figures[name] == pytest.approx(0.0, abs=1e-6), name
    assert figures["offset ms"] == pytest.approx(0.0, abs=0.1)


def test_intervals_of_correlations_come_with_enough_speech() -> None:
    motion = make_motion(900, 2)
    figures = measure_motions([make_recording(900)], [motion], build_head())
    for name in ("jaw r", "rounding r"):
        assert figures[f"{name}, low"] < figures[name] < figures[f"{name}, high"]
    short = measure_motions([make_recording(250)], [make_motion(250, 2)], build_head())
    assert "jaw r" in short and "jaw r, low" not in short
    timid = measure_motions([make_recording(250)], [0.5 * make_motion(250)], build_head())
    assert timid["jaw amplitude"] == pytest.approx(0.5, abs=1e-3)


def test_a_late_motion_is_late_and_a_still_face_is_wrong_by_its_missing_motion() -> None:
    recording = make_recording()
    late = measure_motions([recording], [make_motion(250, 3)], build_head())
    assert late["offset ms"] == pytest.approx(60.0, abs=5.0)
    assert late["offset gap ms"] == pytest.approx(60.0, abs=5.0)
    still = measure_motions([recording], [np.zeros((250, 52), np.float32)], build_head())
    assert still["jaw r"] == 0.0 and still["jitter ratio"] == 0.0 and still["jaw amplitude"] == 0.0
    assert still["LVE root mm"] >= still["LVE mm"] > 1.0
    assert still["lip gap error mm"] > 1.0
    assert "offset ms" not in still  # what never moves is neither early nor late


def test_errors_of_the_mesh_agree_with_posing_it() -> None:
    head = build_head()
    truth, motion = make_motion(20), make_motion(20, 2)
    distance = np.linalg.norm(head.pose(motion) - head.pose(truth), axis=-1)
    np.testing.assert_allclose(measure_error_map(head, motion, truth), distance.mean(0), atol=1e-6)


def test_shares_are_pooled_by_group_and_speaker() -> None:
    """The mouth shuts where the curve is zero; both closures of the unseen speaker are met."""
    curve = syllables(250)
    shut = float(np.flatnonzero((curve == 0) & (np.arange(250) > 20))[2] / FPS)
    wide = float(np.argmax(curve) / FPS)
    phones = (("PP", shut, shut + 0.04), ("AA", wide - 0.02, wide + 0.02))
    seen = make_recording(phones=(*phones, ("PP", wide - 0.005, wide + 0.005)))
    others = [
        make_recording(phones=phones, unseen=True),
        make_recording(phones=phones, group="synthetic", unseen=True),
    ]
    motions = [make_motion(250)] * 3
    figures = measure_motions([seen, *others], motions, build_head())
    assert figures["closures met"] == pytest.approx(2 / 3)
    assert figures["closures met, unseen speakers"] == 1.0
    assert figures["closures met, synthetic"] == 1.0
    assert figures["false closures"] == 0.0
    assert "lip-teeth contact" not in figures  # no /f v/ was said
    assert "closures met, synthetic, unseen speakers" not in figures


def test_pauses_are_measured_away_from_speech() -> None:
    frames = 250
    audio = np.zeros(frames * 320, np.float32)
    audio[: 100 * 320] = 0.1 * np.random.default_rng(0).standard_normal(100 * 320)
    recording = Recording("pause", audio, RATE_HZ, FPS, frames)
    gap = np.zeros(frames)
    gap[:100] = 0.01 * syllables(100)
    gap[100:108] = 0.01  # within 0.2 s of speech: the mouth may still close
    spoken, silent = measure_speeds([recording], [gap])
    assert spoken > 0.01 and silent == 0.0
    assert measure_speeds([make_recording(60)], [np.zeros(60)])[1] is None


def test_a_motion_of_another_length_is_refused() -> None:
    with pytest.raises(DualtalkerError, match=r"found motion \[10, 52\], expected \[250, 52\]"):
        measure_motions([make_recording()], [make_motion(10)], build_head())


@pytest.mark.parametrize(
    ("better", "value", "verdict"),
    [
        ("higher", 0.8, "aim met"),
        ("higher", 0.6, "met"),
        ("higher", 0.59, "missed"),
        ("lower", -1.0, "aim met"),
        ("lower", 0.7, "met"),
        ("lower", 0.9, "missed"),
        ("zero", -0.7, "met"),
        ("zero", -0.9, "missed"),
        ("zero", None, "not measured"),
    ],
)
def test_verdicts(better: str, value: float | None, verdict: str) -> None:
    required, aim = (0.6, 0.75) if better == "higher" else (0.75, 0.6)
    assert Figure("k", "l", "c", required, aim, better).verdict(value) == verdict


def test_table_lists_what_is_required_even_if_unmeasured_and_unknown_figures_last() -> None:
    columns = {"loudness": {"jaw r": 0.37}, "model": {"jaw r": 0.7, "drops": 3.0}}
    rows = list_rows(columns, "model")
    keys = [row["key"] for row in rows]
    assert keys == [f.key for f in FIGURES if f.required is not None] + ["drops"]
    assert rows[0]["verdict"] == "met" and rows[1]["verdict"] == "not measured"
    table = format_rows(rows, list(columns))
    assert "| jaw opening r | 0.370 | 0.700 | ≥ 0.6 | ≥ 0.75 | met |" in table
    assert table.count("\n") == len(rows) + 1


def test_every_figure_is_described_once() -> None:
    assert len({f.key for f in FIGURES}) == len(FIGURES)
    assert all(f.convention and f.better in ("higher", "lower", "zero") for f in FIGURES)
