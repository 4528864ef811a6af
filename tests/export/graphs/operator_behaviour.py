"""What an operator is seen to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

from boxcam.export.graphs.operators import OPERATORS, Copies
from tests.export.graphs.operator_cases import Array, Case
from tests.export.graphs.operator_runs import Runner, run_of


def _others(x: Array, position: tuple[int, ...]) -> Iterable[Any]:
    """Numbers to put in place of one, from the same array, so that the operator takes them."""
    if x.dtype == bool:
        return [not x[position]]
    if x.size == 1 and x.dtype.kind == "f":
        return [x[position] * 1.5]
    finite = x[np.isfinite(x)] if x.dtype.kind == "f" else x
    return [finite.max(), finite.min(), np.sort(finite.reshape(-1))[finite.size // 2], *x[~np.isfinite(x)][:1]]


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


@cache
def effects(case: Case, number: int) -> list[tuple[tuple[int, ...], Array]]:
    """Of each element of an input, its place, and which elements of the output change with it."""
    run, x = run_of(case), case.inputs[number]
    assert x is not None
    before, found = run(), []
    for position in np.ndindex(x.shape):
        changes = np.zeros(before.shape, bool)
        for other in _others(x, position):
            moved = x.copy()
            moved[position] = other
            after = run({number: moved})
            if after.shape != before.shape:
                changes[...] = True
            else:
                changes |= ~((after == before) | ((after != after) & (before != before)))
        found.append((position, changes))
    return found


def axes_that_differ(case: Case, inputs: Iterable[int]) -> set[int]:
    """The axes along which elements of the output change that are not at the place of the changed element."""
    return {
        axis
        for number in inputs
        for position, changes in effects(case, number)
        for place in np.argwhere(changes)
        for axis, (a, b) in enumerate(zip(position, place, strict=True))
        if a != b
    }


def _stays_at_its_place(case: Case, number: int) -> bool:
    """Whether an element of an input only changes elements of the output at its own place, once broadcast."""
    x, y = case.inputs[number], run_of(case)()
    assert x is not None
    try:
        if np.broadcast_shapes(x.shape, y.shape) != y.shape:
            return False
    except ValueError:
        return False
    for position, changes in effects(case, number):
        alone = np.zeros(x.shape, bool)
        alone[position] = True
        if (changes & ~np.broadcast_to(alone, y.shape)).any():
            return False
    return True


@cache
def is_the_same_everywhere(case: Case) -> bool | None:
    """Whether elements that change places do so in the output; None if inputs are broadcast, which tells nothing."""
    run, y = run_of(case), run_of(case)()
    whole = [i for i, x in enumerate(case.inputs) if x is not None and x.shape == y.shape]
    if any(x is not None and x.size != 1 for i, x in enumerate(case.inputs) if i not in whole):
        return None
    order = np.random.default_rng(3).permutation(y.size)
    shuffled = {i: case.inputs[i].reshape(-1)[order].reshape(y.shape) for i in whole}  # type: ignore[union-attr]
    after = run(shuffled)
    return after.shape == y.shape and bool(np.allclose(after, y.reshape(-1)[order].reshape(y.shape), equal_nan=True))


@cache
def is_elementwise(case: Case) -> bool:
    """Whether no element of the output sees another place than its own, and all are computed alike."""
    present = [i for i, x in enumerate(case.inputs) if x is not None]
    shapes = [case.inputs[i].shape for i in present]  # type: ignore[union-attr]
    try:
        broadcast = np.broadcast_shapes(*shapes) == run_of(case)().shape
    except ValueError:
        return False
    inside = broadcast and all(_stays_at_its_place(case, i) for i in present)
    return bool(present) and inside and is_the_same_everywhere(case) is not False


@cache
def slopes(case: Case) -> set[int]:
    """Inputs that the output changes with if all of their elements are moved a little."""
    run = run_of(case)
    before, found = run(), set()
    declared = OPERATORS[case.operator].differentiable(len(case.inputs))
    for number in {*run.floats, *declared}:
        x = case.inputs[number]
        if x is None:
            continue
        signs = np.where(np.random.default_rng(number).random(x.shape) < 0.5, -1, 1)
        moved = x + (case.step * signs).astype(x.dtype) if x.dtype.kind == "f" else x + signs.astype(x.dtype)
        if not _same(run({number: moved}), before):
            found.add(number)
    return found


@cache
def copying(case: Case) -> Copies:
    """How the output is made of copies of the inputs that a gradient flows through, for any numbers in them."""
    run, rng = run_of(case), np.random.default_rng(5)
    moving = [
        i for i in OPERATORS[case.operator].differentiable(len(case.inputs)) if i in run.floats and i not in case.held
    ]
    if not moving or (run() != run()).any():
        return Copies.NONE
    sizes = [case.inputs[i].size for i in moving]  # type: ignore[union-attr]
    total = sum(sizes)

    def fill(numbers: Array) -> Array:
        parts = np.split(numbers, np.cumsum(sizes)[:-1])
        shaped = {
            i: part.reshape(case.inputs[i].shape).astype(np.float32)  # type: ignore[union-attr]
            for i, part in zip(moving, parts, strict=True)
        }
        return run(shaped).reshape(-1).astype(np.float64)

    numbers = np.arange(1, total + 1) + 1000.0  # what is none of them fills up
    which = fill(numbers) - 1001
    constant = (which < 0) | (which >= total)
    if constant.all() or not np.isclose(which, np.round(which), atol=1e-3)[~constant].all():
        return Copies.NONE
    place = np.where(constant, 0, np.round(which)).astype(int)
    constants = fill(numbers)
    for _ in range(3):
        values = (rng.standard_normal(total) * 9).astype(np.float32)
        if not np.array_equal(fill(values), np.where(constant, constants, values[place])):
            return Copies.NONE
    if not constant.any() and len(moving) == 1 and place.size == total:
        if (place == np.arange(total)).all():
            return Copies.IN_ORDER
        if (np.sort(place) == np.arange(total)).all():
            return Copies.PERMUTED
    return Copies.SELECTED


@cache
def is_weighing(case: Case) -> bool:
    """Whether it is a sum of products of its first two inputs: linear in both, but for what is added to it."""
    run = run_of(case)
    if run.floats[:2] != [0, 1] or run().dtype.kind != "f":
        return False
    first, second = case.inputs[:2]
    assert first is not None
    assert second is not None
    nothing = run({0: first * 0, 1: second * 0})
    if nothing.shape != run().shape:
        return False
    alone = run({0: first * 0}), run({1: second * 0})
    both, more = run() - nothing, (run({0: first * 3}) - nothing, run({1: second * 3}) - nothing)
    added = all(np.allclose(one, nothing, atol=1e-5) for one in alone)
    return added and bool(np.abs(both).max() > 1e-3) and all(np.allclose(m, both * 3, atol=1e-4) for m in more)


@cache
def is_sampling(case: Case) -> bool:
    """Whether another input is coordinates in the first: they matter, but not in a first input that is one number."""
    run, first = run_of(case), case.inputs[0]
    assert first is not None
    if not np.allclose(run({0: first * 2}), run() * 2, atol=1e-5):
        return False
    for number in run.floats[1:]:
        x = case.inputs[number]
        assert x is not None
        moved = x + np.random.default_rng(1).uniform(0.01, 0.3, x.shape).astype(np.float32)
        if case.operator == "MaxRoiPool":  # the image's number, and corners that are rounded
            moved = x + _CORNERS
        flat = [np.full_like(first, number) for number in (1.7, -1.7)]
        indifferent = all(np.allclose(run({0: f}), run({0: f, number: moved}), atol=1e-5) for f in flat)
        if indifferent and not np.allclose(run(), run({number: moved}), atol=1e-5):
            return True
    return False


_CORNERS = np.array([0, 1, 1, 0, 0], np.float32)
_PROBE = np.array([-9, -6, -4, -2.5, -1, -0.3, -0.01, 0.01, 0.3, 1, 2.5, 4, 6, 9], np.float32)


@cache
def sweep(case: Case) -> tuple[bool, bool] | None:
    """Of a function of one number: whether it rectifies, and whether it never falls. None of any other."""
    run, y = run_of(case), run_of(case)()
    whole = [i for i in run.floats if case.inputs[i].shape == y.shape]  # type: ignore[union-attr]
    others = [x for i, x in enumerate(case.inputs) if x is not None and i not in whole]
    if whole != [0] or any(x.size != 1 for x in others) or y.dtype.kind != "f":
        return None
    model_case = dataclasses.replace(case, inputs=(_PROBE, *case.inputs[1:]))
    found = Runner(model_case)()
    below, above = found[: len(_PROBE) // 2][::-1], found[len(_PROBE) // 2 :]
    rectifies = (below <= 0).all() and (above >= 0).all() and (above[-3:] > 0).all()
    rectifies = rectifies and (-below < above / 2)[-3:].all()
    return bool(rectifies), bool((np.diff(found) >= 0).all())


def is_probability(case: Case) -> bool:
    """Whether any numbers, and large ones, give numbers from 0 to 1."""
    run = run_of(case)
    x = case.inputs[0]
    assert x is not None
    wide = np.random.default_rng(2).standard_normal(x.shape).astype(np.float32) * 30
    found = run({0: wide})
    return bool(found.dtype.kind == "f" and (found >= 0).all() and (found <= 1).all())
