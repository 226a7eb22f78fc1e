"""Batches for training: segments drawn from clips by (seed, step), augmented and aligned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.speech import BILABIAL, LABIODENTAL
from training.configs import TrainConfig
from training.data import (
    ANYBODY,
    CHANNELS,
    MOTION_RATE_HZ,
    SAMPLE_RATE_HZ,
    SILENCE,
    VOWELS,
    Clip,
    augment,
    find_speech,
    hold_sound,
    interpolate_rows,
    make_background,
    stretch,
)
from training.learning.mesh_data import CoordinateClip
from training.network import ARKIT

WIDE_JAW = 0.15  # of `jawOpen`; peaks below it may be consonants
COMPANY_SHARE = 0.12  # of segments heard from afar, beside which someone else speaks
CONTACT_CLASSES = {"bilabial": BILABIAL, "labiodental": LABIODENTAL}
AnyClip = Clip | CoordinateClip


@dataclass
class Batch:
    """One batch of segments, time-aligned: motion frame k depicts k / model_rate_hz."""

    audio: Tensor
    """What the network hears, `[batch, (frames + shift) * hop]`."""
    clean: Tensor
    """The same before augmentation: acoustic units are read from it."""
    motion: Tensor
    """Target weights `[batch, frames, 52]` (zeros where unpaired)."""
    mask: Tensor
    """1 where a target is supervised, `[batch, frames, 52]`."""
    contacts: Tensor
    """1 in each contact of the lips, `[batch, frames, contacts]`."""
    rest: Tensor
    """1 where nobody speaks, `[batch, frames, 1]`."""
    contacts_mask: Tensor
    """1 where contacts and rest are labelled, `[batch, frames, 1]`."""
    phones: Tensor
    """Phone classes in order, from 1, padded with 0, `[batch, longest]`."""
    phone_counts: Tensor
    """How many phones, `[batch]`."""
    has_phones: Tensor
    """1 where the words are known, `[batch]`."""
    speech: Tensor
    """1 where the segment is speech (0: noise or silence alone), `[batch]`."""
    paired: Tensor
    """1 where there is motion to learn from, `[batch]`."""
    style: Tensor
    """Style index, `[batch]`."""
    head: str = ARKIT
    """Which head's motion this is."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch with every tensor on `device`."""
        return Batch(**{n: getattr(self, n).to(device) for n in TENSORS}, head=self.head)


TENSORS = tuple(f.name for f in fields(Batch) if f.name != "head")


class BatchSource(Dataset):
    """Anything that makes batches by number, and worker processes that make them ahead."""

    workers = 0
    stride = 1
    _stream: Iterator[Batch] | None = None
    _expected = 0

    def make(self, step: int) -> Batch:
        """Return the batch of this number, always the same."""
        raise NotImplementedError

    def __getitem__(self, step: int) -> Batch:
        return self.make(step)

    def fetch(self, step: int) -> Batch:
        """Return the batch of this number; worker processes are already making the next ones.

        Batches are pure functions of the number, so an unexpected one costs time, never a result.
        `stride` is the step from one number to the next that this process will want. Processes,
        not a thread: the network's thread would wait for the interpreter's lock.
        """
        if self.workers == 0:
            return self.make(step)
        if self._stream is None or step != self._expected:
            loader = DataLoader(
                self,
                batch_size=None,
                sampler=range(step, step + 1_000_000_000, self.stride),
                num_workers=self.workers,
                prefetch_factor=2,
            )
            self._stream = iter(loader)
        self._expected = step + self.stride
        batch: Batch = next(self._stream)
        return batch


class MixedBatches(BatchSource):
    """Batches of several heads: each comes whole from one maker, drawn by its share."""

    def __init__(
        self, makers: list[tuple[float, BatchMaker]], seed: int, workers: int = 0
    ) -> None:
        shares = np.array([share for share, _ in makers])
        self.makers = [maker for _, maker in makers]
        self.shares = shares / shares.sum()
        self.seed, self.workers = seed, workers

    def make(self, step: int) -> Batch:
        """Return the batch of this number."""
        rng = np.random.default_rng([self.seed, step, len(self.makers)])
        return self.makers[int(rng.choice(len(self.makers), p=self.shares))].make(step)


