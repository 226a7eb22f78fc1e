"""`--format livelink` is what the app writes, and importers that we did not write read it."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.errors import MotionError
from dualtalker.evaluation import NOMINAL_RATES_HZ, read_motion_csv
from dualtalker.outputs import write_live_link_csv
from recorded_files import LIVE_LINK_COLUMNS, make_take

# From the first to over a minute, and ends of a second.
COUNTS = (2, 9, 23, 24, 59, 60, 61, 3700)


def make_weights(frames, seed=0):
    weights = np.random.default_rng(seed).random((frames, 52), np.float32)
    weights[:, ::3] *= 1e-4  # small ones are written without exponents, and whole
    weights[0, :3] = 0.0, 1.0, np.nextafter(np.float32(1), np.float32(0))
    return weights


@pytest.mark.parametrize("rate", [int(rate) for rate in NOMINAL_RATES_HZ])
@pytest.mark.parametrize("frames", COUNTS)
def test_what_is_read_back_is_what_was_written(tmp_path, rate, frames):
    weights = make_weights(frames)
    write_live_link_csv(tmp_path / "take.csv", weights, rate)
    times_s, found = read_motion_csv(tmp_path / "take.csv")
    np.testing.assert_array_equal(found.astype(np.float32), weights)
    np.testing.assert_allclose(times_s, np.arange(frames) / rate, rtol=0, atol=1e-9)


def test_rows_are_those_of_the_app(tmp_path):
    head = np.array([[0.1, -0.2, 0.3]] * 70, np.float32)  # pitch, yaw, roll
    weights = np.zeros((70, 52), np.float32)
    weights[:, ARKIT_INDEX["eyeLookOutLeft"]] = weights[:, ARKIT_INDEX["eyeLookInRight"]] = 0.5
    weights[:, ARKIT_INDEX["eyeLookUpLeft"]] = 1.0
    write_live_link_csv(tmp_path / "take.csv", weights, head=head)
    text = (tmp_path / "take.csv").read_text()
    assert "e-" not in text.split("\n", 1)[1]
    rows = list(csv.reader(text.splitlines()))
    assert [name.lower() for name in rows[0]] == [name.lower() for name in LIVE_LINK_COLUMNS]
    assert rows[1][:2] == ["00:00:00:00.000", "61"] and {len(row) for row in rows} == {63}
    assert rows[61][0] == "00:00:01:00.000"
    row = dict(zip(rows[0], rows[1], strict=True))
    assert [float(row[f"Head{name}"]) for name in ("Yaw", "Pitch", "Roll")] == pytest.approx(
        [-0.2, 0.1, 0.3]
    )
    # Both eyes to the left by half of 30 degrees; the left one up.
    assert float(row["LeftEyeYaw"]) == float(row["RightEyeYaw"]) == pytest.approx(np.pi / 12)
    assert float(row["LeftEyePitch"]) == pytest.approx(-np.pi / 6)
    assert float(row["RightEyePitch"]) == float(row["LeftEyeRoll"]) == 0.0


def read_as_maya_does(path):
    """Rules of a public importer for Maya: rows by their timecode, whole frames at 60 Hz."""
    with path.open(newline="") as file:
        names, *rows = csv.reader(file)
    table = {row[0]: row for row in rows}  # a timecode names a row
    assert len(table) == len(rows)
    parts = [[int(float(part)) for part in code.split(":")] for code in table]
    frames = [60 * (second - parts[0][2]) + frame - parts[0][3] for *_, second, frame in parts]
    angles = ("Yaw", "Pitch", "Roll")
    columns = [k for k, n in enumerate(names) if k > 1 and not any(a in n for a in angles)]
    return frames, {names[k]: [float(row[k]) for row in table.values()] for k in columns}


def read_as_blender_does(path):
    """Rules of a public add-on for Blender: a key a row, where the count is not 0."""
    with path.open() as file:
        names, *rows = csv.reader(file, delimiter=",")
    kept = [row for row in rows if row[1] != "0"]
    return [{name: float(row[names.index(name)]) for name in names[2:]} for row in kept]


def test_importers_of_others_read_it(tmp_path):
    weights = make_weights(90)
    write_live_link_csv(tmp_path / "take.csv", weights)
    frames, curves = read_as_maya_does(tmp_path / "take.csv")
    # It takes mouthRollLower and mouthRollUpper, of their names, for angles.
    assert frames == list(range(90)) and len(curves) == 50
    keys = read_as_blender_does(tmp_path / "take.csv")
    for k, name in enumerate(ARKIT_NAMES):
        title = name[0].upper() + name[1:]
        if title in curves:
            np.testing.assert_array_equal(np.float32(curves[title]), weights[:, k])
        np.testing.assert_array_equal(np.float32([key[title] for key in keys]), weights[:, k])


@pytest.mark.parametrize("rate", [29.97, 120.0, 1.0, float("nan")])
def test_rates_that_timecodes_cannot_tell_are_refused(tmp_path, rate):
    with pytest.raises(MotionError, match="expected one of 24, 25, 30, 50, 60"):
        write_live_link_csv(tmp_path / "take.csv", make_weights(3), rate)
    assert not list(tmp_path.iterdir())


def test_the_trainer_takes_it_as_a_take_of_the_app(tmp_path):
    pytest.importorskip("scipy")
    from training.data import load_clips
    from training.prepare import main

    opening, samples = make_take(6.0)
    weights = np.zeros((300, 52), np.float32)  # at the trainer's rate: no value is in between
    weights[:, ARKIT_INDEX["jawOpen"]] = opening[:300]
    weights[:, ARKIT_INDEX["mouthLeft"]] = opening[300::-1][:300]
    (tmp_path / "takes").mkdir()
    write_live_link_csv(tmp_path / "takes" / "speech.csv", weights, 50)
    soundfile.write(tmp_path / "takes" / "speech.wav", samples, 16000)
    arguments = ["arkit", str(tmp_path / "takes"), str(tmp_path / "corpus"), "--offset-ms", "0"]
    assert main(arguments) == 0
    [clip] = load_clips(tmp_path / "corpus")
    kept = np.rint(weights * 65535)  # a corpus keeps 16 bits
    np.testing.assert_array_equal(np.rint(clip.motion * 65535), kept[: len(clip.motion)])
    assert len(clip.motion) >= 298
