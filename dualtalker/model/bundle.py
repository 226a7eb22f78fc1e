"""Model bundles: `NAME.onnx` with its `NAME.json` sidecar, checked."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dualtalker.errors import BackendError, BundleError
from dualtalker.files import sha256, tell_fault
from dualtalker.model.graph import check_session, open_session
from dualtalker.model.scan import scan_model
from dualtalker.model.sidecar import EXPORT_COMMAND, Sidecar, mismatch, read_sidecar
from dualtalker.model.trial import try_bundle

if TYPE_CHECKING:
    import onnxruntime

MAX_MODEL_BYTES = (1 << 31) - 1  # of a protobuf message
DEFAULT_MODEL = Path(__file__).parents[1] / "models" / "default.onnx"
# What a bundle and its offline graph agree on.
_SHARED = (
    *("sample_rate_hz", "lookahead_samples", "model_rate_hz", "output_names"),
    *("style_input", "style_names", "default_style", "style_presets"),
)


@dataclass(frozen=True)
class Bundle:
    """A checked model: the ONNX file, what it says about itself, and its digest."""

    onnx_path: Path
    sidecar: Sidecar
    digest: str  # SHA-256 of the ONNX file

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        """The graph in onnxruntime, opened and checked once for all who run it.

        Raises:
            BackendError, BundleError: as `open_session` and `check_session`.
        """
        session = open_session(self.onnx_path)
        check_session(session, self.sidecar, self.onnx_path.with_suffix(".json"))
        return session

    def free_session(self) -> None:
        """Give the session's memory back, once those who run it are done."""
        self.__dict__.pop("session", None)


def load_bundle(path: str | Path | None = None) -> Bundle:
    """Load and check a bundle from the path of its `.onnx` or `.json` file.

    None means the model shipped with the package. The sidecar's types and values, the file's
    digest and the graph's real inputs and outputs are all checked; the last by onnxruntime, and
    where that is not installed by the TensorRT backend, on its engine. A bundle that is not the
    shipped one is first tried in a child process, which has limits of time and memory; the
    shipped one's graph is opened, and compared, once it is run.

    Raises:
        BundleError: says which field is wrong, what was found, what was expected.
    """
    if path is None and not DEFAULT_MODEL.is_file():
        raise BundleError(
            f"this installation has no default model: expected {DEFAULT_MODEL}. Give one with "
            f"--model NAME.onnx, or make it: {EXPORT_COMMAND}"
        )
    given = DEFAULT_MODEL if path is None else Path(path)
    if given.suffix not in (".onnx", ".json"):
        raise BundleError(
            f"{str(path)!r} is no model bundle; expected NAME.onnx with NAME.json beside it. A "
            "TensorRT engine is found by itself: give the bundle that it was built from"
        )
    onnx_path, sidecar_path = given.with_suffix(".onnx"), given.with_suffix(".json")
    for needed in (onnx_path, sidecar_path):
        if (fault := tell_fault(needed)) is not None:
            raise BundleError(
                f"{needed}: {fault}. A bundle is NAME.onnx with NAME.json beside it; make "
                f"both with: {EXPORT_COMMAND}"
            )
    sidecar = read_sidecar(sidecar_path)
    size_bytes = onnx_path.stat().st_size
    if size_bytes > MAX_MODEL_BYTES:
        raise mismatch(onnx_path, "file size", f"{size_bytes} bytes", f"<= {MAX_MODEL_BYTES}")
    content = onnx_path.read_bytes()
    digest = sha256(content)
    if digest != sidecar.onnx_sha256:
        raise mismatch(sidecar_path, "onnx_sha256", sidecar.onnx_sha256, f"{digest} (the file's)")
    stamp = _scan(onnx_path, content)
    bundle = Bundle(onnx_path, sidecar, digest)
    if onnx_path not in (DEFAULT_MODEL, offline_path(DEFAULT_MODEL)):
        with contextlib.suppress(BackendError):  # no onnxruntime: whoever asks for it is told then
            try_bundle(onnx_path, digest)
            _ = bundle.session
    _check_promises(sidecar_path, sidecar, stamp)
    return bundle


def offline_path(onnx_path: Path) -> Path:
    """Return where the graph lies that runs the weights of `onnx_path` in larger steps."""
    return onnx_path.with_suffix(".offline.onnx")


def load_offline(bundle: Bundle) -> Bundle | None:
    """Load the graph beside a bundle that takes more hops at once, for whole recordings.

    None where there is none.

    Raises:
        BundleError: it is bad, or of another model.
    """
    path = offline_path(bundle.onnx_path)
    if not path.is_file():
        return None
    offline = load_bundle(path)
    sidecar_path, found = path.with_suffix(".json"), offline.sidecar
    wanted = {"streaming_sha256": bundle.digest}
    wanted |= {name: getattr(bundle.sidecar, name) for name in _SHARED}
    for name, value in wanted.items():
        if getattr(found, name) != value:
            raise BundleError(
                f"{sidecar_path}: field {name}: found {getattr(found, name)!r}, expected "
                f"{value!r}, as {bundle.onnx_path} has it. Delete it, or write it anew with: "
                f"python -m engines.export_offline {bundle.onnx_path}"
            )
    return offline


def _scan(onnx_path: Path, content: bytes) -> dict[str, str]:
    """Return what the file was stamped with; it must hold all of its weights."""
    try:
        scan = scan_model(content)
    except ValueError as error:
        raise BundleError(
            f"{onnx_path}: not an ONNX file that can be read in full ({error}). Write it anew "
            f"with: {EXPORT_COMMAND}"
        ) from error
    if scan.has_outside_weights:
        raise BundleError(
            f"{onnx_path}: keeps weights in another file, which the digest does not cover; "
            f"expected one file. Write it anew with: {EXPORT_COMMAND}"
        )
    return scan.stamp


def _check_promises(path: Path, sidecar: Sidecar, stamp: dict[str, str]) -> None:
    """Compare the sidecar with what was stamped into the graph when both were written."""
    for name, promised in sidecar.promises.items():
        found = stamp.get(name)
        if found is None:
            raise mismatch(path, name, promised, "the same in the ONNX metadata, which lack it")
        if found != promised:
            raise mismatch(path, name, promised, f"{found}, which the ONNX file was written with")
