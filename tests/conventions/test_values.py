"""What the numbers of a run look like, and of which cells of a map rows are: at the edges of each rule."""

from __future__ import annotations

import numpy as np
import pytest

from boxcam.export.heads.evidence.cells import Cells, Level, cells
from boxcam.export.heads.evidence.values import add_up, are_classes, are_probabilities, largest_sizes, ordered


def test_boxes_are_ordered_if_no_side_ends_before_it_begins() -> None:
    boxes = np.array([[1, 1, 2, 2], [1, 1, 1, 1], [2, 1, 1, 2], [1, 2, 2, 1]])
    assert ordered(boxes) == 0.5
    assert ordered(boxes[None]) == 0.5
    assert ordered(boxes[:0]) == 1


@pytest.mark.parametrize(
    ("values", "classes", "probabilities"),
    [
        ([0, 1], True, True),
        ([-1, 0, 79], True, False),
        ([-2, 0], False, False),
        ([0.5, 1], False, True),
        ([1.001], False, False),
        ([-0.001], False, False),
        ([float("nan")], False, False),
        ([], True, True),
    ],
)
def test_classes_are_whole_and_probabilities_up_to_one(values: list[float], classes: bool, probabilities: bool) -> None:
    assert are_classes(np.array(values)) is classes
    assert are_probabilities(np.array(values)) is probabilities


def test_rows_of_a_softmax_add_up_to_one() -> None:
    assert add_up(np.array([[0.25, 0.75], [0.5, 0.4995]]))
    assert not add_up(np.array([[0.25, 0.75], [0.5, 0.4985]]))
    assert not add_up(np.array([[0.25, 0.75], [0.5, 0.5015]]))
    assert not add_up(np.array([[-0.25, 1.25]]))
    assert not add_up(np.array([[1.0], [1.0]]))  # one class adds up to itself
    assert add_up(np.zeros((0, 3)))


def test_the_largest_number_of_a_box_and_none_of_filler() -> None:
    boxes = np.array([[0, 0, 0, 0], [-1, -1, -1, -1], [-1, -1, -1, 0], [1, -9, 3, 4], [0, 0, 0.5, 0]])
    assert largest_sizes(boxes).tolist() == [1, 9, 0.5]
    assert largest_sizes(boxes[:0]).tolist() == []


def test_rows_lie_level_by_level_and_line_by_line() -> None:
    found = cells((Level(2, 3, 6), Level(1, 2, 2)), (16, 24))
    assert isinstance(found, Cells)
    assert found.levels == (8, 16)
    assert found.corners.tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1], [0, 0], [1, 0]]
    assert found.strides.tolist() == [[8]] * 6 + [[16]] * 2
    assert (found.corners.dtype, found.strides.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize(
    ("level", "size", "stride"),
    [
        (Level(3, 3, 9), (20, 20), 8),  # rounded up, as a convolution with padding has it
        (Level(2, 2, 4), (20, 20), 16),  # the same: before 8, rounded down
        (Level(5, 5, 25), (23, 23), 4),  # rounded down only: 6 cells would be the whole
        (Level(20, 30, 600), (20, 30), 1),
        (Level(1, 1, 1), (4, 4), 4),
        (Level(3, 4, 12), (20, 20), None),
        (Level(3, 3, 9), (20, 100), None),
        (Level(3, 3, 18), (20, 20), None),  # two rows a cell
    ],
)
def test_the_stride_is_what_the_input_has_pixels_per_cell(
    level: Level, size: tuple[int, int], stride: int | None
) -> None:
    found = cells((level,), size)
    assert (None if found is None else found.levels) == (None if stride is None else (stride,))


def test_without_a_level_there_are_no_cells() -> None:
    assert cells((), (16, 16)) is None
    assert cells((Level(2, 2, 4), Level(5, 1, 5)), (16, 16)) is None
