"""Bundles that hide weights from the digest, or that would take all time or memory to load."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from checkout import ROOT
from dualtalker.engine import write_sidecar
from dualtalker.errors import BundleError
from dualtalker.model import load_bundle
from dualtalker.model.scan import MAX_NODES, scan_model
from limited_process import refuse

CASES = ROOT.parent / "shared/cases/bundle"


def number(value: int, length: int = 0) -> bytes:
    """A protobuf number, in `length` bytes where it is longer than it need be."""
    out = bytearray()
    while value >= 0x80 or len(out) + 1 < length:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(key: int, content: bytes, length: int = 0) -> bytes:
    return number(key << 3 | 2, length) + number(len(content)) + content


def write(folder: Path, nodes, functions=(), initializers=(), opsets=()) -> Path:
    """Write a bundle whose graph turns audio [1, 320] into motion, with a true sidecar."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, [1, 320])],
        [helper.make_tensor_value_info("motion", TensorProto.FLOAT, [1, 1, 52])],
        [numpy_helper.from_array(np.zeros((1, 1, 52), np.float32), "rest"), *initializers],
    )
    opsets = [helper.make_opsetid("", 17), *opsets]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)
    path = folder / "made.onnx"
    path.write_bytes(model.SerializeToString())
    write_sidecar(path, [])
    return path


def mean(out: str):
    return helper.make_node("ReduceMean", ["audio"], [out], axes=[1], keepdims=1)


def call(name: str, source: str, target: str):
    return helper.make_node(name, [source], [target], domain="f")


def make_functions(depth: int, width: int):
    """Functions that each call the one before `width` times: `width` ** `depth` nodes."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    made = []
    for level in range(depth + 1):
        if level == 0:
            nodes = [helper.make_node("Sin", ["a"], ["b"])]
        else:
            names = ["a", *(f"t{i}" for i in range(width - 1)), "b"]
            nodes = [call(f"F{level - 1}", *pair) for pair in itertools.pairwise(names)]
        made.append(helper.make_function("f", f"F{level}", ["a"], ["b"], nodes, opsets))
    return made


def write_functions(folder: Path, depth: int, width: int) -> Path:
    end = helper.make_node("Add", ["rest", "e"], ["motion"])
    nodes = [mean("m"), call(f"F{depth}", "m", "e"), end]
    opsets = [helper.make_opsetid("f", 1)]
    return write(folder, nodes, make_functions(depth, width), opsets=opsets)


@pytest.mark.parametrize("depth, width", [(8, 10), (60, 2), (2, 400)])
def test_functions_without_end_are_refused(tmp_path, depth, width):
    path = write_functions(tmp_path, depth, width)
    with pytest.raises(BundleError, match=f"more than {MAX_NODES} nodes"):
        load_bundle(path)


def test_a_few_functions_are_counted_and_load(tmp_path):
    path = write_functions(tmp_path, 3, 4)
    assert scan_model(path.read_bytes()).nodes == 2 + 4**3
    load_bundle(path)


def test_functions_that_call_each_other_are_refused(tmp_path):
    opsets = [helper.make_opsetid("f", 1)]
    for names in (("A", "B"), ("A", "A")):
        made = [
            helper.make_function("f", name, ["a"], ["b"], [call(other, "a", "b")], opsets)
            for name, other in dict(zip(names, names[::-1], strict=True)).items()
        ]
        model = helper.make_model(
            helper.make_graph([call("A", "audio", "motion")], "g", [], []), functions=made
        )
        with pytest.raises(ValueError, match="calls itself"):
            scan_model(model.SerializeToString())


def make_loop(trips: int):
    """A node that runs its body `trips` times over a number."""
    body = helper.make_graph(
        [
            helper.make_node("Sin", ["before"], ["after"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [1, 1]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [1, 1]),
        ],
    )
    fixed = [
        numpy_helper.from_array(np.array(trips, np.int64), "trips"),
        numpy_helper.from_array(np.array(True), "yes"),
    ]
    return [mean("m"), helper.make_node("Loop", ["trips", "yes", "m"], ["e"], body=body)], fixed


@pytest.mark.slow
def test_a_loop_without_end_is_refused_in_time(tmp_path):
    nodes, fixed = make_loop(10**15)
    nodes.append(helper.make_node("Add", ["rest", "e"], ["motion"]))
    path = write(tmp_path, nodes, initializers=fixed)
    said = refuse_as_model(tmp_path, path)
    assert "s of CPU time" in said


def test_a_short_loop_loads(tmp_path):
    nodes, fixed = make_loop(10)
    nodes.append(helper.make_node("Add", ["rest", "e"], ["motion"]))
    load_bundle(write(tmp_path, nodes, initializers=fixed))


@pytest.mark.parametrize("folded", [True, False])
def test_tensors_beyond_memory_are_refused(tmp_path, folded):
    """Of 40 GB, made from a few bytes: when the graph is simplified, or in its first step."""
    size = numpy_helper.from_array(np.array([10**5, 10**5], np.int64), "size")
    source = "rest_number" if folded else "m"
    one = numpy_helper.from_array(np.zeros((1, 1), np.float32), "rest_number")
    nodes = [
        mean("m"),
        helper.make_node("Expand", [source, "size"], ["large"]),
        helper.make_node("Sin", ["large"], ["larger"]),
        helper.make_node("ReduceMean", ["larger"], ["e"], keepdims=1),
        helper.make_node("Add", ["rest", "e"], ["motion"]),
    ]
    path = write(tmp_path, nodes, initializers=[size, one])
    assert "MB of memory" in refuse_as_model(tmp_path, path)


def refuse_as_model(folder: Path, path: Path) -> str:
    import soundfile

    soundfile.write(folder / "a.wav", np.zeros(1600), 16000)
    arguments = ("animate", folder / "a.wav", "-o", folder / "out", "--model", path)
    return refuse("dualtalker", *arguments, folder=folder)


@pytest.fixture
def outside():
    """A tensor's fields that name another file, as bytes, and the place of its location's tag."""
    entry = field(1, b"location") + field(2, b"weights.bin")
    return field(13, entry) + number(14 << 3) + b"\x01"


@pytest.mark.parametrize(
    "tag",
    [
        number((1 << 32) + (5 << 3) + 2),
        number((1 << 35) + (5 << 3) + 2),
        number((1 << 63) + (5 << 3) + 2),
        number((5 << 3) + 2, length=10),
        number((5 << 3) + 2, length=6),
        bytes([0xAA, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7E]),
    ],
    ids=["bit 32", "bit 35", "bit 63", "10 bytes", "6 bytes", "more than 64 bits"],
)
def test_a_tag_that_readers_read_differently_is_refused(outside, tag):
    """C++ keeps the lower 32 bits of a tag: there it is the graph's list of tensors."""
    graph = tag + number(len(outside)) + outside
    with pytest.raises(ValueError, match=r"field number|broken number"):
        scan_model(field(7, graph))
    assert scan_model(field(7, field(5, outside))).has_outside_weights


