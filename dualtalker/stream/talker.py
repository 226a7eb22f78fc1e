"""Talker: speech goes in as it comes, face frames come out on time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import numpy as np

from dualtalker.errors import DualtalkerError
from dualtalker.face import (
    Expression,
    ExpressionLayer,
    FaceFinisher,
    GazeLayer,
    Manner,
    Smoother,
    check_seed,
    direction_of,
    make_life,
    pose_expression,
)
from dualtalker.faults import Faults
from dualtalker.model import Bundle, Style, list_styles, load_bundle
from dualtalker.model.backends import open_backend
from dualtalker.speech import PhoneRows, read_phones
from dualtalker.stream.clock import FrameClock, StampClock, as_duration
from dualtalker.stream.executor import FrameExecutor
from dualtalker.stream.faults import KINDS
from dualtalker.stream.frames import Frame
from dualtalker.stream.intake import AudioAccumulator, AudioIntake
from dualtalker.stream.segments import Segments
from dualtalker.stream.sources import StampSource
from dualtalker.stream.stamps import Timeline

# Times given as floats may lie a little before the exact time of a frame that they mean.
_FLOAT_SLACK_S = Fraction(1, 1_000_000)


class Talker:
    """Streaming speech to face. Not thread-safe: call it from one thread, or lock around it.

    The frames do not depend on how the audio is cut into pushes. Memory is constant: audio is run
    through the model once more than a second of it waits, and frames wait until they are fetched.
    """

    def __init__(
        self,
        model: str | Path | Bundle | None = None,
        *,
        fps: float = 30.0,
        engine: str = "auto",
        idle_motion: bool = True,
        prosody: bool = True,
        head_motion: bool = False,
        smoothing_s: float = 0.0,
        seed: int = 0,
        style: Style = None,
        intensity: float = 1.0,
        stamps: str = "auto",
        max_gap_s: float = 1.0,
        gap_tolerance_s: float = 0.03,
    ) -> None:
        """Open the model.

        Args:
            model: bundle or its path; None is the model shipped with the package.
            fps: output frames per second, 1 to 120.
            engine: "auto" or the name of a backend.
            idle_motion: add blinks, glances and small brow motion; never the mouth.
            prosody: brows, blinks and glances follow the voice; part of `idle_motion`.
            head_motion: also sway and nod (`Frame.head`); needs `idle_motion`.
            smoothing_s: time constant of a low-pass over the motion, which lags as much; 0 is off.
            seed: seed of the idle motion.
            style: see `set_style`.
            intensity: see `set_intensity`.
            stamps: what they are of, "audio" or "arrival"; "auto" finds out soon.
            max_gap_s: a longer hole is not heard as silence: the model starts anew after it.
            gap_tolerance_s: stamps that differ by less from the sample clock are jitter.

        Raises:
            BundleError, BackendError: the model cannot be loaded.
            DualtalkerError: fps or another number is out of range, or the style is unknown.
        """
        self._clock = FrameClock(fps)
        self._faults = Faults(KINDS)
        self._max_gap_s = as_duration("max_gap_s", max_gap_s)
        self._tolerance_s = as_duration("gap_tolerance_s", gap_tolerance_s)
        self._smoothing_s = float(as_duration("smoothing_s", smoothing_s))
        self._life = (idle_motion, prosody, head_motion, check_seed(seed))
        self.bundle = model if isinstance(model, Bundle) else load_bundle(model)
        sidecar = self.bundle.sidecar
        self._model_latency_s = sidecar.lookahead_s + sidecar.hop_s
        self._manner = Manner(sidecar, style, intensity)
        self._stamps_of = StampSource(stamps).stamps
        self._backend = open_backend(self.bundle, engine)
        self._expression = ExpressionLayer(len(sidecar.output_names))
        self.reset()

    @property
    def fps(self) -> float:
        """Output frames per second."""
        return self._clock.fps_hz

    @property
    def backend_name(self) -> str:
        """The engine in use, with its version."""
        return self._backend.name

    @property
    def lookahead_s(self) -> float:
        """Seconds of audio after its instant that a frame depends on."""
        return self.bundle.sidecar.lookahead_s

    @property
    def latency_s(self) -> float:
        """Seconds of audio that must follow an instant, at worst, before its frame is computable.

        The sum of lookahead, one hop (audio is taken by hops; interpolation waits within it) and
        the resampler's delay at the present input rate. Compute time and transport come on top.
        """
        return self._model_latency_s + self._segments.audio.delay_s

    @property
    def styles(self) -> tuple[str, ...]:
        """Names that `set_style` knows; empty where the model has one style alone."""
        return tuple(list_styles(self.bundle.sidecar))

    @property
    def style(self) -> dict[str, float]:
        """The style asked for: weights of the trained styles (sum 1); empty without a choice."""
        return self._manner.style

    @property
    def intensity(self) -> float:
        """The intensity asked for, 0 to 2."""
        return self._manner.intensity

    @property
    def counters(self) -> Mapping[str, int]:
        """What went wrong so far, by kind (see `faults.KINDS`)."""
        return MappingProxyType(self._faults.counters)

    @property
    def audio_end_s(self) -> float:
        """Stream time of the end of all audio pushed."""
        return float(self._timeline.end_s)

    def push(self, samples: np.ndarray, sample_rate_hz: int, stamp_ns: int | None = None) -> None:
        """Take a chunk of any length: [n] or [n, channels], float in [-1, 1] or integer PCM.

        The first stamp ties stamps to stream time. Later ones show holes (filled with silence, or
        with idle frames beyond `max_gap_s`), overlaps (dropped) and jumps (followed); what was
        found is counted. An overlap is audio whose samples came before, or whose time has passed
        as a hole; what is new is heard, whatever its stamp. Where stamps are of arrivals, chunks
        are seamless up to a pause of 250 ms (`arrival_stamps`). So they are without stamps, unless
        `advance_to` has gone on for more than `max_gap_s` past the audio: then they begin where it
        stands.

        A single stray stamp must not cut the speech: where one strays by less than 150 ms, its
        chunk waits until the next stamp comes. If that one agrees, the hole or overlap is healed
        where it is; if not, the chunk is heard as seamless (`stray_stamps`). A push without a
        stamp, `flush` and `advance_to` end the wait.

        Raises:
            AudioError: the chunk is refused and counted; nothing else changes.
        """
        chunk, rate_hz = self._intake.check(samples, sample_rate_hz, stamp_ns)
        if len(chunk):
            self._timeline.push(chunk, rate_hz, None if stamp_ns is None else int(stamp_ns))

    def push_phones(self, phones: PhoneRows, stamp_ns: int | None = None) -> None:
        """Tell what will be said: rows of (label, start_s, end_s), as of `speech.read_phones`.

        The lips, and lip and teeth, then meet where the phones say so, and /w u o/ are rounded.
        Times are of the stream, or follow the sample stamped `stamp_ns`, whose audio may come
        later. Phones that are late, far too early or not of the sound are counted and ignored.

        Raises:
            SpeechError: a row is no phone or its label is unknown; nothing changes.
        """
        self._segments.executor.text.push(read_phones(phones), stamp_ns)

    def frames(self) -> list[Frame]:
        """Return all frames that are now computable and were not returned before, in order."""
        self._segments.run_ready()
        return self._segments.take_frames()

    def advance_to(self, time_s: float) -> list[Frame]:
        """Audio is missing: return frames through stream time `time_s`, idle where need be.

        The mouth closes within 200 ms of the last spoken frame and idle life goes on. The model is
        not run on silence: audio that still comes is heard in full, though the frames shown in its
        place are not shown again (`late_frames`). Where the speech is known to be over, `flush`
        first: its last frames then wait for no more audio. A call that leaps by more than 10 s
        passes over the frame indices in between (`skipped_frames`).

        Raises:
            DualtalkerError: the time is not finite.
        """
        if not math.isfinite(time_s):
            raise DualtalkerError(f"advance_to({time_s!r}); expected a stream time in seconds")
        self._timeline.settle()
        self._segments.run_ready()
        executor = self._segments.executor
        before = executor.next_index
        if skipped := self._segments.rest_through(Fraction(time_s) + _FLOAT_SLACK_S):
            self._faults.count("skipped_frames", "advance_to leapt ahead", skipped)
        if executor.next_index > before:
            self._timeline.idle_until(executor.next_time_s)
        return self._segments.take_frames()

    def flush(self) -> list[Frame]:
        """End the speech: return the frames that waited for audio to come, up to its end.

        The model hears silence in place of that audio, and starts anew with the next push.
        """
        self._timeline.pause()
        self._segments.finish()
        return self.frames()

    def interrupt(self, time_s: float) -> int:
        """Drop all audio, and the frames from stream time `time_s` on, which nobody has seen yet.

        The mouth closes from the frame before them, within 200 ms; time, stamps and life go on.
        Frames are taken back up to 2 s; phones are forgotten. Returns the index of the next frame.
        """
        index = self._segments.take_back(Fraction(time_s) - _FLOAT_SLACK_S)
        self._timeline.take_back()
        self._manner.settle()  # the mouth rests where a change would have begun
        return index

    def take_back_idle(self, time_s: float) -> None:
        """Make the idle frames from stream time `time_s` on anew, as audio comes in their place.

        They are the last ones that `advance_to` gave, and nobody has seen them.
        """
        executor = self._segments.executor
        executor.take_back_idle(Fraction(time_s) - _FLOAT_SLACK_S)
        self._timeline.idle_until(executor.next_time_s)

    def set_idle_motion(self, on: bool) -> None:
        """Switch blinks, glances and brow motion on or off, as `set_life`."""
        self.set_life(idle_motion=on)

    def set_life(
        self,
        *,
        idle_motion: bool | None = None,
        prosody: bool | None = None,
        head_motion: bool | None = None,
    ) -> None:
        """Change what moves beside speech; None leaves it as it is. It takes 250 ms.

        Where the head no longer moves, `Frame.head` is None once it is back.

        Raises:
            DualtalkerError: the head is to move without `idle_motion`; nothing changes.
        """
        asked = (idle_motion, prosody, head_motion)
        idle, follows, head = (
            before if now is None else now
            for now, before in zip(asked, self._life[:3], strict=True)
        )
        if (idle, follows, head) == self._life[:3]:
            return
        kind = (idle, follows, head, self._life[3])
        self._finisher.switch_life(make_life(*kind, self.bundle.sidecar.sample_rate_hz))
        self._gaze.let_head_follow(float(self._timeline.end_s), head)
        self._life = kind

    def set_smoothing(self, smoothing_s: float) -> None:
        """Change the low-pass over the motion; it gets there within half a second.

        Raises:
            DualtalkerError: it is not 0 to an hour; nothing changes.
        """
        self._smoothing_s = float(as_duration("smoothing_s", smoothing_s))
        self._smoother.change(self._smoothing_s)

    def set_style(self, style: Style) -> None:
        """Speak in another style from the end of the audio pushed so far, by a fade of 100 ms.

        `style` is one of `styles`, a mixture of them as a text (`"rules:0.3,natural:0.7"`) or as
        weights by name, or None for the model's default. Weights need not sum to 1.

        Raises:
            DualtalkerError: the model has no such style; nothing changes.
        """
        self._manner.change_style(style, self._timeline.end_s)

    def set_intensity(self, intensity: float) -> None:
        """Articulate more or less from the end of the audio pushed so far, by a fade of 100 ms.

        0 is a still mouth, 1 as trained, 2 the most; shut lips stay shut (`scale_speech`).

        Raises:
            DualtalkerError: it is not 0 to 2; nothing changes.
        """
        self._manner.change_intensity(intensity, self._timeline.end_s)

    def set_expression(
        self,
        expression: Expression,
        intensity: float = 1.0,
        *,
        fade_s: float = 0.4,
        hold_s: float | None = None,
    ) -> None:
        """Look happy, sad or otherwise from the end of the audio pushed so far.

        Brows, eyes and lids keep the expression over speech; the mouth's part yields to it, and
        contacts of the lips stay contacts.

        Args:
            expression: one of `face.EXPRESSIONS`, a mixture (`"happy:0.6,surprised:0.4"`, or
                weights by name), a pair of valence and arousal in [-1, 1], or None for neutral.
            intensity: 0 is neutral, 1 the pose as it stands, 2 the most.
            fade_s: seconds from one expression to the next.
            hold_s: seconds until the face goes back to neutral; None keeps it.

        Raises:
            DualtalkerError: there is no such expression, or a number is none; nothing changes.
        """
        pose = pose_expression(expression, intensity)
        fade, hold = as_duration("fade_s", fade_s), hold_s
        if hold is not None:
            hold = float(as_duration("hold_s", hold))
        self._expression.change(float(self._timeline.end_s), pose, float(fade), hold)

    def look(self, yaw: float | None, pitch: float = 0.0) -> None:
        """Look along angles in radians from the end of the audio so far; None at nothing more.

        Positive to the face's own left, and down. Eyes go first; with `head_motion` the head
        follows. Without a target the eyes glance about.

        Raises:
            DualtalkerError: an angle is not finite; nothing changes.
        """
        direction = None if yaw is None else (yaw, pitch)
        self._gaze.look(float(self._timeline.end_s), direction, self._life[2])

    def look_at(self, x: float, y: float, z: float) -> None:
        """Look at a point in the head's frame: x ahead, y to its left, z up, in metres.

        Raises:
            DualtalkerError: a number is not finite, or the point is the head itself.
        """
        self.look(*direction_of(x, y, z))

    def reset(self) -> None:
        """Forget all audio, frames and stamps, as if just made.

        Style, intensity and expression stay, and counters go on counting.
        """
        sidecar = self.bundle.sidecar
        life = make_life(*self._life, sidecar.sample_rate_hz)
        self._gaze = GazeLayer()
        self._finisher = FaceFinisher(
            len(sidecar.output_names), life, (self._gaze, self._expression)
        )
        self._smoother = Smoother(self._smoothing_s, 1.0 / sidecar.model_rate_hz)
        self._stamps = StampClock()
        shaping = (self._finisher, self._smoother, self._manner)
        executor = FrameExecutor(
            self._backend, sidecar, self._clock, self._stamps, *shaping, self._faults
        )
        audio = AudioAccumulator(sidecar.sample_rate_hz, sidecar.hop_samples)
        self._segments = Segments(audio, executor)
        self._manner.settle()
        self._expression.settle()
        self._intake = AudioIntake(self._faults)
        source, limits_s = StampSource(self._stamps_of), (self._tolerance_s, self._max_gap_s)
        self._timeline = Timeline(
            self._stamps, self._segments, self._intake, self._faults, source, *limits_s
        )

    def trust_stamps(self) -> str:
        """Take stamps as those of samples from the next `reset` on; return what they were."""
        before, self._stamps_of = self._stamps_of, "audio"
        return before

    def close(self) -> None:
        """Free the model."""
        self._backend.close()

    def stamp_of(self, time_s: float) -> int | None:
        """Return the stamp in ns of the audio at a stream time; None before any stamp came."""
        return self._stamps.stamp_of(time_s)

    def time_of(self, stamp_ns: int) -> float | None:
        """Return the stream time in seconds of a stamp; None before any stamp came."""
        time_s = self._stamps.time_of(stamp_ns)
        return None if time_s is None else float(time_s)
