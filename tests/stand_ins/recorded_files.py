"""Writes small files in exactly the formats of VOCASET, BIWI and Live Link Face."""

from __future__ import annotations

import pickle
import struct

import numpy as np
import soundfile

# Columns as the app writes them.
_COLUMN_TEXT = """
Timecode BlendshapeCount EyeBlinkLeft EyeLookDownLeft EyeLookInLeft EyeLookOutLeft
EyeLookUpLeft EyeSquintLeft EyeWideLeft EyeBlinkRight EyeLookDownRight EyeLookInRight
EyeLookOutRight EyeLookUpRight EyeSquintRight EyeWideRight JawForward JawRight JawLeft JawOpen
MouthClose MouthFunnel MouthPucker MouthRight MouthLeft MouthSmileLeft MouthSmileRight
MouthFrownLeft MouthFrownRight MouthDimpleLeft MouthDimpleRight MouthStretchLeft
MouthStretchRight MouthRollLower MouthRollUpper MouthShrugLower MouthShrugUpper MouthPressLeft
MouthPressRight MouthLowerDownLeft MouthLowerDownRight MouthUpperUpLeft MouthUpperUpRight
BrowDownLeft BrowDownRight BrowInnerUp BrowOuterUpLeft BrowOuterUpRight CheekPuff
CheekSquintLeft CheekSquintRight NoseSneerLeft NoseSneerRight TongueOut HeadYaw HeadPitch
HeadRoll LeftEyeYaw LeftEyePitch LeftEyeRoll RightEyeYaw RightEyePitch RightEyeRoll
"""
LIVE_LINK_COLUMNS = tuple(_COLUMN_TEXT.split())


# ---- A face ------------------------------------------------------------------------------------


def make_face(columns, rows, loose=0, width_m=0.15):
    """A bulging grid with a nose and an opening for the mouth: vertices [V, 3], triangles."""
    x = np.linspace(-1, 1, columns)
    y = np.linspace(-1.2, 1.2, rows)
    gx, gy = np.meshgrid(x, y)
    z = -0.4 * gx**2 - 0.2 * gy**2 + 0.5 * np.exp(-((gx / 0.15) ** 2) - ((gy - 0.1) / 0.2) ** 2)
    grid = np.stack([gx, gy, z], axis=-1).reshape(-1, 3)
    first = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1, 1)
    middle = np.stack(np.meshgrid((x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2), axis=-1)
    mouth = (np.abs(middle[..., 0]) < 0.3) & (np.abs(middle[..., 1] + 0.5) < 0.06)
    first = first[~mouth.reshape(-1)]
    corners = np.array([[0, 1, columns], [1, columns + 1, columns]])
    halves = [first + corners[0], first + corners[1]]
    triangles = np.stack(halves, axis=1).reshape(-1, 3)
    angle = np.linspace(0, 6, loose)
    eye = np.stack([0.4 + 0.1 * np.cos(angle), 0.5 + 0.1 * np.sin(angle), angle * 0.01 + 0.9], 1)
    vertices = np.concatenate([grid, eye]) * width_m / 2
    return vertices.astype(np.float32), triangles.astype(np.int32)


def speak(template, frames, rng):
    """Frames [frames, V, 3] of the template with what is low going up and down."""
    opening = 0.006 * (1 + np.sin(np.arange(frames) * 0.7 + rng.uniform(0, 6)))[:, None, None]
    x, y = template[:, 0] / np.abs(template[:, 0]).max(), template[:, 1]
    low = ((y < y.min() * 0.42) * np.exp(-((x / 0.3) ** 2)))[None, :, None]
    moved = template[None] - opening * low * np.array([0, 1, 0])
    return moved.astype(np.float32)


def write_ply(path, vertices, triangles, binary=True):
    head = f"ply\nformat {'binary_little_endian' if binary else 'ascii'} 1.0\n"
    head += f"element vertex {len(vertices)}\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz")
    head += f"element face {len(triangles)}\nproperty list uchar int vertex_indices\n"
    head += "end_header\n"
    if binary:
        rows = np.empty(len(triangles), [("n", "u1"), ("i", "<i4", 3)])
        rows["n"], rows["i"] = 3, triangles
        path.write_bytes(head.encode() + vertices.astype("<f4").tobytes() + rows.tobytes())
        return
    lines = [" ".join(map(str, row)) for row in vertices]
    lines += ["3 " + " ".join(map(str, row)) for row in triangles]
    path.write_text(head + "\n".join(lines) + "\n")


