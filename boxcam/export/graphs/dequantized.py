"""Constants of a quantized model as the integers that its file has, and not only as the real numbers that they mean.

What is computed of the graph sees real numbers: folded, transposed, multiplied. A file of weights has the integers, of
which four take the place of one real number (`boxcam.export.graphs.weights`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.query import Array, attribute_of, constant_array

_WHOLE = ("i", "u")


@dataclass(frozen=True, eq=False)
class Dequantized:
    """A constant that DequantizeLinear makes.

    Attributes:
        integers: as the file has them.
        scale: float32, of a shape that is broadcast to theirs.
        zero: float32, the same; None for 0.
    """

    integers: Array
    scale: Array
    zero: Array | None

    def real(self) -> Array:
        """(integers - zero) x scale, float32, each step rounded as ONNX Runtime rounds it."""
        numbers = self.integers.astype(np.float32)
        if self.zero is not None:
            numbers = numbers - self.zero
        found: Array = (numbers * self.scale).astype(np.float32)
        return found


def dequantized(node: ir.Node) -> Dequantized | None:
    """What a DequantizeLinear makes of constants; None of what is computed, or has a scale for each block."""
    integers, scale, zero = (constant_array(node.inputs[k]) if k < len(node.inputs) else None for k in range(3))
    if integers is None or scale is None or attribute_of(node, "block_size", 0):
        return None
    axis = int(attribute_of(node, "axis", 1))
    centre = None if zero is None or not zero.any() else _along(zero.astype(np.float32), integers.ndim, axis)
    return Dequantized(integers, _along(scale.astype(np.float32), integers.ndim, axis), centre)


def dequantized_constants(graph: ir.Graph) -> Iterator[Dequantized]:
    """All of a graph that are of numpy's own whole numbers, of one byte or two."""
    for node in graph.all_nodes():
        found = dequantized(node) if node.op_type == "DequantizeLinear" else None
        if found is not None and found.integers.dtype.kind in _WHOLE and found.integers.itemsize < 4:
            yield found


def _along(given: Array, rank: int, axis: int) -> Array:
    return given.reshape(()) if given.size == 1 else given.reshape([-1] + [1] * (rank - 1 - axis % rank))
