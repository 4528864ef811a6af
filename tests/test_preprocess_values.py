"""Which preprocessing there can be: each rule of its values, on both sides of its edge."""

from __future__ import annotations

from typing import Any

import pytest

from boxcam.bundle import Preprocess

RIGHT: dict[str, Any] = {
    "height": 20, "width": 30, "fit_height": 20, "fit_width": 30, "resize": "fit", "pad_to": "top-left",
    "pad_value": (0.0, 0.0, 0.0), "pad_before_normalize": False, "mean": (1.0, 2.0, 3.0), "std": (1.0, 1.0, 1.0),
    "color": "RGB",
}  # fmt: skip
COVER = {"resize": "cover", "pad_to": "center"}
BYTES = {"dtype": "uint8", "mean": (0.0,) * 3}
GREY = {"color": "GRAY", "mean": (0.0,), "std": (1.0,), "pad_value": (0.0,)}
FIVE = {"color": "as given", "mean": (0.0,) * 5, "std": (1.0,) * 5, "pad_value": (0.0,) * 5}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"height": 1, "width": 1, "fit_height": 1, "fit_width": 1},
        {"fit_height": 1, "fit_width": 1},
        {"resize": "stretch"},
        {"multiple": 32},
        {"resize": "none", "multiple": 32},
        COVER,
        {**COVER, "fit_height": 25, "fit_width": 30},
        {**COVER, "fit_height": 20, "fit_width": 35},
        {"std": (1e-9, 1.0, 1.0)},
        {"color": "BGR"},
        GREY,
        FIVE,
        BYTES,
        {**BYTES, "pad_value": (0.0, 1.0, 255.0)},
    ],
)
def test_what_there_can_be(fields: dict[str, Any]) -> None:
    given = {**RIGHT, **fields}
    found = Preprocess(**given)
    assert found.channels == len(given["mean"])
    height, width = (None, None) if found.multiple else (found.height, found.width)
    assert found.shape == (1, found.channels, height, width)
    assert Preprocess(**{**given, "layout": "NHWC"}).shape == (1, height, width, found.channels)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"height": 0, "fit_height": 0}, "sizes must be positive"),
        ({"width": 0, "fit_width": 0}, "sizes must be positive"),
        ({"fit_height": 0}, "sizes must be positive"),
        ({"fit_width": 0}, "sizes must be positive"),
        ({"multiple": -1}, "resize fit cannot go with a multiple of -1"),
        ({"resize": "none"}, "resize none cannot go with a multiple of 0"),
        ({"resize": "none", "multiple": -1}, "resize none cannot go with a multiple of -1"),
        ({"resize": "stretch", "multiple": 32}, "resize stretch cannot go with a multiple of 32"),
        ({**COVER, "multiple": 32}, "resize cover cannot go with a multiple of 32"),
        ({**COVER, "fit_height": 19}, "19x30 does not cover 20x30"),
        ({**COVER, "fit_width": 29}, "20x29 does not cover 20x30"),
        ({"resize": "cover"}, "pad must be center"),
        ({"fit_height": 21}, "21x30 exceeds 20x30"),
        ({"fit_width": 31}, "20x31 exceeds 20x30"),
        ({"mean": (1.0, 2.0)}, r"3 items were expected, not \[1, 2\]"),
        ({"std": (1.0,) * 4}, r"3 items were expected, not \[1, 1, 1, 1\]"),
        ({"pad_value": (7.0,)}, r"3 items were expected, not \[7\]"),
        ({"mean": (), "std": (), "pad_value": ()}, r"0 items were expected, not \[\]"),
        ({"color": "GRAY"}, "color GRAY is not one of 3 channels"),
        ({"color": "as given"}, "color as given is not one of 3 channels"),
        ({**GREY, "color": "RGB"}, "color RGB is not one of 1 channels"),
        ({**FIVE, "color": "BGR"}, "color BGR is not one of 5 channels"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be positive"),
        ({"std": (1.0, 1.0, -1.0)}, "std must be positive"),
        ({**BYTES, "mean": (0.0, 0.0, 1.0)}, "uint8 is not normalised"),
        ({**BYTES, "std": (1.0, 1.0, 2.0)}, "uint8 is not normalised"),
        ({**BYTES, "std": (2.0, 2.0, 2.0)}, "uint8 is not normalised"),
        ({**BYTES, "pad_value": (0.0, 0.0, -1.0)}, "pad_value of uint8 must be 0 to 255, whole"),
        ({**BYTES, "pad_value": (256.0, 0.0, 0.0)}, "pad_value of uint8 must be 0 to 255, whole"),
        ({**BYTES, "pad_value": (0.5, 0.0, 0.0)}, "pad_value of uint8 must be 0 to 255, whole"),
    ],
)
def test_what_there_cannot_be(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^preprocess: .*{said}"):
        Preprocess(**{**RIGHT, **fields})
