"""Finite differences of a deployed graph, where its framework has no autograd that could be asked.

The graph is cut at the layer and run in float64 by ONNX's reference implementation, which knows nothing of gradients;
the image, and what is not to move (proposals), are given as they were.  Each box's target is followed along two
directions: the gradient itself, which tells that what is there is right, and one with random signs that is nowhere
zero, which tells that nothing is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.reference import ReferenceEvaluator

from boxcam.export.verify.replay import _in_double
from tests.export.autodiff import differences

Array = npt.NDArray[Any]

_STEP = 1e-5
"""How much a target changes, about; a longer way would pass kinks of ReLUs, a shorter one drown in rounding."""


class Differences:
    """A graph from given values to others.

    Args:
        graph: the whole of it.
        given: values of it by name, which it is cut at.
        wanted: names of the values that are asked for.
    """

    def __init__(self, graph: onnx.ModelProto, given: Mapping[str, Array], wanted: Sequence[str]) -> None:
        self._given = {name: _double(array) for name, array in given.items()}
        self._reference: ReferenceEvaluator = differences.evaluator(_in_double(cut(graph, self._given, wanted)))

    def __call__(self, moved: Mapping[str, Array]) -> list[Array]:
        """What is asked for, where some of the given values are others."""
        fed = {**self._given, **moved}
        return list(self._reference.run(None, {name: fed[name] for name in self._reference.input_names}))

    def along(self, way: Mapping[str, Array], rate: float) -> list[Array]:
        """The derivative of all that is asked for in a direction of some of the given values.

        Args:
            way: the direction, by name.
            rate: the largest derivative that is expected, about; 0 if none is known.
        """
        step = _STEP / (rate or 1.0)
        sides = [self({n: self._given[n] + s * step * w for n, w in way.items()}) for s in (1, -1)]
        return [(a - b) / (2 * step) for a, b in zip(*sides, strict=True)]


def directions(gradient: Sequence[Array], seed: int) -> list[list[Array]]:
    """Two directions of length 1 for a gradient on several tensors."""
    rng = np.random.default_rng(seed)
    own = [array.astype(np.float64) for array in gradient]
    floor = np.sqrt(np.mean([float((array**2).mean()) for array in own])) / 10
    random = [rng.choice([-1.0, 1.0], array.shape) * np.maximum(np.abs(array), floor or 1.0) for array in own]
    return [[array / (length(way) or 1.0) for array in way] for way in (own, random)]


def length(way: Sequence[Array]) -> float:
    return float(np.sqrt(sum(float((array.astype(np.float64) ** 2).sum()) for array in way)))


def cut(graph: onnx.ModelProto, given: Mapping[str, Array], wanted: Sequence[str]) -> onnx.ModelProto:
    """The part of a graph that makes some values out of given ones; constants stay."""
    makers = {name: node for node in graph.graph.node for name in node.output if name}
    todo, needed = list(wanted), set()
    while todo:
        name = todo.pop()
        if name in given or name not in makers or makers[name].output[0] in needed:
            continue
        needed.add(makers[name].output[0])
        todo += [*makers[name].input, *(read for inner in _subgraphs(makers[name]) for read in _reads(inner))]
    part = onnx.ModelProto()
    part.CopyFrom(graph)
    del part.graph.node[:], part.graph.input[:], part.graph.output[:], part.graph.value_info[:]
    part.graph.node.extend(node for node in graph.graph.node if node.output[0] in needed)
    part.graph.input.extend(
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in given.items()
    )
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    return part


def _subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [a.g for a in node.attribute if a.HasField("g")]


def _reads(graph: onnx.GraphProto) -> list[str]:
    return [name for node in graph.node for name in node.input] + [output.name for output in graph.output]


def _double(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype == np.float32 else array
