"""Videos of a white face with a black mouth, and a landmarker that counts the mouth's pixels."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import numpy as np

from training.datasets.landmarks import INNER_LIPS, MESH_POINTS, OUTER_LIPS, Face

WIDTH, HEIGHT = 160, 128
EYES_PX, FACE_PX = 80.0, 100.0
FULL_OPEN_PX = 24  # height of the mouth at an opening of 1
MILLISECOND = Fraction(1, 1000)
CODECS = {
    ".mp4": ("mp4", "libx264", "aac"),
    ".mov": ("mov", "mpeg4", "pcm_s16le"),
    ".mkv": ("matroska", "libx264", "libopus"),
    ".mpg": ("mpeg", "mpeg1video", "mp2"),
}


def draw_face(opening, faces=1):
    """A picture [128, 160, 3]; black corners tell the landmarker of no face, or of two."""
    picture = np.full((HEIGHT, WIDTH, 3), 235, np.uint8)
    rows = round(opening * FULL_OPEN_PX)
    picture[64 : 64 + rows, 50:110] = 16
    if faces == 0:
        picture[:16, :16] = 16
    if faces == 2:
        picture[:16, -16:] = 16
    return picture


def film(path, openings, samples=None, fps=25, times_s=None, sound_s=0.0, faces=None, first_s=0.0):
    """Write a video of openings [frames], each at its time, and sound at 48 kHz from `sound_s`."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    container, codec, sound_codec = CODECS[path.suffix]
    if times_s is None:
        times_s = np.arange(len(openings)) / fps
    if faces is None:
        faces = np.ones(len(openings), int)
    with av.open(str(path), "w", format=container) as file:
        track = file.add_stream(codec, rate=fps)
        track.width, track.height, track.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        track.bit_rate = 2_000_000
        if container != "mpeg":
            track.codec_context.time_base = MILLISECOND
        sound = None if samples is None else file.add_stream(sound_codec, rate=48000)
        if sound is not None:
            sound.layout = "mono"
        packets = []
        for number, (opening, time_s, count) in enumerate(
            zip(openings, times_s, faces, strict=True)
        ):
            frame = av.VideoFrame.from_ndarray(draw_face(opening, count), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            if container != "mpeg":
                frame.pts, frame.time_base = round(1000 * (time_s + first_s)), MILLISECOND
            packets += track.encode(frame)
        packets += track.encode(None)
        if sound is not None:
            packets += _encode_sound(av, sound, samples, sound_s)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            file.mux(packet)


def _encode_sound(av, track, samples, sound_s):
    resampler = av.AudioResampler(
        track.codec_context.format.name, "mono", 48000, track.codec_context.frame_size or 1024
    )
    frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), "fltp", "mono")
    frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
    frame.pts = round(48000 * sound_s)
    packets = []
    for part in (*resampler.resample(frame), *resampler.resample(None), None):
        packets += track.encode(part)
    return packets


def place_points(gap_px, eyes_px=EYES_PX):
    """Points [478, 3] of a face seen from the front, lips parted by so many pixels."""
    points = np.zeros((MESH_POINTS, 3))
    points[33], points[263] = (-eyes_px / 2, 0, 0), (eyes_px / 2, 0, 0)
    points[10], points[152] = (0, -40, 0), (0, FACE_PX - 40, 0)
    points[1], points[2] = (0, 20, -30), (0, 26, -20)
    angles = np.pi + 2 * np.pi * np.arange(20) / 20  # from the right corner over the lower lip
    for ring, across, high in ((OUTER_LIPS, 25, 6 + gap_px / 2), (INNER_LIPS, 20, gap_px / 2)):
        points[list(ring), 0] = across * np.cos(angles)
        points[list(ring), 1] = 40 - high * np.sin(angles)
    return points + np.array([80, 40, 0])


class PixelLandmarker:
    """Counts the dark rows of a picture's mouth."""

    def __init__(self, eyes_px=EYES_PX):
        self.eyes_px, self.seen = eyes_px, 0

    def find(self, picture, time_s):
        """Return no face, one, or two, as the picture's corners say."""
        self.seen += 1
        assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
        dark = picture[..., 1] < 120
        if dark[2:12, 2:12].all():
            return []
        gap_px = dark[60:100, 60:100].any(axis=1).sum()
        weights = np.zeros(52)
        weights[0] = gap_px / FULL_OPEN_PX
        face = Face(place_points(gap_px, self.eyes_px), weights, np.eye(4))
        return [face] * (2 if dark[2:12, -12:-2].all() else 1)

    @contextlib.contextmanager
    def open(self, path):
        """Stand in for `open_landmarker`."""
        yield self
