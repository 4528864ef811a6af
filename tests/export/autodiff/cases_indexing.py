"""Cases of operators that take elements by index: constant indices and computed ones, unique, repeated, negative."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.export.autodiff.differences import Case

_rng = np.random.default_rng(4)


def _r(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape)


def _i(numbers: Any) -> np.ndarray:
    return np.array(numbers, np.int64)


def _both(
    operator: str, x: np.ndarray, index: Any, opset: int = 13, dynamic: tuple[int, ...] = (), **attributes: Any
) -> list[Case]:
    """With a constant index and with a computed one."""
    name = f"{operator}-{list(x.shape)}-{np.array(index).tolist()}-{attributes}-{opset}"
    name += f"-{list(dynamic)}" if dynamic else ""
    return [
        Case(operator, (x,), (_i(index),), attributes, opset=opset, name=name, dynamic=dynamic),
        Case(operator, (x, _i(index)), (), attributes, opset=opset, name=f"{name}-computed", dynamic=dynamic),
    ]


_GATHER = [
    *_both("Gather", _r(4, 3), [2, 0], axis=0),
    *_both("Gather", _r(2, 5, 3), [1, 2, 3], 11, axis=1),
    *_both("Gather", _r(2, 5, 3), [[2, 0], [2, -1]], axis=1),
    *_both("Gather", _r(2, 5, 3), 3, axis=1),
    *_both("Gather", _r(2, 5, 3), -1, 21, axis=-1),
    *_both("Gather", _r(2, 5), [4, 3, 2, 1, 0], axis=1),
    *_both("Gather", _r(2, 3, 4), [[1], [0]], axis=0),
    *_both("GatherElements", _r(4, 3), [[1, 1, 0], [1, 2, -1]], 11, axis=0),
    *_both("GatherElements", _r(4, 3), [[1, 1, 0], [1, 2, 2], [0, 1, 0], [2, 1, 1]], axis=-1),
    *_both("GatherElements", _r(2, 3, 4), [[[3, 0], [1, 1]]], axis=2),  # shorter along other axes
    *_both("GatherND", _r(4, 3, 2), [[1, 1], [1, 2], [1, 1]], 11),
    *_both("GatherND", _r(4, 3, 2), [[1], [3]], 13),
    *_both("GatherND", _r(4, 3, 2), [[[1, 0, -1]], [[3, -1, 0]]], 13),
    *_both("GatherND", _r(2, 3, 4), [[1], [-1]], 12, batch_dims=1),
    *_both("GatherND", _r(2, 3, 4, 2), [[[1], [0], [1]], [[2], [2], [0]]], 21, batch_dims=1),
    *_both("GatherND", _r(2, 2, 3, 2), [[[1, 0], [0, 1]], [[2, 1], [2, 0]]], 13, batch_dims=2),
]

_OF_ANY_LENGTH = [
    *_both("Gather", _r(5, 3), [3, 0, 1, 2], dynamic=(0,), axis=0),
    *_both("Gather", _r(5, 3), [4, 1, 4, -1], dynamic=(0, 1), axis=0),
    *_both("Gather", _r(3, 5, 4), [-1, 2], 21, dynamic=(1,), axis=1),
    *_both("Gather", _r(3, 5), [[4, 0], [-2, 4]], dynamic=(1,), axis=-1),
    *_both("Gather", _r(4, 3), -1, dynamic=(0, 1), axis=0),
    *_both("GatherElements", _r(4, 3), [[1, 1, 0], [1, 2, -1]], 11, dynamic=(0,), axis=0),
    *_both("GatherElements", _r(2, 3, 4), [[[3], [1], [-1]], [[0], [0], [2]]], dynamic=(2,), axis=2),
]


def _scatter(
    operator: str, data: np.ndarray, index: Any, updates: np.ndarray, opset: int, **attributes: Any
) -> list[Case]:
    name = f"{operator}-{list(data.shape)}-{np.shape(index)}-{attributes}-{opset}"
    return [
        Case(operator, (data, updates), (_i(index),), attributes, opset=opset, order=(0, 2), name=name),
        Case(operator, (data, _i(index), updates), (), attributes, opset=opset, name=f"{name}-computed"),
    ]


_SCATTER = [
    *_scatter("ScatterElements", _r(3, 4), [[1, 0, 2, 0]], _r(1, 4), 11, axis=0),
    *_scatter("ScatterElements", _r(3, 4), [[1, -1], [0, 2]], _r(2, 2), 13, axis=1),
    *_scatter("ScatterElements", _r(3, 4), [[1, 1], [0, 2]], _r(2, 2), 18, axis=-1, reduction="add"),
    *_scatter("ScatterND", _r(4, 3), [[1, 1], [2, 0]], _r(2), 11),
    *_scatter("ScatterND", _r(4, 3, 2), [[1], [-1]], _r(2, 3, 2), 13),
    *_scatter("ScatterND", _r(4, 3), [[[1, 1]], [[2, 0]]], _r(2, 1), 16, reduction="none"),
    *_scatter("ScatterND", _r(4, 3, 2), [[1], [2], [1]], _r(3, 3, 2), 18, reduction="add"),
]

_empty = _r(3, 4)  # with zeros, of which a product is made
_empty[0, 1] = _empty[1, 1] = 0
_nulls = _r(3, 3)
_nulls[0, 1] = _nulls[2, 0] = _nulls[2, 1] = 0
for _kind in ("mul", "max", "min"):
    _SCATTER += [
        *_scatter("ScatterElements", _empty, [[1, 1, 0], [0, 2, 1], [0, 0, 1]], _nulls, 18, axis=1, reduction=_kind),
        *_scatter("ScatterElements", _r(3, 4), [[1, -2]], _r(1, 2), 18, axis=0, reduction=_kind),
        *_scatter("ScatterND", _r(4, 3), [[1], [2], [1]], _nulls, 18, reduction=_kind),
        *_scatter("ScatterND", _empty, [[1, 1], [0, -1], [1, 1]], _r(3), 18, reduction=_kind),
    ]

_ranked = _rng.permutation(np.linspace(-1, 1, 24))
_ORDER = [
    Case("TopK", (_ranked.reshape(4, 6),), (_i([3]),), {"axis": -1}, opset=11, outputs=2),
    Case("TopK", (_ranked.reshape(2, 4, 3),), (_i([2]),), {"axis": 1, "largest": 0}, opset=11, outputs=2),
    Case("TopK", (_ranked.reshape(2, 4, 3),), (_i([1]),), {"axis": 0, "sorted": 0}, opset=24, outputs=2),
    Case("TopK", (_ranked,), (_i([24]),), opset=11, outputs=2),
    Case("TopK", (_ranked.reshape(4, 6),), (_i([3]),), {"axis": 1}, opset=11, outputs=2, dynamic=(1,)),
    Case("TopK", (_ranked.reshape(6, 4),), (_i([2]),), {"axis": 0}, outputs=2, dynamic=(0,)),
    *[
        Case(
            "CumSum",
            (_r(2, 3, 4),),
            (_i(axis),),
            {"exclusive": e, "reverse": r},
            opset=opset,
            name=f"CumSum-{axis}{e}{r}",
        )
        for axis, e, r, opset in ((0, 0, 0, 11), (1, 1, 0, 14), (-1, 0, 1, 14), (2, 1, 1, 14))
    ],
]

CASES = [*_GATHER, *_OF_ANY_LENGTH, *_SCATTER, *_ORDER]
