"""Landmarks of the face in a video, by MediaPipe's FaceLandmarker, and what is kept of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.files import check_file
from training.data import CorpusError
from training.datasets.videos import read_pictures

MODEL_URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task"
)
MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
_ABSENT = (
    f"download it from {MODEL_URL} (SHA-256 {MODEL_SHA256}) and give it with --landmarker PATH"
)
_MAX_MODEL_BYTES = 1 << 26
_OTHER_FACE = 0.5  # of the nearest one's size: smaller ones stand in the background

MESH_POINTS = 478  # of MediaPipe's face mesh, which numbers the landmarks
# Rings: from the mouth's right corner along the lower lip to the left one, back along the upper.
OUTER_LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375),
    *(291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
)
INNER_LIPS = (
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324),
    *(308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
)
# What is kept: lips, nose, eyes, the outline of the lower face, cheeks, brows.
LANDMARK_INDEX = (
    *OUTER_LIPS,
    *INNER_LIPS,
    *(1, 4, 2, 98, 327, 168, 6),
    *(33, 133, 362, 263, 159, 145, 386, 374),
    *(152, 10, 172, 136, 150, 149, 176, 148, 377, 400, 378, 379, 365, 397, 234, 454),
    *(205, 425, 50, 280),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
)
RIGHT_EYE, LEFT_EYE = 33, 263  # the outer corners
UPPER_LIP, LOWER_LIP = 13, 14  # the middle of their inner edges
RIGHT_CORNER, LEFT_CORNER = 61, 291
FOREHEAD, CHIN = 10, 152
# From the picture's axes (y down, z into it) to those of the head's pose (y up, z out of it).
_TO_POSE = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Face:
    """A face in a picture.

    points: [478, 3], x to the right and y down in pixels, z into the picture in the same unit.
    weights: [52], ARKit's names as the tracker means them. head: [4, 4], from the face's axes to
    those of the camera, in centimeters; x to the right, y up, z to the viewer.
    """

    points: np.ndarray
    weights: np.ndarray
    head: np.ndarray

    @property
    def eye_px(self) -> float:
        """Return how far the outer eye corners are apart, in pixels."""
        return float(np.linalg.norm(self.points[LEFT_EYE] - self.points[RIGHT_EYE]))


@dataclass(frozen=True)
class Track:
    """What was measured of a video; NaN in the rows without a face.

    time_s [rows] since the first frame; landmarks [rows, 85, 3] as `place_upright` gives them;
    weights [rows, 52]; head [rows, 4, 4]; gap_width [rows, 2]; eye_px [rows]; faces [rows], how
    many there are of comparable size.
    """

    time_s: np.ndarray
    landmarks: np.ndarray
    weights: np.ndarray
    head: np.ndarray
    gap_width: np.ndarray
    eye_px: np.ndarray
    faces: np.ndarray

    @property
    def rate_hz(self) -> float:
        """Return the usual number of frames in a second."""
        return 1.0 / float(np.median(np.diff(self.time_s)))

    @property
    def duration_s(self) -> float:
        """Return how long the picture lasts, to the end of its last frame."""
        return float(self.time_s[-1]) + 1.0 / self.rate_hz


class NoLandmarker(CorpusError):
    """MediaPipe is not installed, or its file is missing or another."""


class Landmarker(Protocol):
    """Finds faces in the pictures of one video."""

    def find(self, picture: np.ndarray, time_s: float) -> list[Face]:
        """Return the faces in a picture [height, width, 3] uint8 RGB; times rise."""


def place_upright(face: Face) -> np.ndarray:
    """Return all points [478, 3] with the head's pose taken out.

    The middle between the outer eye corners is at 0, their distance is 1; the axes are those of
    the picture, turned back by the head's rotation.
    """
    turn = _TO_POSE @ face.head[:3, :3].T @ _TO_POSE
    points = face.points @ turn.T
    points = points - (points[RIGHT_EYE] + points[LEFT_EYE]) / 2
    return np.asarray(points / _distance(points, RIGHT_EYE, LEFT_EYE))


def measure_mouth(points: np.ndarray) -> np.ndarray:
    """Return [gap between the inner lips by the face's height, width by the eyes' distance].

    points [478, 3] as `place_upright` returns them; depth, of which a camera knows least, is left
    out.
    """
    gap = _distance(points, UPPER_LIP, LOWER_LIP) / _distance(points, FOREHEAD, CHIN)
    width = _distance(points, RIGHT_CORNER, LEFT_CORNER) / _distance(points, RIGHT_EYE, LEFT_EYE)
    return np.array([gap, width])


def _distance(points: np.ndarray, one: int, other: int) -> float:
    return float(np.linalg.norm(points[one, :2] - points[other, :2]))


def measure_track(path: Path, landmarker: Path, progress: Callable[[], object]) -> Track:
    """Find the face in every frame of a video.

    Raises:
        NoLandmarker: MediaPipe is not installed, or its file is another.
        CorpusError: the video is unreadable, or a single picture.
    """
    rows: list[tuple[Any, ...]] = []
    with open_landmarker(landmarker) as finder:
        for time_s, picture in read_pictures(path):
            rows.append((time_s, *_measure_face(finder.find(picture, time_s))))
            progress()
    if len(rows) < 2:
        raise CorpusError(f"{path}: one picture, expected a video")
    kinds = (np.float64, *[np.float32] * 5, np.int16)
    columns = zip(*rows, strict=True)
    return Track(*(np.array(part, kind) for part, kind in zip(columns, kinds, strict=True)))


def _measure_face(faces: list[Face]) -> tuple[Any, ...]:
    """Return a row of a track, but for its time: of the nearest face."""
    if not faces:
        shapes = ((len(LANDMARK_INDEX), 3), len(ARKIT_NAMES), (4, 4), 2, ())
        return (*(np.full(shape, np.nan) for shape in shapes), 0)
    face = max(faces, key=lambda found: found.eye_px)
    points = place_upright(face)
    large = sum(other.eye_px >= _OTHER_FACE * face.eye_px for other in faces)
    kept = points[list(LANDMARK_INDEX)]
    return kept, face.weights, face.head, measure_mouth(points), face.eye_px, large


# ---- MediaPipe ---------------------------------------------------------------------------------


def check_landmarker(path: Path | None) -> Path:
    """Return the path of the landmarker's file. NoLandmarker, saying where to get it, without."""
    if path is None:
        raise NoLandmarker(f"MediaPipe's face landmarker is needed: {_ABSENT}")
    check_file(path, NoLandmarker, f"MediaPipe's face landmarker: {_ABSENT}", _MAX_MODEL_BYTES)
    return path


