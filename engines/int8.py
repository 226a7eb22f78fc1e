"""int8 weights for onnxruntime on a CPU: rounding them, and graphs that hold them.

Which products get them is chosen in `int8_search`. A product's weights are "stored" in int8, from
which onnxruntime makes float32 as it loads (a small file, the speed of fp32), or the product is
also "computed" in int8, with activations quantized as they come (fast, and less exact).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engines.half_precision import POSE_PREFIX, find_log_ancestors

if TYPE_CHECKING:
    import onnx

LEVELS = 255  # of an unsigned byte; signed weights saturate on x86 without VNNI
_DAMPING = 0.01  # of the mean power of the inputs; the paper's value


@dataclass(frozen=True)
class Rounded:
    """Weights `[inputs, outputs]` in bytes, with one grid for each output."""

    bytes: np.ndarray  # [inputs, outputs] uint8
    zeros: np.ndarray  # [outputs] uint8, the byte that stands for 0
    scales: np.ndarray  # [outputs] float32, one step of the grid

    @property
    def floats(self) -> np.ndarray:
        """The weights that the bytes stand for, float32."""
        return (self.bytes.astype(np.float32) - self.zeros) * self.scales


def find_products(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Return the weights that may be int8, each with the values that it is multiplied with.

    These are constant matrices of MatMul nodes behind the spectrum, which is too sensitive: its
    squares and its logarithm blow errors up. What multiplies an input of the graph as it is, is
    the table of styles: rounded for one style it would be wrong for the others.
    """
    import onnx

    matrices = {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
    }
    spectrum = find_log_ancestors(model.graph)
    inputs = {value.name for value in model.graph.input}
    products: dict[str, list[str]] = {}
    barred: set[str] = set()
    for index, node in enumerate(model.graph.node):
        for place, name in enumerate(node.input):
            if name not in matrices:
                continue
            fits = index not in spectrum and not node.name.startswith(POSE_PREFIX)
            fits = fits and node.input[0] not in inputs
            if node.op_type == "MatMul" and place == 1 and fits:
                products.setdefault(name, []).append(node.input[0])
            else:
                barred.add(name)
    return {name: values for name, values in products.items() if name not in barred}


def round_weights(weights: np.ndarray, moments: np.ndarray) -> Rounded:
    """Round weights `[inputs, outputs]` so that the outputs change least, not the weights.

    `moments` `[inputs, inputs]` is the sum of the products of the inputs with each other over real
    speech. After each row is rounded, the rows to come are moved to make up for its error, as far
    as their inputs go together: GPTQ (Frantar et al., ICLR 2023, arXiv 2210.17323, algorithm 1).
    """
    grid = _make_grid(weights)
    power = np.diag(moments)
    order = np.argsort(-power, kind="stable")  # the loudest inputs first, where all can still move
    rest = weights[order].astype(np.float64)
    damped = moments[np.ix_(order, order)] + np.diag(
        np.full(len(weights), _DAMPING * power.mean() + 1e-12)
    )
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    levels = np.empty_like(rest)
    for row in range(len(rest)):
        levels[row] = np.clip(np.round(rest[row] / grid.scales) + grid.zeros, 0, LEVELS)
        error = rest[row] - (levels[row] - grid.zeros) * grid.scales
        rest[row + 1 :] -= np.outer(factor[row, row + 1 :], error / factor[row, row])
    result = np.empty(levels.shape, np.uint8)
    result[order] = levels
    return Rounded(result, grid.zeros, grid.scales)


def _make_grid(weights: np.ndarray) -> Rounded:
    low, high = np.minimum(weights.min(axis=0), 0), np.maximum(weights.max(axis=0), 0)
    scales = np.where(high > low, (high - low) / LEVELS, 1.0).astype(np.float32)
    zeros = np.round(-low / scales).astype(np.uint8)
    return Rounded(np.empty((0, len(scales)), np.uint8), zeros, scales)


def write_int8(
    model: onnx.ModelProto, rounded: dict[str, Rounded], computed: Collection[str]
) -> onnx.ModelProto:
    """Return a copy with the weights of `rounded` in bytes; `computed` also run in int8."""
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for tensor in graph.initializer:
        weights = rounded.get(tensor.name)
        if weights is not None:
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights.bytes, tensor.name))
    nodes: list[onnx.NodeProto] = []
    for name, weights in rounded.items():
        for part, values in (("zeros", weights.zeros), ("scales", weights.scales)):
            graph.initializer.append(onnx.numpy_helper.from_array(values, f"{name}_{part}"))
        if name not in computed:
            nodes += _make_unpacking(name)
    for node in model.graph.node:
        name = node.input[1] if len(node.input) > 1 else ""
        if name not in rounded or node.op_type != "MatMul":
            nodes.append(node)
        elif name in computed:
            nodes += _make_int8_product(node)
        else:
            unpacked = onnx.helper.make_node(
                "MatMul", [node.input[0], f"{name}_floats"], node.output, name=node.name
            )
            nodes.append(unpacked)
    del graph.node[:], graph.value_info[:]  # the exporter notes the weights' old types there
    graph.node.extend(nodes)
    onnx.checker.check_model(result, full_check=True)
    return result


def _make_unpacking(name: str) -> list[onnx.NodeProto]:
    """Plain operators on constants: onnxruntime folds them, which it does not do with QDQ."""
    from onnx import TensorProto, helper

    return [
        helper.make_node("Cast", [name], [f"{name}_wide"], to=TensorProto.FLOAT),
        helper.make_node("Cast", [f"{name}_zeros"], [f"{name}_origin"], to=TensorProto.FLOAT),
        helper.make_node("Sub", [f"{name}_wide", f"{name}_origin"], [f"{name}_steps"]),
        helper.make_node("Mul", [f"{name}_steps", f"{name}_scales"], [f"{name}_floats"]),
    ]


def _make_int8_product(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The pattern that onnxruntime fuses into one operator (DynamicQuantizeMatMul)."""
    from onnx import TensorProto, helper

    (value, name), out = node.input, node.output[0]
    quantized = [f"{out}_{part}" for part in ("bytes", "scale", "zero")]
    return [
        helper.make_node("DynamicQuantizeLinear", [value], quantized, name=f"{out}_quantize"),
        helper.make_node(
            "MatMulInteger",
            [quantized[0], name, quantized[2], f"{name}_zeros"],
            [f"{out}_sum"],
            name=node.name,
        ),
        helper.make_node("Cast", [f"{out}_sum"], [f"{out}_wide"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [quantized[1], f"{name}_scales"], [f"{out}_step"]),
        helper.make_node("Mul", [f"{out}_wide", f"{out}_step"], [out]),
    ]
