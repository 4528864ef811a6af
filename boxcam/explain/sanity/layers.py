"""The layers of weights of a model, from its outputs down."""

from __future__ import annotations

from collections.abc import Collection

from boxcam.bundle.graph import Graph, Weight

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose weights are what was learned."""
_SAME = ("Cast", "DequantizeLinear", "Identity", "Reshape", "Transpose", "Unsqueeze", "Squeeze")
"""Operators that a weight comes through."""


def weight_layers(graph: Graph, ends: Collection[str]) -> tuple[tuple[Weight, ...], ...]:
    """The weights that some values depend on, in layers: those with no other layer after them first.

    A weight that is used several times, as by a head for each level, is in the layer of its last use. Weights that the
    graph itself holds (less than 1 KB, biases as a rule) are in none.

    Args:
        graph: the forward graph.
        ends: names of the values, as of class logits.
    """
    through = _weights_through(graph)
    depth = dict.fromkeys(ends, 0)
    """Of each value, how many layers are after it at most."""
    found: dict[tuple[int, int], tuple[int, Weight]] = {}
    for node in reversed(graph.nodes):
        after = max((depth[name] for name in node.outputs if name in depth), default=-1)
        if after < 0:
            continue
        mine = [through[name] for name in node.inputs[:2] if name in through] if node.operator in _LAYERS else []
        for weight in mine:
            known = found.get(weight.place)
            found[weight.place] = (after if known is None else min(after, known[0]), weight)
        for name in node.inputs:
            depth[name] = max(depth.get(name, 0), after + bool(mine))
    numbers = sorted({number for number, _ in found.values()})
    return tuple(tuple(weight for number, weight in found.values() if number == layer) for layer in numbers)


def _weights_through(graph: Graph) -> dict[str, Weight]:
    """The weight that each name stands for: its own, and those of operators that only store it otherwise."""
    found = dict(graph.weights)
    for node in graph.nodes:
        if node.operator in _SAME and node.inputs and node.inputs[0] in found:
            found.update(dict.fromkeys(node.outputs, found[node.inputs[0]]))
    return found
