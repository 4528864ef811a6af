"""Replay: run the part of a detector between some of its values and others, with everything beside it held fixed.

What the operators in between read beside the path of the gradient (proposals, indices, sizes) is held as it was in one
run of the detector: a perturbed feature would move the proposals too, and a gradient is for the given ones.  So is the
order of what is sorted: an element stays the one of its box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import onnx as reference_onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from boxcam.export.graphs.dependency import differentiable_inputs, gradient_reaches
from boxcam.export.graphs.extract import clone_model, cut_part
from boxcam.export.graphs.operators import Mixes, operator_of
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import Array, all_values, attribute_of, constant_array, static_shape, values_read
from boxcam.export.graphs.run import observe_values, open_session
from boxcam.export.verify import double
from boxcam.export.verify.resizing import UNKNOWN

Arrays = Mapping[str, Array]

_MOST_PRODUCTS = 1e11  # a core multiplies as many in 4 s, and a check runs twice if all is well
_MOST_NUMBERS = 8e7  # that products give: all of them are kept, and what is computed of them element by element: 2 GB
_EINSUM_COST = 2000  # of one of its products, which run one by one, in those of a convolution


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
        _drop_empty_inputs(work.graph)
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
        self._run = work, feeds

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
        if any(map(_slow_in_reference, self._model.graph)) or self.products > _MOST_PRODUCTS:
            return False
        return sum(_size(self._sizes, node.outputs[0]) for node in self._weighing) <= _MOST_NUMBERS

    @property
    def products(self) -> float:
        """Multiplications of its convolutions and matrix products; other operators do not count."""
        return sum(_products(node, self._sizes) for node in self._weighing)

    @property
    def _weighing(self) -> list[ir.Node]:
        return [node for node in self._model.graph if node.op_type in _PRODUCTS]

    @cached_property
    def _sizes(self) -> Mapping[str, Sequence[int | None]]:
        """The shapes of what products read and give, by name."""
        work, feeds = self._run
        used = {str(value.name): value for node in self._weighing for value in (*node.inputs, node.outputs[0]) if value}
        sizes = {name: shape for name, value in used.items() if (shape := static_shape(value)) and None not in shape}
        unknown = [name for name in used if name not in sizes]  # as how many proposals there are: a run tells
        probe = clone_model(work)
        op, by_name = Ops(probe.graph, "boxcam.sizes"), {str(value.name): value for value in all_values(probe.graph)}
        found = observe_values(probe, [op.Shape(by_name[name]) for name in unknown], feeds)
        return {**sizes, **{name: [int(n) for n in array] for name, array in zip(unknown, found, strict=True)}}

    @cached_property
    def _session(self) -> Any:
        return open_session(self._model)

    @cached_property
    def _reference(self) -> ReferenceEvaluator:
        return ReferenceEvaluator(_in_double(ir.to_proto(self._model)), new_ops=list(double.OPERATORS))


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


def _drop_empty_inputs(graph: ir.Graph) -> None:
    """Leave out a Resize's region and scales that have no number, which say as much as ones that are not there.

    Paddle and older PyTorch write them; ONNX's reference implementation, as of onnx 1.17, reads the first number.
    """
    for node in graph:
        if node.op_type == "Resize":
            for index in (1, 2):
                value = node.inputs[index] if index < len(node.inputs) else None
                array = constant_array(value) if value is not None else None
                if array is not None and not array.size:
                    node.replace_input_with(index, None)


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
    if node.op_type in _FAST:
        rank = len(static_shape(node.inputs[0]) or range(4))  # type: ignore[arg-type]
        beyond = operator.samples and (rank != 4 or attribute_of(node, "mode", "") == "max")
        return beyond or len(node.outputs) > 1 or (node.op_type == "Resize" and _is_unknown(node))
    return operator.samples or (operator.mixes is Mixes.WINDOW and not operator.weighs)


def _is_unknown(resize: ir.Node) -> bool:
    """Whether a Resize is left to ONNX's reference implementation, which may go from number to number."""
    return any(attribute_of(resize, name, None) in values for name, values in UNKNOWN.items())


_FAST = {one.__name__ for one in double.OPERATORS}


_PRODUCTS = ("Conv", "ConvTranspose", "DeformConv", "Einsum", "Gemm", "MatMul")


def _products(node: ir.Node, sizes: Mapping[str, Sequence[int | None]]) -> float:
    """Multiplications of one of `_PRODUCTS`, whose inputs and output have known sizes."""
    shapes = [[int(size or 0) for size in sizes[str(value.name)]] for value in node.inputs if value is not None]
    out = _size(sizes, node.outputs[0])
    if node.op_type == "Einsum":
        return _EINSUM_COST * _einsum_products(node, shapes)
    if node.op_type == "ConvTranspose":
        return float(prod(shapes[0]) * prod(shapes[1][1:]))
    if node.op_type in ("Conv", "DeformConv"):
        return float(out * prod(shapes[1][1:]))
    along = 0 if node.op_type == "Gemm" and attribute_of(node, "transA", 0) else -1
    return float(out * shapes[0][along])


def _size(sizes: Mapping[str, Sequence[int | None]], value: ir.Value) -> int:
    return prod(int(size or 0) for size in sizes[str(value.name)])


def _einsum_products(node: ir.Node, shapes: Sequence[Sequence[int]]) -> float:
    """The product of the sizes of all letters; endless where dots stand for some."""
    letters = str(attribute_of(node, "equation")).replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for shape, axes in zip(shapes, letters, strict=True):
        if len(shape) != len(axes):
            return float("inf")
        sizes.update(zip(axes, shape, strict=True))
    return float(prod(sizes.values()))


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
