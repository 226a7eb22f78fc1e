"""The network that `benchmarks/gpu.py` times in torch is the size of the one that is shipped."""

from __future__ import annotations

import math
import sys

import pytest

torch = pytest.importorskip("torch")

from checkout import ROOT
from dualtalker.errors import DualtalkerError
from dualtalker.model import load_bundle


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu

    yield gpu
    del sys.modules["gpu"]


def test_random_weights_are_of_the_shipped_sizes(gpu):
    bundle = load_bundle()
    talker = gpu.make_talker(bundle, None).eval()
    # The exported graph keeps the same numbers in other tensors.
    shapes = [state.shape for state in bundle.sidecar.states]
    assert sum(map(math.prod, talker.state_shapes())) == sum(map(math.prod, shapes))
    assert talker.lookahead_samples == bundle.sidecar.lookahead_samples
    hop = torch.zeros(1, bundle.sidecar.hop_samples)
    motion, *state = talker(hop, *talker.new_state())
    assert motion.shape == (1, 1, 52)
    assert [tuple(tensor.shape) for tensor in state] == talker.state_shapes()


def test_a_bundle_that_does_not_say_its_sizes_is_told(gpu, tiny):
    with pytest.raises(DualtalkerError, match="give --checkpoint"):
        gpu.make_talker(load_bundle(tiny), None)


def test_torch_without_a_gpu_is_told(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DualtalkerError, match="sees no CUDA GPU: install a CUDA build"):
        gpu.time_torch(load_bundle(), None)
