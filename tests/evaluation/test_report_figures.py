"""Figures over recordings, and the table: known motions get known values and verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import (
    CAPTURED_COUNT,
    FIGURES,
    Figure,
    Recording,
    Table,
    measure_motions,
    measure_speeds,
)
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
    for name in ("jaw r", "rounding r", "lip gap r"):
        assert figures[f"{name}, low"] < figures[name] < figures[f"{name}, high"]
    two = measure_motions([make_recording(900)] * 2, [motion] * 2, build_head())
    assert two["jaw r"] == pytest.approx(figures["jaw r"]) and two[CAPTURED_COUNT] == 2.0
    assert "jaw r, low" not in two  # the mean of two intervals' ends is none
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


def test_only_captured_shapes_that_move_are_compared() -> None:
    reference, motion = make_motion(250), make_motion(250, scale=0.3)
    for name, scale in (
        ("mouthSmileLeft", 0.2),
        ("mouthSmileRight", 0.2),
        ("mouthRollLower", 0.3),
    ):
        reference[:, ARKIT_INDEX[name]] = scale * syllables(250)
        motion[:, ARKIT_INDEX[name]] = 0.25 * reference[:, ARKIT_INDEX[name]]
    reference[:, ARKIT_INDEX["mouthPressLeft"]] = 0.001 * syllables(250)
    seen = np.isin(ARKIT_NAMES, ["mouthSmileLeft", "mouthPressLeft", "mouthPucker"])
    recording = make_recording(250, reference=reference, evidence=seen)
    figures = measure_motions([recording], [motion], build_head())
    assert figures["smile amplitude"] == pytest.approx(0.25, abs=1e-3)
    assert figures["smile r"] == pytest.approx(1.0, abs=1e-3)
    assert {"rounding r", "lip gap r", "offset gap ms"} <= set(figures)
    hidden = {"jaw r", "offset ms", "lower lip roll r", "press r", "stretch r"}
    assert not hidden & set(figures)


def test_what_moves_and_when_is_pooled_over_recordings() -> None:
    """A clip that hardly moves, and one whose peak is far off, do not decide."""
    small, whole = make_motion(250, scale=0.02), make_motion(250)
    pair = [make_recording(250, reference=small), make_recording(250)]
    figures = measure_motions(pair, [whole, whole], build_head())
    assert figures["jaw amplitude"] == pytest.approx(
        (2 / (1 + (0.02 / 0.6) ** 2)) ** 0.5, abs=1e-3
    )
    lates = [make_motion(250, 3)] * 3 + [make_motion(250, 14)]
    late = measure_motions([make_recording()] * 4, lates, build_head())
    assert late["offset ms"] == pytest.approx(60.0, abs=8.0)


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
        ("one", 0.4, "aim met"),
        ("one", 1.7, "met"),
        ("one", 0.2, "missed"),
    ],
)
def test_verdicts(better: str, value: float | None, verdict: str) -> None:
    required, aim = (0.6, 0.75) if better == "higher" else (0.75, 0.6)
    assert Figure("k", "l", "c", required, aim, better).verdict(value) == verdict


def test_one_clip_decides_nothing() -> None:
    figure = Figure("k", "l", "c", 0.15, 0.05, "one", counted="clips")
    assert figure.bound(figure.required) == "0.85 to 1.15"
    for value in (0.5, 1.1, 1.0):
        assert figure.verdict(value, 1.0) == "one clip"
        assert figure.verdict(value, 2.0) == figure.verdict(value) != "one clip"
    assert figure.verdict(None, 1.0) == "not measured"
    assert Figure("k", "l", "c").verdict(0.5, 1.0) == "–"
    rows = {row["key"]: row for row in list_rows({"m": {"jaw r": 0.9, CAPTURED_COUNT: 1.0}}, "m")}
    assert rows["jaw r"]["verdict"] == "one clip" != rows[CAPTURED_COUNT]["verdict"]


def test_intervals_stand_in_the_subjects_cell() -> None:
    own = {"jaw r": 0.61, "jaw r, low": 0.55, "jaw r, high": 0.672}
    rows = list_rows({"other": own, "model": own}, "model", [Figure("jaw r", "jaw r", "c")])
    assert [row["key"] for row in rows] == ["jaw r"]
    assert rows[0]["cells"] == {"other": "0.610", "model": "0.610 (0.550 to 0.672)"}
    table = Table("h", "c", ["a", "b"], [["x", "1"]])
    assert table.to_markdown() == "| a | b |\n| --- | --- |\n| x | 1 |"


def test_table_lists_what_is_required_even_if_unmeasured_and_unknown_figures_last() -> None:
    columns = {"loudness": {"jaw r": 0.37}, "model": {"jaw r": 0.7, "drops": 3.0}}
    rows = list_rows(columns, "model")
    keys = [row["key"] for row in rows]
    assert keys == [f.key for f in FIGURES if f.required is not None] + ["drops"]
    assert rows[0]["verdict"] == "not measured" and rows[1]["verdict"] == "aim met"
    table = format_rows(rows, list(columns))
    assert "| jaw opening r | 0.370 | 0.700 | ≥ 0.5 | ≥ 0.6 | aim met |" in table
    assert table.count("\n") == len(rows) + 1


def test_every_figure_is_described_once() -> None:
    assert len({f.key for f in FIGURES}) == len(FIGURES)
    assert all(f.convention and f.better in ("higher", "lower", "zero", "one") for f in FIGURES)
