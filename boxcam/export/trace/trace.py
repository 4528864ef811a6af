"""Trace: which number inside of the detector made the score, or a side, of a detection?

The selection path (Gather, TopK, NonMaxSuppression, Concat, Reshape, `If` …) only moves numbers about.  So the position
of each reported number is followed *backwards* through it, node by node, as a handful of integer nodes that are added
to the graph itself: a Transpose permutes the coordinates, a Gather replaces one by the index that it read, a Concat
tells which of its inputs an element came from (`boxcam.export.trace.rules` has the rules).

Three kinds of targets end in different places.  The way to a ``logit`` goes on where the path passes products with a
class probability, its activation (Sigmoid, Softmax), and the layout operators behind it: it ends at the tensor of
logits.  The way of a ``score``, and of a side of the box, ends where selection does, at the first tensor that is
computed: there the number is the reported one.  The result is exact by construction and costs a few operations on K
integers, whatever the size of the maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from boxcam.bundle import Outputs
from boxcam.errors import TraceError
from boxcam.export.graphs.extract import add_output
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import static_shape
from boxcam.export.trace import position as at
from boxcam.export.trace import rules as _rules  # noqa: F401  (its rules register themselves)
from boxcam.export.trace.position import Coordinate
from boxcam.export.trace.tracer import Rounding, ScorePath, Tracer
from boxcam.targets import LOGIT, Target


@dataclass(frozen=True, eq=False)
class Trace:
    """Where the numbers that are reported come from.

    Attributes:
        logits: the tensors in which the ways back end, in the order in which `origin` numbers them.
        activations: the operator between each of them and the score; ``Identity`` where there is none, or where the way
            is not to a logit.
        origin: int64 [K, 1 + rank]: number of the tensor (-1: none, a filler row), then the position in it.
        logit: float32 [K], the element itself (0 for filler rows).
        inputs: what the activation reads for each of them: the logits in another layout.
        products: of each of them, whether the score is computed from more than its activation: it is a product, of
            which this is the logit of the class.
        target: what was traced.
        roundings: of each of them, how a quantized detector rounds it, and the probabilities that its activation gives.
        factors: of the products on the way, what each makes, and which of its inputs is the same for all classes.
    """

    logits: tuple[ir.Value, ...]
    activations: tuple[str, ...]
    origin: ir.Value
    logit: ir.Value
    inputs: tuple[ir.Value, ...] = ()
    products: tuple[bool, ...] = ()
    target: Target = LOGIT
    roundings: tuple[tuple[Rounding, ...], ...] = ()
    factors: tuple[tuple[ir.Value, int], ...] = ()


def names(outputs: Outputs, target: Target) -> tuple[str, str]:
    """The names of the outputs that are added for a target: of its origin, and of its value."""
    if not target.suffix:
        return outputs.origin, outputs.logits
    return f"{outputs.origin}{target.suffix}", f"{outputs.origin.replace('origin', 'value')}{target.suffix}"


def trace(graph: ir.Graph, outputs: Outputs, target: Target = LOGIT) -> Trace:
    """Add two outputs to a detector's graph: where a number of each detection comes from, and this number.

    They are called as `names` says; several targets can be added to one graph.

    Args:
        graph: the graph; it is changed. The ranks of its values have to be known.
        outputs: which outputs hold the detections, and the names of those of the target ``logit``.
        target: which number: the logit of the class, or one that is reported.

    Raises:
        TraceError: the path passes an operator that can be followed in no way; for a logit: the score is not made of
            one.
    """
    what, reported, column = _reported(graph, outputs, target)
    op = Ops(graph, "trace")
    shape = static_shape(reported)
    if shape is None:
        raise TraceError(
            f"the rank of {what} {reported.name!r} is not known. Name another tensor with scores= and boxes=."
        )
    box_axis = len(shape) - (1 if column is None else 2)
    if box_axis not in (0, 1):
        expected = "[1, K], [K] or [1, K, n]" if target.of_class else "[1, K, 4] or [K, 4]"
        raise TraceError(
            f"{what} {reported.name!r} have shape {list(shape)}, but {expected} is expected. Name another tensor with"
            " scores= and boxes=."
        )
    size = op.Squeeze(op.Gather(op.Shape(reported), [box_axis]), [0])
    numbers = op.Range(0, size, 1)
    start: list[Coordinate] = [0] * box_axis + [numbers]
    if column is not None:
        start.append(column)
    tracer = Tracer(graph, numbers, f"{what} {reported.name!r}", to_logits=target.to_logit)
    columns = tracer.pull(op, reported, tuple(start), ScorePath())
    if columns is None or not tracer.ends:
        raise TraceError(
            f"{what} {reported.name!r} are constant: they do not depend on any logit. Name another tensor with"
            " scores= and boxes=."
        )
    width = 1 + max(at.rank(value) for value in tracer.ends)
    columns = columns + [0] * (width - len(columns))
    origin = op.Identity(at.stack(op, columns, (numbers,)))
    value = _read(op, tracer.ends, origin)
    origin.name, value.name = names(outputs, target)
    for added, dtype, dims in ((origin, ir.DataType.INT64, ("K", width)), (value, ir.DataType.FLOAT, ("K",))):
        added.dtype, added.shape = dtype, ir.Shape(dims)
        add_output(graph, added)
    graph.sort()
    return Trace(
        tuple(tracer.ends),
        tuple(tracer.activations),
        origin,
        value,
        tuple(tracer.inputs),
        tuple(tracer.products),
        target,
        tuple(tracer.roundings),
        tuple(tracer.factors),
    )


def _reported(graph: ir.Graph, outputs: Outputs, target: Target) -> tuple[str, ir.Value, int | None]:
    """What is followed, in a message; the output that has it; its column there."""
    by_name = {str(value.name): value for value in graph.outputs}
    if target.column is None:
        return "the scores", by_name[outputs.scores], outputs.score_column
    first = 0 if outputs.box_columns is None else outputs.box_columns[0]
    return "the boxes", by_name[outputs.boxes], first + target.column


def _read(op: Ops, ends: list[ir.Value], origin: ir.Value) -> ir.Value:
    """The elements that ``origin`` names, as float32; 0 where it names none."""
    number = op.Gather(origin, 0, axis=1)
    result = op.Cast(op.Mul(number, 0), to=ir.DataType.FLOAT)
    for index, tensor in enumerate(ends):
        rows = op.Reshape(op.NonZero(op.Equal(number, index)), [-1])
        inside = op.Slice(op.Gather(origin, rows, axis=0), [1], [1 + at.rank(tensor)], [1])
        found = op.GatherND(tensor, inside)
        if tensor.dtype not in (None, ir.DataType.FLOAT):
            found = op.Cast(found, to=ir.DataType.FLOAT)
        result = op.ScatterND(result, op.Unsqueeze(rows, [1]), found)
    return op.Identity(result)
