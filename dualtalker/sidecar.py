"""What the JSON beside an ONNX file says about it: its fields, read and checked by themselves.

Whether they are true of the graph is found in `bundle`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import BundleError
from dualtalker.files import sha256

FORMAT = "dualtalker-bundle"
FORMAT_VERSION = 1
EXPORT_COMMAND = "python -m engines.export_onnx CHECKPOINT -o NAME.onnx"

# A sidecar is small and a robot's model fits in memory: larger claims are mistakes or attacks.
MAX_SIDECAR_BYTES = 1 << 20
MAX_STATE_ELEMENTS = 1 << 24
MAX_STATES = 1024
MAX_WINDOW_S = 30
MAX_STYLES = 1024
DEFAULT_STYLE = "default"  # the public name of `Sidecar.default_style`

_PROMISED = (
    "kind",
    "sample_rate_hz",
    "hop_samples",
    "lookahead_samples",
    "frames_per_step",
    "output_kind",
    "window_samples",
    "valid_start",
)
STAMP_PREFIX = "dualtalker."  # of the keys of `Sidecar.promises` in the ONNX file's metadata
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
    style_input: str = ""  # graph input [1, style_names] float32: a mixture's weights; "" is none
    style_names: tuple[str, ...] = ()  # styles in the order of that input, as they were trained
    default_style: tuple[float, ...] = ()  # their weights where nobody chooses; the sum is 1
    style_presets: dict[str, tuple[float, ...]] = field(default_factory=dict)  # by public name
    training: dict[str, Any] = field(default_factory=dict)  # data, command, commit
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def promises(self) -> dict[str, str]:
        """What the graph's shapes do not show, as it is stamped into the ONNX file."""
        names = sha256("\n".join(self.output_names))
        return {
            **{name: str(getattr(self, name)) for name in _PROMISED},
            "model_rate_hz": repr(self.model_rate_hz),
            "output_names_sha256": names,
            # Bundles of before there were styles to choose from have no such stamp.
            **({"style_names": json.dumps(self.style_names)} if self.style_input else {}),
        }

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


def read_sidecar(path: Path) -> Sidecar:
    """Read and check a sidecar file by itself, without its graph; raises BundleError."""
    size_bytes = path.stat().st_size
    if size_bytes > MAX_SIDECAR_BYTES:
        raise mismatch(path, "file size", f"{size_bytes} bytes", f"<= {MAX_SIDECAR_BYTES} bytes")
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
        raise mismatch(path, "top level", type(record).__name__, "a JSON object")
    record = {k: v for k, v in record.items() if k not in _RETIRED or v != _RETIRED[k]}
    _check_types(record, path)
    states = tuple(_parse_state(item, i, path) for i, item in enumerate(record["states"]))
    values = dict(record)
    values.update(
        states=states,
        output_names=tuple(record["output_names"]),
        model_rate_hz=float(record["model_rate_hz"]),
        **_parse_styles(record, path),
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
    "style_input": str,
    "style_names": list,
    "default_style": list,
    "style_presets": dict,
}

# Fields of graphs that gave vertices: earlier sidecars of all others hold them like this.
_RETIRED = {"vertices_output": "", "vertex_count": 0, "topology": ""}


def _check_types(record: dict[str, Any], path: Path) -> None:
    known = [item.name for item in dataclasses.fields(Sidecar)]
    unknown = sorted(set(record) - set(known))
    if unknown:
        raise mismatch(path, ", ".join(unknown)[:200], "a field unknown here", f"some of {known}")
    for name, kinds in (_FIELD_TYPES | _OPTIONAL_TYPES).items():
        if name not in record:
            if name in _OPTIONAL_TYPES:
                continue
            raise mismatch(path, name, "nothing", "a value")
        value = record[name]
        if isinstance(value, bool) or not isinstance(value, kinds):
            expected = kinds[-1] if isinstance(kinds, tuple) else kinds
            raise mismatch(path, name, value, f"a JSON value of type {expected.__name__}")
    if len(record["states"]) > MAX_STATES:
        raise mismatch(path, "states", f"{len(record['states'])} of them", f"<= {MAX_STATES}")


def _check_values(sidecar: Sidecar, path: Path) -> None:
    def expect(name: str, condition: bool, expected: object) -> None:
        if not condition:
            raise mismatch(path, name, getattr(sidecar, name), expected)

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
    _check_styles(sidecar, path)
    digest = sidecar.onnx_sha256
    is_hex = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    expect("onnx_sha256", is_hex, "64 lower-case hexadecimal digits")
    elements = sum(math.prod(state.shape) for state in sidecar.states)
    if elements > MAX_STATE_ELEMENTS:
        raise mismatch(path, "states", f"{elements} numbers", f"<= {MAX_STATE_ELEMENTS}")


