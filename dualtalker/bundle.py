"""Model bundles: `NAME.onnx` with its `NAME.json` sidecar, written and checked. Runs no model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import BundleError
from dualtalker.onnx_weights import has_outside_weights

FORMAT = "dualtalker-bundle"
FORMAT_VERSION = 1
DEFAULT_MODEL = Path(__file__).parent / "models" / "default.onnx"
EXPORT_COMMAND = "python -m engines.export_onnx CHECKPOINT -o NAME.onnx"

# A sidecar is small and a robot's model fits in memory: larger claims are mistakes or attacks.
MAX_SIDECAR_BYTES = 1 << 20
MAX_STATE_ELEMENTS = 1 << 24
MAX_STATES = 1024
MAX_WINDOW_S = 30

KINDS = ("stateful", "windowed")
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class StateTensor:
    """One tensor that a stateful graph hands from step to step; it starts as zeros."""

    input: str  # graph input that takes the state
    output: str  # graph output that gives the next state
    shape: tuple[int, ...]  # first dimension is the batch, 1
    dtype: str = "float32"


@dataclass(frozen=True)
class Sidecar:
    """What the JSON file beside an ONNX file says about it.

    Step i (from 0) consumes samples [i * hop, (i + 1) * hop) and emits `frames_per_step` frames,
    evenly spaced at `model_rate_hz`; the last depicts ((i + 1) * hop - lookahead) / sample rate.

    A "stateful" graph takes the hop and state tensors. A "windowed" one has no state: at each step
    it takes the last `window_samples` of audio, and of the `window_frames` frames that it gives
    those from `valid_start` on are used, far enough from the window's ends.
    """

    states: tuple[StateTensor, ...]
    onnx_sha256: str = ""  # digest of the ONNX file
    format: str = FORMAT
    format_version: int = FORMAT_VERSION
    kind: str = "stateful"  # or "windowed"
    sample_rate_hz: int = 16000
    hop_samples: int = 320  # samples consumed by one step
    lookahead_samples: int = 1280  # audio beyond a frame's instant that the frame may depend on
    model_rate_hz: float = 50.0  # motion frames per second of audio
    frames_per_step: int = 1
    output_kind: str = "arkit52"
    output_names: tuple[str, ...] = ARKIT_NAMES
    audio_input: str = "audio"  # graph input [1, input_samples] float32
    motion_output: str = "motion"  # graph output [1, graph_frames, channels] float32
    window_samples: int = 0  # windowed: audio that the graph sees at once
    window_frames: int = 0  # windowed: frames that it gives for them
    valid_start: int = 0  # windowed: the first of them that is used
    precision: str = "fp32"  # of the weights: fp32, fp16, int8
    training: dict[str, Any] = field(default_factory=dict)  # data, command, commit
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def lookahead_s(self) -> float:
        """Seconds of future audio that a frame depends on."""
        return self.lookahead_samples / self.sample_rate_hz

    @property
    def input_samples(self) -> int:
        """Samples of audio that the graph takes in one step."""
        return self.hop_samples if self.kind == "stateful" else self.window_samples

    @property
    def graph_frames(self) -> int:
        """Frames that the graph gives in one step; a windowed graph gives more than are used."""
        return self.frames_per_step if self.kind == "stateful" else self.window_frames

    @property
    def hop_s(self) -> float:
        """Seconds of audio consumed by one step."""
        return self.hop_samples / self.sample_rate_hz


@dataclass(frozen=True)
class Bundle:
    """A checked model: the ONNX file, what it says about itself, and its digest."""

    onnx_path: Path
    sidecar: Sidecar
    digest: str  # SHA-256 of the ONNX file


def load_bundle(path: str | Path | None = None) -> Bundle:
    """Load and check a bundle from the path of its `.onnx` or `.json` file.

    None means the model shipped with the package. The sidecar's types and values, the file's
    digest and the graph's real inputs and outputs are all checked.

    Raises:
        BundleError: says which field is wrong, what was found, what was expected.
    """
    if path is None and not DEFAULT_MODEL.is_file():
        raise BundleError(
            f"this installation has no default model: expected {DEFAULT_MODEL}. Give one with "
            f"--model NAME.onnx, or make it: {EXPORT_COMMAND}"
        )
    onnx_path = (DEFAULT_MODEL if path is None else Path(path)).with_suffix(".onnx")
    sidecar_path = onnx_path.with_suffix(".json")
    for needed in (onnx_path, sidecar_path):
        if not needed.is_file():
            raise BundleError(
                f"{needed}: no such file. A bundle is NAME.onnx with NAME.json beside it; make "
                f"both with: {EXPORT_COMMAND}"
            )
    sidecar = read_sidecar(sidecar_path)
    digest = _sha256(onnx_path)
    if digest != sidecar.onnx_sha256:
        raise _mismatch(sidecar_path, "onnx_sha256", sidecar.onnx_sha256, f"{digest} (the file's)")
    _check_weights(onnx_path)
    _check_graph(onnx_path, sidecar_path, sidecar)
    return Bundle(onnx_path, sidecar, digest)


def write_sidecar(onnx_path: str | Path, states: list[dict[str, Any]], **fields: Any) -> Path:
    """Write the sidecar of an existing ONNX file, with its digest, and return its path.

    Args:
        onnx_path: the exported graph.
        states: one dict per state tensor, with the fields of `StateTensor`.
        fields: other fields of `Sidecar`, by name.

    Raises:
        BundleError: a field is unknown or has an impossible value.
    """
    onnx_path = Path(onnx_path)
    path = onnx_path.with_suffix(".json")
    names = [item.name for item in dataclasses.fields(Sidecar)]
    unknown = sorted(set(fields) - set(names))
    if unknown:
        raise BundleError(f"{path}: unknown sidecar fields {unknown}; expected some of {names}")
    draft = Sidecar(states=(), onnx_sha256=_sha256(onnx_path))
    record = {**dataclasses.asdict(draft), "states": states, **fields}
    record = json.loads(json.dumps(record))  # tuples become lists, as a reader will see them
    parse_sidecar(record, path)
    temporary = path.with_suffix(".json.part")
    temporary.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return path


def read_sidecar(path: Path) -> Sidecar:
    """Read and check a sidecar file by itself, without its graph; raises BundleError."""
    size_bytes = path.stat().st_size
    if size_bytes > MAX_SIDECAR_BYTES:
        raise _mismatch(path, "file size", f"{size_bytes} bytes", f"<= {MAX_SIDECAR_BYTES} bytes")
    try:
        record = json.loads(
            path.read_text(encoding="utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
            object_pairs_hook=_unique_keys,
        )
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{path}: not a valid JSON sidecar ({error}); write it anew with: {EXPORT_COMMAND}"
        ) from error
    return parse_sidecar(record, path)


def parse_sidecar(record: object, path: Path) -> Sidecar:
    """Turn decoded JSON into a Sidecar; `path` is for messages. Raises BundleError."""
    if not isinstance(record, dict):
        raise _mismatch(path, "top level", type(record).__name__, "a JSON object")
    _check_types(record, path)
    states = tuple(_parse_state(item, i, path) for i, item in enumerate(record["states"]))
    known = {item.name for item in dataclasses.fields(Sidecar)}
    values = {name: value for name, value in record.items() if name in known}
    values.update(
        states=states,
        output_names=tuple(record["output_names"]),
        model_rate_hz=float(record["model_rate_hz"]),
    )
    sidecar = Sidecar(**values)
    _check_values(sidecar, path)
    return sidecar


_FIELD_TYPES: dict[str, type | tuple[type, ...]] = {
    "format": str,
    "format_version": int,
    "kind": str,
    "sample_rate_hz": int,
    "hop_samples": int,
    "lookahead_samples": int,
    "model_rate_hz": (int, float),
    "frames_per_step": int,
    "output_kind": str,
    "output_names": list,
    "audio_input": str,
    "motion_output": str,
    "states": list,
    "training": dict,
    "metrics": dict,
    "onnx_sha256": str,
}

# Later additions: a sidecar written before them is still good.
_OPTIONAL_TYPES: dict[str, type] = {
    "window_samples": int,
    "window_frames": int,
    "valid_start": int,
    "precision": str,
}


def _check_types(record: dict[str, Any], path: Path) -> None:
    for name, kinds in (_FIELD_TYPES | _OPTIONAL_TYPES).items():
        if name not in record:
            if name in _OPTIONAL_TYPES:
                continue
            raise _mismatch(path, name, "nothing", "a value")
        value = record[name]
        if isinstance(value, bool) or not isinstance(value, kinds):
            expected = kinds[-1] if isinstance(kinds, tuple) else kinds
            raise _mismatch(path, name, value, f"a JSON value of type {expected.__name__}")
    if len(record["states"]) > MAX_STATES:
        raise _mismatch(path, "states", f"{len(record['states'])} of them", f"<= {MAX_STATES}")


def _check_values(sidecar: Sidecar, path: Path) -> None:
    def expect(name: str, condition: bool, expected: object) -> None:
        if not condition:
            raise _mismatch(path, name, getattr(sidecar, name), expected)

    expect("format", sidecar.format == FORMAT, FORMAT)
    expect("format_version", sidecar.format_version == FORMAT_VERSION, FORMAT_VERSION)
    expect("kind", sidecar.kind in KINDS, f"one of {', '.join(KINDS)}")
    expect("precision", sidecar.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")
    expect("sample_rate_hz", 8000 <= sidecar.sample_rate_hz <= 192000, "8000 to 192000")
    second = sidecar.sample_rate_hz
    expect("hop_samples", 1 <= sidecar.hop_samples <= second, f"1 to {second} (one second)")
    expect("lookahead_samples", 0 <= sidecar.lookahead_samples <= 10 * second, "0 to 10 seconds")
    expect("frames_per_step", 1 <= sidecar.frames_per_step <= 1000, "1 to 1000")
    rate_hz = sidecar.frames_per_step * second / sidecar.hop_samples
    agrees = math.isclose(sidecar.model_rate_hz, rate_hz, rel_tol=1e-9)
    expect(
        "model_rate_hz", agrees, f"{rate_hz:g} (frames_per_step * sample_rate_hz / hop_samples)"
    )
    expect("output_kind", sidecar.output_kind == "arkit52", "'arkit52'")
    _check_window(sidecar, path)
    _check_names(sidecar, path)
    digest = sidecar.onnx_sha256
    is_hex = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    expect("onnx_sha256", is_hex, "64 lower-case hexadecimal digits")
    elements = sum(math.prod(state.shape) for state in sidecar.states)
    if elements > MAX_STATE_ELEMENTS:
        raise _mismatch(path, "states", f"{elements} numbers", f"<= {MAX_STATE_ELEMENTS}")


def _check_window(sidecar: Sidecar, path: Path) -> None:
    """The window's fields agree with each other, and a stateful bundle has none of them."""

    def expect(name: str, condition: bool, expected: str) -> None:
        if not condition:
            text = f"{expected}, as kind is {sidecar.kind!r}"
            raise _mismatch(path, name, getattr(sidecar, name), text)

    if sidecar.kind == "stateful":
        for name in ("window_samples", "window_frames", "valid_start"):
            expect(name, getattr(sidecar, name) == 0, "0")
        return
    hop, longest = sidecar.hop_samples, MAX_WINDOW_S * sidecar.sample_rate_hz
    window, unused = sidecar.window_samples, sidecar.window_frames - sidecar.frames_per_step
    expect("window_samples", hop <= window <= longest, f"{hop} (one hop) to {longest}")
    expect("window_frames", 0 <= unused < 1000, f"{sidecar.frames_per_step} or a little more")
    expect("valid_start", 0 <= sidecar.valid_start <= unused, f"0 to {unused}")
    expect("lookahead_samples", sidecar.lookahead_samples <= window, f"at most {window}")
    expect("states", not sidecar.states, "none")


