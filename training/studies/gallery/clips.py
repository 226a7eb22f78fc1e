"""Which recordings the gallery shows, and which part of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.evaluation import Recording, find_recorded_speech
from training.data import Clip, iterate_clips
from training.evaluation import make_noise_at, measure_speech_level
from training.studies.gallery.failures import NOISE_SNR_DB

SHOWN_S = 8.0  # of each recording; more cannot be read in one plot
NOISE = "music"


@dataclass(frozen=True)
class Slot:
    """One place of the gallery. `fits` takes a clip and the speakers who are trained on."""

    key: str
    title: str
    fits: Callable[[Clip, set[str]], bool]


def _is_labeled(clip: Clip, known: set[str]) -> bool:
    return clip.source.startswith("labeled:") and clip.speaker not in known


def _is_foreign_synthetic(clip: Clip, known: set[str]) -> bool:
    voice = clip.speaker.partition(":")[2]  # "espeak:de+m7"; flite's voices are all English
    return clip.source == "synthetic:espeak" and not voice.startswith("en")


def _shows_mouth(clip: Clip, _: set[str]) -> bool:
    return clip.style.startswith("captured") and not _shows_lips(clip, _)


def _shows_lips(clip: Clip, _: set[str]) -> bool:
    """Tell whether the motion is of a video, whose trackers see no funnel."""
    seen = clip.motion_mask[ARKIT_INDEX["jawOpen"]], clip.motion_mask[ARKIT_INDEX["mouthFunnel"]]
    return clip.style.startswith("captured") and seen == (True, False)


SLOTS = (
    Slot("captured", "Captured motion", _shows_mouth),
    Slot("lips", "Lips in a video, a talker not trained on", _shows_lips),
    Slot("unseen", "English, a speaker not trained on", _is_labeled),
    Slot("librivox", "LibriVox", lambda clip, _: clip.source == "labeled:librivox"),
    Slot("ljspeech", "LJ Speech", lambda clip, _: clip.source == "labeled:ljspeech"),
    Slot("synthetic", "A synthetic voice, not English", _is_foreign_synthetic),
    Slot("noise", f"English with {NOISE}, {NOISE_SNR_DB:g} dB below the speech", _is_labeled),
)


def choose_clips(folders: Sequence[Path], known: set[str]) -> dict[str, Clip]:
    """The clip of each slot by key: held out if possible, best the longest of up to `SHOWN_S`.

    `known` are the speakers of the training split. A slot that no clip fits is absent.
    """

    def rank(clip: Clip) -> tuple[bool, float, str]:
        return clip.duration_s > SHOWN_S, -min(clip.duration_s, SHOWN_S), clip.name

    chosen: dict[str, Clip] = {}
    for split in ("validation", "train"):
        best: dict[str, list[Clip]] = {}
        if len(chosen) == len(SLOTS):
            break
        for clip in (c for folder in folders for c in iterate_clips(folder, split)):
            for slot in SLOTS:
                if slot.key not in chosen and slot.fits(clip, known):
                    # As many as there are slots: some of them may be taken by another.
                    kept = [*best.get(slot.key, []), clip]
                    best[slot.key] = sorted(kept, key=rank)[: len(SLOTS)]
        for key in (slot.key for slot in SLOTS if slot.key in best):
            taken = {clip.name for clip in chosen.values()}
            free = [clip for clip in best[key] if clip.name not in taken]
            if free:
                chosen[key] = free[0]
    return chosen


def add_noise(recording: Recording) -> Recording:
    """The recording with `NOISE`, `NOISE_SNR_DB` below its speech."""
    level = measure_speech_level(recording.audio, find_recorded_speech(recording))
    level *= 10.0 ** (-NOISE_SNR_DB / 20.0)
    audio = recording.audio + make_noise_at(NOISE, len(recording.audio), level)
    return replace(recording, audio=np.clip(audio, -1.0, 1.0).astype(np.float32))


def find_window(recording: Recording) -> tuple[int, int]:
    """First and last frame of the `SHOWN_S` that hold the most speech."""
    length = min(recording.frames, int(SHOWN_S * recording.fps))
    spoken = np.concatenate([[0], np.cumsum(find_recorded_speech(recording))])
    first = int((spoken[length:] - spoken[:-length]).argmax())
    return first, first + length
