"""The model's input, bit for bit, and the way back: numbers worked out by hand, and mmdet's own pipeline."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxcam.bundle import Preprocess
from boxcam.errors import InputError
from boxcam.runtime.preprocess import INTERPOLATIONS, Transform, fit, prepare
from boxcam.types import Grid

PLAIN = Preprocess(
    height=64,
    width=96,
    fit_height=64,
    fit_width=96,
    resize="fit",
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
    stretched = fit(*size, spec(resize="stretch"))
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
    ("size", "steps"),
    [
        ((200, 150), [((64, 96), "area")]),
        ((50, 60), [((64, 96), "bilinear")]),
        ((64, 96), []),
        ((64, 150), [((64, 96), "area")]),
        ((200, 50), [((64, 50), "area"), ((64, 96), "bilinear")]),
    ],
)
def test_area_along_what_becomes_smaller_and_bilinear_along_what_becomes_larger(
    size: tuple[int, int], steps: list[tuple[tuple[int, int], str]]
) -> None:
    import mmcv

    image = expected = noise(*size)
    for (height, width), interpolation in steps:
        expected = mmcv.imresize(expected, (width, height), interpolation=interpolation)
    tensor, _ = prepare(image, spec(resize="stretch", interpolation="area or bilinear"))
    assert (tensor[0].transpose(1, 2, 0) == expected).all()


@pytest.mark.parametrize(
    "size", [(64, 64), (480, 640), (333, 500), (37, 53), (1000, 999), (1, 7), (2, 500), (700, 3), (63, 65)]
)
@pytest.mark.parametrize("how", ["fit", "stretch"])
def test_bit_for_bit_the_input_of_mmdets_test_pipeline(size: tuple[int, int], how: str) -> None:
    import torch
    from mmcv.transforms import Resize
    from mmengine.model import ImgDataPreprocessor

    image = noise(*size)
    resized = Resize(scale=(128, 128), keep_ratio=how == "fit")({"img": image})["img"]
    normalise = ImgDataPreprocessor(COCO["mean"], COCO["std"], pad_size_divisor=128, pad_value=3.5, bgr_to_rgb=True)
    expected = normalise({"inputs": [torch.from_numpy(resized).permute(2, 0, 1)]})["inputs"].numpy()
    to = spec(height=128, width=128, fit_height=128, fit_width=128, resize=how, pad_value=(3.5,) * 3, **COCO)
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


@given(
    height=sizes,
    width=sizes,
    how=st.sampled_from(["fit", "stretch"]),
    centre=st.booleans(),
    stride=st.sampled_from([4, 8, 32, 61, 128]),
)
def test_the_valid_cells_cover_the_image_and_no_more(
    height: int, width: int, how: str, centre: bool, stride: int
) -> None:
    place = fit(height, width, spec(resize=how, pad_to="center" if centre else "top-left"))
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


def covering(height: int, width: int, fit_to: int | tuple[int, int], **more: Any) -> Preprocess:
    fit_height, fit_width = (fit_to, fit_to) if isinstance(fit_to, int) else fit_to
    sizes = {"height": height, "width": width, "fit_height": fit_height, "fit_width": fit_width}
    return spec(**sizes, resize="cover", pad_to="center", **more)


def test_covering_by_hand() -> None:
    # 4 x 8 pixels, as they are, and the 4 x 4 in the middle of them: columns 2 to 5.
    image = np.zeros((4, 8, 3), np.uint8)
    image[:] = np.arange(8, dtype=np.uint8)[:, None] * 10
    tensor, place = prepare(image, covering(4, 4, 4))
    assert tensor.tolist() == [[[[20, 30, 40, 50]] * 4] * 3]
    assert place == Transform(4, 8, 4, 4, 4, 8, 0, -2)
    assert place.seen == (2, 0, 6, 4)
    # Covering 4 x 4 and cut to 2 x 2: rows 1 and 2, columns 3 and 4.
    smaller, place = prepare(image, covering(2, 2, 4))
    assert smaller.tolist() == [[[[30, 40]] * 2] * 3]
    assert place.seen == (3, 1, 5, 3)
    # An image that covers a wide canvas is cut below and above.
    place = fit(100, 100, covering(32, 64, (32, 64)))
    assert (place.resized_height, place.resized_width, place.top, place.left) == (64, 64, -16, 0)
    assert place.seen == (0, 25, 100, 75)


def test_what_was_cut_off_gets_no_box_and_no_map() -> None:
    # 100 x 200 pixels halved to 50 x 100; of that a canvas of 40 x 60, from row 5 and column 20 on: image pixels
    # 10 to 90 down, 40 to 160 across.
    place = fit(100, 200, covering(40, 60, (50, 60)))
    assert (place.top, place.left, place.is_cut) == (-5, -20, True)
    assert place.seen == (40, 10, 160, 90)
    boxes = np.array([[0, 0, 60, 40], [10, 5, 20, 15], [-9, -9, 70, 15]], np.float32)
    assert place.boxes_to_image(boxes).tolist() == [[40, 10, 160, 90], [60, 20, 80, 40], [40, 10, 160, 40]]
    assert place.boxes_to_canvas(np.array([[60, 20, 80, 40]], np.float32)).tolist() == [[10, 5, 20, 15]]
    # Cells of 8 canvas pixels are 16 image pixels; the first begins where the cut is. Five of them fill the 40 rows,
    # and the eighth column is half outside, which the bounds leave out.
    assert place.map_grid(5, 8, (8, 8)) == Grid(10, 40, 16, 16, (0, 5), (0, 8), bounds=(40, 10, 160, 90))
    assert place.map_grid(6, 9, (8, 8)).rows == (0, 5)  # a sixth row would lie below the canvas
    grid = place.roi_grid(np.array([50, 5, 64, 19], np.float32), 7, 7)
    assert grid == Grid(20, 140, 4, 4, (0, 7), (0, 7), bounds=(140, 20, 160, 48))
    beside = place.roi_grid(np.array([61, 5, 75, 19], np.float32), 7, 7)
    assert beside.bounds == (0, 0, 0, 0)


def test_a_placed_map_lies_on_what_was_seen_and_nowhere_else() -> None:
    from boxcam.explain.placement import place as put
    from boxcam.types import CellMap

    place = fit(10, 20, covering(8, 8, 10))  # rows 1 to 8, columns 6 to 13 of the image
    ones = put(CellMap(np.ones((4, 4), np.float32), (0, 0)), place.map_grid(4, 4, (2, 2)), 10, 20)
    expected = np.zeros((10, 20))
    expected[1:9, 6:14] = 1
    assert ones.tolist() == expected.tolist()
    # The cell (1, 2) covers canvas rows 2, 3 and columns 4, 5: on the image rows 3, 4 and columns 10, 11.
    lit = np.zeros((4, 4), np.float32)
    lit[1, 2] = 1
    placed = put(CellMap(lit, (0, 0)), place.map_grid(4, 4, (2, 2)), 10, 20)
    assert np.argwhere(placed == placed.max()).tolist() == [[3, 10], [3, 11], [4, 10], [4, 11]]


@pytest.mark.parametrize("size", [(480, 640), (333, 500), (500, 333), (1000, 999), (37, 53), (256, 256), (224, 31)])
def test_covering_is_torchvisions_resize_and_centre_crop(size: tuple[int, int]) -> None:
    """The size of theirs, and of our resize (theirs has other weights) the part that theirs cuts out."""
    import torch
    from torchvision.transforms import v2

    image = noise(*size)
    rows, columns = v2.Resize(71)(torch.from_numpy(image).permute(2, 0, 1)).shape[1:]
    resized = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
    cut = v2.CenterCrop(64)(torch.from_numpy(resized).permute(2, 0, 1))
    tensor, place = prepare(image, covering(64, 64, 71))
    assert (place.resized_height, place.resized_width) == (rows, columns)
    assert (tensor[0] == cut.numpy()).all()


@given(height=sizes, width=sizes, margin=st.integers(0, 40))
def test_covering_leaves_no_padding(height: int, width: int, margin: int) -> None:
    place = fit(height, width, covering(64, 96, (64 + margin, 96 + margin)))
    assert place.top <= 0
    assert place.top + place.resized_height >= 64
    assert place.left <= 0
    assert place.left + place.resized_width >= 96
    x1, y1, x2, y2 = place.seen
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    whole = place.boxes_to_image(np.array([[0, 0, 96, 64]], np.float32))
    assert whole == pytest.approx(np.array([place.seen]), rel=1e-5)


def test_an_image_too_long_to_cover_the_canvas_is_refused() -> None:
    with pytest.raises(InputError, match=r"9x1 pixels.*too long .* cover 9000x9000, it is 81000x9000"):
        prepare(np.zeros((9, 1, 3), np.uint8), covering(9000, 9000, 9000))


def test_other_layouts_and_types() -> None:
    image = np.array([[[10, 20, 30], [40, 50, 61]]], np.uint8)
    to = spec(height=2, width=3, fit_height=1, fit_width=2, mean=(10, 20, 30), std=(2, 4, 5), pad_value=(7, 8, 9))
    plain, place = prepare(image, to)
    last, same = prepare(image, dataclasses.replace(to, layout="NHWC"))
    assert place == same
    assert last.tolist() == [
        [[[0, 0, 0], [15, 7.5, np.float32(31 / 5)], [7, 8, 9]], [[7, 8, 9]] * 3],
    ]
    assert (last == plain.transpose(0, 2, 3, 1)).all()
    half, _ = prepare(image, dataclasses.replace(to, dtype="float16"))
    assert half.dtype == np.float16
    assert (half == plain.astype(np.float16)).all()
    assert half[0, 2, 0, 1] != plain[0, 2, 0, 1]  # 6.2 has no exact half
    whole, _ = prepare(image, dataclasses.replace(to, dtype="uint8", layout="NHWC", mean=(0, 0, 0), std=(1, 1, 1)))
    assert whole.dtype == np.uint8
    assert whole.tolist() == [[[[10, 20, 30], [40, 50, 61], [7, 8, 9]], [[7, 8, 9]] * 3]]
    assert dataclasses.replace(to, layout="NHWC").shape == (1, 2, 3, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resize": "cover", "pad_to": "center", "fit_height": 63}, "63x96 does not cover 64x96"),
        ({"resize": "cover"}, "crops the middle"),
        ({"fit_width": 97}, "64x97 exceeds 64x96"),
        ({"height": 0}, "sizes must be positive"),
        ({"std": (1, 0, 1)}, "std must be positive"),
        ({"dtype": "uint8", "mean": (0, 1, 0)}, "uint8 is not normalised"),
        ({"dtype": "uint8", "std": (1, 2, 1)}, "uint8 is not normalised"),
        ({"dtype": "uint8", "pad_value": (0.5, 0, 0)}, "pad_value of uint8 must be 0 to 255, whole"),
        ({"dtype": "uint8", "pad_value": (256, 0, 0)}, "pad_value of uint8 must be 0 to 255, whole"),
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec(**changes)


def test_a_canvas_of_its_own_for_each_image() -> None:
    """By hand: the shorter side into 64, the longer one into 96, then up to the next multiple of 32."""
    open_size = spec(multiple=32)
    place = fit(480, 640, open_size)
    assert (place.resized_height, place.resized_width) == (64, 85)
    assert (place.canvas_height, place.canvas_width) == (64, 96)
    place = fit(640, 480, open_size)  # upright: into 96x64
    assert (place.resized_height, place.resized_width) == (85, 64)
    assert (place.canvas_height, place.canvas_width) == (96, 64)
    place = fit(10, 300, dataclasses.replace(open_size, pad_to="center"))
    assert (place.resized_height, place.resized_width, place.canvas_height, place.canvas_width) == (3, 96, 32, 96)
    assert (place.top, place.left) == (14, 0)  # 29 rows of padding, the odd one below
    image = noise(640, 480)
    canvas, _ = prepare(image, open_size)
    assert canvas.shape == (1, 3, 96, 64)
    assert not canvas[:, :, 85:].any()
    np.testing.assert_array_equal(canvas[0, :, :85].transpose(1, 2, 0), cv2.resize(image, (64, 85)))


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (333, 900), (1000, 100), (77, 77)])
def test_the_size_of_its_own_is_mmcvs(size: tuple[int, int]) -> None:
    import mmcv

    place = fit(*size, spec(multiple=32, fit_height=60, fit_width=96))
    theirs = mmcv.imrescale(noise(*size), (96, 60)).shape[:2]
    assert (place.resized_height, place.resized_width) == theirs


def test_an_image_may_stay_as_it_is() -> None:
    as_it_is = spec(resize="none", multiple=8)
    image = noise(51, 70)
    canvas, place = prepare(image, as_it_is)
    assert canvas.shape == (1, 3, 56, 72)
    np.testing.assert_array_equal(canvas[0, :, :51, :70].transpose(1, 2, 0), image)
    assert (place.scale_y, place.scale_x) == (1, 1)
    with pytest.raises(InputError, match=r"an image of 20000x20000 pixels .* is too large to be used at its own size"):
        prepare(np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (20_000, 20_000, 3)), as_it_is)


@pytest.mark.parametrize(("resize", "multiple"), [("none", 0), ("stretch", 32), ("cover", 32), ("fit", -1)])
def test_only_what_has_no_fixed_size_may_differ(resize: Any, multiple: int) -> None:
    with pytest.raises(ValueError, match="cannot go with a multiple"):
        spec(resize=resize, multiple=multiple, pad_to="center")
