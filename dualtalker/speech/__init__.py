"""Speech made from text by espeak-ng, run as a program of its own; phones and their classes."""

from __future__ import annotations

from dualtalker.speech.espeak import EspeakProcess, Phoneme, Speech, synthesize
from dualtalker.speech.phones import (
    BILABIAL,
    LABIODENTAL,
    PHONE_CLASSES,
    SILENCE,
    VOWELS,
    Phone,
    PhoneRows,
    arpabet_classes,
    ipa_classes,
    load_phones,
    read_phones,
)
from dualtalker.speech.segments import BURST_S, cover, segment_espeak, segment_labels

__all__ = [
    "BILABIAL",
    "BURST_S",
    "LABIODENTAL",
    "PHONE_CLASSES",
    "SILENCE",
    "VOWELS",
    "EspeakProcess",
    "Phone",
    "PhoneRows",
    "Phoneme",
    "Speech",
    "arpabet_classes",
    "cover",
    "ipa_classes",
    "load_phones",
    "read_phones",
    "segment_espeak",
    "segment_labels",
    "synthesize",
]
