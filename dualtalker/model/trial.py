"""Tries a bundle of somebody else in a child process with limits, before this process loads it.

A few kilobytes of ONNX may ask for loops without end, or for tensors larger than any memory.
"""

from __future__ import annotations

from pathlib import Path

from dualtalker.children import run_child
from dualtalker.errors import BundleError
from dualtalker.model.sidecar import EXPORT_COMMAND

_WORKER = "dualtalker.model.trial_worker"
_TOO_MUCH_MEMORY = 3  # the worker's status

# For a file of no size, and in addition for each of its bytes: weights are read, packed, run.
_CPU_S, _CPU_S_PER_BYTE = 6, 2e-8
_MEMORY_BYTES, _MEMORY_PER_BYTE = 768 << 20, 4

_passed: set[str] = set()  # digests


def try_bundle(onnx_path: Path, digest: str) -> None:
    """Load a bundle and run one step on silence in a child with limits, once for each digest.

    What else is wrong with the bundle is left to be found, and told, by this process.

    Raises:
        BundleError: it needs more CPU time or memory than such a file can, or ends the child.
    """
    if digest in _passed:
        return
    size = onnx_path.stat().st_size
    cpu_s = int(_CPU_S + _CPU_S_PER_BYTE * size)
    memory_bytes = _MEMORY_BYTES + _MEMORY_PER_BYTE * size
    arguments = [str(onnx_path), str(cpu_s), str(memory_bytes)]
    status, _, said = run_child(_WORKER, arguments, b"")
    if status == 0:
        _passed.add(digest)
        return
    if status == _TOO_MUCH_MEMORY:
        found = f"more than {memory_bytes >> 20} MB of memory"
    elif status < 0:
        found = f"more than {cpu_s} s of CPU time, or a crash (status {status})"
    else:
        found = f"a process that ends with status {status} ({said[-300:]})"
    raise BundleError(
        f"{onnx_path}: to load it and run one step on silence takes {found}; expected a network "
        f"that keeps up with speech. Write it anew with: {EXPORT_COMMAND}"
    )
