"""Two processes under torchrun learn what one does with the same segments in a step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from checkout import ROOT

torch = pytest.importorskip("torch")

from tiny_training import make_corpus, tiny_train_config
from training.learning import Place, find_place, load_checkpoint, take_step
from training.learning.distributed import share_out
from training.learning.run import prepare

STEPS = 4
SCRIPT = """
import json, sys
from pathlib import Path
from test_distributed import make_config
from training.learning import choose_device, find_place, save
from training.learning.distributed import join_group
from training.learning.run import prepare
from training.learning.step import take_step

place = find_place()
with join_group(place, choose_device("cpu", place)):
    run = prepare(make_config(Path(sys.argv[1]), Path(sys.argv[2])), place)
    losses = [take_step(run) for _ in range(4)]
    if place.leads:
        save(run)
        Path(sys.argv[2], "losses.json").write_text(json.dumps(losses))
"""


PATHS = os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]])


def make_config(corpus: Path, out: Path):
    config = tiny_train_config(corpus, out, accumulate=2, device="cpu")
    config.data.batch = 2
    config.data.segment_s = 0.5
    return config


@pytest.mark.slow
def test_two_processes_equal_one_with_the_same_global_batch(tmp_path: Path) -> None:
    import json

    corpus = make_corpus(tmp_path / "clips")
    run = prepare(make_config(corpus, tmp_path / "one"))
    alone = [take_step(run) for _ in range(STEPS)]
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = tmp_path / "both.py"
    script.write_text(SCRIPT)
    finished = subprocess.run(
        [sys.executable, *command, str(script), str(corpus), str(tmp_path / "two")],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": PATHS,
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    together = json.loads((tmp_path / "two" / "losses.json").read_text())
    assert len(together) == STEPS
    for one, two in zip(alone, together, strict=True):
        assert one.keys() == two.keys()
        for name, value in one.items():
            assert two[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    saved = load_checkpoint(tmp_path / "two" / f"step_{STEPS:07d}.safetensors").group("network")
    for name, tensor in run.network.state_dict().items():
        torch.testing.assert_close(saved[name], tensor, atol=1e-5, rtol=1e-3, msg=name)


def test_micro_batches_are_shared_out_whole() -> None:
    assert list(share_out(3, Place())) == [0, 1, 2]
    shares = [list(share_out(6, Place(rank, 3))) for rank in range(3)]
    assert sorted(n for share in shares for n in share) == list(range(6))
    with pytest.raises(ValueError, match="--accumulate 4"):
        share_out(3, Place(0, 2))


def test_place_comes_from_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert find_place() == Place(0, 1, 0) and find_place().leads
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ValueError, match="torchrun"):
        find_place()
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert find_place() == Place(3, 4, 1) and not find_place().leads