@pytest.mark.parametrize("length", [1, 5])
def test_a_tag_that_all_readers_read_alike_hides_nothing(outside, length):
    assert scan_model(field(7, field(5, outside, length), length)).has_outside_weights


@pytest.mark.parametrize(
    "content",
    [
        number(5 << 3 | 3) + number(5 << 3 | 4),
        number(5 << 3 | 2) + number(1 << 32) + b"a",
        number(5 << 3 | 2) + number(2, length=10) + b"ab",
        number(5 << 3) + b"\x01",
        number(2),
        number(5 << 3 | 2) + b"\xff" * 9 + b"\x01",
    ],
    ids=["group", "long", "padded size", "no message", "field 0", "negative"],
)
def test_what_the_scan_cannot_read_in_full_is_refused(content):
    with pytest.raises(ValueError, match=r"byte|field"):
        scan_model(field(7, content))


def test_a_flood_of_fields_is_refused():
    with pytest.raises(ValueError, match="fields"):
        scan_model(field(7, field(5, b"\x08\x01" * 1_000_001)))


def test_metadata_that_come_twice_are_refused():
    model = helper.make_model(helper.make_graph([], "g", [], []))
    for value in "12":
        model.metadata_props.add(key="dualtalker.kind", value=value)
    with pytest.raises(ValueError, match="twice"):
        scan_model(model.SerializeToString())


def test_a_huge_file_is_refused_by_its_size(tmp_path, tiny):
    path = tmp_path / "huge.onnx"
    path.with_suffix(".json").write_bytes(tiny.with_suffix(".json").read_bytes())
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BundleError, match="file size"):
        load_bundle(path)


@pytest.mark.parametrize("name", ["function_bomb", "hide_tensor_same"])
def test_collected_bundles_are_refused(tmp_path, name):
    if not CASES.is_dir():
        pytest.skip("no collected cases beside the checkout")
    assert (
        hashlib.sha256((CASES / f"{name}.onnx").read_bytes()).hexdigest()
        == json.loads((CASES / f"{name}.json").read_text())["onnx_sha256"]
    )
    with pytest.raises(BundleError, match=r"read in full"):
        load_bundle(CASES / f"{name}.onnx")
