"""The part of a detector between its logits and its detections: what selects boxes, and what else that reads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.query import all_values, ancestors, values_read


@dataclass(frozen=True, eq=False)
class Selection:
    """What a detector makes of its logits.

    Attributes:
        model: the graph; its inputs have the names that the tensors have in the detector.
        logits: those of its inputs that are tensors of logits.
        context: its other inputs, values of the detector that do not depend on logits.
    """

    model: ir.Model
    logits: tuple[str, ...]
    context: tuple[str, ...]


def cut_selection(model: ir.Model, logits: Sequence[str], outputs: Sequence[str]) -> Selection:
    """Cut out what is made of logits.

    Args:
        model: the detector.
        logits: names of the tensors of logits.
        outputs: names of values, which are what the graph gives.
    """
    copy = clone_model(model)
    graph = copy.graph
    by_name = {str(value.name): value for value in all_values(graph)}
    given = tuple(dict.fromkeys(logits))
    for name in given:
        _replace(graph, by_name[name])
    graph.outputs.clear()
    graph.outputs.extend(by_name[name] for name in outputs)
    graph.sort()
    passes.RemoveUnusedNodesPass()(copy)
    others = _others(graph, given)
    context = tuple(str(value.name) for value in others)
    for value in others:
        _replace(graph, value)
    needed = {id(node) for node in ancestors(list(graph.outputs))}
    graph.remove([node for node in graph if id(node) not in needed])
    passes.RemoveUnusedNodesPass()(copy)
    read = {value for node in graph for value in values_read(node)}
    for value in [value for value in graph.inputs if value not in read]:
        graph.inputs.remove(value)
    return Selection(copy, given, context)


def _replace(graph: ir.Graph, value: ir.Value) -> None:
    """Make an input of a value of a graph, under its name."""
    given = ir.Value(name=value.name, type=value.type, shape=value.shape)
    for user, index in tuple(value.uses()):
        user.replace_input_with(index, given)
    if value.is_graph_input():
        graph.inputs.remove(value)
    else:
        value.name = f"{value.name}.boxcam"
    graph.inputs.append(given)


def _others(graph: ir.Graph, logits: Collection[str]) -> list[ir.Value]:
    """What is read in addition to the logits where these are of consequence, but for constants; tensors only."""
    depends = {value for value in graph.inputs if value.name in logits}
    for node in graph:
        if not depends.isdisjoint(values_read(node)):
            depends.update(node.outputs)
    todo = [node for node in graph if not depends.isdisjoint(node.outputs)]
    found: dict[ir.Value, None] = {}
    while todo:
        for value in values_read(todo.pop()):
            producer = value.producer()
            if value in depends or value.const_value is not None or (producer is None and not value.is_graph_input()):
                continue
            if producer is not None and isinstance(value.type, (ir.SequenceType, ir.OptionalType)):
                todo.append(producer)
            else:
                found[value] = None
    return list(found)
