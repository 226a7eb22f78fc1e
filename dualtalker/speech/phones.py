"""What a phone looks like on the lips: one table for all notations, from labels to classes."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeAlias

from dualtalker.errors import SpeechError
from dualtalker.files import read_json

SILENCE = "sil"
BILABIAL = "PP"
LABIODENTAL = "FF"
MAX_PHONE_BYTES = 1 << 26  # of a file: some days of speech

# The inventory: silence, vowels by jaw and rounding, consonants by what the lips do. It is also
# the target alphabet of lip reading, so sounds that look alike share a class (p b m; f v; ...).
VOWELS = ("AA", "AE", "AH", "AX", "AO", "OW", "UW", "EH", "ER", "IY", "IH")
PHONE_CLASSES: tuple[str, ...] = (
    SILENCE,
    *VOWELS,
    *("PP", "FF", "TH", "DD", "NN", "LL", "SS", "CH", "RR", "KK", "HH", "WW", "YY", "BH"),
)

_ARPABET: dict[str, tuple[str, ...]] = {
    "AA": ("AA",), "AE": ("AE",), "AH": ("AH",), "AO": ("AO",), "AX": ("AX",),
    "AW": ("AA", "UW"), "AY": ("AA", "IY"), "EY": ("EH", "IY"), "OW": ("OW", "UW"),
    "OY": ("AO", "IY"), "EH": ("EH",), "ER": ("ER",), "IH": ("IH",), "IY": ("IY",),
    "UH": ("UW",), "UW": ("UW",), "AXR": ("ER",), "IX": ("IH",), "UX": ("UW",),
    "B": ("PP",), "P": ("PP",), "M": ("PP",), "EM": ("AX", "PP"), "F": ("FF",), "V": ("FF",),
    "TH": ("TH",), "DH": ("TH",), "D": ("DD",), "T": ("DD",), "DX": ("DD",),
    "N": ("NN",), "EN": ("AX", "NN"), "NX": ("NN",), "NG": ("KK",), "L": ("LL",),
    "EL": ("AX", "LL"), "S": ("SS",), "Z": ("SS",), "SH": ("CH",), "ZH": ("CH",),
    "CH": ("CH",), "JH": ("CH",), "R": ("RR",), "K": ("KK",), "G": ("KK",), "HH": ("HH",),
    "HV": ("HH",), "W": ("WW",), "WH": ("WW",), "Y": ("YY",),
    "SIL": (SILENCE,), "PAU": (SILENCE,), "SP": (SILENCE,), "SPN": (SILENCE,), "": (SILENCE,),
}  # fmt: skip

# IPA letters as espeak-ng writes them; two-letter entries win over one-letter ones.
_IPA: dict[str, tuple[str, ...]] = {
    # open and front vowels
    "a": ("AA",), "ɑ": ("AA",), "ɒ": ("AO",), "æ": ("AE",), "ɐ": ("AH",), "ʌ": ("AH",),
    "ɔ": ("AO",), "o": ("OW",), "u": ("UW",), "ʊ": ("UW",), "ɯ": ("IH",), "ɤ": ("AH",),
    "ə": ("AX",), "ɘ": ("AX",), "ɜ": ("AH",), "ɚ": ("ER",), "ɝ": ("ER",), "ɵ": ("OW",),
    "e": ("EH",), "ɛ": ("EH",), "ɪ": ("IH",), "i": ("IY",), "ɨ": ("IH",), "ᵻ": ("IH",),
    "ər": ("ER",), "y": ("UW",), "ʏ": ("UW",), "ø": ("OW",), "œ": ("OW",), "ʉ": ("UW",),
    "ᵊ": ("AX",),
    # lips
    "p": ("PP",), "b": ("PP",), "m": ("PP",), "ɱ": ("FF",), "f": ("FF",), "v": ("FF",),
    "ʋ": ("FF",), "β": ("BH",), "ɸ": ("BH",), "w": ("WW",), "ɥ": ("WW",), "ʍ": ("WW",),
    "pf": ("PP", "FF"),
    # tongue tip
    "t": ("DD",), "d": ("DD",), "ɾ": ("DD",), "θ": ("TH",), "ð": ("TH",), "n": ("NN",),
    "l": ("LL",), "ɫ": ("LL",), "s": ("SS",), "z": ("SS",), "ts": ("SS",), "dz": ("SS",),
    "r": ("DD",), "ɹ": ("RR",), "ɻ": ("RR",), "ɖ": ("DD",), "ʈ": ("DD",), "ɽ": ("DD",),
    "ɺ": ("DD",), "ɳ": ("NN",), "ɭ": ("LL",), "ɬ": ("LL",),
    # palate: rounded and spread
    "ʃ": ("CH",), "ʒ": ("CH",), "ʂ": ("CH",), "ʐ": ("CH",), "tʃ": ("CH",), "dʒ": ("CH",),
    "tʂ": ("CH",), "ɕ": ("SS",), "ʑ": ("SS",), "tɕ": ("SS",), "ʧ": ("CH",), "ʤ": ("CH",),
    "ʦ": ("SS",), "ʨ": ("SS",),
    "dʑ": ("SS",), "ç": ("YY",), "j": ("YY",), "ʝ": ("YY",), "ɟ": ("YY",), "ɲ": ("NN",),
    "ʎ": ("LL",), "c": ("KK",),
    # back of the mouth
    "k": ("KK",), "ɡ": ("KK",), "g": ("KK",), "ŋ": ("KK",), "ɴ": ("KK",), "x": ("KK",),
    "ɣ": ("KK",), "ʁ": ("KK",), "ʀ": ("KK",), "χ": ("KK",), "q": ("KK",), "ɰ": ("KK",),
    "h": ("HH",), "ɦ": ("HH",), "ʔ": ("HH",), "ħ": ("HH",), "ʕ": ("HH",),
}  # fmt: skip

# Visemes of Microsoft's SAPI 5 by number (SpeechVisemeType, learn.microsoft.com/en-us/
# previous-versions/windows/desktop/ms720881(v=vs.85)); Azure's speech service sends the same
# (learn.microsoft.com/azure/ai-services/speech-service/how-to-speech-synthesis-viseme).
_SAPI: dict[str, tuple[str, ...]] = {
    "0": (SILENCE,), "1": ("AE",), "2": ("AA",), "3": ("AO",), "4": ("EH",), "5": ("ER",),
    "6": ("IY",), "7": ("UW",), "8": ("OW", "UW"), "9": ("AA", "UW"), "10": ("AO", "IY"),
    "11": ("AA", "IY"), "12": ("HH",), "13": ("RR",), "14": ("LL",), "15": ("SS",),
    "16": ("CH",), "17": ("TH",), "18": ("FF",), "19": ("DD",), "20": ("KK",), "21": ("PP",),
}  # fmt: skip

# Visemes in Amazon Polly's speech marks, of all its languages
# (docs.aws.amazon.com/polly/latest/dg/ref-phoneme-tables-shell.html).
_POLLY: dict[str, tuple[str, ...]] = {
    "p": ("PP",), "B": ("BH",), "f": ("FF",), "T": ("TH",), "t": ("DD",), "l": ("LL",),
    "J": ("YY",), "r": ("RR",), "s": ("SS",), "S": ("CH",), "k": ("KK",), "i": ("IY",),
    "u": ("UW",), "a": ("AA",), "e": ("EH", "IY"), "E": ("EH",), "o": ("OW", "UW"),
    "O": ("AO",), "@": ("AX",),
}  # fmt: skip

# What synthesizers and aligners write for a pause, a word's edge or the end, in any notation.
_PAUSES = frozenset(("", "sil", "SIL", "sp", "spn", "pau", "_", "^", "$", " ", *".,;:!?¡¿…—–"))

# espeak-ng's own spellings: Mandarin retroflexes with a full stop; English [ɜː] is rhotic or
# rounded, while German [ɜ] is the open ending of "Bäcker".
_SPELLINGS = {"s.": "ʂ", "i.": "ɨ", "ɜː": "ɝ"}

# Stress, length, tone and aspiration do not show on the lips.
_IGNORED = frozenset("ˈˌːˑ˞ʰʲʷᵝ̃-'\"|;.^~_\u200d\ufe0f˥˦˧˨˩→↓↑↗↘ʼ0123456789 ")


@dataclass(frozen=True)
class Phone:
    """A stretch of speech with one mouth shape; `label` is one of `PHONE_CLASSES`."""

    label: str
    start_s: float
    end_s: float


PhoneRows: TypeAlias = Iterable[Phone | Sequence[Any]]  # (label, start_s, end_s) each


def read_phones(rows: PhoneRows) -> list[Phone]:
    """Return rows of (label, start_s, end_s) as classes in order of time; diphthongs in halves.

    All labels are of one notation: viseme numbers of SAPI and Azure (0 to 21), ARPAbet in
    capitals, Polly's visemes, or IPA. A `Phone` is a class already. What follows the third column
    is not read.

    Raises:
        SpeechError: a row is none, a label is unknown, or a time is not finite or runs backward.
    """
    if not isinstance(rows, Iterable):
        raise SpeechError(f"phones are {rows!r}; expected a list of [label, start_s, end_s]")
    rows = list(rows)
    for row in rows:
        _check_row(row)
    classes_of = _find_notation({str(row[0]) for row in rows if not isinstance(row, Phone)})
    phones: list[Phone] = []
    for row in rows:
        if isinstance(row, Phone):
            phones.append(row)
        else:
            phones += divide(classes_of(str(row[0])), float(row[1]), float(row[2]))
    return sorted(phones, key=lambda phone: phone.start_s)


def load_phones(path: Path) -> list[Phone]:
    """Read `{"phones": [[label, start_s, end_s], ...]}`; raises SpeechError, as `read_phones`."""
    try:
        record = read_json(path, MAX_PHONE_BYTES)
        if not isinstance(record, dict) or not isinstance(record.get("phones"), list):
            raise ValueError('expected {"phones": [[label, start_s, end_s], ...]}')
        return read_phones(record["phones"])
    except (OSError, ValueError, SpeechError) as error:
        raise SpeechError(f"{path}: {error}") from error


def _check_row(row: Phone | Sequence[Any]) -> None:
    fields: Sequence[Any] = (
        row if not isinstance(row, Phone) else (row.label, row.start_s, row.end_s)
    )
    text = str(fields)[:100]
    if not isinstance(fields, (list, tuple)) or len(fields) < 3:
        raise SpeechError(f"phone {text}: expected [label, start_s, end_s]")
    label, *times = fields[:3]
    if isinstance(label, bool) or not isinstance(label, (str, Integral)):
        raise SpeechError(f"phone {text}: expected a text or a viseme's number as its label")
    if isinstance(row, Phone) and label not in PHONE_CLASSES:
        raise SpeechError(f"phone {text}: expected one of {', '.join(PHONE_CLASSES)}")
    for time in times:
        if isinstance(time, bool) or not isinstance(time, Real) or not math.isfinite(time):
            raise SpeechError(f"phone {text}: expected its start and end in seconds")
    if times[1] < times[0]:
        raise SpeechError(f"phone {text} ends before it starts")


def _find_notation(labels: set[str]) -> Callable[[str], tuple[str, ...]]:
    """Return what gives the classes of each of the labels: that notation which knows them all."""
    telling = labels - _PAUSES
    for table, key_of in ((_SAPI, str), (_ARPABET, _strip_stress), (_POLLY, str)):
        if all(key_of(label) in table for label in telling):
            known = {label: table[key_of(label)] for label in telling}
            return lambda label: known.get(label, (SILENCE,))
    if numbers := sorted(filter(str.isdecimal, telling)):
        raise SpeechError(f"viseme {numbers[0]}: expected a number from 0 to {len(_SAPI) - 1}")
    return lambda label: (SILENCE,) if label in _PAUSES else ipa_classes(label)


def _strip_stress(label: str) -> str:
    """Return an ARPAbet name without its stress."""
    return label.rstrip("012") or label


def divide(classes: Sequence[str], start_s: float, end_s: float) -> list[Phone]:
    """Share a segment equally among its classes; one without length has none."""
    if end_s - start_s <= 1e-6:
        return []
    step_s = (end_s - start_s) / max(len(classes), 1)
    return [
        Phone(name, start_s + part * step_s, start_s + (part + 1) * step_s)
        for part, name in enumerate(classes)
    ]


def arpabet_classes(label: str) -> tuple[str, ...]:
    """Return the classes of an ARPAbet, flite or radio phone name (any case, stress ignored)."""
    name = label.strip("0123456789+<>#").upper()
    if name not in _ARPABET:
        raise SpeechError(f"unknown ARPAbet phone {label!r}, expected one of {sorted(_ARPABET)}")
    return _ARPABET[name]


def ipa_classes(ipa: str) -> tuple[str, ...]:
    """Return the classes of one espeak-ng symbol in order; () for pauses and language switches."""
    letters = strip_ipa(ipa)
    classes: list[str] = []
    index = 0
    while index < len(letters):
        pair = letters[index : index + 2]
        size = 2 if pair in _IPA and len(pair) == 2 else 1
        found = _IPA.get(letters[index : index + size])
        if found is None:
            raise SpeechError(
                f"IPA symbol {letters[index]!r} (in {ipa!r}) has no mouth-shape class: expected "
                "IPA, ARPAbet in capitals, numbers of SAPI's visemes or Polly's visemes, one "
                "notation at a time; a new symbol belongs to the table in "
                "dualtalker/speech/phones.py"
            )
        classes += [name for name in found if not classes or classes[-1] != name]
        index += size
    return tuple(classes)


def strip_ipa(ipa: str) -> str:
    """Strip "(en)" language marks, diacritics, tone and stress."""
    while "(" in ipa:
        head, _, rest = ipa.partition("(")
        ipa = head + rest.partition(")")[2]
    for spelling, letter in _SPELLINGS.items():
        ipa = ipa.replace(spelling, letter)
    # Decomposing splits accents off; "ç" is a letter of its own and must stay whole.
    plain = "".join(c if c == "ç" else unicodedata.normalize("NFD", c) for c in ipa)
    return "".join(c for c in plain if not unicodedata.combining(c) and c not in _IGNORED)
