"""What the demo draws of a recording: curves, faces, a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from dualtalker.bags import hold_frames
from dualtalker.drawing import (
    pick_moments,
    plot_curves,
    write_contact_sheet,
    write_face_video,
)
from dualtalker.evaluation import write_motion_csv
from dualtalker.files import written_output
from dualtalker.rig.robot_head import build_head
from dualtalker_ros.demo.recording import Recording

SHEET_FACES = 12


def write_pictures(
    folder: Path, recording: Recording, marks: list[tuple[float, str]]
) -> list[Path]:
    """Write CSV, plot, contact sheet and MP4 into `folder`; return their paths.

    `marks` are (time in s, label) of moments worth a picture; without them, the sheet shows
    telling moments all over the speech.
    """
    csv, plot, sheet, video = list_pictures(folder)
    rig = build_head()
    samples, rate_hz = recording.samples, recording.rate_hz
    with written_output(csv) as part:
        write_motion_csv(part, recording.times_s, recording.weights)
    with written_output(plot) as part:
        plot_curves(part, rig, samples, rate_hz, recording.times_s, recording.weights)
    times_s, labels = choose_moments(recording, marks)
    nearest = np.abs(recording.times_s[:, None] - times_s[None]).argmin(axis=0)
    faces = (recording.times_s[nearest], recording.weights[nearest])
    with written_output(sheet) as part:
        write_contact_sheet(part, rig, *faces, labels)
    grid_s = np.arange(int(recording.times_s[-1] * recording.fps) + 1) / recording.fps
    weights = hold_frames(recording.times_s, recording.weights, grid_s, recording.fps)
    bar = tqdm(total=len(weights), desc="video", unit="frame", disable=None)
    with written_output(video) as part, bar:
        write_face_video(part, weights, recording.fps, rig, samples, rate_hz, bar.update)
    return [csv, plot, sheet, video]


def list_pictures(folder: Path) -> list[Path]:
    """Return the paths of CSV, plot, contact sheet and video."""
    return [folder / name for name in ("curves.csv", "curves.png", "faces.png", "face.mp4")]


def choose_moments(
    recording: Recording, marks: list[tuple[float, str]]
) -> tuple[np.ndarray, list[str]]:
    """Return SHEET_FACES moments in order [faces] s, and their labels."""
    if len(marks) >= SHEET_FACES:
        chosen = np.linspace(0, len(marks) - 1, SHEET_FACES).round().astype(int)
        times_s = np.array([marks[i][0] for i in chosen])
        return times_s, [marks[i][1] for i in chosen]
    spoken = (recording.times_s >= 0) & (recording.times_s <= recording.duration_s)
    moments = pick_moments(recording.weights[spoken], SHEET_FACES)
    return recording.times_s[spoken][moments], [""] * len(moments)
