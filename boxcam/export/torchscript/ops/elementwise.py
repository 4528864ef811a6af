"""Operators that compute each number of those at the same place."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import torch
import torch.nn.functional as F

from boxcam.errors import UnsupportedOperatorError
from boxcam.export.graphs.query import attribute_of, describe_node
from boxcam.export.torchscript.ops.table import TORCH_OPS, Constants, Inputs, Operator, Tensor, required

_DTYPES = {
    ir.DataType.INT64: torch.int64,
    ir.DataType.INT32: torch.int32,
    ir.DataType.INT8: torch.int8,
    ir.DataType.UINT8: torch.uint8,
    ir.DataType.BOOL: torch.bool,
}


def _simple(name: str, function: Callable[..., Tensor]) -> None:
    TORCH_OPS.register(name)(lambda node, x, constants: function(*x))


for _name, _function in {
    "Abs": torch.abs, "Add": torch.add, "And": torch.logical_and, "Div": None, "Equal": torch.eq, "Erf": torch.erf,
    "Exp": torch.exp, "Greater": torch.gt, "GreaterOrEqual": torch.ge, "HardSwish": F.hardswish,
    "Identity": lambda x: x, "Less": torch.lt, "LessOrEqual": torch.le, "Log": torch.log, "MatMul": torch.matmul,
    "Mish": F.mish, "Mul": torch.mul, "Neg": torch.neg, "Not": torch.logical_not, "Or": torch.logical_or,
    "Pow": torch.pow, "Reciprocal": torch.reciprocal, "Relu": torch.relu, "Sigmoid": torch.sigmoid,
    "Softplus": F.softplus, "Sqrt": torch.sqrt, "Sub": torch.sub, "Tanh": torch.tanh,
}.items():  # fmt: skip
    if _function is not None:
        _simple(_name, _function)


def _fold(function: Callable[[Tensor, Tensor], Tensor], scale: bool = False) -> Operator:
    def run(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
        result: Tensor = x[0]
        for other in x[1:]:
            result = function(result, other)
        return result / len(x) if scale else result

    return run


TORCH_OPS.register("Max")(_fold(torch.maximum))
TORCH_OPS.register("Min")(_fold(torch.minimum))
TORCH_OPS.register("Sum")(_fold(torch.add))
TORCH_OPS.register("Mean")(_fold(torch.add, scale=True))


@TORCH_OPS.register("Div")
def _div(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    return torch.div(x[0], x[1]) if x[0].is_floating_point() else torch.div(x[0], x[1], rounding_mode="trunc")


@TORCH_OPS.register("Mod")
def _mod(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    return torch.fmod(x[0], x[1]) if attribute_of(node, "fmod", 0) else torch.remainder(x[0], x[1])


@TORCH_OPS.register("Clip")
def _clip(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    low, high = _bound(node, constants, 1, "min"), _bound(node, constants, 2, "max")
    if low is not None and high is not None and x[0].is_floating_point():
        return F.hardtanh(x[0], low, high)  # zero gradient at both bounds, as ReLU6 has in torch
    if low is None and high is None:
        result: Tensor = x[0]
        return result
    if not x[0].is_floating_point():  # torch turns integers into floats where a bound is one
        return torch.clamp(x[0], *(None if bound is None else int(bound) for bound in (low, high)))
    return torch.clamp(x[0], low, high)


def _bound(node: ir.Node, constants: Constants, position: int, name: str) -> float | None:
    if name in node.attributes:
        return float(node.attributes[name].as_float())
    if len(node.inputs) <= position or node.inputs[position] is None:
        return None
    return float(required(node, constants, position).reshape(()))


@TORCH_OPS.register("LeakyRelu")
def _leaky_relu(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    return F.leaky_relu(x[0], float(attribute_of(node, "alpha", 0.01)))


@TORCH_OPS.register("PRelu")
def _prelu(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    return torch.where(x[0] > 0, x[0], x[0] * x[1])


@TORCH_OPS.register("Elu")
def _elu(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    return F.elu(x[0], float(attribute_of(node, "alpha", 1.0)))


@TORCH_OPS.register("Gelu")
def _gelu(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    return F.gelu(x[0], approximate=str(attribute_of(node, "approximate", "none")))


@TORCH_OPS.register("HardSigmoid")
def _hard_sigmoid(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    alpha, beta = float(attribute_of(node, "alpha", 0.2)), float(attribute_of(node, "beta", 0.5))
    return F.hardtanh(alpha * x[0] + beta, 0.0, 1.0)


@TORCH_OPS.register("Cast")
def _cast(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    target = ir.DataType(node.attributes["to"].as_int())
    if target in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        return x[0] if x[0].is_floating_point() else torch.mul(x[0], x[-1])  # x[-1]: a one of the module's own dtype
    if target not in _DTYPES:
        raise UnsupportedOperatorError(f"{describe_node(node)} to {target.name} is not implemented in PyTorch.")
    result: Tensor = x[0].to(_DTYPES[target])
    return result


@TORCH_OPS.register("Where")
def _where(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    return torch.where(x[0], x[1], x[2])
