"""A selection that lets everything through: every candidate comes out as a detection.

What suppresses, and what keeps the best only, is opened: NonMaxSuppression gives all boxes whose score is high enough,
TopK keeps as many as are asked for, a Slice that takes the first rows of as many as there are takes all, and scores
that are kept for a box's best class only are kept for all: to look for that one takes longer than all else. Thresholds
stay: a candidate comes out if its logit is high. Shapes that were constant because so many were kept follow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import (
    STANDARD,
    Array,
    all_values,
    attribute_of,
    constant_array,
    static_shape,
    values_read,
)
from boxcam.runtime.selection import ASKED

_ROUNDS = 12
_LOWEST = 1e-9
"""A score that is above 0 by more than rounding."""
_ALL = np.iinfo(np.int64).max
Shape = tuple[int | None, ...] | None


def open_selection(model: ir.Model, logits: Collection[str], *, sorts: bool = True) -> None:
    """Open what selects, also inside of branches; the model is changed, and gets `ASKED`, as many as TopK keeps.

    Args:
        model: a detector; the ranks of its values have to be known, and are known afterwards.
        logits: names of values; what does not depend on them is left alone.
        sorts: whether TopK along an axis of constant size is opened too: in some graphs constants are as long.
    """
    after: set[ir.Node] = set()
    depends = {value for value in all_values(model.graph) if value.name in logits}
    for node in model.graph:
        if not depends.isdisjoint(values_read(node)):
            depends.update(node.outputs)
            after.add(node)
    main = Ops(model.graph, "boxcam.open")
    asked = ir.Value(name=ASKED, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([1]))
    model.graph.inputs.append(asked)
    before = {value: static_shape(value) for graph in _graphs(model.graph) for value in _values(graph)}
    before |= {value: static_shape(value) for value in model.graph.inputs}
    for graph in _graphs(model.graph):
        op = main if graph is model.graph else main.inside(graph)
        for node in list(graph):
            if graph is model.graph and node not in after:
                continue
            if node.op_type == "TopK" and not sorts and _is_constant_axis(node):
                continue
            if node.domain in STANDARD and node.op_type in _OPENED:
                _OPENED[node.op_type](op, node, asked)
        graph.sort()
    passes.RemoveUnusedNodesPass()(model)  # ONNX Runtime runs what suppressed even if nothing reads it
    _spread(model, main, before)
    _reshape(model, main, before)


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    return (value for node in graph for value in node.outputs)


def _spread(model: ir.Model, op: Ops, before: Mapping[ir.Value, Shape]) -> None:
    """Let a constant that has one value for each row be one value for any number of them."""
    for graph in _graphs(model.graph):
        for node in graph:
            if node.domain not in STANDARD or not operator_of(node).elementwise:
                continue
            shapes = [before.get(value) for value in node.inputs if value is not None and not _is_constant(value)]
            for index, value in enumerate(node.inputs):
                array = constant_array(value)
                if array is None or array.size < 2 or array.shape not in shapes or (array != array.flat[0]).any():
                    continue
                node.replace_input_with(index, op.value(array[(slice(0, 1),) * array.ndim]))


def _is_constant_axis(node: ir.Node) -> bool:
    """Whether the axis along which a TopK sorts has a constant size."""
    shape = None if node.inputs[0] is None else static_shape(node.inputs[0])
    return shape is not None and shape[int(attribute_of(node, "axis", -1))] is not None


def _is_constant(value: ir.Value) -> bool:
    return constant_array(value) is not None


def _reshape(model: ir.Model, op: Ops, before: Mapping[ir.Value, Shape]) -> None:
    """Let constant shapes be those of as many rows as there are."""
    for _ in range(_ROUNDS):
        for graph in _graphs(model.graph):
            for value in _values(graph):
                value.shape = None
        passes.ShapeInferencePass()(model)
        for value, shape in before.items():
            if value.shape is None and shape is not None:
                value.shape = ir.Shape([None] * len(shape))
        changed = False
        for graph in _graphs(model.graph):
            for node in graph:
                if node.op_type == "Reshape" and node.domain in STANDARD:
                    changed |= _relaxed(op, node, before)
        if not changed:
            return


def _relaxed(op: Ops, node: ir.Node, before: Mapping[ir.Value, Shape]) -> bool:
    """Let the sizes of a reshape that are now unknown be those of its input; says whether any was fixed."""
    data, target = node.inputs[0], constant_array(node.inputs[1])
    if data is None or target is None or attribute_of(node, "allowzero", 0):
        return False
    old, new = before.get(data), static_shape(data)
    if old is None or new is None or len(old) != len(new):
        return False
    wanted = target.reshape(-1).tolist()
    sizes = list(wanted)
    for axis, (was, now) in enumerate(zip(old, new, strict=True)):
        if was is None or now is not None:
            continue
        if axis < len(sizes) and sizes[axis] == was:
            sizes[axis] = 0
        elif -1 not in sizes:
            sizes = [-1 if was > 1 and size >= was and size % was == 0 else size for size in sizes]
    if sizes == wanted or sizes.count(-1) > 1:
        return False
    node.replace_input_with(1, op.value(np.array(sizes, np.int64)))
    return True


def _graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    yield graph
    for node in list(graph):
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield from _graphs(attribute.as_graph())


def _suppression(op: Ops, node: ir.Node, asked: ir.Value) -> None:
    """All boxes with a score above the threshold, instead of those that no better one overlaps."""
    scores, threshold = node.inputs[1], node.inputs[4] if len(node.inputs) > 4 else None
    known, lowest = constant_array(threshold), np.array([_LOWEST], np.float32)
    least: ir.Value | Array = lowest
    if known is not None:
        least = np.maximum(known.astype(np.float32).reshape(1), lowest)
    elif threshold is not None:
        least = op.Max(threshold, lowest)
    every = op.Transpose(op.NonZero(op.Greater(scores, least)), perm=[1, 0])
    every.dtype, every.shape = ir.DataType.INT64, ir.Shape([None, 3])
    for user, index in tuple(node.outputs[0].uses()):
        user.replace_input_with(index, every)


def _best(op: Ops, node: ir.Node, asked: ir.Value) -> None:
    """As many as are asked for, instead of the best k; the best one alone, which tells a class, stays alone."""
    data, count = node.inputs[0], constant_array(node.inputs[1])
    if data is None or (count is not None and count.size == 1 and int(count.reshape(-1)[0]) == 1):
        return
    size = op.Gather(op.Shape(data), [int(attribute_of(node, "axis", -1))])
    node.replace_input_with(1, op.Min(size, asked))


def _first(op: Ops, node: ir.Node, asked: ir.Value) -> None:
    """All rows, instead of the first ones of as many as there are."""
    data = node.inputs[0]
    given = [constant_array(of) for of in node.inputs[1:5]]
    if data is None or any(of is None for of in given) or len(given) < 2:
        return
    starts, ends, *rest = (of.reshape(-1).tolist() for of in given if of is not None)
    axes = rest[0] if rest else list(range(len(starts)))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    shape = static_shape(data)
    if shape is None:
        return
    opened = [
        _ALL if start == 0 and step == 1 and end > 0 and shape[axis] is None else end
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True)
    ]
    if opened != ends:
        node.replace_input_with(2, op.value(np.array(opened, np.int64)))


def _best_class(op: Ops, node: ir.Node, asked: ir.Value) -> None:
    """The scores of all classes, instead of those of each box's best class and a constant for the others."""
    condition, scores, other = node.inputs
    equal = None if condition is None else condition.producer()
    if scores is None or equal is None or equal.op_type != "Equal" or constant_array(other) is None:
        return
    compared = [value.producer() for value in equal.inputs if value is not None]
    if any(one is not None and one.op_type == "ArgMax" and one.inputs[0] is scores for one in compared):
        for user, index in tuple(node.outputs[0].uses()):
            user.replace_input_with(index, scores)


_OPENED = {"NonMaxSuppression": _suppression, "Slice": _first, "TopK": _best, "Where": _best_class}
