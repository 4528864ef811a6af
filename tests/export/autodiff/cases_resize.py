"""Resizing."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.export.autodiff.differences import Case

_rng = np.random.default_rng(6)


def _sized(shape: tuple[int, ...], sizes: tuple[int, ...], opset: int = 18, **attributes: Any) -> Case:
    roi = np.zeros(0) if opset < 13 else None
    given = roi, np.zeros(0, np.float32) if opset < 13 else None, np.array(sizes)
    name = f"Resize-{shape}-{sizes}-{attributes}-{opset}"
    return Case("Resize", (_rng.standard_normal(shape),), given, attributes, opset, name=name)


def _scaled(shape: tuple[int, ...], scales: tuple[float, ...], opset: int = 18, **attributes: Any) -> Case:
    roi = np.zeros(0) if opset < 13 else None
    name = f"Resize-{shape}-{scales}-{attributes}-{opset}"
    return Case(
        "Resize", (_rng.standard_normal(shape),), (roi, np.array(scales, np.float32)), attributes, opset, name=name
    )


_MODES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")

CASES = [
    *(
        _sized((1, 2, 3, 4), (1, 2, 7, 6), mode=mode, coordinate_transformation_mode=where)
        for mode in ("linear", "cubic")
        for where in _MODES
    ),
    *(
        _sized((1, 2, 6, 8), (1, 2, 3, 6), mode=mode, coordinate_transformation_mode=where)
        for mode in ("linear", "cubic")
        for where in _MODES
    ),
    *(
        _sized((1, 2, 4, 5), (1, 2, 6, 3), mode="nearest", coordinate_transformation_mode=where, nearest_mode=nearest)
        for where in ("half_pixel", "asymmetric", "align_corners")
        for nearest in _NEAREST
    ),
    *(
        _scaled((2, 2, 3, 2), (1, 1, 2, 3), opset, coordinate_transformation_mode="asymmetric", nearest_mode="floor")
        for opset in (11, 13, 18)
    ),
    _scaled((1, 2, 3, 4), (1, 1, 2.5, 1.7), mode="linear"),
    _scaled((1, 2, 3, 4), (1, 1, 2.5, 0.6), mode="linear", coordinate_transformation_mode="half_pixel_symmetric"),
    _scaled((1, 2, 3, 4), (1, 1, 2.5, 1.7), 13, mode="linear", coordinate_transformation_mode="asymmetric"),
    _scaled((1, 2, 3, 4), (1, 1, 2, 1), 11, mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5),
    _sized((1, 2, 3, 4), (1, 2, 7, 6), 19, mode="linear"),
    _sized((2, 3, 4), (2, 3, 7), mode="linear"),
    _sized((3, 4), (5, 4), mode="linear"),
    _sized((1, 2, 3, 2, 2), (1, 2, 5, 3, 4), mode="linear"),
    _sized((2, 2, 3, 4), (3, 2, 3, 4), mode="nearest"),
    _scaled((1, 2, 8, 6), (1, 1, 0.5, 0.4), mode="linear", antialias=1),
    _scaled((1, 2, 8, 6), (1, 1, 0.5, 2), mode="cubic", antialias=1),
    Case(
        "Resize",
        (_rng.standard_normal((1, 2, 4, 5)),),
        (np.array([0, 0, 0.2, -0.1, 1, 1, 0.9, 0.8]), None, np.array([1, 2, 6, 7])),
        {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 3.0},
        name="Resize-crop",
    ),
    Case("Upsample", (_rng.random((1, 2, 3, 2)),), (np.array([1, 1, 2, 3], np.float32),), {"mode": "nearest"}, 9),
]
