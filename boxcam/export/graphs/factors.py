"""Factors of scores that are the same for all classes, such as objectness."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import all_values, static_shape


def with_factors(
    model: ir.Model, factors: Sequence[tuple[ir.Value, int]], change: Callable[[Ops, ir.Value], ir.Value | None]
) -> ir.Model:
    """A copy of a detector with other factors; those inside of an If, or that widen the product, stay as they are.

    Args:
        model: the detector.
        factors: of products, what each makes, and which of its inputs is the same for all classes.
        change: writes what is to stand in the place of a factor.
    """
    copy = clone_model(model)
    op, by_name = Ops(copy.graph, "boxcam.factor"), {str(value.name): value for value in all_values(copy.graph)}
    for made, index in factors:
        product = by_name.get(str(made.name))
        node = None if product is None else product.producer()
        kept, factor = (None, None) if node is None else (node.inputs[1 - index], node.inputs[index])
        if node is None or product is None or kept is None or factor is None:
            continue
        if kept.dtype == ir.DataType.FLOAT and static_shape(kept) == static_shape(product):
            node.replace_input_with(index, change(op, factor))
    copy.graph.sort()
    return copy
