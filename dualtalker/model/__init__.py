"""The model bundle: the ONNX graph, its sidecar, its styles."""

from __future__ import annotations

from dualtalker.model.bundle import (
    DEFAULT_MODEL,
    Bundle,
    load_bundle,
    load_offline,
    offline_path,
)
from dualtalker.model.graph import list_tensors, session_errors
from dualtalker.model.sidecar import (
    EXPORT_COMMAND,
    STAMP_PREFIX,
    Sidecar,
    parse_sidecar,
    read_sidecar,
)
from dualtalker.model.styles import Style, list_styles, mix_style, parse_style

__all__ = [
    "DEFAULT_MODEL",
    "EXPORT_COMMAND",
    "STAMP_PREFIX",
    "Bundle",
    "Sidecar",
    "Style",
    "list_styles",
    "list_tensors",
    "load_bundle",
    "load_offline",
    "mix_style",
    "offline_path",
    "parse_sidecar",
    "parse_style",
    "read_sidecar",
    "session_errors",
]
