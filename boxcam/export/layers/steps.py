"""Which elements of its inputs each output of a node depends on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.dependency import differentiable_inputs
from boxcam.export.graphs.operators import Copies, Mixes, mixed_axes, operator_of
from boxcam.export.graphs.query import STANDARD, attribute_of, constant_array
from boxcam.export.layers.flow import Axes, Flow, Mix, Move, Places, Reshape, Sizes, sizes_of
from boxcam.registry import Registry

Read = Callable[[ir.Node, ir.Value, int, Sizes, Sizes], Flow | None]
"""How a node's output reads one of its inputs, by its number and the sizes of both; None if that is not known."""

READS: Registry[Read] = Registry("operator that reads in a way of its own")
"""Operators of which more is known than the axes that they mix: the place that each output is read from."""

_SUMMARIES = (Mixes.AXES, Mixes.SPACE, Mixes.TAIL, Mixes.IMAGE)
"""What reductions, poolings of whole maps and normalisations mix."""


def _reads(operator: str) -> Callable[[Read], Read]:
    return READS.register(operator)


class Step(NamedTuple):
    """What an output of a node is made of.

    Attributes:
        value: an input, through which a gradient flows.
        flow: which of its elements each output element depends on.
        summary: whether it is a mean, sum, maximum, deviation … of many elements that is read there.
    """

    value: ir.Value
    flow: Flow
    summary: bool = False


def steps(node: ir.Node, output: ir.Value) -> Iterator[Step]:
    """What one output of a node is made of: for each input that a gradient passes, how its elements are read.

    An operator of which nothing is known mixes all elements of all inputs.
    """
    for value in dict.fromkeys(differentiable_inputs(node)):
        if constant_array(value) is None:
            for index in (place for place, read in enumerate(node.inputs) if read is value):
                yield from _of(node, output, value, index)
            if value not in node.inputs:  # read by a graph inside of the node
                yield Step(value, Mix())


def stays_in_place(node: ir.Node, output: ir.Value, value: ir.Value) -> bool:
    """Whether each element of an output is computed of the one at its own place in an input, of the same sizes.

    It may be of others too: a normalisation computes each element of itself, and of means and deviations.
    """
    sizes = sizes_of(value)
    own = [step.flow for step in steps(node, output) if step.value is value]
    return bool(sizes) and sizes == sizes_of(output) and Axes(_same(sizes)) in own


def _of(node: ir.Node, output: ir.Value, value: ir.Value, index: int) -> Iterator[Step]:
    before, after, nature = sizes_of(value), sizes_of(output), operator_of(node)
    if not before or output.shape is None:
        yield Step(value, Mix())
    elif nature.elementwise or (nature.keeps_places and index == 0):
        yield Step(value, _broadcast(before, after))
    elif node.op_type in READS and node.domain in STANDARD:
        yield Step(value, READS[node.op_type](node, output, index, before, after) or Mix())
    elif nature.copies is Copies.IN_ORDER:
        yield Step(value, Reshape())
    elif index == 0 and (mixed := mixed_axes(node)) is not None:
        summary = nature.mixes in _SUMMARIES and not (nature.samples or nature.moves) and _is_alone(node)
        if summary and before == after:  # a normalisation: what is normalised stays in its place
            yield Step(value, _broadcast(before, after))
        yield Step(value, _without(before, after, mixed) or Mix(), summary)
    else:
        yield Step(value, Mix())


def _is_alone(node: ir.Node) -> bool:
    """Whether a node reads one computed value, beside parameters."""
    return sum(value is not None and constant_array(value) is None for value in node.inputs) == 1


def _broadcast(before: Sizes, after: Sizes) -> Flow:
    """The same place of an operand that may be broadcast."""
    new = len(after) - len(before)
    if new < 0:
        return Mix()
    wide = (before[a] == 1 and after[a + new] != 1 for a in range(len(before)))
    return Axes((*[None] * new, *(None if one else axis for axis, one in enumerate(wide))))


def _without(before: Sizes, after: Sizes, mixed: Collection[int]) -> Axes | None:
    """The same place, but of some axes, which are mixed and kept, or are no more there."""
    if len(before) == len(after):
        return Axes(tuple(None if axis in mixed else axis for axis in range(len(before))))
    kept = [axis for axis in range(len(before)) if axis not in mixed]
    return Axes(tuple(kept)) if len(kept) == len(after) else None


