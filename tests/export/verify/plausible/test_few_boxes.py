"""What a few boxes say of their format: the nearest one is advised, and boxes of one cell are one piece of evidence."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from boxcam.export.verify.plausible.formats import ALL, BoxFormat
from boxcam.export.verify.plausible.place import Located, _of_a_guess, _of_few

PIXELS = {form.form: form for form in ALL if form.scale == "pixels"}
ONE = np.ones((1, 2))


def located(corners: np.ndarray, centres: np.ndarray) -> Located:
    """Boxes as they are read, and the cells of stride 8 that their centres lie in."""
    count = len(corners)
    cells = (np.floor(centres / 8) + 0.5) * 8
    return Located(corners, cells, np.full((count, 2), 8.0), np.full((count, 2), 640.0))


@pytest.mark.parametrize("read", ["xyxy", "cxcywh", "xywh"])
@pytest.mark.parametrize("right", ["xyxy", "cxcywh", "xywh"])
def test_the_format_is_advised_that_the_boxes_are_in(right: str, read: str) -> None:
    """Not the first one that is near enough: a centre and size is nearer than corners for a corner and size too."""
    for seed in range(50):
        random = np.random.default_rng(seed)
        centres, sizes = random.uniform(100, 540, (5, 2)), random.uniform(20, 120, (5, 2))
        numbers = PIXELS[right].numbers(np.hstack([centres - sizes / 2, centres + sizes / 2]), ONE)
        found = _of_few(located(PIXELS[read].corners(numbers, ONE), centres), PIXELS[read])
        if right == read:
            assert found is None
        else:
            assert found is not None
            assert (found.verdict, found.advice) == ("doubtful", f'Pass box_format="{right}".')


@pytest.mark.parametrize("cells", [1, 2, 3])
def test_rows_of_one_cell_are_one_piece_of_evidence(cells: int) -> None:
    """An object in several classes, or several times: so many of its rows say no more than one."""
    read: BoxFormat = PIXELS["xyxy"]
    centres = np.array([[100.0, 100], [300, 200], [200, 400]])[np.arange(6) % cells]
    numbers = np.hstack([centres, np.full((6, 2), 64.0)])
    assert (_of_few(located(read.corners(numbers, ONE), centres), read) is not None) is (cells == 3)


@pytest.mark.parametrize(("guessed", "right", "count", "doubtful"), [
    (True, "xyxy", 5, False),
    (True, "xyxy", 2, True),
    (True, "xyxy", 1, True),
    (True, "xyxy", 0, False),
    (True, "xywh", 5, True),
    (True, "cxcywh", 5, True),
    (False, "xywh", 5, False),
    (False, "xyxy", 1, False),
])  # fmt: skip
def test_a_guess_is_doubtful_unless_boxes_of_three_cells_show_it(
    guessed: bool, right: str, count: int, doubtful: bool
) -> None:
    read, random = PIXELS["xyxy"], np.random.default_rng(0)
    centres, sizes = random.uniform(100, 540, (count, 2)), random.uniform(20, 120, (count, 2))
    ones = np.ones((count, 2))
    numbers = PIXELS[right].numbers(np.hstack([centres - sizes / 2, centres + sizes / 2]), ones)
    reading: Any = SimpleNamespace(
        format=read, subject=SimpleNamespace(interpretation=SimpleNamespace(form_is_guessed=guessed))
    )
    found = _of_a_guess(reading, located(read.corners(numbers, ones), centres))
    assert (found is not None) is doubtful
    assert found is None or (found.verdict, found.figures) == ("doubtful", {"boxes": count})


def test_of_what_a_source_knows_nothing_is_a_guess() -> None:
    reading: Any = SimpleNamespace(format=PIXELS["xyxy"], subject=SimpleNamespace(interpretation=None))
    assert _of_a_guess(reading, located(np.zeros((0, 4)), np.zeros((0, 2)))) is None
