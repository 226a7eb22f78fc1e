"""Loads one bundle and runs one step on silence, under limits: the child of `trial`.

    python -m dualtalker.model.trial_worker NAME.onnx CPU_S MEMORY_BYTES

Status 0: it ended in time, well or with an error that its parent will meet and tell; 3: it asked
for more memory. Too much time, or a crash, ends it by a signal.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from dualtalker.children import limit_self
from dualtalker.errors import BackendError, BundleError
from dualtalker.model.graph import list_tensors, open_session, session_errors
from dualtalker.model.sidecar import read_sidecar


def main(onnx_path: Path, cpu_s: int, memory_bytes: int) -> int:
    """Return the status of the process."""
    try:
        import onnxruntime  # noqa: F401 - before the limits, which are for the model alone

        limit_self(cpu_s, memory_bytes)
        session = open_session(onnx_path)
        inputs, _ = list_tensors(read_sidecar(onnx_path.with_suffix(".json")), onnx_path)
        session.run(
            None, {name: np.zeros(shape, np.float32) for name, (_, shape) in inputs.items()}
        )
    except ImportError:
        return 0
    except MemoryError:
        return 3
    except _expected_errors() as error:
        # onnxruntime: "Failed to allocate memory for requested buffer", "std::bad_alloc".
        return 3 if "alloc" in str(error) else 0
    return 0


def _expected_errors() -> tuple[type[Exception], ...]:
    return (BackendError, BundleError, *session_errors())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
