"""The ablation grid on a tiny corpus: what is cut, switched on, resumed and written."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkout import ROOT

torch = pytest.importorskip("torch")

from dualtalker.errors import DualtalkerError
from tiny_training import make_clip, make_corpus, tiny_train_config
from training import ablate
from training.configs import LossConfig
from training.data import (
    CorpusError,
    check_clip,
    load_clips,
    reduce_corpus,
    save_clips,
)
from training.data.subsets import choose_pieces, cut_clip, find_cuts
from training.studies import VARIANTS, Cell, write_results
from training.studies.ablation import DUAL_TERMS
from training.studies.ablation_table import (
    format_tables,
    pair_differences,
    replace_section,
    spread,
)


def seconds_of(clips: list) -> float:
    return sum(len(clip.motion) for clip in clips) / 50


@given(st.integers(0, 149), st.integers(1, 150))
@settings(max_examples=30, deadline=None)
def test_a_cut_clip_is_the_clip_at_those_frames(first: int, length: int) -> None:
    clip = make_clip("c", 1)
    last = min(first + length, clip.frames)
    piece = cut_clip(clip, first, last)
    check_clip(piece)
    np.testing.assert_array_equal(piece.motion, clip.motion[first:last])
    np.testing.assert_array_equal(piece.audio, clip.audio[first * 320 : last * 320])
    middle_s = piece.duration_s / 2
    here = [p.label for p in piece.phones if p.start_s <= middle_s < p.end_s]
    there_s = first / 50 + middle_s
    assert here in ([], [p.label for p in clip.phones if p.start_s <= there_s < p.end_s])


def test_cuts_fall_into_quiet_spots_and_cover_the_clip() -> None:
    clip = make_clip("c", 2, seconds=20.0)
    cuts = find_cuts(clip)
    assert cuts[0] == 0 and cuts[-1] == clip.frames and len(cuts) == 4
    assert min(np.diff(cuts)) > 2.5 * 50
    # This voice is silent at half of the frames; the cuts must be among them.
    assert all(clip.motion[cut, 17] < 0.02 for cut in cuts[1:-1])


@pytest.mark.parametrize("fraction", [0.5, 0.3, 0.1, 0.02])
def test_a_fraction_of_the_duration_is_kept_of_each_style(fraction: float) -> None:
    """Two long clips and many short ones: whole clips could not be thinned like this."""
    clips = [make_clip(f"long{i}", i, 40.0, style="captured:x") for i in range(2)]
    clips += [make_clip(f"short{i}", i, 2.5) for i in range(12)]
    kept, left = choose_pieces(clips, fraction, seed=1)
    for style in ("captured:x", "rules"):
        total = seconds_of([c for c in clips if c.style == style])
        found = seconds_of([c for c in kept if c.style == style])
        assert found == pytest.approx(fraction * total, abs=1.0)
        assert found > 0
        rest = seconds_of([c for c in left if c.style == style])
        assert found + rest == pytest.approx(total, abs=0.02)
    names = [c.name for c in [*kept, *left]]
    assert len(set(names)) == len(names)


def test_smaller_fractions_are_part_of_larger_ones_and_seeds_differ() -> None:
    clips = [make_clip(f"c{i}", i, 30.0) for i in range(3)]
    small, large = (choose_pieces(clips, f, seed=0)[0] for f in (0.2, 0.5))
    whole_pieces = {c.name: c.frames for c in large}
    assert all(c.frames <= whole_pieces[c.name] for c in small)
    other = choose_pieces(clips, 0.2, seed=1)[0]
    assert {c.name for c in other} != {c.name for c in small}


def test_reduced_corpus_keeps_held_out_and_unpaired_clips_whole(tmp_path: Path) -> None:
    source = make_corpus(tmp_path / "source")
    out = reduce_corpus([source], tmp_path / "out", 0.5, 0, ("made_1",), leftover_unpaired=True)
    clips = {c.name: c for c in load_clips(out)}
    for name in ("held", "held_rules", "made_1"):
        assert clips[name].split == "validation" and clips[name].duration_s == 3.0
    assert clips["unpaired"].motion is None
    paired = [c for c in clips.values() if c.split == "train" and c.motion is not None]
    # Half of two rule-made clips, of the recorded and of the captured clip, 3 s each.
    assert seconds_of(paired) == pytest.approx(0.5 * 12.0, abs=0.1)
    assert {c.style for c in paired} == {"rules", "captured:one"}
    unpaired_s = sum(c.duration_s for c in clips.values() if c.motion is None)
    assert unpaired_s == pytest.approx(3.0 + 0.5 * 12.0, abs=0.1)
    before = (out / "index.json").read_bytes()
    reduce_corpus([source], out, 0.5, 0, ("made_1",), leftover_unpaired=True)
    assert (out / "index.json").read_bytes() == before
    with pytest.raises(CorpusError, match="was reduced as"):
        reduce_corpus([source], out, 0.2, 0, ("made_1",))
    with pytest.raises(CorpusError, match="fraction 0"):
        reduce_corpus([source], tmp_path / "none", 0.0, 0)


def test_variants_switch_dual_terms_and_leave_the_primary_ones() -> None:
    base = LossConfig()
    dual = set(DUAL_TERMS)
    for variant, terms in VARIANTS.items():
        loss = ablate.choose_terms(base, variant)
        for field in dataclasses.fields(LossConfig):
            on = field.name not in dual or field.name in terms
            assert getattr(loss, field.name) == (getattr(base, field.name) if on else 0.0)
    assert not ablate.choose_terms(base, "single").dual_is_on()
    assert ablate.choose_terms(base, "all") == base


def make_config(corpus: Path, out: Path, **fields: object) -> ablate.AblateConfig:
    train = tiny_train_config(corpus, out / "unused", steps=4, validate_every=2)
    values = {
        "variants": ("single", "all"),
        "fractions": (1.0, 0.4),
        "seeds": (0,),
        "results": out / "docs" / "results.md",
        **fields,
    }
    return ablate.AblateConfig((corpus,), "tiny", out / "grid", train=train, **values)  # type: ignore[arg-type]


def test_grid_is_computed_once_written_and_resumed(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(corpus, tmp_path)
    cells = ablate.run_grid(config)
    assert [(c.variant, c.fraction) for c in cells] == [
        ("single", 1.0), ("all", 1.0), ("single", 0.4), ("all", 0.4)
    ]  # fmt: skip
    for cell in cells:
        assert cell.figures["lip gap error mm"] > 0 and "jaw r" in cell.figures
        assert cell.paired_s == pytest.approx(15.0 * cell.fraction, abs=0.2)
        assert cell.figures["lip gap kept"] > 0 and cell.figures["lip FDD absolute"] > 0
        assert [row["step"] for row in cell.curve] == [2, 4]
        assert all(-1 <= row["gap_r"] <= 1 for row in cell.curve)
    assert cells[0].figures != cells[1].figures
    text = (tmp_path / "docs" / "results.md").read_text(encoding="utf-8")
    assert "| single task |" in text and "Δ at 40 %" in text
    assert "| variance of the lip gap kept (nearer to 1) | 40 %" in text
    assert (tmp_path / "docs" / "ablation_tiny.svg").read_text().startswith("<svg")
    assert not list((tmp_path / "grid" / "runs").rglob("*.safetensors"))

    # One cell is lost; only that one is computed again, and it comes out the same.
    lost = tmp_path / "grid" / "cells" / "tiny" / "all-0.4-0.json"
    lost.unlink()
    computed = []
    run_cell = ablate.run_cell
    monkeypatch.setattr(ablate, "run_cell", lambda job: computed.append(job.path) or run_cell(job))
    again = ablate.run_grid(config)
    assert computed == [lost]
    for old, new in zip(cells, again, strict=True):
        assert old.figures == new.figures


def test_a_talker_who_was_never_trained_is_told_apart(corpus: Path, tmp_path: Path) -> None:
    """Without a style of its own such a clip is animated all the same."""
    clips = load_clips(corpus)
    stranger = make_clip("stranger", 9, style="captured:two", phones=None, split="validation")
    for clip in clips:
        clip.speaker = "one"
    save_clips(tmp_path / "talkers", [*clips, dataclasses.replace(stranger, speaker="two")])
    config = make_config(tmp_path / "talkers", tmp_path, fractions=(1.0,), variants=("single",))
    cell = ablate.run_grid(config)[0]
    both, own = cell.figures["lip gap r"], cell.figures["lip gap r, trained talkers"]
    assert both == pytest.approx((own + cell.figures["lip gap r, unseen talkers"]) / 2)
    text = (tmp_path / "docs" / "results.md").read_text(encoding="utf-8")
    assert "**lip gap r, unseen talkers**" in text and "LVE" not in text


def test_cells_of_other_settings_are_refused(corpus: Path, tmp_path: Path) -> None:
    config = make_config(corpus, tmp_path, fractions=(1.0,), variants=("single",))
    ablate.prepare_corpora(config)
    job = ablate.plan_grid(config)[0]
    assert job.config.data.unpaired_share == 0.0  # nothing of single-task hears unpaired sound
    assert ablate.plan_cell(config, "all", 1.0, 0).config.data.unpaired_share > 0
    job.path.parent.mkdir(parents=True)
    cell = Cell("single", 1.0, 0, job.digest, {"jaw r": 0.5}, 12.0, 1.0)
    job.path.write_text(json.dumps(dataclasses.asdict(cell)), encoding="utf-8")
    assert ablate.read_cell(ablate.plan_grid(config)[0].path) == cell
    longer = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=9))
    with pytest.raises(ablate.AblationError, match="other data or settings"):
        ablate.plan_grid(longer)
    with pytest.raises(ablate.AblationError, match=r"unknown variants \['triple'\]"):
        ablate.plan_grid(dataclasses.replace(config, variants=("triple",)))


def test_interrupted_cell_goes_on_only_with_equal_settings(tmp_path: Path) -> None:
    assert not ablate._begin_run(tmp_path / "run", "a")
    (tmp_path / "run" / "step_0000003.json").write_text("{}")
    assert ablate._begin_run(tmp_path / "run", "a")
    assert not ablate._begin_run(tmp_path / "run", "b")
    assert not list((tmp_path / "run").glob("step_*"))


def test_command_in_the_results_makes_them_again() -> None:
    """Parsing the described command gives the config back."""
    import tyro

    config = ablate.AblateConfig((Path("a"), Path("b")), "x", leftover_unpaired=True, jobs=3)
    train = dataclasses.replace(config.train, steps=7, augment=False)
    train.network.lipread_targets = ("phones",)
    config = dataclasses.replace(config, train=train, seeds=(4,))
    command = ablate.describe_command(config)
    words = command.split()[3:]
    assert "--jobs" not in words and "--train.no-augment" in words
    assert tyro.cli(ablate.AblateConfig, args=words) == dataclasses.replace(config, jobs=1)
    assert ablate.describe_command(ablate.AblateConfig()) == "python -m training.ablate"


def make_cells() -> list[Cell]:
    rows = {"single": (1.0, 2.0, 3.0), "all": (0.8, 1.6, 2.4)}
    return [
        Cell(variant, 0.1, seed, "", {"lip gap error mm": value}, 60.0, 1.0)
        for variant, values in rows.items()
        for seed, value in enumerate(values)
    ]


def test_differences_are_paired_by_seed() -> None:
    cells = make_cells()
    absolute, relative = pair_differences(cells, "lip gap error mm", "all", 0.1)
    assert absolute == pytest.approx([-0.2, -0.4, -0.6])
    assert relative == pytest.approx([-0.2] * 3)
    assert pair_differences(cells[:4], "lip gap error mm", "all", 0.1)[0] == pytest.approx([-0.2])
    assert spread([1.0, 2.0, 3.0]) == (2.0, pytest.approx(1.0)) and spread([1.0]) == (1.0, None)
    table = format_tables(cells)
    assert "| single task | 2.000 ± 1.000 | – |" in table
    assert "| all | 1.600 ± 0.800 | -0.400 ± 0.200 (-20.0 %) |" in table


def test_results_keep_what_stands_around_their_section(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    path.write_text("# Results\n\nBefore.\n", encoding="utf-8")
    write_results(path, "one", make_cells(), "command", 10)
    first = path.read_text(encoding="utf-8")
    assert first.startswith("# Results\n\nBefore.\n") and "60.0" not in first
    path.write_text(first + "\nAfter.\n", encoding="utf-8")
    write_results(path, "two", make_cells()[:1], "command", 10)
    write_results(path, "one", make_cells(), "command", 10)
    text = path.read_text(encoding="utf-8")
    assert text.count("ablation one: begin") == text.count("ablation two: end") == 1
    assert "After." in text and text.index("After.") < text.index("ablation two")
    with pytest.raises(DualtalkerError, match="only one of"):
        replace_section("<!-- m: begin -->", "m", "body")


# A parent whose worker tells its number and sleeps.
PARENT = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from training.ablate import end_with_parent

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600)
        time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the worker in /proc")
def test_workers_end_when_the_grid_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(program)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    worker = Path("/proc") / parent.stdout.readline().strip()
    assert (worker / "cmdline").exists()
    parent.kill()
    parent.wait()
    deadline_s = time.monotonic() + 20
    while worker.exists() and "Z" not in (worker / "stat").read_text().rsplit(")", 1)[1][:3]:
        assert time.monotonic() < deadline_s, "the worker lives on"
        time.sleep(0.05)