def _check_names(sidecar: Sidecar, path: Path) -> None:
    """Names in another order would move the wrong muscle: say where the first difference is."""
    found = sidecar.output_names
    if len(found) != len(ARKIT_NAMES):
        raise _mismatch(path, "output_names", f"{len(found)} names", f"{len(ARKIT_NAMES)} names")
    for i, (name, expected) in enumerate(zip(found, ARKIT_NAMES, strict=True)):
        if name != expected:
            raise _mismatch(path, f"output_names[{i}]", name, f"{expected!r} (Apple's order)")


def _parse_state(item: object, i: int, path: Path) -> StateTensor:
    label = f"states[{i}]"
    if not isinstance(item, dict):
        raise _mismatch(path, label, item, "an object with input, output, shape, dtype")
    for name in ("input", "output", "dtype"):
        if not isinstance(item.get(name), str):
            raise _mismatch(path, f"{label}.{name}", item.get(name), "a string")
    if item["dtype"] != "float32":
        raise _mismatch(path, f"{label}.dtype", item["dtype"], "'float32'")
    shape = item.get("shape")
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= 8
        or not all(type(n) is int and 1 <= n <= MAX_STATE_ELEMENTS for n in shape)
    ):
        raise _mismatch(
            path, f"{label}.shape", shape, f"1 to 8 integers, each 1 to {MAX_STATE_ELEMENTS}"
        )
    return StateTensor(item["input"], item["output"], tuple(shape), item["dtype"])


