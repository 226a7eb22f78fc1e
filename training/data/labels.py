"""Recorded speech with phone labels turned into clips whose face moves by rule."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from dualtalker.errors import SpeechError
from dualtalker.files import check_file, read_json
from dualtalker.speech import Phone, arpabet_classes, ipa_classes, segment_labels
from training.data.clips import MOTION_RATE_HZ, SAMPLE_RATE_HZ, Clip, CorpusError, check_clip
from training.data.coarticulation import RULE_MASK, rule_motion
from training.data.recordings import find_sound, is_held_out, read_sound
from training.data.subsets import cut_clip

MAX_LABEL_BYTES = 1 << 26
_SHORTEST_PIECE_S = 1.0
_MARGIN_S = 0.1  # around a word whose labels are doubtful


class Line(msgspec.Struct):
    """A recording of a list: its sound LIST/`file`, who speaks, and the phones.

    Phones are (label, start_s, end_s, ...), ARPAbet where `language` is "en", else espeak-ng's
    IPA, SIL a pause. `doubtful` (start_s, end_s, ...) are stretches whose labels may be wrong.
    """

    file: str
    speaker: str
    language: str
    phones: list[list[str | float]]
    text: str | None = None
    doubtful: list[list[str | float]] = []


def read_labeled(folder: Path, holdout: Sequence[str] = ()) -> Iterator[Clip]:
    """Yield a clip for each NAME.wav with NAME.phones.json (and NAME.txt) below `folder`.

    phones.json holds {"phones": [[ARPAbet label, start_s, end_s, ...], ...]}. LIST.jsonl beside
    LIST/ is read too: a recording a line, as `Line` says.

    Raises:
        CorpusError: there are no labels, one has no class, or a sound is missing.
    """
    paths = sorted(Path(folder).rglob("*.phones.json"))
    lists = sorted(Path(folder).glob("*.jsonl"))
    if not paths and not lists:
        raise CorpusError(
            f"no *.phones.json or *.jsonl in {folder}: expected NAME.wav + NAME.phones.json, or "
            "LIST.jsonl + LIST/"
        )
    for path in lists:
        yield from _read_list(path, holdout)
    for path in paths:
        name = path.name[: -len(".phones.json")]
        audio = read_sound(find_sound(path, name))
        duration_s = len(audio) / SAMPLE_RATE_HZ
        segments = _segment(path, _read_labels(path), duration_s)
        text = path.with_name(f"{name}.txt")
        clip = Clip(
            name=name,
            audio=audio,
            motion=rule_motion(segments, duration_s),
            motion_mask=RULE_MASK.copy(),
            phones=segments,
            transcript=text.read_text(encoding="utf-8").strip() if text.is_file() else None,
            style="rules",
            speaker=_speaker_of(path.parent.name, name),
            source=f"labeled:{path.parent.name}",
            split="validation" if is_held_out(name, holdout) else "train",
        )
        check_clip(clip)
        yield clip


def _segment(
    place: Path,
    labels: list[tuple[str, float, float]],
    duration_s: float,
    classes_of: Callable[[str], tuple[str, ...]] = arpabet_classes,
) -> list[Phone]:
    try:
        return segment_labels(labels, duration_s, classes_of)
    except SpeechError as error:
        raise CorpusError(f"{place}: {error}") from error


def _speaker_of(folder: str, name: str) -> str:
    """Return p225 for VCTK's p225_003, else the folder: one reader in each."""
    match = re.match(r"(p\d+)_", name)
    return match.group(1) if match else folder


def _read_labels(path: Path) -> list[tuple[str, float, float]]:
    check_file(path, CorpusError, "phone labels", MAX_LABEL_BYTES)
    try:
        rows = read_json(path, MAX_LABEL_BYTES)["phones"]
        labels = [(str(row[0]), float(row[1]), float(row[2])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise CorpusError(
            f'{path}: expected {{"phones": [[label, start_s, end_s], ...]}}, got {error!r}'
        ) from error
    for before, after in itertools.pairwise(labels):
        if after[1] < before[2] - 1e-3:
            raise CorpusError(f"{path}: phone {after} starts before {before} ends")
    return labels


# ---- Lists --------------------------------------------------------------------------------------


def _read_list(path: Path, holdout: Sequence[str]) -> Iterator[Clip]:
    check_file(path, CorpusError, "a list of phone labels", MAX_LABEL_BYTES)
    folder = path.with_suffix("")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = msgspec.json.decode(line, type=Line)
            labels = [(str(p[0]), float(p[1]), float(p[2])) for p in row.phones]
            doubtful = [(float(d[0]), float(d[1])) for d in row.doubtful]
        except (msgspec.MsgspecError, ValueError, IndexError) as error:
            raise CorpusError(f"{path}, line {number}: {error}") from error
        if Path(row.file).name != row.file:
            raise CorpusError(f"{path}, line {number}: found {row.file!r}, expected a file's name")
        clip = _make_clip(folder / row.file, row, labels)
        clip.split = "validation" if is_held_out(clip.name, holdout) else "train"
        yield from _leave_out(clip, doubtful)


def _make_clip(sound: Path, row: Line, labels: list[tuple[str, float, float]]) -> Clip:
    audio = read_sound(sound)
    duration_s = len(audio) / SAMPLE_RATE_HZ
    classes_of = arpabet_classes if row.language == "en" else _plain_classes
    segments = _segment(sound, labels, duration_s, classes_of)
    clip = Clip(
        name=sound.stem,
        audio=audio,
        motion=rule_motion(segments, duration_s),
        motion_mask=RULE_MASK.copy(),
        phones=segments,
        transcript=row.text,
        style="rules",
        speaker=row.speaker,
        source=f"labeled:{sound.parent.name}",
    )
    check_clip(clip)
    return clip


def _plain_classes(label: str) -> tuple[str, ...]:
    """Return the classes of an IPA label, less what phoneticians note behind "+" and "-"."""
    plain = re.split(r"[+-]", label)[0].removesuffix("asp")
    return ("sil",) if plain == "SIL" else ipa_classes(plain) or ("HH",)


def _leave_out(clip: Clip, doubtful: Sequence[tuple[float, float]]) -> Iterator[Clip]:
    """Yield a clip, or what lies between its doubtful stretches: pieces of a second or more."""
    if not doubtful:
        yield clip
        return
    start_s = 0.0
    for from_s, to_s in [*doubtful, (clip.duration_s + _MARGIN_S, 0.0)]:
        first = -(-round(start_s * MOTION_RATE_HZ * 1e3) // 1000)
        last = min(int((from_s - _MARGIN_S) * MOTION_RATE_HZ + 1e-6), clip.frames)
        if last - first >= _SHORTEST_PIECE_S * MOTION_RATE_HZ:
            piece = cut_clip(clip, first, last)
            yield replace(piece, name=f"{clip.name}@{start_s:.2f}")
        start_s = to_s + _MARGIN_S
