"""No output takes the place of what is not ours; dead runs and signals leave nothing.

What each command writes is tried in `tests/hostile/test_hostile_outputs.py`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dualtalker.errors import DualtalkerError
from dualtalker.files import (
    RECORD_NAME,
    claim_folder,
    record_output,
    refuse_foreign,
    write_output,
    written_together,
)


def test_what_was_written_by_us_and_is_unchanged_is_written_over(tmp_path):
    path = tmp_path / "a.csv"
    for text in ("one", "two", "one", "größer"):
        write_output(path, text)
        assert path.read_text("utf-8") == text
    path.write_text("one and more", "utf-8")
    with pytest.raises(DualtalkerError, match=r"a\.csv .*move it away"):
        write_output(path, "three")
    assert path.read_text("utf-8") == "one and more"


@pytest.mark.parametrize("kind", ["file", "empty", "link", "dangling", "folder", "fifo"])
def test_what_lies_there_already_is_kept(tmp_path, kind):
    path, other = tmp_path / "a.csv", tmp_path / "other"
    if kind in ("file", "empty"):
        path.write_text("precious" if kind == "file" else "")
    elif kind == "folder":
        path.mkdir()
        (path / "notes").write_text("precious")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        if kind == "link":
            other.write_text("precious")
        path.symlink_to(other)
    before = path.lstat().st_ino
    with pytest.raises(DualtalkerError, match=r"a\.csv"):
        write_output(path, "new")
    assert path.lstat().st_ino == before and not (tmp_path / RECORD_NAME).exists()
    if kind == "link":
        assert other.read_text() == "precious"


def test_a_name_is_part_of_the_record(tmp_path):
    """A copy of a file of ours under another name is somebody's."""
    write_output(tmp_path / "a.csv", "text")
    (tmp_path / "b.csv").write_text("text")
    with pytest.raises(DualtalkerError, match=r"b\.csv"):
        refuse_foreign(tmp_path / "b.csv")


