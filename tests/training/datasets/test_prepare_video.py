"""Videos of a talking face, all the way to tracks of the lips that a corpus is made of."""

from __future__ import annotations

import json
import sys
from fractions import Fraction

import numpy as np
import pytest
import soundfile

from dualtalker.arkit import ARKIT_NAMES
from filmed_faces import FACE_PX, FULL_OPEN_PX, PixelLandmarker, film
from recorded_files import make_take
from training.data import CorpusError, read_lips
from training.datasets import landmarks
from training.datasets.landmarks import (
    LANDMARK_INDEX,
    MODEL_SHA256,
    MODEL_URL,
    Face,
)
from training.datasets.videos import find_videos
from training.prepare import main

av = pytest.importorskip("av", "14.2", reason="needs pip install 'dualtalker[lips]'")

RATE_HZ = 48000


@pytest.fixture
def finder(monkeypatch, tmp_path):
    """A landmarker that counts pixels, in place of MediaPipe's."""
    finder = PixelLandmarker()
    monkeypatch.setattr(landmarks, "open_landmarker", finder.open)
    (tmp_path / "face.task").write_bytes(b"a model")
    return finder


def run(tmp_path, *options, out="out"):
    folders = [str(tmp_path / name) for name in ("in", out) if name]
    return main(["video", *folders, "--landmarker", str(tmp_path / "face.task"), *options])


def make_speech(duration_s, late_s=0.0, seed=0, fps=25):
    """Openings at the frames, and a voice that follows them, at 48 kHz."""
    opening, samples = make_take(duration_s, late_s, seed, RATE_HZ)
    times_s = np.arange(round(duration_s * fps)) / fps
    return np.interp(times_s, np.arange(len(opening)) / 60, opening), samples


def film_speech(path, duration_s=12.0, late_s=0.0, seed=0, fps=25, **more):
    openings, samples = make_speech(duration_s, late_s, seed, fps)
    film(path, openings, samples, fps, **more)
    return openings


def read_record(tmp_path, talker):
    return json.loads((tmp_path / "out" / talker / "tracks.json").read_text())


# ---- What is written ---------------------------------------------------------------------------


def test_a_video_becomes_a_track_in_the_format_of_lips(finder, tmp_path):
    openings = film_speech(tmp_path / "in" / "anna" / "one.mp4")
    film_speech(tmp_path / "in" / "anna" / "two.mkv", 8.0, seed=1, fps=30)
    (tmp_path / "in" / "anna" / "one.txt").write_text("  some\nwords \n")
    assert run(tmp_path) == 0
    arrays = dict(np.load(tmp_path / "out" / "anna.npz", allow_pickle=False))
    assert {name: array.dtype.name for name, array in arrays.items() if name != "words"} == {
        "clip": arrays["clip"].dtype.name,
        "start": "int32",
        "text": arrays["text"].dtype.name,
        "time_s": "float32",
        "arkit_names": arrays["arkit_names"].dtype.name,
        "weights": "float16",
        "landmark_index": "int16",
        "landmarks": "float16",
        "head": "float32",
        "gap_width": "float32",
    }
    rows = 12 * 25 + 8 * 30
    assert list(arrays["clip"]) == ["anna_one", "anna_two"]
    assert list(arrays["start"]) == [0, 300, rows]
    assert list(arrays["text"]) == ["some words", ""] and list(arrays["words"]) == ["[]", "[]"]
    assert arrays["landmarks"].shape == (rows, 85, 3) and arrays["head"].shape == (rows, 16)
    assert arrays["gap_width"].shape == (rows, 2)
    assert list(arrays["arkit_names"]) == list(ARKIT_NAMES)
    assert list(arrays["landmark_index"]) == list(LANDMARK_INDEX)
    assert arrays["time_s"][:300] == pytest.approx(np.arange(300) / 25, abs=1e-3)
    assert arrays["time_s"][300:] == pytest.approx(np.arange(240) / 30, abs=1e-3)
    truth = np.round(openings * FULL_OPEN_PX) / FACE_PX
    assert arrays["gap_width"][:300, 0] == pytest.approx(truth, abs=0.011)
    sound = soundfile.info(str(tmp_path / "out" / "anna" / "anna_one.ogg"))
    assert (sound.samplerate, sound.channels) == (16000, 1)
    assert sound.frames == pytest.approx(12 * 16000, abs=16)


