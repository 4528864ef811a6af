"""Where the cells of feature maps lie on the model's input: convolution arithmetic along the graph.

Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016); Araujo et al., "Computing receptive
fields of convolutional neural networks" (Distill 2019), for the centres.  Cell i of a convolution with kernel k,
stride s and padding p looks at cells ``s·i - p … s·i - p + k - 1``, so its centre lies (k - 1)/2 - p cells beside that
of cell s·i.  With the usual 3x3 and padding 1, cell i of a map with stride 32 looks at the surroundings of pixel 32·i;
taken for the tile that begins there, it would be drawn half a cell too far down and to the right.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Generic, TypeVar

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.operators import Mixes, operator_of
from boxcam.export.graphs.query import attribute_of, axes_of, constant_array, static_shape
from boxcam.export.layers.coordinates import Axis, Coordinates, TokenGrid, as_grid, as_tokens, follow, of_map
from boxcam.export.layers.steps import stays_in_place

_T = TypeVar("_T")


@dataclass(frozen=True)
class Cells:
    """The cells of a map.

    Attributes:
        y, x: down and across.
        resized: a Resize lies between the image and the map; where two paths meet, the one without is believed.
        axes: which axes of the tensor they are: (2, 3) of [1, C, H, W], (1, 2) of [1, H, W, C].
    """

    y: Axis
    x: Axis
    resized: bool = False
    axes: tuple[int, int] = (2, 3)


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the values of a graph lie on the image.

    Attributes:
        cells: of maps.
        tokens: of sequences [1, n, C] some of whose tokens are the cells of a map.
    """

    cells: Mapping[ir.Value, Cells]
    tokens: Mapping[ir.Value, TokenGrid]


def place(graph: ir.Graph, image: ir.Value, axes: tuple[int, int] = (2, 3)) -> Placement:
    """Where all values of the main graph lie that are computed from the image, as far as that can be said.

    Args:
        graph: the graph.
        image: its input.
        axes: of the image, height and width.
    """
    pixel = Axis(1.0, 0.5)
    found: dict[ir.Value, Cells] = {image: Cells(pixel, pixel, axes=axes)}
    laid: dict[ir.Value, Coordinates] = {}
    grids, sequences = _Seen(as_grid), _Seen(as_tokens)
    for node in graph:
        convolved = _convolve(node, found)
        found.update(convolved)
        if len(convolved) == len(node.outputs):
            continue
        for value in node.inputs:
            if value is not None and value in found and value not in laid:
                laid[value] = _coordinates(value, found[value])
        laid.update(follow(node, laid))
        for output in node.outputs:
            if output in laid and output not in found and (grid := grids.of(laid[output])) is not None:
                found[output] = Cells(grid[1], grid[2], axes=grid[0])
    tokens = {value: those for value, one in laid.items() if (those := sequences.of(one)) is not None}
    return Placement(found, tokens)


class _Seen(Generic[_T]):
    """What coordinates are seen as, found once for all tensors that share them, as those before and after a Relu do."""

    def __init__(self, see: Callable[[Coordinates], _T]) -> None:
        self._see = see
        self._found: dict[int, tuple[Coordinates, _T]] = {}

    def of(self, laid: Coordinates) -> _T:
        if id(laid) not in self._found:
            self._found[id(laid)] = laid, self._see(laid)  # with the array, so that no other one gets its id
        return self._found[id(laid)][1]


def cells(graph: ir.Graph, image: ir.Value, axes: tuple[int, int] = (2, 3)) -> Mapping[ir.Value, Cells]:
    """The cells of every map of the main graph that is computed from the image; the arguments are those of `place`."""
    return place(graph, image, axes).cells


def _coordinates(value: ir.Value, cell: Cells) -> Coordinates:
    return of_map(cell.y, cell.x, [size or 1 for size in static_shape(value) or ()], cell.axes)


