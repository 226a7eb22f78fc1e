"""Making a corpus: same seed, same clips; three kinds of recordings; a second run does nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import read_motion_csv
from training.corpus import CorpusConfig, build_corpus
from training.data import (
    CorpusError,
    check_clip,
    load_clips,
    read_captured,
    read_labeled,
    read_unpaired,
    synthesis,
)
from training.data.synthesis import draw_sentence, read_texts

JAW = ARKIT_INDEX["jawOpen"]


def synthetic(out, seconds=8.0, **changes):
    pytest.importorskip("espeakng_loader", reason="needs pip install 'dualtalker[speech]'")
    settings = {"hours": seconds / 3600, "flite": False, "jobs": 1, **changes}
    return CorpusConfig(out=out, **settings)


def write_sound(path, seconds=1.0, rate_hz=22050, channels=1):
    random = np.random.default_rng(0)
    sound = random.uniform(-0.5, 0.5, (int(seconds * rate_hz), channels))
    soundfile.write(path, sound, rate_hz)


# ---- The generator ------------------------------------------------------------------------------


def test_same_seed_same_corpus(tmp_path):
    digests = [build_corpus(synthetic(tmp_path / name))["digest"] for name in "ab"]
    other = build_corpus(synthetic(tmp_path / "c", seed=1))["digest"]
    assert digests[0] == digests[1] != other


def test_synthetic_clips_keep_the_contract(tmp_path):
    config = synthetic(tmp_path, 25, languages=("en-us", "cmn", "de"), holdout=("*-0001",))
    manifest = build_corpus(config)
    clips = load_clips(tmp_path)
    assert manifest["clips"] == len(clips) >= 3
    assert manifest["hours"] * 3600 >= 25
    for clip in clips:
        check_clip(clip)
        assert clip.style == "rules" and clip.transcript
        assert clip.phones[0].start_s == 0 and clip.phones[0].label == "sil"
        assert clip.phones[-1].end_s == pytest.approx(clip.duration_s, abs=1e-4)
        assert clip.motion[:, JAW].max() > 0.15
        assert not clip.motion[0].any() and not clip.motion[-1].any()
        assert (clip.split == "validation") == clip.name.endswith("-0001")


def test_loud_phones_are_where_the_labels_say(tmp_path):
    build_corpus(synthetic(tmp_path, 25, languages=("en-gb", "es", "fr")))
    levels = {"vowel": [], "closure": []}
    for clip in load_clips(tmp_path):
        for phone in clip.phones:
            if phone.end_s - phone.start_s < 0.03:
                continue
            middle = slice(int(16000 * (phone.start_s + 0.01)), int(16000 * (phone.end_s - 0.01)))
            level = float(np.sqrt(np.mean(clip.audio[middle] ** 2)))
            if phone.label in ("AA", "EH", "OW"):
                levels["vowel"].append(level)
            elif phone.label == "PP":
                levels["closure"].append(level)
    assert np.median(levels["vowel"]) > 3 * np.median(levels["closure"])


def test_running_again_does_nothing_and_resuming_gives_the_same(tmp_path):
    config = synthetic(tmp_path)
    first = build_corpus(config)
    shard = tmp_path / "synth-00000.npz"
    written_ns = shard.stat().st_mtime_ns
    assert build_corpus(config) == first
    assert shard.stat().st_mtime_ns == written_ns
    (tmp_path / "synth-00000.plan").unlink()  # as if it had been interrupted
    assert build_corpus(config)["digest"] == first["digest"]
    assert shard.stat().st_mtime_ns > written_ns


def test_a_folder_with_another_corpus_is_refused(tmp_path):
    build_corpus(synthetic(tmp_path))
    (tmp_path / "in").mkdir()
    write_sound(tmp_path / "in" / "a.wav")
    with pytest.raises(CorpusError, match="another corpus"):
        build_corpus(CorpusConfig(out=tmp_path, hours=0, unpaired=(tmp_path / "in",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hours": -1.0}, "hours is -1"),
        ({"hours": 0.0}, "nothing to make"),
        ({"jobs": 0}, "jobs is 0"),
        ({"languages": ("tlh",)}, "tlh"),
        ({"languages": ()}, "languages"),
    ],
)
def test_bad_settings_are_named(tmp_path, changes, message):
    with pytest.raises(CorpusError, match=message):
        build_corpus(CorpusConfig(**{"out": tmp_path, "flite": False, **changes}))


def test_a_missing_flite_names_the_package_and_the_way_without(tmp_path, monkeypatch):
    monkeypatch.setattr(synthesis.shutil, "which", lambda name: None)
    with pytest.raises(CorpusError, match=r"apt-get install flite.*--no-flite"):
        build_corpus(CorpusConfig(out=tmp_path, hours=0.01))


def test_flite_output_becomes_phones(tmp_path, monkeypatch):
    """A stand-in for the program: its real one is optional and not part of the tests."""

    def run(command, **_):
        write_sound(command[-1], 0.9, 8000)
        return subprocess.CompletedProcess(command, 0, "pau:0.2 b:0.3 aa:0.5 b:0.6 pau:0.9 \n", "")

    monkeypatch.setattr(synthesis.subprocess, "run", run)
    part = synthesis.run_flite("Bob", "kal")
    assert len(part.audio) == 14400
    assert [p.label for p in part.phones] == ["sil", "PP", "AA", "PP", "sil"]


def test_sentences_fill_their_templates():
    import random

    for language in ("en", "de", "fr", "es", "it", "cmn", "ja"):
        texts = read_texts(language)
        chance = random.Random(3)
        drawn = {draw_sentence(language, chance) for _ in range(200)}
        assert not any("{" in text or "|" in text for text in drawn)
        assert len(drawn) > 100
        assert len(texts.sentences) >= (150 if language == "en" else 20)
    with pytest.raises(CorpusError, match="no sentences"):
        read_texts("xx")


@pytest.mark.slow
def test_the_command(tmp_path):
    pytest.importorskip("espeakng_loader", reason="needs pip install 'dualtalker[speech]'")
    command = [sys.executable, "-m", "training.corpus", "--out", str(tmp_path / "c")]
    arguments = ["--hours", "0.003", "--no-flite", "--languages", "en-us"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "synthetic:espeak" in done.stdout
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    assert manifest["config"]["hours"] == 0.003
    failed = subprocess.run([*command, "--hours", "0"], capture_output=True, text=True)
    assert failed.returncode == 2 and failed.stderr.startswith("error: nothing to make")


# ---- Recordings with phone labels ---------------------------------------------------------------


def write_labeled(folder, phones, seconds=1.0):
    folder.mkdir(exist_ok=True)
    write_sound(folder / "a.wav", seconds)
    (folder / "a.txt").write_text("Bob\n")
    (folder / "a.phones.json").write_text(json.dumps({"phones": phones}))
    return folder


PHONES = [["SIL", 0, 0.2, "<sil>"], ["B", 0.2, 0.3, "bob"], ["AA1", 0.3, 0.6, "bob"]]


def test_labeled_recordings(tmp_path):
    folder = write_labeled(tmp_path / "reader", PHONES)
    (clip,) = read_labeled(folder, holdout=["a"])
    assert (clip.style, clip.speaker, clip.split) == ("rules", "reader", "validation")
    assert clip.transcript == "Bob"
    assert [p.label for p in clip.phones] == ["sil", "PP", "AA", "sil"]
    assert clip.motion.shape == (50, 52)
    assert clip.motion[12, JAW] < 0.1 < 0.4 < clip.motion[23, JAW]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "expected"),
        ("[1", "expected"),
        ('{"phones": [["B", 0.0]]}', "expected"),
        ('{"phones": [["ZZ", 0, 0.5]]}', "'ZZ'"),
        ('{"phones": [["B", 0, 0.5], ["AA", 0.2, 0.6]]}', "starts before"),
    ],
)
def test_bad_labels_are_named(tmp_path, content, message):
    folder = write_labeled(tmp_path / "reader", PHONES)
    (folder / "a.phones.json").write_text(content)
    with pytest.raises(CorpusError, match=message):
        list(read_labeled(folder))


def test_missing_partners_are_named(tmp_path):
    with pytest.raises(CorpusError, match=r"no \*\.phones\.json"):
        list(read_labeled(tmp_path))
    folder = write_labeled(tmp_path / "reader", PHONES)
    (folder / "a.wav").unlink()
    with pytest.raises(CorpusError, match=r"expected a\.wav"):
        list(read_labeled(folder))


# ---- Captured motion ----------------------------------------------------------------------------


def write_csv(path, columns):
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(names), *(",".join(str(value) for value in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def test_captured_motion_is_resampled_to_the_frame_clock(tmp_path):
    write_sound(tmp_path / "take.wav", 2.0)
    times = np.arange(61) / 30
    wave = 0.5 + 0.4 * np.sin(2 * np.pi * times)
    columns = {"time_s": times, "jawOpen": wave, "jawLeft": np.full(61, 0.01)}
    write_csv(tmp_path / "take_arkit30.csv", columns)
    (clip,) = read_captured(tmp_path)
    assert clip.name == "take" and clip.style == f"captured:{tmp_path.name}"
    moments = np.arange(len(clip.motion)) / 50
    np.testing.assert_allclose(
        clip.motion[:, JAW], 0.5 + 0.4 * np.sin(2 * np.pi * moments), atol=0.01
    )
    assert list(np.flatnonzero(clip.motion_mask)) == [JAW]  # jawLeft does not move
    assert not clip.motion[:, ARKIT_INDEX["jawLeft"]].any()


def test_a_channel_that_moves_in_one_take_is_evidence_in_all(tmp_path):
    ramp = np.linspace(0, 1, 31)
    for name, channel in (("a", "jawOpen"), ("b", "mouthPucker")):
        write_sound(tmp_path / f"{name}.wav")
        still = {"jawOpen": np.zeros(31), "mouthPucker": np.zeros(31)}
        write_csv(tmp_path / f"{name}.csv", {"time_s": np.arange(31) / 30, **still, channel: ramp})
    first, second = read_captured(tmp_path)
    assert first.motion_mask.sum() == 2
    np.testing.assert_array_equal(first.motion_mask, second.motion_mask)


def test_rounding_channels_are_folded_in(tmp_path):
    columns = {"time_s": [0, 1, 2], "jawOpen": [0, 0, 0], "mouthFunnel": [0, 0.5, 0.9]}
    write_csv(tmp_path / "a.csv", {**columns, "x_mouth_oh_c": [0, 1, 1]})
    _, weights = read_motion_csv(tmp_path / "a.csv")
    np.testing.assert_allclose(weights[:, ARKIT_INDEX["mouthFunnel"]], [0, 0.9, 1.0])
    np.testing.assert_allclose(weights[:, ARKIT_INDEX["mouthPucker"]], [0, 0.5, 0.5])


def test_all_52_names_and_live_link_face_are_understood(tmp_path):
    write_csv(
        tmp_path / "own.csv",
        {"time_s": [0, 0.5], **{n: [k / 60, 0] for k, n in enumerate(ARKIT_NAMES)}},
    )
    _, weights = read_motion_csv(tmp_path / "own.csv")
    np.testing.assert_allclose(weights[0], np.arange(52) / 60)
    live = {
        "Timecode": ["10:00:01:58.500", "10:00:01:59.500", "10:00:02:00.500"],
        "BlendshapeCount": [61] * 3,
        "JawOpen": [0.1, 0.2, 0.3],
        "HeadYaw": [0.0] * 3,
        "LeftEyePitch": [0.0] * 3,
    }
    write_csv(tmp_path / "live.csv", live)
    times_s, weights = read_motion_csv(tmp_path / "live.csv")
    np.testing.assert_allclose(times_s, [0, 1 / 60, 2 / 60], atol=1e-9)
    np.testing.assert_allclose(weights[:, JAW], [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time_s,jawOpen\n0,0\n", "at least two frames"),
        ("time_s,jawOpen\n0,0\n1\n", "line 3 has 1 fields"),
        ("time_s,jawOpen\n0,0\n0,1\n", "does not increase at line 3"),
        ("time_s,jawOpen\n0,zero\n1,1\n", "zero"),
        ("time_s,jawOpen\n0,nan\n1,1\n", "NaN"),
        ("time_s,smirk\n0,0\n1,1\n", "'smirk' is no ARKit name"),
        ("seconds,jawOpen\n0,0\n1,1\n", "first column is 'seconds'"),
        ("Timecode,JawOpen\nnow,0\nthen,1\n", "timecode"),
        ("time_s,jawOpen\n0,0\n9,1\n", "not a pair"),
    ],
)
def test_bad_motion_files_are_named(tmp_path, text, message):
    write_sound(tmp_path / "a.wav")
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DualtalkerError, match=message):
        list(read_captured(tmp_path))


def test_motion_without_sound_is_named(tmp_path):
    write_csv(tmp_path / "a.csv", {"time_s": [0, 1], "jawOpen": [0, 1]})
    with pytest.raises(CorpusError, match=r"expected a\.wav"):
        list(read_captured(tmp_path))


# ---- Sound alone --------------------------------------------------------------------------------


def test_unpaired_sound(tmp_path):
    write_sound(tmp_path / "a.wav", rate_hz=48000, channels=2)
    write_sound(tmp_path / "b.flac", rate_hz=16000)
    (tmp_path / "b.txt").write_text("said")
    first, second = read_unpaired(tmp_path, holdout=["b"])
    assert first.motion is None and not first.motion_mask.any()
    assert len(first.audio) == len(second.audio) == 16000
    assert (first.transcript, second.transcript) == (None, "said")
    assert (first.split, second.split) == ("train", "validation")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="no sound below"):
        list(read_unpaired(tmp_path / "empty"))


def test_recordings_and_speech_go_into_one_corpus(tmp_path):
    folder = write_labeled(tmp_path / "reader", PHONES)
    config = CorpusConfig(
        out=tmp_path / "out",
        hours=0,
        jobs=1,
        recordings=(folder,),
        unpaired=(folder,),
    )
    manifest = build_corpus(config)
    assert set(manifest["sources"]) == {"labeled:reader", "unpaired:reader"}
    assert build_corpus(config) == manifest
    write_labeled(tmp_path / "reader", PHONES[:2])  # other content: made again
    assert build_corpus(config)["digest"] != manifest["digest"]
