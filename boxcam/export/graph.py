"""Small helpers over the ONNX IR: read, fold, run, extract, and write nodes as ``op.Add(a, b)``."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime
from onnx import version_converter
from onnx_ir.passes import common as passes

from boxcam.errors import ExportError, UnsupportedOperatorError
from boxcam.runtime.failures import found_nothing, reason

Array = npt.NDArray[Any]
Operand = ir.Value | Array | int | float | bool | Sequence[int] | None

STANDARD = ("", "ai.onnx")
"""Domains of standard operators."""
RUNNABLE = ("com.microsoft",)
"""Domains of operators that ONNX Runtime runs all the same: they have no gradient."""
_EMITTED_FROM_OPSET = 13  # the operators written here have had their present inputs since then
_CONVERTED_FROM_OPSET = 11
_DUPLICATED = "/duplicated"  # what ONNX Runtime adds to the names of what it copies


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
        names = (str(value.name) for value in (*values(graph), *graph.initializers.values()))
        taken = [int(found[1]) for name in names if (found := _WRITTEN.fullmatch(name))]
        graph.meta["boxcam.serial"] = max(taken, default=-1) + 1
    number: int = graph.meta["boxcam.serial"]
    graph.meta["boxcam.serial"] = number + 1
    return number


_WRITTEN = re.compile(r"boxcam\..*/\w+?_(\d+)")


def opset(model: ir.Model | ir.Graph) -> int:
    """The version of the standard operators that a graph uses."""
    imports = model.opset_imports
    return imports.get("", imports.get("ai.onnx", 1)) or 1


def array(value: ir.Value | None) -> Array | None:
    """The constant that a value holds, or None."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return np.asarray(value.const_value.numpy())


