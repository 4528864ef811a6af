"""Copies of graphs and of parts of them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from boxcam.errors import ExportError
from boxcam.export.graphs.query import ancestors, describe_node, opset_of, values_read


def add_output(graph: ir.Graph, value: ir.Value) -> None:
    """Make a value a graph output too."""
    if not any(value is output for output in graph.outputs):
        graph.outputs.append(value)


def cut_part(model: ir.Model, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value]) -> ir.Model:
    """A copy of the part of a model between some values: tensors are shared, nodes and values are new.

    Inputs that the part does not use are left out.

    Raises:
        ExportError: the outputs depend on something that is neither an input nor a constant, or on a branch.
    """
    nodes = ancestors(outputs, inputs)
    for node in nodes:
        if any(attr.type == ir.AttributeType.GRAPH for attr in node.attributes.values()):
            raise ExportError(
                f"{describe_node(node)} between the layer and the logits has branches. Choose a layer after it with"
                " layers=."
            )
    used = {id(value) for node in nodes for value in values_read(node)}
    mapping: dict[ir.Value, ir.Value] = {}
    kept = []
    for value in inputs:
        if id(value) in used:
            mapping[value] = ir.Value(name=value.name, type=value.type, shape=value.shape)
            kept.append(mapping[value])
    constants: list[ir.Value] = []

    def mapped(value: ir.Value | None) -> ir.Value | None:
        if value is None or value in mapping:
            return None if value is None else mapping[value]
        if value.const_value is None:
            raise ExportError(
                f"{value.name!r} is computed before the layer and missing after it. Choose another layer with layers=."
            )
        copy = ir.Value(name=value.name, type=value.type, shape=value.shape, const_value=value.const_value)
        mapping[value] = copy
        constants.append(copy)
        return copy

    copies = []
    for node in nodes:
        given, attributes = [mapped(v) for v in node.inputs], node.attributes.values()
        copy = ir.Node(node.domain, node.op_type, given, attributes, num_outputs=len(node.outputs), name=node.name)
        for old, new in zip(node.outputs, copy.outputs, strict=True):
            new.name, new.type, new.shape = old.name, old.type, old.shape if old.type is not None else None
            mapping[old] = new
        copies.append(copy)
    graph = ir.Graph(
        kept,
        [mapping[value] for value in outputs],
        nodes=copies,
        initializers=constants,
        opset_imports={"": opset_of(model)},
        name="part",
    )
    return ir.Model(graph, ir_version=max(model.ir_version or 8, 8), producer_name="boxcam")


def clone_model(model: ir.Model) -> ir.Model:
    """A copy of a model that shares its tensors."""
    return ir.Model(model.graph.clone(), ir_version=model.ir_version or 8, producer_name="boxcam")
