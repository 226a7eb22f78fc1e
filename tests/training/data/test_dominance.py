"""Laws of rule-made motion: in range, at rest in silence, shut in closures, symmetric."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkout import ROOT
from dualtalker.arkit import ARKIT_INDEX, MIRROR_INDICES
from dualtalker.evaluation.metrics import OPEN_VOWELS
from dualtalker.rig.robot_head import build_head
from dualtalker.speech import cover
from training.data import PHONE_CLASSES, Phone, read_labeled
from training.data.coarticulation import (
    RULE_MASK,
    TARGETS,
    closure_labels,
    expand,
    labiodental_labels,
    rule_motion,
)

SOUNDS = [name for name in PHONE_CLASSES if name != "sil"]


def build(steps, labels, lead_s=0.3, tail_s=0.3):
    phones, now_s = [], lead_s
    for step, label in zip(steps, labels, strict=False):
        phones.append(Phone(label, now_s, now_s + step))
        now_s += step
    return cover(phones, now_s + tail_s), now_s + tail_s


utterances = st.tuples(
    st.lists(st.floats(0.03, 0.3), min_size=1, max_size=20),
    st.lists(st.sampled_from(PHONE_CLASSES), min_size=20, max_size=20),
)


@settings(deadline=None)
@given(utterances, st.floats(0.8, 1.2), st.sampled_from([25, 50, 60, 100]))
def test_weights_stay_in_range_and_are_mirrored(utterance, effort, rate_hz):
    segments, duration_s = build(*utterance)
    motion = rule_motion(segments, duration_s, rate_hz, effort)
    assert motion.dtype == np.float32
    assert motion.min() >= 0 and motion.max() <= 1
    np.testing.assert_array_equal(motion, motion[:, MIRROR_INDICES])
    assert not motion[:, ~RULE_MASK].any()


@settings(deadline=None)
@given(utterances)
def test_silence_is_rest_exactly(utterance):
    segments, duration_s = build(*utterance, lead_s=0.5, tail_s=0.5)
    motion = rule_motion(segments, duration_s)
    times_s = np.arange(len(motion)) / 50
    spoken = [s for s in segments if s.label != "sil"]
    far = np.ones(len(motion), bool)
    for phone in spoken:
        far &= (times_s < phone.start_s - 0.2) | (times_s > phone.end_s + 0.2)
    assert far.any()
    assert not motion[far].any()


@settings(deadline=None)
@given(utterances, st.floats(0.01, 0.2), st.floats(0.8, 1.2))
def test_bilabials_shut_the_lips_whatever_surrounds_them(utterance, length_s, effort):
    steps, labels = utterance
    middle = len(steps) // 2
    steps = [*steps[:middle], length_s, *steps[middle:]]
    labels = [*labels[:middle], "PP", *labels[middle : len(steps)]]
    segments, duration_s = build(steps, labels)
    motion = rule_motion(segments, duration_s, effort=effort)
    shut = closure_labels(segments, len(motion)) == 1
    assert shut.sum() >= 2
    head = build_head()
    rest_m = head.lip_gap(np.zeros(52))
    assert (head.lip_gap(motion[shut]) <= rest_m + 1e-5).all()
    jaw, close = ARKIT_INDEX["jawOpen"], ARKIT_INDEX["mouthClose"]
    np.testing.assert_allclose(motion[shut, close], motion[shut, jaw], atol=1e-6)


@pytest.mark.parametrize("vowel", OPEN_VOWELS)
@pytest.mark.parametrize("around", SOUNDS)
def test_open_vowels_open_the_mouth(vowel, around):
    segments, duration_s = build([0.08, 0.09, 0.08], [around, vowel, around])
    motion = rule_motion(segments, duration_s)
    head = build_head()
    center = round(50 * (0.3 + 0.08 + 0.045))
    opening_m = head.lip_gap(motion[center]) - head.lip_gap(np.zeros(52))
    wide_m = head.lip_gap(expand({"jawOpen": 0.5})) - head.lip_gap(np.zeros(52))
    assert opening_m > 0.25 * wide_m


def test_closures_come_and_go_smoothly():
    segments, duration_s = build([0.15, 0.06, 0.15], ["AA", "PP", "AA"])
    motion = rule_motion(segments, duration_s, rate_hz=200)
    assert np.abs(np.diff(motion, axis=0)).max() < 0.08  # per 5 ms
    ramp = closure_labels(segments, len(motion), 200, ramp_s=0.055)
    assert ((ramp > 0) & (ramp < 1)).sum() > 15


def test_labiodentals_roll_the_lower_lip_in_and_keep_the_lips_apart():
    segments, duration_s = build([0.15, 0.08, 0.15], ["AA", "FF", "AA"])
    motion = rule_motion(segments, duration_s)
    bitten = labiodental_labels(segments, len(motion)) == 1
    assert bitten.sum() >= 2
    assert (motion[bitten, ARKIT_INDEX["mouthRollLower"]] >= 0.39).all()
    assert (motion[bitten, ARKIT_INDEX["jawOpen"]] <= 0.1).all()
    assert not motion[bitten, ARKIT_INDEX["mouthLowerDownLeft"]].any()
    assert (motion[bitten, ARKIT_INDEX["mouthClose"]] == 0).all()


def test_rounded_vowels_round_and_spread_ones_spread():
    for label, channel in (("UW", "mouthPucker"), ("IY", "mouthStretchLeft")):
        segments, duration_s = build([0.2], [label])
        motion = rule_motion(segments, duration_s)
        assert motion[20, ARKIT_INDEX[channel]] > 0.7 * max(
            TARGETS[label].shape.get(channel.removesuffix("Left"), 0), 0.01
        )


def test_effort_scales_the_jaw_only_where_it_is_free():
    segments, duration_s = build([0.2, 0.08, 0.2], ["AA", "PP", "AA"])
    weak, strong = (rule_motion(segments, duration_s, effort=e) for e in (0.8, 1.2))
    jaw = ARKIT_INDEX["jawOpen"]
    assert strong[20, jaw] == pytest.approx(1.5 * weak[20, jaw], rel=1e-5)
    shut = closure_labels(segments, len(weak)) == 1
    assert strong[shut, jaw].max() <= 0.1


def test_every_class_has_a_target():
    assert set(TARGETS) == set(PHONE_CLASSES)
    for target in TARGETS.values():
        assert expand(target.shape).shape == (52,)


RECORDINGS = ROOT.parent / "shared" / "data" / "speech"


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="needs the recordings of ../shared/data")
def test_bilabials_of_real_speech_close_and_its_open_vowels_do_not():
    head = build_head()
    rest_m = head.lip_gap(np.zeros(52))
    clips = [c for name in ("ljspeech", "vctk") for c in read_labeled(RECORDINGS / name)]
    gaps_m = {clip.name: head.lip_gap(clip.motion) for clip in clips}
    range_m = np.percentile(np.concatenate(list(gaps_m.values())), 98) - rest_m
    met, opened = [], []
    for clip in clips:
        gap_m = gaps_m[clip.name]
        for phone in clip.phones:
            first, last = (phone.start_s - 0.04) * 50, (phone.end_s + 0.04) * 50
            near = gap_m[max(0, int(np.ceil(first))) : int(last) + 1]
            if phone.label == "PP":
                met.append(near.min() <= rest_m + 0.05 * range_m)
            elif phone.label in OPEN_VOWELS:
                center = min(round(25 * (phone.start_s + phone.end_s)), len(gap_m) - 1)
                opened.append(gap_m[center] > rest_m + 0.05 * range_m)
    assert len(met) > 80 and np.mean(met) >= 0.98
    assert len(opened) > 50 and np.mean(opened) >= 0.99
