"""Lips measured in video (`training.prepare video`) turned into clips with ARKit weights.

A folder holds TALKER.npz with the tracks of a talker's clips beside TALKER/CLIP.ogg with their
sound; sample 0 is frame 0. What a face tracker calls ARKit weights is not Apple's: its `jawOpen`
is the opening of the lips and many channels never move. So the weights are made of landmarks
here, and only of what a camera in front of a face can tell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, expand
from dualtalker.files import check_file
from training.data.clips import (
    MOTION_RATE_HZ,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    Clip,
    CorpusError,
    check_clip,
    frame_count,
)
from training.data.recordings import is_held_out, read_sound, sample_motion
from training.data.records import ARCHIVE_ERRORS, MAX_MEASURES_BYTES, open_measures
from training.data.words import Pronouncer, snap_contacts

# Face heights that inner lips measured by a tracker are apart while they touch: of a talker's
# labelled /p b m/ 97 % fall below 0.006.
TOUCHING = 0.004
# Lip opening at a talker's 95th percentile, as that many of `jawOpen`: what a captured performer
# does in speech (FACEGOOD's). Trackers' gains and faces differ, a talker's range does not.
USUAL_OPENING = 0.48
# The same for rounding: the 98th percentile of the tracker's `mouthPucker`.
USUAL_PUCKER = 0.5
# Eye distances that the upper lip rises, and widths that the mouth is wider than at rest, at a
# weight of 1: of a grown-up face about 8 mm and a quarter.
UPPER_RISE = 0.09
STRETCH_WIDTH = 0.25
# What the lips of a video show: everything else is left to other recordings.
LIP_MASK = expand({"jawOpen": 1, "mouthPucker": 1, "mouthUpperUp": 1, "mouthStretch": 1}) > 0
_UPPER_LIP, _UNDER_NOSE = 13, 2  # landmarks of MediaPipe's face mesh
_LONGEST_HOLE_S = 0.25


@dataclass(frozen=True)
class LipTrack:
    """What was measured of one clip: rows at `time_s`.

    opening: inner lips apart, face heights `[rows]`.
    width: of the mouth, distances of the outer eye corners `[rows]`.
    rise: of the upper lip toward the nose, eye distances `[rows]`.
    pucker: the tracker's `mouthPucker` `[rows]`.
    """

    name: str
    text: str
    words: list[tuple[str, float, float]]
    time_s: np.ndarray
    opening: np.ndarray
    width: np.ndarray
    rise: np.ndarray
    pucker: np.ndarray


def read_lips(folder: Path, holdout: Sequence[str] = ()) -> Iterator[Clip]:
    """Yield a clip for each track of each TALKER.npz below `folder`.

    Clips in which no face was found for longer than a quarter of a second are left out.

    Raises:
        CorpusError: the folder holds no tracks, or one is not what was written.
    """
    paths = sorted(Path(folder).glob("*.npz"))
    if not paths:
        raise CorpusError(
            f"no TALKER.npz in {folder}: make some with `python -m training.prepare video`"
        )
    with Pronouncer() as pronouncer:
        for path in paths:
            tracks = [t for t in read_tracks(path) if _is_whole(t)]
            gains = measure_gains(tracks)
            for track in tracks:
                audio = read_sound(path.with_suffix("") / f"{track.name}.ogg")
                clip = _make_clip(track, audio, gains, path)
                duration_s = len(clip.audio) / SAMPLE_RATE_HZ
                if track.words:
                    phones = pronouncer.segment(track.words, duration_s)
                    clip.phones = snap_contacts(phones, track.time_s, track.opening, duration_s)
                clip.split = "validation" if is_held_out(track.name, holdout) else "train"
                check_clip(clip)
                yield clip


def read_tracks(path: Path) -> list[LipTrack]:
    """Return the tracks of one talker. Raises CorpusError where a field is missing or unlike."""
    check_file(path, CorpusError, "a file of lip tracks", MAX_MEASURES_BYTES)
    try:
        with open_measures(path) as arrays:
            return _divide_tracks({name: arrays[name] for name in arrays.files})
    except (*ARCHIVE_ERRORS, IndexError, RecursionError) as error:
        raise CorpusError(
            f"{path} is not a file of lip tracks ({error}): make it again with "
            "`python -m training.prepare video`"
        ) from error


def _divide_tracks(arrays: dict[str, np.ndarray]) -> list[LipTrack]:
    place = {int(number): index for index, number in enumerate(arrays["landmark_index"])}
    upright = arrays["landmarks"][:, :, 1].astype(np.float64)
    rise = upright[:, place[_UNDER_NOSE]] - upright[:, place[_UPPER_LIP]]
    pucker = arrays["weights"][:, list(arrays["arkit_names"]).index("mouthPucker")]
    opening, width = arrays["gap_width"].T.astype(np.float64)
    edges = [*(int(row) for row in arrays["start"]), len(arrays["time_s"])]
    tracks = []
    for number, name in enumerate(arrays["clip"]):
        rows = slice(edges[number], edges[number + 1])
        words = [(str(w), float(a), float(b)) for w, a, b in json.loads(arrays["words"][number])]
        spoken = " ".join(word for word, _, _ in words if word not in ("sil", "sp"))
        tracks.append(
            LipTrack(
                str(name),
                str(arrays["text"][number]) or spoken,
                words,
                arrays["time_s"][rows].astype(np.float64),
                opening[rows],
                width[rows],
                rise[rows],
                pucker[rows].astype(np.float64),
            )
        )
    return tracks


def _is_whole(track: LipTrack) -> bool:
    """Tell whether a face was found nearly all the time."""
    found = track.time_s[np.isfinite(track.opening)]
    if len(found) < 2:
        return False
    edges = (track.time_s[0] - _LONGEST_HOLE_S, *found, track.time_s[-1] + _LONGEST_HOLE_S)
    return bool(np.diff(edges).max() <= 2 * _LONGEST_HOLE_S)


@dataclass(frozen=True)
class Gains:
    """How a talker's measures become weights; fitted on all of the talker's clips."""

    opening: float
    pucker: float
    rest_rise: float
    rest_width: float


def measure_gains(tracks: Sequence[LipTrack]) -> Gains:
    """Return a talker's gains from what the lips do over all clips.

    Raises:
        CorpusError: there is no clip, or the lips never part.
    """
    opening = np.concatenate([t.opening for t in tracks] or [np.zeros(0)])
    apart = opening[opening > TOUCHING] - TOUCHING
    if len(apart) < 10:
        raise CorpusError("the lips part in none of the clips: is the face seen from the front?")
    shut = opening <= np.nanquantile(opening, 0.3)
    rise = np.concatenate([t.rise for t in tracks])
    width = np.concatenate([t.width for t in tracks])
    pucker = np.nanquantile(np.concatenate([t.pucker for t in tracks]), 0.98)
    return Gains(
        USUAL_OPENING / float(np.quantile(apart, 0.95)),
        USUAL_PUCKER / max(float(pucker), 0.05),
        float(np.nanmedian(rise[shut])),
        float(np.nanmedian(width[shut])),
    )


def retarget(track: LipTrack, gains: Gains) -> np.ndarray:
    """Return ARKit weights float32 `[rows, 52]` of a track, in the channels of `LIP_MASK`.

    The upper lip takes its own part of the opening, the jaw the rest, so that the lips of a face
    part as far as those that were measured. Ours.
    """
    weights = np.zeros((len(track.time_s), len(ARKIT_NAMES)), np.float32)
    opening = np.maximum(track.opening - TOUCHING, 0.0) * gains.opening
    upper = np.clip((track.rise - gains.rest_rise) / UPPER_RISE, 0.0, 1.0)
    # On a face whose jaw opens 38 mm a raised upper lip gives 8; it never is more than a third.
    upper = np.minimum(upper, opening * 0.33 / 0.21)
    weights[:, ARKIT_INDEX["jawOpen"]] = opening - 0.21 * upper
    weights[:, ARKIT_INDEX["mouthPucker"]] = track.pucker * gains.pucker
    wider = (track.width / gains.rest_width - 1.0) / STRETCH_WIDTH
    weights += expand({"mouthUpperUp": 1}) * upper[:, None]
    weights += expand({"mouthStretch": 1}) * np.maximum(wider, 0.0)[:, None]
    return np.clip(weights, 0.0, 1.0)


def _make_clip(track: LipTrack, audio: np.ndarray, gains: Gains, path: Path) -> Clip:
    found = np.isfinite(track.opening)
    last_s = min(track.time_s[-1], (len(audio) - 1) / SAMPLE_RATE_HZ)
    audio = audio[: (int(last_s * MOTION_RATE_HZ + 1e-6) + 1) * SAMPLES_PER_FRAME]
    frame_times_s = np.arange(frame_count(len(audio))) / MOTION_RATE_HZ
    rows = retarget(track, gains)
    motion = sample_motion(track.time_s[found], rows[found], frame_times_s)
    return Clip(
        name=track.name,
        audio=audio,
        motion=motion,
        motion_mask=LIP_MASK.copy(),
        transcript=track.text or None,
        style=f"captured:{path.stem}",
        speaker=path.stem,
        source=f"captured:{path.parent.name}",
    )