@contextlib.contextmanager
def open_landmarker(path: Path) -> Iterator[Landmarker]:
    """Open MediaPipe's FaceLandmarker for the pictures of one video.

    Raises:
        NoLandmarker: MediaPipe is not installed, or the file is not a landmarker.
    """
    mediapipe = _import_mediapipe()
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(path)),
        running_mode=vision.RunningMode.VIDEO,
        # With one face it smooths over time, and what is smoothed lags.
        num_faces=2,
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    try:
        landmarker = vision.FaceLandmarker.create_from_options(options)
    except (RuntimeError, ValueError) as error:
        raise NoLandmarker(f"{path} is no face landmarker ({error}): {_ABSENT}") from error
    with landmarker:
        yield _MediaPipe(mediapipe, landmarker)


def _import_mediapipe() -> Any:
    try:
        import mediapipe
        from mediapipe.tasks.python import vision  # noqa: F401  loads what the system must have
    except ImportError as error:
        raise NoLandmarker(
            f"faces are found by MediaPipe ({error}); install it: pip install -e '.[train,lips]'"
        ) from error
    except OSError as error:
        raise NoLandmarker(
            f"MediaPipe is installed but lacks a library of the system ({error}); on Debian and "
            "Ubuntu: sudo apt-get install libegl1 libgles2 libgl1 libportaudio2"
        ) from error
    return mediapipe


class _MediaPipe:
    def __init__(self, mediapipe: Any, landmarker: Any) -> None:
        self._mediapipe, self._landmarker, self._last_ms = mediapipe, landmarker, -1

    def find(self, picture: np.ndarray, time_s: float) -> list[Face]:
        """Return the faces in a picture."""
        self._last_ms = max(round(1000 * time_s), self._last_ms + 1)  # it wants them to rise
        image = self._mediapipe.Image(self._mediapipe.ImageFormat.SRGB, picture)
        found = self._landmarker.detect_for_video(image, self._last_ms)
        height, width = picture.shape[:2]
        return [
            Face(
                np.array([(p.x * width, p.y * height, p.z * width) for p in points]),
                _order(scores),
                np.asarray(head, np.float64),
            )
            for points, scores, head in zip(
                found.face_landmarks,
                found.face_blendshapes,
                found.facial_transformation_matrixes,
                strict=True,
            )
        ]


def _order(scores: Any) -> np.ndarray:
    """Return the scores of ARKit's shapes [52]; MediaPipe has no tongueOut."""
    weights = np.zeros(len(ARKIT_NAMES))
    for score in scores:
        if (place := ARKIT_INDEX.get(score.category_name)) is not None:
            weights[place] = score.score
    return weights
