"""The model's input, bit for bit, and the way back: numbers worked out by hand, and mmdet's own pipeline."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxcam.bundle import Preprocess
from boxcam.runtime.preprocess import INTERPOLATIONS, Transform, fit, prepare
from boxcam.types import Grid

PLAIN = Preprocess(
    height=64,
    width=96,
    fit_height=64,
    fit_width=96,
    keep_ratio=True,
    pad_to="top-left",
    pad_value=(0, 0, 0),
    pad_before_normalize=False,
    mean=(0, 0, 0),
    std=(1, 1, 1),
    color="BGR",
)
COCO = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375), "color": "RGB"}


def spec(**changes: Any) -> Preprocess:
    return dataclasses.replace(PLAIN, **changes)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 10_000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((32, 48), (64, 96)),
        ((64, 96), (64, 96)),
        ((480, 640), (64, 85)),  # 640 · 64/480 = 85.33
        ((100, 300), (32, 96)),
        ((300, 100), (64, 21)),  # 100 · 64/300 = 21.33
        ((1, 500), (1, 96)),  # 0.19 rows round to none: one is kept
        ((500, 1), (64, 1)),
        ((1, 1), (64, 64)),
        ((128, 5), (64, 3)),  # 2.5 rounds up, not to even
        ((67, 101), (64, 96)),  # 101 · 64/67 = 96.48, 67 · 96/101 = 63.68
    ],
)
def test_the_resized_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    place = fit(*size, PLAIN)
    assert (place.resized_height, place.resized_width) == expected
    assert (place.scale_y, place.scale_x) == (expected[0] / size[0], expected[1] / size[1])
    stretched = fit(*size, spec(keep_ratio=False))
    assert (stretched.resized_height, stretched.resized_width) == (64, 96)


def test_a_worked_example() -> None:
    image = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)
    to = spec(height=2, width=3, fit_height=2, fit_width=2, mean=(10, 20, 30), std=(2, 4, 5), pad_value=(7, 8, 9))
    tensor, place = prepare(image, to)
    assert tensor.dtype == np.float32
    assert tensor.tolist() == [
        [
            [[0, 15, 7], [7, 7, 7]],
            [[0, 7.5, 8], [8, 8, 8]],
            [[0, 6, 9], [9, 9, 9]],
        ]
    ]
    assert place == Transform(1, 2, 2, 3, 1, 2, 0, 0)


def test_in_rgb_mean_std_and_pad_are_in_the_order_of_the_input() -> None:
    image = np.array([[[10, 20, 30]]], np.uint8)
    to = spec(
        height=1, width=2, fit_height=1, fit_width=1, mean=(1, 2, 3), std=(2, 3, 7), pad_value=(5, 6, 8), color="RGB"
    )
    assert prepare(image, to)[0].tolist() == [[[[14.5, 5]], [[6, 6]], [[1, 8]]]]


def test_padding_before_normalising_is_normalised() -> None:
    image = np.array([[[10, 20, 30]]], np.uint8)
    to = spec(height=1, width=2, fit_height=1, fit_width=1, mean=(4, 4, 4), std=(2, 4, 5), pad_value=(114, 104, 14))
    assert prepare(image, to)[0][0, :, 0, 1].tolist() == [114, 104, 14]
    before = dataclasses.replace(to, pad_before_normalize=True)
    assert prepare(image, before)[0][0, :, 0, 1].tolist() == [55, 25, 2]


@pytest.mark.parametrize(
    ("size", "top", "left"),
    [((10, 10), 0, 16), ((10, 30), 16, 0), ((64, 95), 0, 0), ((63, 96), 0, 0), ((61, 96), 1, 0)],
)
def test_centred(size: tuple[int, int], top: int, left: int) -> None:
    tensor, place = prepare(np.full((*size, 3), 200, np.uint8), spec(pad_to="center", pad_value=(9, 9, 9)))
    assert (place.top, place.left) == (top, left)
    lit = np.argwhere(tensor[0, 0] == 200)
    assert lit.min(axis=0).tolist() == [top, left]
    assert (lit.max(axis=0) - lit.min(axis=0) + 1).tolist() == [place.resized_height, place.resized_width]
    assert ((tensor == 200) | (tensor == 9)).all()


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_interpolations_are_mmcvs(interpolation: str) -> None:
    import mmcv

    image = noise(200, 150)
    tensor, place = prepare(image, spec(interpolation=interpolation))
    got = tensor[0, :, : place.resized_height, : place.resized_width].transpose(1, 2, 0)
    assert (got == mmcv.imresize(image, (48, 64), interpolation=interpolation)).all()


@pytest.mark.parametrize(
    "size", [(64, 64), (480, 640), (333, 500), (37, 53), (1000, 999), (1, 7), (2, 500), (700, 3), (63, 65)]
)
@pytest.mark.parametrize("keep_ratio", [True, False])
def test_bit_for_bit_the_input_of_mmdets_test_pipeline(size: tuple[int, int], keep_ratio: bool) -> None:
    import torch
    from mmcv.transforms import Resize
    from mmengine.model import ImgDataPreprocessor

    image = noise(*size)
    resized = Resize(scale=(128, 128), keep_ratio=keep_ratio)({"img": image})["img"]
    normalise = ImgDataPreprocessor(COCO["mean"], COCO["std"], pad_size_divisor=128, pad_value=3.5, bgr_to_rgb=True)
    expected = normalise({"inputs": [torch.from_numpy(resized).permute(2, 0, 1)]})["inputs"].numpy()
    to = spec(height=128, width=128, fit_height=128, fit_width=128, keep_ratio=keep_ratio, pad_value=(3.5,) * 3, **COCO)
    tensor, _ = prepare(image, to)
    assert tensor.dtype == expected.dtype
    assert tensor.tobytes() == np.ascontiguousarray(expected).tobytes()


def test_boxes_go_there_and_back() -> None:
    # 100 x 200 pixels, halved to 50 x 100, put at (10, 4) of a canvas.
    place = Transform(100, 200, 70, 108, 50, 100, 10, 4)
    image = np.array([[0, 0, 200, 100], [20, 10, 30.5, 40]], np.float32)
    canvas = np.array([[4, 10, 104, 60], [14, 15, 19.25, 30]], np.float32)
    assert place.boxes_to_canvas(image).tolist() == canvas.tolist()
    assert place.boxes_to_image(canvas).tolist() == image.tolist()
    assert place.boxes_to_image(canvas).dtype == place.boxes_to_canvas(image).dtype == np.float32
    over = np.array([[0, 0, 108, 70], [-50, 20, 6, 20]], np.float32)
    assert place.boxes_to_image(over).tolist() == [[0, 0, 200, 100], [0, 20, 4, 20]]
    assert place.boxes_to_image(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_scales_are_those_of_each_axis_after_rounding() -> None:
    place = fit(1, 500, PLAIN)  # one row stays one row, 500 columns become 96
    box = place.boxes_to_canvas(np.array([[0, 0, 500, 1]], np.float32))
    assert box.tolist() == [[0, 0, 96, 1]]


def test_the_grid_of_a_feature_map() -> None:
    place = Transform(100, 200, 70, 108, 50, 100, 10, 4)
    # Down: cells of 8 canvas pixels, the image lies on 10..60: cells 1 (8..16) to 7 (56..64).
    assert place.map_grid(9, 14, (8, 8)) == Grid(-20, -8, 16, 16, (1, 8), (0, 13))
    assert place.map_grid(5, 4, (16, 32)) == Grid(-20, -8, 32, 64, (0, 4), (0, 4))
    # Cells that end where the image begins are padding; a map that stops short of the image keeps what it has.
    assert place.map_grid(14, 27, (5, 4)).rows == (2, 12)
    assert place.map_grid(14, 27, (5, 4)).columns == (1, 26)
    assert place.map_grid(3, 14, (8, 8)).rows == (1, 3)
    assert place.map_grid(1, 1, (8, 8)).rows == (0, 1)


def test_the_grid_of_a_proposal() -> None:
    place = Transform(100, 200, 70, 108, 50, 100, 10, 4)
    grid = place.roi_grid(np.array([14, 20, 28, 34], np.float32), 7, 7)
    assert grid == Grid(20, 20, 4, 4, (0, 7), (0, 7), bounds=(20, 20, 48, 48))
    outside = place.roi_grid(np.array([-6, 0, 4, 30], np.float32), 5, 2)
    assert outside == Grid(-20, -20, 12, 10, (0, 5), (0, 2), bounds=(-20, -20, 0, 40))


@pytest.mark.parametrize("roi", [(14, 20, 14, 20), (14.5, 20.5, 13.5, 19.5), (13.8, 20, 14.2, 20)])
def test_a_degenerate_proposal_is_one_canvas_pixel_around_its_centre(roi: tuple[float, ...]) -> None:
    place = Transform(100, 200, 70, 108, 50, 100, 10, 4)
    grid = place.roi_grid(np.array(roi, np.float64), 7, 7)
    assert grid.bounds == pytest.approx((19, 19, 21, 21))
    assert (grid.cell_height, grid.cell_width) == pytest.approx((2 / 7, 2 / 7))


sizes = st.integers(1, 3000)


@given(height=sizes, width=sizes, keep=st.booleans(), centre=st.booleans(), stride=st.sampled_from([4, 8, 32, 61, 128]))
def test_the_valid_cells_cover_the_image_and_no_more(
    height: int, width: int, keep: bool, centre: bool, stride: int
) -> None:
    place = fit(height, width, spec(keep_ratio=keep, pad_to="center" if centre else "top-left"))
    assert 0 <= place.top <= place.top + place.resized_height <= 64
    assert 0 <= place.left <= place.left + place.resized_width <= 96
    grid = place.map_grid(-(-64 // stride), -(-96 // stride), (stride, stride))
    for start, cell, (first, last), size in (
        (grid.y, grid.cell_height, grid.rows, height),
        (grid.x, grid.cell_width, grid.columns, width),
    ):
        assert start + first * cell <= 1e-6 * size
        assert start + (first + 1) * cell > 0
        assert start + last * cell >= size * (1 - 1e-6)
        assert start + (last - 1) * cell < size


@given(height=sizes, width=sizes, numbers=st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_boxes_come_back(height: int, width: int, numbers: list[float]) -> None:
    place = fit(height, width, spec(pad_to="center"))
    box = np.array([numbers], np.float32) * np.array([width, height] * 2, np.float32)
    back = place.boxes_to_image(place.boxes_to_canvas(box))
    assert np.abs(back - box).max() <= 1e-4 * max(height, width)