class BatchMaker(BatchSource):
    """Draws batches; batch `step` is a pure function of (seed, step), so a resumed run repeats."""

    def __init__(
        self,
        clips: Sequence[AnyClip],
        config: TrainConfig,
        phones: list[str],
        styles: list[str],
        active: np.ndarray,
        head: str = ARKIT,
    ) -> None:
        """`phones` and `styles` are the network's, `active` bool `[C]` the channels of `head`."""
        self.network, self.config, self.seed = config.network, config.data, config.seed
        self.augmented, self.workers = config.augment, config.loader_workers
        self.phones = {label: index + 1 for index, label in enumerate(phones)}
        self.styles = styles
        self.active = active
        self.head = head
        self.frames = round(self.config.segment_s * self.network.model_rate_hz)
        moved = [c for c in clips if c.motion is not None and c.style.startswith("captured")]
        captured = [c for c in moved if not c.source.startswith("taught")]
        taught = [c for c in moved if c.source.startswith("taught")]
        rules = [c for c in clips if c.motion is not None and not c.style.startswith("captured")]
        recorded = [c for c in rules if c.source.startswith("labeled")]
        made = [c for c in rules if not c.source.startswith("labeled")]
        unpaired = [c for c in clips if c.motion is None]
        shares: dict[str, tuple[float, Sequence[AnyClip]]] = {
            "captured": (self.config.captured_share, captured),
            "taught": (self.config.taught_share, taught),
            "recorded": (self.config.recorded_share, recorded),
            "unpaired": (self.config.unpaired_share, unpaired),
        }
        rest = 1.0 - sum(share for share, pool in shares.values() if pool)
        shares["made"] = (rest, made)
        self.pools = {
            name: (share, pool, np.cumsum(weigh_clips(pool)))
            for name, (share, pool) in shares.items()
            if pool and share > 0
        }
        if not self.pools:
            raise ValueError("no clips to train on; make some with `python -m training.corpus`")

    def make(self, step: int) -> Batch:
        """Return the batch of this step."""
        rng = np.random.default_rng([self.seed, step])
        rows: list[dict[str, Any]] = [self._make_row(rng) for _ in range(self.config.batch)]
        longest = max(1, max(len(row["phones"]) for row in rows))
        for row in rows:
            row["phone_counts"] = np.int64(len(row["phones"]))
            row["phones"] = np.pad(row["phones"], (0, longest - len(row["phones"])))
        tensors = {n: torch.from_numpy(np.stack([row[n] for row in rows])) for n in TENSORS}
        return Batch(**tensors, head=self.head)

    def _make_row(self, rng: np.random.Generator) -> dict[str, Any]:
        hop = self.network.hop_samples
        samples = (self.frames + self.network.shift_frames) * hop
        if rng.random() < self.config.noise_share:
            return self._background_row(samples, rng)
        clip = self._choose_clip(rng)
        rate = float(rng.uniform(0.88, 1.14)) if self.augmented and rng.random() < 0.6 else 1.0
        return self._clip_row(clip, rate, samples, rng)

    def _choose_clip(self, rng: np.random.Generator) -> AnyClip:
        names = list(self.pools)
        weights = np.array([self.pools[name][0] for name in names])
        _, pool, ends = self.pools[names[int(rng.choice(len(names), p=weights / weights.sum()))]]
        return pool[int(np.searchsorted(ends, rng.random() * ends[-1]))]

    def _background_row(self, samples: int, rng: np.random.Generator) -> dict[str, Any]:
        audio = make_background(samples, rng)
        shape = (self.frames, 1)
        return {
            "audio": audio,
            "clean": audio,
            "motion": np.zeros((self.frames, len(self.active)), np.float32),
            "mask": np.tile(self.active.astype(np.float32), shape),
            "contacts": np.zeros((self.frames, len(self.network.contacts)), np.float32),
            "rest": np.ones(shape, np.float32),
            "contacts_mask": np.ones(shape, np.float32),
            "phones": np.zeros(0, np.int64),
            "has_phones": np.float32(0),
            "speech": np.float32(0),
            "paired": np.float32(1),
            "style": np.int64(rng.integers(len(self.styles))),
        }

    def _clip_row(
        self, clip: AnyClip, rate: float, samples: int, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Cut one random segment out of `clip`, played `rate` times as fast.

        Pitch moves with the rate, which also varies the speaker.
        """
        hop, model_rate_hz = self.network.hop_samples, self.network.model_rate_hz
        last = max(0, (len(clip.audio) - self.frames * hop * rate) // hop)
        first_frame = int(rng.integers(0, int(last) + 1))
        start = first_frame * hop
        start_s = start / self.network.sample_rate_hz
        times_s = start_s + np.arange(self.frames) * rate / model_rate_hz
        sound = clip.audio[start : start + int(samples * rate) + 2]
        if self.augmented and rng.random() < self.config.hold_share:
            sound, times_s = hold_vowel(clip, sound, times_s, rng)
        clean = stretch(sound, rate, samples)
        motion, mask = cut_motion(clip, times_s)
        speech = find_speech(clip.phones or (), times_s)[:, None]
        motion *= speech
        if first_frame > 0:
            # A cut in mid-speech: the network has heard nothing of what the first frames need.
            mask[: int(0.2 * model_rate_hz)] = 0.0
        contacts, known = label_contacts(clip, times_s, self.network.contacts)
        return {
            "audio": self._damage(clean, rng) if self.augmented else clean,
            "clean": clean,
            "motion": motion,
            "mask": mask,
            "contacts": contacts,
            "rest": ((speech < 0.5) | (times_s[:, None] > clip.duration_s)).astype(np.float32),
            "contacts_mask": np.full((self.frames, 1), known, np.float32),
            "phones": list_phones(clip, times_s, self.phones),
            "has_phones": np.float32(clip.phones is not None),
            "speech": np.float32(1),
            "paired": np.float32(clip.motion is not None),
            "style": np.int64(self._choose_style(clip, rng)),
        }

    def _damage(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return speech `[samples]` as a microphone hears it, at times beside someone else's."""
        share, beside = self.config.far_share, None
        far = share > 0 and rng.random() < share  # without a draw where there is none
        if far and rng.random() < COMPANY_SHARE:
            other = self._choose_clip(rng).audio
            first = int(rng.integers(0, max(1, len(other) - len(clean))))
            beside = stretch(other[first:], 1.0, len(clean)).astype(np.float64)
        return augment(clean, rng, far, beside)

    def _choose_style(self, clip: AnyClip, rng: np.random.Generator) -> int:
        """Index of the clip's style; unpaired clips, which have none, are heard in any.

        Half of the captured clips are shown as of nobody in particular, where there is such a
        style.
        """
        if clip.motion is None:
            return int(rng.integers(len(self.styles)))
        shared = clip.style.startswith("captured") and ANYBODY in self.styles
        return self.styles.index(ANYBODY if shared and rng.random() < 0.5 else clip.style)


def hold_vowel(
    clip: AnyClip, sound: np.ndarray, times_s: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Hold one vowel of a segment for up to 2.5 s, sound and face alike.

    `sound` `[samples]` begins at `times_s[0]`, and the frames depict `times_s` `[frames]`. Returns
    the longer sound and the times in the clip that its frames show, which stand still in the
    hold. A segment without a vowel stays as it is.
    """
    instants_s = find_vowels(clip)
    inside = instants_s[(instants_s > times_s[0] + 0.1) & (instants_s < times_s[-1] - 0.3)]
    if not len(inside):
        return sound, times_s
    at_s = float(rng.choice(inside))
    at = round((at_s - times_s[0]) * SAMPLE_RATE_HZ)
    longer = hold_sound(sound, at, int(SAMPLE_RATE_HZ * rng.uniform(0.3, 2.5)), rng)
    hold_s = (len(longer) - len(sound)) / SAMPLE_RATE_HZ
    shown_s = np.where(times_s < at_s + hold_s, np.minimum(times_s, at_s), times_s - hold_s)
    return longer, shown_s


def find_vowels(clip: AnyClip) -> np.ndarray:
    """Return instants `[n]`, seconds, in which a vowel of the clip is at its widest.

    Where nobody labelled the phones, it is where the jaw turns back from being wide open.
    """
    if clip.motion is None or not isinstance(clip, Clip):
        return np.zeros(0)
    jaw = clip.motion[:, ARKIT_INDEX["jawOpen"]]
    if clip.phones is None:
        peaks = 1 + np.flatnonzero((jaw[1:-1] >= jaw[:-2]) & (jaw[1:-1] > jaw[2:]))
        return peaks[jaw[peaks] > WIDE_JAW] / MOTION_RATE_HZ
    instants = []
    for phone in clip.phones:
        first, last = round(phone.start_s * MOTION_RATE_HZ), round(phone.end_s * MOTION_RATE_HZ)
        if phone.label in VOWELS and last - first >= 3:
            widest = first + 1 + int(np.argmax(jaw[first + 1 : last]))
            instants.append(widest / MOTION_RATE_HZ)
    return np.array(instants)


def weigh_clips(clips: Sequence[AnyClip]) -> np.ndarray:
    """Return how often each clip is drawn `[clips]`.

    By the root of how long its style lasts in all, shared out in the style by the root of how
    long its speaker speaks: one of an hour is heard three times as often as one of seven minutes,
    not nine times. Many voices teach more than many hours of one.
    """
    durations = np.array([clip.duration_s for clip in clips])
    speakers = _add_up(durations, [_name_speaker(clip) for clip in clips])
    weights = durations / np.sqrt(speakers)
    styles = [clip.style for clip in clips]
    return np.asarray(weights / _add_up(weights, styles) * np.sqrt(_add_up(durations, styles)))


def _add_up(values: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Return the sum of each value's group `[values]`."""
    _, index = np.unique(groups, return_inverse=True)
    return np.asarray(np.bincount(index, values)[index])


def _name_speaker(clip: AnyClip) -> str:
    """Who speaks: within a data set, since `unknown` is many."""
    return f"{clip.source}/{clip.speaker}" if isinstance(clip, Clip) else clip.style


def cut_motion(clip: AnyClip, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sample a clip's motion at `times_s` `[frames]`; returns motion and mask `[frames, C]`.

    C is 52, or the rank of a vertex head.
    """
    if clip.motion is None:
        empty = np.zeros((len(times_s), CHANNELS), np.float32)
        return empty, empty.copy()
    position = times_s * (MOTION_RATE_HZ if isinstance(clip, Clip) else clip.fps)
    inside = position <= len(clip.motion) - 1
    # Past the end of a clip there is silence, in which the face is at rest.
    motion = interpolate_rows(clip.motion, position) * inside[:, None]
    mask = np.broadcast_to(clip.motion_mask.astype(np.float32), motion.shape).copy()
    return motion.astype(np.float32), mask


def label_contacts(
    clip: AnyClip, times_s: np.ndarray, kinds: Sequence[str]
) -> tuple[np.ndarray, float]:
    """Return 1 in contacts of each kind `[frames, kinds]`, and 1.0 where the phones are known."""
    contacts = np.zeros((len(times_s), len(kinds)), np.float32)
    if clip.phones is None:
        return contacts, 0.0
    columns = {CONTACT_CLASSES[kind]: column for column, kind in enumerate(kinds)}
    for phone in clip.phones:
        if phone.label in columns:
            # At least three frames, so that a contact survives interpolation to any frame rate.
            middle, half = (phone.start_s + phone.end_s) / 2, (phone.end_s - phone.start_s) / 2
            half = max(half, 0.03)
            inside = (times_s >= middle - half) & (times_s <= middle + half)
            contacts[inside, columns[phone.label]] = 1.0
    return contacts, 1.0


def list_phones(clip: AnyClip, times_s: np.ndarray, numbers: dict[str, int]) -> np.ndarray:
    """Return the phone classes whose middle lies in the segment, in order, without silence."""
    if clip.phones is None:
        return np.zeros(0, np.int64)
    inside = [
        numbers[p.label]
        for p in clip.phones
        if p.label != SILENCE and times_s[0] <= (p.start_s + p.end_s) / 2 <= times_s[-1]
    ]
    return np.array(inside, np.int64)
