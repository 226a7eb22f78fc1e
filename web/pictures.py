"""Makes the pictures of the page in docs/images/ from the page itself, in a browser.

    python web/pictures.py

Needs chromium, playwright, espeakng-loader.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "stand_ins")]

from dualtalker import animate
from dualtalker.arkit import ARKIT_INDEX
from dualtalker.display import FaceServer, load_face
from dualtalker.face import EXPRESSIONS, pose_expression
from dualtalker.speech import synthesize
from face_pages import Face, Sender, browser_running, make_face

IMAGES = ROOT / "docs" / "images"
SENTENCE = "Hello! I am a robot with a moving face. My mouth follows every word."
FPS = 15
PAGES = (
    "background=light&pixel_ratio=2",
    "background=dark&pixel_ratio=2",
    "face=2d&theme=night",
    "face=2d&theme=day",
)
LIPS = ("mouthLowerDownLeft", "mouthLowerDownRight")
SMILE = ("mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight")
TEETH = ("mouthUpperUpLeft", "mouthUpperUpRight")
PRESS = ("mouthPressLeft", "mouthPressRight")
# ah, ee, oo, f, m
VISEMES = [
    make_face(jawOpen=0.7, **dict.fromkeys(LIPS, 0.4)),
    make_face(jawOpen=0.2, **dict.fromkeys(SMILE + LIPS, 0.4), **dict.fromkeys(TEETH, 0.3)),
    make_face(jawOpen=0.2, mouthFunnel=0.5, mouthPucker=0.6),
    make_face(jawOpen=0.12, mouthRollLower=0.5, **dict.fromkeys(TEETH, 0.35)),
    make_face(mouthRollLower=0.2, mouthRollUpper=0.2, **dict.fromkeys(PRESS, 0.3)),
]


def take(sender: Sender, face: Face, weights: np.ndarray) -> Image.Image:
    """Return a picture of a face that is sent again and again."""
    jaw, blink = float(weights[ARKIT_INDEX["jawOpen"]]), float(weights[0])
    sender.face = weights
    face.ask("window.drawn = []")
    face.wait(
        f"window.drawn.slice(-2).filter(r => Math.abs(r[2] - {jaw}) < 1e-3"
        f" && Math.abs(r[5] - {blink}) < 1e-3).length == 2"
    )
    return Image.open(io.BytesIO(face.page.screenshot())).convert("RGB")


def draw(browser: Any, query: str, size: int, faces: Sequence[np.ndarray]) -> list[Image.Image]:
    """Return a picture of each face, by the page that `query` asks for."""
    with (
        FaceServer(load_face(), fps=60, port=0) as server,
        Sender(server) as sender,
        Face(browser, server.addresses(query)[0], (size, size)) as face,
    ):
        face.watch()
        return [take(sender, face, weights) for weights in tqdm(faces, unit="face")]


def draw_expressions(browser: Any) -> None:
    """Write the sheet of all expressions."""
    poses = [pose_expression(name) for name in EXPRESSIONS]
    pictures = draw(browser, "background=light&pixel_ratio=2&camera=close", 240, poses)
    for name, picture in zip(EXPRESSIONS, pictures, strict=True):
        ImageDraw.Draw(picture).text((8, 6), name, (40, 48, 60), ImageFont.load_default(18))
    rows = [np.concatenate([*map(np.asarray, pictures[i : i + 5])], 1) for i in range(0, 25, 5)]
    Image.fromarray(np.concatenate(rows)).save(IMAGES / "expressions.png", optimize=True)


def main() -> None:
    """Draw all."""
    with browser_running() as browser:
        draw_expressions(browser)
        rows = [draw(browser, query, 300, VISEMES) for query in PAGES]
        sheet = np.concatenate([np.concatenate([*map(np.asarray, row)], 1) for row in rows])
        Image.fromarray(sheet).save(IMAGES / "face_page.png", optimize=True)
        speech = synthesize(SENTENCE)
        animation = animate(speech.samples, speech.sample_rate_hz, fps=FPS)
        pictures = draw(browser, "background=light&pixel_ratio=2", 400, list(animation.weights))
    pictures[0].save(
        IMAGES / "face_page.webp",
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / FPS),
        loop=0,
        quality=70,
        method=6,
    )
    for name in ("face_page.png", "face_page.webp", "expressions.png"):
        print(IMAGES / name, (IMAGES / name).stat().st_size // 1000, "kB")


if __name__ == "__main__":
    main()
