"""Expressions over speech: contacts stay, nothing jumps, speech without them is as it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dualtalker import Talker
from dualtalker.arkit import ARKIT_INDEX, MOUTH_INDICES
from dualtalker.errors import DualtalkerError
from dualtalker.face import EXPRESSIONS, ExpressionLayer, pose_expression
from dualtalker.face.manner import LINES_MM
from dualtalker.rig.robot_head import build_head
from streamed_speech import speech, stream, weights_of

FRAME_S = 1 / 60
RATE_HZ = 16000
POSES = arrays.arrays(np.float32, 52, elements=st.floats(0, 1, width=32))
NAMES = st.sampled_from(EXPRESSIONS)
BROW = ARKIT_INDEX["browInnerUp"]
SMILE = ARKIT_INDEX["mouthSmileLeft"]


def layer_of(name, intensity=1.0):
    layer = ExpressionLayer(52)
    layer.change(0.0, pose_expression(name, intensity), 0.0, None)
    return layer


def test_the_names_are_those_of_hri_msgs():
    assert len(EXPRESSIONS) == 25
    assert {"neutral", "happy", "sad", "surprised", "asleep", "skeptical"} <= set(EXPRESSIONS)


def test_no_two_expressions_are_alike():
    poses = [pose_expression(name) for name in EXPRESSIONS]
    for i, one in enumerate(poses):
        assert one.min() >= 0 and one.max() <= 1
        for other in poses[:i]:
            assert np.abs(one - other).max() > 0.15


@given(st.lists(POSES, min_size=1, max_size=4), NAMES, st.floats(0, 2))
def test_while_speech_moves_the_mouth_nothing_parts_what_it_holds_together(poses, name, intensity):
    """Lips, and lip and teeth, are no further apart than without the expression."""
    layer = layer_of(name, intensity)
    talking = np.zeros(52, np.float32)
    talking[ARKIT_INDEX["jawOpen"]] = 0.5
    for k in range(60):
        layer.add(k * FRAME_S, talking, talking)
    for k, pose in enumerate(poses):
        pose[ARKIT_INDEX["jawOpen"]] = max(pose[ARKIT_INDEX["jawOpen"]], 0.15)
        added = layer.add(1.0 + k * FRAME_S, pose, pose)
        assert added.min() >= 0 and added.max() <= 1
        assert (LINES_MM @ added <= LINES_MM @ pose + 0.05).all()


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_the_first_contact_of_an_utterance_is_a_contact(name):
    """A mouth that was open by its expression shuts for /p/, though nothing was said before."""
    layer = layer_of(name)
    still = np.zeros(52, np.float32)
    for k in range(60):
        layer.add(k * FRAME_S, still, still)
    pose = still.copy()
    for shape, weight in (("mouthPressLeft", 0.3), ("mouthPressRight", 0.3)):
        pose[ARKIT_INDEX[shape]] = weight
    pose[ARKIT_INDEX["mouthRollLower"]] = 0.25
    added = layer.add(1.0, pose, pose)
    assert (LINES_MM @ added <= LINES_MM @ pose + 0.05).all()


@given(POSES, POSES, st.floats(0, 100))
def test_the_neutral_face_changes_nothing(spoken, lively, time_s):
    layer = ExpressionLayer(52)
    assert layer.add(time_s, spoken, lively) is lively
    layer.change(time_s, pose_expression(None), 0.4, None)
    assert np.array_equal(layer.add(time_s + 1.0, spoken, lively), np.clip(lively, 0, 1))


@settings(max_examples=30)
@given(st.lists(st.tuples(NAMES, st.floats(0.1, 1.0), st.floats(0, 2)), min_size=1, max_size=5))
def test_expressions_come_and_go_without_a_jump(changes):
    layer, still = ExpressionLayer(52), np.zeros(52, np.float32)
    now_s, last = 0.0, still
    for name, fade_s, hold_s in changes:
        layer.change(now_s, pose_expression(name), fade_s, hold_s)
        for _ in range(20):
            shown = layer.add(now_s, still, still)
            # The steepest of a smooth step is 1.5 times its mean; lids take the larger of two.
            assert np.abs(shown - last).max() <= 1.6 * FRAME_S / 0.1
            now_s, last = now_s + FRAME_S, shown


def test_a_held_expression_ends_and_a_kept_one_stays():
    still = np.zeros(52, np.float32)
    layer = ExpressionLayer(52)
    layer.change(0.0, pose_expression("happy"), 0.2, 0.5)
    assert layer.add(0.4, still, still)[SMILE] == pytest.approx(0.6, abs=1e-3)
    assert not layer.add(1.0, still, still).any()
    layer.change(1.0, pose_expression("happy"), 0.2, None)
    assert layer.add(100.0, still, still)[SMILE] == pytest.approx(0.6, abs=1e-3)


def test_frames_taken_back_may_ask_for_the_time_before_a_change_at_once():
    still = np.zeros(52, np.float32)
    layer = ExpressionLayer(52)
    layer.change(1.0, pose_expression("happy"), 0.0, None)
    assert layer.add(1.1, still, still)[SMILE] == pytest.approx(0.6, abs=1e-3)
    assert layer.add(0.9, still, still)[SMILE] in (0.0, pytest.approx(0.6, abs=1e-3))


def test_the_mouth_yields_to_speech_and_comes_back():
    layer = layer_of("happy")
    still, talking = np.zeros(52, np.float32), np.zeros(52, np.float32)
    talking[ARKIT_INDEX["jawOpen"]] = 0.4
    times = np.arange(0, 6, FRAME_S)
    smile = [
        layer.add(t, pose, pose)[SMILE]
        for t in times
        for pose in [talking if 2 <= t < 4 else still]
    ]
    at = dict(zip(np.round(times, 3), smile, strict=True))
    assert at[1.5] == pytest.approx(0.6, abs=1e-3)
    assert at[3.5] == pytest.approx(0.3, abs=1e-2)
    assert at[5.5] == pytest.approx(0.6, abs=1e-2)
    assert np.abs(np.diff(smile)).max() < 0.12


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_affect_is_a_mixture_of_what_lies_near(valence, arousal):
    pose = pose_expression((valence, arousal))
    assert pose.min() >= 0 and pose.max() <= 1


def test_places_of_names_are_their_poses():
    assert np.array_equal(pose_expression((0.8, 0.3)), pose_expression("happy"))
    assert np.array_equal(pose_expression((0.0, 0.0)), np.zeros(52))
    near = pose_expression((0.75, 0.3))
    assert np.abs(near - pose_expression("happy")).max() < 0.1


def test_mixtures_are_sums():
    mixed = pose_expression("happy:0.5, surprised:0.5")
    assert np.array_equal(mixed, pose_expression({"happy": 0.5, "surprised": 0.5}))
    halves = 0.5 * (pose_expression("happy") + pose_expression("surprised"))
    np.testing.assert_allclose(mixed, halves, atol=1e-6)


@pytest.mark.parametrize(
    ("expression", "intensity", "says"),
    [
        ("hapy", 1.0, "did you mean happy"),
        ("happy:lots", 1.0, "NAME:WEIGHT"),
        ("happy:2", 1.0, "expected 0 to 1"),
        ("happy", 3.0, "expected 0 to 2"),
        ("happy", float("nan"), "expected 0 to 2"),
        ((2.0, 0.0), 1.0, "expected -1 to 1"),
        ((float("nan"), 0.0), 1.0, "expected -1 to 1"),
        ({"happy": float("inf")}, 1.0, "expected 0 to 1"),
    ],
)
def test_what_is_no_expression_is_refused(tiny, expression, intensity, says):
    with pytest.raises(DualtalkerError, match=says):
        pose_expression(expression, intensity)
    talker = Talker(tiny)
    with pytest.raises(DualtalkerError, match=says):
        talker.set_expression(expression, intensity)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 2 * RATE_HZ), max_size=6))
def test_chunks_make_no_difference(tiny, cuts):
    samples = speech(2.0, RATE_HZ)

    def play(cuts):
        talker = Talker(tiny, fps=60)
        talker.set_expression("surprised", 0.8, fade_s=0.3, hold_s=0.5)
        return weights_of(stream(talker, samples, RATE_HZ, cuts))

    np.testing.assert_array_equal(play(cuts), play([]))


def test_a_talker_smiles_from_where_it_was_asked_to(tiny):
    samples = speech(1.0, RATE_HZ)
    plain, smiling = Talker(tiny, fps=60), Talker(tiny, fps=60)
    before = stream(plain, samples, RATE_HZ, [])
    frames = stream(smiling, samples, RATE_HZ, [])
    smiling.set_expression("happy", fade_s=0.2)
    frames += smiling.advance_to(2.0)
    before += plain.advance_to(2.0)
    a, b = weights_of(before), weights_of(frames)
    asked = np.array([frame.time_s for frame in frames]) <= 1.0
    np.testing.assert_array_equal(a[asked], b[asked])
    assert b[-1, SMILE] > a[-1, SMILE] + 0.5
    smiling.reset()
    assert smiling.advance_to(0.5)[-1].weights[SMILE] > 0.5  # a reset keeps it


@pytest.mark.slow
@pytest.mark.parametrize("name", ["happy", "surprised", "horrified", "disgusted", "sad"])
def test_the_shipped_model_meets_its_contacts_under_every_expression(name):
    pytest.importorskip("espeakng_loader")
    from dualtalker.speech import synthesize

    said = synthesize("Papa and Bob map a bomb. Five vivid waves move.")

    def play(expression):
        talker = Talker(fps=60, idle_motion=False)
        talker.set_expression(expression, fade_s=0.0)
        return weights_of(stream(talker, said.samples, said.sample_rate_hz, []))

    plain, moved = play(None), play(name)
    gaps_mm = [1e3 * build_head().lip_gap(weights) for weights in (plain, moved)]
    speaking = plain[:, MOUTH_INDICES].max(1) > 0.15
    shut = (gaps_mm[0] < 1.0) & speaking
    assert shut.sum() > 5
    assert (gaps_mm[1][shut] < gaps_mm[0][shut] + 0.3).all()
    if name in ("surprised", "horrified", "sad"):
        assert moved[:, BROW].min() > 0.5  # the brows keep it
