"""The `dualtalker` command: faces of recordings and voices, in files and live; --version."""

from __future__ import annotations

import errno
import io
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

import dualtalker
from dualtalker.cli.bags import Evaluate, MakeBag
from dualtalker.cli.engine import Engine
from dualtalker.cli.face import Face, Live, play_speech
from dualtalker.cli.outputs import FileOptions, MotionFormat
from dualtalker.cli.plain_types import OptionalPath, Paths
from dualtalker.cli.progress import open_bar, print_line, show_progress, told_once
from dualtalker.cli.rig import ShowRig
from dualtalker.cli.servos import ServoTools
from dualtalker.cli.study import Study
from dualtalker.errors import AudioError, DualtalkerError

if TYPE_CHECKING:
    import numpy as np

    from dualtalker.audio import AudioStream
    from dualtalker.model import Bundle
    from dualtalker.rig import Rig
    from dualtalker.speech import Phone, Speech
    from dualtalker.stream import Animation

log = logging.getLogger("dualtalker")


@dataclass(kw_only=True)
class _Output:
    """What both `animate` and `speak` take."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
    """Folder for the results; made where it is missing."""
    model: Annotated[OptionalPath, tyro.conf.arg(metavar="BUNDLE")] = None
    """Model bundle: path of its .onnx, the .json lies beside. Default: the shipped model."""
    # With a help of its own, else tyro parses this file to look for one, even where none is shown.
    talker: Annotated[
        FileOptions,
        tyro.conf.OmitArgPrefixes,
        tyro.conf.arg(help="Options of a talker whose frames go to a file."),
    ] = field(default_factory=FileOptions)
    rig: Annotated[OptionalPath, tyro.conf.arg(metavar="RIG")] = None
    """Face that is drawn: .npz, .glb, .vrm, folder of OBJs. Default: the robot head."""
    format: MotionFormat = "csv"
    """Of the motion: csv has time_s and ARKit names; livelink is the CSV of Live Link Face, for
    MetaHuman, Blender and Maya; glb is the face itself, moving, for three.js and Blender."""
    vertices: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also write NAME.npz: vertices in metres for each frame."""
    video: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also write NAME.mp4: the face with its sound."""

    def list_inputs(self) -> list[Path | None]:
        """Return the files that are read beside speech; none may be written over."""
        sidecar = self.model.with_suffix(".json") if self.model and self.model.name else None
        return [self.rig, self.model, sidecar]


@dataclass(kw_only=True)
class Animate(_Output):
    """Turn recordings of speech into a moving face: NAME.csv with 52 ARKit weights a frame."""

    wavs: Annotated[Paths, tyro.conf.Positional, tyro.conf.arg(metavar="WAV...")]
    """Recordings: wav, flac, ogg or mp3, 8 to 192 kHz, any number of channels; with the package's
    extra `video` also the sound of mp4, m4a, aac, webm, wma and other videos."""

    channel: str = "mix"
    """Channel that is heard, an index from 0; mix is the mean of all."""
    normalize: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Bring each recording's peak to -3 dBFS: a very quiet one gives a still face."""
    max_minutes: float = 60.0
    """Longest recording that is read."""
    phones: Annotated[OptionalPath, tyro.conf.arg(metavar="FILE")] = None
    """What one recording says, where it is known: JSON, {"phones": [[label, start_s, end_s], ...]}
    in IPA, ARPAbet, viseme numbers of SAPI and Azure, or Polly's visemes. Lips then meet by it."""

    def run(self) -> int:
        """Write the files of every recording; all are read and checked before any is written."""
        from dualtalker.audio import open_audio, read_channel
        from dualtalker.files import refuse_foreign
        from dualtalker.speech import load_phones

        if not self.wavs:
            raise AudioError("no recording given: dualtalker animate speech.wav -o out/")
        _refuse_same_stem(self.wavs)
        if self.phones is not None and len(self.wavs) > 1:
            raise DualtalkerError("--phones is of one recording; animate the others by themselves")
        phones = load_phones(self.phones) if self.phones is not None else []
        channel = read_channel(self.channel)
        for path in self.wavs:
            refuse_foreign(*_list_outputs(self, path.stem).values(), inputs=self.list_inputs())
        bundle, rig = _load(self)
        # Read twice rather than kept: a long recording is not to fill the memory.
        with told_once():
            gains = [self._check(path, channel) for path in self.wavs]
            for path, gain in show_progress(list(zip(self.wavs, gains, strict=True))):
                sound = open_audio(path, self.max_minutes, channel)
                if gain is not None:
                    sound = replace(sound, blocks=(block * gain for block in sound.blocks))
                _write_all(self, path.stem, sound, phones, bundle, rig, source=str(path))
        return 0

    def _check(self, path: Path, channel: int | None) -> np.float32 | None:
        """Read all of a recording; return the gain to -3 dBFS, None where none is asked for.

        A quiet one is warned of.
        """
        import numpy as np

        from dualtalker.audio import open_audio

        peak = 0.0
        for block in open_audio(path, self.max_minutes, channel).blocks:
            peak = max(peak, float(block.max()), -float(block.min()))
        if self.normalize and peak > 0:
            return np.float32(10 ** (-3 / 20) / peak)
        if peak < 0.01:
            level = f"its peak is {20 * np.log10(peak):.0f} dBFS" if peak > 0 else "it is silent"
            log.warning("%s: %s: the face will hardly move; give --normalize", path, level)
        return None


