"""Whether a track of lips can be taught from: figures of each clip, and what refuses one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dualtalker.evaluation import find_speech_frames
from training.data import SAMPLE_RATE_HZ
from training.datasets.landmarks import INNER_LIPS, LANDMARK_INDEX, OUTER_LIPS, Track
from training.datasets.synchrony import Offset, choose_offset, score_lips

# A clip is refused beyond these; docs/datasets.md says what videos measure.
LEAST_FACE = 0.9  # share of frames with a face
MOST_TWO_FACES = 0.05  # share of frames with another face half as large or more
LEAST_EYE_PX = 32.0  # between the outer eye corners
LEAST_GAIN = 0.01  # how far the lips' gap ranges, in heights of the face
MOST_NOISE = 0.15  # of the gap in silence, as a share of its range
MOST_ASYMMETRY = 0.15  # of the mouth's width
MOST_OFFSET_MS = 80.0  # two frames of television
LEAST_DURATION_S = 1.0
# From here on the sound of another recording would be told apart; docs/datasets.md.
_TELLING_S = 60.0
_CONFIDENCE = 2.0
_QUIETEST = 10 ** (-60 / 20)  # a sound that stays below has no speech
_STILL_ROWS = 8  # of silence, from which on its noise can be told

# Of the lips, each point and its mirror image.
_MIRRORED = tuple(
    (ring[index], ring[(10 - index) % 20])
    for ring in (OUTER_LIPS, INNER_LIPS)
    for index in (0, 1, 2, 3, 4, 16, 17, 18, 19)
)


@dataclass(frozen=True)
class Quality:
    """How good a track is; NaN where nothing tells.

    face, two_faces: shares of frames. asymmetry: mean distance of a lip's points from the mirror
    image of the other side, in mouth widths. noise: standard deviation of the gap's frame noise
    in silence, gain: its range, from the 5th to the 95th percentile, in face heights. scores,
    compared_s: of lips and sound, as `score_lips` returns them. loud: whether there is sound.
    """

    duration_s: float
    rate_hz: float
    face: float
    two_faces: float
    eye_px: float
    asymmetry: float
    noise: float
    gain: float
    loud: bool
    scores: np.ndarray
    compared_s: float

    @property
    def offset(self) -> Offset:
        """Return how late the sound is."""
        if not self.compared_s:
            return Offset(0.0, 0.0, 0.0, False)
        return choose_offset(self.scores, self.compared_s, 0.0, _CONFIDENCE)

    def figures(self) -> dict[str, float | None]:
        """Return all figures for a record; None for NaN."""
        names = ("duration_s", "rate_hz", "face", "two_faces", "eye_px", "asymmetry", "noise")
        told = {name: float(getattr(self, name)) for name in (*names, "gain")}
        told |= {"offset_ms": self.offset.offset_ms, "offset_r": self.offset.correlation}
        told |= {"offset_confidence": self.offset.confidence}
        return {k: None if np.isnan(v) else round(v, 5) for k, v in told.items()}


def measure_quality(track: Track, audio: np.ndarray) -> Quality:
    """Return the figures of a track with its sound, float32 [samples] at 16 kHz."""
    found = np.isfinite(track.eye_px)
    figures = {"eye_px": np.nan, "asymmetry": np.nan, "noise": np.nan, "gain": np.nan}
    scores, compared_s = score_lips(audio[:0], np.zeros(1), np.zeros(1))
    loud = float(np.abs(audio).max(initial=0.0)) > _QUIETEST
    if found.sum() >= 2:
        gap = track.gap_width[:, 0].astype(np.float64)
        low, high = np.nanpercentile(gap, [5, 95])
        figures["eye_px"] = float(np.nanmedian(track.eye_px))
        figures["asymmetry"] = _measure_asymmetry(track.landmarks[found].astype(np.float64))
        figures["gain"] = float(high - low)
        if loud:
            figures["noise"] = _measure_noise(track.time_s, gap, audio)
            scores, compared_s = score_lips(audio, track.time_s[found], gap[found])
    return Quality(
        duration_s=track.duration_s,
        rate_hz=track.rate_hz,
        face=float(found.mean()),
        two_faces=float((track.faces > 1).mean()),
        loud=loud,
        scores=scores,
        compared_s=compared_s,
        **figures,
    )


def find_offset(qualities: Sequence[Quality]) -> Offset:
    """Return how late the sound is in clips that were recorded alike, all taken together.

    Those that are refused for what the lips do are left out.
    """
    telling = [quality for quality in qualities if not _tell_lips(quality)]
    if not (compared_s := _count_s(qualities)):
        return Offset(0.0, 0.0, 0.0, False)
    scores = np.sum([quality.scores * quality.compared_s for quality in telling], axis=0)
    return choose_offset(scores / compared_s, compared_s, 0.0, _CONFIDENCE)


def _count_s(qualities: Sequence[Quality]) -> float:
    return sum(quality.compared_s for quality in qualities if not _tell_lips(quality))


def tell_faults(quality: Quality, all_clips: Sequence[Quality]) -> list[str]:
    """Return why a clip cannot be used; nothing where it can.

    all_clips: the talker's; all together stand for those too short to tell their own offset.
    """
    return _tell_lips(quality) or _tell_offset(quality, all_clips)


def _tell_lips(quality: Quality) -> list[str]:
    q = quality
    checks = [
        (q.duration_s < LEAST_DURATION_S, f"lasts {q.duration_s:.1f} s"),
        (q.face < LEAST_FACE, f"a face in {q.face:.0%} of the frames only"),
        (q.two_faces > MOST_TWO_FACES, f"two faces in {q.two_faces:.0%} of the frames"),
        (q.eye_px < LEAST_EYE_PX, f"the face is small: {q.eye_px:.0f} pixels between the eyes"),
        (q.gain < LEAST_GAIN, "the lips hardly move: a still picture, or nobody speaks"),
        (
            q.gain >= LEAST_GAIN and q.noise > MOST_NOISE * q.gain,
            "noisy: the lips tremble in silence",
        ),
        (
            q.asymmetry > MOST_ASYMMETRY,
            "the mouth is lopsided: half covered, or far from the front",
        ),
        (not q.loud, "the sound is silent"),
    ]
    return [words for wrong, words in checks if wrong]


def _tell_offset(quality: Quality, all_clips: Sequence[Quality]) -> list[str]:
    offset, seconds, whose = quality.offset, quality.compared_s, ""
    if not offset.confident and seconds < _TELLING_S:
        offset, seconds = find_offset(all_clips), _count_s(all_clips)
        whose = ", by all clips together"
    if offset.confident and abs(offset.offset_ms) > MOST_OFFSET_MS:
        late = f"{abs(offset.offset_ms):.0f} ms {'late' if offset.offset_ms > 0 else 'early'}"
        return [f"the sound is {late}{whose}: where that is so, give --offset-ms"]
    if not offset.confident and seconds >= _TELLING_S:
        return [f"lips and sound do not go together{whose}"]
    return []


def describe_offset(all_clips: Sequence[Quality]) -> str:
    """Return a line on how late the sound is in a talker's clips together."""
    offset, seconds = find_offset(all_clips), _count_s(all_clips)
    believed = "" if offset.confident else ", too little to be sure"
    return (
        f"sound {offset.offset_ms:+.0f} ms against the lips over {seconds:.0f} s (r "
        f"{offset.correlation:.2f}, confidence {offset.confidence:.1f}{believed})"
    )


