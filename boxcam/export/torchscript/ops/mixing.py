"""Operators that compute each number of several: sums, products with weights, windows, normalisations, samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
import torch.nn.functional as F

from boxcam.errors import UnsupportedOperatorError
from boxcam.export.graphs.query import attribute_of, describe_node, opset_of
from boxcam.export.torchscript.ops.table import TORCH_OPS, Constants, Inputs, Operator, Tensor, axes_asked
from boxcam.export.torchscript.roi_align import roi_align


def _reduction(function: Callable[..., Tensor]) -> Operator:
    def run(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
        axes = axes_asked(node, constants)
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
