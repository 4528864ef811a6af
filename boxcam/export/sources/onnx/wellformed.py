"""Whether a graph is one at all: what the rules of ONNX demand, and what everything after it relies on.

`onnx.checker` demands more than deployed files keep to, such as sorted nodes, and does not look for functions that grow
without end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import onnx
import onnx_ir as ir

from boxcam.export.graphs.external import graphs
from boxcam.export.graphs.query import describe_node

MAX_NODES = 500_000
"""Operators of a graph, those inside of functions counted wherever these are used. Real ones have up to 20,000."""
_MAX_RANK = 64


def computed_twice(graph: onnx.GraphProto) -> str:
    """A tensor that two nodes of a graph compute, or a node and an input; empty if there is none.

    Looked for in the file, since `onnx_ir` takes one of the two.
    """
    names = Counter(name for node in graph.node for name in node.output if name)
    names.update({value.name for value in graph.input if value.name in names})
    return next((name for name, count in names.items() if count > 1), "")


def problem(model: ir.Model) -> str:
    """Why a model is not well-formed, in a few words; empty if it is."""
    return next(_problems(model), "")


def _problems(model: ir.Model) -> Iterator[str]:
    yield from _names(model)
    yield from _functions(model)
    if not model.graph.outputs:
        yield "it has no output"
    for graph in graphs(model):
        for value in _defined(graph):
            if value.shape is not None and len(value.shape) > _MAX_RANK:
                yield f"the tensor {value.name!r} has {len(value.shape)} axes"
    yield from _dangling(model)
    yield from _tensors(model)


def _names(model: ir.Model) -> Iterator[str]:
    """Operators whose names are not text, of which onnx itself knows nothing to say."""
    for graph in graphs(model):
        for node in graph:
            if not (_is_text(node.op_type) and _is_text(node.domain)):
                yield f"the operator {node.op_type!a} has a name that is not UTF-8"


def _is_text(name: object) -> bool:
    """Whether a name was read as text: protobuf hands on other bytes as they are, or as lone surrogates."""
    return isinstance(name, str) and not any(0xD800 <= ord(letter) <= 0xDFFF for letter in name)


def _defined(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    for node in graph:
        yield from node.outputs


def _functions(model: ir.Model) -> Iterator[str]:
    """Functions that use themselves, or that use others so often that there is no end of it."""
    if len(model.functions) > MAX_NODES:
        yield f"it has {len(model.functions)} functions"
        return
    uses = {
        name: {node.op_identifier() for node in function.all_nodes()} & set(model.functions)
        for name, function in model.functions.items()
    }
    sizes: dict[ir.OperatorIdentifier, int] = {}
    try:
        for name in TopologicalSorter(uses).static_order():
            sizes[name] = _size(model.functions[name], sizes)
    except CycleError as error:
        yield f"the function {error.args[1][0][1]!r} uses itself"
        return
    total = _size(model.graph, sizes)
    if total > MAX_NODES:
        yield f"its functions make {total if total < 1 << 63 else 'more than 2^63'} operators of it"


def _size(graph: ir.Graph | ir.Function, sizes: dict[ir.OperatorIdentifier, int]) -> int:
    return sum(sizes.get(node.op_identifier(), 1) for node in graph.all_nodes())


def _dangling(model: ir.Model) -> Iterator[str]:
    """Inputs that nothing computes: of a node of a graph, or of a graph inside of it."""
    roots = [model.graph, *(function.graph for function in model.functions.values())]
    waiting: list[tuple[ir.Graph, frozenset[ir.Value]]] = [(root, frozenset()) for root in roots]
    while waiting:
        graph, outer = waiting.pop()
        known = outer | {*_defined(graph), *graph.initializers.values()}
        for node in graph:
            for value in node.inputs:
                if value is not None and value not in known:
                    yield f"{describe_node(node)} reads {value.name!r}, which nothing computes"
            for attribute in node.attributes.values():
                if attribute.is_ref():
                    continue
                if attribute.type == ir.AttributeType.GRAPH:
                    waiting.append((attribute.as_graph(), known))
                elif attribute.type == ir.AttributeType.GRAPHS:
                    waiting.extend((inner, known) for inner in attribute.as_graphs())
        for value in graph.outputs:
            if value is not None and value not in known:
                yield f"its output {value.name!r} is computed by nothing"


def _tensors(model: ir.Model) -> Iterator[str]:
    """Constants that do not have as many numbers as their shape says."""
    for graph in graphs(model):
        held = graph.initializers.values() if isinstance(graph, ir.Graph) else ()
        values = [(value.name, value.const_value) for value in held]
        for node in graph:
            values += [
                (attribute.value.name or node.name, attribute.value)
                for attribute in node.attributes.values()
                if not attribute.is_ref() and attribute.type == ir.AttributeType.TENSOR
            ]
        for name, tensor in values:
            if tensor is None:
                yield f"the constant {name!r} has no value"
                continue
            try:
                if tensor.dtype == ir.DataType.STRING:
                    continue
                good = tensor.numpy().shape == tuple(tensor.shape)
            except Exception:  # noqa: BLE001 - onnx_ir asserts, and numpy raises what it likes
                good = False
            if not good:
                yield f"the constant {name!r} does not have as many numbers as its shape {tensor.shape} says"
