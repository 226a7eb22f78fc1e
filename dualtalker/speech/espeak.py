"""Text to speech with exact phoneme times, by espeak-ng in a child process."""

from __future__ import annotations

import difflib
import json
import os
import selectors
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualtalker.errors import SpeechError

RATE_RANGE_WPM = (80, 450)  # what espeak-ng accepts; outside it clips in silence
PITCH_RANGE = (0, 99)
INSTALL_HINT = "pip install 'dualtalker[speech]'"
WORKER = ("-m", "dualtalker.speech.espeak_worker")  # arguments to Python for the child


@dataclass(frozen=True)
class Phoneme:
    """One espeak-ng event. `ipa` is empty at pauses; a stop's event marks its release."""

    ipa: str
    start_s: float


@dataclass(frozen=True)
class Speech:
    """samples: float32 [n] in [-1, 1], mono."""

    samples: np.ndarray
    sample_rate_hz: int
    phonemes: list[Phoneme]

    @property
    def duration_s(self) -> float:
        """Length of the sound in seconds."""
        return len(self.samples) / self.sample_rate_hz


def synthesize(
    text: str, voice: str = "en-us", rate_wpm: int = 165, pitch: int = 50, timeout_s: float = 60.0
) -> Speech:
    """Speak `text` once. Raises `SpeechError`; for many sentences keep an `EspeakProcess`."""
    with EspeakProcess(timeout_s) as espeak:
        return espeak.speak(text, voice, rate_wpm, pitch)


class EspeakProcess:
    """A running espeak-ng child that speaks one sentence after another (some 1 ms each).

    Use as a context manager, or call `close()`. The same requests in the same order to a new
    process give the same samples. After a timeout the child is gone and the next
    call starts a new one.
    """

    def __init__(self, timeout_s: float = 60.0) -> None:
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()

    def __enter__(self) -> EspeakProcess:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def speak(
        self, text: str, voice: str = "en-us", rate_wpm: int = 165, pitch: int = 50
    ) -> Speech:
        """Return the speech for `text`; `voice` may carry a timbre, as in "en-us+f2".

        Raises `SpeechError` for empty text, text that is no Unicode, unknown voices, rates outside
        80-450 words a minute, pitches outside 0-99, a missing library, or no answer in time.
        """
        _check_request(text, voice, rate_wpm, pitch)
        request = {"text": text, "voice": voice, "rate_wpm": rate_wpm, "pitch": pitch}
        header, sound = self._ask(request)
        if header.get("error") == "unknown voice":
            raise SpeechError(_describe_unknown(voice, header["voices"], header["variants"]))
        if "error" in header:
            raise SpeechError(f"espeak-ng failed on {text!r}: {header['error']}")
        samples = np.frombuffer(sound, "<i2").astype(np.float32) / np.float32(32768)
        rate_hz = int(header["rate_hz"])
        phonemes = [Phoneme(ipa, sample / rate_hz) for ipa, sample in header["phonemes"]]
        if not any(phoneme.ipa for phoneme in phonemes):
            raise SpeechError(f"nothing in {text!r} can be spoken with voice {voice!r}")
        return Speech(samples, rate_hz, phonemes)

    def close(self) -> None:
        """End the child, if it runs."""
        process, self._process = self._process, None
        self._buffer.clear()
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    def _ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        deadline = time.monotonic() + self._timeout_s
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # the child has ended; its last words are read below
        line = self._read(process, deadline, None)
        try:
            header = json.loads(line)
        except ValueError:
            self.close()
            raise SpeechError(
                f"the espeak-ng process answered {line[:80]!r} instead of JSON"
            ) from None
        if header.get("error") == "no library":
            self.close()
            raise SpeechError(f"espeak-ng is missing ({header['detail']}): run {INSTALL_HINT}")
        return header, self._read(process, deadline, header["bytes"])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # The child must find this very package, wherever its parent has it from.
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
            self._process = subprocess.Popen(
                [sys.executable, *WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
            )
        return self._process

    def _read(self, process: subprocess.Popen[bytes], deadline: float, size: int | None) -> bytes:
        """Return the next `size` bytes, or the next line where `size` is None."""
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                length = size if size is not None else self._buffer.find(b"\n") + 1
                if (size is not None or length > 0) and len(self._buffer) >= length:
                    answer = bytes(self._buffer[:length])
                    del self._buffer[:length]
                    return answer
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self.close()
                    raise SpeechError(f"espeak-ng gave no answer within {self._timeout_s:g} s")
                block = os.read(process.stdout.fileno(), 1 << 16)
                if not block:
                    status = process.wait()
                    self.close()
                    raise SpeechError(f"the espeak-ng process ended with status {status}")
                self._buffer += block


def _check_request(text: str, voice: str, rate_wpm: int, pitch: int) -> None:
    if not text.strip():
        raise SpeechError("the text to speak is empty")
    for what, words in (("text to speak", text), ("voice", voice)):
        if "\0" in words:
            raise SpeechError(f"the {what} holds a zero character")
        try:
            words.encode()
        except UnicodeEncodeError as error:
            raise SpeechError(
                f"the {what} is not valid Unicode at character {error.start}: {words[:40]!a}; "
                "give it in UTF-8, for example by: iconv -f latin1 -t utf8"
            ) from error
    ranges = ("rate_wpm", rate_wpm, RATE_RANGE_WPM), ("pitch", pitch, PITCH_RANGE)
    for name, value, (low, high) in ranges:
        if not low <= value <= high:
            raise SpeechError(f"{name} is {value}, expected {low} to {high}")


def _describe_unknown(voice: str, voices: list[str], variants: list[str]) -> str:
    language, _, variant = voice.partition("+")
    if language in voices:
        near = difflib.get_close_matches(variant, variants, n=5, cutoff=0.0)
        return f"espeak-ng has no variant {variant!r} for {language!r}; near it: {', '.join(near)}"
    near = difflib.get_close_matches(language, voices, n=5, cutoff=0.0)
    return (
        f"espeak-ng has no voice {voice!r}; near it: {', '.join(near)} "
        f"({len(voices)} languages in all, for example en-us, de, fr-fr)"
    )
