"""Where on the image the elements of a tensor lie, when it is no longer the map that a convolution gave.

A transformer lays the cells of a map out as a sequence of tokens, puts other tokens before or after them, cuts the
sequence into windows, and may lay a part of it out as a map again. A convolution's arithmetic ends there, but a token
keeps its place: what it is computed of at its own place in the sequence (the residual path) tells where it lies. What
attention gathers from elsewhere does not move it.

Coordinates are complex numbers, ``y + xj`` in pixels of the model's input; NaN is an element that lies nowhere, as a
class token or a query. A dimension along which all elements are alike is kept at size 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.query import constant_array
from boxcam.export.layers.flow import Axes, Move, Reshape, Sizes, sizes_of
from boxcam.export.layers.steps import steps

Coordinates = npt.NDArray[np.complex128]

_NOWHERE = complex(np.nan, np.nan)
_CLOSE = 1e-3  # pixels
_MOST = 2**22  # elements that are laid out one by one


@dataclass(frozen=True)
class Axis:
    """Cells along one axis: cell i has its centre at ``center + i·stride``, in pixels of the model's input."""

    stride: float
    center: float


@dataclass(frozen=True)
class TokenGrid:
    """The tokens of a sequence that are cells of a map, row by row.

    Attributes:
        first: how many other tokens come before them.
        rows, columns: of the map.
        y, x: where the rows and columns lie.
    """

    first: int
    rows: int
    columns: int
    y: Axis
    x: Axis


def follow(node: ir.Node, found: Mapping[ir.Value, Coordinates]) -> dict[ir.Value, Coordinates]:
    """The coordinates of a node's outputs, of those of its inputs; an output of which nothing is known is left out."""
    if not any(value in found for value in node.inputs if value is not None):
        return {}
    return {output: laid for output in node.outputs if (laid := _together(_read(node, output, found))) is not None}


def of_map(rows: Axis, columns: Axis, shape: Sequence[int], axes: tuple[int, int]) -> Coordinates:
    """The coordinates of a map of known cells.

    Args:
        rows, columns: where the cells lie.
        shape: of the tensor.
        axes: which of its axes are the rows and columns.
    """
    result = np.zeros((1,) * len(shape), np.complex128)
    for line, axis, unit in ((rows, axes[0], 1), (columns, axes[1], 1j)):
        along = (line.center + line.stride * np.arange(shape[axis])) * unit
        result = result + along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return result


def as_grid(laid: Coordinates) -> tuple[tuple[int, int], Axis, Axis] | None:
    """The axes of rows and columns of a map and where they lie, if the coordinates are those of a map."""
    if np.isnan(laid).any():
        return None
    lines = []
    for part in (laid.real, laid.imag):
        varied = [axis for axis in range(part.ndim) if np.ptp(part, axis=axis).max(initial=0.0) > _CLOSE]
        if len(varied) != 1:
            return None
        along = np.moveaxis(part, varied[0], 0).reshape(part.shape[varied[0]], -1)[:, 0]
        if (line := _line(along)) is None:
            return None
        lines.append((varied[0], line))
    (down, y), (across, x) = lines
    return None if down == across else ((down, across), y, x)


def as_tokens(laid: Coordinates) -> TokenGrid | None:
    """The grid in a sequence [1, n, C], if some of its tokens, one after the other, are all cells of a map."""
    if laid.ndim != 3 or laid.shape[0] != 1 or laid.shape[2] != 1:
        return None
    tokens = laid[0, :, 0]
    here = np.flatnonzero(~np.isnan(tokens))
    if not len(here) or here[-1] - here[0] + 1 != len(here):
        return None
    cells = tokens[here]
    columns = int(np.argmax(np.append(np.abs(np.diff(cells.real)) > _CLOSE, True))) + 1
    if len(cells) % columns:
        return None
    grid = cells.reshape(-1, columns)
    found = as_grid(grid)
    return TokenGrid(int(here[0]), len(grid), columns, *found[1:]) if found is not None else None


def _line(along: npt.NDArray[np.float64]) -> Axis | None:
    """Numbers at equal distances."""
    stride = float(along[-1] - along[0]) / (len(along) - 1)
    even = np.abs(along - (along[0] + stride * np.arange(len(along)))).max() < _CLOSE
    return Axis(stride, float(along[0])) if even and stride > 0 else None


def _read(node: ir.Node, output: ir.Value, found: Mapping[ir.Value, Coordinates]) -> Iterator[Coordinates]:
    """What each input that lies somewhere says of an output."""
    after = sizes_of(output)
    for value, flow, _ in steps(node, output):
        before = sizes_of(value)
        if value not in found or None in before or None in after:
            continue
        laid = None
        if isinstance(flow, Axes):
            laid = _along_axes(flow, found[value], after, _weighs(node))
        elif isinstance(flow, Reshape):
            laid = _reshaped(found[value], before, after)
        elif isinstance(flow, Move) and flow.places.size <= _MOST:
            everywhere = np.broadcast_to(found[value], [size or 0 for size in before]).reshape(-1)
            laid = np.where(flow.places >= 0, everywhere[np.maximum(flow.places, 0)], _NOWHERE)
        if laid is not None and not _is_nowhere(laid):
            yield laid if laid is found[value] else _compact(laid)


