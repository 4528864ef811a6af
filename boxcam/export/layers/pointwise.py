"""Maps that heads read cell by cell: each score depends on one cell of them, which is all that a heatmap shows.

The map before the last operator that looks at more than one cell, a window or an attention, shows more.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.dependency import differentiable_inputs
from boxcam.export.graphs.query import constant_array
from boxcam.export.layers import marks
from boxcam.export.layers.flow import Marks, sizes_of
from boxcam.export.layers.marks import Flows
from boxcam.export.source import Layout

_STEPS = 300
_ONE, _OTHERS = 1, 2
_AXES: Mapping[Layout, tuple[int, ...]] = {"NCHW": (2, 3), "NHWC": (1, 2), "tokens": (1,)}


def earlier(
    flows: Flows, heads: Collection[ir.Value], scores: Mapping[ir.Value, Marks], layouts: Mapping[ir.Value, Layout]
) -> dict[ir.Value, ir.Value]:
    """Of each head's map that is read cell by cell, the last one before it that is not, if it has the same cells.

    All that the head's map is made of passes through that one.

    Args:
        flows: the nodes of the graph.
        heads: the maps that the heads read.
        scores: what the heads give: which elements of which values are scores.
        layouts: of all maps of the whole image.
    """
    order = {node: place for place, node in enumerate(flows.nodes)}
    found = {}
    for head in heads:
        if head in layouts and not _is_one_cell(head, layouts) and is_cell_by_cell(flows, head, heads, scores, layouts):
            before = _passed_by_all(head, order, layouts, flows)
            if before is not None and before not in heads:
                found[head] = before
    return found


def is_cell_by_cell(
    flows: Flows,
    head: ir.Value,
    heads: Collection[ir.Value],
    scores: Mapping[ir.Value, Marks],
    layouts: Mapping[ir.Value, Layout],
) -> bool:
    """Whether no score depends on more than one cell of a head's map, in ways that pass no other head's map."""
    found = marks.forward(flows, {head: _one_and_others(head, layouts[head])}, heads)
    both = _ONE | _OTHERS
    return not any(((found[end] == both) & (taken > 0)).any() for end, taken in scores.items() if end in found)


def _is_one_cell(value: ir.Value, layouts: Mapping[ir.Value, Layout]) -> bool:
    return _cells(value, layouts[value]) == 1


def _cells(value: ir.Value, layout: Layout) -> int:
    sizes = sizes_of(value)
    return int(np.prod([sizes[axis] or 1 for axis in _AXES[layout]]))


def _one_and_others(value: ir.Value, layout: Layout) -> Marks:
    """One mark for the cell in the middle of a map, another for all other cells."""
    sizes = sizes_of(value)
    shape = [(size or 1) if axis in _AXES[layout] else 1 for axis, size in enumerate(sizes)]
    found = np.full(shape, _OTHERS, np.uint8)
    found[tuple(size // 2 for size in shape)] = _ONE
    return found


def _passed_by_all(
    head: ir.Value, order: Mapping[ir.Node, int], layouts: Mapping[ir.Value, Layout], flows: Flows
) -> ir.Value | None:
    """The last map of the same cells that all paths to a head's map pass, and that it reads more than one cell of."""
    passed: list[ir.Node] = []
    known, frontier = {head}, [(_place(head, order), head)]
    for _ in range(_STEPS):
        _, value = heapq.heappop(frontier)
        node = value.producer()
        if node is None:
            return None
        if node not in passed:
            passed.append(node)
        for used in differentiable_inputs(node):
            if used not in known and constant_array(used) is None:
                known.add(used)
                heapq.heappush(frontier, (_place(used, order), used))
        if not frontier:
            return None
        one = frontier[0][1]
        if len(frontier) > 1 or one not in layouts:
            continue
        if _looks_around(head, one, flows.part(reversed(passed)), layouts[one]):
            return one if _cells(one, layouts[one]) == _cells(head, layouts[head]) else None
    return None


def _looks_around(head: ir.Value, one: ir.Value, between: Flows, layout: Layout) -> bool:
    """Whether a cell of the head's map is computed of several cells of another one.

    A mean or deviation of whole maps, as of a normalisation or a gate of channels, does not count: all cells share it,
    and the heatmap would still be a single active cell.
    """
    found = marks.forward(between, {one: _one_and_others(one, layout)}, summaries=False)
    return head in found and bool((found[head] == (_ONE | _OTHERS)).any())


def _place(value: ir.Value, order: Mapping[ir.Node, int]) -> tuple[int, int]:
    """The later a value is made, the sooner it is looked at; two outputs of one node are told apart."""
    node = value.producer()
    return (-order[node], value.index() or 0) if node is not None else (1, id(value))
