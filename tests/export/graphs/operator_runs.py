"""A case of an operator, to be run with other inputs; and its node, as the table sees it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import helper
from onnx.reference import ReferenceEvaluator

from tests.export.graphs.operator_cases import Array, Case


class Runner:
    """A case's node, to be run with other inputs."""

    def __init__(self, case: Case) -> None:
        self.case = case
        names = [f"x{i}" if x is not None else "" for i, x in enumerate(case.inputs)]
        outputs = [f"y{i}" for i in range(case.outputs)]
        node = helper.make_node(case.operator, names, outputs, **case.attributes)
        given = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for name, x in zip(names, case.inputs, strict=True)
            if x is not None
        ]
        self._wanted = "y0" if case.sequence else f"y{case.output}"
        graph = helper.make_graph([node], "one", given, [onnx.ValueInfoProto(name=self._wanted)])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=10)
        if case.reference:
            self._run = ReferenceEvaluator(model).run
            return
        inferred = onnx.shape_inference.infer_shapes(model)
        del model.graph.output[:]
        model.graph.output.extend(inferred.graph.output)
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 4, 1

        def run(names: list[str], feeds: dict[str, Array]) -> Any:
            if self._session is None or "seed" in case.attributes:  # random numbers begin anew with a session
                self._session = onnxruntime.InferenceSession(
                    model.SerializeToString(), options, ["CPUExecutionProvider"]
                )
            return self._session.run(names, feeds)

        self._session: Any = None
        self._run = run

    def __call__(self, changed: dict[int, Array] | None = None) -> Array:
        """The output that is looked at, with some inputs replaced."""
        inputs = {**dict(enumerate(self.case.inputs)), **(changed or {})}
        with np.errstate(all="ignore"):
            (found,) = self._run([self._wanted], {f"x{i}": np.asarray(x) for i, x in inputs.items() if x is not None})
        return np.asarray(found[self.case.output] if self.case.sequence else found)

    @property
    def floats(self) -> list[int]:
        """The numbers of its inputs of floating-point numbers, but for sizes."""
        inputs = enumerate(self.case.inputs)
        return [i for i, x in inputs if x is not None and x.dtype.kind == "f" and i not in self.case.fixed]


@cache
def run_of(case: Case) -> Runner:
    return Runner(case)


@cache
def node_of(case: Case) -> ir.Node:
    """The node as the table sees it: what its first input holds is not known, what the others hold is."""
    values: list[ir.Value | None] = []
    for number, x in enumerate(case.inputs):
        if x is None:
            values.append(None)
            continue
        value = ir.Value(name=f"x{number}", shape=ir.Shape(x.shape))
        value.const_value = ir.tensor(x) if number else None
        values.append(value)
    attributes = {
        a.name: ir.from_proto(a) for a in helper.make_node(case.operator, [], [], **case.attributes).attribute
    }
    node = ir.Node("", case.operator, values, list(attributes.values()), num_outputs=case.outputs)
    node.outputs[0 if case.sequence else case.output].shape = ir.Shape(run_of(case)().shape)
    ir.Graph([], [], nodes=[node], opset_imports={"": case.opset})
    return node