def write_obj(path, vertices, triangles):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["# template", "mtllib F.mtl"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices.tolist()]
    lines += ["vt 0.5 0.5"]
    lines += [f"f {a}/1 {b}/1 {c}/1" for a, b, c in (triangles + 1).tolist()]
    path.write_text("\n".join(lines) + "\n")


# ---- Pickles as Python 2 wrote them ------------------------------------------------------------


def dump_python2(content):
    """The bytes of protocol 2 as Python 2 with numpy 1 wrote them: `str` as byte strings."""
    return b"\x80\x02" + _python2(content) + b"."


def _python2(item):
    if isinstance(item, dict):
        return b"}(" + b"".join(_python2(k) + _python2(v) for k, v in item.items()) + b"u"
    if isinstance(item, (str, bytes)):
        raw = item.encode("latin1") if isinstance(item, str) else item
        if len(raw) < 256:
            return b"U" + bytes([len(raw)]) + raw
        return b"T" + struct.pack("<i", len(raw)) + raw
    if isinstance(item, bool):
        return b"\x88" if item else b"\x89"
    if isinstance(item, int):
        return b"J" + struct.pack("<i", item)
    if isinstance(item, np.ndarray):
        code = item.dtype.str[1:]
        order = "|" if item.dtype.itemsize == 1 else "<"
        dtype = b"cnumpy\ndtype\n(" + _python2(code) + b"K\x00K\x01tR(K\x03" + _python2(order)
        dtype += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        shape = b"(" + b"".join(_python2(int(n)) for n in item.shape) + b"t"
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        return made + b"(K\x01" + shape + dtype + b"\x89" + _python2(item.tobytes()) + b"tb"
    raise TypeError(type(item))


# ---- VOCASET -----------------------------------------------------------------------------------


