"""Cases of operators that move, repeat or leave out elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.export.autodiff.differences import Case

_rng = np.random.default_rng(3)
_FAR = np.iinfo(np.int64).max


def _r(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape)


def _i(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


_SHAPES = [
    Case("Reshape", (_r(2, 6),), (_i(3, 4),), opset=13),
    Case("Reshape", (_r(2, 3, 4),), (_i(0, -1),), opset=11),
    Case("Reshape", (_r(2, 3, 4),), (_i(2, 3, 2, 2),), opset=21),
    Case("Reshape", (_r(1),), (np.zeros(0, np.int64),), opset=14, name="Reshape-to-a-scalar"),
    *[
        Case("Flatten", (_r(2, 3, 4),), attributes={"axis": a}, opset=o)
        for a, o in ((0, 11), (1, 13), (-1, 21), (3, 13))
    ],
    Case("Squeeze", (_r(1, 3, 1, 2),), attributes={"axes": [0, 2]}, opset=11),
    Case("Squeeze", (_r(1, 3, 1, 2),), (_i(-2),), opset=13),
    Case("Squeeze", (_r(1, 3, 1, 2),), opset=13, name="Squeeze-all"),
    Case("Squeeze", (_r(3, 2),), opset=21, name="Squeeze-nothing"),
    Case("Unsqueeze", (_r(3, 2),), attributes={"axes": [0, -1]}, opset=11),
    Case("Unsqueeze", (_r(3, 2),), (_i(3, 1),), opset=13),
    Case("Unsqueeze", (_r(),), (_i(0),), opset=21),
    *[
        Case("Transpose", (_r(2, 3, 4),), attributes=a, opset=o)
        for a, o in (({}, 11), ({"perm": [2, 0, 1]}, 13), ({"perm": [0, 2, 1]}, 21))
    ],
    Case("Expand", (_r(3, 1),), (_i(2, 3, 4),), opset=11),
    Case("Expand", (_r(2, 3),), (_i(1, 1),), opset=13),
    Case("Expand", (_r(),), (_i(2, 2),), opset=21),
    Case("Tile", (_r(2, 3),), (_i(2, 3),), opset=11),
    Case("Tile", (_r(2, 3, 2),), (_i(1, 1, 3),), opset=13),
    Case("Tile", (_r(2, 3, 2),), (_i(1, 2, 1),), opset=21),
    Case("Tile", (_r(2, 3),), (_i(1, 1),), opset=13, name="Tile-once"),
]

_PARTS = [
    Case("Concat", (_r(2, 3), _r(2, 2)), attributes={"axis": -1}, opset=11),
    Case("Concat", (_r(1, 3, 2), _r(4, 3, 2), _r(2, 3, 2)), attributes={"axis": 0}, opset=13),
    Case("Concat", (_r(2, 3, 2),), (_r(2, 1, 2),), attributes={"axis": 1}, opset=21),
    *[
        Case("Split", (_r(2, 6),), attributes={"axis": 1, "split": [2, 4]}, outputs=2, output=o, opset=11)
        for o in range(2)
    ],
    Case("Split", (_r(6, 2),), outputs=3, output=1, opset=11, name="Split-even"),
    *[Case("Split", (_r(2, 6, 2),), (_i(1, 3, 2),), {"axis": -2}, opset=13, outputs=3, output=o) for o in range(3)],
    *[
        Case("Split", (_r(2, 7),), attributes={"axis": 1, "num_outputs": 3}, outputs=3, output=o, opset=18)
        for o in range(3)
    ],
    Case("Split", (_r(8, 2),), attributes={"num_outputs": 4}, outputs=4, output=3, opset=21),
    Case("Compress", (_r(3, 4),), (np.array([True, False, True]),), {"axis": 0}, opset=11),
    Case("Compress", (_r(3, 4),), (np.array([False, True, True]),), {"axis": -1}, opset=11),
    Case("Compress", (_r(2, 3),), (np.array([True, False, False, True, True]),), opset=11),
]


def _slice(x: np.ndarray, *bounds: tuple[int, ...], opset: int = 13) -> Case:
    return Case(
        "Slice", (x,), tuple(_i(*b) for b in bounds), opset=opset, name=f"Slice-{list(x.shape)}-{bounds}-{opset}"
    )


_SLICES = [
    _slice(_r(2, 7, 3), (1,), (6,), (1,)),
    _slice(_r(2, 7, 3), (1, 0), (2, 3)),
    _slice(_r(2, 7, 3), (0,), (_FAR,), (1,), (2,), opset=11),
    _slice(_r(2, 7, 3), (1, -2), (100, -1), (1, -1), (3, 1), opset=18),
    _slice(_r(2, 7), (-1,), (-_FAR,), (1,), (-1,), opset=21),
    _slice(_r(2, 7), (100,), (1,), (-1,), (-2,)),
    _slice(_r(2, 7), (-2,), (-100,), (1,), (-3,)),
    _slice(_r(2, 7), (5,), (-6,), (1,), (-1,)),
    _slice(_r(2, 7), (-100,), (-2,), (1,), (1,)),
    Case("Slice", (_r(5, 4), _i(1), _i(4)), opset=13, name="Slice-computed-bounds"),
    Case("Slice", (_r(5, 4), _i(-1, 0), _i(0, 3)), (_i(1, 0), _i(-1, 2)), opset=13, name="Slice-computed-backwards"),
]


def _pad(x: np.ndarray, pads: tuple[int, ...], mode: str, opset: int, *more: Any) -> Case:
    name = f"Pad-{list(x.shape)}-{pads}-{mode}-{opset}-{[np.shape(m) for m in more]}"
    return Case("Pad", (x,), (_i(*pads), *more), {"mode": mode}, opset=opset, name=name)


_PADS = [
    _pad(_r(2, 3), (1, 0, 0, 2), "constant", 11),
    _pad(_r(2, 3), (1, 2, 3, 2), "constant", 13, np.array(0.7)),
    _pad(_r(4, 5), (-1, 2, -2, -1), "constant", 13),
    _pad(_r(2, 3, 4), (1, 2), "constant", 18, None, _i(-2)),
    _pad(_r(3, 4), (2, 1, 1, 3), "reflect", 13),
    _pad(_r(3, 4), (2, 1, 1, 4), "edge", 21),
    _pad(_r(3, 4), (2, 1, 1, 3), "wrap", 19),
    _pad(_r(2, 3), (0, 0, 0, 0), "constant", 13),
    Case("Pad", (_r(2, 3),), (_i(1, 0, 0, 2), np.array(0.0)), opset=23, name="Pad-default-mode"),
]

_BLOCKS = [
    Case("DepthToSpace", (_r(2, 8, 2, 3),), attributes={"blocksize": 2}, opset=11),
    Case("DepthToSpace", (_r(1, 8, 2, 3),), attributes={"blocksize": 2, "mode": "CRD"}, opset=13),
    Case("DepthToSpace", (_r(1, 9, 1, 2),), attributes={"blocksize": 3, "mode": "DCR"}, opset=13),
    Case("SpaceToDepth", (_r(2, 2, 4, 6),), attributes={"blocksize": 2}, opset=13),
    Case("Trilu", (_r(3, 4),), attributes={"upper": 0}, opset=14),
    Case("Trilu", (_r(2, 3, 4),), (np.array(1, np.int64),), opset=14),
    Case("Trilu", (_r(2, 4, 3),), (np.array(-1, np.int64),), {"upper": 0}, opset=14),
]

CASES = [*_SHAPES, *_PARTS, *_SLICES, *_PADS, *_BLOCKS]
