"""ONNX operators in torch, one short function each: node, inputs → output.

Each takes the node, its inputs as tensors (None where left out) and its constant inputs as arrays (None where they are
not constant), and returns the output.  They are run under `torch.jit.trace`, so sizes that differ between runs must
come out of tensor operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
import torch.nn.functional as F

from boxcam.errors import UnsupportedOperatorError
from boxcam.export.graphs.query import attribute_of, describe_node, opset_of
from boxcam.export.torchscript.roi_align import roi_align
from boxcam.registry import Registry

Tensor = torch.Tensor
Inputs = Sequence[Any]  # tensors, or None where an optional input is left out
Constants = Sequence[npt.NDArray[Any] | None]
Operator = Callable[[ir.Node, Inputs, Constants], Tensor | tuple[Tensor, ...]]

TORCH_OPS: Registry[Operator] = Registry("operator in torch")

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
    return float(_required(node, constants, position).reshape(()))


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


@TORCH_OPS.register("Reshape")
def _reshape(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    copies = not attribute_of(node, "allowzero", 0)  # a length of 0 stands for that of the input
    if constants[1] is None:
        computed = list(torch.unbind(x[1]))
        front = min(len(computed), x[0].ndim) if copies else 0
        computed[:front] = [torch.where(n == 0, x[0].shape[axis], n) for axis, n in enumerate(computed[:front])]
        return torch.reshape(x[0], computed)  # type: ignore[arg-type]  # of tensors, so that a trace computes it anew
    shape = [int(size) for size in constants[1]]
    if copies:
        shape = [x[0].shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    result: Tensor = x[0].reshape(shape)
    return result


@TORCH_OPS.register("Flatten")
def _flatten(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    axis = int(attribute_of(node, "axis", 1))
    axis = axis + x[0].ndim if axis < 0 else axis
    result: Tensor = (
        x[0].reshape(1, -1) if axis == 0 else x[0].flatten(axis) if axis < x[0].ndim else x[0].unsqueeze(-1)
    )
    return result if axis <= 1 else result.flatten(0, axis - 1)


@TORCH_OPS.register("Squeeze")
def _squeeze(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    axes = _axes(node, constants)
    result: Tensor = x[0].squeeze() if axes is None else x[0].squeeze(tuple(axes))
    return result


@TORCH_OPS.register("Unsqueeze")
def _unsqueeze(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    axes = _axes(node, constants)
    assert axes is not None
    rank = x[0].ndim + len(axes)
    result: Tensor = x[0]
    for axis in sorted(a % rank for a in axes):
        result = result.unsqueeze(axis)
    return result


@TORCH_OPS.register("Transpose")
def _transpose(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    result: Tensor = x[0].permute(tuple(attribute_of(node, "perm") or reversed(range(x[0].ndim))))
    return result


@TORCH_OPS.register("Concat")
def _concat(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    return torch.cat(list(x), int(attribute_of(node, "axis")))


@TORCH_OPS.register("Split")
def _split(node: ir.Node, x: Inputs, constants: Constants) -> tuple[Tensor, ...]:
    axis = int(attribute_of(node, "axis", 0))
    sizes = attribute_of(node, "split")
    if sizes is None and len(x) > 1 and x[1] is not None:
        sizes = _required(node, constants, 1)
    if sizes is None:
        each = math.ceil(x[0].shape[axis] / len(node.outputs))
        return tuple(torch.split(x[0], each, axis))
    return tuple(torch.split(x[0], [int(s) for s in sizes], axis))


@TORCH_OPS.register("Slice")
def _slice(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    starts, ends = _required(node, constants, 1), _required(node, constants, 2)
    axes = range(len(starts)) if len(x) < 4 or x[3] is None else _required(node, constants, 3)
    steps = [1] * len(starts) if len(x) < 5 or x[4] is None else _required(node, constants, 4)
    result: Tensor = x[0]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 0:
            raise UnsupportedOperatorError(f"{describe_node(node)} with a negative step is not implemented in PyTorch.")
        index: list[slice] = [slice(None)] * result.ndim
        index[int(axis)] = slice(int(start), int(end), int(step))
        result = result[tuple(index)]
    return result


@TORCH_OPS.register("Gather")
def _gather(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    axis = int(attribute_of(node, "axis", 0)) % x[0].ndim
    indices = _from_the_start(x, constants, axis)
    picked: Tensor = x[0].index_select(axis, indices.reshape(-1))
    if indices.ndim == 1:
        return picked
    if indices.ndim == 0:
        return picked.squeeze(axis)
    return picked.unflatten(axis, tuple(indices.shape))


@TORCH_OPS.register("GatherElements")
def _gather_elements(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    axis = int(attribute_of(node, "axis", 0))
    return torch.gather(x[0], axis, _from_the_start(x, constants, axis))


@TORCH_OPS.register("GatherND")
def _gather_nd(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    if attribute_of(node, "batch_dims", 0):
        raise UnsupportedOperatorError(f"{describe_node(node)} with batch_dims is not implemented in PyTorch.")
    result: Tensor = x[0][torch.unbind(x[1], -1)]
    return result


@TORCH_OPS.register("ScatterND")
def _scatter_nd(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    _no_reduction(node)
    result: Tensor = x[0].index_put(torch.unbind(x[1], -1), x[2])
    return result


@TORCH_OPS.register("ScatterElements")
def _scatter_elements(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    _no_reduction(node)
    axis = int(attribute_of(node, "axis", 0))
    return torch.scatter(x[0], axis, _from_the_start(x, constants, axis), x[2])


def _from_the_start(x: Inputs, constants: Constants, axis: int) -> Tensor:
    """Indices with ONNX's negative ones counted from the end; only constants have them."""
    indices: Tensor = x[1]
    if constants[1] is None or not (constants[1] < 0).any():
        return indices
    return torch.where(indices < 0, indices + x[0].shape[axis], indices)