def test_a_corpus_reads_what_was_written(finder, tmp_path):
    openings = film_speech(tmp_path / "in" / "anna" / "one.mp4")
    assert run(tmp_path) == 0
    (clip,) = read_lips(tmp_path / "out")
    assert clip.speaker == "anna" and clip.duration_s == pytest.approx(12, abs=0.05)
    jaw = clip.motion[::2, ARKIT_NAMES.index("jawOpen")]
    rows = min(len(jaw), len(openings))
    assert np.corrcoef(jaw[:rows], openings[:rows])[0, 1] > 0.97


def test_rows_without_a_face_are_nan(finder, tmp_path):
    openings, samples = make_speech(12.0)
    faces = np.ones(300, int)
    faces[100:110] = 0
    film(tmp_path / "in" / "a.mp4", openings, samples, faces=faces)
    assert run(tmp_path) == 0
    arrays = np.load(tmp_path / "out" / "in.npz")
    for name in ("landmarks", "weights", "head", "gap_width"):
        missing = np.isnan(arrays[name].astype(float)).reshape(300, -1)
        assert missing[100:110].all() and not missing[:100].any() and not missing[110:].any()


def test_the_rate_is_the_video_s_own_even_where_it_varies(finder, tmp_path):
    times_s = np.cumsum(np.random.default_rng(0).choice([0.02, 0.04, 0.1], 400)).round(3)
    times_s -= times_s[0]
    opening, samples = make_take(times_s[-1] + 0.1, rate_hz=RATE_HZ)
    openings = np.interp(times_s, np.arange(len(opening)) / 60, opening)
    film(tmp_path / "in" / "a.mp4", openings, samples, times_s=times_s)
    assert run(tmp_path) == 0
    assert np.load(tmp_path / "out" / "in.npz")["time_s"] == pytest.approx(times_s, abs=2e-3)


def test_talkers_are_the_folders(tmp_path):
    for name in ("a.mp4", "bob/b.mov", "bob/deep/c.mkv", "carl/carl_d.mpg", "bob/.hidden.mp4"):
        path = tmp_path / "eve" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = {(video.talker, video.name) for video in find_videos(tmp_path / "eve", None)}
    assert found == {
        *(("eve", "eve_a"), ("bob", "bob_b"), ("bob", "bob_deep_c"), ("carl", "carl_d"))
    }
    named = {video.talker for video in find_videos(tmp_path / "eve", "me")}
    assert named == {"me", "bob", "carl"}
    (tmp_path / "eve" / "a.mov").touch()
    with pytest.raises(CorpusError, match=r"would both be clip eve_a: rename one"):
        find_videos(tmp_path / "eve", None)


# ---- Picture and sound in step -----------------------------------------------------------------


def make_clap(at_s):
    """Lips that part for one frame at a time, with a click, each 1.2 s."""
    openings = np.zeros(200)
    samples = np.zeros(8 * RATE_HZ, np.float32)
    for time_s in at_s:
        openings[round(25 * time_s)] = 1.0
        start = round(RATE_HZ * time_s)
        samples[start : start + 480] = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(480) / RATE_HZ)
    return openings, samples


def read_claps(tmp_path, name):
    """When lips part, and when it clicks: the first sample at half of the loudest."""
    arrays = np.load(tmp_path / "out" / "in.npz")
    seen_s = arrays["time_s"][arrays["gap_width"][:, 0] > 0.1]
    samples, _ = soundfile.read(tmp_path / "out" / "in" / f"in_{name}.ogg")
    loud = np.flatnonzero(np.abs(samples) > 0.5 * np.abs(samples).max()) / 16000
    return seen_s, loud[np.diff(loud, prepend=-1) > 0.5]


CLAPS_S = (0.4, 1.6, 2.8, 4.0, 5.2, 6.4)


