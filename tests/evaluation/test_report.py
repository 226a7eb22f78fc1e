"""The written report: one page that needs nothing else, and JSON with the same numbers."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import (
    Picture,
    Recording,
    ReportOptions,
    build_report,
    film_side_by_side,
)
from dualtalker.evaluation.pictures import draw_curves, draw_error_maps
from dualtalker.evaluation.report import write_page
from dualtalker.files import RECORD_NAME
from dualtalker.rig.robot_head import build_head
from made_recordings import make_motion, make_recording

JAW_OPEN = ARKIT_INDEX["jawOpen"]


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    phones = (("PP", 0.2, 0.3), ("AA", 0.5, 0.6), ("FF", 0.9, 1.0))
    return [
        make_recording(75, reference=None, captured=False, phones=phones),
        make_recording(75),
    ]


def test_report_is_one_file_with_all_its_pictures(
    recordings: list[Recording], tmp_path: Path
) -> None:
    motions = {
        "loudness": [make_motion(75, 2)] * 2,
        "model": [make_motion(75, 1)] * 2,
    }
    more = {"model": {"size MB": 4.0}}
    options = ReportOptions("A <title>", video_s=0.4, facts={"Model": "a & b"})
    report = build_report(
        tmp_path / "out", recordings, motions, build_head(), more, options=options
    )
    assert report.html is not None and report.json is not None
    page = report.html.read_text(encoding="utf-8")
    assert "A &lt;title&gt;" in page and "a &amp; b" in page
    assert page.count("data:video/mp4;base64,") == 1
    assert page.count("data:image/png;base64,") == 1
    assert page.count("<svg") == 2
    # Nothing is fetched: every source is in the page, and there is no script.
    sources = re.findall(r'(?:src|href)="([^"#]{1,20})', page)
    assert sources and all(source.startswith("data:") for source in sources)
    assert "<script" not in page
    data = json.loads(report.json.read_text(encoding="utf-8"))
    assert data["figures"] == report.figures
    assert data["figures"]["model"]["size MB"] == 4.0
    assert "| size shipped (MB) | – | 4.00 | ≤ 5.7 | ≤ 5 | aim met |" in report.table
    written = {p.name for p in (tmp_path / "out").iterdir()} - {RECORD_NAME}
    assert written == {"report.html", "report.json"}


def test_report_without_a_folder_writes_nothing(recordings: list[Recording]) -> None:
    motions = {"model": [make_motion(75)] * 2}
    report = build_report(None, recordings, motions, build_head())
    assert report.html is None and report.figures["model"]["jaw r"] == pytest.approx(1.0)
    with pytest.raises(DualtalkerError, match="no recording"):
        build_report(None, [], {"model": []}, build_head())


def test_error_maps_need_a_captured_face_and_show_where_it_differs(
    recordings: list[Recording],
) -> None:
    from PIL import Image

    head = build_head()
    assert draw_error_maps(recordings[:1], {"model": [make_motion(75)]}, head) is None
    drawn = []
    for delay in (1, 5):
        motions = {"model": [make_motion(75)] * 2, "late": [make_motion(75, delay)] * 2}
        content = draw_error_maps(recordings, motions, head, size_px=64)
        assert content is not None
        drawn.append(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
    assert drawn[0].shape == drawn[1].shape and (drawn[0] != drawn[1]).any()


def test_video_shows_reference_and_contestants_side_by_side(
    recordings: list[Recording],
) -> None:
    import av

    motions = {"a": make_motion(75), "b": np.zeros((75, 52), np.float32)}
    content = film_side_by_side(recordings[1], motions, build_head(), 0.5, size_px=96)
    with av.open(io.BytesIO(content)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        assert container.streams.audio
    assert frames[0].shape == (116, 288, 3) and 12 <= len(frames) <= 13
    widest = int(np.argmax(motions["a"][: 2 * len(frames) : 2, JAW_OPEN]))
    left, center, right = np.split(frames[widest][20:].astype(int), 3, axis=1)
    # The first contestant is the reference itself; the second one rests.
    same, other = (np.abs(left - face).max(axis=-1) > 40 for face in (center, right))
    assert other.sum() > 20 and same.sum() < 0.2 * other.sum()


def test_curves_of_equal_data_are_equal_text(recordings: list[Recording]) -> None:
    motions = {"model": make_motion(75)}
    first = draw_curves(recordings[0], motions, build_head())
    assert first == draw_curves(recordings[0], motions, build_head())
    assert first.startswith("<svg") and "lip gap (mm)" in first


def test_page_escapes_what_it_is_given() -> None:
    picture = Picture("<b>", "&", "svg", "<svg></svg>")
    row = {
        "figure": "<i>", "key": "k", "values": {}, "cells": {"m<": "1"}, "required": "≥ 1",
        "aim": "–", "verdict": "missed", "convention": "c",
    }  # fmt: skip
    page = write_page("t", {}, [row], ["m<"], [picture])
    assert "<b>" not in page and "<i>" not in page and "m&lt;" in page
    assert '<td class="missed">missed</td>' in page
