"""Writes torch modules as ONNX graphs, each one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

OPSET = 18
STYLE_INPUT = "style"


def write_graph(
    module: nn.Module,
    arguments: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    path: Path,
) -> None:
    """Export `module`, called with `arguments` that are named `inputs`, to `path`."""
    program = torch.onnx.export(
        module.eval(),
        tuple(arguments),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(inputs),
        output_names=list(outputs),
        verbose=False,
    )
    assert program is not None
    # The exporter notes each node's stack trace: paths of this machine, twice the file's nodes.
    for node in program.model.graph:
        node.metadata_props.clear()
        node.doc_string = None
    program.save(str(path), external_data=False)


def even_weights(count: int) -> Tensor:
    """Return weights `[1, count]` of the mixture of all styles alike."""
    return torch.full((1, count), 1 / count)
