"""Trace: which logits made the score of a detection?

The selection path of the scores (Gather, TopK, NonMaxSuppression, Concat, Reshape, `If` …) only moves numbers
about.  So the position of each reported score is followed *backwards* through it, node by node, as a handful of
integer nodes that are added to the graph itself: a Transpose permutes the coordinates, a Gather replaces one by the
index that it read, a Concat tells which of its inputs an element came from.  Where the path passes the activation
(Sigmoid, Softmax) and the layout operators behind it, it ends at the tensor of logits.  The result is exact by
construction and costs a few operations on K integers, whatever the size of the maps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import onnx_ir as ir

from boxcam.bundle import Outputs
from boxcam.errors import TraceError
from boxcam.export import graph as onnx
from boxcam.export import position as at
from boxcam.export.graph import Ops
from boxcam.export.position import Coordinate, Position

ACTIVATIONS = ("Sigmoid", "Softmax")
_LOGIT_PRODUCERS = ("Conv", "Gemm", "MatMul", "Add", "ConvTranspose", "BatchNormalization")
_SAME_PLACE = ("Identity", "Cast", "Dropout")


@dataclass(frozen=True, eq=False)
class Trace:
    """Where scores come from.

    Attributes:
        logits: the tensors of logits, in the order in which `origin` numbers them.
        activations: the operator between each of them and the score.
        origin: int64 [K, 1 + rank]: number of the logit tensor (-1: no logit, a filler row), then the position in it.
        logit: float32 [K], the logit itself (0 for filler rows).
        inputs: what the activation reads for each of them: the logits in another layout.
    """

    logits: tuple[ir.Value, ...]
    activations: tuple[str, ...]
    origin: ir.Value
    logit: ir.Value
    inputs: tuple[ir.Value, ...] = ()


Columns = list[Coordinate]  # number of the logit tensor, then coordinates; None stands for "not made of logits"
Rule = Callable[["_Tracer", Ops, ir.Value, ir.Node, Position, str], Columns | None]


def trace(graph: ir.Graph, outputs: Outputs) -> Trace:
    """Add the outputs ``origin`` and ``logit`` to a detector's graph.

    Args:
        graph: the graph; it is changed.
        outputs: which outputs hold the detections, and the names to give to the new ones.

    Raises:
        TraceError: the score passes an operator that does more than select.
    """
    scores = next(value for value in graph.outputs if value.name == outputs.scores)
    op = Ops(graph, "trace")
    shape = onnx.static_shape(scores)
    if shape is None:
        raise TraceError(f"the rank of the scores {outputs.scores!r} is not known; name the right output.")
    box_axis = len(shape) - (1 if outputs.score_column is None else 2)
    if box_axis not in (0, 1):
        raise TraceError(
            f"the scores {outputs.scores!r} have shape {list(shape)}; [1, K], [K] or [1, K, n] is expected."
        )
    size = op.Squeeze(op.Gather(op.Shape(scores), [box_axis]), [0])
    numbers = op.Range(0, size, 1)
    start: list[Coordinate] = [0] * box_axis + [numbers]
    if outputs.score_column is not None:
        start.append(outputs.score_column)
    tracer = _Tracer(graph, numbers)
    columns = tracer.pull(op, scores, tuple(start), "")
    if columns is None or not tracer.logits:
        raise TraceError(f"the scores {outputs.scores!r} are constant: they do not come from any logit.")
    width = 1 + max(at.rank(value) for value in tracer.logits)
    columns = columns + [0] * (width - len(columns))
    origin = op.Identity(at.stack(op, columns, (numbers,)))
    origin.name = outputs.origin
    logit = _read(op, tracer.logits, origin)
    logit.name = outputs.logits
    for value, dtype, dims in ((origin, ir.DataType.INT64, ("K", width)), (logit, ir.DataType.FLOAT, ("K",))):
        value.dtype, value.shape = dtype, ir.Shape(dims)
        onnx.add_output(graph, value)
    graph.sort()
    return Trace(tuple(tracer.logits), tuple(tracer.activations), origin, logit, tuple(tracer.inputs))


def _read(op: Ops, logits: list[ir.Value], origin: ir.Value) -> ir.Value:
    """The logits at ``origin``; 0 where it names none."""
    number = op.Gather(origin, 0, axis=1)
    result = op.Cast(op.Mul(number, 0), to=ir.DataType.FLOAT)
    for index, tensor in enumerate(logits):
        rows = op.Reshape(op.NonZero(op.Equal(number, index)), [-1])
        inside = op.Slice(op.Gather(origin, rows, axis=0), [1], [1 + at.rank(tensor)], [1])
        result = op.ScatterND(result, op.Unsqueeze(rows, [1]), op.GatherND(tensor, inside))
    return op.Identity(result)


@dataclass
class _Tracer:
    """Follows elements back.

    Attributes:
        graph: the main graph, where the logits have to be.
        elements: int64 [K], some value per element that is followed just now.
        logits, activations, inputs: what was found so far.
        activated: what the activation reads that was passed last.
    """

    graph: ir.Graph
    elements: ir.Value
    logits: list[ir.Value] = field(default_factory=list)
    activations: list[str] = field(default_factory=list)
    inputs: list[ir.Value] = field(default_factory=list)
    activated: ir.Value | None = None

    def pull(self, op: Ops, value: ir.Value, position: Position, activation: str) -> Columns | None:
        """Follow K elements of a value back to the logits; None if they are constants."""
        position = tuple(at.vector(op, c, (self.elements,)) if at.shared(c) else c for c in position)
        node = value.producer()
        if value.const_value is not None or (node is not None and node.op_type in ("Constant", "ConstantOfShape")):
            return None
        if node is None:
            raise TraceError(f"the scores reach the graph's input {value.name!r} without passing a logit.")
        if node.op_type in ACTIVATIONS and not activation:
            self.activated = _input(node, 0)
            return self.pull(op, self.activated, position, node.op_type)
        rule = _RULES.get(node.op_type)
        if rule is not None and node.domain in ("", "ai.onnx"):
            return rule(self, op, value, node, position, activation)
        return self._end(value, node, position, activation)

    def _end(self, value: ir.Value, node: ir.Node, position: Position, activation: str) -> Columns:
        if not activation and node.op_type not in _LOGIT_PRODUCERS:
            raise TraceError(
                f"the score is computed by {onnx.describe(node)}, after the class probabilities; only operators that"
                " select can be traced so far (a score that is a product, such as objectness x class, cannot)."
            )
        if node.graph is not self.graph:
            raise TraceError(f"the logits {value.name!r} are computed inside of an If; only selection can be there.")
        for index, known in enumerate(self.logits):
            if known is value:
                return [index, *position]
        self.logits.append(value)
        self.activations.append(activation or "Identity")
        self.inputs.append(self.activated if activation and self.activated is not None else value)
        return [len(self.logits) - 1, *position]

    def either(
        self,
        op: Ops,
        position: Position,
        choices: list[tuple[ir.Value, Callable[[ir.Value], tuple[ir.Value, Position]]]],
        activation: str,
    ) -> Columns | None:
        """Elements that come from one of several values: each choice is a mask [K] and the way on for those in it."""
        merged: Columns | None = None
        elements = self.elements
        for mask, way in choices:
            rows = op.Reshape(op.NonZero(mask), [-1])
            value, inner = way(rows)
            self.elements = rows
            columns = self.pull(op, value, inner, activation)
            self.elements = elements
            if columns is None:
                continue
            if merged is None:
                nothing = op.Sub(op.Mul(op.Cast(mask, to=ir.DataType.INT64), 0), 1)
                merged = [nothing]
            while len(merged) < len(columns):
                merged.append(op.Mul(merged[0], 0))
            for column, coordinate in enumerate(columns):
                update = at.vector(op, coordinate, (rows,))
                merged[column] = op.ScatterND(merged[column], op.Unsqueeze(rows, [1]), update)
        return merged


def _input(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None:
        raise TraceError(f"{onnx.describe(node)} lacks its input {index}.")
    return value


def _pick(op: Ops, position: Position, rows: ir.Value) -> Position:
    return tuple(op.Gather(c, rows, axis=0) if isinstance(c, ir.Value) else c for c in position)


def _same(t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str) -> Columns | None:
    return t.pull(op, _input(node, 0), position, activation)


def _reshape(
    t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str
) -> Columns | None:
    before = _input(node, 0)
    return t.pull(op, before, at.reshaped(op, position, before, value), activation)


def _unsqueeze(
    t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str
) -> Columns | None:
    inserted = {a % len(position) for a in onnx.axes(node) or []}
    return t.pull(op, _input(node, 0), tuple(c for a, c in enumerate(position) if a not in inserted), activation)


def _squeeze(
    t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str
) -> Columns | None:
    before = _input(node, 0)
    removed = onnx.axes(node)
    if removed is None:
        return _reshape(t, op, value, node, position, activation)
    gone = {a % at.rank(before) for a in removed}
    rest = iter(position)
    return t.pull(op, before, tuple(0 if a in gone else next(rest) for a in range(at.rank(before))), activation)


def _transpose(
    t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str
) -> Columns | None:
    order = onnx.attribute(node, "perm") or tuple(reversed(range(len(position))))
    before: list[Coordinate] = [0] * len(position)
    for axis, source in enumerate(order):
        before[source] = position[axis]
    return t.pull(op, _input(node, 0), tuple(before), activation)


def _gather(t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str) -> Columns | None:
    data, indices = _input(node, 0), _input(node, 1)
    axis = int(onnx.attribute(node, "axis", 0)) % at.rank(data)
    middle = axis + at.rank(indices)
    index = at.wrapped(op, at.at(op, indices, position[axis:middle]), data, axis)
    return t.pull(op, data, (*position[:axis], index, *position[middle:]), activation)


def _gather_elements(
    t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str
) -> Columns | None:
    data = _input(node, 0)
    axis = int(onnx.attribute(node, "axis", 0)) % at.rank(data)
    index = at.wrapped(op, at.at(op, _input(node, 1), position), data, axis)
    return t.pull(op, data, (*position[:axis], index, *position[axis + 1 :]), activation)


def _gather_nd(
    t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str
) -> Columns | None:
    data, indices = _input(node, 0), _input(node, 1)
    batch = int(onnx.attribute(node, "batch_dims", 0))
    shape = onnx.static_shape(indices)
    if shape is None or shape[-1] is None:
        raise TraceError(f"{onnx.describe(node)}: the depth of its indices is not known.")
    lead = position[: len(shape) - 1]
    found = [at.wrapped(op, at.at(op, indices, (*lead, j)), data, batch + j) for j in range(shape[-1])]
    return t.pull(op, data, (*position[:batch], *found, *position[len(shape) - 1 :]), activation)


def _top_k(t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str) -> Columns | None:
    data = _input(node, 0)
    axis = int(onnx.attribute(node, "axis", -1)) % at.rank(data)
    index = at.at(op, node.outputs[1], position)
    return t.pull(op, data, (*position[:axis], index, *position[axis + 1 :]), activation)


def _reduce_max(
    t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str
) -> Columns | None:
    data = _input(node, 0)
    reduced = onnx.axes(node)
    if reduced is None or len(reduced) != 1:
        raise TraceError(f"{onnx.describe(node)} takes the maximum over several axes; one can be traced.")
    axis = reduced[0] % at.rank(data)
    keep = bool(onnx.attribute(node, "keepdims", 1))
    outer = (*position[:axis], *position[axis + (1 if keep else 0) :])
    winner = at.at(op, op.ArgMax(data, axis=axis, keepdims=0), outer)
    return t.pull(op, data, (*outer[:axis], winner, *outer[axis:]), activation)


def _slice(t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str) -> Columns | None:
    data, starts = _input(node, 0), _input(node, 1)
    count = onnx.static_shape(starts)
    if count is None or count[0] is None:
        raise TraceError(f"{onnx.describe(node)}: the number of its axes is not known.")
    sliced = [int(a) for a in _constant(node, 3, range(count[0]))]
    steps = [int(s) for s in _constant(node, 4, [1] * count[0])]
    before = list(position)
    for number, (axis, step) in enumerate(zip(sliced, steps, strict=True)):
        axis %= at.rank(data)
        size = at.dimension(op, data, axis)
        start = at.wrapped(op, at.at(op, starts, (number,)), data, axis)
        if isinstance(start, int) and isinstance(size, int):
            start = max(min(start, size if step > 0 else size - 1), 0)
        elif not (isinstance(start, int) and start >= 0 and step > 0):
            start = at.derived(op.Min(op.Max(start, 0), at.subtract(op, size, 0 if step > 0 else 1)), start, size)
        before[axis] = at.add(op, at.multiply(op, before[axis], step), start)
    return t.pull(op, data, tuple(before), activation)


def _constant(node: ir.Node, index: int, default: object) -> list[int]:
    if index >= len(node.inputs) or node.inputs[index] is None:
        return list(default)  # type: ignore[call-overload, no-any-return]
    found = onnx.array(node.inputs[index])
    if found is None:
        raise TraceError(f"{onnx.describe(node)} computes its axes or steps; only constant ones can be traced.")
    return [int(v) for v in found.reshape(-1)]


def _split(t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str) -> Columns | None:
    data = _input(node, 0)
    axis = int(onnx.attribute(node, "axis", 0)) % at.rank(data)
    start: Coordinate = 0
    for earlier in list(node.outputs)[: list(node.outputs).index(value)]:
        start = at.add(op, start, at.dimension(op, earlier, axis))
    return t.pull(op, data, (*position[:axis], at.add(op, position[axis], start), *position[axis + 1 :]), activation)


def _concat(t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str) -> Columns | None:
    axis = int(onnx.attribute(node, "axis")) % len(position)
    inputs = [_input(node, i) for i in range(len(node.inputs))]
    coordinate = position[axis]
    sizes = [at.dimension(op, i, axis) for i in inputs]
    if isinstance(coordinate, int) and all(isinstance(size, int) for size in sizes):
        for source, size in zip(inputs, sizes, strict=True):
            assert isinstance(size, int) and isinstance(coordinate, int)
            if coordinate < size:
                return t.pull(op, source, (*position[:axis], coordinate, *position[axis + 1 :]), activation)
            coordinate -= size
        raise TraceError(f"{onnx.describe(node)} has no element {position[axis]} along axis {axis}.")
    along = at.vector(op, coordinate, (t.elements,))
    choices = []
    start: Coordinate = 0
    for source, size in zip(inputs, sizes, strict=True):
        end = at.add(op, start, size)
        mask = op.And(op.GreaterOrEqual(along, start), op.Less(along, end))
        choices.append((mask, _branch(op, source, position, axis, along, start)))
        start = end
    return t.either(op, position, choices, activation)


def _branch(
    op: Ops, source: ir.Value, position: Position, axis: int, along: ir.Value, start: Coordinate
) -> Callable[[ir.Value], tuple[ir.Value, Position]]:
    def way(rows: ir.Value) -> tuple[ir.Value, Position]:
        inner = at.subtract(op, op.Gather(along, rows, axis=0), start)
        picked = _pick(op, position, rows)
        return source, (*picked[:axis], inner, *picked[axis + 1 :])

    return way


def _scatter(
    t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str
) -> Columns | None:
    if onnx.attribute(node, "reduction", "none") != "none":
        raise TraceError(f"{onnx.describe(node)} adds up what it scatters; that is no selection.")
    data, updates = _input(node, 0), _input(node, 2)
    moving = tuple(at.vector(op, c, (t.elements,)) if i == 0 else c for i, c in enumerate(position))
    written, source = at.scattered(op, node, moving)
    choices = [
        (written, lambda rows: (updates, source(rows))),
        (op.Not(written), lambda rows: (data, _pick(op, moving, rows))),
    ]
    return t.either(op, moving, choices, activation)


def _where(t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str) -> Columns | None:
    condition = _input(node, 0)
    taken = at.at(op, condition, _broadcast(op, position, condition))
    mask = op.Cast(at.vector(op, taken, (t.elements,)), to=ir.DataType.BOOL)
    sides = ((mask, _input(node, 1)), (op.Not(mask), _input(node, 2)))
    return t.either(op, position, [(flag, _broadcast_way(op, source, position)) for flag, source in sides], activation)


def _broadcast_way(op: Ops, source: ir.Value, position: Position) -> Callable[[ir.Value], tuple[ir.Value, Position]]:
    return lambda rows: (source, _broadcast(op, _pick(op, position, rows), source))


def _broadcast(op: Ops, position: Position, value: ir.Value) -> Position:
    """The position in a value that was broadcast."""
    inner = position[len(position) - at.rank(value) :]
    result: list[Coordinate] = []
    for axis, coordinate in enumerate(inner):
        size = at.dimension(op, value, axis)
        result.append(0 if size == 1 else coordinate if isinstance(size, int) else at.divide(op, coordinate, size)[1])
    return tuple(result)


def _expand(t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str) -> Columns | None:
    data = _input(node, 0)
    return t.pull(op, data, _broadcast(op, position, data), activation)


def _tile(t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str) -> Columns | None:
    data = _input(node, 0)
    inner = tuple(at.divide(op, c, at.dimension(op, data, axis))[1] for axis, c in enumerate(position))
    return t.pull(op, data, inner, activation)


def _if(t: _Tracer, op: Ops, value: ir.Value, node: ir.Node, position: Position, activation: str) -> Columns | None:
    # K may depend on the node's own outputs, so the way back gets an If of its own, with a copy of each branch.
    number = list(node.outputs).index(value)
    results: list[tuple[Ops, Columns | None]] = []
    for name in ("then_branch", "else_branch"):
        copy = node.attributes[name].as_graph().clone(allow_outer_scope_values=True)
        inside = op.inside(copy)
        results.append((inside, t.pull(inside, copy.outputs[number], position, activation)))
    width = max((len(columns) for _, columns in results if columns is not None), default=0)
    if width == 0:
        return None
    branches = []
    for inside, columns in results:
        columns = [-1] if columns is None else columns
        packed = inside.Identity(at.stack(inside, columns + [0] * (width - len(columns)), (t.elements,)))
        inside.graph.outputs.clear()
        inside.graph.outputs.append(packed)
        branches.append(inside.graph)
    taken = op.If(_input(node, 0), then_branch=branches[0], else_branch=branches[1])
    return [op.Gather(taken, column, axis=1) for column in range(width)]


_RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME_PLACE, _same),
    "Concat": _concat,
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "If": _if,
    "ReduceMax": _reduce_max,
    "Reshape": _reshape,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "TopK": _top_k,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
