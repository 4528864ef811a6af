"""Shapes as the table of conventions writes them: ``1, 4+C, N``.

An axis is a sum of numbers and names, with a factor before a name if there is one: ``4+C+M``, ``C+4*8``. ``1?`` is an
axis of one that may be missing, each of them for itself. ``K`` may be 0, all other names are 1 or more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product

Sizes = Mapping[str, int]
_MAY_BE_NONE = "K"
_SLOT = re.compile(r"(?P<role>\w+)(?:\[(?P<first>[^:\]]+)(?::(?P<end>[^\]]+))?\])?")


def axes(written: str) -> list[str]:
    """The axes of a shape."""
    return [part.strip() for part in written.split(",")]


def amount(written: str, sizes: Sizes) -> int:
    """What a sum is, with sizes for its names."""
    number, unknown = _sum(written, sizes)
    if unknown:
        raise ValueError(f"{written!r} has no size for {', '.join(unknown)}")
    return number


def matched(written: str, shape: tuple[int, ...], known: Sizes) -> dict[str, int] | None:
    """The sizes of names with which a shape is as it is written; None if it is not.

    Args:
        written: the shape in the table.
        shape: of a tensor.
        known: sizes of names that other tensors have told.
    """
    for parts in _variants(axes(written)):
        if len(parts) == len(shape):
            found = _solved(list(zip(parts, shape, strict=True)), dict(known))
            if found is not None:
                return found
    return None


def slot(written: str) -> tuple[str, str | None, str | None]:
    """A part of a tensor, ``output[4:4+C]``: whose, and the first and one past the last of its columns."""
    found = _SLOT.fullmatch(written)
    if found is None:
        raise ValueError(f"{written!r} is not of the form ROLE, ROLE[FIRST:END] or ROLE[COLUMN]")
    first, end = found["first"], found["end"]
    return found["role"], first, end if first is None or end is not None else f"{first}+1"


def columns(written: str) -> list[str]:
    """The axes of a shape that are more than one: those of rows and of columns, as they come."""
    return [part for part in axes(written) if part not in ("1", "1?")]


def _variants(parts: list[str]) -> Iterator[list[str]]:
    """The shape with its axes of one, and without some of them: the last are missing first."""
    choices = [(part.rstrip("?"), "") if part.endswith("?") else (part,) for part in parts]
    for chosen in product(*choices):
        yield [part for part in chosen if part]


def _solved(pairs: list[tuple[str, int]], sizes: dict[str, int]) -> dict[str, int] | None:
    for _ in range(len(pairs) + 1):
        left = []
        for written, size in pairs:
            number, unknown = _sum(written, sizes)
            if not unknown and number != size:
                return None
            if len(unknown) > 1:
                left.append((written, size))
            elif unknown:
                ((name, factor),) = unknown.items()
                value, rest = divmod(size - number, factor)
                if rest or value < (0 if name == _MAY_BE_NONE else 1):
                    return None
                sizes[name] = value
        pairs = left
    return None if pairs else sizes


def _sum(written: str, sizes: Sizes) -> tuple[int, dict[str, int]]:
    """The known part of a sum, and the factors of the names without a size."""
    number, unknown = 0, dict[str, int]()
    for term in written.replace(" ", "").split("+"):
        factors = term.split("*")
        product = 1
        for factor in factors:
            if factor.isdecimal():
                product *= int(factor)
        names = [factor for factor in factors if not factor.isdecimal()]
        if not names:
            number += product
        elif names[0] in sizes:
            number += product * sizes[names[0]]
        else:
            unknown[names[0]] = unknown.get(names[0], 0) + product
    return number, unknown
