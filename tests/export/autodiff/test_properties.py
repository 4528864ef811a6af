"""The gradient of random graphs against finite differences, in float64 on ONNX's reference implementation."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from tests.export.autodiff.differences import evaluator, run_vjp
from tests.export.autodiff.random_graphs import Graph, graphs

_STEP, _LIMIT = 1e-6, 1e-5
_BOXES, _DIRECTIONS = 2, 3


def disagreement(graph: Graph) -> float:
    """Derivatives in random directions by the gradient and by differences: the largest difference, relative."""
    rng = np.random.default_rng(0)
    forward = evaluator(graph.model)
    wanted = list(graph.feeds)
    arrived = rng.standard_normal((_BOXES, *forward.run(None, graph.feeds)[0].shape))
    gradients = run_vjp(graph.model, graph.output, wanted, graph.feeds, arrived)
    worst, scale = 0.0, 1e-2
    for name, gradient in zip(wanted, gradients, strict=True):
        assert gradient.shape == (_BOXES, *graph.feeds[name].shape)
        for _ in range(_DIRECTIONS):
            way = rng.standard_normal(graph.feeds[name].shape)
            sides = [
                forward.run(None, {**graph.feeds, name: graph.feeds[name] + sign * _STEP * way})[0] for sign in (1, -1)
            ]
            numeric = arrived @ (sides[0] - sides[1]) / (2 * _STEP)
            ours = (gradient * way).reshape(_BOXES, -1).sum(1)
            worst, scale = max(worst, np.abs(ours - numeric).max()), max(scale, np.abs(numeric).max())
    return float(worst / scale)


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(graphs())
def test_the_gradient_of_a_random_graph(graph: Graph) -> None:
    assert disagreement(graph) < _LIMIT
