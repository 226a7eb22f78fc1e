"""Fine-tuning on a folder of ARKit recordings: a new style is learned, the others stay."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import soundfile

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.engine import write_sidecar
from tiny_training import make_clip
from training.finetune import FinetuneConfig, finetune, prepare, read_recordings
from training.learning import (
    CheckpointError,
    find_starting_point,
    load_checkpoint,
    load_network,
    strip_origin,
)
from training.network import StreamingTalker
from training.pack import pack


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A robot that answers loudness with a wide smile."""
    folder = tmp_path_factory.mktemp("takes") / "my_robot"
    folder.mkdir()
    for number in range(3):
        clip = make_clip(f"take{number}", 20 + number, seconds=2.0)
        assert clip.motion is not None
        motion = np.zeros_like(clip.motion)
        motion[:, ARKIT_NAMES.index("mouthSmileLeft")] = clip.motion.max(1)
        motion[:, ARKIT_NAMES.index("jawOpen")] = 0.2
        soundfile.write(folder / f"{clip.name}.wav", clip.audio, 16000)
        rows = [",".join(["time_s", *ARKIT_NAMES])]
        for frame, weights in enumerate(motion):
            rows.append(",".join([f"{frame / 50:.4f}", *(f"{w:.5f}" for w in weights)]))
        (folder / f"{clip.name}.csv").write_text("\n".join(rows))
    return folder


def configure(model: Path, recordings: Path, out: Path, **fields: object) -> FinetuneConfig:
    values = {"steps": 30, "batch": 3, "segment_s": 1.0, "threads": 1, "loader_workers": 0}
    return FinetuneConfig(model, recordings, out, **{**values, **fields})  # type: ignore[arg-type]


def speak(path: Path, style: str) -> torch.Tensor:
    network, _ = load_network(path)
    audio = torch.from_numpy(make_clip("x", 21, seconds=1.5).audio).unsqueeze(0)
    with torch.no_grad():
        return StreamingTalker(network, {style: 1.0}).run(audio)


def test_style_scope_leaves_the_other_styles_bit_for_bit(
    trained: Path, recordings: Path, tmp_path: Path
) -> None:
    path, figures = finetune(configure(trained, recordings, tmp_path, scope="style"))
    network, checkpoint = load_network(path)
    assert network.animation.styles == ["captured:one", "rules", "captured:my_robot"]
    for style in ("captured:one", "rules"):
        assert torch.equal(speak(path, style), speak(trained, style))
    mean = load_network(trained)[0].animation.mix_styles({})
    assert not torch.allclose(network.animation.style.weight[-1:], mean)
    assert set(figures["before"]) == set(figures["after"]) >= {"lve_mm", "jaw_r"}
    assert checkpoint.meta["finetuned"]["scope"] == "style"


def test_decoder_scope_learns_the_recordings_and_keeps_the_rest(
    trained: Path, recordings: Path, tmp_path: Path
) -> None:
    config = configure(
        trained,
        recordings,
        tmp_path,
        steps=60,
        learning_rate=1e-2,
        style="smiling",
        augment=False,
    )
    path, figures = finetune(config)
    assert figures["after"]["lve_mm"] < 0.9 * figures["before"]["lve_mm"]
    moved = (speak(path, "rules") - speak(trained, "rules")).abs().mean()
    without = tmp_path / "without"
    forgetful, _ = finetune(
        configure(
            trained, recordings, without, steps=100, learning_rate=1e-2, augment=False, keep=0.0
        )
    )
    assert moved < 0.7 * (speak(forgetful, "rules") - speak(trained, "rules")).abs().mean()
    name = "audio_encoder.inlet.weight"
    now, then = (load_checkpoint(p).group("ema")[name] for p in (path, trained))
    assert torch.equal(now, then)


def test_the_last_of_three_recordings_is_only_measured(
    trained: Path, recordings: Path, tmp_path: Path
) -> None:
    run, _ = prepare(configure(trained, recordings, tmp_path))
    assert [clip.name for clip in run.validation] == ["take2"]
    run, _ = prepare(configure(trained, recordings, tmp_path, holdout=("take0", "take1")))
    assert [clip.name for clip in run.validation] == ["take0", "take1"]
    with pytest.raises(ValueError, match="all of them held out"):
        prepare(configure(trained, recordings, tmp_path, holdout=("take",)))


def test_what_a_corpus_keeps_for_validation_is_only_measured(
    trained: Path, corpus: Path, tmp_path: Path
) -> None:
    learned, measured = read_recordings(configure(trained, corpus, tmp_path), "captured:me")
    assert {clip.name for clip in measured} == {"held", "held_rules"}
    assert {"captured", "recorded"} < {clip.name for clip in learned}
    assert {clip.style for clip in learned + measured} == {"captured:me"}
    config = configure(trained, corpus, tmp_path, holdout=("made",))
    assert len(read_recordings(config, "captured:me")[1]) == 5


def test_wrong_requests_are_refused(trained: Path, recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another --style"):
        prepare(configure(trained, recordings, tmp_path, style="captured:one"))
    with pytest.raises(ValueError, match="scope"):
        prepare(configure(trained, recordings, tmp_path, scope="mouth"))
    with pytest.raises(ValueError, match="unknown styles"):
        prepare(configure(trained, recordings, tmp_path, begin_as={"nobody": 1.0}))


def test_bundle_is_adapted_from_what_is_packed_beside_it(
    trained: Path, recordings: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "NAME.onnx"
    with pytest.raises(CheckpointError, match=r"engines\.export_onnx"):
        pack(trained, bundle)
    bundle.write_bytes(b"")  # no graph is needed, but one that can be stamped
    meta = load_checkpoint(trained).meta
    published = {**meta, **strip_origin(meta)}  # as the export writes it
    training = {key: published[key] for key in ("step", "config", "data")}
    write_sidecar(bundle, [], training=training)
    with pytest.raises(CheckpointError, match=r"training\.pack"):
        find_starting_point(bundle)
    packed = pack(trained, bundle)
    assert load_checkpoint(packed).group("ema")["animation.head.weight"].dtype == torch.float16
    assert not load_checkpoint(packed).group("optimizer")
    path, _ = finetune(configure(bundle, recordings, tmp_path / "out", steps=1))
    weights = load_checkpoint(path).group("ema")["audio_encoder.inlet.weight"]
    wanted = load_checkpoint(trained).group("ema")["audio_encoder.inlet.weight"]
    torch.testing.assert_close(weights, wanted, atol=1e-3, rtol=1e-2)
    sidecar = json.loads(bundle.with_suffix(".json").read_text())
    sidecar["training"]["step"] = 999
    bundle.with_suffix(".json").write_text(json.dumps(sidecar))
    with pytest.raises(CheckpointError, match="another checkpoint"):
        pack(trained, bundle)
