"""Networks whose style is chosen at run time: their graphs are the network in any mixture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dualtalker import animate
from dualtalker.cli.main import run_command
from dualtalker.engine import (
    compare,
    convert,
    make_test_signal,
    run_stream,
)
from dualtalker.engine.operators import check_operators
from dualtalker.model import (
    load_bundle,
    mix_style,
)
from dualtalker.model.backends import open_backend
from engines.compare import CompareWithTorch, run_torch
from engines.export_onnx import ExportConfig, ExportError, describe_styles, export
from tiny_training import TINY_NETWORK
from training.learning import describe_network, save_checkpoint
from training.network import (
    DualTalker,
    StreamingTalker,
)

STYLES = ["captured:one", "captured:two", "rules"]


@pytest.fixture(scope="module")
def network() -> DualTalker:
    torch.manual_seed(3)
    made = DualTalker(TINY_NETWORK, [True] * 52, STYLES, ["sil", "AA", "PP"])
    torch.nn.init.normal_(made.animation.head.weight, std=0.5)
    for film in made.animation.film:
        torch.nn.init.normal_(film.weight, std=0.5)
        torch.nn.init.normal_(film.bias, std=0.2)
    return made.eval()


@pytest.fixture(scope="module")
def checkpoint(network: DualTalker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    meta = {
        "description": describe_network(network),
        "config": {"out": "runs/x", "data": {"corpus": ["x"]}},
        "data": [],
        **dict.fromkeys(("hours", "paired_hours", "commit", "torch", "step"), 0),
    }
    path = tmp_path_factory.mktemp("checkpoint") / "step_0000001.safetensors"
    save_checkpoint(path, {"ema": dict(network.state_dict())}, meta)
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("styled") / "styled.onnx"
    mixture = {"rules": 1.0, "captured:one": 3.0}
    assert export(ExportConfig(checkpoint, out, style=mixture, steps=60)) < 1e-4
    return out


def test_the_sidecar_says_what_can_be_chosen(exported: Path) -> None:
    sidecar = load_bundle(exported).sidecar
    assert sidecar.style_input == "style"
    assert sidecar.style_names == tuple(STYLES)
    assert sidecar.default_style == (0.75, 0.0, 0.25)
    assert sidecar.style_presets == {
        "articulate": (0.0, 0.0, 1.0),
        "natural": (0.5, 0.5, 0.0),
    }


@pytest.mark.parametrize("style", ["default", "natural", "rules", "captured:two:0.2,rules:0.8"])
def test_a_style_chosen_is_the_style_fixed_at_export(
    exported: Path, network: DualTalker, style: str
) -> None:
    bundle = load_bundle(exported)
    weights = mix_style(style, bundle.sidecar)
    assert weights is not None
    audio = make_test_signal(60 * TINY_NETWORK.hop_samples)
    mixture = dict(zip(STYLES, weights[0].tolist(), strict=True))
    fixed = StreamingTalker(network, mixture, smooth=True)
    with torch.no_grad():
        expected = fixed.run(torch.from_numpy(audio)[None]).numpy()
    backend = open_backend(bundle, "onnxruntime")
    found = run_stream(backend, bundle.sidecar, audio, weights)[fixed.shift_frames :]
    np.testing.assert_allclose(found, expected[: len(found)], atol=1e-5)
    other = run_stream(backend, bundle.sidecar, audio, np.eye(3, dtype=np.float32)[1:2])
    assert np.abs(other[fixed.shift_frames :] - found).max() > 1e-3


def test_torch_and_onnxruntime_are_compared_in_the_style_asked_for(
    exported: Path, checkpoint: Path
) -> None:
    reference = CompareWithTorch(checkpoint=checkpoint).make_reference()
    name, results = compare([exported], None, 2.0, "natural:0.3,rules:0.7", reference)
    assert name == f"torch {checkpoint.name}"
    assert results[0].difference is not None and results[0].difference.largest < 1e-4
    bundle = load_bundle(exported)
    audio = make_test_signal(16000)
    rules = mix_style("rules", bundle.sidecar)
    runs = [run_torch(checkpoint, bundle, audio, style) for style in (None, rules)]
    assert np.abs(runs[0] - runs[1]).max() > 1e-3


def test_the_command_takes_a_checkpoint_as_the_reference(
    exported: Path, checkpoint: Path, capsys
) -> None:
    arguments = [str(exported), "--checkpoint", str(checkpoint), "--seconds", "1"]
    assert run_command(CompareWithTorch, "compare", arguments) == 0
    said = capsys.readouterr().out
    assert f"against torch {checkpoint.name}" in said and "onnxruntime styled.onnx fp32" in said


def test_half_precision_keeps_the_choice(exported: Path, tmp_path: Path) -> None:
    import onnx

    out = tmp_path / "other.onnx"
    convert(exported, out, seconds=2.0, tolerance_mm=3.0)
    sidecars = [load_bundle(path).sidecar for path in (exported, out)]
    for name in ("style_input", "style_names", "default_style", "style_presets"):
        assert getattr(sidecars[0], name) == getattr(sidecars[1], name)
    check_operators(onnx.load(str(out)))
    audio = make_test_signal(32000)
    for style in ("default", "articulate"):
        before, after = (
            animate(audio, 16000, model=path, style=style, idle_motion=False).weights
            for path in (exported, out)
        )
        assert np.abs(before - after).max() < 0.1


def test_a_fixed_style_and_a_single_one_leave_no_choice(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "fixed.onnx"
    export(ExportConfig(checkpoint, out, style={"rules": 1.0}, fixed_style=True, steps=20))
    assert load_bundle(out).sidecar.style_input == ""
    config = ExportConfig(checkpoint, out, styles=("rules",))
    assert describe_styles(config, STYLES, {"rules": 1.0}) == {}


def test_presets_and_styles_are_as_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    config = ExportConfig(
        checkpoint,
        tmp_path / "x.onnx",
        styles=("rules", "captured:two"),
        presets={"lively": "captured:two:3,rules"},
    )
    fields = describe_styles(config, STYLES, {"rules": 2.0})
    assert fields["style_names"] == ["rules", "captured:two"]
    assert fields["default_style"] == [1.0, 0.0]
    assert fields["style_presets"] == {"lively": [0.25, 0.75]}


BAD = [
    ({"styles": ("rules", "nobody")}, "unknown styles.*nobody"),
    ({"styles": ("rules", "captured:one"), "style": {"captured:two": 1.0}}, "--styles leaves out"),
    ({"presets": {"x": "nobody:0.3"}}, "--presets x.*nobody"),
    ({"presets": {"x": "rules:-1,captured:one:2"}}, "expected 0 or more"),
    ({"style": {"rules": 0.0}}, "expected 0 or more"),
]


@pytest.mark.parametrize("options, message", BAD)
def test_what_cannot_be_exported_is_refused(checkpoint: Path, options: dict, message: str) -> None:
    config = ExportConfig(checkpoint, Path("x.onnx"), **options)
    mixture = config.style or dict.fromkeys(STYLES, 1.0)
    with pytest.raises(ExportError, match=message):
        describe_styles(config, STYLES, mixture)
