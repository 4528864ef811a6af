"""Maps that heads read cell by cell: each score depends on one cell of them, and a heatmap of them is one lit cell.

The map in front of the last convolution that looks at more than one cell shows more.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping

import onnx_ir as ir

from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.query import static_shape

_STEPS = 300
Inputs = Callable[[ir.Value], Iterable[ir.Value]]


def earlier(
    heads: Collection[ir.Value],
    logits: Iterable[ir.Value],
    cells: Mapping[ir.Value, tuple[int, int]],
    order: Mapping[ir.Node, int],
    inputs: Inputs,
) -> dict[ir.Value, ir.Value]:
    """Of each head's map that is read cell by cell, the last one before it that is not, if it has the same cells.

    All that the head's map is made of passes through that one.

    Args:
        heads: the maps that the heads read.
        logits: what the heads give.
        cells: height and width of all maps.
        order: the place of each node in the graph.
        inputs: what a gradient of a value goes on to.
    """
    between = _between(heads, logits, inputs)
    found = {}
    for head in heads:
        if head in cells and cells[head] != (1, 1) and not _mixed(head, between):
            before = _passed_by_all(head, cells, order, inputs)
            if before is not None and before not in heads:
                found[head] = before
    return found


def _between(heads: Collection[ir.Value], logits: Iterable[ir.Value], inputs: Inputs) -> set[ir.Value]:
    """All values between the heads' maps and the logits, these included."""
    seen: set[ir.Value] = set()
    todo = list(logits)
    while todo:
        value = todo.pop()
        if value not in seen and value not in heads:
            seen.add(value)
            todo.extend(inputs(value))
    return seen


def _mixed(head: ir.Value, between: Collection[ir.Value]) -> bool:
    """Whether anything that is computed of a head's map alone looks at more than one cell."""
    seen: set[ir.Value] = set()
    todo = [head]
    while todo:
        for node in todo.pop().consumers():
            made = [value for value in node.outputs if value in between and value not in seen]
            if made and not _cell_by_cell(node):
                return True
            seen.update(made)
            todo.extend(made)
    return False


def _cell_by_cell(node: ir.Node) -> bool:
    operator = operator_of(node)
    return operator.moves or operator.keeps_places or (node.op_type == "Conv" and not _spatial(node))


def _spatial(node: ir.Node) -> bool:
    """Whether it is a convolution of more than one cell."""
    weight = static_shape(node.inputs[1]) if node.op_type == "Conv" and node.inputs[1] is not None else None
    return weight is not None and any(size != 1 for size in weight[2:])


def _passed_by_all(
    head: ir.Value, cells: Mapping[ir.Value, tuple[int, int]], order: Mapping[ir.Node, int], inputs: Inputs
) -> ir.Value | None:
    """The last map of the same cells that all paths to a head's map pass, and a spatial convolution behind it."""
    crossed, known = False, {head}
    frontier = [(_place(head, order), head)]
    for _ in range(_STEPS):
        _, value = heapq.heappop(frontier)
        node = value.producer()
        if node is None:
            return None
        crossed = crossed or _spatial(node)
        for used in inputs(value):
            if used not in known:
                known.add(used)
                heapq.heappush(frontier, (_place(used, order), used))
        if not frontier:
            return None
        if len(frontier) == 1 and crossed:
            one = frontier[0][1]
            if one in cells:
                return one if cells[one] == cells[head] else None
    return None


def _place(value: ir.Value, order: Mapping[ir.Node, int]) -> tuple[int, int]:
    """The later a value is made, the sooner it is looked at; two outputs of one node are told apart."""
    node = value.producer()
    return (-order[node], value.index() or 0) if node is not None else (1, id(value))
