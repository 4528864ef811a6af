"""Rounding to integers, which moves nothing: a quantized detector rounds its logits and probabilities."""

from __future__ import annotations

from dataclasses import replace

from boxcam.errors import TraceError
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import describe_node
from boxcam.export.passes.straight_through import RANGES, parameter
from boxcam.export.trace.tracer import Columns, Place, Rounding, Tracer, selects


@selects("DequantizeLinear")
def dequantized(t: Tracer, op: Ops, place: Place) -> Columns | None:
    """On the way to a logit rounding is passed: the logit is what was rounded. Other targets are the rounded numbers.

    What a softmax reads ends the way, as numbers cannot be sent through rounding to see which logits share it.
    """
    integers = place.input(0)
    rounds = integers.producer()
    inside = bool(place.passed.activation)
    if not t.to_logits or place.passed.activation == "Softmax":
        return t.end(place)
    scale, zero = parameter(place.node, 1), parameter(place.node, 2)
    if rounds is None or rounds.op_type != "QuantizeLinear" or scale is None or zero is None:
        if inside:
            return t.end(place)
        raise TraceError(
            f"{t.what} are quantized by {describe_node(place.node)} with a scale per channel, or a computed one, and"
            " only one constant scale can be traced. Quantize the detector without its scores."
        )
    rounded, kind = rounds.inputs[0], integers.dtype
    if rounded is None or kind not in RANGES or (parameter(rounds, 1), parameter(rounds, 2)) != (scale, zero):
        return t.end(place)
    passed = replace(
        place.passed, roundings=(Rounding(scale, zero, *RANGES[kind], of_logits=inside), *place.passed.roundings)
    )
    return t.pull(op, rounded, place.position, passed)
