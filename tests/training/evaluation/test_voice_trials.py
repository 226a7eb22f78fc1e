"""What contestants of known behavior do in voices as few recordings have them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dualtalker.evaluation import metrics
from dualtalker.rig.robot_head import build_head
from tiny_training import make_clip
from training.data import Clip
from training.evaluation import Training, animate_by_loudness, to_recording, voice_trials, voices
from training.evaluation.voice_trials import make_takes, measure_held_vowels, measure_takes


def by_loudness(audio: np.ndarray, frames: int, style: str) -> np.ndarray:
    return animate_by_loudness(audio, frames, 0.4)


def by_changes(audio: np.ndarray, frames: int, style: str) -> np.ndarray:
    weights = by_loudness(audio, frames, style)
    return np.abs(np.diff(weights, axis=0, prepend=weights[:1]))


def make_speakers() -> list[Clip]:
    return [make_clip(name, seed, 3.0, speaker=name) for seed, name in enumerate("ab")]


def test_a_mouth_that_follows_loudness_stays_open_and_one_that_follows_changes_shuts() -> None:
    held = list(voices.hold_vowels(make_speakers()))
    found = measure_held_vowels(by_loudness, build_head(), held)
    for name in ("held jaw", "sung jaw", "held lip gap", "sung lip gap"):
        assert 0.7 < found[name] <= 1.05
        assert found[f"{name}, low"] <= found[name] <= found[f"{name}, high"]
    assert measure_held_vowels(by_changes, build_head(), held)["held jaw"] < 0.3


def test_voices_are_of_recorded_labelled_speech_alone() -> None:
    captured = [make_clip("c", 0, style="captured:x"), make_clip("n", 1, phones=None)]
    recordings = [to_recording(clip, Training()) for clip in captured]
    made = voice_trials.make_voices(captured, recordings)
    assert made == voice_trials.Voices([], [], [])
    motions = [clip.motion for clip in captured]
    found = voice_trials.measure_voices(
        by_loudness, build_head(), made, captured, recordings, motions
    )
    assert set(found) == {"hall loss"}  # nobody else speaks


def test_manners_are_measured_against_the_contestants_own_full_voice() -> None:
    clips = make_speakers()
    recordings = [to_recording(clip, Training()) for clip in clips]
    truths = [clip.motion for clip in clips]
    takes = make_takes(clips, recordings, [0, 1])
    heard = {take.recording.audio.tobytes(): take for take in takes}

    def unmoved(audio: np.ndarray, frames: int, style: str) -> np.ndarray:
        """What it does in full voice, at whatever time the same is said."""
        take = heard[audio.tobytes()]
        at = np.round(take.times_s * 50).astype(int)
        return truths[take.index][np.minimum(at, len(truths[take.index]) - 1)]

    found = measure_takes(unmoved, build_head(), takes, recordings, truths)
    manners = {take.manner for take in takes}
    assert len(manners) == 6
    for manner in manners:
        assert found[f"{manner} gap r"] > 0.98
        assert found[f"{manner} closures met"] == 1.0
    assert found["whispered gap amplitude"] == pytest.approx(1.0)
    assert found["shouted gap amplitude"] == pytest.approx(1.0, abs=0.03)

    loud = [by_loudness(clip.audio, clip.frames, "rules") for clip in clips]
    led = measure_takes(by_loudness, build_head(), takes, recordings, loud)
    assert led["whispered gap amplitude"] < 0.6
    assert led["in a hall gap r"] < led["in a room gap r"] < led["childlike gap r"]
    still = [np.full((clip.frames, 52), 0.1, np.float32) for clip in clips]
    stiff = measure_takes(
        lambda a, n, style: still[0][:1].repeat(n, 0), build_head(), takes, recordings, still
    )
    assert stiff["shouted gap r"] == 0.0 and "shouted gap amplitude" not in stiff
    assert measure_takes(by_loudness, build_head(), [], [], []) == {}


def test_phones_and_frames_of_a_shout_are_where_they_are_shouted() -> None:
    clip = make_clip("a", 0, 3.0)
    recording = to_recording(clip, Training())
    takes = make_takes([clip], [recording], [0])
    assert "beside a second voice" not in {take.manner for take in takes}
    (shouted,) = [take for take in takes if take.manner == "shouted"]
    assert len(shouted.times_s) == shouted.recording.frames > recording.frames
    assert shouted.times_s[0] == 0.0 and shouted.times_s[-1] <= 3.0
    rates = {"AA": 1.2, "PP": 1.0}
    for (label, start_s, end_s), (_, began_s, ended_s) in zip(
        recording.phones, shouted.recording.phones, strict=True
    ):
        assert ended_s - began_s == pytest.approx(rates[label] * (end_s - start_s))
        middle = round((began_s + ended_s) / 2 * 50)
        assert shouted.times_s[middle] == pytest.approx((start_s + end_s) / 2, abs=0.011)


def test_outbursts_are_where_they_are_said_to_be_and_open_what_opens() -> None:
    clips = make_speakers()
    recordings = [to_recording(clip, Training()) for clip in clips]
    outbursts = voice_trials.make_outbursts(list(voices.hold_vowels(clips)))
    assert [o.speaker for o in outbursts].count("a") <= voice_trials.OUTBURSTS_PER_SPEAKER
    for outburst in outbursts:
        names = [name for name, _ in outburst.spans]
        assert names == ["laughter", "coughs", "coughs", "breath"]
        times_s = np.arange(len(outburst.sound) // 320) / 50
        loudness = metrics.measure_loudness(outburst.sound, 16000, times_s)
        for _, frames in outburst.spans:
            before = loudness[frames.start - 12 : frames.start - 2].mean()
            assert loudness[frames].mean() > 5 * before
    motions = [by_loudness(clip.audio, clip.frames, "rules") for clip in clips]
    head = build_head()
    found = voice_trials.measure_outbursts(by_loudness, head, outbursts, recordings, motions)
    assert found["laughter gap"] > found["breath gap"] > 0.0
    assert found["coughs gap"] > 0.2 and found["laughter shut"] < 0.6

    def reserved(audio: np.ndarray, frames: int, style: str) -> np.ndarray:
        return np.zeros((frames, 52), np.float32)

    shut = voice_trials.measure_outbursts(reserved, head, outbursts, recordings, motions)
    assert shut["laughter gap"] == shut["coughs gap"] == 0.0 and shut["laughter shut"] == 1.0


def test_captured_speech_loses_in_a_hall_and_beside_a_second_voice_what_is_misheard() -> None:
    clip = make_clip("a", 0, 4.0, style="captured:one", speaker="a")
    clip = dataclasses.replace(clip, motion=by_loudness(clip.audio, clip.frames, ""))
    other = make_clip("b", 3, 4.0, speaker="b")
    found = voice_trials.measure_losses(by_loudness, [clip, other])
    assert found["hall loss"] > 0.1 and found["second voice loss"] > 0.0
    sure = voice_trials.measure_losses(lambda a, n, style: clip.motion[:n], [clip, other])
    assert sure == {"hall loss": 0.0, "second voice loss": 0.0}
    assert voice_trials.measure_losses(by_loudness, [other]) == {}
