"""What the synthetic voices say: written sentences, and endless ones from templates. No sound."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from training.data.clips import CorpusError

SENTENCES = Path(__file__).parent / "sentences"
TEMPLATE_SHARE = 0.6  # of all sentences, where a language has templates
_SLOT = re.compile(r"\{([^}]+)\}")


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