def write_vocaset(folder, subjects, sentences, vertices=5023, frames=30, python2=True):
    """The four files with a few subjects and sentences; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    side = int(vertices**0.5)
    rows = vertices // side
    face, triangles = make_face(side, rows, loose=vertices - side * rows)
    templates, audio, index, blocks = {}, {}, {}, []
    total = 0
    for number, subject in enumerate(subjects):
        templates[subject] = (face * (1 + 0.02 * number)).astype(np.float64)
        audio[subject], index[subject] = {}, {}
        for sentence in sentences:
            blocks.append(speak(templates[subject], frames, rng))
            index[subject][sentence] = {frame: total + frame for frame in range(frames)}
            total += frames
            noise = rng.integers(-8000, 8000, 22000 * frames // 60).astype(np.int16)
            audio[subject][sentence] = {"audio": noise, "sample_rate": 22000}
    data = np.concatenate(blocks)
    np.save(folder / "data_verts.npy", data)
    dump = dump_python2 if python2 else pickle.dumps
    for name, table in (("raw_audio_fixed", audio), ("templates", templates)):
        (folder / f"{name}.pkl").write_bytes(dump(table))
    (folder / "subj_seq_to_idx.pkl").write_bytes(dump(index))
    write_ply(folder / "FLAME_sample.ply", face, triangles)
    return {"data": data, "templates": templates, "audio": audio, "index": index}


# ---- BIWI --------------------------------------------------------------------------------------


def write_vl(path, vertices, head="<I"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(head, len(vertices)) + vertices.astype("<f4").tobytes())


def write_biwi(folder, sentences, columns=114, rows=205, frames=6):
    """faces/, rigid_scans/ and wav/ of the given {subject: sentences}, y down, in millimeters."""
    rng = np.random.default_rng(5)
    face, triangles = make_face(columns, rows)
    recorded = {}
    for number, (subject, names) in enumerate(sentences.items()):
        template = face * 1000 * (1 + 0.05 * number)
        down = template * (1, -1, -1) + (10, 20, 900)
        write_obj(folder / "rigid_scans" / f"{subject}.obj", down, triangles)
        for name in names:
            moving = speak(template / 1000, frames, rng) * 1000 * (1, -1, -1)
            for frame, points in enumerate(moving, start=1):
                write_vl(folder / "faces" / subject / name / f"frame_{frame:03d}.vl", points)
            recorded[subject, name] = moving.astype(np.float32)
            write_wav(folder / "wav" / f"{subject}_{name}.wav", rng, frames / 25, 44100)
    return recorded, triangles


def write_wav(path, rng, duration_s, rate_hz):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = rng.uniform(-0.3, 0.3, round(duration_s * rate_hz))
    soundfile.write(path, samples, rate_hz, subtype="PCM_16")


# ---- Live Link Face ----------------------------------------------------------------------------


def make_take(duration_s, sound_late_s=0.0, seed=0, rate_hz=16000):
    """Mouth opening at 60 Hz and a voice that follows it: (opening [n], samples float32)."""
    rng = np.random.default_rng(seed)
    fine_s = np.arange(round(duration_s * 1000)) / 1000
    syllables = np.zeros(len(fine_s))
    at_s = 0.2
    while at_s < duration_s - 0.2:
        syllables += rng.uniform(0.3, 0.8) * np.exp(-(((fine_s - at_s) / 0.06) ** 2))
        at_s += rng.uniform(0.15, 0.45) if rng.random() < 0.8 else 0.9
    opening = np.interp(np.arange(round(duration_s * 60)) / 60, fine_s, syllables).clip(0, 1)
    heard_s = np.arange(round(duration_s * rate_hz)) / rate_hz - sound_late_s
    voice = np.interp(heard_s, fine_s, syllables) * rng.normal(0, 0.2, len(heard_s))
    return opening, np.clip(voice + rng.normal(0, 0.001, len(voice)), -1, 1).astype(np.float32)


def write_live_link(path, opening, start_frame=3600 * 60 + 17, fps=60, drop=()):
    """A Live Link Face CSV: 61 values a row, timecode HH:MM:SS:FF.sub, rows `drop` left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(LIVE_LINK_COLUMNS)]
    jaw = LIVE_LINK_COLUMNS.index("JawOpen")
    blink = LIVE_LINK_COLUMNS.index("EyeBlinkLeft")
    for row, value in enumerate(opening):
        if row in drop:
            continue
        frame = start_frame + row
        second = frame // fps
        code = f"{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}:"
        values = [code + f"{frame % fps:02d}.125", "61"] + ["0.0"] * 61
        values[jaw], values[blink] = f"{value:.6f}", f"{0.5 + 0.4 * np.sin(row / 40):.6f}"
        values[LIVE_LINK_COLUMNS.index("HeadYaw")] = "-0.25"
        lines.append(",".join(values))
    path.write_text("\r\n".join(lines) + "\r\n")


def write_mov(path, samples, rate_hz=16000, fps=30):
    """A QuickTime movie: a small picture and uncompressed sound."""
    import av

    with av.open(str(path), "w", format="mov") as container:
        picture = container.add_stream("mpeg4", rate=fps)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        track = container.add_stream("pcm_s16le", rate=rate_hz, layout="mono")
        for number in range(round(len(samples) / rate_hz * fps)):
            image = np.full((32, 32, 3), number % 200, np.uint8)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(picture.encode(None))
        whole = (samples * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
        frame.sample_rate = rate_hz
        container.mux(track.encode(frame))
        container.mux(track.encode(None))
