"""Reads and writes a bundle's ONNX file: its graph, its sidecar, the stamp of what it promises.

A sidecar can be edited or mixed up; the shapes of a graph do not show its lookahead or the order
of its outputs. `metadata_props` is what ONNX has for it, and onnxruntime and Netron show it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dualtalker.errors import BundleError, DualtalkerError
from dualtalker.files import refuse_foreign, sha256, sha256_of_file, write_whole
from dualtalker.model import EXPORT_COMMAND, STAMP_PREFIX, Sidecar, parse_sidecar, read_sidecar

if TYPE_CHECKING:
    import onnx

OLDEST_IR = 8  # the first with functions; onnxruntime 1.17 reads up to 9


def read_graph(path: Path) -> onnx.ModelProto:
    """Read an ONNX file, to convert it or to build an engine of it.

    Raises:
        DualtalkerError: the package onnx is missing, which the runtime does without.
    """
    try:
        import onnx
    except ImportError as error:
        raise DualtalkerError(
            f"to convert models and to build engines, install the package onnx ({error}): "
            "python -m pip install onnx"
        ) from error
    return onnx.load(str(path))


def write_sidecar(onnx_path: str | Path, states: list[dict[str, Any]], **fields: Any) -> Path:
    """Write the sidecar of an existing ONNX file, with its digest, and return its path.

    The graph is stamped with what its shapes do not show (`Sidecar.promises`), so that a sidecar
    that is changed or of another model is told when the bundle is loaded. It takes the oldest IR
    that its operators allow, so that every onnxruntime that knows them can load it.

    Args:
        onnx_path: the exported graph.
        states: one dict per state tensor, with the fields of `StateTensor`.
        fields: other fields of `Sidecar`, by name.

    Raises:
        BundleError: a field is unknown or has an impossible value, or the file is no ONNX file.
    """
    onnx_path = Path(onnx_path)
    path = onnx_path.with_suffix(".json")
    names = Sidecar.__struct_fields__
    unknown = sorted(set(fields) - set(names))
    if unknown:
        raise BundleError(f"{path}: unknown sidecar fields {unknown}; expected some of {names}")
    draft = Sidecar(states=(), onnx_sha256="0" * 64)
    record = {**msgspec.to_builtins(draft), "states": states, **fields}
    record = json.loads(json.dumps(record))  # tuples become lists, as a reader will see them
    promises = parse_sidecar(record, path).promises
    try:
        content = stamp_model(onnx_path.read_bytes(), promises)
    except ValueError as error:
        raise BundleError(
            f"{onnx_path}: not an ONNX file ({error}). Write it anew with: {EXPORT_COMMAND}"
        ) from error
    record["onnx_sha256"] = sha256(content)
    write_whole(onnx_path, content)
    write_whole(path, json.dumps(record, indent=2, allow_nan=False) + "\n")
    return path


def plan_bundle(onnx_path: Path) -> list[Path]:
    """Return the paths of graph and sidecar where there is nothing yet, or a bundle.

    Raises:
        DualtalkerError: files lie there that are no whole bundle.
    """
    files = [onnx_path.with_suffix(suffix) for suffix in (".onnx", ".json")]
    try:
        whole = read_sidecar(files[1]).onnx_sha256 == sha256_of_file(files[0])
    except (BundleError, OSError):
        whole = False
    if not whole:
        refuse_foreign(*files)
    return files


def stamp_model(data: bytes, promises: dict[str, str]) -> bytes:
    """Return a serialized ModelProto with `promises` as metadata, keys with our prefix.

    Earlier stamps are replaced, the model's other metadata stay. The IR is the oldest that serves.

    Raises:
        ValueError: the bytes are no ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    kept = [item for item in model.metadata_props if not item.key.startswith(STAMP_PREFIX)]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    for key, value in sorted(promises.items()):
        model.metadata_props.add(key=STAMP_PREFIX + key, value=value)
    _lower_ir(model)
    return model.SerializeToString()


def _lower_ir(model: onnx.ModelProto) -> None:
    """Give a model the oldest IR that has its operators, without the notes that only IR 10 has.

    Exporters write their newest IR, which an onnxruntime that knows all operators then refuses.
    """
    from onnx import helper

    own = [opset for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    try:
        oldest = max(OLDEST_IR, helper.find_min_ir_version_for(own))
    except ValueError:  # of an ONNX newer than the one installed
        return
    if model.ir_version <= oldest:
        return
    model.ir_version = oldest
    graph = model.graph
    noted = (graph, *graph.node, *graph.input, *graph.output, *graph.value_info)
    for part in (*noted, *graph.initializer):
        part.ClearField("metadata_props")
