"""Models whose image has no fixed height and width: each image then has a size of its own.

Their graphs are traced and differentiated as they are, with sizes that only a run tells. What needs numbers (where
cells lie, which tensors are maps) is read off a copy for an image of one size: strides and centres are the same for
all.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.errors import ExportError
from boxcam.export.autodiff.rule import OTHER_ENGINE
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.query import Array, static_shape

ADVICE = "Fix it with shape=, such as shape=(640, 640)."


def fixed(model: ir.Model, feeds: Mapping[str, Array]) -> ir.Model:
    """A copy of a model for images of the size of one that is given; the model itself, if no size of it is dynamic."""
    opened = [value for value in model.graph.inputs if None in (static_shape(value) or (None,))]
    if not opened:
        return model
    copy = clone_model(model)
    for value in copy.graph.inputs:
        value.shape = ir.Shape(feeds[str(value.name)].shape)
    forget_shapes(copy.graph)
    passes.ShapeInferencePass()(copy)
    return copy


def forget_shapes(graph: ir.Graph) -> None:
    """Shapes with names for sizes are to be inferred anew, when the sizes are known."""
    for node in graph.all_nodes():
        for value in node.outputs:
            value.shape = None


def told(refusal: str) -> str:
    """What to say of an operator that was refused: no other engine has dynamic sizes, and a fixed size may help."""
    return (
        f"{refusal.replace(f', {OTHER_ENGINE}', '')} The input size is dynamic, which not every operator supports."
        f" {ADVICE}"
    )


def engine(wanted: str) -> str:
    """The engine that a gradient is built for, of one that was asked for.

    Raises:
        ExportError: it cannot be.
    """
    if wanted not in ("auto", "onnx"):
        raise ExportError(f"TorchScript gradients need a fixed input size, and this model's size is dynamic. {ADVICE}")
    return "onnx"
