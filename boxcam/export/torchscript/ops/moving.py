"""Operators that move numbers about, or tell sizes and places."""

from __future__ import annotations

import math

import onnx_ir as ir
import torch
import torch.nn.functional as F

from boxcam.errors import UnsupportedOperatorError
from boxcam.export.graphs.query import attribute_of, describe_node
from boxcam.export.torchscript.ops.table import TORCH_OPS, Constants, Inputs, Tensor, axes_asked, required


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
    axes = axes_asked(node, constants)
    result: Tensor = x[0].squeeze() if axes is None else x[0].squeeze(tuple(axes))
    return result


@TORCH_OPS.register("Unsqueeze")
def _unsqueeze(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    axes = axes_asked(node, constants)
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
        sizes = required(node, constants, 1)
    if sizes is None:
        each = math.ceil(x[0].shape[axis] / len(node.outputs))
        return tuple(torch.split(x[0], each, axis))
    return tuple(torch.split(x[0], [int(s) for s in sizes], axis))


@TORCH_OPS.register("Slice")
def _slice(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    starts, ends = required(node, constants, 1), required(node, constants, 2)
    axes = range(len(starts)) if len(x) < 4 or x[3] is None else required(node, constants, 3)
    steps = [1] * len(starts) if len(x) < 5 or x[4] is None else required(node, constants, 4)
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
    shape = [int(size) for size in required(node, constants, 1)]
    return torch.broadcast_to(x[0], torch.broadcast_shapes(x[0].shape, shape))


@TORCH_OPS.register("Tile")
def _tile(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    return torch.tile(x[0], tuple(int(r) for r in required(node, constants, 1)))


@TORCH_OPS.register("Pad")
def _pad(node: ir.Node, x: Inputs, constants: Constants) -> Tensor:
    mode = str(attribute_of(node, "mode", "constant"))
    if mode != "constant" or (len(x) > 3 and x[3] is not None):
        raise UnsupportedOperatorError(
            f"{describe_node(node)} with mode {mode!r} or axes is not implemented in PyTorch."
        )
    pads = attribute_of(node, "pads")
    sizes = [int(p) for p in (pads if pads is not None else required(node, constants, 1))]
    rank = len(sizes) // 2
    flat = [size for axis in reversed(range(rank)) for size in (sizes[axis], sizes[axis + rank])]
    value = 0.0 if len(x) < 3 or x[2] is None else float(required(node, constants, 2).reshape(()))
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
