"""Matrix products and the normalised exponentials."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.export.autodiff.differences import Case

_rng = np.random.default_rng(2)


def _r(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape)


def _einsum(equation: str, *shapes: tuple[int, ...], opset: int = 18) -> Case:
    return Case("Einsum", tuple(_r(*shape) for shape in shapes), (), {"equation": equation}, opset)


def _gemm(a: tuple[int, ...], b: tuple[int, ...], *c: tuple[int, ...], opset: int = 18, **attributes: Any) -> Case:
    return Case("Gemm", (_r(*a), _r(*b), *(_r(*shape) for shape in c)), (), attributes, opset)


CASES = [
    *(
        Case("MatMul", (_r(*a), _r(*b)), opset=opset)
        for a, b, opset in [
            ((2, 3), (3, 4), 11),
            ((5, 2, 3), (3, 4), 13),
            ((2, 3), (5, 3, 4), 18),
            ((2, 5, 2, 3), (2, 5, 3, 4), 21),
            ((2, 5, 2, 3), (5, 3, 4), 18),
            ((2, 1, 2, 3), (5, 3, 4), 18),
            ((5, 2, 3), (2, 1, 3, 4), 18),
            ((3,), (3,), 18),
            ((3,), (3, 4), 18),
            ((3,), (5, 3, 4), 18),
            ((2, 3), (3,), 18),
            ((5, 2, 3), (3,), 18),
            ((2, 5, 2, 3), (3,), 18),
            ((3,), (2, 5, 3, 4), 18),
        ]
    ),
    *(
        Case("MatMul", (_r(*a),), (_r(*b),))
        for a, b in [
            ((2, 3), (3, 4)),
            ((2, 5, 2, 3), (3, 4)),
            ((5, 2, 3), (5, 3, 4)),
            ((2, 3), (5, 3, 4)),
            ((3,), (3, 4)),
            ((2, 3), (3,)),
        ]
    ),
    Case("MatMul", (_r(3, 4),), (_r(2, 3),), order=(1,), name="MatMul-constant-left"),
    Case("MatMul", (_r(5, 3, 4),), (_r(2, 3),), order=(1,), name="MatMul-constant-left-batch"),
    _gemm((2, 3), (3, 4), (4,)),
    _gemm((2, 3), (3, 4), opset=11),
    _gemm((3, 2), (4, 3), (2, 1), opset=13, transA=1, transB=1, alpha=0.7, beta=1.3),
    _gemm((3, 2), (3, 4), (2, 4), transA=1, alpha=2.0),
    _gemm((2, 3), (4, 3), (), transB=1, beta=0.5),
    Case("Gemm", (_r(2, 3),), (_r(4, 3), _r(4)), {"transB": 1}),
    Case("Gemm", (_r(3, 2),), (_r(3, 4), _r(4)), {"transA": 1, "alpha": 0.3}),
    Case("Gemm", (_r(4, 3),), (_r(2, 4),), order=(1,), name="Gemm-constant-left"),
    _einsum("bij,bjk->bik", (2, 3, 4), (2, 4, 2)),
    _einsum("bqc,bchw->bqhw", (2, 3, 4), (2, 4, 2, 3), opset=13),
    _einsum("ij,jk", (3, 4), (4, 2)),
    _einsum("ij->ji", (3, 4)),
    _einsum("ij->i", (3, 4)),
    _einsum("ijk,jl->il", (3, 4, 2), (4, 2)),
    _einsum("i,i->", (3,), (3,)),
    _einsum("i,j->ij", (3,), (2,)),
    _einsum("...ij,...jk->...ik", (2, 5, 3, 4), (2, 5, 4, 2)),
    _einsum("...i, i -> ...", (2, 5, 3), (3,)),
    _einsum("b...,b->b...", (2, 3, 4), (2,)),
    _einsum("...ij,...jk", (5, 3, 4), (5, 4, 2)),
    _einsum("ij,jk,kl->il", (3, 4), (4, 2), (2, 3)),
    Case("Einsum", (_r(2, 3, 4),), (_r(4, 5),), {"equation": "abc,cd->abd"}),
    *(
        Case(operator, (_r(*shape),), (), attributes, opset)
        for operator in ("Softmax", "LogSoftmax")
        for shape, attributes, opset in [
            ((2, 5), {}, 13),
            ((2, 3, 4), {"axis": 1}, 18),
            ((2, 3, 4), {"axis": -3}, 21),
        ]
    ),
]
