"""Videos with a face: which there are, their pictures with times, and the sound in step."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.audio import open_video, read_audio
from dualtalker.errors import AudioError
from dualtalker.files import check_file
from training.data import (
    AUDIO_SUFFIXES,
    SAMPLE_RATE_HZ,
    CorpusError,
    read_sound,
    to_corpus_rate,
)

VIDEO_SUFFIXES = (".mov", ".mp4", ".m4a", ".m4v", ".flv", ".mkv")  # whose sound is taken
FACE_SUFFIXES = (".mov", ".mp4", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg")
# A face is cut out of the whole picture at 256 pixels: larger pictures only cost time.
LONGEST_SIDE = 1920


@dataclass(frozen=True)
class Video:
    """A video to measure. name: of the clip, which begins with the talker's."""

    path: Path
    talker: str
    name: str

    @property
    def text(self) -> str:
        """Return what is said: the content of NAME.txt beside the video, or nothing."""
        path = self.path.with_suffix(".txt")
        if not path.is_file():
            return ""
        check_file(path, CorpusError, "the words that are said", 1 << 20)
        try:
            return " ".join(path.read_text(encoding="utf-8-sig").split())
        except UnicodeDecodeError as error:
            raise CorpusError(f"{path} is no text in UTF-8 ({error}): save it as such") from error


def find_videos(folder: Path, talker: str | None) -> list[Video]:
    """Return the videos below a folder; each subfolder is a talker.

    Those that lie in the folder itself are of `talker`, by default named as the folder.

    Raises:
        CorpusError: there is none, or two would be clips of one name.
    """
    own = _plain(talker or folder.resolve().name)
    videos: dict[str, Video] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in FACE_SUFFIXES or path.name.startswith("."):
            continue
        inside = [_plain(part) for part in path.relative_to(folder).with_suffix("").parts]
        whose = inside.pop(0) if len(inside) > 1 else own
        stem = "_".join(inside)
        name = stem if stem.startswith(f"{whose}_") else f"{whose}_{stem}"
        if name in videos:
            raise CorpusError(
                f"{path} and {videos[name].path} would both be clip {name}: rename one"
            )
        videos[name] = Video(path, whose, name)
    if not videos:
        raise CorpusError(f"no video below {folder}: expected *{', *'.join(FACE_SUFFIXES)}")
    return list(videos.values())


def _plain(name: str) -> str:
    """Return a name that is safe as a file's."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "talker"


# ---- Pictures ----------------------------------------------------------------------------------


def read_pictures(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """Yield each picture with its time: seconds since the first, [height, width, 3] uint8 RGB.

    They are upright as a player shows them, with square pixels, and at most 1920 pixels a side.

    Raises:
        CorpusError: there is no picture, it cannot be decoded, or PyAV is not installed.
    """
    with open_video(path, CorpusError) as opened:
        track = opened.streams.video[0]
        track.thread_type = "AUTO"
        first_s = last_s = None
        for frame in opened.decode(track):
            if frame.time is None or (last_s is not None and frame.time <= last_s):
                continue  # no place on the clock, or none of its own
            first_s, last_s = frame.time if first_s is None else first_s, frame.time
            yield last_s - first_s, _show(frame, track.sample_aspect_ratio)
        if first_s is None:
            raise CorpusError(f"{path}: no picture of it can be decoded")


def _show(frame: Any, aspect: Fraction | None) -> np.ndarray:
    """Return a decoded frame as a player shows it."""
    width, height = frame.width * float(aspect or 1), float(frame.height)
    scale = min(1.0, LONGEST_SIDE / max(width, height))
    size = {"width": max(round(width * scale), 1), "height": max(round(height * scale), 1)}
    picture = frame.to_ndarray(format="rgb24", **size)
    # Counter-clockwise, as phones note how they were held.
    return np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90)))


# ---- Sound -------------------------------------------------------------------------------------


def read_video_sound(path: Path, length: int) -> np.ndarray:
    """Return the sound of a video, float32 [length] at 16 kHz; sample 0 is its first picture.

    What goes on is cut, what ends early is followed by silence.

    Raises:
        AudioError: there is none, or it cannot be decoded.
    """
    samples, rate_hz = read_audio(path)
    late = round(_measure_lead_s(path) * rate_hz)
    samples = samples[late:] if late >= 0 else np.pad(samples, (-late, 0))
    samples = to_corpus_rate(samples, rate_hz)
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def _measure_lead_s(path: Path) -> float:
    """Return how much later the first picture is than the header says, where the sound begins.

    Cut streams begin with pictures that cannot be decoded without those before.
    """
    with open_video(path, AudioError) as opened:
        track = opened.streams.video[0]
        told_s = float((track.start_time or 0) * track.time_base)
        shown = (frame.time for frame in opened.decode(track) if frame.time is not None)
        first_s = next(itertools.islice(shown, 1), told_s)
        return float(first_s - told_s)


def measure_duration_s(path: Path) -> float:
    """Return how long the sound lasts, without decoding it where the header tells."""
    import soundfile

    if path.suffix.lower() in AUDIO_SUFFIXES:
        check_file(path, AudioError, "a recording")
        try:
            return float(soundfile.info(str(path)).duration)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise AudioError(f"{path}: not readable as sound ({error}): copy it again") from error
    return len(read_sound(path)) / SAMPLE_RATE_HZ
