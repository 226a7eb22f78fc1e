"""TensorRT engine files: their names, their sidecars, and which of them fits.

`NAME.<gpu>-trt<version>-<precision>.engine` has a `.json` beside it: the bundle's own sidecar with
an "engine" object that says what the engine was built from and for. The `.log` is the builder's.
"""

from __future__ import annotations

import dataclasses
import glob
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dualtalker.errors import BackendError
from dualtalker.files import check_file, sha256_of_file, written_together
from dualtalker.model import Bundle

BUILD_COMMAND = "dualtalker engine build"
PORTABLE = "any"  # the GPU of an engine that was built for no particular one


@dataclass(frozen=True)
class Target:
    """What an engine is tied to: one kind of GPU and one version of TensorRT."""

    gpu: str  # the driver's name, e.g. "Orin"; PORTABLE where the builder saw none
    compute_capability: str  # e.g. "8.7"; empty for PORTABLE
    multiprocessors: int  # tells modules with one name apart (Orin Nano, NX, AGX); 0 for PORTABLE
    library: str  # "tensorrt" or "tensorrt_rtx"
    version: str  # of that library

    @property
    def label(self) -> str:
        """The part of the file name, such as `orin-16sm-trt10.3.0`."""
        gpu = re.sub(r"[^a-z0-9]+", "-", self.gpu.lower()).strip("-") or "unnamed"
        size = f"-{self.multiprocessors}sm" if self.multiprocessors else ""
        short = "trt" if self.library == "tensorrt" else "trtrtx"
        return f"{gpu}{size}-{short}{self.version}"

    def mismatch(self, here: Target) -> str | None:
        """Say what keeps an engine for this target from running on `here`; None: nothing."""
        for name in ("library", "version", "gpu", "compute_capability", "multiprocessors"):
            mine, other = getattr(self, name), getattr(here, name)
            portable = self.gpu == PORTABLE and name not in ("library", "version")
            if mine != other and not portable:
                return (
                    f"it was built for {name.replace('_', ' ')} {mine}, this machine has {other}"
                )
        return None


@dataclass(frozen=True)
class EngineRecord:
    """The "engine" object of an engine's sidecar."""

    target: Target
    precision: str  # fp32 or fp16
    onnx_sha256: str  # digest of the bundle's ONNX file
    engine_sha256: str
    log_sha256: str  # digest of the builder's log
    built_utc: str = ""  # ISO 8601


class _EngineSidecar(msgspec.Struct):
    engine: EngineRecord


def engine_folder() -> Path:
    """Where engines are built to unless told otherwise: $DUALTALKER_ENGINES, or a cache folder.

    Raises:
        BackendError: the user has no home folder that a cache could be in.
    """
    if chosen := os.environ.get("DUALTALKER_ENGINES"):
        return Path(chosen)
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise BackendError(
            "this user has no home folder for engines; set DUALTALKER_ENGINES to a folder"
        ) from error
    return Path(cache) / "dualtalker" / "engines"


def engine_path(folder: Path, bundle: Bundle, target: Target, precision: str) -> Path:
    """Return the path of the engine of a bundle."""
    return folder / f"{bundle.onnx_path.stem}.{target.label}-{precision}.engine"


def write_engine(
    path: Path, bundle: Bundle, engine: bytes, log_text: str, record: EngineRecord
) -> None:
    """Write engine, builder's log and sidecar; all of one build, or none.

    The sidecar comes last and holds the others' digests: until it is there, nothing fits.

    Raises:
        OSError: a full disk and the like; what was begun is removed.
    """
    sidecar = msgspec.to_builtins(bundle.sidecar) | {"engine": dataclasses.asdict(record)}
    files = [path, path.with_suffix(".log"), path.with_suffix(".json")]
    contents = [engine, log_text.encode(), (json.dumps(sidecar, indent=2) + "\n").encode()]
    with written_together(*files) as folder:
        for file, content in zip(files, contents, strict=True):
            (folder / file.name).write_bytes(content)


def read_record(path: Path) -> EngineRecord:
    """Read what the sidecar of the engine `path` says of it.

    Raises:
        BackendError: it is missing or not one of ours.
    """
    sidecar = path.with_suffix(".json")
    if sidecar.exists():
        check_file(sidecar, BackendError, "an engine's sidecar", 1 << 24)
    try:
        return msgspec.json.decode(sidecar.read_bytes(), type=_EngineSidecar).engine
    except FileNotFoundError as error:
        raise BackendError(f"{sidecar} is missing; was the build interrupted?") from error
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        raise BackendError(f"{sidecar} is not an engine's sidecar ({error})") from error


def check_engine(path: Path, bundle: Bundle, here: Target) -> EngineRecord:
    """Return the record of an engine that fits this bundle and this machine.

    Raises:
        BackendError: it does not, and why.
    """
    record = read_record(path)
    if record.onnx_sha256 != bundle.digest:
        raise BackendError("it was built from another version of the model")
    if difference := record.target.mismatch(here):
        raise BackendError(difference)
    check_file(path, BackendError, "an engine")
    try:
        digest = sha256_of_file(path)
    except OSError as error:
        raise BackendError(f"it cannot be read ({error})") from error
    if digest != record.engine_sha256:
        raise BackendError("the file does not have the digest that its sidecar gives")
    return record


def find_engine(bundle: Bundle, here: Target) -> tuple[Path, EngineRecord]:
    """Return the engine to run: beside the bundle or in `engine_folder()`, fp16 before fp32.

    Raises:
        BackendError: none fits; says why each does not, and how to build one.
    """
    folders = [bundle.onnx_path.parent, engine_folder()]
    found: list[tuple[Path, EngineRecord]] = []
    refused = []
    for folder in folders:
        for path in sorted(folder.glob(f"{glob.escape(bundle.onnx_path.stem)}.*.engine")):
            try:
                found.append((path, check_engine(path, bundle, here)))
            except BackendError as error:
                refused.append(f"{path}: {error}")
    if found:
        return min(found, key=lambda item: item[1].precision != "fp16")
    why = "".join(f"\n  {reason}" for reason in refused) or " none was built yet"
    where = " or ".join(str(folder) for folder in dict.fromkeys(folders))
    raise BackendError(
        f"no TensorRT engine of {bundle.onnx_path.name} for {here.gpu} and {here.library} "
        f"{here.version} in {where}:{why}\nBuild it on this machine: "
        f"{rebuild_command(bundle)}"
    )


def rebuild_command(bundle: Bundle, **options: Any) -> str:
    """Return the command that builds the engine of a bundle anew."""
    extra = "".join(f" --{name} {value}" for name, value in options.items())
    return f"{BUILD_COMMAND} {bundle.onnx_path}{extra} --rebuild"
