"""A weight that a gradient graph keeps once more, in another order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from boxcam.explain.metrics.arithmetic import Array
from boxcam.types import Int

_FEW = 16
"""Distinct numbers: what has no more is a mask or a grid, and not learned."""


def order_of(copy: Array, weight: Array) -> Int | None:
    """Which number of a weight each number of a copy is, int64 [N]; None if it is no copy.

    A copy has the weight's numbers with axes in another order, turned round, or, if no two are equal, in any order.

    Args:
        copy: of any shape.
        weight: with as many numbers.
    """
    flat, wanted = weight.ravel(), copy.ravel()
    if flat.size != wanted.size:
        return None
    places = np.arange(flat.size, dtype=np.int64).reshape(weight.shape)
    axes = range(weight.ndim)
    turns = [of for count in range(weight.ndim + 1) for of in itertools.combinations(axes, count)]
    for turned, order in itertools.product(turns, itertools.permutations(axes)):
        if not np.array_equal(np.flip(weight, turned).transpose(order).flat[:_FEW], wanted[:_FEW]):
            continue
        index: Int = np.flip(places, turned).transpose(order).ravel()
        if np.array_equal(flat[index], wanted):
            return index
    ranks, others = np.argsort(flat, kind="stable"), np.argsort(wanted, kind="stable")
    if not np.array_equal(flat[ranks], wanted[others]) or len(np.unique(flat)) < flat.size:
        return None
    found: Int = np.empty_like(ranks)
    found[others] = ranks
    return found


def is_learned(values: Array) -> bool:
    """Whether a constant may hold what was learned: it has more than a few distinct numbers, not evenly spaced ones."""
    distinct = np.unique(values)
    if len(distinct) <= _FEW:
        return False
    steps = np.diff(distinct.astype(np.float64))
    return not np.allclose(steps, steps.mean(), rtol=1e-3, atol=0)


def find_copy(copy: Array, weights: Sequence[Array]) -> tuple[int, Int] | None:
    """Which of some weights a constant is a copy of, and in what order; None if of none."""
    for number, weight in enumerate(weights):
        index = order_of(copy, weight)
        if index is not None:
            return number, index
    return None
