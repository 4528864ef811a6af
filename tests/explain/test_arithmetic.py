"""What methods compute in common: what of a patch lies on its map, sums with what is uniform, float32's range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from boxcam.errors import RunError
from boxcam.explain.methods import arithmetic
from boxcam.explain.methods.arithmetic import by_cell, by_channel, gradient_of, inside, ratio, strongest, weighted
from boxcam.types import CellMap, Float, Patch

ACTIVATION = np.arange(1, 13, dtype=np.float32).reshape(1, 3, 4)


def patch(gradient: Any, corner: tuple[int, int], uniform: Any = None) -> Patch:
    even = None if uniform is None else np.array(uniform, np.float32)
    return Patch(0, 0, corner, np.array(gradient, np.float32), even)


@pytest.mark.parametrize(
    ("corner", "cells", "rows", "columns"),
    [
        ((0, 0), [[1, 2], [3, 4]], (0, 2), (0, 2)),
        ((1, 2), [[1, 2], [3, 4]], (1, 3), (2, 4)),
        ((-1, -1), [[4]], (0, 1), (0, 1)),
        ((2, 3), [[1]], (2, 3), (3, 4)),
        ((-1, 3), [[3]], (0, 1), (3, 4)),
        ((-2, 0), np.zeros((0, 2)), (0, 0), (0, 2)),  # above
        ((3, 0), np.zeros((0, 2)), (3, 3), (0, 2)),  # below
        ((0, -5), np.zeros((2, 0)), (0, 2), (0, 0)),
        ((9, 9), np.zeros((0, 0)), (3, 3), (4, 4)),
    ],
)
def test_what_of_a_patch_lies_on_the_map(corner: Any, cells: Any, rows: Any, columns: Any) -> None:
    found, (down, across) = inside(ACTIVATION, patch([[[1, 2], [3, 4]]], corner))
    assert found[0].tolist() == np.array(cells, np.float32).tolist()
    assert ((down.start, down.stop), (across.start, across.stop)) == (rows, columns)
    gradient = gradient_of(ACTIVATION, patch([[[1, 2], [3, 4]]], corner, [10]))
    assert gradient.cells[0].tolist() == (np.array(cells) + 10).tolist()
    assert (gradient.rows, gradient.columns, gradient.others) == (down, across, 12 - np.size(cells))
    assert gradient.uniform is not None
    assert (gradient.uniform.tolist(), gradient.uniform.dtype) == ([10], np.float64)


def test_sums_count_what_is_uniform_in_every_other_cell() -> None:
    here = gradient_of(np.ones((2, 2, 3), np.float32), patch([[[1]], [[-2]]], (0, 1), [3, -0.5]))
    assert here.sum().tolist() == [4 + 5 * 3, -2.5 - 5 * 0.5]
    assert here.sum(np.square).tolist() == [16 + 5 * 9, 6.25 + 5 * 0.25]
    assert here.sum(lambda values: np.maximum(values, 0)).tolist() == [4 + 15, 0]
    assert here.largest.tolist() == [4, 2.5]
    other = gradient_of(np.ones((2, 2, 3), np.float32), patch([[[-1]], [[-2]]], (9, 9), [3, -4]))
    assert (other.sum().tolist(), other.largest.tolist()) == ([18, -24], [3, 4])  # uniform in all of the cells
    whole = gradient_of(np.ones((1, 1, 1), np.float32), patch([[[-3]]], (0, 0), [1]))
    assert (whole.sum().tolist(), whole.largest.tolist(), whole.others) == ([-2], [2], 0)
    plain = gradient_of(np.ones((1, 2, 2), np.float32), patch([[[-3, 2]]], (0, 0)))
    assert (plain.sum().tolist(), plain.largest.tolist(), plain.uniform) == ([-1], [3], None)
    gone = gradient_of(np.ones((1, 2, 2), np.float32), patch([[[-3, 2]]], (5, 5)))
    assert (gone.sum().tolist(), gone.largest.tolist()) == ([0], [0])
    assert plain.sum().dtype == plain.largest.dtype == np.float64


def test_what_is_uniform_is_added_and_shares_are_taken_in_float64() -> None:
    little = 2.0**-30
    found = gradient_of(np.ones((1, 1, 2), np.float32), patch([[[1]]], (0, 0), [little]))
    assert found.cells.tolist() == [[[1 + little]]]
    assert ratio(np.float32([1]), np.float32([3])).tolist() == [1 / 3]


def test_what_speaks_for_the_box() -> None:
    (found,) = arithmetic.positive([CellMap(np.float32([[-1, 2]]), (3, 4))])
    assert (found.values.tolist(), found.corner) == ([[0, 2]], (3, 4))


def test_patches_in_the_midst_of_a_map() -> None:
    activation = np.ones((1, 4, 5), np.float32)
    given = patch([[[1, -2], [3, 4]]], (1, 2))
    (cells,) = by_cell(activation, [given], lambda gradient: (gradient.cells, gradient.uniform))
    (absolute,) = strongest(activation, [given])
    assert (cells.values.tolist(), cells.corner) == ([[1, -2], [3, 4]], (1, 2))
    assert (absolute.values.tolist(), absolute.corner) == ([[1, 2], [3, 4]], (1, 2))
    over = patch([[[1, -2], [3, 4]]], (3, 4))
    (cells,) = by_cell(activation, [over], lambda gradient: (gradient.cells, gradient.uniform))
    (absolute,) = strongest(activation, [over])
    assert (cells.values.tolist(), absolute.values.tolist()) == ([[1, 0], [0, 0]], [[1, 0], [0, 0]])
    even = patch([[[1, -2], [3, 4]]], (2, 3), [10])
    (cells,) = by_cell(activation, [even], lambda gradient: (gradient.cells, gradient.uniform))
    (absolute,) = strongest(activation, [even])
    expected = [[10.0] * 5, [10.0] * 5, [10, 10, 10, 11, 8], [10, 10, 10, 13, 14]]
    assert (cells.values.tolist(), absolute.values.tolist()) == (expected, expected)


def test_sums_are_taken_in_float64() -> None:
    cells = np.full((1, 64, 64), 2.0**-13, np.float32)
    cells[0, 0, 0] = 4096
    found = gradient_of(np.ones((1, 64, 64), np.float32), patch(cells, (0, 0)))
    assert found.sum().tolist() == [4096 + 4095 * 2.0**-13]


def test_a_weight_for_each_channel() -> None:
    activation = np.float32([[[1, 2], [3, 4]], [[1, 0], [0, -9]]])
    patches = [patch([[[1]], [[2]]], (0, 0)), patch([[[3]], [[-1]]], (1, 1))]
    one, other = by_channel(activation, patches, lambda gradient: gradient.sum())
    assert (one.values.tolist(), one.corner) == ([[3, 2], [3, 0]], (0, 0))
    assert (other.values.tolist(), other.corner) == ([[2, 6], [9, 21]], (0, 0))
    assert by_channel(activation, [], lambda gradient: gradient.sum()) == []


def test_a_weight_for_each_channel_in_each_cell() -> None:
    activation = np.float32([[[1, 2], [3, 4]], [[1, 0], [0, -9]]])
    plain = patch([[[1, 1], [1, 5]], [[1, 1], [1, 2]]], (-1, 0))
    even = patch([[[1]], [[2]]], (1, 1), [10, 1])
    first, second, third = by_cell(
        activation, [plain, even, plain], lambda gradient: (2 * gradient.cells, gradient.uniform)
    )
    # Of the plain one, its lower row lies on the upper row of the map: 2 (1·1 + 1·1), 2 (5·2 + 2·0).
    assert (first.values.tolist(), first.corner) == ([[0, 0], [4, 20]], (-1, 0))
    assert third.values.tolist() == first.values.tolist()
    # Elsewhere 10 and 1; in its own cell 2 (11·4 + 3·(-9)).
    assert (second.values.tolist(), second.corner) == ([[11, 20], [30, 34]], (0, 0))
    assert first.values.dtype == second.values.dtype == np.float32


def test_the_strongest_gradient_of_a_cell() -> None:
    activation = np.zeros((2, 2, 2), np.float32)
    plain, even = strongest(
        activation, [patch([[[1, -5]], [[-4, 3]]], (1, 1)), patch([[[5]], [[-1]]], (1, 0), [-3, 2])]
    )
    assert (plain.values.tolist(), plain.corner) == ([[4, 0]], (1, 1))  # the second one lies outside of the map
    assert (even.values.tolist(), even.corner) == ([[3, 3], [2, 3]], (0, 0))


def test_a_share_of_nothing_is_nothing() -> None:
    found = ratio(np.float32([1, -4, 0, 5]), np.float32([2, 0, 0, -2]))
    assert (found.tolist(), found.dtype) == ([0.5, 0, 0, -2.5], np.float64)
    assert ratio(np.float32([[1], [3]]), np.float32([2, 4])).tolist() == [[0.5, 0.25], [1.5, 0.75]]
    with np.errstate(over="raise", invalid="raise"):
        assert np.isnan(ratio(np.float32([np.inf]), np.float32([np.inf]))).all()


def test_products_beyond_float32_are_held_within_it_and_none_warns() -> None:
    big = np.float32([[[3e38, -3e38]], [[3e38, -3e38]]])
    limit = float(np.finfo(np.float32).max)
    with np.errstate(over="raise", invalid="raise"):
        assert weighted([np.array([1.0, 1.0]), np.array([1.0, -1.0])], big).tolist() == [[[limit, -limit]], [[0, 0]]]
        exact = weighted([np.array([1e-60, 0])], big)  # a weight that float32 does not hold
        assert exact.tolist() == [[[0, 0]]]
        large = weighted([np.array([1e60, 0.0])], np.float32([[[1e-30, 0]], [[1, 1]]]))
        assert large[0, 0, 0] == pytest.approx(1e30, rel=1e-6)
    assert weighted([], np.ones((2, 3, 4), np.float32)).shape == (0, 3, 4)
    assert weighted([], np.ones((2, 3, 4), np.float32)).dtype == weighted([np.ones(2)], big / 9).dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_wherever_it_is(bad: float) -> None:
    said = (
        "a map holds NaN or infinite values: the model's feature map or gradient does. Check the model on this image,"
        " or choose another layer."
    )
    features: Float = np.float32([[[1, bad]]])
    for call in (
        lambda: weighted([np.ones(1)], features),
        lambda: arithmetic.float32(np.array([1.0, bad])),
        lambda: gradient_of(ACTIVATION, patch([[[bad]]], (0, 0))),
        lambda: gradient_of(ACTIVATION, patch([[[1]]], (0, 0), [bad])),
        lambda: strongest(ACTIVATION, [patch([[[bad]]], (0, 0))]),
        lambda: strongest(ACTIVATION, [patch([[[1]]], (0, 0), [bad])]),
    ):
        with pytest.raises(RunError) as caught:
            call()
        assert str(caught.value) == said
    gradient_of(ACTIVATION, patch([[[bad]]], (9, 9)))  # it lies outside of the map


def test_numbers_beyond_float32_become_its_largest() -> None:
    limit = float(np.finfo(np.float32).max)
    with np.errstate(over="raise", invalid="raise"):
        found = arithmetic.float32(np.array([1e300, -1e300, 2.5]))
    assert (found.tolist(), found.dtype) == ([limit, -limit, 2.5], np.float32)


@pytest.mark.parametrize(
    ("activation", "channels", "said"),
    [
        (np.zeros((1, 3, 4)), 1, "activation: float64 [1, 3, 4], expected float32 [C, H, W]"),
        (np.zeros((3, 4), np.float32), 1, "activation: float32 [3, 4], expected float32 [C, H, W]"),
        (np.zeros((0, 3, 4), np.float32), 1, "activation: float32 [0, 3, 4], expected float32 [C, H, W]"),
        (np.zeros((2, 3, 4), np.float32), 1, "channels: 1 of the gradient, 2 of the activation"),
    ],
)
def test_what_does_not_go_together(activation: Any, channels: int, said: str) -> None:
    given = [patch(np.zeros((channels, 1, 1)), (0, 0))]
    for call in (by_channel, by_cell):
        with pytest.raises(ValueError) as caught:
            call(activation, given, lambda gradient: None)  # type: ignore[operator]
        assert str(caught.value) == said
    with pytest.raises(ValueError) as caught:
        strongest(activation, given)
    assert str(caught.value) == said


def test_products_take_one_thread_and_the_others_are_given_back() -> None:
    from threadpoolctl import threadpool_info

    def threads() -> set[int]:
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    with arithmetic._threads().limit(limits=2, user_api="blas"):
        before = threads()
        with arithmetic.one_thread():
            assert threads() == {1}
        assert threads() == before
