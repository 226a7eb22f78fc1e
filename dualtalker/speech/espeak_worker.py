"""The child process that holds the espeak-ng library (GPL-3), so that it stays a separate program.

Run as `python -m dualtalker.speech.espeak_worker`. Standard input: one JSON object a line with
`text`, `voice`, `rate_wpm`, `pitch`. Standard output, per request: one JSON line, followed by its
`bytes` bytes of little-endian int16 samples. `dualtalker.speech` is the other end.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import sys
from pathlib import Path
from typing import Any

# Constants of espeak-ng's speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_PHONEME_EVENTS = 0x0001
INITIALIZE_PHONEME_IPA = 0x0002
INITIALIZE_DONT_EXIT = 0x8000
CHARS_UTF8 = 1
EVENT_LIST_TERMINATED = 0
EVENT_PHONEME = 7
PARAMETER_RATE = 1
PARAMETER_PITCH = 3
POSITION_CHARACTER = 1


class _EventId(ctypes.Union):
    _fields_ = [
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    ]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


class _Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


def find_library() -> tuple[str, str | None]:
    """Return (library path, data folder or None for the built-in one). OSError where missing."""
    try:
        import espeakng_loader
    except ImportError:
        system = ctypes.util.find_library("espeak-ng")
        if system is None:
            raise OSError("neither the espeakng-loader package nor libespeak-ng is here") from None
        return system, None
    return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())


def _parse_languages(address: int) -> list[str]:
    """Read a list of (priority byte, zero-terminated language code), ended by priority zero."""
    languages = []
    while ctypes.string_at(address, 1) != b"\0":
        code = ctypes.string_at(address + 1)
        languages.append(code.decode())
        address += len(code) + 2
    return languages


class _Synthesizer:
    """The library, its callback and what the callback has gathered."""

    def __init__(self) -> None:
        library_path, data_path = find_library()
        self.library = ctypes.CDLL(library_path)
        self.library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        options = INITIALIZE_PHONEME_EVENTS | INITIALIZE_PHONEME_IPA | INITIALIZE_DONT_EXIT
        self.rate_hz = self.library.espeak_Initialize(
            AUDIO_OUTPUT_SYNCHRONOUS, 0, data_path.encode() if data_path else None, options
        )
        if self.rate_hz <= 0:
            raise OSError(f"{library_path} does not start (data in {data_path})")
        data = ctypes.c_char_p()
        self.library.espeak_Info(ctypes.byref(data))
        self.variants = Path((data.value or b"").decode()) / "voices" / "!v"
        self.voice_files = self._list_voices()
        self.sound = bytearray()
        self.phonemes: list[tuple[str, int]] = []
        self.callback = _CALLBACK(self._gather)  # kept: the library holds only the pointer
        self.library.espeak_SetSynthCallback(self.callback)

    def _gather(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self.sound += ctypes.string_at(samples, 2 * count)
        index = 0
        while events and events[index].type != EVENT_LIST_TERMINATED:
            event = events[index]
            if event.type == EVENT_PHONEME:
                # Eight bytes at most: a long symbol may be cut in the middle of a character.
                ipa = bytes(event.id.string).decode("utf-8", "ignore")
                self.phonemes.append((ipa, event.sample))
            index += 1
        return 0

    def _list_voices(self) -> dict[str, str]:
        """Return language code -> the voice's file, as `espeak_SetVoiceByName` wants it."""
        listed = self.library.espeak_ListVoices(None)
        files: dict[str, str] = {}
        index = 0
        while listed[index]:
            voice = listed[index].contents
            for language in _parse_languages(voice.languages):
                files.setdefault(language, voice.identifier.decode())
            index += 1
        return files

    def select_voice(self, name: str) -> bool:
        """Choose a voice by language code and optional "+variant"; False where there is none.

        The library itself ignores variants it does not know; they are refused here.
        """
        language, plus, variant = name.partition("+")
        if language not in self.voice_files:
            return False
        if plus and not (variant and (self.variants / variant).is_file()):
            return False
        file = self.voice_files[language] + plus + variant
        return bool(self.library.espeak_SetVoiceByName(file.encode()) == 0)

    def speak(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        library = self.library
        if not self.select_voice(request["voice"]):
            variants = sorted(path.name for path in self.variants.glob("*"))
            known = {"voices": sorted(self.voice_files), "variants": variants}
            return {"error": "unknown voice", **known}, b""
        library.espeak_SetParameter(PARAMETER_RATE, int(request["rate_wpm"]), 0)
        library.espeak_SetParameter(PARAMETER_PITCH, int(request["pitch"]), 0)
        self.sound = bytearray()
        self.phonemes = []
        # Breathy voices are made with noise that the library seeds by the clock.
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        text = request["text"].encode() + b"\0"
        status = library.espeak_Synth(
            text, ctypes.c_size_t(len(text)), 0, POSITION_CHARACTER, 0, CHARS_UTF8, None, None
        )
        library.espeak_Synchronize()
        if status != 0:
            return {"error": f"espeak_Synth returned {status}"}, b""
        header = {"rate_hz": self.rate_hz, "phonemes": self.phonemes}
        return header, bytes(self.sound)


def main() -> int:
    """Answer requests until standard input ends."""
    output = sys.stdout.buffer
    try:
        synthesizer = _Synthesizer()
    except OSError as error:
        output.write(json.dumps({"error": "no library", "detail": str(error)}).encode() + b"\n")
        output.flush()
        return 3
    for line in sys.stdin.buffer:
        header, sound = synthesizer.speak(json.loads(line))
        header["bytes"] = len(sound)
        output.write(json.dumps(header).encode() + b"\n")
        output.write(sound)
        output.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
