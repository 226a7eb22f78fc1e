"""Makes a study: renders its videos under names that tell nothing, writes its page and its key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from dualtalker.drawing import import_encoders, write_face_video
from dualtalker.errors import StudyError
from dualtalker.files import check_file, claim_folder, sha256, write_whole
from dualtalker.rig import Rig
from dualtalker.study.contestants import Sound, delay, freeze, load_motions, read_sounds
from dualtalker.study.plan import (
    FORMAT,
    KEY_NAME,
    QUESTIONS,
    Key,
    Kind,
    Layout,
    Plan,
    Video,
    draw_schedules,
    list_pairs,
    read_key,
    write_key,
)

PUBLIC, VIDEOS, ANSWERS = "public", "videos", "answers"
CONSENT_NAME = "consent.md"
SHIFT_S = 0.3  # all see that, sound first: ITU-R BT.1359 puts the threshold at 45 ms
MOST_TRIALS = 24  # 20 minutes with recordings of 10 s
_CHECKED_RECORDINGS = 2  # checks of each kind
_MAX_CONSENT_BYTES = 1 << 16
_TEMPLATE = """# Information for participants

FILL IN: who asks, what for, how long it takes, what is kept (the answers, the times, no names),
that it is voluntary and can be ended at any moment, and whom to write to.

Then: dualtalker study make ... --consent {name}
"""


@dataclass(frozen=True)
class StudyOptions:
    """How a study is made."""

    title: str = "Which face speaks better?"
    layout: Layout = "side"
    consent: Path | None = None
    """What a participant agrees to: paragraphs, `# headings` and `- lists`."""
    trials: int | None = None
    """Pairs for each participant, beside checks and the repeated one; None is all, 24 at most."""
    fps: float = 30.0
    seed: int = 0
    most_mistakes: int = 1
    """More in checks and in the repeated pair exclude a participant."""


class Progress(Protocol):
    """Opens a progress bar: label, total, unit; gives what advances it."""

    def __call__(
        self, label: str, total: float, unit: str
    ) -> AbstractContextManager[Callable[[float], object]]:
        """Open it for the `with`."""


@dataclass
class _Film:
    """One video to be."""

    video: Video
    sound: Sound
    weights: np.ndarray
    name: str = field(default="")


def make_study(
    out: Path,
    contestants: Mapping[str, Path],
    recordings: Sequence[Path],
    rig: Rig,
    options: StudyOptions,
    progress: Progress,
) -> Key:
    """Write a study into folder `out`: what is published in `public`, the key beside it.

    A video that is there already is not rendered again.

    Raises:
        StudyError: contestants and recordings do not fit, a setting is out of range, or the
            folder has answers to another study.
        DualtalkerError: PyAV is missing or has no H.264, or the folder is not ours.
    """
    import_encoders("dualtalker study make")
    consent = read_consent(options.consent)
    sounds = read_sounds(recordings)
    pairs = list_pairs(list(contestants))
    trials = _count_trials(options, len(pairs) * len(sounds))
    claim_folder(out, KEY_NAME)
    total_s = len(contestants) * sum(sound.duration_s for sound in sounds)
    with progress("curves", round(total_s, 1), "s") as advance:
        motions = load_motions(dict(contestants), sounds, options.fps, advance)
    films = _plan_films(motions, sounds, options, rig)
    checks = _list_checks(list(contestants), sounds, films)
    shown = [
        (films[first, s.name, "pair"].name, films[second, s.name, "pair"].name)
        for first, second in pairs
        for s in sounds
    ]
    plan = Plan(
        title=options.title,
        layout=options.layout,
        consent=consent,
        questions=QUESTIONS,
        pairs=(*shown, *checks),
        schedules=draw_schedules(len(pairs), len(sounds), len(checks), trials, options.seed),
    )
    key = Key(
        format=FORMAT,
        seed=options.seed,
        contestants=tuple(contestants),
        recordings=tuple(sound.name for sound in sounds),
        videos={film.name: film.video for film in films.values()},
        most_mistakes=options.most_mistakes,
        plan=plan,
    )
    _refuse_other_answers(out, key)
    _render(out / PUBLIC / VIDEOS, list(films.values()), rig, options.fps, progress)
    _write_page(out, key)
    return key


def read_consent(path: Path | None) -> tuple[tuple[str, str], ...]:
    """Read a text of paragraphs, `# headings` and `- lists` as tags and texts; None is none."""
    if path is None:
        return ()
    check_file(path, StudyError, "a text of what participants agree to", _MAX_CONSENT_BYTES)
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: no text in UTF-8 ({error})") from error
    blocks: list[tuple[str, str]] = []
    is_open = False  # the next line goes on with the block
    for line in map(str.strip, text.splitlines()):
        tag = "h2" if line.startswith("#") else "li" if line.startswith(("- ", "* ")) else "p"
        if tag == "p" and line and is_open:
            blocks[-1] = (blocks[-1][0], f"{blocks[-1][1]} {line}")
        elif line:
            blocks.append((tag, line.lstrip("#-* " if tag != "p" else "")))
        is_open = bool(line) and tag != "h2"
    if not blocks or "FILL IN" in text:
        raise StudyError(f"{path}: it is empty, or still says FILL IN; write what people agree to")
    return tuple(blocks)


def _count_trials(options: StudyOptions, items: int) -> int:
    trials = min(items, MOST_TRIALS) if options.trials is None else options.trials
    if not 1 <= trials <= items:
        raise StudyError(
            f"{trials} trials; expected 1 to {items}, the pairs of contestants times recordings"
        )
    if options.seed < 0 or options.most_mistakes < 0:
        raise StudyError(
            f"seed {options.seed}, most mistakes {options.most_mistakes}; expected 0 or more"
        )
    return trials


def _plan_films(
    motions: Mapping[str, Sequence[np.ndarray]],
    sounds: Sequence[Sound],
    options: StudyOptions,
    rig: Rig,
) -> dict[tuple[str, str, Kind], _Film]:
    """Return all videos; the first contestant's also late and frozen, for the checks."""
    fps = options.fps
    films: dict[tuple[str, str, Kind], _Film] = {}
    for place, (name, tracks) in enumerate(motions.items()):
        for number, (sound, weights) in enumerate(zip(sounds, tracks, strict=True)):
            kinds: dict[Kind, np.ndarray] = {"pair": weights}
            if place == 0 and number < _CHECKED_RECORDINGS:
                kinds |= {"shifted": delay(weights, SHIFT_S, fps), "frozen": freeze(weights)}
            for kind, track in kinds.items():
                video = Video(name, sound.name, kind)
                films[name, sound.name, kind] = _Film(video, sound, track)
    parts = (rig.neutral, rig.deltas, rig.triangles, rig.colors)
    face = "".join(sha256(part) for part in parts if part is not None)
    for film in films.values():
        # Also of who shows it: two contestants that move alike remain two.
        told = f"{options.seed} {film.video} {fps} {film.sound.rate_hz} {face} "
        told += sha256(film.weights) + sha256(film.sound.samples)
        film.name = hashlib.sha256(told.encode()).hexdigest()[:16]
    return films


