"""Speech made from text by espeak-ng, run as a program of its own."""

from __future__ import annotations

from dualtalker.speech.espeak import EspeakProcess, Phoneme, Speech, synthesize

__all__ = ["EspeakProcess", "Phoneme", "Speech", "synthesize"]
