"""BIWI's folders, whole and broken, all the way to clips."""

from __future__ import annotations

import pickle
import re
import shutil
import struct
import tarfile

import numpy as np
import pytest

from recorded_files import make_face, write_biwi, write_obj, write_ply, write_vl, write_wav
from training.data import CorpusError, iterate_vertex_clips, read_clip, read_corpus
from training.datasets.biwi import SEEN, UNSEEN, Normalizer, measure_scale, parse_vl, split_of
from training.prepare import main

SENTENCES = {"F2": ("e01", "e33", "e37"), "F1": ("e01", "e37")}
SMALL = ["--vertices", "900"]


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("biwi")
    write_biwi(folder, SENTENCES, columns=30, rows=30, frames=10)
    return folder


@pytest.fixture
def small(reduced, tmp_path):
    """A download of 900 vertices that a test may break."""
    return shutil.copytree(reduced, tmp_path / "in")


def check(folder, capsys, *options):
    status = main(["biwi", str(folder), "--check", *SMALL, *options])
    return status, capsys.readouterr().out


def test_the_split_is_the_published_one():
    assert (len(SEEN), len(UNSEEN), len({*SEEN, *UNSEEN})) == (6, 8, 14)
    found = {split_of("F2", f"e{number:02d}") for number in range(1, 33)}
    assert found == {"train"}
    assert split_of("M5", "e33") == split_of("M5", "e36") == "validation"
    assert split_of("M5", "e37") == "test-a" and split_of("M6", "e40") == "test-b"
    assert split_of("M6", "e36") is None


@pytest.mark.parametrize("head", ["<I", "<Q"])
def test_a_vl_file_of_either_width_of_long_is_read(head):
    points = np.arange(30, dtype="<f4").reshape(10, 3)
    assert np.array_equal(parse_vl(struct.pack(head, 10) + points.tobytes(), 10, "x"), points)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (struct.pack("<I", 10) + bytes(119), "123 bytes, expected 124"),
        (struct.pack("<I", 11) + bytes(120), "header says 11"),
        (struct.pack(">I", 10) + bytes(120), "header says"),
        (b"", "0 bytes"),
    ],
)
def test_other_vl_files_are_refused(content, told):
    with pytest.raises(CorpusError, match=told):
        parse_vl(content, 10, "x")


def test_normalized_frames_have_unit_area_whatever_their_size_and_place():
    face, triangles = make_face(30, 30)
    normalize = Normalizer("area", triangles)
    once = normalize(face)
    assert measure_scale(once, triangles) == pytest.approx(1.0, abs=1e-6)
    assert np.abs(once.mean(axis=0)).max() < 1e-6
    assert np.allclose(normalize(face * 700 + (3, -50, 900)), once, atol=1e-4)
    assert np.allclose(once[:, 1], -Normalizer("area", triangles)(face * (1, -1, -1))[:, 1])
    side = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0]], np.float32)  # a triangle of area 2
    assert measure_scale(side, np.array([[0, 1, 2]])) == pytest.approx(2**0.5)


