"""A study's folder: what is published, what is kept back, and what cannot be a study."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from dualtalker.cli.main import main
from dualtalker.errors import StudyError
from dualtalker.evaluation import write_motion_csv
from dualtalker.study.contestants import delay, freeze, resample
from dualtalker.study.making import read_consent
from tiny_study import CONSENT, DURATION_S, make_tiny_study, write_inputs

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    names = ("secretfirst", "secretsecond", "secretthird")
    return folder / "study", make_tiny_study(folder, names, ("speechone", "speechtwo", "three"))


def list_words(folder, *more, contestants=("A", "B"), recordings=("one", "two")):
    words = [*(f"{name}={folder / name}" for name in contestants), "--recordings"]
    words += [*(folder / f"{name}.wav" for name in recordings), "-o", folder / "study"]
    return ["study", "make", *map(str, [*words, "--rig", folder / "rig.npz", "--fps", 10, *more])]


def test_what_is_published_tells_nothing_of_contestants(study):
    folder, key = study
    published = [path for path in (folder / "public").rglob("*") if path.is_file()]
    assert {path.name for path in published if path.suffix != ".mp4"} == {
        "index.html", "study.css", "study.js", "plan.js", "collector.js", "icon.svg",
    }  # fmt: skip
    for path in published:
        for secret in ("secret", "speechone", "speechtwo", "three", "shifted", "frozen"):
            assert secret not in path.name and secret.encode() not in path.read_bytes(), path
    assert {f"{name}.mp4" for name in key.videos} == {
        path.name for path in published if path.suffix == ".mp4"
    }
    assert all(re.fullmatch("[0-9a-f]{16}", name) for name in key.videos)
    sizes = {name: video.kind for name, video in key.videos.items()}
    assert sorted(sizes.values()) == ["frozen"] * 2 + ["pair"] * 9 + ["shifted"] * 2


def test_the_page_asks_nobody_else(study):
    folder, _ = study
    for path in (folder / "public").glob("*.*"):
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, no address
        assert not re.search(r"(https?:)?//[a-z]", text), path


def read_video(path):
    with av.open(str(path)) as container:
        pictures = [f.to_ndarray(format="rgb24").astype(int) for f in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    return np.array(pictures), sound


def test_videos_show_the_same_head_with_the_same_sound(study):
    folder, key = study
    read = {
        (video.contestant, video.recording, video.kind): read_video(
            folder / "public" / "videos" / f"{name}.mp4"
        )
        for name, video in key.videos.items()
    }
    first, sound = read["secretfirst", "speechone", "pair"]
    for (_, recording, _), (pictures, heard) in read.items():
        assert pictures.shape == first.shape == (round(DURATION_S * 10), 480, 480, 3)
        if recording == "speechone":
            np.testing.assert_array_equal(heard, sound)
    other, _ = read["secretsecond", "speechone", "pair"]
    late, _ = read["secretfirst", "speechone", "shifted"]
    still, _ = read["secretfirst", "speechone", "frozen"]
    assert np.abs(other - first).max() > 60
    assert np.ptp(still, axis=0).mean() < 0.2 < np.ptp(first, axis=0).mean()
    assert np.abs(late[3:] - first[:-3]).mean() < 0.3 * np.abs(late - first).mean()


def test_checks_pair_the_first_contestant_with_itself(study):
    _, key = study
    checks = [pair for pair in range(len(key.plan.pairs)) if key.kind_of(pair) != "pair"]
    assert checks == list(range(9, 13))
    for check in checks:
        good, bad = (key.videos[name] for name in key.plan.pairs[check])
        assert good.contestant == bad.contestant == "secretfirst" and good.kind == "pair"
        assert good.recording == bad.recording and bad.kind in ("shifted", "frozen")


def test_what_is_there_is_not_rendered_again(tmp_path, capsys):
    write_inputs(tmp_path)
    assert main(list_words(tmp_path)) == 0
    told = capsys.readouterr().out
    assert (
        "does not begin yet" in told and "FILL IN" in (tmp_path / "study/consent.md").read_text()
    )
    videos = tmp_path / "study" / "public" / "videos"
    before = {path.name: path.stat().st_mtime_ns for path in videos.iterdir()}
    assert main(list_words(tmp_path, "--consent", tmp_path / "study/consent.md")) == 2
    assert "FILL IN" in capsys.readouterr().err
    assert main(list_words(tmp_path, "--consent", tmp_path / "consent.md")) == 0
    assert "does not begin" not in capsys.readouterr().out
    assert before == {path.name: path.stat().st_mtime_ns for path in videos.iterdir()}
    assert main(list_words(tmp_path, "--consent", tmp_path / "consent.md", "--seed", 1)) == 0
    assert not before.keys() & {path.name for path in videos.iterdir()}
    (tmp_path / "study" / "answers").mkdir()
    (tmp_path / "study" / "answers" / "1.json").write_text("{}")
    assert main(list_words(tmp_path, "--consent", tmp_path / "consent.md", "--seed", 1)) == 0
    assert main(list_words(tmp_path, "--consent", tmp_path / "consent.md", "--seed", 2)) == 2
    assert "answers to another study" in capsys.readouterr().err


def test_a_model_is_a_contestant(tmp_path, tiny):
    write_inputs(tmp_path, ("B",), ("one",))
    words = list_words(tmp_path, f"C={tiny}", contestants=("B",), recordings=("one",))
    assert main([*words[:3], words[-1], *words[3:-1]]) == 0
    record = json.loads((tmp_path / "study" / "key.json").read_text())
    assert record["contestants"] == ["B", "C"]


def test_what_cannot_be_a_study_is_told(tmp_path, capsys):
    write_inputs(tmp_path)
    (tmp_path / "short").mkdir()
    for name in ("one", "two"):
        write_motion_csv(tmp_path / f"short/{name}.csv", np.arange(3) / 30, np.zeros((3, 52)))
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "one.csv").write_bytes((tmp_path / "A" / "one.csv").read_bytes())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for words, expected in (
        (list_words(tmp_path, contestants=("A",)), "found 1 contestants"),
        (list_words(tmp_path, contestants=("A", "A")), "named twice"),
        (list_words(tmp_path, contestants=("A", "none")), "neither a folder nor"),
        (list_words(tmp_path, contestants=("A", "few")), "has no two.csv (1 of 2"),
        (list_words(tmp_path, contestants=("A", "short")), "0.00 to 0.07 s, expected 0 to 0.50"),
        (list_words(tmp_path, recordings=("one", "gone")), "gone.wav"),
        (list_words(tmp_path, recordings=("one", "one")), "have one name"),
        (list_words(tmp_path, "--trials", 3), "expected 1 to 2"),
        (list_words(tmp_path, "--seed", -1), "expected 0 or more"),
        (list_words(tmp_path, "--consent", tmp_path / "gone.md"), "gone.md: no such file"),
        (list_words(tmp_path, "-o", tmp_path / "full"), "thesis.txt"),
    ):
        assert main(words) == 2
        assert expected in capsys.readouterr().err, words
        assert not (tmp_path / "study" / "key.json").exists()


def test_without_an_encoder_it_is_told_before_anything_is_rendered(tmp_path, monkeypatch):
    write_inputs(tmp_path)
    monkeypatch.setattr(av, "codecs_available", {"aac"})
    with pytest.raises(Exception, match="needs the encoder libx264"):
        make_tiny_study(tmp_path)
    assert not (tmp_path / "study").exists()


def test_consent_is_headings_paragraphs_and_lists(tmp_path):
    path = tmp_path / "consent.md"
    path.write_text(CONSENT + "  going on\n\n<b>plain</b> #1\n")
    assert read_consent(path) == (
        ("h2", "Consent"),
        ("p", "You look at faces. Nothing else"),
        ("li", "one"),
        ("li", "two going on"),
        ("p", "<b>plain</b> #1"),
    )
    for content in (b"", b" \n", b"FILL IN", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(StudyError, match=r"consent.md: "):
            read_consent(path)


def test_motion_is_read_at_the_times_of_frames():
    weights = np.linspace(0, 1, 60)[:, None] * np.ones(52)
    at = resample(np.arange(60) / 60, weights, 40, 30.0)
    np.testing.assert_allclose(at[:30, 0], weights[::2, 0], atol=1e-6)
    assert (at[30:] == 1).all()  # held
    late = delay(at, 0.3, 30.0)
    np.testing.assert_array_equal(late[9:], at[:-9])
    assert (late[:10] == at[0]).all() and len(late) == len(at)
    assert (freeze(at) == at[0]).all()
