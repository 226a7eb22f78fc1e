"""Collects what a bug report needs: versions, platform, engines, the model, ROS, speech."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from importlib import metadata
from typing import Any

from dualtalker import __version__
from dualtalker.errors import DualtalkerError
from dualtalker.model import DEFAULT_MODEL, list_styles, load_bundle
from dualtalker.model.backends import available_backends

PACKAGES = (
    "numpy",
    "onnxruntime",
    "soxr",
    "soundfile",
    "tyro",
    "tqdm",
    "matplotlib",
    "av",
    "pillow",
    "espeakng-loader",
    "torch",
    "transformers",
    "onnx",
    "tensorrt",
    "tensorrt-rtx",
    "cuda-bindings",
    "pycuda",
    "ros-rclpy",
)


def collect_info() -> dict[str, Any]:
    """Return plain data, ready for JSON; what is missing is said with its reason."""
    return {
        "dualtalker": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_cores": os.cpu_count(),
        "packages": package_versions(),
        "backends": {
            name: "available" if reason is None else f"not available: {reason}"
            for name, reason in available_backends().items()
        },
        "default_model": _describe_default_model(),
        "ros": _describe_ros(),
        "speech": _describe_module("espeakng_loader", "pip install 'dualtalker[speech]'"),
    }


def package_versions() -> dict[str, str | None]:
    """Return the installed version of each package that may matter; None where absent."""
    versions: dict[str, str | None] = {"dualtalker": __version__}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def format_info(info: dict[str, Any]) -> str:
    """Return the info as aligned lines."""
    lines = []
    for name, value in info.items():
        if isinstance(value, dict):
            lines.append(f"{name}:")
            lines += [f"  {key:<20}{_say(item)}" for key, item in value.items()]
        else:
            lines.append(f"{name:<22}{_say(value)}")
    return "\n".join(lines)


def _say(value: object) -> str:
    return "not installed" if value is None else str(value)


def _describe_default_model() -> dict[str, Any]:
    try:
        bundle = load_bundle(None)
    except DualtalkerError as error:
        return {"path": str(DEFAULT_MODEL), "error": str(error)}
    sidecar = bundle.sidecar
    return {
        "path": str(bundle.onnx_path),
        "sha256": bundle.digest,
        "megabytes": round(bundle.onnx_path.stat().st_size / 1e6, 2),
        "lookahead_ms": round(sidecar.lookahead_s * 1000, 3),
        "hop_ms": round(sidecar.hop_s * 1000, 3),
        "model_rate_hz": sidecar.model_rate_hz,
        "styles": ", ".join(list_styles(sidecar)) or "one, fixed when it was exported",
    }


def _describe_ros() -> dict[str, Any]:
    return {
        "rclpy": _describe_module("rclpy", "pip install 'dualtalker[ros]', or ROS 2 from apt"),
        "audio_common_msgs": _describe_module("audio_common_msgs", "optional message package"),
        "ROS_DISTRO": os.environ.get("ROS_DISTRO", "not set"),
        "RMW_IMPLEMENTATION": os.environ.get("RMW_IMPLEMENTATION", "not set"),
    }


def _describe_module(name: str, mend: str) -> str:
    # Looked for, not imported: importing rclpy here would start its logging and load DDS.
    found = importlib.util.find_spec(name) is not None
    return "available" if found else f"not available: no module {name} ({mend})"
