"""Steps of a random graph that add numbers up: reductions, normalisations, products."""

from __future__ import annotations

import math

import numpy as np

from tests.export.autodiff.eager import Eager
from tests.export.autodiff.step import step


@step
def reduced(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    kinds = [
        "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceLogSum",
        "ReduceLogSumExp", "ReduceProd", "ReduceSumSquare",
    ]  # fmt: skip
    kind, axes = g.one(kinds), g.some_axes(x)
    if kind in ("ReduceMax", "ReduceMin"):
        x = g.apart(x)
    elif kind == "ReduceL1":
        x = g.clear(x, 0.0)
    elif kind in ("ReduceLogSum", "ReduceL2"):
        x = g.positive(x)
    given = [] if g.number(0, 9) == 0 else [np.array([a - len(g.shape(x)) if g.yes() else a for a in axes])]
    return g.node(kind, [x, *given], keepdims=int(g.yes()))[0]


@step
def normalised(g: Eager, x: str) -> str | None:
    rank, shape = len(g.shape(x)), g.shape(x)
    if rank < 3 or min(shape[2:]) * math.prod(shape[2:]) < 4:
        return None
    x = g.apart(x)  # what is the same all over has no deviation
    channels = shape[1]
    kind = g.one(["Batch", "Instance", "Group", "Layer", "LpNormalization", "MeanVarianceNormalization"])
    if kind == "Batch":
        given = [g.normal(channels), g.normal(channels), g.normal(channels), 0.5 + g.normal(channels) ** 2]
        return g.BatchNormalization(x, *given)
    if kind == "Instance":
        return g.InstanceNormalization(x, g.normal(channels), g.normal(channels))
    if kind == "Group":
        groups = g.one([n for n in range(1, channels + 1) if channels % n == 0])
        count = channels if g.opset >= 21 else groups
        return g.GroupNormalization(x, g.normal(count), g.normal(count), num_groups=groups)
    if kind == "Layer":
        axis = g.number(1, rank - 2)
        given = [g.normal(*shape[axis:]) for _ in range(g.number(1, 2))]
        return g.LayerNormalization(x, *given, axis=axis - rank if g.yes() else axis)
    if kind == "LpNormalization":
        return g.LpNormalization(g.clear(x, 0.0), axis=g.axis(x), p=g.number(1, 2))
    return g.MeanVarianceNormalization(x, axes=g.one([[0, 2], [2], [1, 2]]))


@step
def softened(g: Eager, x: str) -> str | None:
    return g.node(g.one(["Softmax", "LogSoftmax"]), [x], axis=g.axis(x))[0] if g.shape(x) else None


@step
def accumulated(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    return g.CumSum(x, np.array(g.axis(x)), exclusive=int(g.yes()), reverse=int(g.yes()))


@step
def multiplied(g: Eager, x: str) -> str | None:
    shape = g.shape(x)
    if not shape:
        return None
    kind = g.number(0, 3)
    if kind == 0:
        return g.MatMul(x, g.normal(shape[-1], 2) if g.yes() else g.normal(shape[-1]))
    if kind == 1:
        return g.MatMul(g.normal(2, shape[-2]) if g.yes() else g.normal(shape[-2]), x) if len(shape) > 1 else None
    fitting = [
        n for n in g.pool
        if len(s := g.shape(n)) >= 1 and s[-2 if len(s) > 1 else -1] == shape[-1]
        and g.fits(s[:-2], shape[:-2])
    ]  # fmt: skip
    if kind == 2 and fitting:
        return g.MatMul(x, g.one(fitting))
    if len(shape) < 2:
        return None
    flipped = g.Transpose(x, perm=[*range(len(shape) - 2), len(shape) - 1, len(shape) - 2])
    return g.MatMul(x, flipped) if g.yes() else g.MatMul(flipped, g.Tanh(x))


@step
def linear(g: Eager, x: str) -> str | None:
    if len(g.shape(x)) != 2:
        return None
    flip_a, flip_b = int(g.yes()), int(g.yes())
    inner, rows = g.shape(x)[0 if flip_a else 1], g.shape(x)[1 if flip_a else 0]
    weight = g.normal(2, inner) if flip_b else g.normal(inner, 2)
    bias = g.one([(), (2,), (1, 2), (rows, 1), (rows, 2)])
    return g.Gemm(x, weight, g.normal(*bias), transA=flip_a, transB=flip_b, alpha=0.5, beta=2.0)


@step
def summed_by_index(g: Eager, x: str) -> str | None:
    rank = len(g.shape(x))
    if rank == 2:
        return g.Einsum(x, g.Sin(x), equation=g.one(["ij,kj->ik", "ij,ij->i", "ij,ij", "ij,ik->kj", "ij,kl->jl"]))
    return g.Einsum(x, g.normal(g.shape(x)[-1], 2), equation="...i,ij->...j") if rank > 2 else None
