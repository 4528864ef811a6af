"""Read a graph: constants, shapes, attributes, and what depends on what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from boxcam.errors import UnsupportedOperatorError

Array = npt.NDArray[Any]

STANDARD = ("", "ai.onnx")

"""Domains of standard operators."""

RUNNABLE = ("com.microsoft",)

"""Domains of operators that ONNX Runtime runs all the same: they have no gradient."""


def opset_of(model: ir.Model | ir.Graph) -> int:
    """The version of the standard operators that a graph uses."""
    imports = model.opset_imports
    return imports.get("", imports.get("ai.onnx", 1)) or 1


def constant_array(value: ir.Value | None) -> Array | None:
    """The constant that a value holds, or None."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return np.asarray(value.const_value.numpy())


def static_shape(value: ir.Value) -> tuple[int | None, ...] | None:
    """The shape of a value with None for dimensions that are not known, or None if its rank is not."""
    if value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else None for d in value.shape.dims)


def attribute_of(node: ir.Node, name: str, default: Any = None) -> Any:
    """An attribute of a node as a plain Python value."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def axes_of(node: ir.Node, position: int = 1) -> list[int] | None:
    """The axes of Squeeze, Unsqueeze or a reduction, which moved from an attribute to an input over the opsets."""
    if "axes" in node.attributes:
        return [int(a) for a in attribute_of(node, "axes")]
    if len(node.inputs) <= position or node.inputs[position] is None:
        return None
    constant = constant_array(node.inputs[position])
    if constant is None:
        raise UnsupportedOperatorError(
            f"{describe_node(node)} computes its axes, and only constant axes can be followed. Export the model with"
            " constant axes."
        )
    return [int(a) for a in constant.reshape(-1)]


def describe_node(node: ir.Node) -> str:
    """A node in a message: operator, name."""
    domain = "" if node.domain in STANDARD else f"{node.domain}::"
    label = node.name or (node.outputs[0].name if node.outputs else None)
    return f"{domain}{node.op_type} ({label})"


def name_and_shape(value: ir.Value | None) -> str:
    """A value in a message: name, shape."""
    if value is None:
        return "nothing"
    shape = static_shape(value)
    return (
        f"{value.name} [{'rank unknown' if shape is None else ', '.join('?' if d is None else str(d) for d in shape)}]"
    )


def find_value(graph: ir.Graph, name: str) -> ir.Value | None:
    """The value of that name in the main graph."""
    for value in all_values(graph):
        if value.name == name:
            return value
    return None


def all_values(graph: ir.Graph) -> Iterator[ir.Value]:
    """All inputs and node outputs of the main graph."""
    yield from graph.inputs
    for node in graph:
        yield from node.outputs


def ancestors(roots: Iterable[ir.Value], stop: Iterable[ir.Value] = ()) -> list[ir.Node]:
    """Nodes that the roots are computed from, in topological order, not going past the values in ``stop``."""
    stops = {id(value) for value in stop}
    order: list[ir.Node] = []
    done: set[int] = set()
    for root in roots:
        stack: list[tuple[ir.Value | None, bool]] = [(root, False)]
        while stack:
            value, expanded = stack.pop()
            node = value.producer() if value is not None else None
            if value is None or node is None or id(value) in stops or id(node) in done:
                continue
            if expanded:
                done.add(id(node))
                order.append(node)
                continue
            stack.append((value, True))
            stack.extend((used, False) for used in values_read(node))
    return order


def values_read(node: ir.Node) -> Iterator[ir.Value]:
    """Values that a node reads, those that its subgraphs capture included."""
    for value in node.inputs:
        if value is not None:
            yield value
    for attr in node.attributes.values():
        if attr.type == ir.AttributeType.GRAPH:
            yield from _captured(attr.as_graph())


def _captured(graph: ir.Graph) -> Iterator[ir.Value]:
    """Values of the graphs around a subgraph that it reads."""
    own = {*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)}
    for read in (*(value for node in graph for value in values_read(node)), *graph.outputs):
        if read not in own:
            yield read
