"""The last image that is read and the first that is not; parts of a TIFF that are not in the file."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import boxcam
from boxcam.errors import InputError
from boxcam.runtime.images import check_array
from boxcam.runtime.planes import fitted
from boxcam.runtime.tiff import _check_parts


def test_an_array_has_as_many_pixels_as_are_allowed() -> None:
    with boxcam.limits(max_pixels=24):
        assert check_array(np.zeros((4, 6), np.uint8)).shape == (4, 6, 3)
        assert fitted(np.zeros((6, 4, 5), np.uint8), 5, "it").shape == (6, 4, 5)
        with pytest.raises(InputError, match=r"array of uint8 \[5, 5\] is too large: 5x5 pixels, and at most 24 are"):
            check_array(np.zeros((5, 5), np.uint8))
        with pytest.raises(InputError, match=r"array of uint8 \[1, 25, 3\] is too large: 25x1 pixels"):
            check_array(np.zeros((1, 25, 3), np.uint8))
        with pytest.raises(InputError, match=r"^it is too large: 5x5 pixels"):
            fitted(np.zeros((5, 5, 5), np.uint8), 5, "it")


def page(**others: Any) -> Any:
    """Of 5 rows of 4 pixels in strips of 2 rows, one sample of a byte each, as tifffile tells of it."""
    right = {
        "dataoffsets": (10, 18, 26),
        "databytecounts": (8, 8, 4),
        "chunked": (1, 3, 1),
        "is_tiled": False,
        "rowsperstrip": 2,
        "imagewidth": 4,
        "imagelength": 5,
        "samplesperpixel": 1,
        "planarconfig": 1,
        "dtype": np.dtype(np.uint8),
        "compression": 1,
    }
    return SimpleNamespace(**{**right, **others})


def test_strips_that_end_with_the_file() -> None:
    _check_parts(page(), bytes(30))


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"dataoffsets": (10, 18), "databytecounts": (8, 8)}, "strips that are missing"),
        ({"chunked": (2, 3, 1)}, "strips that are missing"),
        ({"dataoffsets": (10, 18, 27)}, "a strip that is not in the file"),
        ({"dataoffsets": (10, 0, 26)}, "a strip that is not in the file"),
        ({"databytecounts": (8, 0, 4)}, "a strip that is not in the file"),
    ],
)
def test_strips_that_are_not_there(others: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _check_parts(page(**others), bytes(30))


@pytest.mark.parametrize(
    ("others", "most"),
    [
        ({}, 8),
        ({"rowsperstrip": 99}, 20),
        ({"samplesperpixel": 3}, 24),
        ({"samplesperpixel": 3, "planarconfig": 2}, 8),
        ({"dtype": np.dtype(np.uint16)}, 16),
        ({"is_tiled": True, "tilelength": 16, "tilewidth": 32}, 512),  # a tile is whole, whatever the image has of it
    ],
)
def test_a_strip_inflates_to_its_pixels_and_no_more(others: dict[str, Any], most: int) -> None:
    import zlib

    for size in (most, most + 1):
        packed = zlib.compress(bytes(size))
        one = page(**others, dataoffsets=(1,), databytecounts=(len(packed),), chunked=(1,), compression=8)
        if size == most:
            _check_parts(one, b" " + packed)
        else:
            with pytest.raises(ValueError, match="a strip of more pixels than the image has"):
                _check_parts(one, b" " + packed)
