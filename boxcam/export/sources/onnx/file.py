"""An ONNX file as a graph that can be worked on: whole, in inference mode, one image at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

import onnx
import onnx_ir as ir
from onnx import IR_VERSION
from onnx.defs import onnx_opset_version
from onnx_ir.passes import common as passes

from boxcam.bundle.pointers import POINTER, is_pointer
from boxcam.errors import BoxcamError, SourceError
from boxcam.export import misuse
from boxcam.export.graphs.external import load_external
from boxcam.export.graphs.fold import upgraded
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import STANDARD, attribute_of, constant_array, describe_node, opset_of
from boxcam.export.passes.stale_shapes import forget_stale_shapes
from boxcam.export.passes.tensorrt_nms import name_domain
from boxcam.export.sources.onnx import wellformed
from boxcam.export.sources.onnx.collections import leave_tensors

_IR_VERSION = 8
"""From 4 on, initializers need not be inputs as well; older files are read as of a later version."""


OPSET = "boxcam.opset"
"""Where a model has the opset of its file."""


def read(path: str) -> ir.Model:
    """Read an ONNX file, its external data included; functions are inlined, old opsets converted.

    Raises:
        SourceError: it is missing, no ONNX file, incomplete, too new, or in training mode.
    """
    if os.path.isdir(path):
        raise SourceError(f"{path} is a folder, not a model. Pass the model's file.")
    if (elsewhere := misuse.address((os.fspath(path),))) is not None:
        raise SourceError(elsewhere)
    if not os.path.isfile(path):
        raise SourceError(f"{path} does not exist. Check the path.")
    if is_pointer(path):
        raise SourceError(f"{path} {POINTER}")
    with _readable(path):
        proto = onnx.load(path, load_external_data=False)
        leave_tensors(proto)
        twice = wellformed.computed_twice(proto.graph)
        model = None if twice else ir.from_proto(proto)
    if model is None:
        raise SourceError(f"{path} is not a valid ONNX graph: the tensor {twice!r} is computed twice. Export it again.")
    if not len(model.graph):
        raise SourceError(f"{path} is not a valid ONNX file: its graph has no node. Export it again.")
    _check_versions(model, path)
    load_external(model, path)
    if said := wellformed.problem(model):
        raise SourceError(f"{path} is not a valid ONNX graph: {said}. Export it again.")
    with _readable(path):
        if model.functions:
            passes.InlinePass()(model)
        passes.RemoveInitializersFromInputsPass()(model)
        model.ir_version = max(model.ir_version or 0, _IR_VERSION)
        model.graph.sort()  # some tools put the nodes that they add last
    open_axes(model.graph)
    compute_outputs(model.graph)
    name_domain(model)
    forget_stale_shapes(model)
    _check_training(model)
    opset = opset_of(model)
    model = upgraded(model)
    model.meta[OPSET] = opset
    return model


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    """Say of a file that onnx or onnx_ir cannot read, whatever they stumble over, that it is not valid."""
    try:
        yield
    except BoxcamError:  # which says what is wrong
        raise
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}. Check its permissions.") from error
    except Exception as error:  # onnx, protobuf and onnx_ir stumble over broken files in ways of their own
        said = " ".join(str(error.__cause__ or error).split())[:120].rstrip(".") or type(error).__name__
        raise SourceError(
            f"{path} is not a valid ONNX file ({said}). Is it truncated? Copy or export it again."
        ) from error


def open_axes(graph: ir.Graph) -> None:
    """Take sizes below 1 of the inputs' axes, as -1, which some tools write for any size, as not known."""
    for value in graph.inputs:
        if value.shape is not None and any(isinstance(size, int) and size < 1 for size in value.shape.dims):
            value.shape = ir.Shape([None if isinstance(size, int) and size < 1 else size for size in value.shape.dims])


def compute_outputs(graph: ir.Graph) -> None:
    """Have a node make each output that is a constant, as the anchors that some detectors hand out."""
    op = Ops(graph, "boxcam.output")
    for position, output in enumerate(list(graph.outputs)):
        if output.producer() is None and not output.is_graph_input():
            copy = op.Identity(output)
            name = str(output.name)
            graph.initializers.pop(name)
            output.name, copy.name = f"{name}.constant", name
            graph.register_initializer(output)
            copy.shape, copy.type = output.shape, output.type
            graph.outputs[position] = copy


def metadata(model: ir.Model) -> Mapping[str, str]:
    """What the file says about itself: Ultralytics and others put task, class names and more there."""
    return dict(model.metadata_props)


def _check_versions(model: ir.Model, path: str) -> None:
    newest = onnx_opset_version()
    if opset_of(model) > newest:
        raise SourceError(
            f"{path} has opset {opset_of(model)}, and the onnx package installed here supports up to {newest}."
            f" Update onnx and onnxruntime, or export the model with opset {newest} or older."
        )
    if (model.ir_version or 0) > IR_VERSION:
        raise SourceError(
            f"{path} has ONNX's IR version {model.ir_version}, and the onnx package installed here supports up to"
            f" {int(IR_VERSION)}. Update onnx and onnxruntime."
        )


def _check_training(model: ir.Model) -> None:
    advice = "Export the model in evaluation mode (in PyTorch: model.eval())."
    for node in model.graph.all_nodes():
        if node.op_type == "BatchNormalization" and node.domain in STANDARD:
            statistics = [v for v in node.outputs[1:] if v.name]
            if attribute_of(node, "training_mode", 0) or statistics:
                raise SourceError(
                    f"the graph is in training mode: {describe_node(node)} uses batch statistics. {advice}"
                )
        if node.op_type == "Dropout" and len(node.inputs) > 2 and node.inputs[2] is not None:
            training = _constant(node.inputs[2])
            if training:
                raise SourceError(
                    f"the graph is in training mode: {describe_node(node)} drops values at random. {advice}"
                )


def _constant(value: ir.Value) -> bool:
    node = value.producer()
    if node is not None and node.op_type == "Constant":
        found = attribute_of(node, "value")
        return found is not None and bool(found.numpy().any())
    array = constant_array(value)
    return array is not None and bool(array.any())
