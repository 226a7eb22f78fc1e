"""Clips keep their promises, and come back from disk as they were."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from training.data import (
    CHANNELS,
    Clip,
    CorpusError,
    Phone,
    check_clip,
    digest_of,
    frame_count,
    iterate_clips,
    load_clips,
    save_clips,
    write_index,
)


def make_clip(name="a", samples=4801, seed=0, paired=True, split="train"):
    random = np.random.default_rng(seed)
    audio = random.uniform(-1, 1, samples).astype(np.float32)
    clip = Clip(name=name, audio=audio, split=split, transcript="Bäcker 爸爸", speaker="s")
    clip.phones = [Phone("sil", 0.0, 0.1), Phone("PP", 0.1, 0.2)]
    if paired:
        shape = (frame_count(samples), CHANNELS)
        clip.motion = random.uniform(0, 1, shape).astype(np.float32)
        clip.motion_mask = random.uniform(0, 1, CHANNELS) > 0.5
        clip.style = "rules"
    return clip


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (320, 1), (321, 2), (16000, 50)])
def test_every_frame_lies_inside_the_sound(samples, frames):
    assert frame_count(samples) == frames
    assert (frames - 1) / 50 < samples / 16000


def test_load_returns_what_was_saved(tmp_path):
    clips = [make_clip(str(k), 4000 + 77 * k, seed=k, paired=k % 3 > 0) for k in range(7)]
    save_clips(tmp_path / "a", clips, clips_per_shard=3)
    loaded = load_clips(tmp_path / "a")
    assert [clip.name for clip in loaded] == [clip.name for clip in clips]
    for before, after in zip(clips, loaded, strict=True):
        check_clip(after)
        np.testing.assert_allclose(after.audio, before.audio, atol=2e-5)
        np.testing.assert_array_equal(after.motion_mask, before.motion_mask)
        assert (after.motion is None) == (before.motion is None)
        if before.motion is not None:
            np.testing.assert_allclose(after.motion, before.motion, atol=1e-5)
        for field in ("phones", "transcript", "style", "speaker", "source", "split"):
            assert getattr(after, field) == getattr(before, field)


def test_saving_again_changes_nothing(tmp_path):
    save_clips(tmp_path / "a", [make_clip("x"), make_clip("y", seed=1)])
    save_clips(tmp_path / "b", load_clips(tmp_path / "a"))
    assert digest_of(tmp_path / "a") == digest_of(tmp_path / "b")


def test_the_digest_knows_text_and_sound(tmp_path):
    save_clips(tmp_path / "a", [make_clip()])
    save_clips(tmp_path / "b", [make_clip(seed=1)])
    save_clips(tmp_path / "c", [dataclasses.replace(make_clip(), transcript="other")])
    assert len({digest_of(tmp_path / name) for name in "abc"}) == 3


def test_iterating_by_split(tmp_path):
    clips = [make_clip("x"), make_clip("y", split="validation")]
    save_clips(tmp_path, clips)
    assert [c.name for c in iterate_clips(tmp_path, split="validation")] == ["y"]
    assert [c.name for c in iterate_clips(tmp_path, split="train")] == ["x"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": np.zeros(0, np.float32)}, "empty"),
        ({"audio": np.full(4801, np.nan, np.float32)}, "NaN"),
        ({"audio": np.full(4801, 1.5, np.float32)}, "leaves"),
        ({"audio": np.zeros((2, 4801), np.float32)}, "float32"),
        ({"motion": np.zeros((3, CHANNELS), np.float32)}, "expected"),
        ({"motion": np.full((16, CHANNELS), 1.2, np.float32)}, "leaves"),
        ({"motion": np.full((16, CHANNELS), np.nan, np.float32)}, "NaN"),
        ({"motion": None}, "no motion"),
        ({"split": "test"}, "split"),
        ({"phones": [Phone("PP", 0.2, 0.1)]}, "phone"),
        ({"phones": [Phone("PP", 0.0, 0.2), Phone("AA", 0.1, 0.3)]}, "phone"),
        ({"phones": [Phone("PP", 0.0, 9.0)]}, "phone"),
    ],
)
def test_broken_clips_are_named(change, message, tmp_path):
    clip = dataclasses.replace(make_clip("broken"), **change)
    with pytest.raises(CorpusError, match=f"'broken'.*{message}"):
        save_clips(tmp_path, [clip])


def test_a_missing_folder_names_the_command(tmp_path):
    with pytest.raises(CorpusError, match=r"python -m training\.corpus --out"):
        load_clips(tmp_path / "nowhere")


def test_a_used_folder_is_refused(tmp_path):
    save_clips(tmp_path, [make_clip()])
    with pytest.raises(CorpusError, match="already holds"):
        save_clips(tmp_path, [make_clip()])


def test_a_lying_index_is_refused(tmp_path):
    save_clips(tmp_path, [make_clip()])
    path = tmp_path / "index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps({**index, "motion_rate_hz": 30}))
    with pytest.raises(CorpusError, match="motion_rate_hz is 30, expected 50"):
        load_clips(tmp_path)
    path.write_text("{")
    with pytest.raises(CorpusError, match="not JSON"):
        load_clips(tmp_path)


def test_a_changed_or_missing_shard_is_noticed(tmp_path):
    save_clips(tmp_path, [make_clip()])
    shard = tmp_path / "shard-00000.npz"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(CorpusError, match="not what"):
        list(iterate_clips(tmp_path))
    shard.unlink()
    with pytest.raises(CorpusError, match="missing"):
        load_clips(tmp_path)


def test_a_shard_without_description_is_refused(tmp_path):
    save_clips(tmp_path, [make_clip()])
    (tmp_path / "shard-00000.json").unlink()
    with pytest.raises(CorpusError, match=r"has no shard-00000\.json"):
        write_index(tmp_path)