def _check_weights(onnx_path: Path) -> None:
    try:
        outside = has_outside_weights(onnx_path.read_bytes())
    except ValueError as error:
        raise BundleError(
            f"{onnx_path}: not an ONNX file ({error}). Write it anew with: {EXPORT_COMMAND}"
        ) from error
    if outside:
        raise BundleError(
            f"{onnx_path}: keeps weights in another file, which the digest does not cover; "
            f"expected one file. Write it anew with: {EXPORT_COMMAND}"
        )


def _check_graph(onnx_path: Path, sidecar_path: Path, sidecar: Sidecar) -> None:
    """Compare the sidecar's claims with the graph's own inputs and outputs."""
    from dualtalker.backends.onnxruntime import open_session

    session = open_session(onnx_path)
    inputs = {item.name: item for item in session.get_inputs()}
    outputs = {item.name: item for item in session.get_outputs()}
    wanted_in: dict[str, tuple[str, tuple[int, ...]]] = {}
    wanted_out: dict[str, tuple[str, tuple[int, ...]]] = {}
    wanted_in[sidecar.audio_input] = ("audio_input", (1, sidecar.input_samples))
    motion_shape = (1, sidecar.graph_frames, len(sidecar.output_names))
    wanted_out[sidecar.motion_output] = ("motion_output", motion_shape)
    for i, state in enumerate(sidecar.states):
        for names, name, side in (
            (wanted_in, state.input, "input"),
            (wanted_out, state.output, "output"),
        ):
            if name in names:
                raise _mismatch(sidecar_path, f"states[{i}].{side}", name, "each name only once")
            names[name] = (f"states[{i}].{side}", state.shape)
    for wanted, found, side in ((wanted_in, inputs, "input"), (wanted_out, outputs, "output")):
        for name, (label, shape) in wanted.items():
            if name not in found:
                raise _mismatch(sidecar_path, label, name, f"a graph {side}: {sorted(found)}")
            _check_tensor(sidecar_path, label, found[name], shape)
    extra = sorted(set(inputs) - set(wanted_in))
    if extra:
        raise _mismatch(sidecar_path, "states", f"no entry for the graph's inputs {extra}", "one")


def _check_tensor(path: Path, label: str, found: Any, shape: tuple[int, ...]) -> None:
    if found.type != "tensor(float)":
        raise _mismatch(path, label, f"{found.name!r} is {found.type} in the graph", "float32")
    # A symbolic dimension (a string or None) fits any size; the first step settles it.
    fixed = [n if isinstance(n, int) and n > 0 else None for n in found.shape]
    fits = len(fixed) == len(shape) and all(
        n is None or n == wanted for n, wanted in zip(fixed, shape, strict=True)
    )
    if not fits:
        raise _mismatch(
            path, label, f"{found.name!r} is {found.shape} in the graph", f"{list(shape)}"
        )


def _mismatch(path: Path, name: str, found: object, expected: object) -> BundleError:
    text = repr(found) if not isinstance(found, str) else found
    if len(text) > 200:
        text = text[:200] + "…"
    return BundleError(
        f"{path}: field {name}: found {text}, expected {expected}. "
        f"Write the bundle anew with: {EXPORT_COMMAND}"
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _refuse_constant(text: str) -> float:
    raise ValueError(f"non-finite number {text}")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number {text} overflows")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"keys given twice: {twice}")
    return record
