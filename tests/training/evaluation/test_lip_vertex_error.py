"""The lip vertex error against torchmetrics', a second opinion on its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
multimodal = pytest.importorskip("torchmetrics.functional.multimodal")

from dualtalker.evaluation import metrics


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_lip_error_agrees_with_torchmetrics(seed: int, frames: int, lips: int) -> None:
    left, right = 0.01 * np.random.default_rng(seed).standard_normal((2, frames, lips, 3))
    ours = metrics.measure_lip_error(left, right)
    tensors = torch.from_numpy(left), torch.from_numpy(right)
    theirs = multimodal.lip_vertex_error(*tensors, list(range(lips)))
    assert ours["lve_squared_mm2"] == pytest.approx(1e6 * float(theirs), rel=1e-9)
    assert ours["lve_root_mm"] ** 2 == pytest.approx(ours["lve_squared_mm2"])
    assert ours["lve_mm"] <= ours["lve_root_mm"] + 1e-12
