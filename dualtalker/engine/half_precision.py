"""Puts fp16 into an ONNX graph: weights and casts, for strongly typed TensorRT networks.

TensorRT 11 has no fp16 flag any more: the precision is the graph's own. Matrix products and
convolutions, and the cheap operators between them, run in fp16; in fp32 stay

- normalizations, softmax, reductions and powers, which overflow or lose their small differences;
- everything that leads to a logarithm: the spectrum's squares exceed fp16's 65504;
- whatever follows the last matrix product, down to the outputs: it costs nothing;
- audio, motion and states, so that an engine of either precision is fed alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dualtalker.errors import DualtalkerError

if TYPE_CHECKING:
    import onnx

PRODUCTS = frozenset(("MatMul", "Gemm", "Conv", "ConvTranspose"))
# Run in fp16 where all their inputs are fp16 already.
_FOLLOWERS = """
    Add Clip Concat Div Elu Erf Expand Flatten Gather Gelu Identity LeakyRelu Mul Neg Pad Relu
    Reshape Sigmoid Slice Split Squeeze Sub Tanh Transpose Unsqueeze Where"""
FOLLOWERS = frozenset(_FOLLOWERS.split())
FP16_LARGEST = 65504.0


class PrecisionError(DualtalkerError):
    """The graph does not fit into the precision asked for."""


def convert_to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a float32 model with its matrix products in fp16; inputs and outputs stay.

    Raises:
        PrecisionError: a weight lies beyond fp16's range, or the model is not a float32 one.
    """
    import onnx

    model = onnx.shape_inference.infer_shapes(_lift_constants(model), strict_mode=True)
    rewriter = _Rewriter(model, choose_fp16_nodes(model.graph))
    if not rewriter.half:
        raise PrecisionError("no matrix product of this graph could be turned into fp16")
    result = rewriter.rewrite()
    onnx.checker.check_model(result, full_check=True)
    return result


def find_log_ancestors(graph: onnx.GraphProto) -> set[int]:
    """Return the indices of all nodes whose output reaches a logarithm: the log-mel front end."""
    wanted: set[str] = set()
    found = set()
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if node.op_type == "Log" or wanted.intersection(node.output):
            wanted.update(node.input)
            found.add(index)
    return found


def choose_fp16_nodes(graph: onnx.GraphProto) -> set[int]:
    """Return the indices of the nodes that run in fp16; the module says which these are."""
    spectrum = find_log_ancestors(graph)
    tail = _find_tail(graph)
    constants = {tensor.name for tensor in graph.initializer}
    half_values: set[str] = set()
    chosen = set()
    for index, node in enumerate(graph.node):
        if index in spectrum or index in tail:
            continue
        data = [name for name in _float_inputs(graph, node) if name not in constants]
        follows = node.op_type in FOLLOWERS and data and half_values.issuperset(data)
        if node.op_type in PRODUCTS or follows:
            chosen.add(index)
            half_values.update(node.output)
    return chosen


def _find_tail(graph: onnx.GraphProto) -> set[int]:
    """Nodes after which no matrix product comes."""
    before_product: set[str] = set()
    tail = set()
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if node.op_type in PRODUCTS or before_product.intersection(node.output):
            before_product.update(node.input)
        else:
            tail.add(index)
    return tail


# Inputs that are indices or shapes, by operator and position; all others are data.
_INDEX_INPUTS = {
    "Slice": (1, 2, 3, 4),
    "Reshape": (1,),
    "Expand": (1,),
    "Gather": (1,),
    "Split": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    "Pad": (1, 3),
    "Where": (0,),
}


def _float_inputs(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[str]:
    skipped = _INDEX_INPUTS.get(node.op_type, ())
    return [name for i, name in enumerate(node.input) if name and i not in skipped]


def _lift_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn Constant nodes into initializers, so that there is one kind of weight."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = []
    for node in copy.graph.node:
        tensors = [a.t for a in node.attribute if a.name == "value"]
        if node.op_type == "Constant" and tensors:
            tensors[0].name = node.output[0]
            copy.graph.initializer.append(tensors[0])
        else:
            kept.append(node)
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return copy


class _Rewriter:
    """Copies a graph node by node, with casts where the precision changes."""

    def __init__(self, model: onnx.ModelProto, half: set[int]) -> None:
        import onnx

        self.model, self.half = model, half
        self._onnx = onnx
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._outputs = {value.name for value in model.graph.output}
        self._is_half: dict[str, bool] = {}  # of every float value, once it is made
        self._copies: dict[tuple[str, bool], str] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._new_weights: dict[str, onnx.TensorProto] = {}

    def rewrite(self) -> onnx.ModelProto:
        graph = self.model.graph
        for value in graph.input:
            self._is_half[value.name] = False
        for index, node in enumerate(graph.node):
            self._copy(node, index in self.half)
        for name in sorted(self._outputs):
            if self._is_half.get(name):
                self._cast(f"{name}_fp16", name, self._onnx.TensorProto.FLOAT)
        result = self._onnx.ModelProto()
        result.CopyFrom(self.model)
        del result.graph.node[:], result.graph.initializer[:], result.graph.value_info[:]
        result.graph.node.extend(self._nodes)
        result.graph.initializer.extend(self._new_weights.values())
        return result

    def _copy(self, node: onnx.NodeProto, half: bool) -> None:
        copy = self._onnx.NodeProto()
        copy.CopyFrom(node)
        skipped = _INDEX_INPUTS.get(node.op_type, ())
        for i, name in enumerate(node.input):
            if name and i not in skipped:
                copy.input[i] = self._take(name, half)
            elif name in self._weights:
                self._new_weights[name] = self._weights[name]
        # Casts and comparisons give no float, but only a half node's outputs are ever looked at.
        for i, name in enumerate(node.output):
            self._is_half[name] = half
            if half and name in self._outputs:
                copy.output[i] = f"{name}_fp16"
        self._nodes.append(copy)

    def _take(self, name: str, half: bool) -> str:
        """Return the name under which `name` is had in the precision wanted."""
        types = self._onnx.TensorProto
        weight = self._weights.get(name)
        if weight is not None:
            if not half or weight.data_type != types.FLOAT:
                self._new_weights[name] = weight
                return name
            return self._halve(name, weight)
        own = f"{name}_fp16" if self._is_half[name] and name in self._outputs else name
        if self._is_half[name] == half:
            return own
        key = (name, half)
        if key not in self._copies:
            self._copies[key] = f"{name}_as_{'fp16' if half else 'fp32'}"
            self._cast(own, self._copies[key], types.FLOAT16 if half else types.FLOAT)
        return self._copies[key]

    def _halve(self, name: str, weight: onnx.TensorProto) -> str:
        halved = f"{name}_fp16"
        if halved not in self._new_weights:
            values = self._onnx.numpy_helper.to_array(weight)
            largest = float(np.abs(values).max(initial=0.0))
            if not largest <= FP16_LARGEST:
                raise PrecisionError(
                    f"weight {name} holds {largest:g}, fp16 reaches {FP16_LARGEST:g}: build fp32"
                )
            tensor = self._onnx.numpy_helper.from_array(values.astype(np.float16), halved)
            self._new_weights[halved] = tensor
        return halved

    def _cast(self, source: str, target: str, kind: int) -> None:
        make = self._onnx.helper.make_node
        self._nodes.append(make("Cast", [source], [target], name=f"cast_{target}", to=kind))
