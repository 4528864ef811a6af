"""Steps of a random graph that lay numbers out otherwise: shapes, pieces, borders."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.export.autodiff.eager import Eager
from tests.export.autodiff.step import step


@step
def reshaped(g: Eager, x: str) -> str:
    rest, dims = g.values[x].size, []
    while len(dims) < 3 and rest > 1:
        size = g.one([n for n in range(1, rest + 1) if rest % n == 0])
        dims.append(size)
        rest //= size
    dims.append(rest)
    shape = list(dims)
    if g.yes():
        shape[g.number(0, len(dims) - 1)] = -1
    elif g.shape(x) and dims[0] == g.shape(x)[0]:
        shape[0] = 0
    return g.Reshape(x, np.array(shape))


@step
def transposed(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    return g.Transpose(x, perm=g.draw(st.permutations(range(len(g.shape(x))))))


@step
def flattened(g: Eager, x: str) -> str:
    return g.Flatten(x, axis=g.number(0, len(g.shape(x))))


@step
def squeezed(g: Eager, x: str) -> str:
    single = [a for a, n in enumerate(g.shape(x)) if n == 1]
    if single and g.yes():
        return g.Squeeze(x, np.array([g.one(single)])) if g.yes() else g.Squeeze(x)
    rank = len(g.shape(x))
    return g.Unsqueeze(x, np.array([g.number(-rank - 1, rank)])) if rank < 5 else g.Identity(x)


@step
def repeated(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    if g.yes():
        return g.Tile(x, np.array([g.number(1, 2) for _ in g.shape(x)]))
    front = [2] if g.yes() else []
    return g.Expand(x, np.array([*front, *(g.number(2, 3) if n == 1 else 1 for n in g.shape(x))]))


@step
def concatenated(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    axis = g.axis(x)

    def others(n: str) -> list[int]:
        return [s for a, s in enumerate(g.shape(n)) if a != axis % len(g.shape(x))]

    rank = len(g.shape(x))
    fitting = [n for n in g.pool if len(g.shape(n)) == rank and others(n) == others(x)]
    parts: list[Any] = [x, *(g.one(fitting) for _ in range(g.number(0, 2)))]
    if g.yes():
        parts.insert(g.number(0, len(parts)), g.normal(*g.shape(x)))
    return g.Concat(*parts, axis=axis)


@step
def split(g: Eager, x: str) -> list[str] | None:
    if not g.shape(x):
        return None
    axis = g.axis(x)
    length = g.shape(x)[axis]
    if length < 2:
        return None
    if g.yes():
        return g.node("Split", [x], 2, axis=axis, num_outputs=2)
    first = g.number(1, length - 1)
    return g.node("Split", [x, np.array([first, length - first])], 2, axis=axis)


@step
def sliced(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    axis = g.axis(x)
    length = g.shape(x)[axis]
    kind = g.number(0, 2)
    if kind == 0:  # backwards
        return g.Slice(x, np.array([-1]), np.array([-length - 1]), np.array([axis]), np.array([-g.number(1, 2)]))
    start = g.number(0, length - 1)
    stop = g.number(start + 1, length + 3)
    bounds = [start - length if g.yes() else start], [stop]
    return g.Slice(x, *map(np.array, bounds), np.array([axis]), np.array([g.number(1, 2) if kind == 1 else 1]))


@step
def padded(g: Eager, x: str) -> str | None:
    if not g.shape(x):
        return None
    mode = g.one(["constant", "reflect", "edge"])
    low, high = [], []
    for n in g.shape(x):
        most = min(2, n - 1)
        before, after = g.number(0, most), g.number(0, most)
        if mode == "constant" and n > 2 and g.number(0, 5) == 0:
            before = -1
        low.append(before)
        high.append(after)
    return g.Pad(x, np.array(low + high), mode=mode)


@step
def triangular(g: Eager, x: str) -> str | None:
    return g.Trilu(x, np.array(g.number(-1, 1)), upper=int(g.yes())) if len(g.shape(x)) > 1 else None
