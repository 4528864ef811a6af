"""Where cells lie on the image, at its edges, those of the padding and of what is cut off; and other channels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from boxcam.bundle import Preprocess
from boxcam.errors import InputError
from boxcam.runtime import preprocess
from boxcam.runtime.preprocess import Transform, prepare

Pair = tuple[float, float]
Sides = tuple[int, int]

PADDED = Transform(20, 40, 64, 64, 32, 64, 16, 0)
"""An image of 20 x 40 pixels, enlarged by 1.6 and in the middle of 64 x 64."""
CUT = Transform(40, 20, 32, 32, 64, 32, -16, 0)
"""Its upper and its lower quarter are cut off."""
WHOLE = Transform(6, 5, 6, 5, 6, 5, 0, 0)


@pytest.mark.parametrize(
    ("place", "stride", "center", "cells", "rows", "columns"),
    [
        (PADDED, (8.0, 8.0), None, (8, 8), (2, 6), (0, 8)),
        # Tiles begin at -3.5, and the image covers rows 16 to 48: tiles 2 (12.5 to 20.5) to 6 (44.5 to 52.5).
        (PADDED, (8.0, 8.0), (0.5, 0.5), (8, 8), (2, 7), (0, 8)),
        # And at 3.5 here: tile 1 (11.5 to 19.5) to 5 (43.5 to 51.5); across, the last one begins at 59.5.
        (PADDED, (8.0, 8.0), (7.5, 7.5), (8, 8), (1, 6), (0, 8)),
        (PADDED, (8.0, 16.0), (4.0, 24.0), (8, 3), (2, 6), (0, 3)),
        (CUT, (8.0, 8.0), None, (4, 4), (0, 4), (0, 4)),
        (CUT, (8.0, 8.0), (0.5, 0.5), (5, 5), (0, 5), (0, 5)),
        (CUT, (8.0, 8.0), (-12.0, 4.0), (6, 4), (2, 6), (0, 4)),  # tiles 0 and 1 lie above the model's input
        (WHOLE, (1.0, 1.0), None, (6, 5), (0, 6), (0, 5)),
    ],
)
def test_cells_that_show_the_image(
    place: Transform, stride: Pair, center: Pair | None, cells: Sides, rows: Sides, columns: Sides
) -> None:
    grid = place.map_grid(*cells, stride, center)
    assert (grid.rows, grid.columns) == (rows, columns)
    y, x = center or (stride[0] / 2, stride[1] / 2)
    # A cell's centre is where the middle of its tile is.
    assert (grid.y + grid.cell_height / 2) * place.scale_y + place.top == pytest.approx(y)
    assert (grid.x + grid.cell_width / 2) * place.scale_x + place.left == pytest.approx(x)
    assert (grid.cell_height * place.scale_y, grid.cell_width * place.scale_x) == pytest.approx(stride)
    assert grid.bounds == (None if place is not CUT else (0, 10, 20, 30))


@pytest.mark.parametrize(
    ("roi", "bounds"),
    [
        ((0, 0, 32, 32), (0, 10, 20, 30)),
        ((8, 8, 16, 24), (5, 15, 10, 25)),
        ((8, -40, 16, 8), (5, 10, 10, 15)),  # it sticks out above
        ((-16, 8, 16, 99), (0, 15, 10, 30)),
        ((8, -40, 16, 0), (0, 0, 0, 0)),  # it ends where what was seen begins
        ((8, 32, 16, 40), (0, 0, 0, 0)),  # or begins where that ends
        ((-9, 8, 0, 16), (0, 0, 0, 0)),
        ((32, 8, 40, 16), (0, 0, 0, 0)),
    ],
)
def test_a_proposal_is_bounded_by_what_was_seen(roi: tuple[float, ...], bounds: tuple[float, ...]) -> None:
    grid = CUT.roi_grid(np.array(roi, np.float32), 7, 7)
    assert grid.bounds == pytest.approx(bounds)
    assert grid.x * 1.6 == pytest.approx(roi[0])
    assert grid.y * 1.6 - 16 == pytest.approx(roi[1])


def test_a_proposal_of_a_pixel_is_not_widened_and_a_smaller_one_is() -> None:
    one = PADDED.roi_grid(np.array([8, 24, 9, 25.5], np.float32), 7, 7)
    assert one.bounds == pytest.approx((8 / 1.6, 8 / 1.6, 9 / 1.6, 9.5 / 1.6))
    for roi in ([8, 24, 8.5, 23], [8.25, 23.5, 8.25, 23.5], [9, 24, 7.5, 23]):
        small = PADDED.roi_grid(np.array(roi, np.float32), 7, 7)
        assert small.bounds == pytest.approx((7.75 / 1.6, 7 / 1.6, 8.75 / 1.6, 8 / 1.6))


def spec(channels: int, **others: Any) -> Preprocess:
    colors = {1: "GRAY", 3: "BGR"}
    given: dict[str, Any] = {
        "height": 12, "width": 16, "fit_height": 12, "fit_width": 16, "resize": "stretch", "pad_to": "top-left",
        "pad_value": (0.0,) * channels, "pad_before_normalize": False, "mean": tuple(map(float, range(channels))),
        "std": tuple(1.0 + k for k in range(channels)), "color": colors.get(channels, "as given"), **others,
    }  # fmt: skip
    return Preprocess(**given)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("interpolation", ["bilinear", "area or bilinear", "bicubic"])
def test_channels_of_any_number_are_resized_each_by_itself(channels: int, interpolation: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 30, channels), dtype=np.uint8)
    tensor, place = prepare(image, spec(channels, interpolation=interpolation))
    assert (tensor.shape, place.resized_height, place.resized_width) == ((1, channels, 12, 16), 12, 16)
    turned, _ = prepare(image, spec(channels, interpolation=interpolation, layout="NHWC"))
    assert (turned.transpose(0, 3, 1, 2) == tensor).all()
    for channel in range(channels):
        plane = np.ascontiguousarray(image[..., channel])
        if interpolation == "area or bilinear":
            plane = cv2.resize(cv2.resize(plane, (16, 8), interpolation=cv2.INTER_AREA), (16, 12))
        else:
            plane = cv2.resize(plane, (16, 12), interpolation=preprocess.INTERPOLATIONS[interpolation])
        assert tensor[0, channel] == pytest.approx((plane.astype(np.float32) - channel) / (1 + channel), abs=1e-5)


def test_an_image_is_resized_to_as_many_pixels_as_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    long = np.zeros((4, 400, 3), np.uint8)  # 12 x 1200, of which the middle is cut out
    cover = spec(3, resize="cover", pad_to="center", fit_width=12, width=12)
    for most in (14_400, 14_399):
        monkeypatch.setattr(preprocess, "MAX_PIXELS", most)
        if most == 14_400:
            assert prepare(long, cover)[1].resized_width == 1200
        else:
            with pytest.raises(InputError, match="long and narrow: resized to cover 12x12, it is 12x1200"):
                prepare(long, cover)
