"""The speed report and its parts, on tiny models and on a stand-in for the GPU."""

from __future__ import annotations

import importlib.util
import json
import stat
import sys
import time

import numpy as np
import pytest

from checkout import ROOT
from dualtalker.cli.main import main
from dualtalker.engine import build_engine, summarize, tensorrt_builder, time_hot, time_streams
from dualtalker.engine.tegrastats import PowerMeter, parse_line
from dualtalker.engine.timing import measure_cold_start, time_paced
from dualtalker.errors import BackendError, DualtalkerError
from dualtalker.model import load_bundle
from dualtalker.model.backends import tensorrt as runner
from dualtalker.model.backends.cuda import _CudaBindingsDevice
from fake_cuda import FakeCuda, make_rtx, make_runtime, make_tensorrt
from fake_engines import HERE, open_fake_device, put_engine

LINE = (
    "11-20-2026 10:00:00 RAM 3012/7620MB (lfb 4x4MB) SWAP 0/3810MB (cached 0MB) "
    "CPU [3%@1510,0%@1510,off,off] EMC_FREQ 1%@2133 GR3D_FREQ 37%@[611] NVDEC off "
    "cpu@48.5C gpu@47.25C VDD_IN 5023mW/4990mW VDD_CPU_GPU_CV 810mW/790mW VDD_SOC 1407mW/1400mW"
)


