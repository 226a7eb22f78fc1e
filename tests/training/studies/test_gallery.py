"""The gallery of a tiny bundle: which clips and moments it picks, and the whole page."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import Recording
from dualtalker.files import RECORD_NAME
from dualtalker.rig.robot_head import build_head
from tiny_bundle import make_tiny_bundle
from tiny_training import make_clip, make_corpus
from training import gallery
from training.data import load_clips, save_clips
from training.evaluation import measure_speech_level
from training.studies.gallery import (
    NOISE_SNR_DB,
    SLOTS,
    add_noise,
    choose_clips,
    find_gap_errors,
    find_misses,
    find_noise_motion,
    find_noisy_speech_error,
    find_window,
)

HEAD = build_head()
FRAMES = 100


def make_recording(**fields: object) -> Recording:
    """Two seconds of hiss."""
    audio = 0.1 * np.random.default_rng(0).standard_normal(2 * 16000).astype(np.float32)
    return Recording("r", audio, 16000, 50.0, FRAMES, **fields)  # type: ignore[arg-type]


def open_jaw(frames: slice | list[int], weight: float = 0.5) -> np.ndarray:
    weights = np.zeros((FRAMES, 52), np.float32)
    weights[frames, ARKIT_INDEX["jawOpen"]] = weight
    return weights


def test_clips_are_held_out_where_possible_and_shown_once(tmp_path: Path) -> None:
    held = {"split": "validation"}
    clips = [
        make_clip("cap", 0, style="captured:one", source="captured:one"),
        make_clip("cap_held", 1, style="captured:one", source="captured:one", **held),
        make_clip("new_a", 2, source="labeled:vctk", speaker="ann", **held),
        make_clip("new_b", 3, source="labeled:vctk", speaker="ann", **held),
        make_clip("known", 4, source="labeled:vctk", speaker="bob", **held),
        make_clip("lj", 5, source="labeled:ljspeech", speaker="bob"),
        make_clip("en", 6, source="synthetic:espeak", speaker="espeak:en-gb+m1", **held),
        make_clip("de", 7, source="synthetic:espeak", speaker="espeak:de+m1", **held),
    ]
    save_clips(tmp_path / "clips", clips)
    chosen = choose_clips([tmp_path / "clips"], {"bob"})
    names = {key: clip.name for key, clip in chosen.items()}
    assert names == {
        "captured": "cap_held",
        "unseen": "new_a",
        "noise": "new_b",
        "ljspeech": "lj",
        "synthetic": "de",
    }


def test_largest_gap_error_is_found_and_told_once_a_second() -> None:
    truth = open_jaw([30, 31, 90])
    motion = open_jaw(slice(60, 62), 0.2)
    captured = make_recording(reference=truth, captured=True)
    ruled = make_recording(reference=open_jaw(slice(0, 99), 1.0))
    first, second = find_gap_errors([ruled, captured], [open_jaw([]), motion], HEAD)
    assert (first.frame, second.frame) == (30, 90)
    assert "too closed" in first.text and list(first.tracks) == ["capture", "model"]
    assert find_gap_errors([captured], [truth], HEAD)[0].text.count("by 0.0 mm") == 1


@pytest.mark.parametrize("sound", ["PP", "FF"])
def test_misses_are_those_that_the_evaluation_counts(sound: str) -> None:
    phones = ((sound, 0.4, 0.5), ("AA", 0.5, 0.9), (sound, 1.2, 1.3), (sound, 1.6, 1.7))
    motion = open_jaw(slice(0, 100))
    motion[20:25] = 0.0  # the first is met
    motion[60:65] *= 0.5  # the second comes nearer than the third
    ours, made = make_recording(phones=phones), make_recording(phones=phones, group="synthetic")
    worst, missed, total = find_misses(sound, [ours, made], [motion, motion], HEAD)
    assert (missed, total) == (2, 3)
    assert [round(f.frame / 50, 1) for f in worst] == [1.6, 1.2]
    assert worst[0].limit_mm is not None and worst[0].curves["model"].max() > worst[0].limit_mm


def test_noise_failure_is_the_widest_mouth_after_settling() -> None:
    def animate(audio: np.ndarray, frames: int, style: str) -> np.ndarray:
        weights = np.zeros((frames, 52), np.float32)
        weights[[2, 70], ARKIT_INDEX["jawOpen"]] = [0.9, 0.4]
        return weights

    talking = open_jaw(slice(0, 100, 4))
    failure, shares = find_noise_motion(animate, [make_recording()], [talking], HEAD, "")
    assert failure.frame == 70 and failure.tracks["wanted"].max() == 0.0
    assert set(shares) == {"fan", "music", "door", "motor"} and max(shares.values()) < 1.0


def test_noise_is_as_far_below_the_speech_as_told() -> None:
    recording = make_recording()
    noise = add_noise(recording).audio - recording.audio
    everywhere = np.ones(FRAMES, bool)
    speech = measure_speech_level(recording.audio, everywhere)
    assert 20 * np.log10(speech / measure_speech_level(noise, everywhere)) == pytest.approx(
        NOISE_SNR_DB, abs=0.2
    )
    failure = find_noisy_speech_error(recording, open_jaw([]), open_jaw([40]), HEAD)
    assert failure.frame == 40


def test_window_holds_the_speech() -> None:
    audio = np.zeros(20 * 16000, np.float32)
    audio[9 * 16000 : 15 * 16000] = 0.1
    first, last = find_window(Recording("r", audio, 16000, 50.0, 1000))
    assert first <= 450 and last >= 750 and last - first == 400
    assert find_window(make_recording()) == (0, FRAMES)


def test_page_is_whole_and_its_pictures_small_and_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = load_clips(make_corpus(tmp_path / "made"), "validation")
    clips[1].source = "labeled:ljspeech"
    save_clips(tmp_path / "clips", clips)
    model, page = make_tiny_bundle(tmp_path), tmp_path / "docs" / "page.md"
    arguments = ["--model", str(model), "--corpus", str(tmp_path / "clips"), "--out", str(page)]
    monkeypatch.setattr(sys, "argv", ["training.gallery", *arguments])
    stale = tmp_path / "docs" / "images" / "page" / "failure_pbm_9.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    other = stale.with_name("failure_of_mine.png")
    other.write_bytes(b"")
    page.write_text("# Thesis\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="is no page of this command"):
        gallery.main()
    page.write_text(f"# Gallery\n\n![old](images/page/{stale.name})\n", encoding="utf-8")
    gallery.main()
    other.unlink()  # which no page showed
    files = sorted(set(stale.parent.iterdir()) - {stale.with_name(RECORD_NAME)})
    assert f"{len(files)} pictures" in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    linked = re.findall(r"\]\(images/page/(.*?)\)", text)
    assert sorted(linked) == [file.name for file in files] and not stale.exists()
    assert {"captured_faces.png", "captured_curves.png", "failure_gap_1.png"} <= set(linked)
    assert max(file.stat().st_size for file in files) < 120_000
    assert all(f"## {slot.title}" in text for slot in SLOTS)
    assert "No such recording" in text and "license not known" in text
    assert str(tmp_path) not in text
    before = {file: file.read_bytes() for file in files if file.name.startswith("captured")}
    config = gallery.GalleryConfig(model, (tmp_path / "clips",), page)
    gallery.Gallery(config).show_clip(SLOTS[0])
    assert len(before) == 2 and all(file.read_bytes() == old for file, old in before.items())


def test_corpus_without_a_fitting_clip_says_so(tmp_path: Path) -> None:
    save_clips(tmp_path / "clips", [make_clip("a", 0)])
    config = gallery.GalleryConfig(make_tiny_bundle(tmp_path), (tmp_path / "clips",))
    with pytest.raises(DualtalkerError, match=r"python -m training\.corpus"):
        gallery.Gallery(config)
