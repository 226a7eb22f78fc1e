"""The gallery: `python -m training.gallery --model NAME.onnx --corpus corpus_real corpus_synth`.

Draws what a bundle makes of six recordings, and the moments in which it is worst by measure, into
one Markdown page with small pictures beside it. Equal inputs give equal files; pictures that the
page shows are overwritten. Figures over whole corpora are those of `python -m training.evaluate`.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from dualtalker.errors import DualtalkerError
from dualtalker.files import ending_in_order, record_output, refuse_foreign, write_whole
from dualtalker.model import Bundle, load_bundle
from dualtalker.rig import Rig
from dualtalker.speech import BILABIAL
from training.data import digest_of, iterate_clips
from training.evaluation import animate_by_model, read_training, to_recording
from training.learning import find_commit
from training.studies.gallery import (
    MODEL,
    NOISE_SNR_DB,
    SLOTS,
    SOUNDS,
    Failure,
    Slot,
    add_noise,
    choose_clips,
    find_gap_errors,
    find_misses,
    find_noise_motion,
    find_noisy_speech_error,
    find_window,
    truth_name,
)

TITLE = "# Gallery"
LICENSES = {
    "captured:facegood": "FACEGOOD Audio2Face, MIT, © 2022–2032 The FACEGOOD Authors",
    "captured:grid": "GRID (Cooke, Barker, Cunningham, Shao, 2006), CC BY 4.0",
    "labeled:vctk": "CSTR VCTK (Veaux, Yamagishi, MacDonald), ODC-By 1.0 / CC BY 4.0",
    "labeled:ljspeech": "LJ Speech, public domain",
    "labeled:librivox": "LibriVox, public domain",
    "synthetic:espeak": "made with espeak-ng (GPL-3, its output is not covered), texts ours",
    "synthetic:flite": "made with flite (BSD-style), texts ours",
}


@dataclass
class GalleryConfig:
    """Draw the gallery of one bundle."""

    model: Path | None = None
    """Bundle (.onnx); the shipped model if not given."""
    corpus: tuple[Path, ...] = (Path("corpus"),)
    """Folders of clips of `python -m training.corpus`; held-out clips are preferred."""
    out: Path = Path("docs/gallery.md")
    """The page; its pictures go to images/NAME/ beside it."""
    rig: Path | None = None
    """Face that is drawn and measured (.npz, .glb, folder of OBJs); the default head."""


def find_shown(page: Path) -> set[str]:
    """Return the names of the pictures that an earlier page shows: those are ours.

    Raises:
        DualtalkerError: the page is no gallery.
    """
    if not page.exists():
        return set()
    text = page.read_text(encoding="utf-8", errors="replace")
    if not text.startswith(f"{TITLE}\n"):
        raise DualtalkerError(f"{page} is no page of this command; give another --out")
    return set(re.findall(rf"\(images/{re.escape(page.stem)}/([^/)]+)\)", text))


class Gallery:
    """One run: the bundle, its clips and motions, and the pictures written so far."""

    def __init__(self, config: GalleryConfig) -> None:
        from dualtalker.rig import load_rig
        from dualtalker.rig.robot_head import build_head

        self.config = config
        self.bundle: Bundle = load_bundle(config.model)
        self.rig: Rig = load_rig(config.rig) if config.rig else build_head()
        self.images = config.out.parent / "images" / config.out.stem
        self.shown = find_shown(config.out)
        self.training = read_training(config.corpus)
        self.chosen = choose_clips(config.corpus, self.training.speakers)
        if not self.chosen:
            raise DualtalkerError(
                f"found no clip for any of {[slot.key for slot in SLOTS]} in "
                f"{[str(f) for f in config.corpus]}; make some with `python -m training.corpus`"
            )
        self.written: set[str] = set()

    def animate(self, audio: np.ndarray, frames: int, style: str = "") -> np.ndarray:
        """The bundle's motion [frames, 52]; it has one style of its own."""
        return animate_by_model(audio, frames, self.bundle)

    def show_clip(self, slot: Slot) -> list[str]:
        """Draw one recording; return its lines of the page."""
        from training.studies.gallery import draw_curves, draw_faces

        clip = self.chosen[slot.key]
        recording = to_recording(clip, self.training)
        motion = self.animate(recording.audio, recording.frames)
        tracks = {MODEL: motion}
        failure = None
        if slot.key == "noise":
            clean, recording = motion, add_noise(recording)
            noisy = self.animate(recording.audio, recording.frames)
            tracks = {"clean": clean, "noisy": noisy}
            failure = find_noisy_speech_error(recording, clean, noisy, self.rig)
        elif recording.reference is not None:
            tracks = {truth_name(recording): recording.reference, **tracks}
        first, last = find_window(recording)
        start_s, seconds = first / recording.fps, (last - first) / recording.fps
        faces, curves = (self._place(f"{slot.key}_{kind}") for kind in ("faces", "curves"))
        # Rules are no truth about a face: only what was captured stands beside the model's.
        compared = recording.captured or slot.key == "noise"
        shown = tracks if compared else {MODEL: motion}
        draw_faces(faces, recording.times_s, shown, self.rig, first, last)
        draw_curves(curves, recording, tracks, self.rig, start_s, seconds)
        split = "held out" if clip.split == "validation" else "**trained on**"
        words = f" «{clip.transcript}»" if clip.transcript else ""
        lines = [
            f"## {slot.title}",
            f"`{clip.name}` ({split}), {start_s:.1f} to {start_s + seconds:.1f} s.{words}",
            *self._embed(faces, f"Faces of {clip.name}"),
            *self._embed(curves, f"Curves of {clip.name}"),
        ]
        return lines + (self.show_failure(failure) if failure else [])

    def show_failure(self, failure: Failure) -> list[str]:
        """Draw one moment; return its lines of the page."""
        from training.studies.gallery import draw_moment

        path = self._place(failure.key)
        curves = (failure.label, failure.curves)
        recording, frame = failure.recording, failure.frame
        draw_moment(path, recording, failure.tracks, curves, self.rig, frame, failure.limit_mm)
        line = f"**{recording.name} at {frame / recording.fps:.2f} s**: {failure.text}."
        return [line, *self._embed(path, failure.text)]

    def show_failures(self) -> list[str]:
        """Measure all held-out clips, draw the worst moments; return the page's lines."""
        from tqdm import tqdm

        clips = [c for f in self.config.corpus for c in iterate_clips(f, "validation")]
        # Recorded speech, as the model card measures it; synthetic speech where there is no other.
        clips = [c for c in clips if not c.source.startswith("synthetic")] or clips
        clips = clips or list(self.chosen.values())
        recordings = [to_recording(clip, self.training) for clip in clips]
        bar = tqdm(recordings, desc="animating", unit="clip")
        motions = [self.animate(r.audio, r.frames) for r in bar]
        lines = [
            "## Failures",
            f"The worst moments of all {len(recordings)} {clips[0].split} clips, by measure.",
            "### Lip gap against capture",
        ]
        gaps = find_gap_errors(recordings, motions, self.rig)
        lines += [line for failure in gaps for line in self.show_failure(failure)]
        lines += [] if gaps else ["No captured recording was at hand."]
        for sound, name in SOUNDS.items():
            worst, missed, total = find_misses(sound, recordings, motions, self.rig)
            done = "lips meet" if sound == BILABIAL else "lip on the teeth"
            lines += [
                f"### {name} missed",
                f"Missed ({done} in no frame of the sound ± 40 ms): {missed} of {total} in "
                "recorded speech, trained-on speakers included.",
            ]
            lines += [line for failure in worst for line in self.show_failure(failure)]
        failure, shares = find_noise_motion(self.animate, recordings, motions, self.rig, "")
        parts = ", ".join(f"{kind} {share:.2f}" for kind, share in shares.items())
        lines += [
            "### Motion in noise",
            f"Noise alone, {NOISE_SNR_DB:g} dB below speech. Mouth motion relative to speech: "
            f"{parts}.",
        ]
        return lines + self.show_failure(failure)

    def write(self) -> None:
        """Draw everything, write the page, and remove pictures of failures that are no more."""
        self.images.mkdir(parents=True, exist_ok=True)
        lines: list[str] = []
        for slot in SLOTS:
            if slot.key in self.chosen:
                lines += self.show_clip(slot)
            else:
                lines += [f"## {slot.title}", "No such recording in the corpora given."]
        lines = self._introduce() + lines + self.show_failures()
        write_whole(self.config.out, "\n\n".join(lines) + "\n")
        for name in self.shown - self.written:
            (self.images / name).unlink(missing_ok=True)

    def _introduce(self) -> list[str]:
        corpora = self.config.corpus
        names = " ".join(folder.name for folder in corpora)
        command = (
            f"python -m training.gallery --model {self.bundle.onnx_path.name} --corpus {names}"
        )
        used = dict.fromkeys(clip.source for clip in self.chosen.values())
        rows = [f"- `{s}`: {LICENSES.get(s, 'license not known to this command')}" for s in used]
        digests = ", ".join(f"`{f.name}` {digest_of(f)[:12]}" for f in corpora)
        return [
            TITLE,
            "What a model makes of a few recordings, and where it fails. Drawn by "
            f"`{command}` at commit {find_commit()}; model {self.bundle.onnx_path.name}, SHA-256 "
            f"{self.bundle.digest[:12]}; corpora {digests}.",
            "The corpora are those of the [model card](model_card.md); their sound is not copied "
            "here. Model in blue, run through the streaming `Talker`, blinks off. Black is the "
            "captured motion where there is one; elsewhere it is the motion that our rules make "
            "from the phone labels, which is a target of training and not a real face, and "
            "with noise it is the model on the clean sound. Phones are "
            "classes (PP: /p b m/, FF: /f v/), red and green in the curves; labels of recordings "
            "are from a machine. Figures over all clips: [model card](model_card.md#figures).",
            "\n".join(rows),
        ]

    def _place(self, name: str) -> Path:
        path = self.images / f"{name}.png"
        if path.name not in self.shown | self.written:
            refuse_foreign(path)
        self.written.add(path.name)
        return path

    def _embed(self, path: Path, caption: str) -> list[str]:
        record_output(path, path)
        return [f"![{caption}](images/{self.images.name}/{path.name})"]


@ending_in_order()
def main() -> None:
    """Parse the command line and write the page."""
    config = tyro.cli(GalleryConfig, description=__doc__)
    try:
        gallery = Gallery(config)
        gallery.write()
    except DualtalkerError as error:
        sys.exit(f"training.gallery: {error}")
    size = sum((gallery.images / name).stat().st_size for name in gallery.written)
    print(f"{config.out}: {len(gallery.written)} pictures, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
