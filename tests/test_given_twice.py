"""What counts as the same value given twice: equal, and of one type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from boxcam.arguments import check_distinct
from boxcam.errors import ArgumentError


@pytest.mark.parametrize("values", [["a", "b", "a"], (0.5, 0.5), iter([("a", 1), ("a", 1)]), [None, None]])
def test_what_is_equal_is_given_twice(values: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^layers=.* is given twice\. Pass it once\.$"):
        check_distinct("layers", values)


@pytest.mark.parametrize(
    "values",
    [
        [],
        ["a", "A"],
        [1, True, 1.0],
        [np.array([1, 2]), np.array([1, 2])],
        [np.zeros(2), "a", np.zeros(2)],
        [[np.zeros(2)], [np.zeros(2)]],
        [(np.zeros(2),), (np.zeros(2),)],
        [{}, {}],
    ],
)
def test_other_types_are_other_values_and_arrays_are_left_to_who_reads_them(values: Any) -> None:
    check_distinct("layers", values)
