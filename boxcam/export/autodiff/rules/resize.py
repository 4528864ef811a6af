"""Resizing: a linear map of each axis, whose matrix the operator itself tells."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.rule import Contribution, Site, rule
from boxcam.export.autodiff.rules.axes import along, arrived, out_dims
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import Array, name_and_shape
from boxcam.export.graphs.run import run_model


class _Axis(NamedTuple):
    """What Resize is told about one axis; None for what it is not."""

    scale: float | None = None
    roi: tuple[float, float] | None = None


def _given(site: Site) -> dict[int, _Axis]:
    """What a node says about its axes; those it does not mention stay as they are."""
    rank = site.rank()
    axes = [axis % rank for axis in site.attribute("axes", range(rank))]
    modern = site.node.op_type == "Resize" and site.opset >= 11
    sized = modern and site.has(3)
    scales: Sequence[Any] = [None] * len(axes)
    if site.attribute("scales") is not None:  # Upsample of opset 7
        scales = site.attribute("scales")
    elif not sized:
        scales = site.need_constant(2 if modern else 1, "scales").reshape(-1).tolist()
    elif site.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        _check_same_ratio(site, axes)
    roi = None
    if site.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        roi = site.need_constant(1, "region").reshape(2, -1)
    return {
        axis: _Axis(scales[i], None if roi is None else (float(roi[0, i]), float(roi[1, i])))
        for i, axis in enumerate(axes)
    }


class PlainForm(NamedTuple):
    """What tells a plain interpolation without the sizes of its maps.

    Attributes:
        coordinates: where positions of the output lie on the input, a ``coordinate_transformation_mode`` of ONNX.
        nearest: how they are rounded, a ``nearest_mode``; empty for linear interpolation.
        scales: by axis, of those that are scaled by a constant.
    """

    coordinates: str
    nearest: str
    scales: dict[int, float]


_COORDINATES = ("asymmetric", "align_corners", "half_pixel", "pytorch_half_pixel")
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def plain_form(site: Site) -> PlainForm | None:
    """The form of a resize by nearest or linear interpolation; None for another one."""
    mode = site.attribute("mode", "nearest")
    modern = site.node.op_type == "Resize" and site.opset >= 11
    coordinates = site.attribute("coordinate_transformation_mode", "half_pixel") if modern else "asymmetric"
    rounding = site.attribute("nearest_mode", "round_prefer_floor") if modern else "floor"
    unusual = site.attribute("antialias", 0) or site.attribute("keep_aspect_ratio_policy", "stretch") != "stretch"
    if mode not in ("nearest", "linear") or coordinates not in _COORDINATES or rounding not in _NEAREST or unusual:
        return None
    scales = {axis: float(given.scale) for axis, given in _given(site).items() if given.scale is not None}
    if not modern and min(scales.values()) < 1:  # ONNX Runtime rounds these up
        return None
    return PlainForm(coordinates, rounding if mode == "nearest" else "", scales)


def _check_same_ratio(site: Site, axes: Sequence[int]) -> None:
    pairs = [(site.dims()[axis], out_dims(site)[axis]) for axis in axes]
    ratios = {None if before is None or after is None else Fraction(after, before) for before, after in pairs}
    if None in ratios or len(ratios) > 1:
        site.unsupported("keeps the aspect ratio with sizes that it rounds (export it with plain sizes)")


def resized(site: Site) -> list[int]:
    """The axes that do not stay as they are."""
    before, after = site.dims(), out_dims(site)
    found = []
    for axis, (scale, roi) in _given(site).items():
        size, out = before[axis], after[axis]
        unchanged = scale == 1.0 if scale is not None else size is not None and size == out
        if not unchanged or roi not in (None, (0.0, 1.0)):
            found.append(axis)
    return found


def matrix(site: Site, axis: int, in_size: int, out_size: int) -> Array:
    """The interpolation along one axis of a Resize or Upsample node: [in, out].

    Raises:
        UnsupportedOperatorError: the axis gets another size in ONNX Runtime, which rounds in single precision.
    """
    node = site.node
    kept = {name: attr.value for name, attr in node.attributes.items() if name not in _OF_ALL_AXES}
    scale, roi = _given(site)[axis]
    found = _matrix(node.op_type, site.opset, tuple(sorted(kept.items())), in_size, out_size, scale, roi)
    if found.shape[1] != out_size:
        site.unsupported(f"ONNX Runtime makes {found.shape[1]} of {in_size} positions where {out_size} were expected")
    return found


_OF_ALL_AXES = ("axes", "keep_aspect_ratio_policy", "scales")


@lru_cache(maxsize=256)
def _matrix(
    operator: str,
    opset: int,
    attributes: tuple[tuple[str, Any], ...],
    in_size: int,
    out_size: int,
    scale: float | None,
    roi: tuple[float, float] | None,
) -> Array:
    """Resize the rows of an identity matrix; of zeros too, which tells what is added outside of a region."""
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1, 1, in_size, in_size]))
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": opset}, name="resize")
    op = Ops(graph, "resize")
    scales = None if scale is None else np.array([1, 1, 1, scale], np.float32)
    plain = dict(attributes)
    if operator == "Upsample" and opset < 9:
        result = op.Upsample(x, scales=[1.0, 1.0, 1.0, float(scale or 1.0)], **plain)
    elif operator == "Upsample" or opset < 11:
        result = op.emit(operator, [x, scales], plain)[0]
    else:
        start, end = roi or (0.0, 1.0)
        region = np.array([0, 0, 0, start, 1, 1, 1, end], np.float32)
        # Up to opset 12 an empty input says "not given".
        empty = np.zeros(0, np.float32) if opset < 13 else None
        sizes = np.array([1, 1, in_size, out_size]) if scales is None else None
        result = op.Resize(x, region, empty if scales is None else scales, *([] if sizes is None else [sizes]), **plain)
    graph.outputs.append(result)
    model = ir.Model(graph, ir_version=8)
    eye = np.eye(in_size, dtype=np.float32)[None, None]
    name = str(result.name)
    one, nothing = (run_model(model, {"x": given})[name][0, 0] for given in (eye, np.zeros_like(eye)))
    return np.asarray(one - nothing, np.float64)


def _unchanged(site: Site) -> Collection[int]:
    taken = resized(site)
    return [axis for axis in range(site.rank()) if axis not in taken]


@rule("Resize", "Upsample", independent=_unchanged)
def _resize(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    value, rank = arrived(gs), site.rank()
    repeated: dict[int, int] = {}
    blended: list[tuple[int, Array]] = []
    for axis in reversed(resized(site)):
        in_size, out_size = site.dims()[axis], out_dims(site)[axis]
        if in_size is None or out_size is None:
            unknown = site.node.inputs[0] if in_size is None else site.node.outputs[0]
            site.unsupported(f"the size of its maps, {name_and_shape(unknown)}, is not known before the model runs")
        weights = matrix(site, axis, in_size, out_size)
        times = out_size // in_size
        if axis >= 2 and np.array_equal(weights, np.repeat(np.eye(in_size), times, axis=1)):
            repeated[axis] = times
        else:
            blended.append((axis, weights))
    if repeated:
        value = _summed(site, value, [repeated.get(axis, 1) for axis in range(2, rank)])
    for axis, weights in blended:
        value = along(site.op, value, axis - rank, rank, weights)
    return [value]


def _summed(site: Site, g: ir.Value, times: Sequence[int]) -> ir.Value:
    """Sum cells that repeat one cell, ``times`` along each spatial axis; ONNX Runtime is fastest at their mean."""
    op = site.op
    flat = op.Reshape(g, op.Concat([-1], op.Shape(g, start=2), axis=0))
    mean = op.AveragePool(flat, kernel_shape=times, strides=times)
    total = op.Mul(mean, float(math.prod(times)))
    return op.Reshape(total, op.Concat(op.Shape(g, start=0, end=2), op.Shape(mean, start=1), axis=0))
