"""Building engines: TensorRT for RTX, which needs no GPU, and as a Jetson does."""

from __future__ import annotations

import importlib.util
import os
import platform
import signal
import subprocess
import sys
import threading
import time

import pytest

from checkout import ROOT

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from dualtalker.engine import BuildOptions, build
from dualtalker.engine.tensorrt_builder import BuildError, BuildInterrupted
from dualtalker.model import DEFAULT_MODEL, load_bundle
from dualtalker.model.backends.engine_files import read_record
from tiny_exports import make_model

HAS_RTX = importlib.util.find_spec("tensorrt_rtx") is not None
ON_X86 = platform.machine() in ("x86_64", "AMD64") and sys.platform == "linux"
needs_builder = pytest.mark.skipif(
    not HAS_RTX and not ON_X86, reason="tensorrt-rtx has wheels for Linux on x86_64 only"
)


# --- building with TensorRT for RTX, which needs no GPU ---


@pytest.fixture(scope="module")
def trt():
    if not HAS_RTX:
        pytest.fail("tensorrt-rtx is missing: python -m pip install 'dualtalker[engines]'")
    import tensorrt_rtx

    return tensorrt_rtx


def build_for(bundle, out, trt, **options):
    return build(bundle.onnx_path, out, trt=trt, **options)


@needs_builder
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("kind", ["stateful", "windowed", "tiny", "default"])
def test_every_model_builds(kind, precision, stateful, windowed, tiny, trt, tmp_path):
    if kind == "default" and not DEFAULT_MODEL.is_file():
        pytest.skip("this checkout has no default model yet")
    bundle = {"stateful": stateful, "windowed": windowed[0]}.get(kind) or load_bundle(
        tiny if kind == "tiny" else None
    )
    result = build_for(bundle, tmp_path, trt, precision=precision)
    assert result.layers > 3 and result.path.stat().st_size > 1000
    record = read_record(result.path)
    assert record.precision == precision and record.onnx_sha256 == bundle.digest
    assert record.target.library == "tensorrt_rtx"
    assert not list(tmp_path.glob("*.part*"))
    assert result.path.with_suffix(".log").read_text().startswith(("INFO", "WARNING", "ERROR"))


@needs_builder
def test_a_build_is_reused_until_something_differs(tiny, trt, tmp_path):
    bundle = load_bundle(tiny)
    first = build_for(bundle, tmp_path, trt)
    stamp = first.path.stat().st_mtime_ns
    assert build_for(bundle, tmp_path, trt).seconds == 0.0
    assert first.path.stat().st_mtime_ns == stamp
    assert build_for(bundle, tmp_path, trt, rebuild=True).seconds > 0.0
    first.path.write_bytes(b"half")  # damaged: built anew without being told
    assert build_for(bundle, tmp_path, trt).seconds > 0.0
    first.path.with_suffix(".json").unlink()
    assert build_for(bundle, tmp_path, trt).seconds > 0.0
    assert build_for(bundle, tmp_path, trt, precision="fp32").path != first.path


@needs_builder
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_build_and_leaves_nothing(stateful, trt, tmp_path, number):
    """It arrives while TensorRT's own code runs."""
    before = signal.getsignal(number)
    stop = threading.Event()

    def press() -> None:
        while not stop.is_set():
            if signal.getsignal(number) not in (before, signal.SIG_DFL):
                os.kill(os.getpid(), number)
                return
            time.sleep(0.0005)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        with pytest.raises(BuildInterrupted, match="interrupted; no engine was written"):
            build_for(stateful, tmp_path, trt)
    finally:
        stop.set()
        thread.join()
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is before


@needs_builder
def test_a_full_disk_leaves_nothing_half_written(tiny, tmp_path):
    """In a process of its own whose files may not grow past 2 kB."""
    code = (
        "import resource, sys\n"
        "from dualtalker.cli.main import main\n"
        "import dualtalker.engine.build_engine as b\n"
        "real = b.write_engine\n"
        "def limited(*arguments):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))\n"
        "    real(*arguments)\n"
        "b.write_engine = limited\n"
        "sys.exit(main(['engine', 'build', *sys.argv[1:]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny), "-o", str(tmp_path), "--no-progress"],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stderr and "Free space" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@needs_builder
def test_a_graph_that_tensorrt_cannot_read_names_the_node(trt):
    from dualtalker.engine.tensorrt_builder import BuildOptions, build_engine

    model = make_model("Relu")
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(BuildError, match=r"cannot read this graph:\n.*NoSuchOperator"):
        build_engine(trt, model.SerializeToString(), BuildOptions())


# --- building as TensorRT on a Jetson does it ---


class JetsonTensorRt:
    """TensorRT for RTX under the name and with the timing cache of JetPack's, for no GPU."""

    __name__ = "tensorrt"

    def __init__(self, trt) -> None:
        self._trt = trt

    def __getattr__(self, name: str):
        return getattr(self._trt, name)


@needs_builder
@pytest.mark.filterwarnings("ignore:.*TensorRT-RTX:DeprecationWarning")
def test_a_timing_cache_is_kept_and_given_to_the_next_build(tiny, trt, tmp_path, monkeypatch):
    from dualtalker.engine import build_engine as command
    from dualtalker.engine import tensorrt_builder
    from dualtalker.model.backends import Target

    target = Target("Orin", "8.7", 16, "tensorrt", "10.3.0")
    monkeypatch.setattr(command, "find_target", lambda _trt: target)
    given = []
    real = tensorrt_builder._attach_timing_cache

    def attach(module, config, content):
        given.append(content)
        return real(module, config, content)

    monkeypatch.setattr(tensorrt_builder, "_attach_timing_cache", attach)
    bundle = load_bundle(tiny)
    first = build_for(bundle, tmp_path, JetsonTensorRt(trt))
    assert first.path.name == "tiny.orin-16sm-trt10.3.0-fp16.engine"
    cache = tmp_path / "orin-16sm-trt10.3.0.timing"
    kept = cache.read_bytes()
    assert kept
    build_for(bundle, tmp_path, JetsonTensorRt(trt), rebuild=True)
    assert given == [b"", kept]
    cache.write_bytes(b"of another version")
    assert build_for(bundle, tmp_path, JetsonTensorRt(trt), rebuild=True).layers > 3


@needs_builder
def test_a_builder_that_runs_out_of_memory_says_what_to_do(tiny, trt, tmp_path):
    class Builder:
        """TensorRT's own, but for the end: no engine, and the reason in the log."""

        def __init__(self, logger) -> None:
            self._logger, self._real = logger, trt.Builder(logger)

        def __getattr__(self, name: str):
            return getattr(self._real, name)

        def build_serialized_network(self, _network, _config):
            severity = trt.ILogger.Severity.ERROR
            self._logger.log(severity, "Requested amount of GPU memory could not be allocated")

    class Scarce(JetsonTensorRt):
        __name__ = "tensorrt_rtx"
        Builder = None

    scarce = Scarce(trt)
    scarce.Builder = Builder
    with pytest.raises(BuildError, match=r"out of memory.*--workspace-mb \(now 64\)"):
        build_for(load_bundle(tiny), tmp_path, scarce, options=BuildOptions(workspace_mb=64))
    assert list(tmp_path.iterdir()) == []


@needs_builder
def test_the_workspace_limit_reaches_tensorrt(trt):
    from dualtalker.engine.tensorrt_builder import BuildOptions, _configure

    builder = trt.Builder(trt.Logger())
    config = _configure(trt, builder, BuildOptions(workspace_mb=64))
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 64 << 20
    assert not config.get_flag(trt.BuilderFlag.TF32)
