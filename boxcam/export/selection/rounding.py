"""Rounding to integers, which moves nothing: a quantized detector rounds its probabilities too."""

from __future__ import annotations

from dataclasses import replace

from boxcam.errors import TraceError
from boxcam.export import graph as onnx
from boxcam.export.graph import Ops
from boxcam.export.quantized import RANGES, parameter
from boxcam.export.selection.tracer import Columns, Place, Rounding, Tracer, selects


@selects("QuantizeLinear", "DequantizeLinear")
def round_(t: Tracer, op: Ops, place: Place) -> Columns | None:
    """On the way to a logit, rounding behind the activation is passed; all other numbers are what was rounded."""
    node, value = place.node, place.input(0)
    if not t.to_logits or place.passed.activation:
        return t.end(place)
    if node.op_type == "DequantizeLinear":
        return t.pull(op, value, place.position, place.passed)
    scale, zero, integers = parameter(node, 1), parameter(node, 2), place.value.dtype
    if scale is None or zero is None or integers not in RANGES:
        raise TraceError(
            f"{t.what} are rounded by {onnx.describe(node)} with a scale for each channel, or a computed one; only one"
            " scale can be followed. Quantize the detector without its scores."
        )
    rounding = Rounding(scale, zero, *RANGES[integers])
    passed = replace(place.passed, roundings=(rounding, *place.passed.roundings))
    return t.pull(op, value, place.position, passed)
