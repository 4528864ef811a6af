"""Shapes that a file states and that are not those of its graph, as tools leave them that change an input's size.

ONNX Runtime merges what is stated and what it infers, and lives with a contradiction; onnx's shape inference does not.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.query import static_shape
from boxcam.export.passes.dynamic_size import forget_shapes

Sizes = tuple[int | None, ...]


def forget_stale_shapes(model: ir.Model) -> None:
    """Forget all stated shapes of values that nodes make, outputs among them, if one of them contradicts the graph.

    What contradicts it shows a copy whose shapes are inferred anew, from the inputs alone.
    """
    stated = {value: static_shape(value) for node in model.graph for value in node.outputs}
    work = clone_model(model)
    forget_shapes(work.graph)
    passes.ShapeInferencePass()(work)
    inferred = {str(value.name): static_shape(value) for node in work.graph for value in node.outputs}
    if any(contradict(shape, inferred.get(str(value.name))) for value, shape in stated.items()):
        forget_shapes(model.graph)


def contradict(one: Sizes | None, other: Sizes | None) -> bool:
    """Whether two shapes cannot be of one value."""
    if one is None or other is None:
        return False
    return len(one) != len(other) or any(None not in (a, b) and a != b for a, b in zip(one, other, strict=True))
