"""Styles: what a bundle offers, what a choice means, and that the graphs get it."""

from __future__ import annotations

import dataclasses
import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker import Talker, animate
from dualtalker.cli.info import collect_info
from dualtalker.cli.main import main
from dualtalker.errors import BackendError, BundleError, DualtalkerError
from dualtalker.model import list_styles, load_bundle, mix_style, parse_style
from dualtalker.model.backends import open_backend
from streamed_speech import speech
from tiny_bundle import STYLES, make_tiny_bundle, make_tiny_windowed_bundle


@pytest.fixture(scope="module")
def styled(tmp_path_factory):
    return load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("styled"), styled=True))


@pytest.fixture(scope="module")
def windowed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("styled_window")
    return load_bundle(make_tiny_windowed_bundle(folder, styled=True))


# --- bundles ---


def test_names_come_in_order_the_default_first(styled):
    assert list(list_styles(styled.sidecar)) == ["default", "articulate", "even", *STYLES]
    assert Talker(styled).styles == ("default", "articulate", "even", *STYLES)


def test_bundles_without_styles_offer_none_and_say_so(tiny):
    talker = Talker(tiny)
    assert talker.styles == () and talker.style == {}
    talker.set_style("default")
    talker.set_style(None)
    with pytest.raises(DualtalkerError, match=r"one style.*engines\.export_onnx"):
        talker.set_style("natural")
    with pytest.raises(DualtalkerError, match="one style"):
        Talker(tiny, style={"rules": 1.0})


LIES = [
    ({"style_input": "mood"}, "style_input.*mood"),
    ({"style_input": "audio"}, "style_input"),
    ({"style_input": "tail"}, r"states\[0\].input.*only once"),
    ({"style_input": ""}, "style_names"),
    ({"style_input": 3}, "style_input"),
    ({"style_names": list(reversed(STYLES))}, "style_names.*was written with"),
    ({"style_names": ["rules", "rules"]}, "only once"),
    ({"style_names": ["rules", "default"]}, "only once, and none 'default'"),
    ({"style_names": ["rules", "a,b"]}, "without commas"),
    ({"style_names": ["rules", " a"]}, "style_names"),
    ({"style_names": ["rules", 7]}, "style_names"),
    ({"style_names": ["rules", ""]}, "style_names"),
    ({"style_names": []}, "style_names"),
    ({"style_names": ["rules"]}, "default_style.*1 weights"),
    ({"style_names": ["a", "b", "c"]}, "default_style.*3 weights"),
    ({"style_names": [f"s{i}" for i in range(2000)]}, "2000 names"),
    ({"default_style": [0.5, 0.6]}, "sum is 1"),
    ({"default_style": [1.5, -0.5]}, "from 0 to 1"),
    ({"default_style": []}, "default_style"),
    ({"default_style": [True, False]}, r"default_style\[0\].*float"),
    ({"default_style": "even"}, "default_style"),
    ({"style_presets": {"rules": [1, 0]}}, "rules.*only once"),
    ({"style_presets": {"x": [1]}}, "style_presets.*2 weights"),
    ({"style_presets": {"x": "1 0"}}, "style_presets.*array"),
    ({"style_presets": {"x\n": [1, 0]}}, "printable"),
    ({"style_presets": []}, "style_presets"),
]


@pytest.mark.parametrize("changes, message", LIES)
def test_each_lie_about_styles_is_named(tmp_path, changes, message):
    path = make_tiny_bundle(tmp_path, styled=True)
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(record | changes))
    with pytest.raises(BundleError, match=message) as caught:
        load_bundle(path)
    assert "python -m engines.export_onnx" in str(caught.value)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999"])
def test_weights_that_are_not_finite_are_refused(tmp_path, text):
    path = make_tiny_bundle(tmp_path, styled=True)
    sidecar = path.with_suffix(".json")
    sidecar.write_text(sidecar.read_text().replace("0.25", text))
    with pytest.raises(BundleError, match="not a valid JSON sidecar"):
        load_bundle(path)


def test_a_style_input_that_the_sidecar_conceals_is_told(tmp_path):
    path = make_tiny_bundle(tmp_path, styled=True)
    record = json.loads(path.with_suffix(".json").read_text())
    for name in ("style_input", "style_names", "default_style", "style_presets"):
        del record[name]
    path.with_suffix(".json").write_text(json.dumps(record))
    with pytest.raises(BundleError, match=r"the graph's inputs \['style'\]"):
        load_bundle(path)


# --- choices ---

CHOICES = [
    (None, [0.25, 0.75]),
    ("", [0.25, 0.75]),
    ("default", [0.25, 0.75]),
    ("articulate", [1, 0]),
    ("captured:someone", [0, 1]),
    ("rules:0.3,captured:someone:0.7", [0.3, 0.7]),
    (" rules : 3 , captured:someone: 1", [0.75, 0.25]),
    ("articulate,captured:someone", [0.5, 0.5]),
    ("even:1,rules:1", [0.75, 0.25]),
    ({"rules": 0.3, "captured:someone": 0.7}, [0.3, 0.7]),
    ({"rules": 2, "captured:someone": 0}, [1, 0]),
    ({"even": np.float32(2)}, [0.5, 0.5]),
]


