"""VOCASET's four files, whole and broken, all the way to clips."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import tracemalloc

import numpy as np
import pytest

from recorded_files import make_face, write_ply, write_vocaset
from training.data import CorpusError, iterate_vertex_clips, read_clip, read_corpus
from training.data.mesh_clips import write_clip
from training.datasets.pickles import load_pickle
from training.datasets.vocaset import TEST, TRAIN, VALIDATION, split_of
from training.prepare import main

SUBJECTS = (TRAIN[0], TRAIN[5], VALIDATION[1], TEST[0])
SENTENCES = ("sentence01", "sentence21", "sentence40")


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocaset")
    return folder, write_vocaset(folder, SUBJECTS, SENTENCES)


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reduced")
    write_vocaset(folder, SUBJECTS, SENTENCES, vertices=900)
    return folder


@pytest.fixture
def small(reduced, tmp_path):
    """A download of 900 vertices that a test may break."""
    return shutil.copytree(reduced, tmp_path / "in")


def check(folder, capsys, *options):
    """Status and report of --check on a small download."""
    status = main(["vocaset", str(folder), "--check", "--vertices", "900", *options])
    return status, capsys.readouterr().out


def test_the_split_is_the_published_one():
    assert (len(TRAIN), len(VALIDATION), len(TEST)) == (8, 2, 2)
    assert len({*TRAIN, *VALIDATION, *TEST}) == 12
    assert split_of(TRAIN[0], "sentence01") == split_of(TRAIN[0], "sentence40") == "train"
    for subjects, split in ((VALIDATION, "validation"), (TEST, "test")):
        assert split_of(subjects[0], "sentence20") is None
        assert split_of(subjects[0], "sentence21") == split


def test_the_whole_road(download, tmp_path, capsys):
    folder, written = download
    out = tmp_path / "out"
    assert main(["vocaset", str(folder), str(out)]) == 0
    report = capsys.readouterr().out
    assert "(computed: mouth opening)" in report and "8 of 12 subjects are missing" in report
    corpus = read_corpus(out)
    assert (corpus.dataset, corpus.fps, corpus.unit) == ("vocaset", 30.0, "m")
    assert corpus.vertex_count == 5023 and corpus.styles == TRAIN
    assert {split: len(names) for split, names in corpus.splits.items()} == {
        "train": 6,
        "validation": 2,
        "test": 2,
    }
    assert "no redistribution" in corpus.index["license"] and len(corpus.digest) == 64
    for clip in iterate_vertex_clips(out):
        rows = list(written["index"][clip.subject][clip.sentence].values())[::2]
        assert np.array_equal(clip.vertices, written["data"][rows])
        assert np.allclose(clip.template, written["templates"][clip.subject], atol=1e-7)
        assert (
            clip.audio.dtype == np.float32 and len(clip.audio) == 8000 == clip.frames * 16000 / 30
        )
        assert 0.05 < np.abs(clip.audio).max() <= 1.0
    lips = corpus.templates[SUBJECTS[0]][corpus.lips.indices]
    assert -0.08 < lips[:, 1].min() < lips[:, 1].max() < 0 and np.abs(lips[:, 0]).max() < 0.05
    above = corpus.templates[SUBJECTS[0]][corpus.upper_face.indices]
    assert above[:, 1].min() > 0 and not set(corpus.upper_face.indices) & set(corpus.lips.indices)
    assert (
        corpus.upper_face.indices.max() < 71 * 70 - 20
    )  # no loose eyeball vertices: 70 x 71 grid


def test_a_second_run_does_nothing_and_a_lost_file_is_made_again(small, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["vocaset", str(small), str(out), "--vertices", "900"]
    assert main(command) == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    digest = read_corpus(out).digest
    capsys.readouterr()
    assert main(command) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    lost = next(out.glob("clips/*.json"))
    kept = next(path for path in out.glob("clips/*.npy") if path.name.split(".")[0] != lost.stem)
    lost.unlink()
    lost.with_name(f"{lost.stem}.vertices.npy").unlink()
    assert main(command) == 0
    assert read_corpus(out).digest == digest
    assert kept.stat().st_mtime_ns == before[kept]
    shutil.copy(small / "templates.pkl", small / "again.pkl")
    (small / "again.pkl").replace(small / "templates.pkl")  # same content, new date: made again
    capsys.readouterr()
    assert main(command) == 0
    assert "nothing to do" not in capsys.readouterr().out


def test_pickles_of_python_3_give_the_same_clips(tmp_path):
    digests = []
    for python2 in (True, False):
        folder, out = tmp_path / f"in{python2}", tmp_path / f"out{python2}"
        write_vocaset(folder, SUBJECTS[:1], SENTENCES[:1], vertices=900, python2=python2)
        assert main(["vocaset", str(folder), str(out), "--vertices", "900"]) == 0
        digests.append([clip.vertices.tobytes() for clip in iterate_vertex_clips(out)])
    assert digests[0] == digests[1]


def test_checking_writes_nothing(small, capsys):
    status, report = check(small, capsys)
    assert status == 0 and "train: 6 of 320" in report and "usable" in report
    assert sorted(path.name for path in small.iterdir()) == [
        "FLAME_sample.ply",
        "data_verts.npy",
        "raw_audio_fixed.pkl",
        "subj_seq_to_idx.pkl",
        "templates.pkl",
    ]


def spoil_missing(folder):
    (folder / "raw_audio_fixed.pkl").unlink()


def spoil_pointer(folder):
    (folder / "templates.pkl").write_text("version https://git-lfs.github.com/spec/v1\noid 1\n")


def spoil_login(folder):
    (folder / "data_verts.npy").write_text("<!DOCTYPE html><html>Sign in</html>")


def spoil_zip(folder):
    (folder / "data_verts.npy").write_bytes(b"PK\x03\x04" + bytes(100))


def spoil_cut(folder):
    content = (folder / "data_verts.npy").read_bytes()
    (folder / "data_verts.npy").write_bytes(content[: len(content) // 2])


def spoil_shape(folder):
    np.save(folder / "data_verts.npy", np.zeros((20, 2700), np.float32))


def spoil_objects(folder):
    np.save(folder / "data_verts.npy", np.array([None]), allow_pickle=True)


def spoil_header(folder):
    content = bytearray((folder / "data_verts.npy").read_bytes())
    content[content.index(b"(")] = ord("'")  # numpy's own mending of old headers trips over this
    (folder / "data_verts.npy").write_bytes(content)


def spoil_cut_pickle(folder):
    content = (folder / "raw_audio_fixed.pkl").read_bytes()
    (folder / "raw_audio_fixed.pkl").write_bytes(content[:-1000])


def spoil_template(folder):
    table = {SUBJECTS[0]: np.zeros((700, 3))}
    (folder / "templates.pkl").write_bytes(pickle.dumps(table))


def spoil_rows(folder):
    data = np.load(folder / "data_verts.npy")
    np.save(folder / "data_verts.npy", data[:100])


def spoil_units(folder):
    np.save(folder / "data_verts.npy", np.load(folder / "data_verts.npy") * 1000)


def spoil_sound(folder):
    table = {s: {n: {"sound": 1} for n in SENTENCES} for s in SUBJECTS}
    (folder / "raw_audio_fixed.pkl").write_bytes(pickle.dumps(table))


def spoil_pair(folder):
    entry = {"audio": np.zeros(22000 * 5, np.int16), "sample_rate": 22000}
    table = {s: dict.fromkeys(SENTENCES, entry) for s in SUBJECTS}
    (folder / "raw_audio_fixed.pkl").write_bytes(pickle.dumps(table))


def spoil_topology(folder):
    write_ply(folder / "FLAME_sample.ply", *make_face(10, 10))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (spoil_missing, r"raw_audio_fixed.pkl: missing \(the sound\)"),
        (spoil_pointer, "templates.pkl: is a Git LFS pointer"),
        (spoil_login, "data_verts.npy: is a web page"),
        (spoil_zip, "data_verts.npy: is a zip archive"),
        (spoil_cut, "data_verts.npy: "),
        (spoil_shape, r"data_verts.npy: has the shape \[20, 2700\], expected \[frames, 900, 3\]"),
        (spoil_objects, "data_verts.npy: not a readable .npy .*Python objects"),
        (spoil_header, "data_verts.npy: not a readable .npy"),
        (spoil_cut_pickle, "raw_audio_fixed.pkl: .*cut short"),
        (spoil_template, r"templates.pkl: .* has \[700, 3\]"),
        (spoil_rows, "data_verts.npy has 100: cut short, or of another release"),
        (spoil_units, "mm from its subject's template"),
        (spoil_sound, "raw_audio_fixed.pkl: expected {'audio'"),
        (spoil_pair, "not the same sentence"),
        (spoil_topology, "FLAME_sample.ply: has 100 vertices, expected 900"),
    ],
)
def test_a_wrong_download_is_told_file_by_file(small, tmp_path, capsys, spoil, told):
    spoil(small)
    status, report = check(small, capsys)
    assert status == 2
    assert re.search(rf"error +.*{told}", report), report
    assert main(["vocaset", str(small), str(tmp_path / "out"), "--vertices", "900"]) == 2
    assert not (tmp_path / "out" / "index.json").exists()


def test_hostile_pickles_are_refused_in_the_report(small, capsys):
    (small / "templates.pkl").write_bytes(b"cos\nsystem\n(S'touch /tmp/never'\ntR.")
    status, report = check(small, capsys)
    assert status == 2 and "templates.pkl: refused: asks for os.system" in report


def test_missing_frames_repeat_the_one_before(small, capsys, tmp_path):
    index = load_pickle(small / "subj_seq_to_idx.pkl")
    rows = index[SUBJECTS[0]]["sentence01"]
    del rows[4], rows[5]
    (small / "subj_seq_to_idx.pkl").write_bytes(pickle.dumps(index, protocol=2))
    assert main(["vocaset", str(small), str(tmp_path / "out"), "--vertices", "900"]) == 0
    assert "2 missing frames repeat" in capsys.readouterr().out
    clip = read_clip(read_corpus(tmp_path / "out"), f"{SUBJECTS[0]}_sentence01")
    assert clip.frames == 15
    assert np.array_equal(clip.vertices[2], np.load(small / "data_verts.npy")[rows[3]])


def test_a_broken_clip_can_be_left_out(small, tmp_path):
    data = np.load(small / "data_verts.npy")
    data[0] *= 100
    np.save(small / "data_verts.npy", data)
    out = tmp_path / "out"
    assert main(["vocaset", str(small), str(out), "--vertices", "900"]) == 2
    command = ["vocaset", str(small), str(out), "--vertices", "900", "--skip-bad"]
    assert main(command) == 0
    assert len(read_corpus(out).splits["train"]) == 5


def test_not_a_number_in_the_vertices_is_told_by_clip(small, tmp_path, capsys):
    data = np.load(small / "data_verts.npy")
    data[12, 3, 1] = np.nan
    np.save(small / "data_verts.npy", data)
    assert main(["vocaset", str(small), str(tmp_path / "out"), "--vertices", "900"]) == 2
    assert f"{SUBJECTS[0]}_sentence01: NaN" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["txt", "npy", "mask", "json", "pkl", "flame"])
def test_vertex_sets_come_from_the_users_files(small, tmp_path, capsys, kind):
    lips = np.array([3, 5, 8, 700])
    path = tmp_path / f"lips.{kind}"
    if kind == "txt":
        path.write_text("3, 5, 8,\n700")
    elif kind == "npy":
        np.save(path, lips)
    elif kind == "mask":
        path = tmp_path / "lips.npy"
        np.save(path, np.isin(np.arange(900), lips))
    elif kind == "json":
        path.write_text(json.dumps({"lips": lips.tolist(), "nose": [1]}))
    elif kind == "pkl":
        path.write_bytes(pickle.dumps(lips))
    else:
        path = small / "FLAME_masks.pkl"  # found where it lies
        regions = {"lips": lips, "forehead": np.array([1, 2]), "eye_region": np.array([2, 9])}
        path.write_bytes(pickle.dumps(regions, protocol=2))
    given = [] if kind == "flame" else ["--lips", str(path)]
    out = tmp_path / "out"
    assert main(["vocaset", str(small), str(out), "--vertices", "900", *given]) == 0
    assert f"lips: 4 vertices (file {path.name})" in capsys.readouterr().out
    corpus = read_corpus(out)
    assert np.array_equal(corpus.lips.indices, lips) and path.name in corpus.lips.source
    if kind == "flame":
        assert corpus.upper_face.indices.tolist() == [1, 2, 9]
    else:
        assert corpus.upper_face.source.startswith("computed")


@pytest.mark.parametrize(
    ("content", "told"),
    [("1, 2, 900", "another topology"), ("1, two", "no set of vertices"), ("", "0 entries")],
)
def test_bad_vertex_sets_are_refused(small, tmp_path, capsys, content, told):
    path = tmp_path / "lips.txt"
    path.write_text(content)
    status, report = check(small, capsys, "--lips", str(path))
    assert status == 2 and told in report


def test_without_triangles_the_lips_are_found_by_how_they_part(small, tmp_path, capsys):
    with_triangles, without = tmp_path / "with", tmp_path / "without"
    assert main(["vocaset", str(small), str(with_triangles), "--vertices", "900"]) == 0
    (small / "FLAME_sample.ply").unlink()
    assert main(["vocaset", str(small), str(without), "--vertices", "900"]) == 0
    assert "FLAME_sample.ply" in capsys.readouterr().out
    corpus = read_corpus(without)
    assert corpus.lips.source == "computed: where speech parts the face"
    assert not len(corpus.triangles) and len(corpus.upper_face.indices)
    known = set(read_corpus(with_triangles).lips.indices)
    found = set(corpus.lips.indices)
    assert len(known & found) > 0.8 * len(known) and len(known & found) > 0.5 * len(found)


def test_without_triangles_and_movement_the_report_says_what_is_missing(small, capsys):
    (small / "FLAME_sample.ply").unlink()
    still = [load_pickle(small / "templates.pkl")[subject] for subject in SUBJECTS]
    np.save(small / "data_verts.npy", np.repeat(still, 90, axis=0).astype(np.float32))
    status, report = check(small, capsys)
    assert status == 0 and "no lips part in these frames" in report
    assert "LVE and FDD cannot be measured" in report and "--topology FILE" in report


def test_damaged_clips_are_told(small, tmp_path):
    out = tmp_path / "out"
    assert main(["vocaset", str(small), str(out), "--vertices", "900"]) == 0
    path = next(out.glob("clips/*.vertices.npy"))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CorpusError, match="prepare it again"):
        list(iterate_vertex_clips(out))
    with pytest.raises(CorpusError, match=r"no split 'tset', only train"):
        next(iterate_vertex_clips(out, "tset"))
    (out / "index.json").write_text("{")
    with pytest.raises(CorpusError, match="prepare it again"):
        read_corpus(out)
    with pytest.raises(CorpusError, match=r"python -m training\.prepare"):
        read_corpus(tmp_path / "nowhere")


def test_frames_are_written_and_read_one_at_a_time(tmp_path):
    frame = np.zeros((20000, 3), np.float32)
    about = {"subject": "s", "sentence": "1", "split": "train", "fps": "30", "plan": "p"}
    sound = np.zeros(100, np.float32)
    tracemalloc.start()
    write_clip(tmp_path, "long", sound, (frame + n for n in range(300)), (300, 20000, 3), **about)
    mapped = np.load(tmp_path / "clips" / "long.vertices.npy", mmap_mode="r")
    assert mapped[299, 0, 0] == 299
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * frame.nbytes < mapped.nbytes / 50


def test_too_few_or_too_many_frames_leave_no_clip(tmp_path):
    about = {"subject": "s", "sentence": "1", "split": "train", "fps": "30", "plan": "p"}
    for count in (4, 6):
        with pytest.raises(CorpusError, match="bytes of frames came"):
            frames = (np.zeros((7, 3)) for _ in range(count))
            write_clip(tmp_path, "clip", np.zeros(9, np.float32), frames, (5, 7, 3), **about)
        assert not list((tmp_path / "clips").iterdir())


def test_no_folder_no_out(tmp_path, small, capsys):
    assert main(["vocaset", str(tmp_path / "nowhere"), "--check"]) == 2
    assert "is no folder" in capsys.readouterr().err
    assert main(["vocaset", str(small), "--vertices", "900"]) == 2
    assert "give OUT" in capsys.readouterr().err
