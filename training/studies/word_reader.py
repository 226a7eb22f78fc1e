"""A lip reader of words: sentences of one pattern, read from what the lips of a face show.

It judges motion from anywhere, so it sees no blendshapes but what a camera would see on one head,
and is taught not to mind what differs between ways of making motion: gain, offset, smoothness.

Words are left-to-right hidden Markov models (Rabiner 1989) over discriminant features of a few
pictures (linear discriminant analysis), as GRID's authors read its words: they learn from an hour
of speech in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import metrics
from training.data import MOTION_RATE_HZ, SAMPLE_RATE_HZ, Clip

if TYPE_CHECKING:
    from dualtalker.rig import Rig

CURVES = ("lip gap", "mouth width", "protrusion", "upper lip")
_STATES = 4  # of a word
_CONTEXT = (-10, -7, -5, -3, -1, 0, 1, 3, 5, 7, 10)  # frames of 20 ms that a feature looks at
_ROUNDS = (4, 4)  # of alignment, by curves and their slopes, then by discriminant features
_COPIES = 3  # varied ones of each sentence
_DIMENSIONS = 20
_PRIOR_FRAMES = 30.0  # that a state's spread is the common one counts as so many frames


@dataclass(frozen=True)
class Pattern:
    """The words that may stand at each place of a sentence; every sentence fills every place."""

    places: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, transcripts: Sequence[str]) -> Pattern:
        """Return the pattern that transcripts follow.

        Raises:
            DualtalkerError: there is none, or they are of unequal numbers of words.
        """
        rows = [text.split() for text in transcripts]
        lengths = sorted({len(row) for row in rows})
        if len(lengths) != 1 or lengths == [0]:
            raise DualtalkerError(
                f"found {len(rows)} sentences of {lengths} words, expected sentences of one "
                "number of words: make a corpus of such speech alone, as GRID's"
            )
        return cls(tuple(tuple(sorted(set(words))) for words in zip(*rows, strict=True)))

    @property
    def words(self) -> list[str]:
        """All words."""
        return sorted({word for words in self.places for word in words})

    def encode(self, transcript: str) -> list[int]:
        """Return the words of a sentence, by number. ValueError where it leaves the pattern."""
        sentence = transcript.split()
        for word, allowed in zip(sentence, self.places, strict=True):
            if word not in allowed:
                raise ValueError(f"found {word!r} in {transcript!r}, expected one of {allowed}")
        return [self.words.index(word) for word in sentence]


def show_lips(motion: np.ndarray, rig: Rig) -> np.ndarray:
    """What a camera sees of the lips of a face with weights `[frames, 52]`: `CURVES` in metres.

    Returns `[frames, 4]`. All blendshapes count, so that lips which meet by `mouthClose` and lips
    which meet by a raised jaw look alike.
    """
    lips = metrics.pose_vertices(rig, motion, rig.lip_vertices)
    upper, lower = rig.central_lip_pairs
    central = metrics.pose_vertices(rig, motion, np.concatenate([upper, lower]))
    curves = [
        rig.lip_gap(motion),
        lips[:, :, 0].max(1) - lips[:, :, 0].min(1),
        central[:, :, 2].mean(1),
        central[:, : len(upper), 1].mean(1),
    ]
    return np.stack(curves, axis=1).astype(np.float32)


def normalize(curves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Scale curves `[frames, C]` of one talker to mean 0 and deviation 1 over all sentences.

    A curve that never moves stays at 0.
    """
    whole = np.concatenate(curves)
    mean, deviation = whole.mean(0), whole.std(0)
    return [np.where(deviation > 1e-6, (c - mean) / (deviation + 1e-9), 0.0) for c in curves]