def _is_nowhere(laid: Coordinates) -> bool:
    """Whether no element lies anywhere; most often the first one tells."""
    return not laid.size or (bool(np.isnan(laid.flat[0])) and bool(np.isnan(laid).all()))


def _weighs(node: ir.Node) -> bool:
    """Whether a node mixes elements by constant weights."""
    return operator_of(node).weighs and any(
        used is not None and constant_array(used) is not None for used in node.inputs[:2]
    )


def _along_axes(flow: Axes, laid: Coordinates, after: Sizes, weighs: bool) -> Coordinates | None:
    """Coordinates along the axes that an operator keeps; where it mixes cells by weights, the middle of them.

    As of the four tokens that a Swin transformer merges into one. Of a mixture of all of an image's cells nothing is
    left that could be called its place.  An operator that leaves all in its place gives the coordinates themselves.
    """
    if flow.order == tuple(range(laid.ndim)) and not flow.taken and not flow.groups:
        return laid if _fits(laid, after) else None
    for axis, places in flow.taken.items():
        laid = laid if laid.shape[axis] > 1 else laid.repeat(int(places.max(initial=0)) + 1, axis)
        there = (places >= 0).reshape([-1 if a == axis else 1 for a in range(laid.ndim)])
        laid = laid.take(np.maximum(places, 0), axis)
        laid = laid if there.all() else np.where(there, laid, _NOWHERE)
    if any(laid.shape[axis] > 1 for axis in flow.groups):
        return None
    kept = [axis for axis in flow.order if axis is not None]
    gone = [axis for axis in range(laid.ndim) if axis not in kept]
    mixed = tuple(axis for axis in gone if laid.shape[axis] > 1)
    if mixed:
        varied = not _is_uniform(laid)
        laid = laid.mean(mixed, keepdims=True)
        if not weighs or (varied and _is_uniform(laid)):
            return None
    laid = laid.squeeze(tuple(gone)).transpose(np.argsort(np.argsort(kept)))
    laid = np.expand_dims(laid, [place for place, axis in enumerate(flow.order) if axis is None])
    return laid if _fits(laid, after) else None


def _fits(laid: Coordinates, sizes: Sizes) -> bool:
    """Whether coordinates can be those of a tensor of these sizes."""
    return all(one in (1, size) for one, size in zip(laid.shape, sizes, strict=True))


def _reshaped(laid: Coordinates, before: Sizes, after: Sizes) -> Coordinates | None:
    """The same elements in another shape; axes that nothing varies along stay at size 1, if they stay at all."""
    old, new = ([size or 0 for size in sizes] for sizes in (before, after))
    if prod(old) != prod(new) or 0 in old:
        return None
    given, made = list(laid.shape), [1] * len(new)
    for first, second in _blocks(old, new):
        if max(given[first], default=1) > 1:
            given[first], made[second] = old[first], new[second]
    return np.broadcast_to(laid, given).reshape(made) if prod(given) <= _MOST else None


def _blocks(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """The fewest axes of two shapes, one after the other, that hold as many elements."""
    i = j = 0
    while i < len(old) or j < len(new):
        first, second = i, j
        one, other = prod(old[i : i + 1]), prod(new[j : j + 1])
        i, j = min(i + 1, len(old)), min(j + 1, len(new))
        while one != other:
            if one < other:
                one, i = one * old[i], i + 1
            else:
                other, j = other * new[j], j + 1
        yield slice(first, i), slice(second, j)


def _together(all_: Iterator[Coordinates]) -> Coordinates | None:
    """What several inputs say of one output: elements of which they say different things lie nowhere.

    An input that says the same of all elements, as a gate or a summary does, yields to one that tells them apart.
    """
    result: Coordinates | None = None
    for laid in all_:
        if laid is result:
            continue
        if result is None or (_is_uniform(result) and not _is_uniform(laid)):
            result = laid
        elif not _is_uniform(laid) or _is_uniform(result):
            with np.errstate(invalid="ignore"):
                apart = np.abs(result - laid) > _CLOSE  # False where one is NaN
            joined = np.where(np.isnan(result), laid, result)
            result = _compact(np.where(apart, _NOWHERE, joined))
    return result


def _is_uniform(laid: Coordinates) -> bool:
    """Whether all elements that lie somewhere lie at one place."""
    known = laid[~np.isnan(laid)]
    return bool(np.abs(known - known[:1]).max(initial=0.0) <= _CLOSE)


def _compact(laid: Coordinates) -> Coordinates:
    """The same coordinates, with dimensions along which all are alike at size 1."""
    for axis in range(laid.ndim):
        if laid.shape[axis] > 1:
            first, last = laid.take([0], axis), laid.take([-1], axis)  # most often these two differ, which is enough
            if _alike(last, first) and _alike(laid, np.broadcast_to(first, laid.shape)):
                laid = first
    return laid


def _alike(one: Coordinates, other: Coordinates) -> bool:
    """Whether two arrays of one shape are of the same coordinates."""
    return bool(((one == other) | (np.isnan(one) & np.isnan(other))).all())
