"""Marks that pass through a graph: which elements depend on which, and which of a tensor's others depend on them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.query import values_read
from boxcam.export.layers.flow import Marks, Sizes, fitted, sizes_of
from boxcam.export.layers.steps import Step, steps


class Flows:
    """Nodes, and how marks pass them, each found once: for what goes through a graph several times, while it stays."""

    def __init__(self, nodes: Iterable[ir.Node]) -> None:
        """Take nodes.

        Args:
            nodes: of the graph, in its order.
        """
        self.nodes = tuple(nodes)
        self._steps: dict[ir.Value, tuple[Step, ...]] = {}
        self._sizes: dict[ir.Value, Sizes] = {}

    def part(self, nodes: Iterable[ir.Node]) -> Flows:
        """Some of the nodes; what is found of them is known of the whole too."""
        part = Flows(nodes)
        part._steps, part._sizes = self._steps, self._sizes
        return part

    def steps(self, node: ir.Node, output: ir.Value) -> tuple[Step, ...]:
        """See `boxcam.export.layers.steps.steps`."""
        if output not in self._steps:
            self._steps[output] = tuple(steps(node, output))
        return self._steps[output]

    def sizes(self, value: ir.Value) -> Sizes:
        """See `boxcam.export.layers.flow.sizes_of`."""
        if value not in self._sizes:
            self._sizes[value] = sizes_of(value)
        return self._sizes[value]


def everything(value: ir.Value, bit: int) -> Marks:
    """All elements of a value with one mark."""
    return np.full((1,) * len(sizes_of(value)), bit, np.uint8)


def backward(flows: Flows, starts: Mapping[ir.Value, Marks], stops: Collection[ir.Value] = ()) -> dict[ir.Value, Marks]:
    """Mark all elements that a gradient of some others reaches.

    Args:
        flows: the nodes of the graph.
        starts: the marks to begin with, by value.
        stops: values behind which nothing is marked.

    Returns:
        The marks of all values that have some.
    """
    found = dict(starts)
    for node in reversed(flows.nodes):
        for output in node.outputs:
            if output not in found or output in stops:
                continue
            after = flows.sizes(output)
            for value, flow, _ in flows.steps(node, output):
                before = flows.sizes(value)
                _add(found, value, flow.backward(found[output], before, after), before)
    return found


def forward(
    flows: Flows,
    starts: Mapping[ir.Value, Marks],
    cuts: Collection[ir.Value] = (),
    summaries: bool = True,
) -> dict[ir.Value, Marks]:
    """Mark all elements that depend on some others, by a path along which a gradient flows.

    Args:
        flows: the nodes of the graph.
        starts: the marks to begin with, by value: bits 1 and 2.
        cuts: values that stay without marks, whatever they are computed from.
        summaries: whether what is computed of a mean, a sum, a deviation … counts as well where both bits meet in it.

    Returns:
        The marks of all values that have some.
    """
    found = dict(starts)
    for node in flows.nodes:
        if not any(value in found for value in values_read(node)):
            continue
        for output in node.outputs:
            if output in starts or output in cuts:
                continue
            after = flows.sizes(output)
            for value, flow, summary in flows.steps(node, output):
                if value in found:
                    marks = flow.forward(found[value], flows.sizes(value), after)
                    if summary and not summaries:
                        marks = np.where(marks == 3, np.uint8(0), marks)
                    _add(found, output, marks, after)
    return found


def _add(found: dict[ir.Value, Marks], value: ir.Value, marks: Marks, sizes: Sizes) -> None:
    """Add marks to those that a value has."""
    if marks.any():
        before = found.get(value)
        found[value] = marks if before is None else fitted(before | marks, sizes)
