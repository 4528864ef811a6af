"""Small ONNX graphs written by hand: ``net.Add(a, b)`` appends a node and returns the name of its output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper
from onnx_ir.passes import common as passes

Shape = Sequence[int | str]
Arrays = dict[str, np.ndarray]


class Net:
    """A graph in the making. Operands are names of values, arrays (constants) or None."""

    def __init__(self, opset: int = 18) -> None:
        self.opset = opset
        self.inputs: list[onnx.ValueInfoProto] = []
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._count = 0

    def input(self, name: str, shape: Shape, dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def constant(self, array: Any, name: str | None = None, keep: bool = False) -> str:
        """Store an array; float64 becomes float32 unless it is to be kept."""
        found = np.asarray(array)
        if found.dtype == np.float64 and not keep:
            found = found.astype(np.float32)
        name = name or self.name("constant")
        self.constants.append(numpy_helper.from_array(found, name))
        return name

    def name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"

    def node(
        self, kind: str, inputs: Sequence[Any], outputs: int = 1, name: str | None = None, **attributes: Any
    ) -> list[str]:
        names = ["" if i is None else i if isinstance(i, str) else self.constant(i) for i in inputs]
        results = [name or self.name(kind)] + [self.name(kind) for _ in range(outputs - 1)]
        self.nodes.append(helper.make_node(kind, names, results, name=f"node_{results[0]}", **attributes))
        return results

    def __getattr__(self, kind: str) -> Callable[..., str]:
        if not kind[0].isupper():
            raise AttributeError(kind)
        return lambda *inputs, **attributes: self.node(kind, inputs, **attributes)[0]

    def graph(self, outputs: dict[str, int]) -> onnx.GraphProto:
        infos = [helper.make_tensor_value_info(name, dtype, None) for name, dtype in outputs.items()]
        return helper.make_graph(self.nodes, "net", self.inputs, infos, self.constants)

    def proto(self, outputs: Sequence[str] | dict[str, int]) -> onnx.ModelProto:
        typed = outputs if isinstance(outputs, dict) else dict.fromkeys(outputs, TensorProto.FLOAT)
        return helper.make_model(self.graph(typed), opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)

    def model(self, outputs: Sequence[str] | dict[str, int]) -> ir.Model:
        model = ir.from_proto(self.proto(outputs))
        passes.ShapeInferencePass()(model)
        return model


def branch(build: Callable[[Net], str], outer: Net, dtype: int = TensorProto.FLOAT) -> onnx.GraphProto:
    """A subgraph for `If`, which may use the names of the graph around it."""
    inner = Net(outer.opset)
    inner._count = outer._count + 1000
    outer._count += 2000
    return inner.graph({build(inner): dtype})
