"""Synthetic speech with exact phone times, and the face moving to it by rule: endless clips."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from dualtalker.speech import (
    EspeakProcess,
    Phone,
    cover,
    segment_espeak,
    segment_labels,
)
from training.data.clips import SAMPLE_RATE_HZ, Clip, CorpusError
from training.data.coarticulation import RULE_MASK, rule_motion
from training.data.recordings import is_held_out, to_corpus_rate

# Raise it whenever the same plan would give other clips, so that old shards are made anew.
GENERATOR_VERSION = 1

SHARD_S = 300.0  # speech per shard; shards are the unit of parallel work and of resuming
FLITE_SHARE = 0.3  # its voices are cut from real speech, espeak-ng's are formants
FLITE_VOICES = ("slt", "rms", "awb", "kal16")
FLITE_HINT = "apt-get install flite, or leave it out with --no-flite"


@dataclass(frozen=True)
class Language:
    """One espeak-ng voice, the file of sentences it reads, and its share among all voices."""

    voice: str
    sentences: str
    share: float


LANGUAGES: dict[str, Language] = {
    "en-us": Language("en-us", "en", 0.22),
    "en-gb": Language("en-gb", "en", 0.16),
    "de": Language("de", "de", 0.12),
    "fr": Language("fr", "fr", 0.10),
    "es": Language("es", "es", 0.10),
    "it": Language("it", "it", 0.08),
    "cmn": Language("cmn", "cmn", 0.16),
    "ja": Language("ja", "ja", 0.06),
}

# Timbres of espeak-ng that still sound like people; "" is the plain voice.
VARIANTS = (
    *("", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5"),
    *("Alex", "Alicia", "Andrea", "Annie", "adam", "belinda", "caleb", "ed", "ian", "john"),
    *("linda", "norbert", "paul", "quincy", "rob", "steph", "travis"),
)

DRAWN_RATES_WPM = (120, 220)
DRAWN_PITCHES = (20, 80)
EFFORT_RANGE = (0.8, 1.2)
EDGE_SILENCE_RANGE_S = (0.2, 1.0)
PAUSE_RANGE_S = (0.2, 0.9)
PAUSE_SHARE = 0.3  # clips that hold a second sentence after a pause

SENTENCES = Path(__file__).parent / "sentences"
TEMPLATE_SHARE = 0.6  # of all sentences, where a language has templates
_SLOT = re.compile(r"\{([^}]+)\}")


@dataclass(frozen=True)
class SynthesisPlan:
    """What one shard is made from; equal plans give equal clips."""

    seed: int
    shard: int
    duration_s: float = SHARD_S
    languages: tuple[str, ...] = tuple(LANGUAGES)
    flite: bool = True


def check_plan(plan: SynthesisPlan) -> None:
    """Raise `CorpusError` for unknown languages, or where flite is wanted and missing."""
    unknown = [name for name in plan.languages if name not in LANGUAGES]
    if unknown or not plan.languages:
        raise CorpusError(f"languages {unknown} are not among {sorted(LANGUAGES)}")
    if plan.flite and shutil.which("flite") is None:
        raise CorpusError(f"the program flite is not here: {FLITE_HINT}")


def synthesize_shard(plan: SynthesisPlan, holdout: Sequence[str] = ()) -> Iterator[Clip]:
    """Yield clips until they last `plan.duration_s`; seeded, so the same plan says the same."""
    check_plan(plan)
    chance = random.Random(f"{plan.seed}/{plan.shard}")
    shares = [LANGUAGES[name].share for name in plan.languages]
    made_s = 0.0
    number = 0
    with EspeakProcess() as espeak:
        while made_s < plan.duration_s:
            name = f"synth-{plan.shard:05d}-{number:04d}"
            split = "validation" if is_held_out(name, holdout) else "train"
            if plan.flite and chance.random() < FLITE_SHARE:
                clip = _speak_flite(name, chance)
            else:
                language = chance.choices(plan.languages, shares)[0]
                clip = _speak_espeak(name, LANGUAGES[language], espeak, chance)
            clip.split = split
            yield clip
            made_s += clip.duration_s
            number += 1


@dataclass(frozen=True)
class _Part:
    """One spoken sentence at 16 kHz with the phones that cover it."""

    audio: np.ndarray
    phones: list[Phone]
    text: str


def _speak_espeak(
    name: str, language: Language, espeak: EspeakProcess, chance: random.Random
) -> Clip:
    variant = chance.choice(VARIANTS)
    voice = f"{language.voice}+{variant}" if variant else language.voice
    rate_wpm = chance.randint(*DRAWN_RATES_WPM)
    pitch = chance.randint(*DRAWN_PITCHES)
    parts = []
    for _ in range(_sentence_count(chance)):
        text = draw_sentence(language.sentences, chance)
        speech = espeak.speak(text, voice, rate_wpm, pitch)
        audio = to_corpus_rate(speech.samples, speech.sample_rate_hz)
        parts.append(_Part(audio, segment_espeak(speech.phonemes, speech.duration_s), text))
    return _assemble(name, parts, chance, speaker=f"espeak:{voice}", source="synthetic:espeak")


def _speak_flite(name: str, chance: random.Random) -> Clip:
    voice = chance.choice(FLITE_VOICES)
    stretch = round(chance.uniform(0.8, 1.25), 2)
    parts = [
        run_flite(draw_sentence("en", chance), voice, stretch)
        for _ in range(_sentence_count(chance))
    ]
    return _assemble(name, parts, chance, speaker=f"flite:{voice}", source="synthetic:flite")


def run_flite(text: str, voice: str, stretch: float = 1.0) -> _Part:
    """Speak English text by the flite program. Raises `CorpusError` where it is missing."""
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        stretch_setting = f"duration_stretch={stretch}"
        command = ["flite", "-voice", voice, "--setf", stretch_setting, "-psdur"]
        try:
            done = subprocess.run(
                [*command, "-t", text, "-o", str(path)],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
        except FileNotFoundError as error:
            raise CorpusError(f"the program flite is not here: {FLITE_HINT}") from error
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise CorpusError(f"flite failed on {text!r}: {error}") from error
        samples, rate_hz = soundfile.read(path, dtype="float32")
    rows = []
    start_s = 0.0
    for field in done.stdout.split():
        label, _, end = field.rpartition(":")
        rows.append((label, start_s, float(end)))
        start_s = float(end)
    audio = to_corpus_rate(samples, rate_hz)
    return _Part(audio, segment_labels(rows, len(audio) / SAMPLE_RATE_HZ), text)


def _sentence_count(chance: random.Random) -> int:
    return 2 if chance.random() < PAUSE_SHARE else 1


def _assemble(
    name: str, parts: Sequence[_Part], chance: random.Random, speaker: str, source: str
) -> Clip:
    """Join sentences with silence before, between and after, and move the face to them."""
    sounds = [_silence(chance.uniform(*EDGE_SILENCE_RANGE_S))]
    phones: list[Phone] = []
    for index, part in enumerate(parts):
        if index:
            sounds.append(_silence(chance.uniform(*PAUSE_RANGE_S)))
        offset_s = sum(map(len, sounds)) / SAMPLE_RATE_HZ
        phones += [Phone(p.label, p.start_s + offset_s, p.end_s + offset_s) for p in part.phones]
        sounds.append(part.audio)
    sounds.append(_silence(chance.uniform(*EDGE_SILENCE_RANGE_S)))
    audio = np.concatenate(sounds)
    duration_s = len(audio) / SAMPLE_RATE_HZ
    phones = cover(phones, duration_s)
    return Clip(
        name=name,
        audio=audio,
        motion=rule_motion(phones, duration_s, effort=chance.uniform(*EFFORT_RANGE)),
        motion_mask=RULE_MASK.copy(),
        phones=phones,
        transcript=" ".join(part.text for part in parts),
        style="rules",
        speaker=speaker,
        source=source,
    )


def _silence(duration_s: float) -> np.ndarray:
    return np.zeros(round(duration_s * SAMPLE_RATE_HZ), np.float32)


# ---- What the voices say -----------------------------------------------------------------------


@dataclass(frozen=True)
class Texts:
    """All that one file of sentences holds."""

    sentences: tuple[str, ...]
    templates: tuple[str, ...]
    lists: dict[str, tuple[str, ...]]


@cache
def read_texts(language: str) -> Texts:
    """Read sentences/LANGUAGE.txt; see the head of en.txt for the format."""
    path = SENTENCES / f"{language}.txt"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in SENTENCES.glob("*.txt")))
        raise CorpusError(f"no sentences for language {language!r}; there are some for {known}")
    sentences, templates, lists = [], [], {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, colon, words = line.partition(":")
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("="):
            templates.append(line[1:].strip())
        elif colon and "|" in words:
            lists[name.strip()] = tuple(word.strip() for word in words.split("|"))
        else:
            sentences.append(line.strip())
    for template in templates:
        for slot in _SLOT.findall(template):
            if slot not in lists:
                raise CorpusError(f"{path}: template {template!r} names an unknown list {slot!r}")
    return Texts(tuple(sentences), tuple(templates), lists)


def draw_sentence(language: str, chance: random.Random) -> str:
    """Return a sentence: one of the written ones, or a filled-in template."""
    texts = read_texts(language)
    if not texts.templates or chance.random() >= TEMPLATE_SHARE:
        return chance.choice(texts.sentences)
    filled = _SLOT.sub(
        lambda slot: chance.choice(texts.lists[slot.group(1)]), chance.choice(texts.templates)
    )
    return filled[0].upper() + filled[1:]