def static_shape(value: ir.Value) -> tuple[int | None, ...] | None:
    """The shape of a value with None for dimensions that are not known, or None if its rank is not."""
    if value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else None for d in value.shape.dims)


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """An attribute of a node as a plain Python value."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def axes(node: ir.Node, position: int = 1) -> list[int] | None:
    """The axes of Squeeze, Unsqueeze or a reduction, which moved from an attribute to an input over the opsets."""
    if "axes" in node.attributes:
        return [int(a) for a in attribute(node, "axes")]
    if len(node.inputs) <= position or node.inputs[position] is None:
        return None
    constant = array(node.inputs[position])
    if constant is None:
        raise UnsupportedOperatorError(f"{describe(node)} computes its axes; only constant axes can be followed.")
    return [int(a) for a in constant.reshape(-1)]


def describe(node: ir.Node) -> str:
    """A node in a message: operator, name."""
    domain = "" if node.domain in STANDARD else f"{node.domain}::"
    label = node.name or (node.outputs[0].name if node.outputs else None)
    return f"{domain}{node.op_type} ({label})"


def with_shape(value: ir.Value | None) -> str:
    """A value in a message: name, shape."""
    if value is None:
        return "nothing"
    shape = static_shape(value)
    return (
        f"{value.name} [{'rank unknown' if shape is None else ', '.join('?' if d is None else str(d) for d in shape)}]"
    )


def find(graph: ir.Graph, name: str) -> ir.Value | None:
    """The value of that name in the main graph."""
    for value in values(graph):
        if value.name == name:
            return value
    return None


def values(graph: ir.Graph) -> Iterator[ir.Value]:
    """All inputs and node outputs of the main graph."""
    yield from graph.inputs
    for node in graph:
        yield from node.outputs


def ancestors(roots: Iterable[ir.Value], stop: Iterable[ir.Value] = ()) -> list[ir.Node]:
    """Nodes that the roots are computed from, in topological order, not going past the values in ``stop``."""
    stops = {id(value) for value in stop}
    order: list[ir.Node] = []
    done: set[int] = set()
    for root in roots:
        stack: list[tuple[ir.Value | None, bool]] = [(root, False)]
        while stack:
            value, expanded = stack.pop()
            node = value.producer() if value is not None else None
            if value is None or node is None or id(value) in stops or id(node) in done:
                continue
            if expanded:
                done.add(id(node))
                order.append(node)
                continue
            stack.append((value, True))
            stack.extend((used, False) for used in uses(node))
    return order


def uses(node: ir.Node) -> Iterator[ir.Value]:
    """Values that a node reads, those that its subgraphs capture included."""
    for value in node.inputs:
        if value is not None:
            yield value
    for attr in node.attributes.values():
        if attr.type == ir.AttributeType.GRAPH:
            yield from _captured(attr.as_graph())


def _captured(graph: ir.Graph) -> Iterator[ir.Value]:
    """Values of the graphs around a subgraph that it reads."""
    own = {*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)}
    for read in (*(value for node in graph for value in uses(node)), *graph.outputs):
        if read not in own:
            yield read


def add_output(graph: ir.Graph, value: ir.Value) -> None:
    """Make a value a graph output too."""
    if not any(value is output for output in graph.outputs):
        graph.outputs.append(value)


def cut(model: ir.Model, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value]) -> ir.Model:
    """A copy of the part of a model between some values: tensors are shared, nodes and values are new.

    Inputs that the part does not use are left out.

    Raises:
        ExportError: the outputs depend on something that is neither an input nor a constant, or on a branch.
    """
    nodes = ancestors(outputs, inputs)
    for node in nodes:
        if any(attr.type == ir.AttributeType.GRAPH for attr in node.attributes.values()):
            raise ExportError(
                f"{describe(node)} between the layer and the logits has branches. Choose a layer behind it."
            )
    used = {id(value) for node in nodes for value in uses(node)}
    mapping: dict[ir.Value, ir.Value] = {}
    kept = []
    for value in inputs:
        if id(value) in used:
            mapping[value] = ir.Value(name=value.name, type=value.type, shape=value.shape)
            kept.append(mapping[value])
    constants: list[ir.Value] = []

    def mapped(value: ir.Value | None) -> ir.Value | None:
        if value is None or value in mapping:
            return None if value is None else mapping[value]
        if value.const_value is None:
            raise ExportError(f"{value.name!r} is computed in front of the layer and missing behind it.")
        copy = ir.Value(name=value.name, type=value.type, shape=value.shape, const_value=value.const_value)
        mapping[value] = copy
        constants.append(copy)
        return copy

    copies = []
    for node in nodes:
        given, attributes = [mapped(v) for v in node.inputs], node.attributes.values()
        copy = ir.Node(node.domain, node.op_type, given, attributes, num_outputs=len(node.outputs), name=node.name)
        for old, new in zip(node.outputs, copy.outputs, strict=True):
            new.name, new.type, new.shape = old.name, old.type, old.shape if old.type is not None else None
            mapping[old] = new
        copies.append(copy)
    graph = ir.Graph(
        kept,
        [mapping[value] for value in outputs],
        nodes=copies,
        initializers=constants,
        opset_imports={"": opset(model)},
        name="part",
    )
    return ir.Model(graph, ir_version=max(model.ir_version or 8, 8), producer_name="boxcam")


def clone(model: ir.Model) -> ir.Model:
    """A copy of a model that shares its tensors."""
    return ir.Model(model.graph.clone(), ir_version=model.ir_version or 8, producer_name="boxcam")


def fold(model: ir.Model) -> ir.Model:
    """Fold constants, fuse BatchNormalization into Conv, drop what does nothing; outputs keep their names.

    The work is ONNX Runtime's own "basic" optimisation, which emits standard operators only.  Opsets 11 and 12 become
    13 first.

    Raises:
        ExportError: the opset is older, or the graph cannot be converted.
        UnsupportedOperatorError: an operator is neither the standard's nor ONNX Runtime's own.
    """
    model = modern(model)
    with tempfile.TemporaryDirectory() as folder:
        folded = os.path.join(folder, "folded.onnx")
        options = quiet_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = folded
        try:
            session(model, options)
        except Exception as error:  # onnxruntime's own errors share no public root
            said = " ".join(str(error).split())
            raise ExportError(
                f"onnxruntime {onnxruntime.__version__} cannot load the model (opset {opset(model)}): {said}"
            ) from error
        result = ir.load(folded)
        ir.external_data.load_to_model(result)
        for constant in result.graph.initializers.values():
            if constant.const_value is not None:  # detach from the temporary file
                constant.const_value = ir.tensor(np.array(constant.const_value.numpy()), name=constant.name)
    used = {node.domain for node in result.graph.all_nodes()}
    foreign = sorted({describe(node) for node in result.graph.all_nodes() if node.domain not in (*STANDARD, *RUNNABLE)})
    if foreign:
        raise UnsupportedOperatorError(f"the model uses operators outside the ONNX standard: {', '.join(foreign[:3])}.")
    kept = {name: version for name, version in result.opset_imports.items() if name in STANDARD or name in used}
    result.graph.opset_imports.clear()
    result.graph.opset_imports.update(kept)
    notes = logging.getLogger(passes.DeduplicateHashedInitializersPass.__module__)
    level = notes.level
    notes.setLevel(logging.ERROR)  # that the constants of an If are left alone concerns nobody
    passes.DeduplicateHashedInitializersPass(size_limit=1 << 40)(result)
    notes.setLevel(level)
    _share_dequantized(result.graph)
    passes.ShapeInferencePass()(result)
    return result


def modern(model: ir.Model) -> ir.Model:
    """The model in an opset that nodes can be written into."""
    version = opset(model)
    if version >= _EMITTED_FROM_OPSET:
        return model
    if version < _CONVERTED_FROM_OPSET:
        raise ExportError(
            f"the model has opset {version}; export it with opset {_CONVERTED_FROM_OPSET} or newer, best with"
            f" {_EMITTED_FROM_OPSET} or newer."
        )
    try:
        converted = version_converter.convert_version(ir.to_proto(model), _EMITTED_FROM_OPSET)
    except RuntimeError as error:  # the converter's own, and those of the library below it
        said = str(error).strip().rpartition("\n")[2]
        raise ExportError(
            f"the model has opset {version} and cannot be converted to {_EMITTED_FROM_OPSET} ({said}); export it with"
            f" opset {_EMITTED_FROM_OPSET} or newer."
        ) from error
    return ir.from_proto(converted)


def _share_dequantized(graph: ir.Graph) -> None:
    """One DequantizeLinear for all that read it: ONNX Runtime gives each its own, also one to an output of the graph.

    A layer that is what was dequantized would be an output that nothing depends on.
    """
    known: dict[tuple[object, ...], ir.Value] = {}
    for node in sorted(graph, key=lambda node: _DUPLICATED in str(node.outputs[0].name)):
        if node.op_type == "DequantizeLinear":
            settings = sorted((a.name, a.value) for a in node.attributes.values())
            value = known.setdefault((*node.inputs, *settings), node.outputs[0])
            if value is not node.outputs[0] and not node.outputs[0].is_graph_output():
                ir.convenience.replace_all_uses_with(node.outputs[0], value)
                graph.remove(node, safe=True)
    taken = {value.name for value in values(graph)}
    for value in known.values():  # where there is no other any more, it is the one of the model's own name
        own = str(value.name).partition(_DUPLICATED)[0]
        if own not in taken:
            value.name = own
    graph.sort()


def quiet_options(threads: int = 0) -> Any:
    """Session options that keep ONNX Runtime's log off the screen: what fails is an exception too."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.enable_mem_reuse = False  # see `boxcam.runtime.sessions`: it is what takes minutes for large graphs
    return options


