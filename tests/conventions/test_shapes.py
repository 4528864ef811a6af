"""Shapes as the table writes them, held against those of tensors: worked out by hand."""

from __future__ import annotations

import pytest

from boxcam.export.heads.conventions import shapes


@pytest.mark.parametrize(
    ("written", "shape", "known", "sizes"),
    [
        ("1, 4+C, N", (1, 84, 8400), {}, {"C": 80, "N": 8400}),
        ("1, 4+C, N", (1, 5, 1), {}, {"C": 1, "N": 1}),
        ("1, 4+C, N", (1, 4, 9), {}, None),  # no class
        ("1, 4+C, N", (1, 84, 0), {}, None),  # no row
        ("1, 4+C, N", (2, 84, 9), {}, None),
        ("1, 4+C, N", (84, 9), {}, None),
        ("1, 4+C, N", (1, 84, 9), {"C": 80}, {"C": 80, "N": 9}),
        ("1, 4+C, N", (1, 84, 9), {"C": 79}, None),
        ("1, 4+C, N", (1, 84, 9), {"N": 8}, None),
        ("1?, N, 4", (1, 7, 4), {}, {"N": 7}),
        ("1?, N, 4", (7, 4), {}, {"N": 7}),
        ("1?, N, 4", (2, 7, 4), {}, None),
        ("1?, N, 1?", (1, 7), {}, {"N": 7}),  # the last axis is missing, and not the first
        ("1?, N, 1?", (7, 1), {}, {"N": 7}),
        ("1?, N, 1?", (7,), {}, {"N": 7}),
        ("1?, N, 1?", (1, 7, 1), {}, {"N": 7}),
        ("1?, N, 1?", (1, 1), {}, {"N": 1}),
        ("1?, 1?", (), {}, {}),
        ("1?, 1?", (1,), {}, {}),
        ("1?, 1?", (2,), {}, None),
        ("1, K, 6+R", (1, 0, 7), {}, {"K": 0, "R": 1}),  # nothing was selected
        ("1, K, 6+R", (1, 0, 6), {}, None),
        ("1, N, C+4*8", (1, 9, 35), {}, {"N": 9, "C": 3}),
        ("1, N, 4*C", (1, 9, 12), {}, {"N": 9, "C": 3}),
        ("1, N, 4*C", (1, 9, 13), {}, None),
        ("1, N, 2*4*C", (1, 9, 16), {}, {"N": 9, "C": 2}),
        ("1, N, C+C+2", (1, 9, 8), {}, {"N": 9, "C": 3}),
        ("1, M, H, M+C", (1, 32, 5, 40), {}, {"M": 32, "H": 5, "C": 8}),
        ("1, C+M, M", (1, 40, 32), {}, {"M": 32, "C": 8}),  # told by a later axis
        ("1, C+M, M+D, D", (1, 40, 33, 1), {}, {"D": 1, "M": 32, "C": 8}),  # by the last, and then the one before
        ("1, C+M", (1, 40), {}, None),  # not told at all
        ("1, C+M, N", (1, 40, 3), {"M": 32}, {"M": 32, "N": 3, "C": 8}),
        ("1, 2*3, N", (1, 6, 3), {}, {"N": 3}),
        ("1, 2*3, N", (1, 5, 3), {}, None),
        (" 1 ,4 + C,N", (1, 84, 9), {}, {"C": 80, "N": 9}),
    ],
)
def test_sizes_of_names(
    written: str, shape: tuple[int, ...], known: dict[str, int], sizes: dict[str, int] | None
) -> None:
    before = dict(known)
    assert shapes.matched(written, shape, known) == sizes
    assert known == before


@pytest.mark.parametrize(
    ("written", "number"), [("4+C", 7), ("C", 3), ("4", 4), ("C+4*8", 35), ("2*C+M*3", 36), ("C*2*2 + 1", 13)]
)
def test_sums(written: str, number: int) -> None:
    assert shapes.amount(written, {"C": 3, "M": 10}) == number


def test_a_sum_of_names_without_a_size_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^'C\+R\+Q' has no size for R, Q$"):
        shapes.amount("C+R+Q", {"C": 3})


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("output", ("output", None, None)),
        ("output[4:4+C]", ("output", "4", "4+C")),
        ("output[4]", ("output", "4", "4+1")),
        ("table[4+C]", ("table", "4+C", "4+C+1")),
    ],
)
def test_parts_of_a_tensor(written: str, parts: tuple[str, str | None, str | None]) -> None:
    assert shapes.slot(written) == parts


@pytest.mark.parametrize("written", ["", "output[", "output[]", "output[4:]", "output[4]x", "a b"])
def test_what_is_no_part_of_a_tensor(written: str) -> None:
    with pytest.raises(ValueError) as caught:
        shapes.slot(written)
    assert str(caught.value) == f"{written!r} is not of the form ROLE, ROLE[FIRST:END] or ROLE[COLUMN]"


def test_axes_and_those_that_are_more_than_one() -> None:
    assert shapes.axes("1?, N,4+C ") == ["1?", "N", "4+C"]
    assert shapes.columns("1?, N, 1, 4+C, 1?") == ["N", "4+C"]
