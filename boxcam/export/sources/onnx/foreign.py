"""Outputs that only a plugin can compute, as a TensorRT suppression: others take their place where there are some."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import onnx_ir as ir
from onnx import defs
from onnx_ir.passes import common as passes

from boxcam.errors import BoxcamWarning, SourceError
from boxcam.export.graphs.query import RUNNABLE, STANDARD, all_values, ancestors, describe_node
from boxcam.export.source import Request
from boxcam.plurals import verb


def leave_out(model: ir.Model, request: Request) -> None:
    """Leave out outputs that only a plugin can compute, if others or what the user says of the model do without them.

    Tensors that the user names become outputs. For a function of the user's own what the plugin reads is one too.

    Args:
        model: it is changed.
        request: what the user says of it.

    Raises:
        SourceError: all outputs are such, and the user names no others.

    Warns:
        BoxcamWarning: some are, and are left out.
    """
    lost: dict[ir.Value, ir.Node] = {}
    for output in model.graph.outputs:
        makers = [node for node in ancestors([output]) if is_foreign(model, node)]
        if makers:
            lost[output] = makers[0]
    if not lost:
        return
    kept = [output for output in model.graph.outputs if output not in lost]
    maker = next(iter(lost.values()))
    kept += [value for value in _wanted(model, request, maker) if value not in kept]
    if not kept:
        read = ", ".join(str(value.name) for value in maker.inputs if value is not None and _is_computed(value))
        raise SourceError(
            f"the model uses an operator outside the ONNX standard, {describe_node(maker)}, which ONNX Runtime does not"
            f" have, and no output does without it. Pass scores= and boxes= with the tensors that it reads ({read}),"
            " or compute boxes and scores from these with decode=."
        )
    model.graph.outputs.clear()
    model.graph.outputs.extend(kept)
    passes.RemoveUnusedNodesPass()(model)
    if request.scores is None and request.boxes is None and request.decode is None:
        names, count = ", ".join(str(output.name) for output in lost), len(lost)
        warnings.warn(
            f"{names} {verb(count, 'is', 'are')} left out: {describe_node(maker)}, which ONNX Runtime does not have,"
            f" computes {verb(count, 'it', 'them')}. Pass other outputs with scores= and boxes= if"
            f" {verb(count, 'this was', 'these were')} meant.",
            BoxcamWarning,
            stacklevel=2,
        )


def is_foreign(model: ir.Model, node: ir.Node) -> bool:
    """Whether an operator is one of a plugin: not of the standard, nor ONNX Runtime's, nor a function in the file."""
    if (node.domain, node.op_type, node.overload) in model.functions or node.domain in RUNNABLE:
        return False
    return node.domain not in STANDARD or not defs.has(node.op_type)


def _wanted(model: ir.Model, request: Request, maker: ir.Node) -> list[ir.Value]:
    """The tensors that the user names, as far as they need no plugin; what the plugin reads, if he has a function."""
    values: Mapping[str | None, ir.Value] = {value.name: value for value in all_values(model.graph)}
    found = [values[name] for name in (request.scores, request.boxes, request.labels) if name in values]
    if request.decode is not None:
        found += [value for value in maker.inputs if value is not None and _is_computed(value)]
    return [value for value in dict.fromkeys(found) if not any(is_foreign(model, node) for node in ancestors([value]))]


def _is_computed(value: ir.Value) -> bool:
    return value.producer() is not None and value.const_value is None