@_reads("Transpose")
def _transposed(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow:
    return Axes(tuple(attribute_of(node, "perm") or range(len(before) - 1, -1, -1)))


def _same(sizes: Sizes) -> tuple[int, ...]:
    return tuple(range(len(sizes)))


@_reads("Expand")
def _expanded(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    return _broadcast(before, after)


@_reads("Concat")
def _concatenated(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    axis = int(attribute_of(node, "axis")) % len(before)
    parts = [sizes_of(part)[axis] if part is not None and sizes_of(part) else None for part in node.inputs]
    if None in parts:
        return _without(before, after, {axis})
    first = sum(size or 0 for size in parts[:index])
    places = np.full(sum(size or 0 for size in parts), -1)
    places[first : first + (parts[index] or 0)] = np.arange(parts[index] or 0)
    return Axes(_same(before), {axis: places})


@_reads("Split")
def _split(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    axis = int(attribute_of(node, "axis", 0)) % len(before)
    parts = [sizes_of(part)[axis] if sizes_of(part) else None for part in node.outputs[: (output.index() or 0) + 1]]
    if None in parts:
        return _without(before, after, {axis})
    end = sum(size or 0 for size in parts)
    return Axes(_same(before), {axis: np.arange(end - (parts[-1] or 0), end)})


@_reads("Slice")
def _sliced(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    given = [_numbers(node, place, name) for place, name in enumerate(("starts", "ends", "axes", "steps"), 1)]
    computed = {place for place, value in enumerate(node.inputs[1:]) if value is not None and given[place] is None}
    starts, ends, axes, steps = given
    if computed or starts is None or ends is None:
        mixed = mixed_axes(node)
        return None if mixed is None else _without(before, after, mixed)
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    taken, unknown = {}, set()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= len(before)
        if (size := before[axis]) is None:
            unknown.add(axis)
            continue
        stop = None if step < 0 and end < -size else end  # ONNX's end of a slice back to the first element
        taken[axis] = np.arange(size)[start:stop:step]
    return Axes(tuple(None if axis in unknown else axis for axis in _same(before)), taken)


def _numbers(node: ir.Node, place: int, name: str) -> list[int] | None:
    """Constant whole numbers of an input, or of the attribute that it once was; None if they are not there."""
    if name in node.attributes:
        return [int(number) for number in attribute_of(node, name)]
    found = constant_array(node.inputs[place]) if place < len(node.inputs) else None
    return None if found is None else [int(number) for number in found.reshape(-1)]


@_reads("Gather")
def _gathered(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    axis = int(attribute_of(node, "axis", 0)) % len(before)
    chosen, size = constant_array(node.inputs[1]), before[axis]
    new = len(after) - len(before) + 1  # how many axes the indices have
    inner: list[int | None] = [None] * new
    taken = {}
    if chosen is not None and size is not None:
        taken[axis] = chosen.reshape(-1) % size
        if new == 1:
            inner = [axis]
    return Axes((*range(axis), *inner, *range(axis + 1, len(before))), taken)


@_reads("Pad")
def _padded(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    pads = _numbers(node, 1, "pads")
    if attribute_of(node, "mode", "constant") != "constant" or pads is None or len(pads) != 2 * len(before):
        return None
    taken = {}
    for axis, (size, first, last) in enumerate(zip(before, pads, pads[len(before) :], strict=False)):
        if first or last:
            if size is None:
                return None
            places = np.pad(np.arange(size), (max(first, 0), max(last, 0)), constant_values=-1)
            taken[axis] = places[max(-first, 0) : len(places) - max(-last, 0)]
    return Axes(_same(before), taken)


@_reads("Tile")
def _tiled(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    repeats = _numbers(node, 1, "repeats")
    if repeats is None or len(repeats) != len(before):
        return None
    many = {axis: size for axis, (size, count) in enumerate(zip(before, repeats, strict=True)) if count > 1}
    if None in many.values():
        return None
    return Axes(_same(before), {axis: np.tile(np.arange(size or 0), repeats[axis]) for axis, size in many.items()})


@_reads("DepthToSpace")
@_reads("SpaceToDepth")
def _blocks(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    if None in before or len(before) != 4:
        return None
    n, c, h, w = (size or 0 for size in before)
    b = int(attribute_of(node, "blocksize"))
    flat = np.arange(n * c * h * w)
    if node.op_type == "SpaceToDepth":
        moved = flat.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
        return Move(moved.reshape(n, c * b * b, h // b, w // b))
    if attribute_of(node, "mode", "DCR") == "DCR":
        moved = flat.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        moved = flat.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return Move(moved.reshape(n, c // b**2, h * b, w * b))


@_reads("ScatterND")
def _scattered(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    """ScatterND at constant places, as of ``boxes[..., 0] = x``; at others, each update may be anywhere.

    What is replaced does not depend on the data any more; what is added to, multiplied or compared does.
    """
    if index == 0 and attribute_of(node, "reduction", "none") != "none":
        return Axes(_same(before))
    chosen = constant_array(node.inputs[1])
    if chosen is None or None in after or None in before:
        return Axes(_same(before)) if index == 0 else None
    places = np.full([size or 0 for size in after], -1)
    if index == 0:
        places = np.arange(places.size).reshape(places.shape)
    new = -1 if index == 0 else np.arange(np.prod([size or 0 for size in before])).reshape([s or 0 for s in before])
    places[tuple(np.moveaxis(chosen, -1, 0))] = new
    return Move(places)


@_reads("GatherND")
def _of_rows(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    """GatherND: what the indices do not reach stays in its place."""
    last = sizes_of(node.inputs[1])  # type: ignore[arg-type]
    batch = int(attribute_of(node, "batch_dims", 0))
    if not last or last[-1] is None:
        return None
    inner = len(before) - batch - last[-1]
    new = len(after) - batch - inner
    return Axes((*range(batch), *[None] * new, *range(len(before) - inner, len(before))))


@_reads("GatherElements")
@_reads("ScatterElements")
def _chosen(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    """GatherElements and ScatterElements: any place along their axis, and along axes that change in size."""
    axis = int(attribute_of(node, "axis", 0)) % len(before)
    mixed = {a for a in _same(before) if a == axis or before[a] is None or before[a] != after[a]}
    return _without(before, after, mixed)


@_reads("Conv")
@_reads("ConvTranspose")
def _convolved(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    """Channels are mixed, within groups; so are rows or columns, where the kernel is of more than one."""
    if index != 0:
        return None
    weight = sizes_of(node.inputs[1])  # type: ignore[arg-type]
    if len(weight) != len(before):
        return None
    groups = int(attribute_of(node, "group", 1))
    channel: int | None = 1 if groups > 1 else None
    rest, taken = _windows(node, before, after, weight[2:])
    return Axes((0, channel, *rest), taken, {1: groups} if groups > 1 else {})


def _windows(node: ir.Node, before: Sizes, after: Sizes, kernel: Sizes) -> tuple[list[int | None], dict[int, Places]]:
    """Rows and columns of a window: the axis each follows, and which places of it are read."""
    rest: list[int | None] = []
    taken: dict[int, Places] = {}
    strides = attribute_of(node, "strides") or [1] * len(kernel)
    pads = attribute_of(node, "pads") or [0] * 2 * len(kernel)
    for place, size in enumerate(kernel):
        axis, stride = place + 2, int(strides[place])
        plain = size == 1 and not pads[place] and not pads[place + len(kernel)]
        rest.append(axis if plain else None)
        if plain and stride > 1:
            old, new = before[axis], after[axis]
            if old is None or new is None:
                rest[-1] = None
            elif node.op_type == "ConvTranspose":
                places = np.full(new, -1)
                places[: old * stride : stride] = np.arange(old)
                taken[axis] = places
            else:
                taken[axis] = np.arange(0, old, stride)[:new]
    return rest, taken


@_reads("MatMul")
def _multiplied(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    """MatMul: the last axis of the first factor and the last but one of the second are mixed."""
    if len(before) < 2 or len(after) < len(before):
        return None
    new = len(after) - len(before)
    batch = [None if before[a] == 1 != after[a + new] else a for a in range(len(before) - 2)]
    ends = (len(before) - 2, None) if index == 0 else (None, len(before) - 1)
    return Axes((*[None] * new, *batch, *ends))


@_reads("Gemm")
def _gemm(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    if index == 2:
        return _broadcast(before, after)
    turned = bool(attribute_of(node, "transA" if index == 0 else "transB", 0))
    return Axes((1 if turned else 0, None)) if index == 0 else Axes((None, 0 if turned else 1))


@_reads("Einsum")
def _einsum(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    left, arrow, right = str(attribute_of(node, "equation")).replace(" ", "").partition("->")
    letters = left.split(",")[index]
    if not arrow or "." in left + right or len(set(letters)) < len(letters):
        return None
    return Axes(tuple(letters.index(one) if one in letters else None for one in right))


@_reads("MaxRoiPool")
@_reads("RoiAlign")
def _of_regions(node: ir.Node, output: ir.Value, index: int, before: Sizes, after: Sizes) -> Flow | None:
    """RoiAlign: the channels stay."""
    return Axes((None, 1, None, None)) if index == 0 else None