@pytest.fixture
def lenient(monkeypatch):
    """Claps are no speech: whatever the figures are, the clips are written."""
    monkeypatch.setattr("training.datasets.lip_tracks.tell_faults", lambda *_: [])


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".mpg"])
def test_sample_0_is_frame_0_in_each_container(finder, lenient, tmp_path, suffix):
    film(tmp_path / "in" / f"a{suffix}", *make_clap(CLAPS_S))
    assert run(tmp_path) == 0
    seen_s, heard_s = read_claps(tmp_path, "a")
    assert seen_s == pytest.approx(CLAPS_S, abs=1e-3)
    # AAC, Opus and MP2 begin with some milliseconds that players leave out.
    assert heard_s == pytest.approx(CLAPS_S, abs=0.03 if suffix == ".mpg" else 0.008)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("picture_s", [0.52, 1.0])
def test_a_picture_that_begins_later_than_the_sound_takes_its_own(
    finder, lenient, tmp_path, suffix, picture_s
):
    openings, samples = make_clap(CLAPS_S)
    early = np.zeros(round(picture_s * RATE_HZ), np.float32)
    film(
        tmp_path / "in" / f"a{suffix}", openings, np.concatenate([early, samples]),
        first_s=picture_s,
    )  # fmt: skip
    assert run(tmp_path) == 0
    seen_s, heard_s = read_claps(tmp_path, "a")
    assert seen_s == pytest.approx(CLAPS_S, abs=1e-3)
    assert heard_s == pytest.approx(CLAPS_S, abs=0.008)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_sound_that_begins_later_keeps_its_place(finder, lenient, tmp_path, suffix):
    openings, samples = make_clap(CLAPS_S)
    path = tmp_path / "in" / f"a{suffix}"
    film(path, openings, samples[round(0.3 * RATE_HZ) :], sound_s=0.3)
    assert run(tmp_path) == 0
    assert read_claps(tmp_path, "a")[1] == pytest.approx(CLAPS_S, abs=0.008)


def test_an_offset_that_is_given_is_taken_out(finder, lenient, tmp_path):
    film(tmp_path / "in" / "a.mov", *make_clap(CLAPS_S))
    for offset_ms in (130.0, -90.0):
        assert run(tmp_path, "--offset-ms", str(offset_ms)) == 0
        heard_s = read_claps(tmp_path, "a")[1]
        assert heard_s == pytest.approx(np.array(CLAPS_S) - offset_ms / 1000, abs=0.002)


