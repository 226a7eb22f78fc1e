"""The upper face follows the voice, as people's do, and nothing but the voice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker import Talker
from dualtalker.arkit import ARKIT_INDEX, HEAD_NAMES, MOUTH_INDICES
from dualtalker.errors import DualtalkerError
from dualtalker.face import SpeakingLife, speaking
from dualtalker.face.idle import BROW_REACH, BlinkPlan, IdleLife
from dualtalker.face.speaking import Springs
from spoken_phrases import NOISES, RATE_HZ, Phrases, make_noise, speak_phrases

HOP_S, LOOKAHEAD_S = 0.02, 0.1
HOP = round(HOP_S * RATE_HZ)
MOUTH = list(MOUTH_INDICES)
JAW, BLINK = ARKIT_INDEX["jawOpen"], ARKIT_INDEX["eyeBlinkLeft"]
BROWS = [ARKIT_INDEX[n] for n in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")]
LOOK_S = 0.02  # between the looks of `watch`


def move_mouth(samples: np.ndarray) -> np.ndarray:
    """A mouth that opens as loud as it is: weights [hops, 52], as fast as in speech."""
    hops = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)
    loud = np.minimum(np.sqrt(np.mean(np.square(hops), axis=1)) / 0.05, 1.0)
    weights = np.zeros((len(hops), 52), np.float32)
    weights[:, MOUTH] = 0.05 * loud[:, None]
    weights[:, JAW] = 0.5 * loud
    return weights


def watch(life, samples, mouth=None, rest_s=0.0):
    """Return times [n], faces [n, 52] and heads of a life as a talker runs it, 50 a second."""
    mouth = move_mouth(samples) if mouth is None else mouth
    times_s, faces, heads = [], [], []
    neutral = np.zeros(52, np.float32)

    def look(until_s):
        while len(times_s) * LOOK_S <= until_s + 1e-9:
            times_s.append(len(times_s) * LOOK_S)
            faces.append(life.add(times_s[-1], neutral))
            heads.append(life.head(times_s[-1]))

    for i, weights in enumerate(mouth):
        life.hear(samples[i * HOP : (i + 1) * HOP])
        heard_s = (i + 1) * HOP_S
        life.follow(heard_s - LOOKAHEAD_S, heard_s, weights)
        look(heard_s - LOOKAHEAD_S)
    for k in range(round(rest_s / LOOK_S)):
        rest_at_s = len(mouth) * HOP_S - LOOKAHEAD_S + k * LOOK_S
        life.rest(rest_at_s)
        look(rest_at_s)
    return np.array(times_s), np.stack(faces), heads


@pytest.fixture(scope="module")
def ten_minutes() -> tuple[Phrases, np.ndarray, np.ndarray]:
    """What was said in ten minutes, and the times and faces shown."""
    said = speak_phrases(600.0, seed=7)
    times_s, faces, _ = watch(SpeakingLife(0, RATE_HZ), said.samples)
    return said, times_s, faces


def begins(times_s, active):
    return times_s[1:][active[1:] & ~active[:-1]]


def test_brows_rise_on_accents_and_rest_between(ten_minutes):
    said, times_s, faces = ten_minutes
    brow = faces[:, BROWS[0]]
    since_s = times_s[:, None] - said.accents_s[None]
    on = ((since_s > 0.05) & (since_s < 0.3)).any(axis=1)
    off = ~((since_s > -0.3) & (since_s < 1.0)).any(axis=1)
    assert brow[on].mean() > 0.08 + brow[off].mean()
    assert brow[off].max() <= BROW_REACH + 0.02
    # They set off no later than the syllable ends.
    rises_s = begins(times_s, brow > 0.12)
    lag_s = rises_s[:, None] - said.accents_s[None]
    near = lag_s[np.arange(len(lag_s)), np.abs(lag_s).argmin(axis=1)]
    assert np.median(near) < 0.15


def test_brows_move_as_fast_as_brows_do(ten_minutes):
    said, times_s, faces = ten_minutes
    speed = np.diff(faces[:, BROWS], axis=0) / LOOK_S
    assert np.abs(speed).max() < 4.0  # a full raise takes no less than a quarter of a second
    jolt = np.diff(speed, axis=0) / LOOK_S
    assert np.abs(jolt).max() < 16.0**2 * speaking.INNER_RAISE * 1.3
    raises = begins(times_s, faces[:, BROWS[0]] > 0.12)
    assert 0.4 * len(said.accents_s) < len(raises) < 0.85 * len(said.accents_s)
    left, right = faces[:, BROWS[1]], faces[:, BROWS[2]]
    assert 0.005 < np.abs(left - right).max() < 0.15


def test_blinks_have_the_statistics_of_someone_who_talks(ten_minutes):
    """Doughty (2001): 10.5 to 32.5 a minute in conversation; ours are to be 15 to 25."""
    _, times_s, faces = ten_minutes
    blinks_s = begins(times_s, faces[:, BLINK] > 0.5)
    assert 15 <= len(blinks_s) / 10 <= 25
    gaps_s = np.diff(blinks_s)
    single_s = gaps_s[gaps_s > 0.5]
    assert (single_s >= 0.6).all()  # a double blink's second half takes 0.35 s of the 1 s
    assert single_s.max() <= 12.1
    assert 0.02 < (gaps_s <= 0.5).mean() < 0.25
    logs = np.log(single_s)
    skew = np.mean((logs - logs.mean()) ** 3) / logs.std() ** 3
    assert 0.3 < logs.std() < 0.8 and abs(skew) < 0.8  # near a normal distribution of logarithms


def test_blinks_gather_at_the_ends_of_phrases(ten_minutes):
    said, times_s, faces = ten_minutes
    blinks_s = begins(times_s, faces[:, BLINK] > 0.5)
    since_s = blinks_s[:, None] - said.ends_s[None]
    near = ((since_s > 0.0) & (since_s < 0.4)).any(axis=1).mean()
    chance = 0.4 * len(said.ends_s) / 600.0
    assert near > 1.7 * chance


def test_eyes_hold_in_a_phrase_and_move_at_its_end(ten_minutes):
    said, times_s, faces = ten_minutes
    looks = [i for name, i in ARKIT_INDEX.items() if name.startswith("eyeLook")]
    moving = np.abs(np.diff(faces[:, looks], axis=0)).max(axis=1) > 0
    saccades_s = begins(times_s[1:], moving)
    since_s = times_s[:, None] - said.starts_s[None]
    in_phrase = ((since_s > 0.5) & (times_s[:, None] < said.ends_s[None])).any(axis=1)
    index = np.round(saccades_s / LOOK_S).astype(int)
    inside = in_phrase[index].sum() / (in_phrase.sum() * LOOK_S)
    outside = (~in_phrase[index]).sum() / ((~in_phrase).sum() * LOOK_S)
    assert inside < 0.35 * outside
    assert np.diff(saccades_s).max() < 12.0  # and nobody stares


@pytest.mark.parametrize("kind", NOISES)
def test_noise_does_not_make_the_brows_dance(kind):
    """Even where the model is deceived and moves the mouth."""
    spoken = speak_phrases(12.0, seed=8).samples[: 12 * RATE_HZ]
    noise = make_noise(kind, 12.0, seed=8)
    speeds = []
    for samples in (spoken, noise):
        times_s, faces, _ = watch(SpeakingLife(0, RATE_HZ), samples, move_mouth(spoken))
        idle = np.array([IdleLife(0).brow(t) for t in times_s])
        extra = faces[:, BROWS] - idle[:, None]
        speeds.append(np.sqrt(np.mean(np.square(np.diff(extra, axis=0)))))
    assert speeds[1] <= 0.15 * speeds[0]


def test_a_mouth_that_stays_shut_keeps_the_brows_down():
    """What the model takes for noise is noise, however melodious."""
    spoken = speak_phrases(15.0, seed=9).samples
    shut = np.zeros((len(spoken) // HOP, 52), np.float32)
    _, faces, _ = watch(SpeakingLife(0, RATE_HZ), spoken, shut)
    assert faces[:, BROWS].max() <= BROW_REACH
    assert watch(SpeakingLife(0, RATE_HZ), spoken)[1][:, BROWS].max() > 0.2


def test_life_goes_on_when_the_voice_ends():
    said = speak_phrases(6.0, seed=10)
    life = SpeakingLife(3, RATE_HZ, head=True)
    times_s, faces, heads = watch(life, said.samples, rest_s=60.0)
    after = times_s > len(said.samples) / RATE_HZ + 1.0
    assert 8 <= len(begins(times_s[after], faces[after, BLINK] > 0.5)) <= 24
    assert faces[after][:, BROWS].max() <= BROW_REACH + 0.01
    assert (np.abs(np.diff(faces[after], axis=0)).max(axis=1) > 0).all()
    assert np.abs(np.diff(np.stack(heads), axis=0)).max() < 0.02


def test_audio_that_comes_late_changes_nothing_shown():
    said = speak_phrases(8.0, seed=11)
    life, neutral = SpeakingLife(0, RATE_HZ), np.zeros(52, np.float32)
    life.rest(100.0)
    shown = life.add(100.0, neutral)
    for i, weights in enumerate(move_mouth(said.samples)):
        life.hear(said.samples[i * HOP : (i + 1) * HOP])
        life.follow((i + 1) * HOP_S - LOOKAHEAD_S, (i + 1) * HOP_S, weights)
    np.testing.assert_array_equal(life.add(100.0, neutral), shown)


@settings(max_examples=50, deadline=None)
@given(
    plan=st.lists(st.tuples(st.floats(0.005, 1.0), st.floats(0, 1)), min_size=1, max_size=20),
    looks=st.lists(st.floats(0, 8), max_size=30),
)
def test_springs_are_the_same_for_any_looks_and_never_overshoot(plan, looks):
    watched, alone = Springs(np.array([16.0])), Springs(np.array([16.0]))
    looks, now_s, top = sorted(looks), 0.0, max(aim for _, aim in plan)
    for step_s, aim in plan:
        for springs in (watched, alone):
            springs.aim(now_s, np.array([aim]))
        for look_s in [t for t in looks if now_s <= t < now_s + step_s]:
            assert -1e-9 <= watched.at(look_s)[0] <= top + 1e-9
        now_s += step_s
    np.testing.assert_allclose(watched.at(now_s), alone.at(now_s), atol=1e-9)
    np.testing.assert_allclose(watched.at(now_s + 5), plan[-1][1], atol=1e-9)


def test_springs_solve_their_equation():
    springs, step_s = Springs(np.array([9.0])), 1e-4
    springs.aim(0.0, np.array([1.0]))
    x = np.array([springs.at(k * step_s)[0] for k in range(4000)])
    speed, pull = np.gradient(x, step_s), np.gradient(np.gradient(x, step_s), step_s)
    wanted = 81.0 * (1.0 - x) - 18.0 * speed
    np.testing.assert_allclose(pull[3:-3], wanted[3:-3], atol=0.05)


def test_long_neglect_is_not_made_up_for():
    plan = BlinkPlan(0)
    plan.advance(1e6)
    assert sum(plan.at(1e6 - 60 + 0.01 * k) > 0.9 for k in range(6000)) < 10


@pytest.fixture
def spoken():
    return speak_phrases(5.0, seed=12).samples


def frames_of(samples, cuts=(), **options):
    talker, frames = Talker(**options), []
    for start, end in pairwise([0, *cuts, len(samples)]):
        talker.push(samples[start:end], RATE_HZ)
        frames += talker.frames()
    return frames + talker.flush()


def test_the_mouth_is_the_same_with_and_without(tiny, spoken):
    lively = frames_of(spoken, model=tiny, head_motion=True)
    bare = frames_of(spoken, model=tiny, idle_motion=False)
    for one, two in zip(lively, bare, strict=True):
        np.testing.assert_array_equal(one.weights[MOUTH], two.weights[MOUTH])
    assert (
        max(np.abs(a.weights - b.weights).max() for a, b in zip(lively, bare, strict=True)) > 0.2
    )


def test_a_talker_is_the_same_for_any_chunks_seeds_and_rates(tiny, spoken):
    options = {"model": tiny, "head_motion": True}
    whole = frames_of(spoken, fps=60, seed=4, **options)
    cut = frames_of(spoken, cuts=range(777, len(spoken), 1234), fps=60, seed=4, **options)
    slow = frames_of(spoken, fps=30, seed=4, **options)
    upper = [i for i in range(52) if i not in MOUTH]
    for one, two in zip(whole, cut, strict=True):
        np.testing.assert_allclose(one.weights, two.weights, atol=1e-5)
        np.testing.assert_allclose(one.head, two.head, atol=1e-5)
    for one, two in zip(whole[::2], slow, strict=True):
        np.testing.assert_allclose(one.weights[upper], two.weights[upper], atol=1e-4)
    other = frames_of(spoken, fps=60, seed=5, **options)
    assert any(np.abs(a.head - b.head).max() > 0.01 for a, b in zip(whole, other, strict=True))


def test_the_head_moves_only_when_asked(tiny, spoken):
    assert all(frame.head is None for frame in frames_of(spoken, model=tiny))
    heads = np.stack([f.head for f in frames_of(spoken, model=tiny, head_motion=True)])
    assert heads.shape[1] == len(HEAD_NAMES) and heads.dtype == np.float32
    assert 0.005 < np.ptp(heads, axis=0).min()
    assert np.abs(heads).max() <= speaking.HEAD_REACH
    swaying = frames_of(spoken, model=tiny, prosody=False, head_motion=True)
    assert np.ptp([frame.head for frame in swaying], axis=0).min() > 0.001
    with pytest.raises(DualtalkerError, match="idle_motion"):
        Talker(tiny, idle_motion=False, head_motion=True)


def believe(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """How far the shipped talker's upper face believes in a voice, at each hop of the model."""
    beliefs = []

    class Watched(SpeakingLife):
        def _watch_mouth(self, heard_s: float, weights: np.ndarray) -> None:
            super()._watch_mouth(heard_s, weights)
            beliefs.append(self._voice)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speaking, "SpeakingLife", Watched)
        talker = Talker(fps=60.0)
        for start in range(0, len(sound), rate_hz // 50):
            talker.push(sound[start : start + rate_hz // 50], rate_hz)
            talker.frames()
        talker.close()
    return np.array(beliefs)


@pytest.mark.parametrize("voice", ["en-us", "de", "fr"])
def test_the_shipped_models_mouth_opens_the_way_for_the_brows(voice: str) -> None:
    """Speeds of the mouth are the model's own: a new one must not leave the brows at rest."""
    pytest.importorskip("espeakng_loader", reason="needs pip install 'dualtalker[speech]'")
    from dualtalker.speech import synthesize

    said = synthesize("Good morning Bob, papa bought a big map of the moon.", voice)
    beliefs = believe(said.samples, said.sample_rate_hz)
    # A made voice moves the mouth faster than most people's do: theirs needs what it has to spare.
    assert np.quantile(beliefs[len(beliefs) // 4 :], 0.05) > 0.95
    doubts = believe(0.05 * make_noise("hiss", 3.0), RATE_HZ)
    assert doubts.max() < 0.4 and np.median(doubts) < 0.1
