"""What the JSON beside an ONNX file says about it: its fields, read and checked by themselves.

Whether they are true of the graph is found in `bundle`.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import BundleError
from dualtalker.files import read_json, sha256

_FORMAT = "dualtalker-bundle"
EXPORT_COMMAND = "python -m engines.export_onnx CHECKPOINT --out NAME.onnx"

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

_Size = Annotated[int, Meta(ge=1, le=MAX_STATE_ELEMENTS)]
_Weights = tuple[float, ...]


class StateTensor(msgspec.Struct, frozen=True):
    """One tensor that a stateful graph hands from step to step; it starts as zeros."""

    input: str  # graph input that takes the state
    output: str  # graph output that gives the next state
    # First dimension is the batch, 1.
    shape: Annotated[tuple[_Size, ...], Meta(min_length=1, max_length=8)]
    dtype: Annotated[str, Meta(pattern=r"^float32\Z")]


class Sidecar(msgspec.Struct, frozen=True, kw_only=True):
    """What the JSON file beside an ONNX file says about it.

    Step i (from 0) consumes samples [i * hop, (i + 1) * hop) and emits `frames_per_step` frames,
    evenly spaced at `model_rate_hz`; the last depicts ((i + 1) * hop - lookahead) / sample rate.

    A "stateful" graph takes the hop and state tensors. A "windowed" one has no state: at each step
    it takes the last `window_samples` of audio, and of the `window_frames` frames that it gives
    those from `valid_start` on are used, far enough from the window's ends.

    Types and ranges are checked by msgspec, what must hold between fields by `parse_sidecar`.
    """

    states: Annotated[tuple[StateTensor, ...], Meta(max_length=MAX_STATES)]
    onnx_sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]  # digest of the ONNX file
    format: Annotated[str, Meta(pattern=rf"^{_FORMAT}\Z")] = _FORMAT
    format_version: Annotated[int, Meta(ge=1, le=1)] = 1
    kind: Annotated[str, Meta(pattern=r"^(stateful|windowed)\Z")] = "stateful"
    sample_rate_hz: Annotated[int, Meta(ge=8000, le=192000)] = 16000
    hop_samples: Annotated[int, Meta(ge=1)] = 320  # samples consumed by one step
    # Audio beyond a frame's instant that the frame may depend on.
    lookahead_samples: Annotated[int, Meta(ge=0)] = 1280
    model_rate_hz: float = 50.0  # motion frames per second of audio
    frames_per_step: Annotated[int, Meta(ge=1, le=1000)] = 1
    output_kind: Annotated[str, Meta(pattern=r"^arkit52\Z")] = "arkit52"
    output_names: tuple[str, ...] = ARKIT_NAMES
    audio_input: str = "audio"  # graph input [1, input_samples] float32
    motion_output: str = "motion"  # graph output [1, graph_frames, channels] float32
    window_samples: int = 0  # windowed: audio that the graph sees at once
    window_frames: int = 0  # windowed: frames that it gives for them
    valid_start: int = 0  # windowed: the first of them that is used
    precision: Annotated[str, Meta(pattern=r"^(fp32|fp16|int8)\Z")] = "fp32"  # of the weights
    # Of an offline graph: digest of the ONNX file whose weights it runs in larger steps.
    streaming_sha256: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    style_input: str = ""  # graph input [1, style_names] float32: a mixture's weights; "" is none
    style_names: tuple[str, ...] = ()  # styles in the order of that input, as they were trained
    default_style: _Weights = ()  # their weights where nobody chooses; the sum is 1
    # By public name.
    style_presets: Annotated[dict[str, _Weights], Meta(max_length=MAX_STYLES)] = {}
    training: dict[str, Any] = {}  # data, command, commit
    metrics: dict[str, Any] = {}

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


# Later additions: a sidecar written before them is still good. All other fields must be given.
_OPTIONAL = (
    *("window_samples", "window_frames", "valid_start", "precision", "streaming_sha256"),
    *("style_input", "style_names", "default_style", "style_presets"),
)
# Fields of graphs that gave vertices: earlier sidecars of all others hold them like this.
_RETIRED = {"vertices_output": "", "vertex_count": 0, "topology": ""}


def read_sidecar(path: Path) -> Sidecar:
    """Read and check a sidecar file by itself, without its graph; raises BundleError."""
    try:
        record = read_json(path, MAX_SIDECAR_BYTES)
    except ValueError as error:
        raise BundleError(
            f"{path}: not a valid JSON sidecar ({error}); write it anew with: {EXPORT_COMMAND}"
        ) from error
    return parse_sidecar(record, path)


def parse_sidecar(record: object, path: Path) -> Sidecar:
    """Turn decoded JSON into a Sidecar; `path` is for messages. Raises BundleError."""
    if not isinstance(record, dict):
        raise mismatch(path, "top level", type(record).__name__, "a JSON object")
    record = {k: v for k, v in record.items() if k not in _RETIRED or v != _RETIRED[k]}
    known = Sidecar.__struct_fields__
    unknown = ", ".join(sorted(set(record) - set(known)))
    if unknown:
        raise mismatch(path, unknown[:200], "a field unknown here", f"some of {known}")
    for name in known:
        if name not in record and name not in _OPTIONAL:
            raise mismatch(path, name, "nothing", "a value")
    try:
        sidecar = msgspec.convert(record, Sidecar)
    except msgspec.ValidationError as error:
        raise _translate(error, record, path) from error
    _check_times(sidecar, path)
    _check_names(sidecar, path)
    _check_styles(sidecar, path)
    elements = sum(math.prod(state.shape) for state in sidecar.states)
    if elements > MAX_STATE_ELEMENTS:
        raise mismatch(path, "states", f"{elements} numbers", f"<= {MAX_STATE_ELEMENTS}")
    return sidecar


def _translate(error: msgspec.ValidationError, record: Any, path: Path) -> BundleError:
    """Say what msgspec refuses as we do: "Expected `int` >= 1 - at `$.states[0].shape[1]`"."""
    text, _, place = str(error).partition(" - at `$.")
    found = record
    for name, index in re.findall(r"(\w+)|\[(\d+)\]", place.split("[...]")[0]):
        found = found[name] if name else found[int(index)]
    if " of length " in text:
        found = f"{len(found)} of them"
    if text.startswith("Expected "):
        expected = text.removeprefix("Expected ").split(", got")[0]
    else:
        expected = f"another value ({text[0].lower()}{text[1:]})"
    return mismatch(path, place.rstrip("`"), found, expected)


def _check_times(sidecar: Sidecar, path: Path) -> None:
    """Hop, lookahead, rate and window agree, and a stateful bundle has no window."""

    def expect(name: str, condition: bool, expected: str) -> None:
        if not condition:
            raise mismatch(path, name, getattr(sidecar, name), expected)

    hop, second, steps = sidecar.hop_samples, sidecar.sample_rate_hz, sidecar.frames_per_step
    expect("hop_samples", hop <= second, f"1 to {second} (one second)")
    expect("lookahead_samples", sidecar.lookahead_samples <= 10 * second, "0 to 10 seconds")
    rate_hz = steps * second / hop
    agrees = math.isclose(sidecar.model_rate_hz, rate_hz, rel_tol=1e-9)
    formula = "frames_per_step * sample_rate_hz / hop_samples"
    expect("model_rate_hz", agrees, f"{rate_hz:g} ({formula})")
    if sidecar.kind == "stateful":
        for name in ("window_samples", "window_frames", "valid_start"):
            expect(name, getattr(sidecar, name) == 0, "0, as kind is 'stateful'")
        return
    window, unused = sidecar.window_samples, sidecar.window_frames - steps
    longest, why = MAX_WINDOW_S * second, "as kind is 'windowed'"
    expect("window_samples", hop <= window <= longest, f"{hop} (one hop) to {longest}, {why}")
    expect("window_frames", 0 <= unused < 1000, f"{steps} or a little more, {why}")
    expect("valid_start", 0 <= sidecar.valid_start <= unused, f"0 to {unused}, {why}")
    expect("lookahead_samples", sidecar.lookahead_samples <= window, f"at most {window}, {why}")
    expect("states", not sidecar.states, f"none, {why}")


def _check_names(sidecar: Sidecar, path: Path) -> None:
    """Names in another order would move the wrong muscle: say where the first difference is."""
    found = sidecar.output_names
    if len(found) != len(ARKIT_NAMES):
        raise mismatch(path, "output_names", f"{len(found)} names", f"{len(ARKIT_NAMES)} names")
    for i, (name, expected) in enumerate(zip(found, ARKIT_NAMES, strict=True)):
        if name != expected:
            raise mismatch(path, f"output_names[{i}]", name, f"{expected!r} (Apple's order)")


def _check_styles(sidecar: Sidecar, path: Path) -> None:
    """Each style and preset has a name of its own, and mixtures are weights of all styles."""
    names = sidecar.style_names
    if not sidecar.style_input:
        for field in ("style_names", "default_style", "style_presets"):
            if found := getattr(sidecar, field):
                raise mismatch(path, field, found, "none, as there is no style_input")
        return
    if not 1 <= len(names) <= MAX_STYLES:
        raise mismatch(path, "style_names", f"{len(names)} names", f"1 to {MAX_STYLES}")
    seen = {DEFAULT_STYLE}
    for field, given in (("style_names", names), ("style_presets", sidecar.style_presets)):
        for name in given:
            good = name.isprintable() and name.strip() == name != "" and "," not in name
            if not good or len(name) > 200:
                raise mismatch(path, field, name, "printable names without commas")
            if name in seen:
                text = f"each name only once, and none {DEFAULT_STYLE!r}"
                raise mismatch(path, field, name, text)
            seen.add(name)
    mixtures = {"default_style": sidecar.default_style}
    mixtures |= {f"style_presets[{k!r}]": item for k, item in sidecar.style_presets.items()}
    for field, weights in mixtures.items():
        good = len(weights) == len(names) and all(0 <= w <= 1 for w in weights)
        if not good or not math.isclose(sum(weights), 1, abs_tol=1e-6):
            text = f"{len(names)} weights from 0 to 1 whose sum is 1"
            raise mismatch(path, field, list(weights), text)


def mismatch(path: Path, name: str, found: object, expected: object) -> BundleError:
    """Return the error for a field that is not as it should be, with the command that mends it."""
    text = repr(found) if not isinstance(found, str) else found
    if len(text) > 200:
        text = text[:200] + "…"
    return BundleError(
        f"{path}: field {name}: found {text}, expected {expected}. "
        f"Write the bundle anew with: {EXPORT_COMMAND}"
    )
