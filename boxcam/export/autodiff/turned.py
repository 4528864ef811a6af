"""Weights in the order in which a gradient reads them: transposed, flipped, as a matrix.

A gradient graph computes them from the weights themselves, which it so shares with the forward graph in one file
(`boxcam.export.graphs.weights`) instead of holding them a second time. ONNX Runtime does that once, when it loads the
graph, as it does whatever depends on constants only; so runs cost what they would cost.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.ops import Operand, Ops
from boxcam.export.graphs.query import Array

_WORTH = 1 << 12
"""Bytes of weights of which a second copy is larger than the operators that would compute it."""
_FIRST = -(2**63) + 1
"""The end of a Slice that goes backwards as far as there is anything."""


def transposed(op: Ops, matrix: Array) -> Operand:
    """Of a matrix, the transpose.

    Args:
        op: writes the gradient graph.
        matrix: [A, B].
    """
    return _once(op, matrix, "transposed", lambda given: op.Transpose(given, perm=[1, 0]), lambda: matrix.T)


def kernel_matrix(op: Ops, weight: Array) -> Operand:
    """Weights of a convolution as a matrix from what the kernel sees to the channels: [O · …, I].

    Args:
        op: writes the gradient graph.
        weight: [O, I, …].
    """
    order = [0, *range(2, weight.ndim), 1]
    shape = [-1, weight.shape[1]]
    return _once(
        op,
        weight,
        "matrix",
        lambda given: op.Reshape(op.Transpose(given, perm=order), shape),
        lambda: weight.transpose(order).reshape(shape),
    )


def backward_kernel(op: Ops, weight: Array, group: int) -> Operand:
    """Weights of the Conv that carries a gradient back through a Conv of stride 1: [I, O/group, …], flipped.

    Args:
        op: writes the gradient graph.
        weight: of the Conv forward, [O, I/group, …].
        group: of both.
    """
    out, each, *kernel = weight.shape
    apart, together = [group, out // group, each, *kernel], [group * each, out // group, *kernel]
    spatial = range(2, weight.ndim)

    def written(given: ir.Value) -> ir.Value:
        if group == 1:
            given = op.Transpose(given, perm=[1, 0, *spatial])
        elif apart[1:3] != [1, 1]:
            order = [0, 2, 1, *(axis + 1 for axis in spatial)]
            given = op.Reshape(op.Transpose(op.Reshape(given, apart), perm=order), together)
        axes = [axis for axis, size in zip(spatial, kernel, strict=True) if size > 1]
        return (
            op.Slice(given, *([number] * len(axes) for number in (-1, _FIRST)), axes, [-1] * len(axes))
            if axes
            else given
        )

    def computed() -> Array:
        swapped = weight.reshape(apart).swapaxes(1, 2)
        return np.flip(swapped, tuple(range(3, swapped.ndim))).reshape(together)

    return _once(op, weight, f"backward {group}", written, computed)


def _once(
    op: Ops, weight: Array, what: str, written: Callable[[ir.Value], ir.Value], computed: Callable[[], Array]
) -> Operand:
    """Small weights turned; or what computes large ones, one time for each graph."""
    if weight.nbytes < _WORTH:
        return np.ascontiguousarray(computed())
    given = op.value(weight)
    assert given is not None
    known: dict[tuple[str, str], ir.Value] = op.graph.meta.setdefault("boxcam.turned", {})
    key = str(given.name), what
    if key not in known:
        known[key] = written(given)
    return known[key]