@pytest.mark.parametrize("style, weights", CHOICES)
def test_a_choice_means_these_weights(styled, style, weights):
    mixed = mix_style(style, styled.sidecar)
    assert mixed.dtype == np.float32 and mixed.shape == (1, 2)
    np.testing.assert_allclose(mixed[0], weights, atol=1e-7)


BAD = [
    ("nobody", "'nobody' is unknown; this model has default, articulate"),
    ("rules:much", "'rules:much' is unknown"),
    ("rules,rules:2", "names 'rules' twice"),
    ("rules:-1", "weight of style 'rules' is -1"),
    ("rules:nan", "weight of style 'rules' is nan"),
    ("rules:inf", "weight of style 'rules' is inf"),
    ("rules:0", "no positive weight"),
    (",", "'' "),
    ({}, "expected a name or weights"),
    ({"rules": "1"}, "weight of style 'rules' is '1'"),
    ({3: 1.0}, "'3' is unknown"),
    (["rules"], "expected a name or weights"),
    (7, "expected a name or weights"),
]


@pytest.mark.parametrize("style, message", BAD)
def test_a_bad_choice_is_refused_and_changes_nothing(styled, style, message):
    talker = Talker(styled, style="articulate")
    with pytest.raises(DualtalkerError, match=message):
        talker.set_style(style)
    assert talker.style == {"rules": 1.0, "captured:someone": 0.0}


@settings(deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_is_a_style_or_a_clear_error(styled, text):
    try:
        mixed = mix_style(text, styled.sidecar)
    except DualtalkerError as error:
        assert "style" in str(error)
    else:
        assert mixed.sum() == pytest.approx(1.0)


@settings(deadline=None)
@given(
    weights=st.dictionaries(
        st.sampled_from(STYLES), st.floats(0.01, 9).map(lambda w: round(w, 3)), min_size=1
    )
)
def test_what_is_written_as_text_is_read_back(weights):
    text = ",".join(f"{name}:{weight}" for name, weight in weights.items())
    assert parse_style(text, list(STYLES)) == weights


# --- graphs ---


@pytest.mark.parametrize("kind", ["styled", "windowed"])
def test_the_graph_gets_the_style(kind, request):
    bundle = request.getfixturevalue(kind)
    backend = open_backend(bundle, "onnxruntime")
    hop = np.zeros((1, bundle.sidecar.hop_samples), np.float32)

    def show(style):
        return backend.step(hop, backend.new_state(), style)[0]

    default = show(None)
    np.testing.assert_array_equal(default, backend.step(hop, backend.new_state())[0])
    np.testing.assert_array_equal(default, show(np.array([[0.25, 0.75]], np.float32)))
    one, other = show(np.eye(2, dtype=np.float32)[:1]), show(np.eye(2, dtype=np.float32)[1:])
    assert np.abs(one - other).max() > 0.1
    # The tiny graphs mix logits: the default lies between its styles.
    assert (default >= np.minimum(one, other) - 1e-6).all()
    assert (default <= np.maximum(one, other) + 1e-6).all()
    with pytest.raises(BackendError, match="failed in a step"):
        show(np.zeros((1, 3), np.float32))


@settings(max_examples=8, deadline=None)
@given(share=st.floats(0, 1))
def test_a_style_from_the_start_is_that_style_throughout(styled, share):
    """The same as a bundle whose default it is."""
    share = round(share, 4)
    samples = speech(0.4, 16000)
    weights = {"rules": share, "captured:someone": 1 - share}
    sidecar = msgspec.structs.replace(styled.sidecar, default_style=(share, 1 - share))
    fixed = dataclasses.replace(styled, sidecar=sidecar)
    np.testing.assert_allclose(
        animate(samples, 16000, model=styled, style=weights).weights,
        animate(samples, 16000, model=fixed).weights,
        atol=1e-6,
    )


# --- the command ---


def test_the_command_takes_style_and_intensity(styled, tmp_path, capsys):
    import soundfile

    wav = tmp_path / "a.wav"
    soundfile.write(wav, speech(0.5, 16000), 16000)
    base = ["animate", str(wav), "--model", str(styled.onnx_path), "-o"]

    def animate_with(folder, *options):
        assert main([*base, str(tmp_path / folder), *options]) == 0
        report = json.loads((tmp_path / folder / "a.json").read_text())
        return report, (tmp_path / folder / "a.csv").read_text()

    plain, curves = animate_with("plain")
    assert plain["style"] == {"rules": 0.25, "captured:someone": 0.75}
    assert plain["intensity"] == 1.0
    same, same_curves = animate_with("same", "--style", "rules:1,captured:someone:3")
    assert same["style"] == plain["style"] and same_curves == curves
    other, other_curves = animate_with("other", "--style", "articulate", "--intensity", "1.2")
    assert other["style"] == {"rules": 1.0, "captured:someone": 0.0}
    assert other["intensity"] == 1.2 and other_curves != curves
    capsys.readouterr()
    for options, message in (
        (("--style", "loud"), "style 'loud' is unknown; this model has default, articulate"),
        (("--intensity", "3"), "intensity is 3.0; expected 0"),
        (("--intensity", "nan"), "intensity is nan"),
    ):
        assert main([*base, str(tmp_path / "bad"), *options]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "bad").exists()


def test_info_lists_the_styles_of_the_shipped_model():
    listed = collect_info()["default_model"]["styles"]
    offered = list(list_styles(load_bundle().sidecar))
    assert listed == (", ".join(offered) or "one, fixed when it was exported")