def _check_window(sidecar: Sidecar, path: Path) -> None:
    """The window's fields agree with each other, and a stateful bundle has none of them."""

    def expect(name: str, condition: bool, expected: str) -> None:
        if not condition:
            text = f"{expected}, as kind is {sidecar.kind!r}"
            raise mismatch(path, name, getattr(sidecar, name), text)

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
        raise mismatch(path, "output_names", f"{len(found)} names", f"{len(ARKIT_NAMES)} names")
    for i, (name, expected) in enumerate(zip(found, ARKIT_NAMES, strict=True)):
        if name != expected:
            raise mismatch(path, f"output_names[{i}]", name, f"{expected!r} (Apple's order)")


def _parse_styles(record: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the fields on styles that a record has, as a Sidecar holds them."""
    presets = record.get("style_presets", {})
    if len(presets) > MAX_STYLES:
        raise mismatch(path, "style_presets", f"{len(presets)} of them", f"<= {MAX_STYLES}")
    weights = {f"style_presets[{name!r}]": item for name, item in presets.items()}
    weights["default_style"] = record.get("default_style", [])
    for label, item in weights.items():
        if not isinstance(item, (list, tuple)) or not all(type(w) in (int, float) for w in item):
            raise mismatch(path, label, item, "a list of numbers")
    return {
        "style_names": tuple(record.get("style_names", ())),
        "default_style": tuple(float(w) for w in weights["default_style"]),
        "style_presets": {k: tuple(float(w) for w in item) for k, item in presets.items()},
    }


def _check_styles(sidecar: Sidecar, path: Path) -> None:
    """Each style and preset has a name of its own, and mixtures are weights of all styles."""
    names = sidecar.style_names
    if not sidecar.style_input:
        for name in ("style_names", "default_style", "style_presets"):
            if getattr(sidecar, name):
                found = getattr(sidecar, name)
                raise mismatch(path, name, found, "none, as there is no style_input")
        return
    if not 1 <= len(names) <= MAX_STYLES:
        raise mismatch(path, "style_names", f"{len(names)} names", f"1 to {MAX_STYLES}")
    seen = {DEFAULT_STYLE}
    for label, name in [("style_names", n) for n in names] + [
        ("style_presets", n) for n in sidecar.style_presets
    ]:
        good = isinstance(name, str) and name.isprintable() and name.strip() == name != ""
        if not good or "," in name or len(name) > 200:
            raise mismatch(path, label, name, "printable names without commas")
        if name in seen:
            raise mismatch(path, label, name, f"each name only once, and none {DEFAULT_STYLE!r}")
        seen.add(name)
    mixtures = {"default_style": sidecar.default_style}
    mixtures |= {f"style_presets[{k!r}]": item for k, item in sidecar.style_presets.items()}
    for label, weights in mixtures.items():
        good = len(weights) == len(names) and all(0 <= w <= 1 for w in weights)
        if not good or not math.isclose(sum(weights), 1, abs_tol=1e-6):
            text = f"{len(names)} weights from 0 to 1 whose sum is 1"
            raise mismatch(path, label, list(weights), text)


def _parse_state(item: object, i: int, path: Path) -> StateTensor:
    label = f"states[{i}]"
    if not isinstance(item, dict):
        raise mismatch(path, label, item, "an object with input, output, shape, dtype")
    for name in ("input", "output", "dtype"):
        if not isinstance(item.get(name), str):
            raise mismatch(path, f"{label}.{name}", item.get(name), "a string")
    if item["dtype"] != "float32":
        raise mismatch(path, f"{label}.dtype", item["dtype"], "'float32'")
    shape = item.get("shape")
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= 8
        or not all(type(n) is int and 1 <= n <= MAX_STATE_ELEMENTS for n in shape)
    ):
        raise mismatch(
            path, f"{label}.shape", shape, f"1 to 8 integers, each 1 to {MAX_STATE_ELEMENTS}"
        )
    return StateTensor(item["input"], item["output"], tuple(shape), item["dtype"])


def mismatch(path: Path, name: str, found: object, expected: object) -> BundleError:
    """Return the error for a field that is not as it should be, with the command that mends it."""
    text = repr(found) if not isinstance(found, str) else found
    if len(text) > 200:
        text = text[:200] + "…"
    return BundleError(
        f"{path}: field {name}: found {text}, expected {expected}. "
        f"Write the bundle anew with: {EXPORT_COMMAND}"
    )


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