def _convolve(node: ir.Node, found: Mapping[ir.Value, Cells]) -> dict[ir.Value, Cells]:
    """The cells of a node's outputs, by the arithmetic of convolutions and of what rearranges axes."""
    sources = [value for value in node.inputs if value is not None and value in found]
    if not sources:
        moved = _retiled(node, found) if node.op_type == "Reshape" else None
        return {} if moved is None else {node.outputs[0]: moved}
    source = min(sources, key=lambda value: found[value].resized)
    shapes = [static_shape(value) for value in (source, node.outputs[0])]
    if any(shape is None for shape in shapes):
        return {}
    before = found[source] if node.op_type != "Concat" else _joined([found[value] for value in sources])
    ranks = [len(shape or ()) for shape in shapes]
    order = _order(node, *ranks)
    if order is not None:
        if not set(before.axes) <= set(order):
            return {}
        down, across = (order.index(axis) for axis in before.axes)
        return {node.outputs[0]: Cells(before.y, before.x, before.resized, (down, across))}
    if ranks[0] != ranks[1]:
        return {}
    operator = operator_of(node)
    if operator.mixes is Mixes.WINDOW and before.axes != (2, 3):
        return {}
    y, x = (_axis(node, a, source, old) for a, old in zip(before.axes, (before.y, before.x), strict=True))
    if y is None or x is None:
        return {}
    return dict.fromkeys(node.outputs, Cells(y, x, before.resized or operator.retiles, before.axes))


def _joined(parts: Sequence[Cells]) -> Cells:
    """The cells of maps that become channels of one: in the middle of theirs, as of the four parts that Focus joins.

    Those that a Resize lies before are not believed where there are others.
    """
    first = min(parts, key=lambda part: part.resized)
    alike = [
        part
        for part in parts
        if (part.resized, part.axes, part.y.stride, part.x.stride)
        == (first.resized, first.axes, first.y.stride, first.x.stride)
    ]
    down = fsum(part.y.center for part in alike) / len(alike)
    across = fsum(part.x.center for part in alike) / len(alike)
    return replace(first, y=Axis(first.y.stride, down), x=Axis(first.x.stride, across))


def _order(node: ir.Node, before: int, after: int) -> list[int | None] | None:
    """For each axis after an operator the one before it (None for a new one); None if it does not move axes."""
    if node.op_type == "Transpose":
        return list(attribute_of(node, "perm") or range(before - 1, -1, -1))
    old: list[int | None] = list(range(before))
    if node.op_type == "Unsqueeze":
        for axis in sorted(a % after for a in axes_of(node) or []):
            old.insert(axis, None)
        return old
    if node.op_type == "Squeeze" and (gone := axes_of(node)) is not None:
        return [axis for axis in range(before) if axis not in {a % before for a in gone}]
    if node.op_type == "Gather" and after == before - 1:  # one image of a batch
        return [axis for axis in range(before) if axis != int(attribute_of(node, "axis", 0)) % before]
    return None


def tiles(canvas: tuple[int, int], rows: int, columns: int) -> Cells:
    """Cells that tile the model's input evenly: of tokens, each of which is made of one tile."""
    down, across = canvas[0] / rows, canvas[1] / columns
    return Cells(Axis(down, down / 2), Axis(across, across / 2))


