"""Which ONNX operators JetPack's TensorRT runs; everything else is refused before it is tried.

The parser of a newer TensorRT on a desktop takes more than TensorRT 10.3 on a Jetson, so that an
engine that builds here may not build there. This check reads the graph alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dualtalker.errors import DualtalkerError

if TYPE_CHECKING:
    import onnx


class OperatorError(DualtalkerError):
    """The graph holds what TensorRT on a robot does not run."""


_INT8 = "quantized for onnxruntime; build from the fp32 or fp16 bundle"
_BRANCH = "it makes the time of a step depend on the data; unroll or trace it away in the export"

_SPECTRUM = "compute the spectrum with fixed matrix products, as training/network/spectrum.py does"

# Operators that people's exports really contain, with what to do about each.
REFUSED = {
    "STFT": _SPECTRUM,
    "DFT": _SPECTRUM,
    "DynamicQuantizeLinear": _INT8,
    "MatMulInteger": _INT8,
    "ConvInteger": _INT8,
    "QLinearConv": _INT8,
    "QLinearMatMul": _INT8,
    "If": _BRANCH,
    "Loop": _BRANCH,
    "Scan": _BRANCH,
}

# Those that this project's graphs use or may come to use, out of the support matrix of
# onnx-tensorrt (docs/operators.md): the list is a promise about what we tried, not about TensorRT.
_ACCEPTED = """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Clip Concat Constant
    ConstantOfShape Conv ConvTranspose Cos CumSum Div Elu Equal Erf Exp Expand Flatten Floor Gather
    GatherElements Gelu Gemm Greater GreaterOrEqual GroupNormalization HardSigmoid Identity
    InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max
    MaxPool Mean Min Mul Neg Not Or Pad Pow PRelu Reciprocal ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Selu Shape Sigmoid Sin Slice Softmax Softplus
    Split Sqrt Squeeze Sub Sum Tanh Tile Transpose Unsqueeze Where"""
ACCEPTED = frozenset(_ACCEPTED.split())


def check_operators(model: onnx.ModelProto) -> None:
    """Refuse a graph with operators, domains or shapes that a robot's TensorRT may not take.

    Raises:
        OperatorError: names every such node and says what to do instead.
    """
    problems = [*_find_operators(model.graph), *_find_dynamic_shapes(model.graph)]
    if problems:
        raise OperatorError(
            "this graph is not for TensorRT:\n" + "\n".join(f"  {line}" for line in problems)
        )


def _find_operators(graph: onnx.GraphProto) -> Iterator[str]:
    for index, node in enumerate(graph.node):
        label = f"node {node.name or f'#{index}'} ({node.op_type} -> {', '.join(node.output)})"
        if node.domain not in ("", "ai.onnx"):
            yield (
                f"{label}: operators of domain {node.domain!r} run in onnxruntime only; export "
                "without onnxruntime's optimizations"
            )
        elif node.op_type in REFUSED or node.op_type.startswith("QLinear"):
            yield f"{label}: {REFUSED.get(node.op_type, _INT8)}"
        elif node.op_type not in ACCEPTED:
            yield (
                f"{label}: not among the operators tried with TensorRT; if its documentation "
                "lists it, add it to dualtalker/engine/operators.py"
            )
        for attribute in node.attribute:
            for inner in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                yield from _find_operators(inner)


def _find_dynamic_shapes(graph: onnx.GraphProto) -> Iterator[str]:
    for side, values in (("input", graph.input), ("output", graph.output)):
        for value in values:
            dims = value.type.tensor_type.shape.dim
            if any(not dim.HasField("dim_value") or dim.dim_value < 1 for dim in dims):
                shape = [dim.dim_param or dim.dim_value for dim in dims]
                yield f"{side} {value.name}: shape {shape} is not fixed; export with fixed shapes"
