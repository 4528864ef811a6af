"""Convolutions: the gradient to the input is the other kind of convolution.

The weights are constants of the model; no gradient is carried to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.rule import Contribution, Site, rule
from boxcam.export.autodiff.rules.axes import arrived, divided, maps, merged
from boxcam.export.autodiff.turned import backward_kernel
from boxcam.export.graphs.ops import Operand


class Spatial(NamedTuple):
    """How a window moves over the spatial axes; ``pads`` are those at the beginning of all axes, then at their end."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]

    @property
    def reach(self) -> list[int]:
        """From the first to the last cell of the window, on each axis."""
        return [d * (k - 1) for d, k in zip(self.dilations, self.kernel, strict=True)]


def spatial(site: Site) -> Spatial:
    """Kernel, strides, dilations and pads of a convolution (not a transposed one) or a pooling, ``auto_pad`` resolved.

    Raises:
        UnsupportedOperatorError: the pads depend on sizes that are not known before the model runs.
    """
    kernel = site.attribute("kernel_shape")
    kernel = [int(k) for k in (site.shape(1)[2:] if kernel is None else kernel)]
    n = len(kernel)
    strides, dilations = list(site.attribute("strides", [1] * n)), list(site.attribute("dilations", [1] * n))
    result = Spatial(kernel, strides, dilations, [0] * 2 * n)
    auto = site.attribute("auto_pad", "NOTSET")
    if auto == "NOTSET":
        return result._replace(pads=list(site.attribute("pads", result.pads)))
    if auto == "VALID":
        return result
    total = []
    for axis, (stride, reach) in enumerate(zip(strides, result.reach, strict=True)):
        size = 1 if stride == 1 else maps(site)[axis]
        total.append(max((-(-size // stride) - 1) * stride + reach + 1 - size, 0))
    low = [t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in total]
    return result._replace(pads=low + [t - b for t, b in zip(total, low, strict=True)])


def _rows(site: Site) -> Sequence[int]:
    # A computed weight would be taken at the rows of the batch, were the batch not whole.
    return (0,) if site.constant(1) is not None else ()


def _only_input(site: Site) -> None:
    if site.wanted != {0}:
        site.unsupported("its weights depend on the layer, and a gradient is computed to its input only")


@rule("Conv", independent=_rows, note="gradient to the input, not to computed weights")
def _conv(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    _only_input(site)
    op, g, window = site.op, arrived(gs), spatial(site)
    group, weight = site.attribute("group", 1), site.constant(1)
    opposite = [r - p for r, p in zip(window.reach * 2, window.pads, strict=True)]
    if weight is not None and set(window.strides) == {1} and min(opposite) >= 0:
        # ONNX Runtime's Conv is several times faster than its ConvTranspose.
        back = op.Conv(
            merged(site, g),
            backward_kernel(op, weight, group),
            group=group,
            dilations=window.dilations,
            pads=opposite,
            kernel_shape=window.kernel,
        )
    else:
        back = _transposed(site, merged(site, g), window, group)
    return [divided(site, back, g)]


def _transposed(site: Site, g: ir.Value, window: Spatial, group: int) -> ir.Value:
    """ConvTranspose to the size that the Conv had as input."""
    op, n = site.op, len(window.kernel)
    size, out = maps(site), maps(site, output=True)
    low, high = window.pads[:n], window.pads[n:]
    weight: Operand = site.constant(1)
    weight = site.x(1) if weight is None else weight
    common = {"group": group, "dilations": window.dilations, "strides": window.strides}
    spread = [s * (o - 1) + r + 1 for s, o, r in zip(window.strides, out, window.reach, strict=True)]
    over = [s + b + e - w for s, b, e, w in zip(size, low, high, spread, strict=True)]  # cells that no window reached
    if low == high:
        return op.ConvTranspose(g, weight, pads=window.pads, output_padding=over, **common)
    # Not every ONNX Runtime provider takes pads that differ, so these are cut off (or added) behind it.
    back = op.ConvTranspose(g, weight, **common)
    after = [s - (w - b) for s, b, w in zip(size, low, spread, strict=True)]
    if max(after) > 0:
        back = op.Pad(back, [0] * (2 + n) + [0, 0, *(max(a, 0) for a in after)])
    ends = [b + s for b, s in zip(low, size, strict=True)]
    return op.Slice(back, low, ends, list(range(2, 2 + n)))


@rule("ConvTranspose", independent=_rows, note="gradient to the input, not to computed weights")
def _conv_transpose(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """``y[s·i + d·k - p] += w[k] · x[i]``: its gradient is a Conv with the same weights, strides and pads."""
    _only_input(site)
    op, g = site.op, arrived(gs)
    given, n = site.constant(1), site.rank() - 2
    kernel = list(site.shape(1)[2:])
    strides, dilations = list(site.attribute("strides", [1] * n)), list(site.attribute("dilations", [1] * n))
    size, out = maps(site), maps(site, output=True)
    reach = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    low = _low_pads(site, Spatial(kernel, strides, dilations, []), size, out)
    # As many cells behind the output as the last window needs; less than none: cells that no input reached.
    high = [(i - 1) * s + r + 1 - o - b for i, s, r, o, b in zip(size, strides, reach, out, low, strict=True)]
    d = merged(site, g)
    if min(high) < 0:
        ends = [o + min(h, 0) for o, h in zip(out, high, strict=True)]
        d = op.Slice(d, [0] * n, ends, list(range(2, 2 + n)))
    back = op.Conv(
        d,
        site.x(1) if given is None else given,
        group=site.attribute("group", 1),
        strides=strides,
        dilations=dilations,
        pads=[*low, *(max(h, 0) for h in high)],
        kernel_shape=kernel,
    )
    return [divided(site, back, g)]


def _low_pads(site: Site, window: Spatial, size: Sequence[int], out: Sequence[int]) -> list[int]:
    """The pads at the beginning of each axis of a ConvTranspose: given, or what makes it have its output's shape."""
    n = len(window.kernel)
    auto = site.attribute("auto_pad", "NOTSET")
    if site.attribute("output_shape") is None and auto in ("NOTSET", "VALID"):
        return list(site.attribute("pads", [0] * 2 * n))[:n] if auto == "NOTSET" else [0] * n
    more = site.attribute("output_padding", [0] * n)
    spread = zip(size, window.strides, window.reach, more, out, strict=True)
    total = [max((i - 1) * s + r + 1 + m - o, 0) for i, s, r, m, o in spread]
    return [t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in total]


@rule("Col2Im", note="constant sizes")
def _col2im(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """Blocks are added into an image: each position of a block takes what arrives where it lies."""
    op, g = site.op, arrived(gs)
    image, block = ([int(n) for n in site.need_constant(i, "shape").reshape(-1)] for i in (1, 2))
    n = len(image)
    strides, dilations = list(site.attribute("strides", [1] * n)), list(site.attribute("dilations", [1] * n))
    pads = list(site.attribute("pads", [0] * 2 * n))
    window = Spatial(block, strides, dilations, pads)
    counts = [(size + pads[i] + pads[n + i] - window.reach[i] - 1) // strides[i] + 1 for i, size in enumerate(image)]
    taps, places = np.indices(block).reshape(n, -1, 1), np.indices(counts).reshape(n, 1, -1)
    cells = [places[i] * strides[i] + taps[i] * dilations[i] - pads[i] for i in range(n)]  # [taps, places] each
    inside = np.all([(cell >= 0) & (cell < size) for cell, size in zip(cells, image, strict=True)], axis=0)
    total = int(np.prod(image))
    near = [np.clip(cell, 0, size - 1) for cell, size in zip(cells, image, strict=True)]
    number = np.where(inside, np.ravel_multi_index(near, image), total)
    flat = op.Reshape(g, op.Concat(op.Shape(g, start=0, end=3), [total], axis=0))
    flat = op.Pad(flat, np.array([0, 0, 0, 0, 0, 0, 0, 1]))  # what lies outside of the image
    shape = op.Concat(op.Shape(g, start=0, end=2), [-1, number.shape[1]], axis=0)
    return [op.Reshape(op.Gather(flat, number.reshape(-1), axis=3), shape)]
