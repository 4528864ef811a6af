"""Marks that pass through a graph: which elements depend on which, and which of a tensor's others depend on them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.query import values_read
from boxcam.export.layers.flow import Marks, fitted, sizes_of
from boxcam.export.layers.steps import steps


def everything(value: ir.Value, bit: int) -> Marks:
    """All elements of a value with one mark."""
    return np.full((1,) * len(sizes_of(value)), bit, np.uint8)


def backward(
    nodes: Iterable[ir.Node], starts: Mapping[ir.Value, Marks], stops: Collection[ir.Value] = ()
) -> dict[ir.Value, Marks]:
    """Mark all elements that a gradient of some others reaches.

    Args:
        nodes: of the graph, in its order.
        starts: the marks to begin with, by value.
        stops: values behind which nothing is marked.

    Returns:
        The marks of all values that have some.
    """
    found = dict(starts)
    for node in reversed(list(nodes)):
        for output in node.outputs:
            if output not in found or output in stops:
                continue
            after = sizes_of(output)
            for value, flow, _ in steps(node, output):
                before = sizes_of(value)
                _add(found, value, flow.backward(found[output], before, after))
    return found


def forward(
    nodes: Iterable[ir.Node],
    starts: Mapping[ir.Value, Marks],
    cuts: Collection[ir.Value] = (),
    summaries: bool = True,
) -> dict[ir.Value, Marks]:
    """Mark all elements that depend on some others, by a path along which a gradient flows.

    Args:
        nodes: of the graph, in its order.
        starts: the marks to begin with, by value: bits 1 and 2.
        cuts: values that stay without marks, whatever they are computed from.
        summaries: whether what is computed of a mean, a sum, a deviation … counts as well where both bits meet in it.

    Returns:
        The marks of all values that have some.
    """
    found = dict(starts)
    for node in nodes:
        if not any(value in found for value in values_read(node)):
            continue
        for output in node.outputs:
            if output in starts or output in cuts:
                continue
            after = sizes_of(output)
            for value, flow, summary in steps(node, output):
                if value in found:
                    marks = flow.forward(found[value], sizes_of(value), after)
                    if summary and not summaries:
                        marks = np.where(marks == 3, np.uint8(0), marks)
                    _add(found, output, marks)
    return found


def _add(found: dict[ir.Value, Marks], value: ir.Value, marks: Marks) -> None:
    """Add marks to those that a value has."""
    if marks.any():
        before = found.get(value)
        found[value] = marks if before is None else fitted(before | marks, sizes_of(value))
