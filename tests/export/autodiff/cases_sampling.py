"""RoiAlign, GridSample and DeformConv."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.export.autodiff.differences import Case

_rng = np.random.default_rng(7)
_ROIS = np.array([
    [0.5, 1.0, 6.3, 7.2],
    [2.1, 2.2, 4.4, 2.3],
    [-3.0, -2.0, 9.1, 8.7],
    [5.0, 5.5, 30.0, 20.0],
    [6.0, 5.0, 3.0, 4.5],  # inside out
])  # fmt: skip


def _align(images: int, opset: int = 18, **attributes: Any) -> Case:
    batch = np.arange(len(_ROIS)) % images
    name = f"RoiAlign-{images}-{attributes}-{opset}"
    return Case("RoiAlign", (_rng.standard_normal((images, 3, 7, 9)),), (_ROIS, batch), attributes, opset, name=name)


def _grid(
    shape: tuple[int, ...], points: tuple[int, ...], opset: int = 18, wide: float = 1.3, **attributes: Any
) -> Case:
    x, grid = _rng.standard_normal(shape), _rng.uniform(-wide, wide, (shape[0], *points, len(points)))
    return Case("GridSample", (x, grid), (), attributes, opset, name=f"GridSample-{shape}-{wide}-{attributes}-{opset}")


def _deform(
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    out: tuple[int, ...],
    opset: int = 19,
    mask: bool = True,
    **more: Any,
) -> Case:
    taps, parts = weight[2] * weight[3], more.get("offset_group", 1)
    x, kernel, bias = (_rng.standard_normal(size) for size in (shape, weight, weight[0]))
    moving = [x, _rng.uniform(-2, 2, (shape[0], parts * taps * 2, *out)), bias]
    moving += [_rng.uniform(0, 1, (shape[0], parts * taps, *out))] if mask else []
    name = f"DeformConv-{shape}-{weight}-{more}-{opset}"
    return Case("DeformConv", tuple(moving), (kernel,), more, opset, order=(0, 2, 3, 4)[: len(moving)], name=name)


CASES = [
    _deform((1, 2, 5, 4), (3, 2, 3, 3), (5, 4), pads=[1, 1, 1, 1]),
    _deform((2, 4, 5, 6), (6, 2, 2, 3), (2, 6), 22, group=2, offset_group=2, strides=[2, 1], pads=[0, 1, 0, 1]),
    _deform((1, 4, 6, 5), (2, 2, 3, 2), (4, 6), mask=False, group=2, offset_group=4, dilations=[2, 1], pads=[1] * 4),
    _deform((1, 2, 4, 4), (2, 2, 1, 1), (4, 4), mask=False),
    *(
        _grid((1, 2, 4, 5), (3, 2), opset, mode=mode, padding_mode=padding, align_corners=corners)
        for opset, mode in ((16, "bicubic"), (20, "cubic"))
        for padding in ("zeros", "border", "reflection")
        for corners in (0, 1)
    ),
    _align(1, output_height=3, output_width=2, sampling_ratio=2, spatial_scale=0.9),
    _align(1, output_height=2, output_width=3, sampling_ratio=0),
    _align(2, output_height=2, output_width=3, sampling_ratio=0, coordinate_transformation_mode="output_half_pixel"),
    _align(2, 16, output_height=3, output_width=3, sampling_ratio=3, spatial_scale=0.5),
    _align(1, 22),
    *(
        _grid((2, 3, 4, 5), (3, 2), padding_mode=padding, align_corners=corners)
        for padding in ("zeros", "border", "reflection")
        for corners in (0, 1)
    ),
    *(
        _grid((2, 3, 4, 5), (3, 2), mode="nearest", padding_mode=padding, align_corners=corners)
        for padding in ("zeros", "border", "reflection")
        for corners in (0, 1)
    ),
    _grid((1, 2, 3, 4), (3, 4), wide=6.0, padding_mode="reflection"),
    _grid((1, 2, 3, 4), (3, 4), 20, wide=1.0, mode="linear"),
    _grid((1, 2, 3, 4, 2), (2, 3, 2), 20, mode="linear"),
    _grid((1, 2, 3, 4, 2), (2, 3, 2), 22, mode="linear", padding_mode="reflection", align_corners=1),
    _grid((1, 2, 3, 4, 2), (2, 3, 2), 20, mode="nearest", padding_mode="border"),
]
