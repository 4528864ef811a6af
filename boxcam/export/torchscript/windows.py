"""Windows: the score of one anchor from the few cells of the maps that it sees.

Going back from a logit map through operators that are local (same-padded convolutions of stride 1, elementwise
operators, concatenation of channels), the logit at (c, y, x) depends on the cells within a radius of (y, x).  So the
score graph gathers one window per box out of all levels at once and runs the head's own operators on it, with
"valid" convolutions that shrink the window to a single cell.  A padded convolution sees zeros outside the map, so
cells outside the map are set to zero before each of them: the result is exact at every border.  Until then they repeat
the nearest cell of the map, so that no operator (a logarithm, a quotient) meets a value there that the map has not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import ancestors, attribute_of, constant_array, describe_node, static_shape

Radius = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Chain:
    """The local operators behind one tensor of logits.

    Attributes:
        leaf: the logits, [1, C, H, W].
        nodes: the operators, in topological order.
        maps: the values where they begin, each [1, C', H, W], in order of first use.
        radius: how far, in cells, each value is needed around the logit.
        barrier: the operators that are not local and end the chain, for people.
        signature: equal for chains that compute the same function of their maps.
    """

    leaf: ir.Value
    nodes: tuple[ir.Node, ...]
    maps: tuple[ir.Value, ...]
    radius: Mapping[ir.Value, Radius]
    barrier: tuple[str, ...]
    signature: tuple[object, ...]

    @property
    def reach(self) -> Radius:
        """The largest radius of any map."""
        return max(self.radius[m][0] for m in self.maps), max(self.radius[m][1] for m in self.maps)


def chain(leaf: ir.Value, reached: set[ir.Value], features: Sequence[ir.Value]) -> Chain | None:
    """Go back from a tensor of logits as far as its operators are local.

    Args:
        leaf: the logits.
        reached: values that depend on the features; the chain does not go into others.
        features: where it stops at the latest.

    Returns:
        The chain, or None if the logits are no map or their shape is not known.
    """
    shape = static_shape(leaf)
    if shape is None or len(shape) != 4 or shape[0] != 1 or None in shape or leaf.producer() is None:
        return None
    radius: dict[ir.Value, Radius] = {leaf: (0, 0)}
    stop = set(features)
    nodes: list[ir.Node] = []
    maps: set[ir.Value] = set()
    barrier: list[str] = []
    for node in reversed(ancestors([leaf], stop)):
        outputs = [value for value in node.outputs if value in radius and value not in maps]
        if not outputs:
            continue
        grown = _growth(node, shape[2:]) if all(value in reached for value in outputs) else None
        if grown is None:
            maps.update(outputs)
            barrier.extend(describe_node(node) for value in outputs if value in reached)
            continue
        nodes.append(node)
        need = max(radius[v][0] for v in outputs), max(radius[v][1] for v in outputs)
        for value in _moving_inputs(node):
            before = radius.get(value, (0, 0))
            radius[value] = max(before[0], need[0] + grown[0]), max(before[1], need[1] + grown[1])
            if value in stop or value.producer() is None:
                maps.add(value)
    if not nodes:
        return None
    nodes.reverse()
    ordered = sorted(maps, key=lambda value: _first_use(value, nodes))
    return Chain(leaf, tuple(nodes), tuple(ordered), radius, tuple(barrier), _signature(leaf, nodes, ordered, radius))


def _first_use(value: ir.Value, nodes: Sequence[ir.Node]) -> int:
    return next(i for i, node in enumerate(nodes) if value in node.inputs)


def _moving_inputs(node: ir.Node) -> list[ir.Value]:
    return [v for v in node.inputs if v is not None and constant_array(v) is None]


def _growth(node: ir.Node, size: Sequence[int | None]) -> Radius | None:
    """By how many cells an operator looks further than one cell; None if it is not local."""
    if node.domain not in ("", "ai.onnx") or len(node.outputs) != 1:
        return None
    shapes = [static_shape(value) for value in _moving_inputs(node)]
    if any(shape is None or len(shape) != 4 or tuple(shape[2:]) != tuple(size) for shape in shapes):
        return None
    if node.op_type == "Conv":
        return _convolution_growth(node)
    if node.op_type == "BatchNormalization":
        return (0, 0) if len(shapes) == 1 else None
    if node.op_type == "Concat":
        moving = all(constant_array(value) is None for value in node.inputs)  # a constant map differs from cell to cell
        return (0, 0) if moving and int(attribute_of(node, "axis")) in (1, -3) else None
    if operator_of(node).elementwise and all(_per_channel(value) for value in node.inputs) and _computes_floats(node):
        return 0, 0
    return None


def _computes_floats(node: ir.Node) -> bool:
    """Whether all that moves is floating-point: a map of conditions is none to give a window of."""
    return all(v.dtype is None or v.dtype.is_floating_point() for v in (*_moving_inputs(node), *node.outputs))


def _per_channel(value: ir.Value | None) -> bool:
    """Whether an elementwise operand is no constant, or one that is the same for all cells."""
    constant = constant_array(value)
    if constant is None:
        return True
    shape = (1,) * (4 - constant.ndim) + constant.shape
    return shape[0] == 1 and shape[2:] == (1, 1)


def _convolution_growth(node: ir.Node) -> Radius | None:
    weight = constant_array(node.inputs[1])
    if weight is None or weight.ndim != 4 or (len(node.inputs) > 2 and constant_array(node.inputs[2]) is None):
        return None
    kernel = weight.shape[2:]
    strides = attribute_of(node, "strides", [1, 1])
    dilations = attribute_of(node, "dilations", [1, 1])
    pads = list(attribute_of(node, "pads", [0, 0, 0, 0]))
    padding = attribute_of(node, "auto_pad", "NOTSET")
    reach = tuple(d * (k - 1) // 2 for d, k in zip(dilations, kernel, strict=True))
    if any(k % 2 == 0 for k in kernel) or list(strides) != [1, 1]:
        return None
    if padding == "NOTSET" and pads != [*reach, *reach]:
        return None
    if padding == "VALID" and reach != (0, 0):
        return None
    return reach[0], reach[1]


def _signature(
    leaf: ir.Value, nodes: Sequence[ir.Node], maps: Sequence[ir.Value], radius: Mapping[ir.Value, Radius]
) -> tuple[object, ...]:
    number: dict[ir.Value, object] = {value: i for i, value in enumerate(maps)}
    parts: list[object] = []
    for value in maps:
        shape = static_shape(value)
        assert shape is not None
        parts.append((shape[1], radius[value]))
    for node in nodes:
        inputs = [
            None if v is None else number.get(v, v.name)  # constants are stored once, so names tell
            for v in node.inputs
        ]
        attributes = sorted((name, str(attr.value)) for name, attr in node.attributes.items())
        parts.append((node.op_type, tuple(inputs), tuple(attributes)))
        for value in node.outputs:
            number[value] = len(number)
    return (*parts, number[leaf])


@dataclass(frozen=True, eq=False)
class Windows:
    """What `emit` wrote.

    Attributes:
        logit: float32 [K].
        slots: one value per map of the chain, [K, C, h, w]: the windows; outside the map, the nearest cell.
        corner: int64 [K, 2], the cell (y0, x0) at the upper left of the windows of each slot.
    """

    logit: ir.Value
    slots: tuple[ir.Value, ...]
    corner: tuple[ir.Value, ...]


def emit(op: Ops, chains: Sequence[Chain], numbers: Sequence[int], logits: int, origin: ir.Value) -> Windows:
    """Write the windowed score of chains that share one signature.

    Args:
        op: where to write.
        chains: the chains, one per level.
        numbers: which tensor of logits each of them ends in.
        logits: how many tensors of logits there are.
        origin: int64 [K, 5]: tensor of logits, image (0), channel, y, x.
    """
    first = chains[0]
    level = op.Gather(table(op, logits, numbers, range(len(chains))), op.Gather(origin, 0, axis=1))
    channel, y, x = (op.Gather(origin, column, axis=1) for column in (2, 3, 4))
    heights, widths = zip(*(_size(c.leaf) for c in chains), strict=False)
    reach = first.reach
    grid = _Grid(op, level, y, x, list(heights), list(widths))
    index, inside = grid.cells(reach)
    windows: dict[ir.Value, tuple[ir.Value, Radius]] = {}
    slots, corners = [], []
    for slot, value in enumerate(first.maps):
        shape = static_shape(value)
        assert shape is not None and shape[1] is not None
        need = first.radius[value]
        flat = [op.Reshape(c.maps[slot], [shape[1], -1]) for c in chains]
        columns = flat[0] if len(flat) == 1 else op.Concat(*flat, axis=1)
        cells = op.Reshape(_crop(op, index, reach, need), [-1])
        gathered = op.Reshape(op.Gather(columns, cells, axis=1), [shape[1], -1, 2 * need[0] + 1, 2 * need[1] + 1])
        window = op.Transpose(gathered, perm=[1, 0, 2, 3])
        windows[value] = (window, need)
        slots.append(window)
        corners.append(op.Concat(op.Unsqueeze(op.Sub(y, need[0]), [1]), op.Unsqueeze(op.Sub(x, need[1]), [1]), axis=1))
    logit = _replay(op, first, windows, inside, channel)
    return Windows(logit, tuple(slots), tuple(corners))


def table(op: Ops, size: int, keys: Sequence[int], values: Sequence[int]) -> ir.Value:
    """A constant int64 [size] that holds the values at the keys, and 0 elsewhere."""
    entries = np.zeros(size, np.int64)
    entries[list(keys)] = list(values)
    constant = op.value(entries)
    assert constant is not None
    return constant


def _size(value: ir.Value) -> tuple[int, int]:
    shape = static_shape(value)
    assert shape is not None and shape[2] is not None and shape[3] is not None
    return shape[2], shape[3]


@dataclass(frozen=True, eq=False)
class _Grid:
    op: Ops
    level: ir.Value
    y: ir.Value
    x: ir.Value
    heights: list[int]
    widths: list[int]

    def cells(self, reach: Radius) -> tuple[ir.Value, ir.Value]:
        """Of each window: the cells' numbers in the flattened levels (outside, the nearest one's), int64 [K, h, w];
        whether they are inside, float32 [K, 1, h, w].
        """
        op = self.op
        offsets = np.cumsum([0] + [h * w for h, w in zip(self.heights, self.widths, strict=True)])[:-1]
        height, width, offset = (
            op.Unsqueeze(op.Gather(np.asarray(t, np.int64), self.level), [1])
            for t in (self.heights, self.widths, offsets)
        )
        rows = op.Add(op.Unsqueeze(self.y, [1]), np.arange(-reach[0], reach[0] + 1)[None])
        columns = op.Add(op.Unsqueeze(self.x, [1]), np.arange(-reach[1], reach[1] + 1)[None])
        row_inside = op.And(op.GreaterOrEqual(rows, 0), op.Less(rows, height))
        column_inside = op.And(op.GreaterOrEqual(columns, 0), op.Less(columns, width))
        inside = op.And(op.Unsqueeze(row_inside, [2]), op.Unsqueeze(column_inside, [1]))
        near_rows = op.Min(op.Max(rows, 0), op.Sub(height, 1))
        near_columns = op.Min(op.Max(columns, 0), op.Sub(width, 1))
        start = op.Add(op.Mul(near_rows, width), offset)
        index = op.Add(op.Unsqueeze(start, [2]), op.Unsqueeze(near_columns, [1]))
        return index, op.Unsqueeze(op.Cast(inside, to=ir.DataType.FLOAT), [1])


def _crop(op: Ops, value: ir.Value, have: Radius, need: Radius) -> ir.Value:
    """The middle of a window (its last two axes)."""
    if have == need:
        return value
    start = [have[0] - need[0], have[1] - need[1]]
    end = [start[0] + 2 * need[0] + 1, start[1] + 2 * need[1] + 1]
    return op.Slice(value, start, end, [-2, -1])


def _replay(
    op: Ops, chain: Chain, windows: dict[ir.Value, tuple[ir.Value, Radius]], inside: ir.Value, channel: ir.Value
) -> ir.Value:
    """Run the chain's operators on windows; returns the logit of each window's middle."""
    reach = chain.reach
    for node in chain.nodes:
        out = node.outputs[0]
        need = chain.radius[out]
        grown = _growth(node, static_shape(out)[2:])  # type: ignore[index]
        assert grown is not None
        before = need[0] + grown[0], need[1] + grown[1]
        inputs: list[ir.Value | None] = []
        for value in node.inputs:
            if value is None or value not in windows:
                inputs.append(value)
                continue
            window = _crop(op, *windows[value], before)
            padded = node.op_type == "Conv" and grown != (0, 0)
            inputs.append(op.Mul(window, _crop(op, inside, reach, before)) if padded else window)
        attributes = {name: attr.value for name, attr in node.attributes.items()}
        if node.op_type == "Conv":
            if out is chain.leaf and int(attributes.get("group", 1)) == 1:
                return _one_channel(op, inputs, attributes, channel)
            attributes = {n: v for n, v in attributes.items() if n not in ("pads", "auto_pad")}
        windows[out] = (op.emit(node.op_type, inputs, attributes)[0], need)
    scores = op.Reshape(windows[chain.leaf][0], [0, -1])
    return op.Reshape(op.GatherElements(scores, op.Unsqueeze(channel, [1]), axis=1), [-1])


def _one_channel(
    op: Ops, inputs: Sequence[ir.Value | None], attributes: Mapping[str, object], channel: ir.Value
) -> ir.Value:
    """The last convolution for the one channel that each box asks for: a sum of products."""
    window, weight = inputs[0], constant_array(inputs[1])
    assert window is not None and weight is not None
    dilations = attributes.get("dilations", (1, 1))
    assert isinstance(dilations, (tuple, list))
    if tuple(dilations) != (1, 1):
        reach = [d * (k - 1) for d, k in zip(dilations, weight.shape[2:], strict=True)]
        window = op.Slice(window, [0, 0], [r + 1 for r in reach], [2, 3], list(dilations))
    product = op.Mul(window, op.Gather(inputs[1], channel, axis=0))
    logit = op.ReduceSum(product, [1, 2, 3], keepdims=0)
    if len(inputs) > 2 and inputs[2] is not None:
        logit = op.Add(logit, op.Gather(inputs[2], channel, axis=0))
    return logit