@pytest.mark.parametrize("name", ["a b.csv", "größer.csv", "a\nb.csv", b"\xff.csv", "0  x"])
def test_every_name_can_be_recorded(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    write_output(path, "one")
    write_output(path, "two")
    assert path.read_text() == "two"


def test_a_folder_is_ours_where_all_in_it_is(tmp_path):
    bag = tmp_path / "bag"
    with written_together(bag) as folder:
        (folder / "bag").mkdir()
        (folder / "bag" / "metadata.yaml").write_text("text")
        record_output(folder / "bag", bag)
    refuse_foreign(bag)
    (bag / "notes.txt").write_text("precious")
    with pytest.raises(DualtalkerError, match=r"notes\.txt"):
        refuse_foreign(bag)
    (bag / "notes.txt").unlink()
    (bag / "metadata.yaml").write_text("other")
    with pytest.raises(DualtalkerError, match=r"metadata\.yaml"):
        refuse_foreign(bag)


def test_an_input_is_no_output(tmp_path):
    path = tmp_path / "a.json"
    write_output(path, "ours")
    refuse_foreign(path, inputs=[None, tmp_path / "none"])
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(DualtalkerError, match="is read, and would be written over"):
        refuse_foreign(path, inputs=[tmp_path / "link"])


def test_several_processes_write_into_one_folder(tmp_path):
    code = (
        "import sys; from pathlib import Path; from dualtalker.files import write_output\n"
        "for k in range(20): write_output(Path(sys.argv[1]) / f'{sys.argv[2]}{k}', f'{k}')"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen([*command, name]) for name in "abc"]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    refuse_foreign(*(tmp_path / f"{name}{k}" for name in "abc" for k in range(20)))


def test_a_folder_to_fill_is_new_or_empty_or_ours(tmp_path):
    claim_folder(tmp_path / "new" / "folder")
    (tmp_path / "new" / "folder" / "step_1").write_text("ours")
    claim_folder(tmp_path / "new" / "folder")
    (tmp_path / "old").mkdir()
    claim_folder(tmp_path / "old")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("precious")
    with pytest.raises(DualtalkerError, match=r"theirs.*thesis\.tex"):
        claim_folder(tmp_path / "theirs", "step_*")
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["thesis.tex"]
    (tmp_path / "theirs" / "step_1").write_text("of an earlier version")
    claim_folder(tmp_path / "theirs", "step_*")


# --- Dead runs -----------------------------------------------------------------------------------

_WRITER = """
import os, sys, time
from pathlib import Path
from dualtalker.files import ending_in_order, written_together, written_whole
folder = Path(sys.argv[1])
kinds = {"file": lambda: written_whole(folder / "a.mp4"),
         "folder": lambda: written_together(folder / "bag")}
with ending_in_order(), kinds[sys.argv[2]]() as part:
    (part if part.suffix else part / "half").write_text("half")
    print("begun", flush=True)
    time.sleep(60)
"""


def _hear_signals() -> None:
    """What is started in the background, or with nohup, would go on to ignore them."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def begin_to_write(folder: Path, kind: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _WRITER, str(folder), kind]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=_hear_signals
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    assert len(list(folder.iterdir())) == 1
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_signal_leaves_nothing(tmp_path, kind, number):
    process = begin_to_write(tmp_path, kind)
    process.send_signal(number)
    status = process.wait(20)
    assert not list(tmp_path.iterdir())
    assert status == -number


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_run_left_goes_with_the_next(tmp_path, kind):
    process = begin_to_write(tmp_path, kind)
    _write_elsewhere(tmp_path)  # while it lives
    assert len(list(tmp_path.iterdir())) == 2
    process.kill()
    process.wait(20)
    assert len(list(tmp_path.iterdir())) == 2
    _write_elsewhere(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b.csv"]


def _write_elsewhere(folder: Path) -> None:
    """Write a file of another name as another process does."""
    code = "import sys; from pathlib import Path; from dualtalker.files import write_whole; "
    code += "write_whole(Path(sys.argv[1]) / 'b.csv', 'b')"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=60)


def test_files_of_others_and_of_the_living_stay(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    names = [
        f".a.{os.getpid()}.part.mp4", f".part-{os.getpid()}-x", ".a.part.mp4",
        f"a.{dead.pid}.part",
        f".a.{dead.pid}.party", f".a.{dead.pid}", ".part-", ".part-x-y", ".a.99999999999999.part",
    ]  # fmt: skip
    for name in names:
        (tmp_path / name).write_text("stays")
    (tmp_path / f".a.{dead.pid}.part").write_text("goes")
    (tmp_path / f".part-{dead.pid}-abc").mkdir()
    (tmp_path / f".part-{dead.pid}-abc" / "half").write_text("goes")
    _write_elsewhere(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "b.csv"])


def test_a_part_that_is_held_elsewhere_stays(tmp_path):
    """In another container its process has another number: here it seems dead."""
    fcntl = pytest.importorskip("fcntl")
    dead = subprocess.Popen(["true"])
    dead.wait()
    part = tmp_path / f".a.{dead.pid}.part.mp4"
    with part.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _write_elsewhere(tmp_path)
        assert part.exists()
    _write_elsewhere(tmp_path)
    assert not part.exists()


def test_two_that_write_together_do_not_mix(tmp_path):
    """A reader sees pairs of one writer, whatever the other does at the same time."""
    code = """
import sys
from pathlib import Path
from dualtalker.files import written_together
paths = [Path(sys.argv[1]) / name for name in "abc"]
for k in range(30):
    with written_together(*paths) as folder:
        for path in paths:
            (folder / path.name).write_text(f"{sys.argv[2]}{k}")
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen([*command, name]) for name in "xy"]
    assert [process.wait(60) for process in running] == [0, 0]
    assert len({(tmp_path / name).read_text() for name in "abc"}) == 1


def test_a_signal_that_a_program_handles_stays_its_own(tmp_path):
    code = """
import os, signal, sys
from dualtalker.files import ending_in_order
seen = []
signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
with ending_in_order():
    os.kill(os.getpid(), signal.SIGTERM)
assert seen == [1]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