def session(model: ir.Model | str | Path, options: Any = None) -> Any:
    """An ONNX Runtime session on the CPU."""
    options = options or quiet_options()
    if isinstance(model, (str, Path)):
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return onnxruntime.InferenceSession(serialized(model), options, providers=["CPUExecutionProvider"])


def serialized(model: ir.Model) -> bytes:
    """A model as the bytes of its file."""
    data: bytes = ir.to_proto(model).SerializeToString()
    return data


def run(model: ir.Model, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Run a model once; returns its outputs by name.

    Raises:
        ExportError: ONNX Runtime cannot.
    """
    try:
        running = session(model)
        names = [output.name for output in running.get_outputs()]
        wanted = {given.name for given in running.get_inputs()}
        results = running.run(None, {name: feed for name, feed in feeds.items() if name in wanted})
    except Exception as error:  # onnxruntime's own errors share no public root
        raise ExportError(failed(model, error)) from error
    return dict(zip(names, results, strict=False))


def failed(model: ir.Model, error: Exception) -> str:
    """What to say of a run that failed."""
    advice = ""
    if found_nothing(error):
        advice = " Give a picture in which it finds something with --sample."
    elif any(len(shape) == 4 and None in shape[1:] for v in model.graph.inputs if (shape := static_shape(v))):
        advice = (
            " The size of the image is open, and a model may not bear each: give sides of a larger multiple, such as"
            " --preprocess multiple=64, or fix the size with --shape, such as --shape 640x640."
        )
    return f"onnxruntime cannot run the model (opset {opset(model)}): {reason(error)}.{advice}"


def record_ranks(model: ir.Model, feeds: Mapping[str, Array]) -> None:
    """Tell the rank of every value that shape inference could not, from one run; its dimensions stay open."""
    unknown = [value for value in values(model.graph) if value.shape is None]
    for value, result in zip(unknown, observe(model, unknown, feeds), strict=True):
        value.shape = ir.Shape([None] * result.ndim)
        value.dtype = ir.DataType.from_numpy(result.dtype)


def observe(model: ir.Model, targets: Sequence[ir.Value], feeds: Mapping[str, Array]) -> list[Array]:
    """What some values of the main graph are in one run."""
    if not targets:
        return []
    probe = clone(model)
    by_name = {value.name: value for value in values(probe.graph)}
    probe.graph.outputs.clear()
    probe.graph.outputs.extend(by_name[value.name] for value in targets)
    passes.RemoveUnusedNodesPass()(probe)
    results = run(probe, feeds)
    return [results[str(value.name)] for value in targets]
