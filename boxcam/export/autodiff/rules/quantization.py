"""Quantization, by straight-through estimates: rounding passes the gradient, saturation stops it.

QuantizeLinear and DequantizeLinear together are the identity where nothing was saturated.  In between the values are
integers; a gradient passes them all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.rule import Contribution, Site, rule
from boxcam.export.autodiff.rules.shapes import Gradients, masked
from boxcam.export.graphs.query import Array

_RANGES = {
    ir.DataType.INT4: (-8, 7),
    ir.DataType.UINT4: (0, 15),
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT16: (-32768, 32767),
    ir.DataType.UINT16: (0, 65535),
}
_NOTE = "straight-through; a constant scale, per tensor or per axis; integer types"


def _scale_axis(site: Site) -> int | None:
    """The axis along which the scale changes, if there is one."""
    return None if site.need_constant(1, "scale").size == 1 else int(site.attribute("axis", 1)) % site.rank()


def _other_axes(site: Site) -> list[int]:
    axis = _scale_axis(site)
    return [a for a in range(site.rank()) if a != axis]


def _by_axis(site: Site, constant: Array) -> Array:
    """A scale or zero point in a shape that broadcasts from the right."""
    if site.attribute("block_size", 0):
        site.unsupported("blocked quantization is not supported")
    axis = _scale_axis(site)
    return site.real(constant).reshape([-1] + [1] * (0 if axis is None else site.rank() - 1 - axis))


@rule("QuantizeLinear", independent=_other_axes, note=_NOTE)
def _quantize(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """1 / scale where x is represented: low ≤ round(x / scale) + zero ≤ high, as PyTorch's fake quantization."""
    op, kind = site.op, site.node.outputs[0].dtype
    if kind not in _RANGES:
        site.unsupported(f"{kind} is not supported")
    low, high = _RANGES[kind]
    scale = _by_axis(site, site.need_constant(1, "scale"))
    zero = site.real(0)
    if site.has(2):
        zero = _by_axis(site, site.need_constant(2, "zero point"))
    rounded = op.Round(op.Div(site.x(), scale))
    inside = op.And(op.GreaterOrEqual(rounded, low - zero), op.LessOrEqual(rounded, high - zero))
    return [masked(site, inside, op.Div(gs[0], scale))]


@rule("DequantizeLinear", independent=_other_axes, note=_NOTE)
def _dequantize(site: Site, gs: Gradients) -> Sequence[Contribution]:
    return [site.op.Mul(gs[0], np.array(_by_axis(site, site.need_constant(1, "scale"))))]
