"""Constant folding, by ONNX Runtime's own optimiser."""

from __future__ import annotations

import logging
import os

import numpy as np
import onnx_ir as ir
from onnx import version_converter
from onnx.shape_inference import InferenceError
from onnx.version_converter import ConvertError
from onnx_ir.passes import common as passes

from boxcam.errors import ExportError, UnsupportedOperatorError
from boxcam.export.graphs import dimensions
from boxcam.export.graphs.moved_integers import dequantize_before_moves
from boxcam.export.graphs.query import RUNNABLE, STANDARD, all_values, describe_node, opset_of
from boxcam.export.graphs.run import open_session, quiet_options
from boxcam.leftovers import temporary_folder
from boxcam.runtime.telemetry import import_onnxruntime

onnxruntime = import_onnxruntime()

EMITTED_FROM_OPSET = 13  # the operators written here have had their present inputs since then

_CONVERTED_FROM_OPSET = 7
"""The oldest one that ONNX Runtime supports."""

_RESIZED_OTHERWISE = 11

_DUPLICATED = "/duplicated"  # what ONNX Runtime adds to the names of what it copies


def fold_model(model: ir.Model) -> ir.Model:
    """Fold constants, fuse BatchNormalization into Conv, drop what does nothing; outputs keep their names.

    The work is ONNX Runtime's own "basic" optimisation, which emits standard operators only.  Opsets 7 to 12 become
    13 first.

    Raises:
        ExportError: the opset is older, or the graph cannot be converted.
        UnsupportedOperatorError: an operator is neither the standard's nor ONNX Runtime's own.
    """
    model = upgraded(model)
    with temporary_folder() as folder:
        folded = os.path.join(folder, "folded.onnx")
        options = quiet_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = folded
        try:
            open_session(model, options)
        except Exception as error:  # onnxruntime's own errors share no public root
            said = " ".join(str(error).split())
            raise ExportError(
                f"onnxruntime {onnxruntime.__version__} cannot load the model (opset {opset_of(model)}):"
                f" {said.rstrip('.')}. Export the model again, or update onnxruntime."
            ) from error
        result = ir.load(folded)
        ir.external_data.load_to_model(result)
        for constant in result.graph.initializers.values():
            if constant.const_value is not None:  # detach from the temporary file
                constant.const_value = ir.tensor(np.array(constant.const_value.numpy()), name=constant.name)
    used = {node.domain for node in result.graph.all_nodes()}
    foreign = sorted(
        {describe_node(node) for node in result.graph.all_nodes() if node.domain not in (*STANDARD, *RUNNABLE)}
    )
    if foreign:
        raise UnsupportedOperatorError(
            f"the model uses operators outside the ONNX standard: {', '.join(foreign[:3])}. Export it without them."
        )
    kept = {name: version for name, version in result.opset_imports.items() if name in STANDARD or name in used}
    result.graph.opset_imports.clear()
    result.graph.opset_imports.update(kept)
    notes = logging.getLogger(passes.DeduplicateHashedInitializersPass.__module__)
    level = notes.level
    notes.setLevel(logging.ERROR)  # that the constants of an If are left alone concerns nobody
    passes.DeduplicateHashedInitializersPass(size_limit=1 << 40)(result)
    notes.setLevel(level)
    dequantize_before_moves(result.graph)
    _share_dequantized(result.graph)
    passes.ShapeInferencePass()(result)
    if dimensions.settle_shapes(result.graph):
        passes.RemoveUnusedNodesPass()(result)
        passes.ShapeInferencePass()(result)
    return result


def upgraded(model: ir.Model) -> ir.Model:
    """The model in an opset that nodes can be written into."""
    version = opset_of(model)
    if version >= EMITTED_FROM_OPSET:
        return model
    if version < _CONVERTED_FROM_OPSET:
        raise ExportError(
            f"the model has opset {version}, which is too old. Export it with opset {_CONVERTED_FROM_OPSET} or newer,"
            f" preferably {EMITTED_FROM_OPSET} or newer."
        )
    try:
        converted = version_converter.convert_version(ir.to_proto(model), EMITTED_FROM_OPSET)
    except (RuntimeError, InferenceError, ConvertError, ValueError, TypeError) as error:
        said = str(error).strip().rpartition("\n")[2]
        raise ExportError(
            f"the model has opset {version} and cannot be converted to {EMITTED_FROM_OPSET} ({said}). Export it with"
            f" opset {EMITTED_FROM_OPSET} or newer."
        ) from error
    model = ir.from_proto(converted)
    if version < _RESIZED_OTHERWISE:
        for node in model.graph.all_nodes():
            if node.op_type == "Resize" and "coordinate_transformation_mode" not in node.attributes:
                _resize_as_before(node)
    return model


def _resize_as_before(node: ir.Node) -> None:
    """Have a Resize of opset 11 or newer do what Upsample and the Resize of opset 10 did, which the converter forgets.

    They measured from the corner, and took the cell before a place where they enlarged, the one behind it where not.
    """
    tensor = ir.convenience.get_const_tensor(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    smaller = tensor is not None and bool((tensor.numpy() < 1).any())
    node.attributes["coordinate_transformation_mode"] = ir.AttrString("coordinate_transformation_mode", "asymmetric")
    node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", "ceil" if smaller else "floor")


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
    taken = {value.name for value in all_values(graph)}
    for value in known.values():  # where there is no other any more, it is the one of the model's own name
        own = str(value.name).partition(_DUPLICATED)[0]
        if own not in taken:
            value.name = own
    graph.sort()
