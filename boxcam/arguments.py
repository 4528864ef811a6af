"""Arguments as people give them: told apart by their types, and several of them read once."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from boxcam.errors import ArgumentError
from boxcam.plurals import counted


def is_number(value: object) -> bool:
    """Whether it is a number; Python's ``bool`` is an ``int``, and no number."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether it is a whole number."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def several(given: Any) -> tuple[Any, ...]:
    """One value or several as a tuple, whatever holds them; what can be read only once, as a generator, is read here.

    Words, paths, mappings and arrays of no dimension are one value.
    """
    if isinstance(given, np.ndarray):
        return (given[()],) if given.ndim == 0 else tuple(given)
    one = isinstance(given, str | bytes | os.PathLike | Mapping) or not isinstance(given, Iterable)
    return (given,) if one else tuple(given)


def check_distinct(name: str, values: Iterable[Any]) -> None:
    """Refuse a value that is given twice where each makes something of its own: a second map of a layer, say.

    Values of two types are two values, as 1 and True. What cannot be hashed, such as an array, is of a wrong type
    wherever this is asked, and is left to those who say so.

    Raises:
        ArgumentError: one is.
    """
    seen = set[tuple[type, Any]]()
    for value in values:
        try:
            twice = (type(value), value) in seen
        except TypeError:
            continue
        if twice:
            raise ArgumentError(f"{name}={value!r} is given twice. Pass it once.")
        seen.add((type(value), value))


def check_callable(name: str, given: object) -> None:
    """Refuse what cannot be called where a function may be passed, or None.

    Raises:
        ArgumentError: it cannot be called.
    """
    if given is not None and not callable(given):
        raise ArgumentError(f"{name}={given!r} cannot be called. Pass a function, or leave it out.")


def number_of_box(given: Any, count: int) -> int:
    """The box that an index stands for, from 0.

    Args:
        given: what a person gives; negative numbers count from the end, as of any sequence.
        count: how many boxes there are.

    Raises:
        IndexError: there is no such box.
        ArgumentError: it is no index.
    """
    if isinstance(given, bool | np.bool_):  # an index of 0 or 1 to Python
        raise _not_a_number(given)
    try:
        number = operator.index(given)
    except TypeError:
        raise _not_a_number(given) from None
    if not -count <= number < count:
        raise IndexError(f"there is no box {number}: there {'is' if count == 1 else 'are'} {count}, counted from 0.")
    return number % count


def numbers_of_boxes(given: Any, count: int) -> list[int]:
    """The boxes that an index, a slice, several indices or a mask stand for, as numbers from 0.

    Args:
        given: what a person gives; a mask is as many booleans as there are boxes, and means those where it is true.
        count: how many boxes there are.

    Raises:
        IndexError: there is no such box.
        ArgumentError: it is something else, or a mask of another length.
    """
    if isinstance(given, slice):
        return list(range(count)[given])
    numbers = several(given)
    are_several = isinstance(given, Iterable) and getattr(given, "ndim", 1) > 0
    if numbers and are_several and all(isinstance(one, bool | np.bool_) for one in numbers):
        if len(numbers) != count:
            raise ArgumentError(
                f"a mask of {counted(len(numbers), 'value')} does not tell which of {counted(count, 'box', 'boxes')}"
                " are meant. Pass one value for each box, such as detections.scores > 0.5."
            )
        return [k for k, chosen in enumerate(numbers) if chosen]
    try:
        return [number_of_box(one, count) for one in numbers]
    except ArgumentError:
        raise _not_a_number(given) from None


def _not_a_number(given: object) -> ArgumentError:
    return ArgumentError(
        f"{given!r} is not the number of a box. Pass an index, such as 0 for the best box, a slice, a list of indices,"
        " or a mask with a boolean for each box."
    )