def test_the_whole_road_at_full_size(tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    recorded, triangles = write_biwi(folder, {"F2": ("e01",)}, frames=8)
    assert main(["biwi", str(folder), str(out)]) == 0
    report = capsys.readouterr().out
    assert "train: 1 of 192" in report and "(computed: mouth opening)" in report
    corpus = read_corpus(out)
    assert (corpus.dataset, corpus.fps, corpus.vertex_count) == ("biwi", 25.0, 23370)
    assert corpus.styles == SEEN and np.array_equal(corpus.triangles, triangles)
    (clip,) = iterate_vertex_clips(out)
    assert clip.vertices.shape == (8, 23370, 3) and len(clip.audio) == 8 * 640
    upright = recorded["F2", "e01"][3] * (1.0, -1.0, -1.0)
    centered = upright - upright.mean(axis=0)
    expected = centered / measure_scale(centered, triangles)
    assert np.abs(clip.vertices[3] - expected).max() < 1e-6
    assert measure_scale(clip.template, triangles) == pytest.approx(1.0, abs=1e-5)
    assert corpus.index["normalization"] == "area"
    assert corpus.index["template_scales"]["F2"] > 50  # millimeters


def test_splits_and_what_is_left_out(small, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["biwi", str(small), str(out), *SMALL]) == 0
    report = capsys.readouterr().out
    assert read_corpus(out).splits == {
        "train": ("F2_e01",),
        "validation": ("F2_e33",),
        "test-a": ("F2_e37",),
        "test-b": ("F1_e37",),
    }
    assert "rigid_scans/F3.obj: missing, so subject F3 is left out" in report
    assert "F2: no frames for e02" in report
    assert main(["biwi", str(small), str(out), *SMALL]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert main(["biwi", str(small), str(out), *SMALL, "--normalization", "none"]) == 0
    clip = read_clip(read_corpus(out), "F2_e01")
    assert "mm" in read_corpus(out).unit and np.ptp(clip.vertices[0][:, 0]) > 100


def test_archives_are_read_where_they_lie(small, tmp_path):
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    assert main(["biwi", str(small), str(plain), *SMALL]) == 0
    for folder in (small / "faces").glob("*/*"):
        with tarfile.open(folder.with_suffix(".tar"), "w") as archive:
            for path in sorted(folder.iterdir(), reverse=True):
                archive.add(path, arcname=f"{folder.name}/{path.name}")
        shutil.rmtree(folder)
    assert main(["biwi", str(small), str(packed), *SMALL]) == 0
    for one, other in zip(iterate_vertex_clips(plain), iterate_vertex_clips(packed), strict=True):
        assert one.name == other.name and np.array_equal(one.vertices, other.vertices)


def test_frames_that_others_prepared_are_taken_as_they_are(small, tmp_path, capsys):
    plain, again = tmp_path / "plain", tmp_path / "again"
    assert main(["biwi", str(small), str(plain), *SMALL]) == 0
    prepared = tmp_path / "prepared"
    (prepared / "vertices_npy").mkdir(parents=True)
    shutil.copytree(small / "wav", prepared / "wav")
    corpus = read_corpus(plain)
    for clip in iterate_vertex_clips(plain):
        flat = np.asarray(clip.vertices, np.float64).reshape(clip.frames, -1)
        np.save(prepared / "vertices_npy" / f"{clip.name}.npy", flat)
    (prepared / "templates.pkl").write_bytes(pickle.dumps(corpus.templates, protocol=2))
    write_ply(prepared / "BIWI.ply", corpus.templates["F2"], corpus.triangles, binary=False)
    assert main(["biwi", str(prepared), str(again), *SMALL]) == 0
    assert read_corpus(again).index["normalization"] == "as prepared"
    assert np.array_equal(read_corpus(again).lips.indices, corpus.lips.indices)
    for one, other in zip(iterate_vertex_clips(plain), iterate_vertex_clips(again), strict=True):
        assert np.array_equal(one.vertices, other.vertices)
        assert np.array_equal(one.audio, other.audio)
    np.save(prepared / "vertices_npy" / "F2_e01.npy", np.zeros((10, 99)))
    assert check(prepared, capsys)[0] == 2


def test_sound_out_of_the_videos(small, tmp_path):
    import av

    (small / "videos").mkdir()
    rng = np.random.default_rng(0)
    samples = (rng.uniform(-0.3, 0.3, 44100 * 4 // 10) * 32767).astype(np.int16)
    with av.open(str(small / "videos" / "F2_e01.flv"), "w") as container:
        track = container.add_stream("pcm_s16le", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = 44100
        container.mux(track.encode(frame))
        container.mux(track.encode(None))
    (small / "wav" / "F2_e01.wav").unlink()
    assert main(["biwi", str(small), str(tmp_path / "out"), *SMALL]) == 0
    clip = read_clip(read_corpus(tmp_path / "out"), "F2_e01")
    assert len(clip.audio) == 6400 and clip.audio.std() > 0.05


def spoil_size(folder):
    path = folder / "faces/F2/e01/frame_003.vl"
    path.write_bytes(path.read_bytes()[:-4])


def spoil_topology(folder):
    write_vl(folder / "faces/F2/e33/frame_001.vl", np.zeros((800, 3)))


def spoil_scan(folder):
    path = folder / "rigid_scans/F2.obj"
    path.write_text("\n".join(path.read_text().split("\n")[:200]))


def spoil_text(folder):
    (folder / "rigid_scans/F1.obj").write_text("v 1 2 three\n")


def spoil_sound(folder):
    (folder / "wav/F2_e37.wav").write_text("<html>404</html>")


def spoil_pair(folder):
    write_wav(folder / "wav/F2_e37.wav", np.random.default_rng(0), 4.0, 44100)


def spoil_faces(folder):
    shutil.rmtree(folder / "faces")


def spoil_archive(folder):
    shutil.rmtree(folder / "faces/F2/e01")
    (folder / "faces/F2/e01.tar").write_bytes(b"not a tar" * 200)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            spoil_size,
            r"faces/F2/e01: 1 of 10 frames have a wrong size \(frame_003.vl: 10800 bytes",
        ),
        (spoil_topology, r"faces/F2/e33: .* 9604 bytes, expected 10804"),
        (spoil_scan, "rigid_scans/F2.obj: .*not a readable mesh"),
        (spoil_text, "rigid_scans/F1.obj: .*could not convert"),
        (spoil_sound, "wav/F2_e37.wav: is a web page"),
        (spoil_pair, r"wav/F2_e37.wav: sound lasts 4.00 s, motion 0.40 s \(F2_e37\)"),
        (spoil_faces, "faces: missing"),
        (spoil_archive, "faces/F2/e01.tar: not a readable tar"),
    ],
)
def test_a_wrong_download_is_told_file_by_file(small, tmp_path, capsys, spoil, told):
    spoil(small)
    status, report = check(small, capsys)
    assert status == 2 and re.search(rf"error +{told}", report), report
    assert main(["biwi", str(small), str(tmp_path / "out"), *SMALL]) == 2
    assert not (tmp_path / "out" / "index.json").exists()


def test_a_missing_frame_is_told_and_repeated(small, tmp_path, capsys):
    (small / "faces/F2/e01/frame_004.vl").unlink()
    assert main(["biwi", str(small), str(tmp_path / "out"), *SMALL]) == 0
    assert "faces/F2/e01: 1 frames missing between 1 and 10" in capsys.readouterr().out
    clip = read_clip(read_corpus(tmp_path / "out"), "F2_e01")
    assert clip.frames == 10 and np.array_equal(clip.vertices[3], clip.vertices[2])


def test_a_closed_mesh_has_no_mouth_to_find(small, capsys):
    path = small / "rigid_scans" / "F2.obj"
    face, _ = make_face(30, 30)
    square = [(a, a + 1, a + 30) for a in range(869)]
    write_obj(path, face, np.array(square))
    status, report = check(small, capsys)
    assert status == 0 and "give --lips FILE" in report and "LVE and FDD cannot" in report


def test_an_unknown_normalization_is_refused(small, capsys):
    assert main(["biwi", str(small), "--check", "--normalization", "mean"]) == 2
    assert "expected one of ('area', 'none')" in capsys.readouterr().err