@pytest.fixture(autouse=True)
def no_engines(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALTALKER_ENGINES", str(tmp_path / "engines"))


class SlowBackend:
    """A step of it takes 2 ms; counts them."""

    name = "slow"

    def __init__(self) -> None:
        self.steps = 0

    def new_state(self) -> list:
        return []

    def step(self, audio, state):
        assert audio.shape == (1, 320)
        time.sleep(0.002)
        self.steps += 1
        return np.zeros((1, 1, 52), np.float32), state

    def close(self) -> None: ...


def test_durations_become_a_distribution():
    times = summarize([0.001] * 98 + [0.002, 0.010])
    assert times.p50_ms == pytest.approx(1.0) and times.max_ms == pytest.approx(10.0)
    assert 1.0 < times.p99_ms < 10.0 and times.count == 100


def test_hot_and_paced_measure_the_step_and_not_the_sleep(tiny):
    sidecar, slow = load_bundle(tiny).sidecar, SlowBackend()
    hot = time_hot(slow, sidecar, 10)
    assert 2.0 <= hot.p50_ms and hot.count == 10
    slow.steps = 0
    paced = time_paced(slow, sidecar, 25.0, 0.8)
    assert slow.steps == 40  # all the hops of 0.8 s
    assert paced.p50_ms >= 4.0  # two hops a tick


def test_streams_count_every_face(tiny):
    sidecar, slow = load_bundle(tiny).sidecar, SlowBackend()
    speed = time_streams(slow, sidecar, 4, 5)
    assert slow.steps == 4 * (3 + 5)
    assert 0 < speed <= 0.020 / 0.002  # 4 x 20 ms of audio in at least 4 x 2 ms


def test_cold_start_is_of_a_new_process(tiny, tmp_path):
    figures = measure_cold_start(tiny, "onnxruntime")
    assert figures["cold_start_s"] > 0.05 and figures["peak_memory_mb"] > 20
    with pytest.raises(BackendError, match="new process"):
        measure_cold_start(tmp_path / "none.onnx", "onnxruntime")


def test_a_line_of_tegrastats():
    assert parse_line(LINE) == {
        "VDD_IN mW": 5023, "VDD_CPU_GPU_CV mW": 810, "VDD_SOC mW": 1407, "GPU %": 37,
        "GPU MHz": 611, "RAM MB": 3012, "cpu C": 48.5, "gpu C": 47.25,
    }  # fmt: skip
    assert parse_line("GR3D_FREQ 0%") == {"GPU %": 0}
    assert parse_line("nonsense") == {}


def test_power_is_read_while_it_runs_and_absent_without_the_tool(tmp_path):
    with PowerMeter("no-such-tegrastats") as meter:
        pass
    assert meter.summary() == {}
    tool = tmp_path / "tegrastats"
    lines = LINE, LINE.replace("5023mW", "7023mW")
    body = "".join(f"echo '{line}'\n" for line in lines)
    tool.write_text(f"#!/bin/sh\n{body}exec sleep 60\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    with PowerMeter(str(tool)) as meter:
        deadline = time.monotonic() + 20
        while len(meter._lines) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert meter.summary()["VDD_IN mW"] == {"mean": 6023.0, "max": 7023.0}


def test_the_command_prints_ratios_and_what_did_not_run(tiny, tmp_path, capsys):
    out, picture = tmp_path / "b.json", tmp_path / "b.png"
    arguments = [
        str(tiny), "--steps", "30", "--paced-s", "0.3", "--streams", "1", "2", "--no-cold",
        "--json", str(out), "--plot", str(picture),
    ]  # fmt: skip
    assert main(["engine", "benchmark", *arguments]) == 0
    said = capsys.readouterr().out
    assert "paced 30 Hz" in said and "1.00" in said and "not run: tiny.onnx in tensorrt" in said
    report = json.loads(out.read_text())
    assert report["rows"][0]["hot"]["p50_ms"] > 0
    assert set(report["rows"][0]["real_time"]) == {"1", "2"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["engine", "benchmark", str(tiny), "--engines", "tensorrt"]) == 2
    assert "dualtalker: error: nothing could run" in capsys.readouterr().err


@pytest.fixture
def gpu_script():
    path = ROOT / "benchmarks" / "gpu.py"
    spec = importlib.util.spec_from_file_location("gpu_script", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_gpu_script_measures_all_it_promises(gpu_script, tiny, tmp_path, monkeypatch, capsys):
    bundle, cuda = load_bundle(tiny), FakeCuda()
    trt = make_tensorrt(cuda, tiny)
    for module in (runner, tensorrt_builder):
        monkeypatch.setattr(module, "open_device", lambda: _CudaBindingsDevice(make_runtime(cuda)))
    monkeypatch.setattr(gpu_script, "STREAMS", (1, 3))
    put_engine(tmp_path, bundle, HERE, "fp16")
    options = gpu_script.argparse.Namespace(audio=None, seconds=1.0, steps=50, style=None)
    row = gpu_script.measure(bundle, "fp16", tmp_path, options, trt)
    gpu_script.print_row(row)
    said = capsys.readouterr().out
    for name in ("lip gap max mm", "graph p99 ms", "no graph p50 ms", "3 faces x real time"):
        assert name in said
    assert row["lip gap max mm"] == 0.0  # the stand-in runs the same graph
    assert row["GPU MB grown in 50 steps"] == 0.0
    assert cuda.blocks == {}


@pytest.mark.parametrize("binding", ["cuda-bindings", "pycuda"])
def test_the_gpu_script_times_a_hop_there_and_back(gpu_script, tiny, binding):
    cuda = FakeCuda()
    row = gpu_script.measure_device(
        binding, lambda: open_fake_device(binding, cuda), load_bundle(tiny)
    )
    assert binding in row["engine"] and "compute capability 8.7" in row["engine"]
    assert 0 < row["queued p50 ms"] <= row["queued p99 ms"]
    assert ("graph p50 ms" in row) == (binding == "cuda-bindings")  # pycuda records none
    assert cuda.blocks == {}


@pytest.mark.parametrize("lost", ["upload", "download"])
def test_a_hop_that_comes_back_changed_is_told(gpu_script, tiny, lost, monkeypatch):
    device = open_fake_device("pycuda", FakeCuda())
    monkeypatch.setattr(device, lost, lambda *_: None)
    with pytest.raises(BackendError, match=r"pycuda .*: hop \d came back changed"):
        gpu_script.time_round_trip(device, load_bundle(tiny), 10)


def refuse():
    raise BackendError("no GPU here")


def test_the_gpu_script_says_that_there_is_no_gpu(gpu_script, tiny, monkeypatch, capsys):
    monkeypatch.setattr(gpu_script, "DEVICES", {"one": refuse, "other": refuse})
    monkeypatch.setattr(sys, "argv", ["gpu.py", str(tiny)])
    with pytest.raises(SystemExit, match="one: no GPU here; other: no GPU here"):
        gpu_script.main()
    assert not capsys.readouterr().out


def test_the_gpu_script_measures_what_it_can_where_tensorrt_does_not_serve(
    gpu_script, tiny, tmp_path, monkeypatch, capsys
):
    """As on an H100, with the TensorRT-RTX that pip installs: nothing is built in vain."""
    pytest.importorskip("onnx")

    def open_data_center_gpu():
        device = open_fake_device("cuda-bindings", FakeCuda())
        device.gpu, device.compute_capability = "NVIDIA H100", "9.0"
        return device

    def see_no_gpu(*_):
        raise DualtalkerError("torch sees no CUDA GPU")

    for module in (runner, tensorrt_builder):
        monkeypatch.setattr(module, "open_device", open_data_center_gpu)
    monkeypatch.setattr(build_engine, "import_tensorrt", make_rtx)
    monkeypatch.setattr(build_engine, "prepare_graph", lambda *_: pytest.fail("built in vain"))
    monkeypatch.setattr(gpu_script, "DEVICES", {"cuda": open_data_center_gpu, "other": refuse})
    monkeypatch.setattr(gpu_script, "time_torch", see_no_gpu)
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu.py", str(tiny), "--json", str(out)])
    gpu_script.main()
    said = capsys.readouterr().out
    assert "not measured: torch sees no CUDA GPU" in said and "no GPU here" in said
    assert said.count("runs on GPUs of compute capability 7.5, 8.9, 12.0, and NVIDIA H100") == 2
    rows = json.loads(out.read_text())
    assert len(rows) == 5 and sum("not measured" in row for row in rows) == 4
    assert rows[0]["queued p50 ms"] > 0