def head_table() -> str:
    """Return the head of the table of `describe_clip`."""
    return (
        f"{'clip':24s} {'s':>6s} {'fps':>5s} {'face':>5s} {'eyes px':>7s} {'sound ms':>8s} "
        f"{'r':>5s} {'asym.':>6s} {'noise':>6s} {'range':>6s}"
    )


def describe_clip(name: str, quality: Quality, faults: Sequence[str]) -> str:
    """Return a clip's line of the table. Where the offset is not to be believed it has a "?"."""
    q, offset = quality, quality.offset
    late = f"{offset.offset_ms:+.0f}{'' if offset.confident else '?'}" if q.compared_s else "-"
    shares = (q.asymmetry, q.noise / q.gain if q.gain > 0 else np.nan, q.gain)
    told = " ".join(f"{'-':>6s}" if np.isnan(share) else f"{share:6.1%}" for share in shares)
    verdict = f"refused: {'; '.join(faults)}" if faults else "good"
    return (
        f"{name:24s} {q.duration_s:6.1f} {q.rate_hz:5.1f} {q.face:5.0%} {q.eye_px:7.0f} "
        f"{late:>8s} {offset.correlation:5.2f} {told} {verdict}"
    )


def _measure_asymmetry(landmarks: np.ndarray) -> float:
    places = [[LANDMARK_INDEX.index(number) for number in pair] for pair in _MIRRORED]
    ours, theirs = (landmarks[:, side, :2] for side in np.transpose(places))
    middle = (ours[..., 0] + theirs[..., 0]).mean(axis=1, keepdims=True) / 2
    sideways = np.abs(ours[..., 0] + theirs[..., 0] - 2 * middle)
    upright = np.abs(ours[..., 1] - theirs[..., 1])
    width = np.linalg.norm(ours[:, 0] - theirs[:, 0], axis=1)
    return float(np.median((sideways + upright).mean(axis=1) / width))


def _measure_noise(time_s: np.ndarray, gap: np.ndarray, audio: np.ndarray) -> float:
    """Return the standard deviation of frame noise, from the third difference in silence.

    That of white noise has 20 times its variance, and what moves slowly has none.
    """
    quiet = ~find_speech_frames(audio, SAMPLE_RATE_HZ, time_s)
    third = np.diff(gap, 3)
    still = np.array([quiet[row : row + 4].all() for row in range(len(third))], bool)
    third = third[still & np.isfinite(third)] if len(third) else third
    if len(third) < _STILL_ROWS:
        return float("nan")
    return float(np.sqrt((third**2).mean() / 20.0))