def turn_phone(path):
    """Note in a film's header that it was held upright: a quarter turn clockwise to show it."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    quarter = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 128 << 16, 0, 1 << 30], ">i4")
    content[start : start + 36] = quarter.tobytes()
    path.write_bytes(bytes(content))


def test_pictures_of_a_phone_held_upright_are_turned(tmp_path):
    from training.datasets.videos import read_pictures

    film(tmp_path / "a.mp4", np.ones(10), faces=np.zeros(10, int))
    upright = [picture for _, picture in read_pictures(tmp_path / "a.mp4")]
    turn_phone(tmp_path / "a.mp4")
    turned = [picture for _, picture in read_pictures(tmp_path / "a.mp4")]
    assert turned[0].shape == (160, 128, 3)
    assert turned[0][2:12, -12:-2].max() < 120  # what was top left is top right
    assert np.array_equal(turned[5], np.rot90(upright[5], -1))


def test_pixels_that_are_not_square_are_made_square(tmp_path, monkeypatch):
    from training.datasets import videos

    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        track = file.add_stream("libx264", rate=25)
        track.width, track.height, track.pix_fmt = 90, 64, "yuv420p"
        track.codec_context.sample_aspect_ratio = Fraction(4, 3)
        image = np.zeros((64, 90, 3), np.uint8)
        for _ in range(5):
            file.mux(track.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(track.encode(None))
    assert {p.shape for _, p in videos.read_pictures(tmp_path / "a.mp4")} == {(64, 120, 3)}
    monkeypatch.setattr(videos, "LONGEST_SIDE", 60)
    assert {p.shape for _, p in videos.read_pictures(tmp_path / "a.mp4")} == {(32, 60, 3)}


# ---- What is refused ---------------------------------------------------------------------------


def refuse(tmp_path, capsys):
    """What the table says of the only clip, which is refused."""
    assert run(tmp_path) == 2
    assert not (tmp_path / "out" / "in.npz").exists()
    assert not list((tmp_path / "out" / "in").glob("*.ogg"))
    (line,) = (x for x in capsys.readouterr().out.splitlines() if "refused: " in x)
    ((told,),) = (clip["refused"] for clip in read_record(tmp_path, "in")["clips"].values())
    assert line.endswith(f"refused: {told}")
    return told


@pytest.mark.parametrize("late_s", [0.2, -0.16])
def test_a_sound_out_of_step_is_refused_until_its_offset_is_given(
    finder, tmp_path, capsys, late_s
):
    film_speech(tmp_path / "in" / "a.mp4", late_s=late_s)
    said = refuse(tmp_path, capsys)
    found_ms = float(said.split("the sound is ")[1].split(" ms")[0])
    assert found_ms == pytest.approx(abs(1000 * late_s), abs=25)
    assert ("late" if late_s > 0 else "early") in said and "--offset-ms" in said
    seen = finder.seen
    assert run(tmp_path, "--offset-ms", str(1000 * late_s)) == 0
    assert finder.seen == seen  # the pictures are not looked at again
    figures = read_record(tmp_path, "in")["clips"]["in_a"]
    assert abs(figures["offset_ms"]) < 25 and figures["refused"] == []


def test_short_clips_are_judged_by_all_together(finder, tmp_path, capsys):
    for number in range(12):
        openings, samples = make_speech(3.0, 0.2, number)
        _, another = make_speech(3.0, seed=number + 100)
        film(tmp_path / "in" / f"{number}.mov", openings, samples + 1.2 * another)
    assert run(tmp_path) == 2
    out = capsys.readouterr().out
    assert "by all clips together" in out and "in: 0 of 12 clips are good" in out
    assert run(tmp_path, "--offset-ms", "200") == 0
    assert "in: 12 of 12 clips are good" in capsys.readouterr().out


def test_the_sound_of_another_video_is_refused(finder, tmp_path, capsys):
    openings, _ = make_speech(70.0, seed=0)
    _, samples = make_speech(70.0, seed=5)
    film(tmp_path / "in" / "a.mov", openings, samples)
    assert refuse(tmp_path, capsys) == "lips and sound do not go together"


def test_too_few_faces_and_too_many_are_refused(finder, tmp_path, capsys):
    openings, samples = make_speech(8.0)
    for name, count, said in (("no", 0, "a face in 75% of"), ("two", 2, "two faces in 25% of")):
        faces = np.ones(200, int)
        faces[:50] = count
        film(tmp_path / "in" / "a.mp4", openings, samples, faces=faces)
        assert said in refuse(tmp_path, capsys), name


def test_no_face_at_all_a_still_face_silence_and_a_short_clip_are_refused(
    finder, tmp_path, capsys
):
    openings, samples = make_speech(6.0)
    path = tmp_path / "in" / "a.mp4"
    film(path, openings, samples, faces=np.zeros(150, int))
    assert "a face in 0% of the frames" in refuse(tmp_path, capsys)
    film(path, np.full(150, 0.3), samples)
    assert "the lips hardly move" in refuse(tmp_path, capsys)
    film(path, openings, np.zeros_like(samples))
    assert "the sound is silent" in refuse(tmp_path, capsys)
    film(path, openings[:20], samples[:38400])
    assert "lasts 0.8 s" in refuse(tmp_path, capsys)


def test_a_small_face_and_a_noisy_one_are_refused(finder, tmp_path, capsys):
    openings, samples = make_speech(6.0)
    path = tmp_path / "in" / "a.mp4"
    finder.eyes_px = 20.0
    film(path, openings, samples)
    assert "the face is small: 20 pixels between the eyes" in refuse(tmp_path, capsys)
    finder.eyes_px = 80.0
    noise = np.random.default_rng(0).uniform(0.0, 0.6, 150)
    samples[: 3 * RATE_HZ] = 0.0
    film(path, noise, samples)
    assert "noisy" in refuse(tmp_path, capsys)


def test_a_mouth_that_is_half_covered_is_refused(finder, tmp_path, capsys):
    film_speech(tmp_path / "in" / "a.mp4", 6.0)
    whole = finder.find

    def find(picture, time_s):
        (face,) = whole(picture, time_s)
        points = face.points.copy()
        points[(points[:, 0] < 80) & (points[:, 1] > 70), 1] += 18
        return [Face(points, face.weights, face.head)]

    finder.find = find
    assert "lopsided: half covered" in refuse(tmp_path, capsys)


def test_what_cannot_be_read_is_refused_by_name_and_the_rest_is_written(finder, tmp_path, capsys):
    film_speech(tmp_path / "in" / "good.mp4")
    openings, _ = make_speech(3.0)
    film(tmp_path / "in" / "mute.mp4", openings)
    (tmp_path / "in" / "broken.mp4").write_bytes(b"no video")
    whole = (tmp_path / "in" / "good.mp4").read_bytes()
    (tmp_path / "in" / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    assert run(tmp_path) == 0
    out = capsys.readouterr().out
    told = {name: entry["refused"] for name, entry in read_record(tmp_path, "in")["clips"].items()}
    assert told["in_good"] == [] and "in: 1 of 4 clips are good" in out
    assert "no sound" in told["in_mute"][0] and "no video" in told["in_broken"][0]
    assert "ffmpeg -i cut.mp4" in told["in_cut"][0]
    assert all(f"in_{name}" in out for name in ("mute", "broken", "cut"))
    assert list(np.load(tmp_path / "out" / "in.npz")["clip"]) == ["in_good"]


# ---- Again, and only looking -------------------------------------------------------------------


def test_a_second_run_does_only_what_is_missing(finder, tmp_path, capsys):
    film_speech(tmp_path / "in" / "a.mp4")
    assert run(tmp_path) == 0
    first = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file()}
    seen = finder.seen
    assert run(tmp_path) == 0 and finder.seen == seen
    assert "in: already complete, nothing to do" in capsys.readouterr().out
    assert first == {p: p.stat().st_mtime_ns for p in first}
    film_speech(tmp_path / "in" / "b.mp4", 8.0, seed=3)
    assert run(tmp_path) == 0 and finder.seen == seen + 200
    assert list(np.load(tmp_path / "out" / "in.npz")["clip"]) == ["in_a", "in_b"]
    (tmp_path / "in" / "a.txt").write_text("words")
    (tmp_path / "out" / "in" / "in_b.ogg").unlink()
    assert run(tmp_path) == 0 and finder.seen == seen + 200
    assert np.load(tmp_path / "out" / "in.npz")["text"][0] == "words"
    assert (tmp_path / "out" / "in" / "in_b.ogg").is_file()
    (tmp_path / "out" / "in" / "in_b.npz").write_bytes(b"broken")
    (tmp_path / "out" / "in.npz").unlink()
    assert run(tmp_path) == 0 and finder.seen == seen + 400


def test_a_check_writes_nothing(finder, tmp_path, capsys):
    film_speech(tmp_path / "in" / "a.mp4")
    assert run(tmp_path, "--check", out=None) == 0
    assert run(tmp_path, "--check") == 0 and not (tmp_path / "out").exists()
    assert "in: 1 of 1 clips are good" in capsys.readouterr().out
    assert run(tmp_path, out=None) == 2
    assert "give OUT" in capsys.readouterr().err


def test_tracks_of_another_folder_and_foreign_folders_are_left_alone(finder, tmp_path, capsys):
    film_speech(tmp_path / "in" / "anna" / "a.mp4")
    assert run(tmp_path) == 0
    film_speech(tmp_path / "other" / "anna" / "b.mp4")
    again = ["video", str(tmp_path / "other"), str(tmp_path / "out")]
    assert main([*again, "--landmarker", str(tmp_path / "face.task")]) == 2
    assert "holds videos of" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert run(tmp_path, out="mine") == 2
    assert "was not written by dualtalker" in capsys.readouterr().err


# ---- Without a landmarker -----------------------------------------------------------------------


def test_without_the_model_the_error_says_where_it_is_published(tmp_path, capsys):
    film_speech(tmp_path / "in" / "a.mp4", 2.0)
    assert main(["video", str(tmp_path / "in"), "--check"]) == 2
    assert run(tmp_path) == 2
    for line in capsys.readouterr().err.splitlines():
        assert MODEL_URL in line and MODEL_SHA256 in line and "--landmarker" in line


def test_without_mediapipe_the_extra_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    film_speech(tmp_path / "in" / "a.mp4", 2.0)
    (tmp_path / "face.task").write_bytes(b"a model")
    assert run(tmp_path) == 2
    assert ".[train,lips]" in capsys.readouterr().err