def _list_checks(
    contestants: Sequence[str],
    sounds: Sequence[Sound],
    films: Mapping[tuple[str, str, Kind], _Film],
) -> list[tuple[str, str]]:
    best = contestants[0]
    kinds: tuple[Kind, ...] = ("shifted", "frozen")
    return [
        (films[best, sound.name, "pair"].name, films[best, sound.name, kind].name)
        for kind in kinds
        for sound in sounds[:_CHECKED_RECORDINGS]
    ]


def _refuse_other_answers(out: Path, key: Key) -> None:
    if not any((out / ANSWERS).glob("*.json")):
        return
    if not (out / KEY_NAME).exists() or read_key(out).digest != key.digest:
        raise StudyError(
            f"{out / ANSWERS} has answers to another study than this would be; give another "
            "folder with -o, or move them away"
        )


def _render(
    folder: Path, films: Sequence[_Film], rig: Rig, fps: float, progress: Progress
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = {f"{film.name}.mp4" for film in films}
    for path in folder.glob("*.mp4"):
        if path.name not in names:  # of the study as it was: nothing is published in vain
            path.unlink()
    # By name: the times of files tell no order of contestants.
    films = sorted(films, key=lambda film: film.name)
    missing = [film for film in films if not (folder / f"{film.name}.mp4").exists()]
    total = sum(len(film.weights) for film in missing)
    with progress("videos", total, "frame") as advance:
        for film in missing:
            path = folder / f"{film.name}.mp4"
            sound = film.sound
            write_face_video(path, film.weights, fps, rig, sound.samples, sound.rate_hz, advance)


def _write_page(out: Path, key: Key) -> None:
    for entry in (files("dualtalker.study") / "page").iterdir():
        write_whole(out / PUBLIC / entry.name, entry.read_bytes())
    told: dict[str, Any] = {"study": key.digest, **msgspec.to_builtins(key.plan)}
    # Not JSON: a page from a file may load scripts, but nothing else.
    content = msgspec.json.encode(told).decode()
    write_whole(out / PUBLIC / "plan.js", f"globalThis.STUDY = {content};\n")
    write_key(out, key)
    if not key.plan.consent and not (out / CONSENT_NAME).exists():
        write_whole(out / CONSENT_NAME, _TEMPLATE.format(name=out / CONSENT_NAME))
