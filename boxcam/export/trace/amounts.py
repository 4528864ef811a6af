"""What is known of integers that a graph computes and puts into one list, element by element.

Exporters write the pads of an axis that nothing is padded on as zeros between computed ones, and turn the list around.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from boxcam.export.graphs.query import attribute_of, constant_array, static_shape

Amounts = npt.NDArray[np.object_]
"""Integers, and None where one is not known."""


def amounts(value: ir.Value) -> Amounts | None:
    """The elements of an integer value, in its shape; None if not even that is known."""
    constant = constant_array(value)
    if constant is not None:
        return constant.astype(object)
    node = value.producer()
    if node is not None and node.domain == "" and node.op_type in _MOVES:
        parts = [None if i is None else amounts(i) for i in node.inputs]
        moved = _MOVES[node.op_type](node, parts)
        if moved is not None:
            return moved
    shape = static_shape(value)
    if shape is None or None in shape:
        return None
    return np.full([size for size in shape if size is not None], None, object)


def _concat(node: ir.Node, parts: list[Amounts | None]) -> Amounts | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known, axis=attribute_of(node, "axis")) if len(known) == len(parts) else None


def _reshape(node: ir.Node, parts: list[Amounts | None]) -> Amounts | None:
    data, sizes = parts
    if data is None or sizes is None or None in sizes or 0 in sizes:
        return None
    return data.reshape([int(size) for size in sizes])


def _transpose(node: ir.Node, parts: list[Amounts | None]) -> Amounts | None:
    return None if parts[0] is None else np.transpose(parts[0], attribute_of(node, "perm"))


def _slice(node: ir.Node, parts: list[Amounts | None]) -> Amounts | None:
    if any(part is None or None in part for part in parts[1:]) or parts[0] is None or len(parts) < 3:
        return None
    starts, ends, *rest = ([int(number) for number in part] for part in parts[1:] if part is not None)
    axes = rest[0] if rest else range(len(starts))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    index: list[Any] = [slice(None)] * parts[0].ndim
    for start, end, step, axis in zip(starts, ends, steps, axes, strict=True):
        size = parts[0].shape[axis]
        # ONNX's end of a slice that runs back to the first element lies before -size, where Python wants None.
        index[axis] = slice(start, None if step < 0 and end < -size else end, step)
    found: Amounts = parts[0][tuple(index)]
    return found


def _flat(node: ir.Node, parts: list[Amounts | None]) -> Amounts | None:
    """Squeeze and Unsqueeze of a list of one: all that a list of integers is put together from."""
    shape = static_shape(node.outputs[0])
    if parts[0] is None or shape is None or None in shape:
        return None
    return parts[0].reshape([size for size in shape if size is not None])


def _same(node: ir.Node, parts: list[Amounts | None]) -> Amounts | None:
    return parts[0]


_MOVES: dict[str, Callable[[ir.Node, list[Amounts | None]], Amounts | None]] = {
    "Cast": _same,
    "Concat": _concat,
    "Identity": _same,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _flat,
    "Transpose": _transpose,
    "Unsqueeze": _flat,
}