@dataclass(kw_only=True)
class Speak(_Output):
    """Say a text with espeak-ng and animate it: NAME.wav beside the files of `animate`."""

    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="DIR")] = None  # type: ignore[assignment]
    """Folder for the results; made where it is missing. Needed, but with --play."""
    play: Literal["page", "speaker"] | None = None
    """Also say it aloud: `page` with the face in a browser, `speaker` on the default device."""
    text: Annotated[str, tyro.conf.Positional]
    """What to say."""
    voice: str = "en-us"
    """espeak-ng voice, for example en-us, en-gb, de, cmn, es."""
    rate_wpm: int = 165
    """Speaking rate in words per minute, 80 to 450."""
    pitch: int = 50
    """Pitch of the voice, 0 to 99."""
    name: str = "speech"
    """Name of the files in the folder."""

    def run(self) -> int:
        """Synthesize, then write the files and say it."""
        from dualtalker.files import refuse_foreign
        from dualtalker.speech import segment_espeak, synthesize

        is_plain = Path(self.name).name == self.name and self.name not in ("", "..")
        if not (is_plain and self.name.isprintable()):
            raise DualtalkerError(f"--name {self.name!r}: expected a plain file name, no folder")
        if self.out is None and self.play is None:
            raise DualtalkerError("speak needs -o DIR for its files, or --play to be heard")
        if self.out is not None:
            wav = self.out / f"{self.name}.wav"
            outputs = [wav, *_list_outputs(self, self.name).values()]
            refuse_foreign(*outputs, inputs=self.list_inputs())
        bundle, rig = _load(self)
        speech = synthesize(self.text, self.voice, self.rate_wpm, self.pitch)
        phones = segment_espeak(speech.phonemes, speech.duration_s)
        if self.out is not None:
            self._write(speech, phones, bundle, rig)
        if self.play is not None:
            samples, rate_hz = speech.samples, speech.sample_rate_hz
            talker = self.talker.settle(self.format)
            play_speech(samples, rate_hz, phones, bundle, talker, self.play, self.rig)
        return 0

    def _write(
        self, speech: Speech, phones: Sequence[Phone], bundle: Bundle, rig: Rig | None
    ) -> None:
        import soundfile

        from dualtalker.audio import AudioStream
        from dualtalker.files import written_output

        assert self.out is not None
        self.out.mkdir(parents=True, exist_ok=True)
        wav = self.out / f"{self.name}.wav"
        with written_output(wav) as temporary:
            soundfile.write(temporary, speech.samples, speech.sample_rate_hz, subtype="PCM_16")
        print(wav)
        said = {"text": self.text, "voice": self.voice}
        samples = speech.samples
        sound = AudioStream(speech.sample_rate_hz, len(samples), iter([samples]))
        _write_all(self, self.name, sound, phones, bundle, rig, **said)


@dataclass(kw_only=True)
class Info:
    """Tell all that a bug report needs: versions, platform, engines, model, ROS, speech."""

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""

    def run(self) -> int:
        """Print it."""
        from dualtalker.cli.info import collect_info, format_info

        info = collect_info()
        print(json.dumps(info, indent=2) if self.json else format_info(info))
        return 0


