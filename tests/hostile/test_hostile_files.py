"""Pipes, devices, links to them and folders in place of every file that a user can name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import DualtalkerError
from limited_process import refuse
from tiny_bundle import make_tiny_bundle

KINDS = ("fifo", "zero", "folder", "dangling", "loop")


def place(path: Path, kind: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"zero": "/dev/zero", "dangling": "nowhere", "loop": path.name}[kind])
    return path


@pytest.fixture
def speech(tmp_path) -> Path:
    path = tmp_path / "speech.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(8000)), 16000)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_what_animate_and_bag_read(tmp_path, speech, kind):
    model = make_tiny_bundle(tmp_path)
    whole, sidecar = tmp_path / "a" / "a.onnx", tmp_path / "b" / "b.json"
    place(whole, kind)
    place(sidecar, kind)
    shutil.copy(model.with_suffix(".json"), whole.with_suffix(".json"))
    shutil.copy(model, sidecar.with_suffix(".onnx"))
    out = ("-o", tmp_path / "out")
    ends = ("wav", "npz", "csv", "db3")
    wav, rig, csv, bag = (place(tmp_path / f"c.{end}", kind) for end in ends)
    for named, arguments in (
        (wav, ("animate", wav, *out)),
        (whole, ("animate", speech, "--model", whole, *out)),
        (sidecar, ("animate", speech, "--model", sidecar, *out)),
        (rig, ("animate", speech, "--rig", rig, *out)),
        (rig, ("rig", rig)),
        (csv, ("bag", speech, csv, "-o", tmp_path / "a.mcap")),
        (bag, ("evaluate", bag, *out)),
    ):
        assert str(named) in refuse("dualtalker", *arguments, folder=tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_trainer_reads(tmp_path, kind):
    pytest.importorskip("torch")
    from training.data import labels, lips, recordings
    from training.datasets import meshes, pickles, regions
    from training.learning import load_checkpoint

    readers = {
        "a.safetensors": load_checkpoint,
        "a.pkl": pickles.load_pickle,
        "a.obj": meshes.read_mesh,
        "a.ply": meshes.read_mesh,
        "a.txt": lambda path: regions.read_vertex_set(path, "lips", 100),
        "b.json": lambda path: regions.read_vertex_set(path, "lips", 100),
        "a.phones.json": labels._read_labels,
        "a.jsonl": lambda path: list(labels._read_list(path, ())),
        "a.npz": lips.read_tracks,
        "c.wav": recordings.read_sound,
    }
    for name, read in readers.items():
        path = place(tmp_path / name, kind)
        with pytest.raises(DualtalkerError, match=r"; expected |^found no"):
            read(path)


HEADER = "time_s,jawOpen\n"
FLOODS = {
    "rows": lambda: HEADER + "".join(f"{k},1\n" for k in range(3_000_000)),
    "commas": lambda: HEADER + ",\n" * 20_000_000,
    "empty lines": lambda: "\n" * 60_000_000,
    "one line": lambda: HEADER + "0," + "1" * 60_000_000,
    "columns": lambda: "time_s" + ",x" * 1_000_000 + "\n",
    "wide cells": lambda: (
        f"time_s,{','.join(ARKIT_NAMES)}\n" + (f"{'1' * 64}{',1' * 52}\n" * 400_000)
    ),
    "quotes": lambda: HEADER + '"' + "\n" * 60_000_000,
}


@pytest.mark.parametrize("flood", FLOODS)
def test_floods_in_a_csv(tmp_path, speech, flood):
    csv = tmp_path / "a.csv"
    csv.write_text(FLOODS[flood]())
    refuse("dualtalker", "bag", speech, csv, "-o", tmp_path / "a.mcap", folder=tmp_path)
