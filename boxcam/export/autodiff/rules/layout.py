"""What moves, repeats or leaves out elements: each adjoint is the same in reverse, or a sum over what was repeated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.rule import Contribution, Site, elementwise, rule
from boxcam.export.autodiff.rules.shapes import (
    Gradients,
    along,
    arriving,
    common_prefix,
    like,
    padded,
    reshaped,
    scattered,
    sliced,
    ungathered,
)
from boxcam.export.graphs.query import Array


@rule("Reshape", "Flatten", independent=lambda site: range(common_prefix(site)))
def _reshape(site: Site, gs: Gradients) -> Sequence[Contribution]:
    return [like(site, arriving(gs)[1], kept=common_prefix(site))]


def _squeezed(site: Site) -> list[int]:
    axes = site.axes()
    if axes is None:
        if None in site.dims():
            site.unsupported("it names no axes, and which of them have size 1 is not known before the model runs")
        return [a for a, d in enumerate(site.dims()) if d == 1]
    return sorted(a % site.rank() for a in axes)


@rule("Squeeze", independent=lambda site: range(min(_squeezed(site), default=site.rank())))
def _squeeze(site: Site, gs: Gradients) -> Sequence[Contribution]:
    axes = _squeezed(site)
    return [site.op.Unsqueeze(gs[0], [a + 1 for a in axes]) if axes else gs[0]]


def _unsqueezed(site: Site) -> list[int]:
    return sorted(a % site.out_rank() for a in site.axes() or [])


@rule("Unsqueeze", independent=lambda site: range(min(_unsqueezed(site), default=site.rank())))
def _unsqueeze(site: Site, gs: Gradients) -> Sequence[Contribution]:
    axes = _unsqueezed(site)
    return [site.op.Squeeze(gs[0], [a + 1 for a in axes]) if axes else gs[0]]


def _order(site: Site) -> list[int]:
    return [int(a) for a in site.attribute("perm", range(site.rank())[::-1])]


@rule("Transpose", independent=lambda site: [a for a, b in enumerate(_order(site)) if a == b])
def _transpose(site: Site, gs: Gradients) -> Sequence[Contribution]:
    order = _order(site)
    return [site.op.Transpose(gs[0], perm=[0, *(1 + order.index(a) for a in range(len(order)))])]


@elementwise("Expand")
def _expand(site: Site, gs: Gradients) -> Sequence[Contribution]:
    return [gs[0]]


def _repeats(site: Site) -> list[int]:
    given = site.constant(1)
    if given is not None:
        return [int(n) for n in given.reshape(-1)]
    return [y // x if x else 1 for x, y in zip(site.shape(), site.out_shape(), strict=True)]


def _once(site: Site) -> int:
    """How many axes in front are not repeated."""
    return next((a for a, n in enumerate(_repeats(site)) if n != 1), site.rank())


@rule("Tile", independent=lambda site: range(_once(site)), note="repeats that are constant, or known shapes")
def _tile(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """Sum over the copies."""
    dims: list[int | None] = []
    copies = []
    for size, repeat in zip(site.dims(), _repeats(site), strict=True):
        if repeat != 1:
            copies.append(1 + len(dims))
            dims.append(repeat)
        dims.append(size)
    g = arriving(gs)[1]
    return [site.op.ReduceSum(reshaped(site, g, dims, kept=_once(site)), copies, keepdims=0) if copies else g]


def _other_axes(site: Site, axis: int) -> list[int]:
    """All axes of the output but one."""
    rank = site.out_rank()
    return [a for a in range(rank) if a != axis % rank]


@rule("Concat", independent=lambda site: _other_axes(site, site.attribute("axis")))
def _concat(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """Each operand has its stretch of the axis."""
    g, count = arriving(gs)[1], len(site.node.inputs)
    axis = site.axis(site.attribute("axis"))
    sizes = [site.dims(i)[axis] for i in range(count)]
    if None in sizes:
        return _split_as_computed(site, g, axis, sizes)
    ends = np.cumsum([size or 0 for size in sizes])
    return [
        lambda end=int(end), size=size or 0: sliced(site, g, axis, end - size, end)  # type: ignore[misc]
        for end, size in zip(ends, sizes, strict=True)
    ]


def _split_as_computed(site: Site, g: ir.Value, axis: int, sizes: Sequence[int | None]) -> Sequence[Contribution]:
    op, end = site.op, {} if axis == -1 else {"end": axis + 1}
    parts = [op.Shape(site.x(i), start=axis, **end) if s is None else np.array([s]) for i, s in enumerate(sizes)]
    return op.emit("Split", [g, op.Concat(*parts, axis=0)], {"axis": axis}, len(sizes))


def _parts(site: Site, length: int | None) -> list[int]:
    """The lengths of what Split gives; the last one is shorter where an axis cannot be divided evenly."""
    given: Any = site.attribute("split")
    if given is None and site.has(1):
        given = site.need_constant(1, "split")
    if given is not None:
        return [int(n) for n in given]
    if length is None:
        site.unsupported("the length of the axis that it splits is not known before the model runs")
    count = len(site.node.outputs)
    chunk = -(-length // count)
    return [min(chunk, length - i * chunk) for i in range(count)]


@rule("Split", independent=lambda site: _other_axes(site, site.attribute("axis", 0)), note="constant lengths")
def _split(site: Site, gs: Gradients) -> Sequence[Contribution]:
    number, g = arriving(gs)
    axis = site.axis(site.attribute("axis", 0))
    parts = _parts(site, site.dims()[axis])
    return [padded(site, g, site.rank(), axis, sum(parts[:number]), sum(parts[number + 1 :]))]


def _slices(site: Site) -> dict[int, tuple[Array | None, Array | None, int]]:
    """For each axis that is sliced: start, stop (None: computed) and step."""
    named = [site.attribute("starts"), site.attribute("ends"), site.attribute("axes"), None]
    if site.has(1):
        named = [site.constant(1), site.constant(2), None, None]
        named[2:] = [site.need_constant(i, what) if site.has(i) else None for i, what in ((3, "axes"), (4, "steps"))]
    starts, ends, axes, steps = named
    if axes is None:
        known = starts if starts is not None else ends
        count = len(known) if known is not None else site.shape(1)[0]
        axes = range(count)
    count = len(axes)
    return {
        site.axis(int(axis)): (
            None if starts is None else np.asarray(starts)[i],
            None if ends is None else np.asarray(ends)[i],
            1 if steps is None else int(steps[i]),
        )
        for i, axis in zip(range(count), axes, strict=True)
    }


def _unsliced(site: Site) -> list[int]:
    """The axes that are not sliced; without the last one if bounds are computed, as these would line up with it."""
    slices = _slices(site)
    computed = any(start is None or stop is None for start, stop, _ in slices.values())
    return [a for a in range(site.rank() - computed) if a - site.rank() not in slices]


@rule(
    "Slice",
    independent=lambda site: _unsliced(site),
    note="constant axes and steps; the axes must have a known length",
)
def _slice(site: Site, gs: Gradients) -> Sequence[Contribution]:
    g = arriving(gs)[1]
    for number, (axis, (start, stop, step)) in enumerate(_slices(site).items()):
        length = site.dims()[axis]
        if length is None:
            site.unsupported("the length of an axis that it slices is not known before the model runs")
        if start is None or stop is None:
            g = scattered(site, g, along(site, _computed(site, number, length, step), axis), axis, length)
        else:
            g = ungathered(site, g, site.rank(), axis, _taken(length, int(start), int(stop), step), length)
    return [g]


def _taken(length: int, start: int, stop: int, step: int) -> Array:
    """The positions that a slice takes, with the bounds cut as ONNX says: not as Python, for negative steps."""
    start, stop = (n + length if n < 0 else n for n in (start, stop))
    if step > 0:
        start, stop = np.clip([start, stop], 0, length)
    else:
        start, stop = np.clip(start, 0, length - 1), np.clip(stop, -1, length - 1)
    return np.arange(start, stop, step)


def _computed(site: Site, number: int, length: int, step: int) -> ir.Value:
    """The positions of one axis that a slice takes whose bounds are known only when the model runs."""
    op = site.op
    bounds = [op.Slice(site.x(i), [number], [number + 1], [0]) for i in (1, 2)]
    if any(bound.dtype is ir.DataType.INT32 for bound in site.node.inputs[1:3] if bound is not None):
        bounds = [op.Cast(bound, to=ir.DataType.INT64) for bound in bounds]
    return op.Slice(np.arange(length), *bounds, [0], [step])


def _pads(site: Site) -> dict[int, tuple[int, int]]:
    """For each axis that is padded or cut: how much in front, and behind."""
    given = site.attribute("pads")
    pads = [int(n) for n in (given if given is not None else site.need_constant(1, "pads").reshape(-1))]
    axes = site.need_constant(3, "axes").reshape(-1) if site.has(3) else range(site.rank())
    half = len(pads) // 2
    found = {site.axis(int(a)): pair for a, *pair in zip(axes, pads[:half], pads[half:], strict=True)}
    return {axis: (before, after) for axis, (before, after) in found.items() if before or after}


@rule(
    "Pad",
    independent=lambda site: [a for a in range(site.rank()) if a - site.rank() not in _pads(site)],
    note="constant pads; the axes must have a known length; no gradient to the value",
)
def _pad(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """Cut off again; what reflect, edge and wrap repeat is added to where it comes from."""
    g, mode = arriving(gs)[1], str(site.attribute("mode", "constant"))
    for axis, (before, after) in _pads(site).items():
        length = site.dims()[axis]
        if length is None:
            site.unsupported("the length of an axis that it pads is not known before the model runs")
        if mode == "constant":
            g = _unpadded(site, g, axis, before, after, length)
        else:
            g = scattered(site, g, along(site, _source(length, before, after, mode), axis), axis, length)
    return [g]


def _unpadded(site: Site, g: ir.Value, axis: int, before: int, after: int, length: int) -> ir.Value:
    """Adjoint of padding with a constant; negative numbers cut off, and their adjoint pads."""
    kept = length + min(before, 0) + min(after, 0)
    if before > 0 or after > 0:
        g = sliced(site, g, axis, max(before, 0), max(before, 0) + kept)
    return padded(site, g, site.rank(), axis, max(-before, 0), max(-after, 0))


def _source(length: int, before: int, after: int, mode: str) -> Array:
    """Where each position of a padded axis was copied from."""
    index = np.arange(length)[max(-before, 0) : length - max(-after, 0)]
    return np.asarray(np.pad(index, (max(before, 0), max(after, 0)), mode))  # type: ignore[call-overload]


@rule("DepthToSpace", independent=lambda site: [0])
def _depth_to_space(site: Site, gs: Gradients) -> Sequence[Contribution]:
    g, size = arriving(gs)[1], int(site.attribute("blocksize"))
    n, c, h, w = site.dims()
    channels = None if c is None else c // size**2
    g = reshaped(site, g, [n, channels, h, size, w, size], kept=1)  # axes 0 … 6: M N C H i W j
    crd = str(site.attribute("mode", "DCR")) == "CRD"
    g = site.op.Transpose(g, perm=[0, 1, 2, 4, 6, 3, 5] if crd else [0, 1, 4, 6, 2, 3, 5])
    return [reshaped(site, g, [n, c, h, w], kept=1)]


@rule("SpaceToDepth", independent=lambda site: [0])
def _space_to_depth(site: Site, gs: Gradients) -> Sequence[Contribution]:
    g, size = arriving(gs)[1], int(site.attribute("blocksize"))
    n, c, h, w = site.dims()
    _, _, rows, columns = site.out_dims()
    g = reshaped(site, g, [n, size, size, c, rows, columns], kept=1)  # axes 0 … 6: M N i j C H W
    g = site.op.Transpose(g, perm=[0, 1, 4, 5, 2, 6, 3])
    return [reshaped(site, g, [n, c, h, w], kept=1)]


@rule("Trilu", independent=lambda site: range(site.out_rank() - 2))
def _trilu(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """What was left out gets nothing."""
    diagonal = site.x(1) if site.has(1) else None
    return [site.op.Trilu(gs[0], diagonal, upper=site.attribute("upper", 1))]


def _compressed(site: Site) -> list[int]:
    axis = site.attribute("axis")
    return [] if axis is None else _other_axes(site, axis)


@rule("Compress", independent=_compressed, note="a constant condition")
def _compress(site: Site, gs: Gradients) -> Sequence[Contribution]:
    g, axis = arriving(gs)[1], site.attribute("axis")
    taken = np.flatnonzero(site.need_constant(1, "condition"))
    if axis is not None:
        length = site.dims()[axis]
        if length is None:
            site.unsupported("the length of the axis that it compresses is not known before the model runs")
        return [ungathered(site, g, site.rank(), site.axis(axis), taken, length)]
    flat = ungathered(site, g, 1, -1, taken, int(np.prod(site.shape())))
    return [like(site, flat)]
