"""Steps of a random graph that take numbers from places, or put them there."""

from __future__ import annotations

import numpy as np

from tests.export.autodiff.eager import Eager
from tests.export.autodiff.step import step


@step
def gathered(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    axis = g.axis(x)
    length = g.shape(x)[axis]
    shape = g.one([(), (1,), (3,), (2, 2)])
    return g.Gather(x, g.rng.integers(-length, length, shape), axis=axis)


@step
def gathered_by_element(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    axis = g.axis(x)
    length, shape = g.shape(x)[axis], list(g.shape(x))
    shape[axis] = g.number(1, 3)
    return g.GatherElements(x, g.rng.integers(0, length, shape), axis=axis)


@step
def gathered_by_position(g: Eager, x: str) -> str | None:
    shape = g.shape(x)
    if len(shape) < 2:
        return None
    depth = g.number(1, len(shape))
    return g.GatherND(x, np.stack([g.rng.integers(0, n, 3) for n in shape[:depth]], -1))


@step
def scattered(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    axis = g.axis(x)
    length, shape = g.shape(x)[axis], list(g.shape(x))
    shape[axis] = count = g.number(1, length)
    order = np.argsort(g.normal(*g.shape(x)), axis=axis)
    index = np.take(order, range(count), axis=axis)
    updates = g.Slice(g.Cos(x), np.array([0]), np.array([count]), np.array([axis]))
    return g.ScatterElements(x, index, updates, axis=axis, reduction=g.one(["none", "add"]))


@step
def scattered_by_position(g: Eager, x: str) -> str | None:
    shape = g.shape(x)
    if not shape:
        return None
    rows = g.rng.permutation(shape[0])[: g.number(1, shape[0])]
    updates = g.Gather(g.Sin(x), rows[::-1].copy(), axis=0)
    return g.ScatterND(x, rows[:, None], updates, reduction=g.one(["none", "add"]))


@step
def largest(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    x, axis = g.apart(x), g.axis(x)
    count = g.number(1, g.shape(x)[axis])
    return g.node("TopK", [x, np.array([count])], 2, axis=axis, largest=int(g.yes()))[0]
