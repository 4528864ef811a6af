"""The rest of a model after a layer, cut out as a graph of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from boxcam.bundle.graph import SELECTING
from boxcam.errors import ExportError
from boxcam.export.graphs.dependency import depends
from boxcam.export.graphs.extract import cut_part
from boxcam.export.graphs.query import all_values, ancestors, values_read

_CHOOSING = {*SELECTING, "Compress", "NonZero", "Unique"}
"""Operators after which a row is another box when the features are others."""


@dataclass(frozen=True, eq=False)
class Rest:
    """The nodes between a layer and one tensor, as a model.

    Attributes:
        model: its inputs are those of the layer's tensors that it reads, and ``context``; its output is the tensor.
        features: names of the layer's tensors among the inputs.
        context: names of the other inputs, values of the forward pass that do not depend on the layer.
    """

    model: ir.Model
    features: tuple[str, ...]
    context: tuple[str, ...]


def cut_after(model: ir.Model, features: Sequence[str], end: str) -> Rest | None:
    """The part of a model between a layer and a tensor; None if the tensor does not depend on the layer.

    Args:
        model: the folded detector.
        features: names of the layer's tensors.
        end: name of the tensor.

    Raises:
        ExportError: it is no graph of the layer's tensors: it chooses boxes in between, has branches, or reads the
            image.
    """
    values = {str(value.name): value for value in all_values(model.graph)}
    layer, last = [values[name] for name in features], values[end]
    after = {value for one in layer for value in depends(model.graph, one)}
    nodes = [node for node in ancestors([last], layer) if any(value in after for value in node.outputs)]
    if not nodes:
        return None
    for node in nodes:
        if node.op_type in _CHOOSING:
            raise ExportError(
                f"boxes are chosen between the layer and {end} ({node.op_type}). Choose a layer after it with layers=."
            )
    made = {value for node in nodes for value in node.outputs}
    read = dict.fromkeys(value for node in nodes for value in values_read(node) if value not in made)
    context = [value for value in read if value.const_value is None and value not in layer]
    if any(value.is_graph_input() for value in context):
        raise ExportError(f"{end} is computed from the image and the layer. Choose another layer with layers=.")
    part = cut_part(model, [*layer, *context], [last])
    part.graph.opset_imports.update(model.graph.opset_imports)
    inputs = [str(value.name) for value in part.graph.inputs]
    used = tuple(name for name in features if name in inputs)
    return Rest(part, used, tuple(name for name in inputs if name not in used))