def vary(curves: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return curves `[frames, C]` as another way of making motion would have them.

    Smoothed, of other gains and offsets, noisy.
    """
    changed = smooth(curves, rng.uniform(0.0, 0.08))
    gains = np.exp(rng.uniform(-0.4, 0.4, curves.shape[1]))
    offsets = rng.normal(0.0, 0.2, curves.shape[1])
    return np.asarray(changed * gains + offsets + rng.normal(0.0, 0.05, curves.shape))


def smooth(curves: np.ndarray, seconds: float) -> np.ndarray:
    """Smooth curves `[frames, C]` by a Gaussian of that standard deviation."""
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(curves, seconds * MOTION_RATE_HZ, axis=0, mode="nearest"))


def stack_frames(curves: np.ndarray) -> np.ndarray:
    """Return curves `[..., frames, C]` with those of `_CONTEXT`, `[..., frames, contexts * C]`."""
    frames = curves.shape[-2]
    rows = [np.clip(np.arange(frames) + shift, 0, frames - 1) for shift in _CONTEXT]
    return np.concatenate([curves[..., row, :] for row in rows], axis=-1)


def take_slopes(curves: np.ndarray) -> np.ndarray:
    """Return curves `[..., frames, C]` beside how they change, `[..., frames, 2 C]`."""
    return np.concatenate([curves, 3.0 * np.gradient(curves, axis=-2)], axis=-1)


@dataclass
class WordReader:
    """Curves of the lips -> words. State 0 is silence, then `_STATES` for each word."""

    pattern: Pattern
    transform: np.ndarray = field(default_factory=lambda: np.eye(1))
    """Of stacked curves to features, `[contexts * C, D]`."""
    means: np.ndarray = field(default_factory=lambda: np.zeros((1, 1)))
    """Of each state, `[states, D]`."""
    spreads: np.ndarray = field(default_factory=lambda: np.ones((1, 1)))
    """Variances, `[states, D]`."""

    def score(self, features: np.ndarray, states: np.ndarray) -> np.ndarray:
        """Log-likelihoods `[..., frames, n]` of features `[..., frames, D]` in states `[..., n]`.

        Less what all states share.
        """
        means, spreads = self.means[states], self.spreads[states]
        weight = 1.0 / spreads
        offset = (means**2 * weight + np.log(spreads)).sum(-1)
        linear = features @ (2.0 * means * weight).swapaxes(-1, -2)
        squared = features**2 @ weight.swapaxes(-1, -2)
        return np.asarray(0.5 * (linear - squared - offset[..., None, :]))

    def list_states(self, words: Sequence[int]) -> list[int]:
        """Return the states of a sentence, from silence to silence."""
        inside = [1 + word * _STATES + state for word in words for state in range(_STATES)]
        return [0, *inside, 0]

    def fit(self, features: np.ndarray, states: np.ndarray) -> None:
        """Set means and spreads from features `[n, D]` and the state of each `[n]`.

        Spreads lean on the common one, and states that nothing shows have it and the mean.
        """
        count = 1 + len(self.pattern.words) * _STATES
        seen = np.bincount(states, minlength=count)[:, None].astype(float)
        sums = np.stack([np.bincount(states, f, count) for f in features.T], axis=1)
        middle = features.mean(0)
        self.means = (sums + middle) / (seen + 1.0)
        squares = (features - self.means[states]) ** 2
        common = squares.mean(0) + 1e-6
        sums = np.stack([np.bincount(states, f, count) for f in squares.T], axis=1)
        self.spreads = (sums + _PRIOR_FRAMES * common) / (seen + _PRIOR_FRAMES)

    def read(self, sentences: Sequence[np.ndarray]) -> list[list[str]]:
        """Return the likeliest sentence of the pattern for each of some curves `[frames, C]`.

        Raises:
            DualtalkerError: one has fewer frames than its words have states.
        """
        return [self._find_sentence(curves) for curves in sentences]

    def _find_sentence(self, curves: np.ndarray) -> list[str]:
        words, places = self.pattern.words, self.pattern.places
        # A node is (place, word, state): silence, each place's words, silence.
        nodes = [(0, -1, 0)]
        for place, allowed in enumerate(places, start=1):
            numbers = [words.index(word) for word in allowed]
            nodes += [(place, n, state) for n in numbers for state in range(_STATES)]
        nodes.append((len(places) + 1, -1, 0))
        place, word, state = np.array(nodes).T
        first, last = state == 0, (word < 0) | (state == _STATES - 1)
        step = place[None, :] - place[:, None]
        same = (step == 0) & (word[:, None] == word[None, :])
        within = same & (state[None, :] - state[:, None] == 1)
        onward = (step == 1) & last[:, None] & first[None, :]
        barred = np.where(np.eye(len(nodes), dtype=bool) | within | onward, 0.0, -np.inf)
        number = np.where(word < 0, 0, 1 + word * _STATES + state)
        scores = self.score(stack_frames(curves) @ self.transform, number)
        begins = (place == 0) | ((place == 1) & first)
        ends = (place == len(places) + 1) | ((place == len(places)) & last)
        path = find_path(scores, barred, begins, ends)
        said = {int(place[n]): int(word[n]) for n in path}
        return [words[said[k]] for k in range(1, len(places) + 1)]


def find_path(
    scores: np.ndarray, barred: np.ndarray, begins: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Return the likeliest path `[frames]` through nodes (Viterbi).

    `scores` `[frames, nodes]`, `barred` `[nodes, nodes]` 0 or -inf from row to column, `begins`
    and `ends` bool `[nodes]`.

    Raises:
        DualtalkerError: no path is short enough.
    """
    best = np.where(begins, scores[0], -np.inf)
    came = []
    for row in scores[1:]:
        reached = best[:, None] + barred
        came.append(reached.argmax(0))
        best = reached.max(0) + row
    best = np.where(ends, best, -np.inf)
    if not np.isfinite(best.max()):
        raise DualtalkerError(f"found {len(scores)} frames, expected more for such a sentence")
    path = [int(best.argmax())]
    for back in reversed(came):
        path.append(int(back[path[-1]]))
    return np.array(path[::-1])


def align(scores: np.ndarray) -> np.ndarray:
    """Return the place in its chain of each frame `[n, frames]`, from the first to the last.

    `scores` `[n, frames, places]` are of n chains; each frame stays or goes on by one place.
    """
    count, frames, places = scores.shape
    best = np.full((count, places), -np.inf)
    best[:, :2] = scores[:, 0, :2]
    moved = np.zeros((frames, count, places), bool)
    for t in range(1, frames):
        left = np.concatenate([np.full((count, 1), -np.inf), best[:, :-1]], axis=1)
        moved[t] = left > best
        best = np.maximum(left, best) + scores[:, t]
    place = places - 2 + best[:, -2:].argmax(1)
    found = np.empty((count, frames), int)
    for t in range(frames - 1, -1, -1):
        found[:, t] = place
        place = place - moved[t, np.arange(count), place]
    return found


def place_evenly(clip: Clip, frames: int, places: int) -> np.ndarray:
    """Return a first guess of `align` for a clip: the places share its speech evenly."""
    times_s = np.arange(frames) / MOTION_RATE_HZ
    speech = np.flatnonzero(metrics.find_speech_frames(clip.audio, SAMPLE_RATE_HZ, times_s))
    inner = places - 2
    share = (np.arange(frames) - speech[0]) / max(1, speech[-1] + 1 - speech[0])
    return np.clip(np.floor(share * inner).astype(int) + 1, 0, places - 1)


def find_discriminants(features: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Return the directions `[F, D]` that tell states apart best (Fisher's, by scipy's eigh).

    Within the states, features `[n, F]` have unit variance along each.
    """
    from scipy.linalg import eigh

    _, index = np.unique(states, return_inverse=True)
    seen = np.bincount(index)
    sums = np.stack([np.bincount(index, f) for f in features.T], axis=1)
    means = sums / seen[:, None]
    inside = features - means[index]
    within = inside.T @ inside / len(features)
    apart = means - features.mean(0)
    between = (apart * seen[:, None]).T @ apart / len(features)
    floor = 1e-3 * np.trace(within) / len(within) + 1e-9
    _, vectors = eigh(between, within + floor * np.eye(len(within)))
    return np.asarray(vectors[:, ::-1][:, :_DIMENSIONS])


def teach_reader(
    clips: Sequence[Clip],
    sentences: Sequence[np.ndarray],
    pattern: Pattern,
    seed: int,
    varied: bool = True,
) -> WordReader:
    """Return a reader taught on curves `[frames, C]` of clips with words.

    Not `varied`, it sees the curves as they are, which tells what the variation is good for.
    """
    reader = WordReader(pattern)
    chains = np.array([reader.list_states(pattern.encode(c.transcript or "")) for c in clips])
    frames = max(len(curves) for curves in sentences)
    padded = [np.pad(c, ((0, frames - len(c)), (0, 0)), mode="edge") for c in sentences]
    curves = np.stack(padded)
    places = np.stack([place_evenly(clip, frames, chains.shape[1]) for clip in clips])
    features = take_slopes(curves)
    states = np.take_along_axis(chains, places, 1)
    for stage, rounds in enumerate(_ROUNDS):
        for _ in range(rounds):
            if stage > 0:
                stacked = stack_frames(curves)
                reader.transform = find_discriminants(_flatten(stacked), states.ravel())
                features = stacked @ reader.transform
            reader.fit(_flatten(features), states.ravel())
            states = np.take_along_axis(chains, align(reader.score(features, chains)), 1)
    copies = [curves]
    if varied:
        rng = np.random.default_rng(seed)
        copies += [np.stack([vary(row, rng) for row in curves]) for _ in range(_COPIES)]
    shown = np.concatenate([_flatten(stack_frames(copy)) for copy in copies])
    known = np.tile(states.ravel(), len(copies))
    reader.transform = find_discriminants(shown, known)
    reader.fit(shown @ reader.transform, known)
    return reader


def _flatten(features: np.ndarray) -> np.ndarray:
    return features.reshape(-1, features.shape[-1])
