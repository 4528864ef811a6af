"""Write nodes into a graph: ``op.Add(a, b)``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from boxcam.export.graphs.query import Array, all_values

Operand = ir.Value | Array | int | float | bool | Sequence[int] | None


class Ops:
    """Writes nodes into a graph: ``op.Add(a, 1)`` appends an Add node and returns its output.

    Numbers and arrays become initializers (Python integers int64, all floats of one type), each stored once.
    Nodes are appended at the end; sort the graph when all is written.

    Args:
        graph: where to write.
        prefix: how the names of all that is written begin.
        constants: where the initializers go, if not to the graph.
        real: floating-point type of the constants.
    """

    def __init__(
        self, graph: ir.Graph, prefix: str, constants: ir.Graph | None = None, real: npt.DTypeLike = np.float32
    ) -> None:
        self.graph = graph
        self.prefix = prefix
        self.real = np.dtype(real)
        self._holder = constants or graph
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    def inside(self, graph: ir.Graph) -> Ops:
        """Write into a subgraph; constants stay in the outer graph, where a subgraph may use them."""
        nested = Ops(graph, self.prefix, self._holder, self.real)
        nested._constants = self._constants
        return nested

    def __getattr__(self, op_type: str) -> Callable[..., ir.Value]:
        if op_type.startswith("_"):
            raise AttributeError(op_type)

        def emit(*inputs: Operand, **attributes: Any) -> ir.Value:
            return self.emit(op_type, inputs, attributes)[0]

        return emit

    def emit(
        self, op_type: str, inputs: Sequence[Operand], attributes: Mapping[str, Any], outputs: int = 1
    ) -> Sequence[ir.Value]:
        """Append one node and return its outputs."""
        node = ir.node(op_type, [self.value(i) for i in inputs], attributes, num_outputs=outputs)
        self.graph.append(node)
        for value in node.outputs:
            value.name = f"{self.prefix}/{op_type}_{_serial(self._holder)}"
        return node.outputs

    def value(self, operand: Operand) -> ir.Value | None:
        """The operand as a value of the graph: constants become initializers."""
        if operand is None or isinstance(operand, ir.Value):
            return operand
        array = np.asarray(operand)
        if array.dtype.kind == "f":
            array = array.astype(self.real, copy=False)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"{self.prefix}/constant_{_serial(self._holder)}"
            constant = ir.Value(name=name, const_value=ir.tensor(array, name=name))
            constant.shape = ir.Shape(array.shape)
            constant.dtype = ir.DataType.from_numpy(array.dtype)
            self._holder.register_initializer(constant)
            self._constants[key] = constant
        return self._constants[key]


def _serial(graph: ir.Graph) -> int:
    """A number that no name has yet; a graph that was folded has names that were written before, and no count."""
    if "boxcam.serial" not in graph.meta:
        names = (str(value.name) for value in (*all_values(graph), *graph.initializers.values()))
        taken = [int(found[1]) for name in names if (found := _WRITTEN.fullmatch(name))]
        graph.meta["boxcam.serial"] = max(taken, default=-1) + 1
    number: int = graph.meta["boxcam.serial"]
    graph.meta["boxcam.serial"] = number + 1
    return number


_WRITTEN = re.compile(r"boxcam\..*/\w+?_(\d+)")