Commands = (
    Annotated[Animate, tyro.conf.subcommand("animate")]
    | Annotated[Speak, tyro.conf.subcommand("speak")]
    | Annotated[Face, tyro.conf.subcommand("face")]
    | Annotated[Live, tyro.conf.subcommand("live")]
    | Annotated[MakeBag, tyro.conf.subcommand("bag")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[ShowRig, tyro.conf.subcommand("rig")]
    | Annotated[ServoTools, tyro.conf.subcommand("servos")]
    | Annotated[Study, tyro.conf.subcommand("study")]
    | Annotated[Engine, tyro.conf.subcommand("engine")]
    | Annotated[Info, tyro.conf.subcommand("info")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its status, 2 where the user can mend something (one line)."""
    if list(sys.argv[1:] if arguments is None else arguments) == ["--version"]:
        print(f"dualtalker {dualtalker.__version__}")
        return 0
    return run_command(Commands, "dualtalker", arguments, __doc__)


def run_command(
    kind: Any, program: str, arguments: Sequence[str] | None, about: str | None = None
) -> int:
    """Read the command line of a `kind` of command and run it; return as `main`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may be no Unicode
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(levelname)s: %(message)s")
    try:
        command = tyro.cli(kind, prog=program, args=arguments, description=about)
        from dualtalker.files import ending_in_order  # needs numpy, which help does without

        with ending_in_order():
            return int(command.run())
    except DualtalkerError as error:
        print(f"dualtalker: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"dualtalker: error: {_describe(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dualtalker: stopped", file=sys.stderr)
        return 130


def _describe(error: OSError) -> str:
    """Say what failed at which file, without Python's numbers."""
    if error.filename is None or error.strerror is None:
        return str(error)
    mend = {
        errno.ENAMETOOLONG: "give a shorter one",
        errno.ENOSPC: "free some space, or give another folder with -o",
        errno.EACCES: "check its permissions, or give another folder with -o",
        errno.EROFS: "give another folder with -o",
        errno.ENOTDIR: "give another folder with -o",
        errno.EEXIST: "a file has the name of the folder: give another with -o",
    }.get(error.errno or 0)
    return f"{error.filename}: {error.strerror.lower()}" + (f"; {mend}" if mend else "")


def _refuse_same_stem(paths: Sequence[Path]) -> None:
    """Two recordings of one name would overwrite each other's results, also where case is lost."""
    seen: dict[str, Path] = {}
    for path in paths:
        other = seen.setdefault(path.stem.lower(), path)
        if other is not path:
            raise DualtalkerError(
                f"{other} and {path} would both write {path.stem}.csv; rename one, or give them "
                "different folders with two commands"
            )


def _load(options: _Output) -> tuple[Bundle, Rig | None]:
    """Load the model, and the rig where something is drawn; check the style before any work."""
    from dualtalker.audio import import_av
    from dualtalker.model import load_bundle, mix_style

    if options.video:
        import_av("--video")
    options.talker.settle(options.format)
    bundle = load_bundle(options.model)
    mix_style(options.talker.style, bundle.sidecar)
    wanted = options.vertices or options.video or options.format == "glb"
    if options.rig is not None:
        from dualtalker.rig import load_rig

        rig = load_rig(options.rig)
        if not wanted:
            log.warning(
                "--rig %s is good, but changes nothing without --vertices or --video, or "
                "--format glb; the weights are the same for every face",
                options.rig,
            )
        return bundle, rig
    if not wanted:
        return bundle, None
    from dualtalker.rig.robot_head import build_head

    return bundle, build_head()


def _write_all(
    options: _Output,
    stem: str,
    sound: AudioStream,
    phones: Sequence[Phone],
    bundle: Bundle,
    rig: Rig | None,
    **about: str,
) -> None:
    from dualtalker.cli import outputs
    from dualtalker.files import written_output

    options.out.mkdir(parents=True, exist_ok=True)
    blocks = list(sound.blocks) if options.video else []  # which is to hold its sound
    if blocks:
        sound = replace(sound, blocks=iter(blocks))
    animation = _animate(options, stem, sound, phones, bundle)
    frames = len(animation.times_s)
    paths = _list_outputs(options, stem)
    if rig is not None and options.format == "glb":
        from dualtalker.outputs import write_face_glb

        name = Path(about.get("source", f"{stem}.wav")).name
        with written_output(paths["glb"]) as part:
            write_face_glb(part, animation.weights, animation.fps, rig, options.rig, name)
    else:
        with written_output(paths["csv"]) as part:
            outputs.write_motion(part, animation, options.format)
    with written_output(paths["json"]) as part:
        outputs.write_report(part, animation, **about)
    if rig is not None and options.vertices:
        with written_output(paths["npz"]) as part, open_bar("vertices", frames, "frame") as bar:
            outputs.write_vertices(part, animation, rig, bar.update)
    if rig is not None and options.video:
        import numpy as np

        from dualtalker.drawing import write_face_video

        with written_output(paths["mp4"]) as part, open_bar("video", frames, "frame") as bar:
            samples = np.concatenate(blocks)
            write_face_video(
                part, animation.weights, animation.fps, rig, samples, sound.rate_hz, bar.update
            )
    print_line(
        f"{stem}: {frames} frames at {animation.fps:g} fps for {animation.duration_s:.2f} s of "
        f"audio, {animation.real_time_factor:.3f} x real time"
    )
    for path in paths.values():
        print_line(f"  {path}")


def _list_outputs(options: _Output, stem: str) -> dict[str, Path]:
    """Return the files of a recording by their kind."""
    motion = "glb" if options.format == "glb" else "csv"
    wanted = {motion: True, "json": True, "npz": options.vertices, "mp4": options.video}
    # Not `with_suffix`: a stem may hold a dot.
    return {kind: options.out / f"{stem}.{kind}" for kind, given in wanted.items() if given}


def _animate(
    options: _Output,
    stem: str,
    sound: AudioStream,
    phones: Sequence[Phone],
    bundle: Bundle,
) -> Animation:
    from dualtalker.stream import animate

    with open_bar(stem, round(sound.expected / sound.rate_hz, 1) or None, "s") as bar:
        return animate(
            sound,
            model=bundle,
            phones=phones,
            progress=bar.update,
            **options.talker.settle(options.format).keywords(),
        )


if __name__ == "__main__":
    sys.exit(main())
