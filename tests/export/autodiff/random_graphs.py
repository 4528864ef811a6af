"""Random small graphs of supported operators, evaluated as they are written.

Because every value is known when its node is written, a graph is smooth where it is by construction: what has a kink is
moved until no number is near it, what has ties gets something added that tells the numbers apart, and what grows is
scaled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto

from tests.export.autodiff import (  # noqa: F401  (each registers its steps)
    steps_elementwise,
    steps_layout,
    steps_maps,
    steps_places,
    steps_sums,
)
from tests.export.autodiff.eager import Draw, Eager
from tests.export.autodiff.step import STEPS

_SHAPES = [(1, 2, 4, 5), (2, 4, 3, 3), (1, 3, 6), (2, 3), (1, 4, 4, 2), (5,), (2, 1, 3, 1), (1, 1, 2, 2)]


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph with one output, a vector that all of it flows into."""

    model: onnx.ModelProto
    output: str
    feeds: dict[str, np.ndarray]
    steps: tuple[str, ...]

    def __repr__(self) -> str:
        shapes = {name: value.shape for name, value in self.feeds.items()}
        nodes = "\n".join(f"  {' '.join(n.output)} = {n.op_type}({', '.join(n.input)})" for n in self.model.graph.node)
        return f"{self.steps} of {shapes}:\n{nodes}\n"


@st.composite
def graphs(draw: Draw, most: int = 10) -> Graph:
    """Random graphs: each step begins at any value that there is, most often at the newest."""
    g = Eager(draw, draw(st.sampled_from([18, 21])), draw(st.integers(0, 1000)))
    for _ in range(g.number(1, 2)):
        g.input(g.one(_SHAPES))
    taken = []
    for _ in range(g.number(1, most)):
        name = g.one(sorted(STEPS))
        back = g.number(0, 3)
        start = g.pool[-1] if back < 2 or len(g.pool) < 2 else g.one(g.pool)
        found = STEPS[name](g, start)
        if found is None:
            continue
        taken.append(name)
        for value in [found] if isinstance(found, str) else found:
            g.add(value)
    ends = [g.Reshape(name, np.array([-1])) for name in list(g.unused)]
    output = g.Concat(*ends, axis=0)
    info = onnx.helper.make_graph(
        g.net.nodes,
        "random",
        g.net.inputs,
        [onnx.helper.make_tensor_value_info(output, TensorProto.DOUBLE, g.shape(output))],
        g.net.constants,
        value_info=[
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in g.values.items()
            if name != output and name not in g.inputs
        ],
    )
    model = onnx.helper.make_model(info, opset_imports=[onnx.helper.make_opsetid("", g.opset)], ir_version=10)
    return Graph(model, output, {n: g.values[n] for n in g.inputs}, tuple(taken))