def _no_reduction(node: ir.Node) -> None:
    if attribute_of(node, "reduction", "none") != "none":
        raise UnsupportedOperatorError(f"{describe_node(node)} with a reduction is not implemented in PyTorch.")


@TORCH_OPS.register("Expand")
def _expand(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    shape = [int(size) for size in _required(node, constants, 1)]
    return torch.broadcast_to(x[0], torch.broadcast_shapes(x[0].shape, shape))


@TORCH_OPS.register("Tile")
def _tile(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    return torch.tile(x[0], tuple(int(r) for r in _required(node, constants, 1)))


@TORCH_OPS.register("Pad")
def _pad(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    mode = str(attribute_of(node, "mode", "constant"))
    if mode != "constant" or (len(x) > 3 and x[3] is not None):
        raise UnsupportedOperatorError(
            f"{describe_node(node)} with mode {mode!r} or axes is not implemented in PyTorch."
        )
    pads = attribute_of(node, "pads")
    sizes = [int(p) for p in (pads if pads is not None else _required(node, constants, 1))]
    rank = len(sizes) // 2
    flat = [size for axis in reversed(range(rank)) for size in (sizes[axis], sizes[axis + rank])]
    value = 0.0 if len(x) < 3 or x[2] is None else float(_required(node, constants, 2).reshape(()))
    return F.pad(x[0], flat, value=value)


@TORCH_OPS.register("Shape")
def _shape(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    start, end = attribute_of(node, "start", 0), attribute_of(node, "end")
    return torch.stack([torch.as_tensor(size, dtype=torch.int64) for size in x[0].shape])[start:end]


@TORCH_OPS.register("NonZero")
def _non_zero(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    return torch.nonzero(x[0]).T


@TORCH_OPS.register("ArgMax")
def _arg_max(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    axis, keep = int(attribute_of(node, "axis", 0)), bool(attribute_of(node, "keepdims", 1))
    if attribute_of(node, "select_last_index", 0):
        return x[0].shape[axis] - 1 - torch.argmax(torch.flip(x[0], [axis]), axis, keepdim=keep)
    return torch.argmax(x[0], axis, keepdim=keep)


def _reduction(function: Callable[..., Tensor]) -> Operator:
    def run(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
        axes = _axes(node, constants)
        if not axes:
            if attribute_of(node, "noop_with_empty_axes", 0):
                result: Tensor = x[0]
                return result
            axes = list(range(x[0].ndim))
        return function(x[0], tuple(axes), keepdim=bool(attribute_of(node, "keepdims", 1)))

    return run


TORCH_OPS.register("ReduceSum")(_reduction(torch.sum))
TORCH_OPS.register("ReduceMean")(_reduction(torch.mean))
TORCH_OPS.register("ReduceMax")(_reduction(torch.amax))
TORCH_OPS.register("ReduceL2")(_reduction(lambda x, axes, keepdim: torch.linalg.vector_norm(x, 2, axes, keepdim)))


@TORCH_OPS.register("Softmax")
def _softmax(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    return torch.softmax(x[0], int(attribute_of(node, "axis", -1)))


@TORCH_OPS.register("LogSoftmax")
def _log_softmax(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    return torch.log_softmax(x[0], int(attribute_of(node, "axis", -1)))


@TORCH_OPS.register("Gemm")
def _gemm(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    a = x[0].T if attribute_of(node, "transA", 0) else x[0]
    b = x[1].T if attribute_of(node, "transB", 0) else x[1]
    result: Tensor = torch.matmul(a, b) * float(attribute_of(node, "alpha", 1.0))
    if len(x) > 2 and x[2] is not None:
        result = result + x[2] * float(attribute_of(node, "beta", 1.0))
    return result


@TORCH_OPS.register("Conv")
def _conv(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    rank = x[1].ndim - 2
    strides, dilations = _spatial(node, "strides", rank), _spatial(node, "dilations", rank)
    padded = _padded(node, x[0], list(x[1].shape[2:]), strides, dilations, 0.0)
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[rank]
    bias = x[2] if len(x) > 2 else None
    return function(padded, x[1], bias, strides, 0, dilations, int(attribute_of(node, "group", 1)))


@TORCH_OPS.register("ConvTranspose")
def _conv_transpose(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    if x[1].ndim != 4 or attribute_of(node, "auto_pad", "NOTSET") != "NOTSET" or "output_shape" in node.attributes:
        raise UnsupportedOperatorError(f"{describe_node(node)}: only 2-D with explicit pads is implemented in PyTorch.")
    pads = list(attribute_of(node, "pads", [0, 0, 0, 0]))
    if pads[:2] != pads[2:]:
        raise UnsupportedOperatorError(f"{describe_node(node)} with asymmetric pads is not implemented in PyTorch.")
    bias = x[2] if len(x) > 2 else None
    extra = _spatial(node, "output_padding", 2, 0)
    groups, dilations = int(attribute_of(node, "group", 1)), _spatial(node, "dilations", 2)
    return F.conv_transpose2d(x[0], x[1], bias, _spatial(node, "strides", 2), pads[:2], extra, groups, dilations)


@TORCH_OPS.register("MaxPool")
def _max_pool(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    kernel, strides, dilations = _pool(node)
    padded = _padded(node, x[0], kernel, strides, dilations, -math.inf)
    result: Tensor = F.max_pool2d(padded, kernel, strides, 0, dilations)
    return result


@TORCH_OPS.register("AveragePool")
def _average_pool(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    kernel, strides, dilations = _pool(node)
    if dilations != [1, 1]:
        raise UnsupportedOperatorError(f"{describe_node(node)} with dilations is not implemented in PyTorch.")
    padded = _padded(node, x[0], kernel, strides, dilations, 0.0)
    pooled = F.avg_pool2d(padded, kernel, strides)
    if attribute_of(node, "count_include_pad", 0):
        return pooled
    ones = _padded(node, torch.ones_like(x[0][:1, :1]), kernel, strides, dilations, 0.0)
    return pooled / F.avg_pool2d(ones, kernel, strides)


def _pool(node: ir.Node) -> tuple[list[int], list[int], list[int]]:
    kernel = [int(k) for k in attribute_of(node, "kernel_shape")]
    if attribute_of(node, "ceil_mode", 0) or len(kernel) != 2:
        raise UnsupportedOperatorError(f"{describe_node(node)}: only 2-D without ceil_mode is implemented in PyTorch.")
    return kernel, _spatial(node, "strides", 2), _spatial(node, "dilations", 2)


@TORCH_OPS.register("GlobalAveragePool")
def _global_average_pool(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    return torch.mean(x[0], tuple(range(2, x[0].ndim)), keepdim=True)


@TORCH_OPS.register("BatchNormalization")
def _batch_norm(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    # Written out: torch's own CPU gradient of an evaluated BatchNorm is wrong for one image and permuted gradients.
    shape = [1, -1] + [1] * (x[0].ndim - 2)
    scale = x[1] / torch.sqrt(x[4] + float(attribute_of(node, "epsilon", 1e-5)))
    return x[0] * scale.reshape(shape) + (x[2] - x[3] * scale).reshape(shape)


@TORCH_OPS.register("InstanceNormalization")
def _instance_norm(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    axes = tuple(range(2, x[0].ndim))
    centred = x[0] - x[0].mean(axes, keepdim=True)
    variance = (centred * centred).mean(axes, keepdim=True)
    shape = [1, -1] + [1] * (x[0].ndim - 2)
    normal = centred / torch.sqrt(variance + float(attribute_of(node, "epsilon", 1e-5)))
    return normal * x[1].reshape(shape) + x[2].reshape(shape)


@TORCH_OPS.register("LayerNormalization")
def _layer_norm(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    axis = int(attribute_of(node, "axis", -1)) % x[0].ndim
    axes = tuple(range(axis, x[0].ndim))
    centred = x[0] - x[0].mean(axes, keepdim=True)
    variance = (centred * centred).mean(axes, keepdim=True)
    result = centred / torch.sqrt(variance + float(attribute_of(node, "epsilon", 1e-5))) * x[1]
    return result if len(x) < 3 or x[2] is None else result + x[2]


@TORCH_OPS.register("Resize")
def _resize(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    if "axes" in node.attributes:
        raise UnsupportedOperatorError(f"{describe_node(node)} with axes is not implemented in PyTorch.")
    before = [int(size) for size in x[0].shape]
    sizes = constants[3] if len(constants) > 3 else None
    scales = constants[2] if len(constants) > 2 else None
    if sizes is not None and sizes.size:
        after = [int(size) for size in sizes]
        factors = [a / b for a, b in zip(after, before, strict=True)]
    elif scales is not None and scales.size:
        factors = [float(scale) for scale in scales]
        after = [math.floor(b * f) for b, f in zip(before, factors, strict=True)]
    else:
        raise UnsupportedOperatorError(
            f"{describe_node(node)} computes its size, and only constant sizes are implemented."
        )
    result: Tensor = x[0]
    for axis, (old, new, factor) in enumerate(zip(before, after, factors, strict=True)):
        if old != new:
            result = _resize_axis(node, result, axis, old, new, factor)
    return result


def _resize_axis(node: ir.Node, x: Tensor, axis: int, old: int, new: int, factor: float) -> Tensor:
    how = str(attribute_of(node, "coordinate_transformation_mode", "half_pixel"))
    mode = str(attribute_of(node, "mode", "nearest"))
    index, scale = np.arange(new, dtype=np.float32), np.float32(factor)  # ONNX Runtime rounds ties in float32
    positions = {
        "half_pixel": (index + 0.5) / scale - 0.5,
        "pytorch_half_pixel": (index + 0.5) / scale - 0.5 if new > 1 else index * 0,
        "asymmetric": index / scale,
        "align_corners": index * (old - 1) / (new - 1) if new > 1 else index * 0,
    }
    if how not in positions or mode not in ("nearest", "linear") or attribute_of(node, "antialias", 0):
        raise UnsupportedOperatorError(
            f"{describe_node(node)} with mode {mode!r}, {how!r} is not implemented in PyTorch."
        )
    position = positions[how]
    if mode == "nearest":
        rounding: dict[str, Callable[[Any], Any]] = {
            "round_prefer_floor": lambda p: np.ceil(p - 0.5),
            "round_prefer_ceil": lambda p: np.floor(p + 0.5),
            "floor": np.floor,
            "ceil": np.ceil,
        }
        nearest_mode = str(attribute_of(node, "nearest_mode", "round_prefer_floor"))
        nearest = np.clip(rounding[nearest_mode](position), 0, old - 1).astype(np.int64)
        return x.index_select(axis, torch.from_numpy(nearest))
    position = np.clip(position, 0, old - 1)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, old - 1)
    shape = [1] * x.ndim
    shape[axis] = new
    share = torch.from_numpy((position - low).reshape(shape)).to(x.dtype)
    below, above = (x.index_select(axis, torch.from_numpy(i)) for i in (low, high))
    return below * (1 - share) + above * share


@TORCH_OPS.register("GridSample")
def _grid_sample(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    mode, padding = str(attribute_of(node, "mode", "linear")), str(attribute_of(node, "padding_mode", "zeros"))
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)  # the names since opset 20
    return F.grid_sample(x[0], x[1], mode, padding, bool(attribute_of(node, "align_corners", 0)))


@TORCH_OPS.register("RoiAlign")
def _roi_align(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    mode = str(attribute_of(node, "mode", "avg"))
    if mode != "avg" or x[0].shape[0] != 1:
        raise UnsupportedOperatorError(f"{describe_node(node)}: only 'avg' on one image is implemented in PyTorch.")
    how = attribute_of(node, "coordinate_transformation_mode")
    if how is None:
        how = "half_pixel" if _since_16(node) else "output_half_pixel"
    result: Tensor = roi_align(
        x[0],
        x[1],
        int(attribute_of(node, "output_height", 1)),
        int(attribute_of(node, "output_width", 1)),
        float(attribute_of(node, "spatial_scale", 1.0)),
        int(attribute_of(node, "sampling_ratio", 0)),
        str(how) == "half_pixel",
    )
    return result


def _since_16(node: ir.Node) -> bool:
    return node.graph is not None and opset_of(node.graph) >= 16


def _spatial(node: ir.Node, name: str, rank: int, default: int = 1) -> list[int]:
    return [int(v) for v in attribute_of(node, name, [default] * rank)]


def _padded(
    node: ir.Node, x: Tensor, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], value: float
) -> Tensor:
    """The input with the node's padding put around its spatial axes."""
    rank = len(kernel)
    how = str(attribute_of(node, "auto_pad", "NOTSET"))
    pads = [int(p) for p in attribute_of(node, "pads", [0] * 2 * rank)]
    if how in ("SAME_UPPER", "SAME_LOWER"):
        begin, end = [], []
        for axis in range(rank):
            size, stride = int(x.shape[2 + axis]), strides[axis]
            needed = (math.ceil(size / stride) - 1) * stride + dilations[axis] * (kernel[axis] - 1) + 1 - size
            small, large = max(needed, 0) // 2, max(needed, 0) - max(needed, 0) // 2
            begin.append(small if how == "SAME_UPPER" else large)
            end.append(large if how == "SAME_UPPER" else small)
        pads = [*begin, *end]
    if not any(pads) or how == "VALID":
        return x
    flat = [pads[axis + side * rank] for axis in reversed(range(rank)) for side in (0, 1)]
    return F.pad(x, flat, value=value)


def _axes(node: ir.Node, constants: Constants) -> list[int] | None:
    if "axes" in node.attributes:
        return [int(a) for a in attribute_of(node, "axes")]
    if len(node.inputs) < 2 or node.inputs[1] is None:
        return None
    return [int(a) for a in _required(node, constants, 1).reshape(-1)]


def _required(node: ir.Node, constants: Constants, position: int) -> npt.NDArray[Any]:
    found = constants[position]
    if found is None:
        raise UnsupportedOperatorError(
            f"{describe_node(node)} computes its input {position}, and only a constant one is implemented in PyTorch."
        )
    return found
