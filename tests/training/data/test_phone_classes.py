"""Classes frame by frame; every symbol of every voice that speaks in training is known."""

from __future__ import annotations

import pytest

from dualtalker.speech import EspeakProcess, Phone, ipa_classes
from training.data import LANGUAGES, PHONE_CLASSES, class_ids
from training.data.synthesis import read_texts


def test_class_ids_follow_the_segments():
    ids = class_ids([Phone("sil", 0, 0.1), Phone("PP", 0.1, 0.2)], 15, 50)
    names = [PHONE_CLASSES[k] for k in ids]
    assert names == ["sil"] * 5 + ["PP"] * 5 + ["sil"] * 5


@pytest.mark.parametrize("name", sorted(LANGUAGES))
def test_every_symbol_of_every_sentence_has_a_class(name):
    pytest.importorskip("espeakng_loader", reason="needs pip install 'dualtalker[speech]'")
    language = LANGUAGES[name]
    texts = read_texts(language.sentences)
    assert len(texts.sentences) >= 20
    seen = set()
    with EspeakProcess() as espeak:
        words = [word for words in texts.lists.values() for word in words]
        for text in [*texts.sentences, *words]:
            seen |= {p.ipa for p in espeak.speak(text, language.voice).phonemes}
    classes = {c for ipa in seen for c in ipa_classes(ipa)}  # raises for an unknown symbol
    assert {"PP", "FF" if name != "ja" else "BH"} <= classes
