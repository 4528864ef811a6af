"""Graphs in half precision: a copy in float32, which gradients are of, and the way back.

A detector that was deployed in float16 stays so. What is read of it is worked on in a float32 copy (`widened`): the
trace, the gradients, their verification. Of the finished forward graph, everything that the detector computes in
float16 is then float16 again (`narrow`), and what it hands out is float32: boxes, scores, features, logits.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir
from onnx import defs
from onnx_ir.passes import common as passes

from boxcam.errors import ExportError
from boxcam.export.graphs.dependency import depends
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.operators import Mixes, operator_of
from boxcam.export.graphs.query import STANDARD, all_values, constant_array, describe_node, opset_of
from boxcam.export.graphs.run import open_session

Types = Mapping[str, ir.DataType]

RENAMED = ".float16"
"""What is added to the name of a value that the graph hands out as float32."""
HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "softmax_precision")


def types(model: ir.Model) -> dict[str, ir.DataType]:
    """The types of all values of the main graph, initializers included, as far as they are known; by name."""
    work = clone_model(model)
    passes.ShapeInferencePass()(work)
    found = (*all_values(work.graph), *work.graph.initializers.values())
    return {str(value.name): value.dtype for value in found if value.dtype is not None}


def computed_in(model: ir.Model, name: str, dtype: ir.DataType) -> str | None:
    """What of a graph depends on its input and is of a type: the input's name, or the first node in a message's words.

    Weights that are stored in half precision, and made float32 before they are used, are nothing of the kind.
    """
    if not any(_mentions(graph, dtype) for graph in _graphs(model.graph)):
        return None  # as of most models; shape inference takes seconds
    work = clone_model(model)
    passes.ShapeInferencePass()(work)
    image = next(v for v in work.graph.inputs if v.name == name)
    dependent = depends(work.graph, image)
    for value in all_values(work.graph):
        if value in dependent and value.dtype is dtype:
            node = value.producer()
            return str(value.name) if node is None else describe_node(node)
    return None


def check_runs(model: ir.Model) -> None:
    """Refuse a float16 graph that ONNX Runtime cannot run here: its float32 copy may run all the same.

    Raises:
        ExportError: it cannot.
    """
    try:
        open_session(model)
    except Exception as error:  # onnxruntime's own errors share no public root
        said = " ".join(str(error).split())[:300]
        raise ExportError(
            f"onnxruntime cannot run the float16 model on the CPU ({said}). Export it in float32."
        ) from error


def widened(model: ir.Model) -> ir.Model:
    """A copy in which everything that was float16 or bfloat16 is float32; names are kept, subgraphs included.

    Inputs and outputs are float32 too. A Cast to half precision no longer rounds.
    """
    work = clone_model(model)
    for graph in _graphs(work.graph):
        for value in (*graph.inputs, *graph.initializers.values()):
            _widen_value(value)
        for node in graph:
            for value in node.outputs:
                _widen_value(value)
            for attribute in list(node.attributes.values()):
                _widen_attribute(node, attribute)
    return work


def narrow(model: ir.Model, known: Types) -> None:
    """Make a graph that was built on a widened one float16 again where the detector was, in place.

    A node of the detector is float16 where it was. All others, those that boxcam wrote, stay float32, and so do those
    with subgraphs; a Cast stands where the two meet. The graph's own inputs have the detector's types, its outputs are
    all float32.

    Args:
        model: the graph; its values have the detector's names.
        known: `types` of the detector.

    Raises:
        ExportError: an input of the graph is float16 and also one of its outputs.
    """
    graph = model.graph
    graph.sort()
    nodes = list(graph)
    turned = _Conversions(graph)
    for given in graph.inputs:
        if known.get(str(given.name)) is ir.DataType.FLOAT16:
            _set_type(given, ir.DataType.FLOAT16)
    for node in nodes:
        if operator_of(node).mixes is Mixes.SHAPES and not _makes_floats(node):  # it reads no numbers
            continue
        halves = _half_variables(node, known, opset_of(model))
        for position, value in enumerate(node.inputs):
            if value is not None and value.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
                wanted = ir.DataType.FLOAT16 if halves.inputs[position] else ir.DataType.FLOAT
                node.replace_input_with(position, turned.to(value, wanted))
        for inner in _inner_nodes(node):
            for position, value in enumerate(inner.inputs):
                if value is not None and value.graph is graph and value.dtype is ir.DataType.FLOAT16:
                    inner.replace_input_with(position, turned.to(value, ir.DataType.FLOAT))
        for made, to_half in zip(node.outputs, halves.outputs, strict=True):
            if to_half:
                _set_type(made, ir.DataType.FLOAT16)
        if any(halves.outputs):
            _narrow_attributes(node)
    for position, output in enumerate(list(graph.outputs)):
        if output.dtype is ir.DataType.FLOAT16:
            if output.is_graph_input():
                raise ExportError(
                    f"{output.name} is a float16 input, and cannot be returned as float32. Choose another layer with"
                    " layers=."
                )
            name = str(output.name)
            result = turned.to(output, ir.DataType.FLOAT)
            graph.outputs[position] = result
            output.name, result.name = name + RENAMED, name
    graph.sort()
    passes.RemoveUnusedNodesPass()(model)


class _Halves:
    """Which inputs and outputs of a node are float16."""

    def __init__(self, inputs: list[bool], outputs: list[bool]) -> None:
        self.inputs, self.outputs = inputs, outputs


class _Conversions:
    """Values of one type as the other, each made once."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._taken = {str(value.name) for value in (*all_values(graph), *graph.initializers.values())}
        self._made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def to(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        if value.dtype is dtype:
            return value
        if (value, dtype) not in self._made:
            name = f"{value.name}.{dtype.numpy().name}"
            while name in self._taken:
                name += "_"
            self._taken.add(name)
            self._made[value, dtype] = self._constant(value, dtype, name) or self._cast(value, dtype, name)
        return self._made[value, dtype]

    def _constant(self, value: ir.Value, dtype: ir.DataType, name: str) -> ir.Value | None:
        array = constant_array(value)
        if array is None:
            return None
        with np.errstate(over="ignore"):  # what is infinite in float16 was so in the detector
            tensor = ir.tensor(array.astype(dtype.numpy()), name=name)
        result = ir.Value(name=name, const_value=tensor, type=ir.TensorType(dtype), shape=value.shape)
        self._graph.register_initializer(result)
        return result

    def _cast(self, value: ir.Value, dtype: ir.DataType, name: str) -> ir.Value:
        node = ir.node("Cast", [value], {"to": dtype}, name=name)
        result = node.outputs[0]
        result.name, result.dtype, result.shape = name, dtype, value.shape
        self._graph.append(node)
        return result


def _half_variables(node: ir.Node, known: Types, opset: int) -> _Halves:
    """Which inputs and outputs of a node were float16, by the type variables of its operator.

    What shares a variable, ``T`` of Conv's input, weights and output, has one type.
    """
    nothing = _Halves([False] * len(node.inputs), [False] * len(node.outputs))
    if node.domain not in STANDARD or any(True for _ in _subgraphs(node)):
        return nothing
    if not any(str(value.name) in known for value in node.outputs):
        return nothing  # boxcam's
    schema = defs.get_schema(node.op_type, opset, "")
    inputs, outputs = (
        [formal[min(i, len(formal) - 1)].type_str if formal else "" for i in range(count)]
        for formal, count in ((schema.inputs, len(node.inputs)), (schema.outputs, len(node.outputs)))
    )
    if not _typed_by_attribute(node) and not set(outputs) <= {*inputs, *(t for t in outputs if "(" in t)}:
        made = [v for v, t in zip(node.outputs, outputs, strict=True) if t not in inputs and "(" not in t]
        if any(known.get(str(v.name)) is ir.DataType.FLOAT16 for v in made):
            return nothing  # its type follows from no input: left in float32
    half: dict[str, bool] = {}
    for values, variables in ((node.outputs, outputs), (node.inputs, inputs)):
        for value, variable in zip(values, variables, strict=True):
            if value is not None and "(" not in variable and str(value.name) in known:
                half.setdefault(variable, known[str(value.name)] is ir.DataType.FLOAT16)
    return _Halves([half.get(v, False) for v in inputs], [half.get(v, False) for v in outputs])


def _makes_floats(node: ir.Node) -> bool:
    return any(value.dtype is None or value.dtype.is_floating_point() for value in node.outputs)


def _typed_by_attribute(node: ir.Node) -> bool:
    """Whether the type of an output is that of an attribute, which `_narrow_attributes` turns."""
    return node.op_type == "Cast" or any(a.type == ir.AttributeType.TENSOR for a in node.attributes.values())


def _narrow_attributes(node: ir.Node) -> None:
    for attribute in list(node.attributes.values()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype is ir.DataType.FLOAT:
            tensor = ir.tensor(attribute.as_tensor().numpy().astype(np.float16))
            node.attributes[attribute.name] = ir.AttrTensor(attribute.name, tensor)
        elif node.op_type == "Cast" and attribute.name == "to":
            node.attributes["to"] = ir.AttrInt64("to", ir.DataType.FLOAT16)


def _widen_value(value: ir.Value) -> None:
    if value.dtype in HALF:
        _set_type(value, ir.DataType.FLOAT)
    constant = value.const_value
    if constant is not None and constant.dtype in HALF:
        value.const_value = _wide(constant)


def _widen_attribute(node: ir.Node, attribute: ir.Attr) -> None:
    name = attribute.name
    if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in HALF:
        node.attributes[name] = ir.AttrTensor(name, _wide(attribute.as_tensor()))
    elif attribute.type == ir.AttributeType.INT and name in _TYPE_ATTRIBUTES and attribute.as_int() in HALF:
        node.attributes[name] = ir.AttrInt64(name, ir.DataType.FLOAT)


def _wide(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype(np.float32), name=tensor.name)


def _set_type(value: ir.Value, dtype: ir.DataType) -> None:
    """Copies of a graph share the objects that are types."""
    value.type = copy.deepcopy(value.type)
    value.dtype = dtype


def _mentions(graph: ir.Graph, dtype: ir.DataType) -> bool:
    """Whether an input, a constant or an attribute of a graph is of a type, or a value is known to be."""
    for value in (*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs)):
        if value.dtype is dtype or (value.const_value is not None and value.const_value.dtype is dtype):
            return True
    for attribute in (attribute for node in graph for attribute in node.attributes.values()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype is dtype:
            return True
        if (
            attribute.type == ir.AttributeType.INT
            and attribute.name in _TYPE_ATTRIBUTES
            and attribute.as_int() == dtype
        ):
            return True
    return False


def _graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    """A graph, and those inside of it."""
    yield graph
    for node in graph:
        for inner in _subgraphs(node):
            yield from _graphs(inner)


def _subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def _inner_nodes(node: ir.Node) -> Iterator[ir.Node]:
    for graph in _subgraphs(node):
        for inner in _graphs(graph):
            yield from inner
