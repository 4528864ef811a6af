"""What an ONNX graph of a bundle computes from which weights, read without any package that reads ONNX.

Only what is asked here is read: operators, names, and tensors that lie in another file. The numbers of the fields are
those of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from boxcam.bundle.wire import Part, fields_of, number_at

_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_TENSOR = 7, 1, 5
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_GRAPHS = (6, 11)
_TENSOR_SIZES, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_EXTERNAL = 1, 2, 8, 13
TYPES = {1: "float32", 10: "float16", 11: "float64"}
"""Of tensors of real numbers, by their number in ONNX."""
SELECTING = ("MaxRoiPool", "NonMaxSuppression", "RoiAlign", "TopK")
"""Operators after which a row is another box when weights, or the image, are others."""


@dataclass(frozen=True)
class Weight:
    """A tensor of real numbers in another file.

    Attributes:
        name: in its graph.
        shape, dtype: of it.
        offset, length: where it lies in the file, in bytes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    length: int

    @property
    def place(self) -> tuple[int, int]:
        """Where it lies: what graphs have in common."""
        return self.offset, self.length


@dataclass(frozen=True)
class Node:
    """An operator: what it is, and the names of what it reads and gives; with graphs inside, also what they do."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """A graph's operators, in an order in which they can run, and its weights by name."""

    nodes: tuple[Node, ...]
    weights: dict[str, Weight]


def parse_graph(data: bytes) -> Graph:
    """Read a graph.

    Args:
        data: an ONNX file.

    Raises:
        ValueError: it is not a protocol buffer, or a tensor says of itself what cannot be.
    """
    nodes: list[Node] = []
    weights: dict[str, Weight] = {}
    for number, content in fields_of(data, (0, len(data))):
        if number == _MODEL_GRAPH and isinstance(content, tuple):
            _graph(data, content, nodes, weights)
    return Graph(tuple(nodes), weights)


def selecting_operator(graph: Graph, ends: Collection[str], after: Collection[str] = ()) -> str | None:
    """An operator before some values that chooses boxes, so that their rows are no fixed places; None without one.

    Args:
        graph: all operators.
        ends: names of the values.
        after: names of values; what comes before them does not count.
    """
    wanted = set(ends)
    for node in reversed(graph.nodes):
        if wanted.isdisjoint(node.outputs):
            continue
        if node.operator in SELECTING:
            return node.operator
        wanted.update(name for name in node.inputs if name not in after)
    return None


def _graph(data: bytes, part: Part, nodes: list[Node], weights: dict[str, Weight]) -> None:
    for number, content in fields_of(data, part):
        if not isinstance(content, tuple):
            continue
        if number == _GRAPH_NODE:
            _node(data, content, nodes, weights)
        elif number == _GRAPH_TENSOR and (found := _weight(data, content)) is not None:
            weights[found.name] = found


def _node(data: bytes, part: Part, nodes: list[Node], weights: dict[str, Weight]) -> None:
    """Add an operator; what lies in graphs of its attributes comes before it, as if its results were read by it."""
    inputs: list[str] = []
    outputs: list[str] = []
    operator = ""
    inside: list[Node] = []
    for number, content in fields_of(data, part):
        if not isinstance(content, tuple):
            continue
        if number == _NODE_INPUT:
            inputs.append(_text(data, content))
        elif number == _NODE_OUTPUT:
            outputs.append(_text(data, content))
        elif number == _NODE_OPERATOR:
            operator = _text(data, content)
        elif number == _NODE_ATTRIBUTE:
            for field, graph in fields_of(data, content):
                if field in _ATTRIBUTE_GRAPHS and isinstance(graph, tuple):
                    _graph(data, graph, inside, weights)
    nodes.extend(inside)
    inner = [name for node in inside for name in (*node.inputs, *node.outputs)]
    nodes.append(Node(operator, (*inputs, *inner), tuple(outputs)))


def _weight(data: bytes, part: Part) -> Weight | None:
    """A tensor; None if it lies in the graph itself, or is not of real numbers."""
    shape: list[int] = []
    name, kind, entries = "", 0, {}
    for number, content in fields_of(data, part):
        if number == _TENSOR_SIZES:
            shape += [content] if isinstance(content, int) else list(_numbers(data, content))
        elif number == _TENSOR_TYPE and isinstance(content, int):
            kind = content
        elif number == _TENSOR_NAME and isinstance(content, tuple):
            name = _text(data, content)
        elif number == _TENSOR_EXTERNAL and isinstance(content, tuple):
            entry = {key: _text(data, value) for key, value in fields_of(data, content) if isinstance(value, tuple)}
            entries[entry.get(1, "")] = entry.get(2, "")
    if "location" not in entries or kind not in TYPES:
        return None
    return Weight(name, tuple(shape), TYPES[kind], int(entries.get("offset", "0")), int(entries.get("length", "0")))


def _numbers(data: bytes, part: Part) -> Iterator[int]:
    at, end = part
    while at < end:
        value, at = number_at(data, at, end)
        yield value


def _text(data: bytes, part: Part) -> str:
    return data[slice(*part)].decode(errors="replace")
