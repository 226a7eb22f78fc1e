"""Live Link Face takes and other ARKit recordings, all the way to clips in step."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import soundfile

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.errors import AudioError
from dualtalker.evaluation.motion_files import parse_timecodes
from recorded_files import (
    LIVE_LINK_COLUMNS,
    make_take,
    write_live_link,
    write_mov,
)
from training.data import load_clips, read_index, read_sound
from training.datasets.live_link import describe_timing, estimate_offset
from training.prepare import main

JAW = ARKIT_INDEX["jawOpen"]


def run(folder, out, *options):
    return main(["arkit", str(folder), str(out), *options])


def write_take(folder, name="MySlate_1_iPhone", late_s=0.0, seed=0, duration_s=6.0, **more):
    opening, samples = make_take(duration_s, late_s, seed)
    write_live_link(folder / f"{name}.csv", opening, **more)
    soundfile.write(folder / f"{name}.wav", samples, 16000, subtype="PCM_16")
    return opening, samples


# ---- Timecodes ---------------------------------------------------------------------------------


def test_the_app_writes_61_values_a_row():
    assert len(LIVE_LINK_COLUMNS) == 2 + 61
    names = {name[0].lower() + name[1:] for name in LIVE_LINK_COLUMNS[2:54]}
    assert names == set(ARKIT_NAMES)


@pytest.mark.parametrize("rate_hz", [24, 25, 30, 50, 60])
def test_timecodes_become_seconds_at_any_rate_and_over_midnight(rate_hz):
    frames = 24 * 3600 * rate_hz - 2 * rate_hz + np.arange(4 * rate_hz)
    codes = []
    for frame in frames:
        second = frame // rate_hz % 86400
        codes.append(
            f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}:"
            f"{frame % rate_hz:02d}.500"
        )
    times_s = parse_timecodes(codes)
    assert np.allclose(times_s, np.arange(4 * rate_hz) / rate_hz, atol=1e-9)


@pytest.mark.parametrize("code", ["1.25", "10:00:00", "10:00:xx:01", "-1:00:00:01", "1:2:3:75"])
def test_what_is_no_timecode_is_refused(code):
    with pytest.raises(ValueError, match=r".+"):
        parse_timecodes([code, code])


def test_a_take_at_59_94_hz_is_told_and_lasts_as_long_as_its_sound(tmp_path, capsys):
    duration_s = 240.0
    opening, samples = make_take(duration_s)
    frames = round(duration_s * 60 / 1.001)  # as many come in 240 s
    places_s = np.arange(frames) * 1.001 / 60
    opening = np.interp(places_s, np.arange(len(opening)) / 60, opening)
    write_live_link(tmp_path / "in" / "a.csv", opening)
    soundfile.write(tmp_path / "in" / "a.wav", samples, 16000, subtype="PCM_16")
    assert run(tmp_path / "in", tmp_path / "out", "--check") == 0
    told = capsys.readouterr().out
    assert "timecode at 60 frames a second (assumed)" in told
    assert "give --timecode-rate-hz 59.94" in told
    assert run(tmp_path / "in", tmp_path / "out", "--check", "--timecode-rate-hz", "59.94") == 0
    told = capsys.readouterr().out
    assert "0 dropped" in told and "timecode at 59.94 frames a second (as given)" in told
    assert "--timecode-rate-hz" not in told


def test_dropped_frames_are_counted():
    timing = describe_timing(np.delete(np.arange(100) / 60, [10, 11, 50]))
    assert timing.dropped == 3 and timing.rate_hz == pytest.approx(60)
    assert timing.longest_gap_s == pytest.approx(3 / 60)


# ---- The offset --------------------------------------------------------------------------------


@pytest.mark.parametrize("late_ms", [-320, -90, 0, 70, 250, 400])
def test_the_offset_is_found(late_ms):
    opening, samples = make_take(8.0, late_ms / 1000, seed=4)
    weights = np.zeros((len(opening), 52))
    weights[:, JAW] = opening
    offset = estimate_offset(samples, np.arange(len(opening)) / 60, weights)
    assert offset.confident and offset.offset_ms == pytest.approx(late_ms, abs=15)


def test_moving_the_sound_moves_the_estimate():
    opening, samples = make_take(8.0, seed=1)
    weights = np.zeros((len(opening), 52))
    weights[:, JAW] = opening
    times_s = np.arange(len(opening)) / 60
    first = estimate_offset(samples, times_s, weights)
    later = estimate_offset(
        np.concatenate([np.zeros(1600, np.float32), samples]), times_s, weights
    )
    assert later.offset_ms - first.offset_ms == pytest.approx(100, abs=3)


def test_unrelated_or_still_or_short_recordings_are_not_believed():
    opening, _ = make_take(8.0, seed=1)
    weights = np.zeros((len(opening), 52))
    times_s = np.arange(len(opening)) / 60
    for seed in range(2, 8):
        weights[:, JAW] = opening
        _, other = make_take(8.0, seed=seed)
        assert not estimate_offset(other, times_s, weights).confident
    noise = np.random.default_rng(0).normal(0, 0.1, 8 * 16000).clip(-1, 1).astype(np.float32)
    assert not estimate_offset(noise, times_s, weights).confident
    assert not estimate_offset(noise, times_s, np.zeros_like(weights)).confident
    assert not estimate_offset(np.zeros_like(noise), times_s, weights).confident
    assert not estimate_offset(noise[:16000], times_s[:60], weights[:60]).confident


# ---- The whole road ----------------------------------------------------------------------------


def test_a_take_with_a_wav(tmp_path, capsys):
    opening, _ = write_take(tmp_path / "ada", drop=(100, 101, 200))
    assert run(tmp_path, tmp_path / "out", "--holdout", "MySlate*") == 0
    report = capsys.readouterr().out
    assert "60.0 frames a second, 3 dropped, longest gap 50 ms" in report
    assert re.search(r"sound [+-]\d+ ms \(r 0\.\d+, confidence \d+\.\d\), not moved", report)
    (clip,) = load_clips(tmp_path / "out")
    assert (clip.name, clip.style, clip.speaker) == ("MySlate_1_iPhone", "captured:ada", "ada")
    assert clip.split == "validation" and clip.motion is not None
    assert np.flatnonzero(clip.motion_mask).tolist() == [ARKIT_INDEX["eyeBlinkLeft"], JAW]
    times_s = np.arange(clip.frames) / 50
    expected = np.interp(times_s, np.arange(len(opening)) / 60, opening)
    assert np.abs(clip.motion[:, JAW] - expected).max() < 0.03


def test_a_late_sound_is_put_in_step(tmp_path, capsys):
    opening, _ = write_take(tmp_path / "in", late_s=0.3)
    assert run(tmp_path / "in", tmp_path / "out") == 0
    report = capsys.readouterr().out
    moved = float(re.search(r"moved ([+-]\d+) ms", report).group(1))
    assert moved == pytest.approx(300, abs=15)
    (clip,) = load_clips(tmp_path / "out")
    told = read_index(tmp_path / "out")["takes"]["MySlate_1_iPhone"]
    assert told["applied_ms"] == pytest.approx(moved, abs=1) and told["dropped_frames"] == 0
    again = estimate_offset(clip.audio, np.arange(clip.frames) / 50, clip.motion)
    assert abs(again.offset_ms) < 15
    start_s = told["applied_ms"] / 1000  # the sound before the first picture is cut off
    times_s = np.arange(clip.frames) / 50 + start_s - told["applied_ms"] / 1000
    expected = np.interp(times_s, np.arange(len(opening)) / 60, opening)
    assert np.abs(clip.motion[:, JAW] - expected).max() < 0.03


def test_an_early_sound_and_an_offset_given_by_hand(tmp_path, capsys):
    write_take(tmp_path / "in", late_s=-0.2)
    assert run(tmp_path / "in", tmp_path / "out") == 0
    (clip,) = load_clips(tmp_path / "out")
    again = estimate_offset(clip.audio, np.arange(clip.frames) / 50, clip.motion)
    assert abs(again.offset_ms) < 15
    assert run(tmp_path / "in", tmp_path / "by_hand", "--offset-ms", "0") == 0
    assert "not moved" in capsys.readouterr().out.splitlines()[-2]
    (untouched,) = load_clips(tmp_path / "by_hand")
    offset = estimate_offset(untouched.audio, np.arange(untouched.frames) / 50, untouched.motion)
    assert offset.offset_ms == pytest.approx(-200, abs=20)


def test_a_take_folder_with_a_movie(tmp_path, capsys):
    folder = tmp_path / "in" / "20240102_MySlate_3"
    opening, samples = make_take(5.0, seed=3)
    write_live_link(folder / "MySlate_3_iPhone.csv", opening * 0.5)
    write_live_link(folder / "MySlate_3_iPhone_cal.csv", opening)
    (folder / "frame_log.csv").write_text("V,0,1,2\n")
    (folder / "take.json").write_text(json.dumps({"slate": "MySlate"}))
    write_mov(folder / "MySlate_3_iPhone.mov", samples)
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert "MySlate_3_iPhone_cal.csv is used" in capsys.readouterr().out
    (clip,) = load_clips(tmp_path / "out")
    assert clip.speaker == "in" and clip.duration_s == pytest.approx(5.0, abs=0.05)
    assert clip.motion[:, JAW].max() == pytest.approx(opening.max(), abs=0.02)
    assert np.abs(clip.audio[:70000] - samples[:70000]).max() < 2e-3


def test_the_csv_of_animate_and_pairs_of_several_speakers(tmp_path):
    for speaker, seed in (("ada", 0), ("bob", 1)):
        folder = tmp_path / "in" / speaker
        folder.mkdir(parents=True)
        opening, samples = make_take(3.0, seed=seed)
        lines = [",".join(("time_s", *ARKIT_NAMES))]
        for row, value in enumerate(opening[::2]):
            weights = np.zeros(52)
            weights[JAW] = value
            lines.append(",".join(f"{number:.6g}" for number in (row / 30, *weights)))
        (folder / "animation.csv").write_text("\n".join(lines))
        soundfile.write(folder / "speech.flac", samples, 16000)  # the only sound there
    assert run(tmp_path / "in", tmp_path / "out", "--holdout", "bob_*") == 0
    clips = load_clips(tmp_path / "out")
    assert [clip.name for clip in clips] == ["ada_speech", "bob_speech"]
    assert [clip.style for clip in clips] == ["captured:ada", "captured:bob"]
    assert [clip.split for clip in clips] == ["train", "validation"]


def test_a_second_run_does_nothing(tmp_path, capsys):
    write_take(tmp_path / "in", duration_s=3.0)
    out = tmp_path / "out"
    assert run(tmp_path / "in", out) == 0
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert run(tmp_path / "in", out) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert run(tmp_path / "in", out, "--offset-ms", "100") == 0
    assert read_index(out)["takes"]["MySlate_1_iPhone"]["applied_ms"] == 100


def test_checking_writes_nothing(tmp_path, capsys):
    write_take(tmp_path / "in", duration_s=3.0)
    assert main(["arkit", str(tmp_path / "in"), "--check"]) == 0
    assert "usable" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [
        "MySlate_1_iPhone.csv",
        "MySlate_1_iPhone.wav",
    ]


def spoil_sound(folder):
    (folder / "MySlate_1_iPhone.wav").unlink()


def spoil_header(folder):
    (folder / "MySlate_1_iPhone.csv").write_text("a,b\n1,2\n1,3\n")


def spoil_row(folder):
    path = folder / "MySlate_1_iPhone.csv"
    path.write_text(path.read_text()[:-300])


def spoil_number(folder):
    path = folder / "MySlate_1_iPhone.csv"
    path.write_text(path.read_text().replace(",-0.25,", ",-0.25,", 1).replace(",0.0,", ",x,", 1))


def spoil_binary(folder):
    (folder / "MySlate_1_iPhone.csv").write_bytes(bytes(range(256)) * 4)


def spoil_wav(folder):
    path = folder / "MySlate_1_iPhone.wav"
    path.write_bytes(path.read_bytes()[:5000])


def spoil_pair(folder):
    soundfile.write(folder / "MySlate_1_iPhone.wav", np.zeros(16000 * 20) + 0.1, 16000)


def spoil_still(folder):
    write_live_link(folder / "MySlate_1_iPhone.csv", np.zeros(180))
    path = folder / "MySlate_1_iPhone.csv"
    blink = LIVE_LINK_COLUMNS.index("EyeBlinkLeft")
    rows = [line.split(",") for line in path.read_text().splitlines()]
    for row in rows[1:]:
        row[blink] = "0"
    path.write_text("\n".join(",".join(row) for row in rows))


def spoil_order(folder):
    path = folder / "MySlate_1_iPhone.csv"
    lines = path.read_text().splitlines()
    lines[20], lines[21] = lines[21], lines[20]
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (spoil_sound, "MySlate_1_iPhone.csv: has no sound beside it"),
        (spoil_header, "MySlate_1_iPhone.csv: first column is 'a'"),
        (spoil_row, r"MySlate_1_iPhone.csv: line \d+ has \d+ fields, the header 63"),
        (spoil_number, "MySlate_1_iPhone.csv: could not convert .* in column"),
        (spoil_binary, "MySlate_1_iPhone.csv: not a readable CSV"),
        (spoil_wav, "MySlate_1_iPhone.wav: truncated"),
        (spoil_pair, "MySlate_1_iPhone.csv: sound lasts 20.00 s, motion .* not a pair"),
        (spoil_still, "MySlate_1_iPhone.csv: nothing moves"),
        (spoil_order, "MySlate_1_iPhone.csv: time does not increase"),
    ],
)
def test_a_bad_take_is_told_and_can_be_left_out(tmp_path, capsys, spoil, told):
    folder = tmp_path / "in"
    write_take(folder / "a", duration_s=3.0)
    write_take(folder / "b", "good", seed=1, duration_s=3.0)
    spoil(folder / "a")
    assert main(["arkit", str(folder), "--check"]) == 2
    report = capsys.readouterr().out
    assert re.search(rf"error +a/{told}", report), report
    assert run(folder, tmp_path / "out", "--skip-bad") == 0
    assert "good" in [clip.name for clip in load_clips(tmp_path / "out")]


def test_nothing_is_listed_where_a_take_is_bad(tmp_path, capsys):
    write_take(tmp_path / "in" / "a", duration_s=3.0)
    spoil_wav(tmp_path / "in" / "a")
    assert run(tmp_path / "in", tmp_path / "out") == 2
    assert "1 errors, nothing written" in capsys.readouterr().out
    assert not (tmp_path / "out" / "index.json").exists()


def test_empty_folders_other_corpora_and_misspelt_names_are_told(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", tmp_path / "out") == 2
    assert "expected NAME.csv with NAME.wav or NAME.mov" in capsys.readouterr().out
    write_take(tmp_path / "in", duration_s=3.0)
    assert run(tmp_path / "in", tmp_path / "out", "--holdout", "Slate*") == 2
    assert "no take fits 'Slate*'" in capsys.readouterr().out
    (tmp_path / "full").mkdir()
    np.savez(tmp_path / "full" / "other.npz", a=1)
    assert run(tmp_path / "in", tmp_path / "full") == 2
    assert "other.npz of other recordings" in capsys.readouterr().err


def test_movies_without_sound_and_broken_ones_are_told(tmp_path):
    import av

    path = tmp_path / "silent.mov"
    with av.open(str(path), "w", format="mov") as container:
        picture = container.add_stream("mpeg4", rate=30)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        image = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux(picture.encode(image))
        container.mux(picture.encode(None))
    with pytest.raises(AudioError, match="the file has no sound"):
        read_sound(path)
    (tmp_path / "broken.mov").write_bytes(path.read_bytes()[:60])
    with pytest.raises(AudioError, match="cannot be read"):
        read_sound(tmp_path / "broken.mov")
