"""What known text does: `python benchmarks/known_text.py DIR ... [--only 'p226_*' ...]`.

For recordings NAME.wav with NAME.phones.json ({"phones": [[label, start_s, end_s], ...]}) below
the folders: the shares of /p b m/ and /f v/ that are met, without phones and with phones that are
told early or late, how many of those were found out and ignored, and how alike the jaw's motion is
to that without phones. With `--captured FILE.csv ...`, each beside the sound it begins like: jaw
r against the capture, where the lips' contacts in the capture are told as phones.
"""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.audio import mix_to_mono, read_audio
from dualtalker.evaluation import metrics, read_motion_csv
from dualtalker.rig.robot_head import build_head
from dualtalker.speech import (
    BILABIAL,
    LABIODENTAL,
    SILENCE,
    Phone,
    load_phones,
)
from dualtalker.stream import Animation, animate

KINDS = ("late_phones", "wrong_phones")


@dataclass
class Options:
    """Measure known text with the shipped model."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Where NAME.wav and NAME.phones.json are."""
    only: tuple[str, ...] = ("*",)
    """Patterns of the recordings' names."""
    captured: tuple[Path, ...] = ()
    """Captured motion, time_s and ARKit names, with its sound beside it."""
    shifts_ms: tuple[float, ...] = (0, -200, -150, -100, -50, 50, 100, 150, 200)
    """By how much the phones come late."""
    fps: float = 50.0
    """Frames per second."""
    model: Path | None = None
    """Bundle; the shipped model if not given."""


@dataclass
class Said:
    """A recording and its phones: as they are told, and where the lips are to meet."""

    samples: np.ndarray
    rate_hz: int
    told: list[Phone]
    wanted: list[tuple[str, float, float]]


def main(options: Options) -> None:
    """Print the tables."""
    paths = sorted(path for folder in options.folders for path in folder.rglob("*.phones.json"))
    said = [_read(p) for p in paths if _matches(p.name.split(".phones")[0], options.only)]
    if said:
        _measure_contacts(said, options)
    if options.captured:
        _measure_jaw(options)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _read(path: Path) -> Said:
    samples, rate_hz = read_audio(path.with_name(path.name.replace(".phones.json", ".wav")))
    told = load_phones(path)
    wanted = [(phone.label, phone.start_s, phone.end_s) for phone in told]
    return Said(mix_to_mono(samples)[0], rate_hz, told, wanted)


def _measure_contacts(said: Sequence[Said], options: Options) -> None:
    rig = build_head()
    rest = float(rig.lip_gap(np.zeros((1, len(ARKIT_NAMES)), np.float32))[0])
    plain = [_animate(one, options, ()) for one in said]
    seconds = sum(len(one.samples) / one.rate_hz for one in said)
    print(f"{len(said)} recordings, {seconds:.0f} s, {options.fps:g} frames per second\n")
    print("| phones | /p b m/ met | /f v/ met | open vowels shut | ignored | jaw r to without |")
    print("|---|---|---|---|---|---|")
    for shift_ms in (None, *options.shifts_ms):
        shown = plain
        if shift_ms is not None:
            shown = [_animate(one, options, _shift(one.told, shift_ms / 1e3)) for one in said]
        gaps = [rig.lip_gap(one.weights) for one in shown]
        drops = [metrics.lower_lip_drop(rig, one.weights) for one in shown]
        span = float(np.percentile(np.concatenate(gaps), 98.0)) - rest
        reach = float(np.percentile(np.concatenate(drops), 98.0))
        counts = np.zeros((3, 2), int)
        for one, face, gap, drop in zip(said, shown, gaps, drops, strict=True):
            closed = metrics.find_closed(gap, rest, span)
            touching = metrics.find_contact(drop, reach)
            times_s = face.times_s
            counts[0] += metrics.measure_closure_recall(closed, times_s, one.wanted)
            counts[1] += metrics.measure_closure_recall(
                touching, times_s, one.wanted, label_of_interest=LABIODENTAL
            )
            counts[2] += metrics.measure_false_closures(closed, times_s, one.wanted)
        ignored = sum(face.counters[kind] for face in shown for kind in KINDS)
        sounding = sum(phone.label != SILENCE for one in said for phone in one.told)
        jaws = [_correlate(a, b) for a, b in zip(plain, shown, strict=True)]
        name = (
            "none" if shift_ms is None else "as labelled" if shift_ms == 0 else f"{shift_ms:+g} ms"
        )
        shares = " | ".join(f"{met / whole:.3f} of {whole}" for met, whole in counts)
        told = "–" if shift_ms is None else f"{ignored / sounding:.2f}"
        print(f"| {name} | {shares} | {told} | {np.mean(jaws):.3f} |", flush=True)


def _measure_jaw(options: Options) -> None:
    rig = build_head()
    print("\n| captured | contacts | jaw r without | jaw r with |")
    print("|---|---|---|---|")
    for path in options.captured:
        times_s, truth = read_motion_csv(path)
        sounds = [p for p in path.parent.glob("*.wav") if path.stem.startswith(p.stem)]
        samples, rate_hz = read_audio(max(sounds, key=lambda sound: len(sound.stem)))
        mono = mix_to_mono(samples)[0]
        gap = rig.lip_gap(truth)
        closed = metrics.find_closed(gap, float(rig.lip_gap(0 * truth[:1])[0]))
        loud = metrics.find_speech_frames(mono, rate_hz, times_s)
        phones = _find_contacts(times_s, closed & loud)
        one = Said(mono, rate_hz, phones, [])
        results = []
        for told in ((), phones):
            face = _animate(one, options, told)
            jaw = np.interp(times_s, face.times_s, metrics.jaw_opening(face.weights))
            results.append(metrics.correlate(jaw, metrics.jaw_opening(truth), loud))
        print(f"| {path.stem} | {len(phones)} | {results[0]:.3f} | {results[1]:.3f} |", flush=True)


def _find_contacts(times_s: np.ndarray, closed: np.ndarray) -> list[Phone]:
    """Return stretches of shut lips of 20 to 200 ms, as phones."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], closed, [False]]).astype(int)))
    spans = [(times_s[a], times_s[b - 1]) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return [
        Phone(BILABIAL, float(start), float(end))
        for start, end in spans
        if 0.02 <= end - start <= 0.2
    ]


def _animate(said: Said, options: Options, phones: Sequence[Phone]) -> Animation:
    return animate(
        said.samples,
        said.rate_hz,
        model=options.model,
        fps=options.fps,
        idle_motion=False,
        phones=phones,
    )


def _shift(phones: Sequence[Phone], shift_s: float) -> list[Phone]:
    return [Phone(p.label, p.start_s + shift_s, p.end_s + shift_s) for p in phones]


def _correlate(one: Animation, other: Animation) -> float:
    return metrics.correlate(metrics.jaw_opening(one.weights), metrics.jaw_opening(other.weights))


if __name__ == "__main__":
    main(tyro.cli(Options))
