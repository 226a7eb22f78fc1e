"""Bundles: what was written loads, and every lie of a sidecar is refused with its field's name."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.engine import write_sidecar
from dualtalker.engine.stamp import stamp_model
from dualtalker.errors import BundleError
from dualtalker.model import Bundle, load_bundle, parse_sidecar
from dualtalker.model import bundle as bundles
from dualtalker.model.bundle import DEFAULT_MODEL
from dualtalker.model.scan import scan_model


@pytest.fixture
def own(tiny, tmp_path):
    """A copy that a test may damage."""
    for suffix in (".onnx", ".json"):
        shutil.copy(tiny.with_suffix(suffix), tmp_path)
    return tmp_path / tiny.name


def damage(path, **changes):
    record = json.loads(path.with_suffix(".json").read_text())
    for name, value in changes.items():
        if value is ...:
            del record[name]
        else:
            record[name] = value
    path.with_suffix(".json").write_text(json.dumps(record))


def test_what_was_written_loads(tiny):
    bundle = load_bundle(tiny)
    assert bundle == load_bundle(str(tiny.with_suffix(".json")))
    assert bundle.sidecar.output_names == ARKIT_NAMES
    assert bundle.sidecar.lookahead_s == pytest.approx(0.08)
    assert bundle.digest == hashlib.sha256(tiny.read_bytes()).hexdigest()


def test_writing_is_byte_for_byte_repeatable(own):
    before = own.with_suffix(".json").read_bytes()
    record = json.loads(before)
    write_sidecar(own, record["states"], training=record["training"])
    assert own.with_suffix(".json").read_bytes() == before
    assert [path.suffix for path in sorted(own.parent.iterdir())] == [".json", ".onnx"]


def test_unknown_and_impossible_fields_are_not_written(own):
    states = json.loads(own.with_suffix(".json").read_text())["states"]
    with pytest.raises(BundleError, match=r"unknown sidecar fields.*hop_sample'"):
        write_sidecar(own, states, hop_sample=320)
    with pytest.raises(BundleError, match="hop_samples"):
        write_sidecar(own, states, hop_samples=0)


def test_missing_default_model_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "DEFAULT_MODEL", tmp_path / "default.onnx")
    with pytest.raises(BundleError, match=r"python -m engines\.export_onnx"):
        load_bundle(None)


def test_missing_files(own):
    with pytest.raises(BundleError, match="no such file"):
        load_bundle(own.parent / "other.onnx")
    own.with_suffix(".json").unlink()
    with pytest.raises(BundleError, match=r"tiny\.json: no such file"):
        load_bundle(own)


def test_the_shipped_graph_is_opened_and_compared_when_it_is_run(own, monkeypatch):
    """Whoever animates whole recordings runs another graph of the same weights."""
    monkeypatch.setattr(bundles, "DEFAULT_MODEL", own)
    opened = []
    monkeypatch.setattr(bundles, "open_session", lambda path: opened.append(path))
    monkeypatch.setattr(bundles, "check_session", lambda *given: None)
    bundle = load_bundle()
    assert opened == []
    assert bundle.session is bundle.session
    assert opened == [own]
    monkeypatch.undo()
    monkeypatch.setattr(bundles, "DEFAULT_MODEL", own)
    damage(own, audio_input="sound")
    with pytest.raises(BundleError, match=r"audio_input.*sound"):
        _ = load_bundle().session


LIES = [
    ("format", "piper", "format"),
    ("format_version", 2, "format_version"),
    ("format_version", "1", "format_version"),
    ("kind", "windowed", "kind"),
    ("kind", 3, "kind"),
    ("sample_rate_hz", 16000.0, "sample_rate_hz"),
    ("sample_rate_hz", 400, "sample_rate_hz"),
    ("hop_samples", 160, "model_rate_hz"),
    ("hop_samples", True, "hop_samples"),
    ("hop_samples", 10**30, "hop_samples"),
    ("lookahead_samples", -1, "lookahead_samples"),
    ("lookahead_samples", 10**12, "lookahead_samples"),
    ("model_rate_hz", 25.0, "model_rate_hz"),
    ("model_rate_hz", "50", "model_rate_hz"),
    ("frames_per_step", 2, "model_rate_hz"),
    ("frames_per_step", 0, "frames_per_step"),
    ("output_kind", "vertices", "output_kind"),
    ("output_names", list(reversed(ARKIT_NAMES)), r"output_names\[0\].*tongueOut.*eyeBlinkLeft"),
    ("output_names", list(ARKIT_NAMES[:51]), "output_names.*51 names.*52 names"),
    ("output_names", [1] * 52, r"output_names\[0\]"),
    ("output_names", {"a": 1}, "output_names"),
    ("audio_input", "sound", "audio_input.*sound"),
    ("motion_output", "face", "motion_output.*face"),
    ("motion_output", "tail_next", "tail_next"),
    ("states", [], "states.*energy.*tail"),
    ("states", [{"input": "tail", "output": "next", "shape": [1]}], r"states\[0\].*dtype"),
    ("states", ["tail"], r"states\[0\]"),
    ("states", [{}] * 2000, "states.*2000"),
    ("onnx_sha256", "0" * 64, "onnx_sha256"),
    ("onnx_sha256", "../../etc/passwd", "onnx_sha256"),
    ("training", [], "training"),
    ("metrics", None, "metrics"),
    *((name, ..., name) for name in ("format", "states", "hop_samples", "onnx_sha256", "metrics")),
]


@pytest.mark.parametrize("field, value, message", LIES)
def test_each_lie_is_named_with_its_mend(own, field, value, message):
    damage(own, **{field: value})
    with pytest.raises(BundleError, match=message) as caught:
        load_bundle(own)
    assert "python -m engines.export_onnx" in str(caught.value)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("suffix", [".onnx", ".json"])
def test_only_a_bundles_own_endings_are_taken(own, suffix):
    assert load_bundle(own.with_suffix(suffix)).onnx_path == own
    for name in ("tiny.v2", "tiny.engine", "tiny", "tiny.onnx.json.bak", ".", "/", "", ".onnx"):
        for path in (name, own.parent / name):
            with pytest.raises(BundleError, match=r"expected NAME\.onnx"):
                load_bundle(path)


PROMISES = [
    ({"lookahead_samples": 0}, "lookahead_samples"),
    ({"lookahead_samples": 1281}, "lookahead_samples"),
    ({"sample_rate_hz": 8000, "model_rate_hz": 25.0}, "sample_rate_hz"),
    ({"sample_rate_hz": 48000, "model_rate_hz": 150.0}, "sample_rate_hz"),
]


@pytest.mark.parametrize("changes, name", PROMISES)
def test_lies_that_the_shapes_do_not_show_are_named(own, changes, name):
    damage(own, **changes)
    with pytest.raises(BundleError, match=rf"field {name}: found .*was written with"):
        load_bundle(own)


def test_a_graph_without_a_stamp_is_refused(own):
    model = onnx.load(own)
    assert {item.key: item.value for item in model.metadata_props} == {
        f"dualtalker.{key}": value for key, value in load_bundle(own).sidecar.promises.items()
    }
    del model.metadata_props[:]
    resign(own, model.SerializeToString())
    with pytest.raises(BundleError, match="metadata, which lack it"):
        load_bundle(own)


def test_unknown_fields_are_refused(own):
    damage(own, lookahead_sample=0)
    with pytest.raises(BundleError, match="field lookahead_sample: found a field unknown here"):
        load_bundle(own)


RETIRED = {"vertices_output": "", "vertex_count": 0, "topology": ""}


def test_retired_fields_are_taken_where_they_say_nothing(own):
    damage(own, **RETIRED)
    assert load_bundle(own).sidecar.hop_samples == 320
    damage(own, vertices_output="vertices", vertex_count=45)
    with pytest.raises(BundleError, match="field vertex_count, vertices_output: found a field un"):
        load_bundle(own)


def test_a_stamp_replaces_the_one_before_and_nothing_else(own):
    model = onnx.load(own)
    before = model.graph.SerializeToString()
    model.metadata_props.add(key="author", value="says dualtalker.kind is windowed")
    data = model.SerializeToString()
    for i in range(3):
        data = stamp_model(data, {"kind": "k" * (100 * i), "hop_samples": str(i)})
    stamped = onnx.load_from_string(data)
    assert stamped.graph.SerializeToString() == before
    assert {item.key: item.value for item in stamped.metadata_props} == {
        "author": "says dualtalker.kind is windowed",
        "dualtalker.kind": "k" * 200,
        "dualtalker.hop_samples": "2",
    }


def find_notes(model):
    """What only IR 10 has: notes on the parts of a graph."""
    graph = model.graph
    parts = (graph, *graph.node, *graph.input, *graph.output, *graph.value_info)
    return [note for part in (*parts, *graph.initializer) for note in part.metadata_props]


@pytest.mark.parametrize("opset, ir_version", [(17, 8), (18, 8), (19, 9), (21, 10)])
def test_a_bundle_has_the_oldest_ir_with_its_operators(own, opset, ir_version):
    """An onnxruntime that knows all operators refuses a file of an IR newer than itself."""
    plain = onnx.load(own)
    plain.opset_import[0].version = opset
    model = onnx.ModelProto()
    model.CopyFrom(plain)
    model.ir_version = 12
    model.opset_import.append(onnx.helper.make_opsetid("of.others", 1))
    for part in (model.graph, model.graph.node[0], *model.graph.input, *model.graph.initializer):
        part.metadata_props.add(key="module", value="encoder")
    made = onnx.load_from_string(stamp_model(model.SerializeToString(), {}))
    assert made.ir_version == ir_version and made.graph == plain.graph
    assert not find_notes(made)


def test_an_ir_is_not_lowered_where_onnx_knows_no_oldest(own):
    model = onnx.load(own)
    model.ir_version, model.opset_import[0].version = 12, 999
    assert onnx.load_from_string(stamp_model(model.SerializeToString(), {})).ir_version == 12


def test_the_shipped_model_loads_in_the_oldest_onnxruntime_that_is_allowed():
    """1.17 reads IR up to 9."""
    model = onnx.load(DEFAULT_MODEL)
    assert model.ir_version == 8 and not find_notes(model)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_stamped_or_refused(data):
    with contextlib.suppress(ValueError):
        assert stamp_model(data, {}) == stamp_model(stamp_model(data, {}), {})


STATE = {"input": "tail", "output": "tail_next", "shape": [1, 1600], "dtype": "float32"}
ENERGY = {"input": "energy", "output": "energy_next", "shape": [1, 16], "dtype": "float32"}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"shape": [1, 1601]}, r"states\[0\].input.*1600"),
        ({"shape": [1600]}, r"states\[0\].input"),
        ({"shape": [1, 0]}, r"states\[0\].shape"),
        ({"shape": [1, -5]}, r"states\[0\].shape"),
        ({"shape": [2**24, 2**24]}, "states.*numbers"),
        ({"shape": [10**100]}, r"states\[0\].shape"),
        ({"shape": [1.0, 1600]}, r"states\[0\].shape"),
        ({"shape": [True, 1600]}, r"states\[0\].shape"),
        ({"shape": "1,1600"}, r"states\[0\].shape"),
        ({"shape": []}, r"states\[0\].shape"),
        ({"dtype": "float16"}, r"states\[0\].dtype"),
        ({"input": "audio"}, r"states\[0\].input.*only once"),
        ({"input": "energy"}, r"states\[1\].input.*only once"),
        ({"output": "motion"}, r"states\[0\].output.*only once"),
        ({"output": "nothing"}, r"states\[0\].output.*nothing"),
        ({"input": None}, r"states\[0\].input"),
    ],
)
def test_lying_states_are_named(own, change, message):
    damage(own, states=[{**STATE, **change}, ENERGY])
    with pytest.raises(BundleError, match=message):
        load_bundle(own)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"hop_samples": NaN}',
        '{"model_rate_hz": Infinity}',
        '{"model_rate_hz": 1e999}',
        '{"format": "a", "format": "b"}',
        "9" * 5000,
        '{"format": "\ud800"}',
        " " * ((1 << 20) + 1),
    ],
    ids=range(12),
)
def test_hostile_json_is_refused(own, text):
    own.with_suffix(".json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(BundleError):
        load_bundle(own)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_value_in_any_field_parses_or_is_refused(tiny, data):
    record = json.loads(tiny.with_suffix(".json").read_text())
    record[data.draw(st.sampled_from(sorted(record)))] = data.draw(JSON)
    with contextlib.suppress(BundleError):
        parse_sidecar(record, tiny.with_suffix(".json"))


@pytest.mark.parametrize("number", [10**400, -(10**400), 1e308])
def test_no_field_takes_a_number_beyond_reason(own, number):
    record = json.loads(own.with_suffix(".json").read_text())
    for field in record:
        for value in (number, [number], {"a": [number]}):
            if field not in ("training", "metrics") or not isinstance(value, dict):
                damage(own, **{**record, field: value})
                with pytest.raises(BundleError, match=field):
                    load_bundle(own)


@pytest.mark.parametrize("depth", [30, 300, 900, 980, 1000, 1100, 30_000])
def test_nesting_of_any_depth_is_taken_or_refused(own, depth):
    text = own.with_suffix(".json").read_text()
    nested = f'{{"a": {"[" * depth}{"]" * depth}}}'
    own.with_suffix(".json").write_text(re.sub(r'"metrics": {}', f'"metrics": {nested}', text))
    assert "[[" in own.with_suffix(".json").read_text()
    with contextlib.suppress(BundleError):
        load_bundle(own)


def test_a_key_that_comes_twice_is_refused(own):
    text = own.with_suffix(".json").read_text()
    twice = text.replace('"hop_samples"', '"hop_samples": 160, "hop_samples"')
    assert twice != text
    own.with_suffix(".json").write_text(twice)
    with pytest.raises(BundleError, match=r"given twice: \['hop_samples'\]"):
        load_bundle(own)


def test_a_changed_model_file_is_noticed(own):
    own.write_bytes(own.read_bytes() + b"\0")
    with pytest.raises(BundleError, match=r"onnx_sha256.*found.*expected"):
        load_bundle(own)


def resign(path, content=None):
    """Make the digest fit what is in the file, so that only a deeper check finds the fault."""
    if content is not None:
        path.write_bytes(content)
    damage(path, onnx_sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(range(256)) * 40])
def test_a_file_that_is_no_model_is_refused(own, content):
    resign(own, content)
    with pytest.raises(BundleError, match=r"cannot load this graph|not an ONNX file"):
        load_bundle(own)


def move_outside(weight, location="../secret.bin"):
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        weight.external_data.add(key=key, value=value)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "tiny.weights"])
def test_weights_outside_the_file_are_refused(own, location):
    """An ONNX file may name other files for its weights, anywhere on the disk."""
    for folder in (own.parent, own.parent.parent):
        (folder / Path(location).name).write_bytes(np.ones(16, np.float32).tobytes())
    model = onnx.load(own)
    move_outside(next(item for item in model.graph.initializer if item.name == "keep"), location)
    resign(own, model.SerializeToString())
    with pytest.raises(BundleError, match="keeps weights in another file"):
        load_bundle(own)


def test_weights_outside_are_found_wherever_they_hide(own):
    weight = numpy_helper.from_array(np.ones(1, np.float32), "w")
    move_outside(weight)
    constant = helper.make_node("Constant", [], ["c"], value=weight)
    inner = helper.make_graph([constant], "inner", [], [])
    branch = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    function = helper.make_function("d", "f", [], ["c"], [constant], [])
    plain = onnx.load(own)
    assert not scan_model(plain.SerializeToString()).has_outside_weights
    for change in (
        lambda model: model.graph.node.append(constant),
        lambda model: model.graph.node.append(branch),
        lambda model: model.functions.append(function),
        lambda model: model.graph.sparse_initializer.add().values.CopyFrom(weight),
        lambda model: model.training_info.add().algorithm.initializer.append(weight),
    ):
        model = onnx.load(own)
        change(model)
        assert scan_model(model.SerializeToString()).has_outside_weights


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(ValueError):
        scan_model(data)


def test_a_bundle_is_plain_data(tiny):
    assert isinstance(load_bundle(tiny), Bundle)
    with pytest.raises(AttributeError):
        load_bundle(tiny).digest = "x"
