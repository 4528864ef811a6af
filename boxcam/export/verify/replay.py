"""Replay: run the part of a detector between some of its values and others, with everything beside it held fixed.

What the operators in between read beside the path of the gradient (proposals, indices, sizes) is held as it was in one
run of the detector: a perturbed feature would move the proposals too, and a gradient is for the given ones.  So is the
order of what is sorted: an element stays the one of its box.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import onnx as reference_onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from boxcam.export.graphs.dependency import differentiable_inputs, gradient_reaches
from boxcam.export.graphs.extract import clone_model, cut_part
from boxcam.export.graphs.operators import Mixes, operator_of
from boxcam.export.graphs.query import Array, all_values, attribute_of, constant_array, static_shape, values_read
from boxcam.export.graphs.run import observe_values, open_session

Arrays = Mapping[str, Array]

_REFERENCE_LIMIT = 1e9  # products; beyond, ONNX's reference implementation takes too long


class Replay:
    """A part of a detector that can be run again and again.

    Args:
        model: the folded detector; it is not changed.
        names: the values that will be given.
        targets: the values that are asked for.
        feeds: of the detector's run that fixes everything else.
    """

    def __init__(self, model: ir.Model, names: Sequence[str], targets: Sequence[str], feeds: Arrays) -> None:
        work = clone_model(model)
        _keep_order(work.graph)
        by_name = {str(value.name): value for value in all_values(work.graph)}
        sources = [by_name[name] for name in names]
        leaves = [by_name[name] for name in targets]
        beside = _beside(work.graph, sources, leaves)
        held = observe_values(work, beside, feeds)
        self._fixed = dict(zip((str(v.name) for v in beside), held, strict=True))
        ends = [*sources, *beside]
        self._handed_on = [str(leaf.name) for leaf in leaves if leaf in ends]  # given, or held as they are
        self.targets = [name for name in targets if name not in self._handed_on]
        self._model = cut_part(work, ends, [leaf for leaf in leaves if leaf not in ends])

    def __call__(self, given: Arrays) -> dict[str, Array]:
        """The targets in float32, by ONNX Runtime."""
        everything = {**self._fixed, **given}
        names = [str(value.name) for value in self._model.graph.inputs]
        results = self._session.run(None, {name: everything[name] for name in names}) if self.targets else []
        found = dict(zip(self.targets, results, strict=True))
        return {**found, **{name: everything[name] for name in self._handed_on}}

    def exactly(self, given: Arrays) -> dict[str, Array]:
        """The targets in float64, by ONNX's reference implementation; only for what is `small`."""
        everything = {name: _double(array) for name, array in {**self._fixed, **given}.items()}
        names = [str(value.name) for value in self._model.graph.inputs]
        results = self._reference.run(None, {name: everything[name] for name in names}) if self.targets else []
        found = dict(zip(self.targets, results, strict=True))
        return {**found, **{name: everything[name] for name in self._handed_on}}

    @cached_property
    def small(self) -> bool:
        """Whether the reference implementation can run it in a few seconds."""
        nodes = list(self._model.graph)
        return not any(map(_slow_in_reference, nodes)) and sum(map(_products, nodes)) < _REFERENCE_LIMIT

    @cached_property
    def _session(self) -> Any:
        return open_session(self._model)

    @cached_property
    def _reference(self) -> ReferenceEvaluator:
        return ReferenceEvaluator(_in_double(ir.to_proto(self._model)), new_ops=[Erf, Gelu])


class Erf(OpRun):
    """The error function in the precision of its input: ONNX's own reference implementation rounds it to float32."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype),)


class Gelu(OpRun):
    """GELU in the precision of its input: ONNX's own reference implementation makes it of its own `Erf`."""

    op_domain = ""

    def _run(self, x: Array, approximate: str = "none") -> tuple[Array]:
        if approximate == "tanh":
            return (x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),)
        return (x / 2 * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2)).astype(x.dtype)),)


def _keep_order(graph: ir.Graph) -> None:
    """Let the values that a TopK gives be read at its indices, which can be held."""
    for node in list(graph):
        if node.op_type != "TopK" or not (node.outputs[0].uses() or node.outputs[0].is_graph_output()):
            continue
        sorted_, order = node.outputs
        axis, shape = int(attribute_of(node, "axis", -1)), static_shape(node.inputs[0])  # type: ignore[arg-type]
        axis = axis if shape is None else axis % len(shape)  # ONNX's reference takes no negative one
        read = ir.node("GatherElements", [node.inputs[0], order], {"axis": axis})
        found = read.outputs[0]
        found.name, found.type, found.shape = sorted_.name, sorted_.type, sorted_.shape
        ir.convenience.replace_all_uses_with(sorted_, found, replace_graph_outputs=True)
        sorted_.name = f"{sorted_.name}/sorted"
        order.name = order.name or f"{sorted_.name}/order"
        order.dtype = ir.DataType.INT64
        graph.insert_after(node, read)


def _beside(graph: ir.Graph, sources: Sequence[ir.Value], leaves: Sequence[ir.Value]) -> list[ir.Value]:
    """Values that the operators in between read beside the path of the gradient."""
    reached = gradient_reaches(graph, sources)
    held: dict[ir.Value, None] = {}
    seen: set[ir.Value] = set(sources)
    held.update(dict.fromkeys(leaf for leaf in leaves if leaf not in reached))  # no feature moves these
    todo = [leaf for leaf in leaves if leaf in reached and leaf not in seen]
    while todo:
        value = todo.pop()
        node = value.producer()
        if value in seen or node is None:
            continue
        seen.add(value)
        carrying = [used for used in differentiable_inputs(node) if used in reached]
        todo.extend(carrying)
        moving = [used for used in values_read(node) if constant_array(used) is None]
        held.update(dict.fromkeys(used for used in moving if not any(used is c for c in carrying)))
    return [value for value in held if value not in sources]


def _slow_in_reference(node: ir.Node) -> bool:
    """Whether ONNX's reference implementation goes from window to window, or from sample to sample, in Python."""
    operator = operator_of(node)
    pools = operator.mixes is Mixes.WINDOW and not operator.weighs
    return pools or operator.samples or node.op_type == "Einsum"  # whose products are not counted


def _products(node: ir.Node) -> float:
    """Multiplications of a convolution or a matrix product; other operators do not count."""
    out = static_shape(node.outputs[0]) or ()
    weight = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    if not operator_of(node).weighs or weight is None:
        return 0.0
    cells = prod(d or 1 for d in out)
    return float(cells * weight.size / max(weight.shape[0 if node.op_type == "Conv" else -1], 1))


def _double(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype == np.float32 else array


def _in_double(model: Any) -> Any:
    """The same graph, all of its float32 values in float64."""
    single, double = reference_onnx.TensorProto.FLOAT, reference_onnx.TensorProto.DOUBLE
    for tensor in model.graph.initializer:
        if tensor.data_type == single:
            array = reference_onnx.numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(reference_onnx.numpy_helper.from_array(array, tensor.name))
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.elem_type == single:
            value.type.tensor_type.elem_type = double
    del model.graph.value_info[:]
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == single:
                attribute.i = double
            if attribute.HasField("t") and attribute.t.data_type == single:
                array = reference_onnx.numpy_helper.to_array(attribute.t).astype(np.float64)
                attribute.t.CopyFrom(reference_onnx.numpy_helper.from_array(array))
    return model
