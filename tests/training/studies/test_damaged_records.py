"""JSON that an earlier run left and that was damaged since: its file is named, and what mends it.

Cut short, changed by hand or by another program, it never ends a command in a traceback.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch")

from dualtalker.engine import write_sidecar
from dualtalker.errors import BundleError, DualtalkerError
from engines.export_onnx import ExportConfig, ExportError, export
from training import ablate
from training.building import BuildError, Stage, run_stage
from training.corpus import CorpusConfig, build_corpus
from training.data import CorpusError, reduce_corpus, write_index
from training.pack import pack
from training.studies import AblationError, tradeoff

DAMAGES: dict[str, bytes] = {
    "nothing": b"",
    "cut short": b'{"command": "python',
    "no object": b"[1, 2]",
    "another's": b'{"command": {}, "figures": 1, "clips": null}',
    "deep": b"[" * 100_000,
    "no number": b'{"seconds": NaN}',
    "no text": b"\xff\xfe\x00",
}
# What is refused, by what: (made in a folder, the damaged file, the error, its words).
Case = tuple[Callable[[], object], Path, type[DualtalkerError], str]


def damaged_cell(folder: Path, corpus: Path, trained: Path) -> Case:
    path = folder / "all-1-0.json"
    return lambda: ablate.read_cell(path), path, AblationError, "delete it to make the cell again"


def damaged_reduction(folder: Path, corpus: Path, trained: Path) -> Case:
    out = folder / "out"
    reduce_corpus([corpus], out, 0.5, 0)
    again = lambda: reduce_corpus([corpus], out, 0.5, 0)  # noqa: E731
    return again, out / "reduction.json", CorpusError, "delete "


def damaged_stage(folder: Path, corpus: Path, trained: Path) -> Case:
    stage = Stage("copy it", "unused", (), (), folder / "made")
    path = folder / "stages" / "copy_it.json"
    path.parent.mkdir()
    return lambda: run_stage(stage, path.parent), path, BuildError, "made to run stage `copy it`"


def damaged_point(folder: Path, corpus: Path, trained: Path) -> Case:
    path = folder / "20ms-8" / "figures.json"
    path.parent.mkdir()
    config = tradeoff.TradeoffConfig((corpus,), folder)
    train = lambda: tradeoff.train_point(config, 20, 8)  # noqa: E731
    return train, path, DualtalkerError, "20ms-8 to train this network again"


def damaged_plan(folder: Path, corpus: Path, trained: Path) -> Case:
    config = CorpusConfig(folder / "out", hours=0, jobs=1, unpaired=(folder / "sound",))
    (folder / "sound").mkdir()
    soundfile.write(folder / "sound" / "a.wav", np.zeros(16000), 16000)
    build_corpus(config)
    (path,) = config.out.glob("*.plan")
    return lambda: build_corpus(config), path, CorpusError, "delete it to make its shard again"


def damaged_shard(folder: Path, corpus: Path, trained: Path) -> Case:
    out = Path(shutil.copytree(corpus, folder / "out"))
    path = next(out.glob("shard-*.json"))
    return lambda: write_index(out), path, CorpusError, "write the corpus again"


def damaged_sidecar(folder: Path, corpus: Path, trained: Path) -> Case:
    bundle = folder / "NAME.onnx"
    bundle.write_bytes(b"")
    write_sidecar(bundle, [])
    path = bundle.with_suffix(".json")
    return lambda: pack(trained, bundle), path, BundleError, r"NAME\.json"


def damaged_figures(folder: Path, corpus: Path, trained: Path) -> Case:
    path = folder / "figures.json"
    config = ExportConfig(trained, folder / "NAME.onnx", metrics=path)
    return lambda: export(config), path, ExportError, r"training\.evaluate --json-out"


CASES = (
    damaged_cell,
    damaged_reduction,
    damaged_stage,
    damaged_point,
    damaged_plan,
    damaged_shard,
    damaged_sidecar,
    damaged_figures,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_what_is_damaged_is_named_with_what_mends_it(
    case: Callable[[Path, Path, Path], Case], tmp_path: Path, corpus: Path, trained: Path
) -> None:
    use, path, error, mend = case(tmp_path, corpus, trained)
    for name, content in DAMAGES.items():
        if name == "another's" and case is damaged_plan:
            continue  # a plan of other content is of another shard, which is made anew
        path.write_bytes(content)
        with pytest.raises(error, match=mend) as caught:
            use()
        assert str(path) in str(caught.value) or name == "another's", name
