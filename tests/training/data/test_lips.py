"""Lips measured in video become clips: weights of what was seen, contacts where lips met."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from scipy.stats import pearsonr

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.rig.robot_head import build_head
from training.data import CorpusError, Phone, check_clip, read_lips
from training.data.lips import LIP_MASK, UPPER_RISE, measure_gains, read_tracks, retarget
from training.data.words import snap_contacts

RATE_HZ = 25.0
LANDMARKS = np.array([13, 2, 152])


def write_talker(folder, clips=3, seconds=3.0, words=None, hole=None, **changes):
    """Tracks of a talker who opens and shuts the lips 4 times a second, with their sound."""
    rows = int(seconds * RATE_HZ)
    rng = np.random.default_rng(0)
    time_s = np.tile(np.arange(rows) / RATE_HZ, clips)
    opening = 0.04 * (1 - np.cos(2 * np.pi * 4 * time_s)) * rng.uniform(0.5, 1, len(time_s))
    landmarks = np.zeros((len(time_s), len(LANDMARKS), 3))
    landmarks[:, 0, 1] = 0.30 - 0.3 * opening  # the upper lip rises toward the nose
    weights = np.zeros((len(time_s), 52))
    weights[:, ARKIT_INDEX["mouthPucker"]] = 0.2 * (1 + np.sin(2 * np.pi * time_s))
    width = 0.6 + 0.03 * np.sin(2 * np.pi * 0.7 * time_s)
    if hole:
        opening[hole] = np.nan
    arrays = {
        "clip": np.array([f"clip{k}" for k in range(clips)]),
        "start": np.arange(clips, dtype=np.int32) * rows,
        "text": np.array(["bob"] * clips),
        "words": np.array([json.dumps(words or [])] * clips),
        "time_s": time_s.astype(np.float32),
        "arkit_names": np.array(ARKIT_NAMES),
        "weights": weights.astype(np.float16),
        "landmark_index": LANDMARKS.astype(np.int16),
        "landmarks": landmarks.astype(np.float32),
        "head": np.zeros((len(time_s), 16), np.float16),
        "gap_width": np.stack([opening, width], 1).astype(np.float32),
        **changes,
    }
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / "ann.npz", **arrays)
    (folder / "ann").mkdir(exist_ok=True)
    for k in range(clips):
        sound = rng.uniform(-0.3, 0.3, int(seconds * 16000))
        soundfile.write(folder / "ann" / f"clip{k}.ogg", sound, 16000)
    return folder


def test_a_head_opens_its_lips_as_far_as_those_that_were_seen(tmp_path):
    folder = write_talker(tmp_path / "video")
    tracks = read_tracks(folder / "ann.npz")
    gains = measure_gains(tracks)
    head = build_head()
    for track in tracks:
        weights = retarget(track, gains)
        gap = head.lip_gap(weights)
        assert pearsonr(gap, track.opening).statistic > 0.99
        assert not weights[:, ~LIP_MASK].any()
        assert weights[track.opening < 0.004].max(where=~_other_than_jaw(), initial=0) == 0
        assert weights[:, ARKIT_INDEX["mouthUpperUpLeft"]].max() > 0.02 / UPPER_RISE * 0.3


def _other_than_jaw():
    mask = np.ones((1, 52), bool)
    mask[:, ARKIT_INDEX["jawOpen"]] = False
    return mask


def test_a_faint_talker_moves_as_far_as_a_loud_one(tmp_path):
    loud = write_talker(tmp_path / "loud")
    with np.load(loud / "ann.npz") as arrays:
        opening = np.array(arrays["gap_width"])
    opening[:, 0] = 0.004 + (opening[:, 0] - 0.004) * 0.5
    faint = write_talker(tmp_path / "faint", gap_width=opening)
    jaws = [
        np.concatenate([c.motion[:, ARKIT_INDEX["jawOpen"]] for c in read_lips(folder)])
        for folder in (loud, faint)
    ]
    assert np.quantile(jaws[1], 0.95) == pytest.approx(np.quantile(jaws[0], 0.95), abs=0.06)


def test_clips_tell_what_is_evidence_and_who_speaks(tmp_path):
    clips = list(read_lips(write_talker(tmp_path / "video"), holdout=["clip1"]))
    assert [c.split for c in clips] == ["train", "validation", "train"]
    for clip in clips:
        check_clip(clip)
        assert (clip.speaker, clip.style) == ("ann", "captured:ann")
        assert clip.source == "captured:video"
        assert clip.phones is None and clip.transcript == "bob"
        assert np.array_equal(clip.motion_mask, LIP_MASK)


def test_timed_words_become_phones_whose_contacts_are_where_the_lips_met(tmp_path):
    pytest.importorskip("espeakng_loader", reason="needs pip install 'dualtalker[speech]'")
    words = [["sil", 0.0, 0.4], ["bob", 0.4, 0.9], ["sil", 0.9, 2.9]]
    clip = next(iter(read_lips(write_talker(tmp_path / "video", words=words))))
    assert [p.label for p in clip.phones if p.label != "sil"] == ["PP", "AA", "PP"]
    opened = clip.motion[:, ARKIT_INDEX["jawOpen"]]
    for phone in clip.phones:
        if phone.label == "PP":
            middle = round((phone.start_s + phone.end_s) * 25)
            assert opened[middle] < 0.05


def test_lips_that_never_meet_make_a_weak_bilabial():
    time_s = np.arange(50) / RATE_HZ
    phones = [Phone("sil", 0, 0.5), Phone("PP", 0.5, 0.6), Phone("AA", 0.6, 2.0)]
    apart = snap_contacts(phones, time_s, np.full(50, 0.05), 2.0)
    assert [p.label for p in apart] == ["sil", "BH", "AA"]
    opening = np.full(50, 0.05)
    opening[15:17] = 0.002  # 0.60 and 0.64 s: later than the dictionary said
    met = snap_contacts(phones, time_s, opening, 2.0)
    (contact,) = (p for p in met if p.label == "PP")
    assert 0.55 < contact.start_s < 0.6 < 0.64 < contact.end_s < 0.7
    assert met[0].start_s == 0 and met[-1].end_s == 2.0


def test_a_clip_that_lost_its_face_is_left_out_and_a_short_hole_is_bridged(tmp_path):
    lost = write_talker(tmp_path / "lost", hole=slice(10, 40))
    assert [c.name for c in read_lips(lost)] == ["clip1", "clip2"]
    blink = write_talker(tmp_path / "blink", hole=slice(10, 13))
    clips = list(read_lips(blink))
    assert len(clips) == 3 and all(np.isfinite(c.motion).all() for c in clips)


def test_bad_tracks_are_named(tmp_path):
    with pytest.raises(CorpusError, match=r"training\.prepare video"):
        list(read_lips(tmp_path))
    shut = write_talker(tmp_path / "shut", gap_width=np.zeros((225, 2), np.float32))
    with pytest.raises(CorpusError, match="the lips part in none"):
        list(read_lips(shut))
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "ann.npz").write_bytes(b"junk")
    with pytest.raises(CorpusError, match="not a file of lip tracks"):
        list(read_lips(tmp_path / "junk"))
    short = write_talker(tmp_path / "short", landmark_index=np.zeros(3, np.int16))
    with pytest.raises(CorpusError, match="not a file of lip tracks"):
        list(read_lips(short))
    silent = write_talker(tmp_path / "silent")
    (silent / "ann" / "clip0.ogg").unlink()
    with pytest.raises(Exception, match=r"clip0\.ogg"):
        list(read_lips(silent))