def _retiled(node: ir.Node, found: Mapping[ir.Value, Cells]) -> Cells | None:
    """Cells of a map that Reshapes and Transposes make of tiles of another one, such as YOLOX's Focus; else None.

    A GroupNormalization written as several operators is one as well: its groups are laid out as rows, normalised and
    laid out as a map again.  Where the numbers go is tried on the numbers of the rows and columns themselves.
    """
    chain, value = [node], node.inputs[0]
    while value is not None and value not in found:
        before = value.producer()
        if before is None or not (before.op_type in ("Reshape", "Transpose") or _stays(before)):
            return None
        chain.append(before)
        value = before.inputs[0]
    shapes = [static_shape(v) for v in (value, *(n.outputs[0] for n in reversed(chain))) if v is not None]
    if value is None or any(shape is None or None in shape for shape in shapes):
        return None
    old, *between = ([int(size or 0) for size in shape or ()] for shape in shapes)
    if len(old) != 4 or len(between[-1]) != 4 or 0 in between[-1] or found[value].axes != (2, 3):
        return None
    axes = []
    for axis, cell in ((2, found[value].y), (3, found[value].x)):
        size, count = old[axis], between[-1][axis]
        line = np.arange(size).reshape(-1, *[1] * (3 - axis))
        moved = np.broadcast_to(line, old)
        for step, shape in zip(reversed(chain), between, strict=True):
            moved = moved.transpose(attribute_of(step, "perm")) if step.op_type == "Transpose" else moved
            moved = moved.reshape(shape)
        expected = np.arange(count).reshape(-1, *[1] * (3 - axis))
        if size % count or (moved // (size // count) != expected).any():
            return None
        stride = cell.stride * (size // count)
        axes.append(Axis(stride, cell.center + (stride - cell.stride) / 2))
    return Cells(axes[0], axes[1], found[value].resized)


def _stays(node: ir.Node) -> bool:
    """Whether the elements of a node's first input stay in their places, and there is no other that is computed."""
    computed = [used for used in node.inputs if used is not None and constant_array(used) is None]
    return computed == list(node.inputs[:1]) != [] and stays_in_place(node, node.outputs[0], computed[0])


def _axis(node: ir.Node, axis: int, source: ir.Value, before: Axis) -> Axis | None:
    """One axis behind an operator; None where there are no cells any more."""
    old, new = (shape[axis] if shape else None for shape in map(static_shape, (source, node.outputs[0])))
    operator = operator_of(node)
    if node.op_type == "ConvTranspose":
        return _transposed(node, axis, before)
    if operator.mixes is Mixes.WINDOW:
        return _convolved(node, axis, before, old, new)
    if operator.retiles:  # the same area, in other tiles
        if old is None or new is None:
            return None
        stride = before.stride * _ratio(old, new)
        return Axis(stride, before.center + (stride - before.stride) / 2)
    if node.op_type == "Slice":
        start, step = _sliced(node, axis, old)
        return Axis(before.stride * step, before.center + before.stride * start)
    if node.op_type == "Pad":
        pads = attribute_of(node, "pads") or _ints(node, 1)
        count = 2 * len(static_shape(source) or ())
        return Axis(before.stride, before.center - before.stride * int(pads[axis])) if len(pads) == count else None
    return before if old is not None and old == new else None


def _convolved(node: ir.Node, axis: int, before: Axis, old: int | None, new: int | None) -> Axis:
    step, reach, pad = _window(node, axis)
    padding = attribute_of(node, "auto_pad", "NOTSET")
    if padding in ("SAME_UPPER", "SAME_LOWER") and old is not None and new is not None:
        total = max((new - 1) * step + reach + 1 - old, 0)
        pad = total // 2 if padding == "SAME_UPPER" else total - total // 2
    return Axis(before.stride * step, before.center + before.stride * (reach / 2 - pad))


def _transposed(node: ir.Node, axis: int, before: Axis) -> Axis:
    step, reach, pad = _window(node, axis)
    stride = before.stride / step
    return Axis(stride, before.center - stride * (reach / 2 - pad))


def _window(node: ir.Node, axis: int) -> tuple[int, int, int]:
    """Stride, dilated kernel size less one, and padding at the beginning."""
    place = axis - 2
    kernel = attribute_of(node, "kernel_shape")
    if kernel is None:
        weight = static_shape(node.inputs[1])  # type: ignore[arg-type]
        kernel = weight[2:] if weight else (1, 1)
    step = attribute_of(node, "strides", (1, 1))[place]
    dilation = attribute_of(node, "dilations", (1, 1))[place]
    pad = attribute_of(node, "pads", (0, 0, 0, 0))[place]
    return int(step), int(dilation) * (int(kernel[place]) - 1), int(pad)


def _sliced(node: ir.Node, axis: int, old: int | None) -> tuple[int, int]:
    """Start and step of a Slice along an axis."""
    rank = len(static_shape(node.outputs[0]) or range(4))
    starts = _ints(node, 1)
    axes = _ints(node, 3) or list(range(len(starts)))
    steps = _ints(node, 4) or [1] * len(starts)
    for start, sliced, step in itertools.zip_longest(starts, axes, steps, fillvalue=0):
        if sliced % rank == axis and starts:
            return (start + (old or 0) if start < 0 else start), step
    return 0, 1


def _ratio(old: int, new: int) -> float:
    """Old over new size; a whole number (or one over it) if rounding at the map's edge explains the rest."""
    large, small = max(old, new), min(old, new)
    whole = round(large / small)
    ratio = whole if abs(large - whole * small) < whole else large / small
    return ratio if old >= new else 1 / ratio


def _ints(node: ir.Node, position: int) -> list[int]:
    found = constant_array(node.inputs[position]) if len(node.inputs) > position else None
    return [] if found is None else [int(v) for v in found.reshape(-1)]
