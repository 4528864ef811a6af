"""Presets: what each says, and that it is what the models' own code does."""

from __future__ import annotations

import math

import cv2
import numpy as np
import onnx_ir as ir
import pytest

from boxcam.bundle import Preprocess
from boxcam.export.preprocessing.keys import KEYS
from boxcam.export.preprocessing.presets import PRESETS
from boxcam.runtime.preprocess import fit, prepare
from tests.export.preprocessing.specs import MEAN, ROOT, STD, of

GREY, ONES = (114.0,) * 3, (255.0,) * 3
NONE, MIDDLE = (0.0,) * 3, (127.5,) * 3
EXPECTED = {
    "imagenet": Preprocess(224, 224, 256, 256, "cover", "center", NONE, True, MEAN, STD, "RGB", "area or bilinear"),
    "torchvision": Preprocess(
        224, 224, 224, 224, "fit", "top-left", (123.675, 116.28, 103.53), True, NONE, ONES, "RGB", rounding="down"
    ),
    "yolox": Preprocess(224, 224, 224, 224, "fit", "top-left", GREY, True, NONE, (1.0,) * 3, "BGR", rounding="down"),
    "yolo": Preprocess(224, 224, 224, 224, "fit", "center", GREY, True, NONE, ONES, "RGB", rounding="half-even"),
    "paddle": Preprocess(224, 224, 224, 224, "stretch", "top-left", NONE, True, MEAN, STD, "RGB", "bicubic"),
    "tf": Preprocess(224, 224, 224, 224, "stretch", "top-left", NONE, True, MIDDLE, MIDDLE, "RGB", "bilinear"),
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str) -> None:
    assert of(name) == EXPECTED[name]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_written_with_the_keys_that_there_are(name: str) -> None:
    for key, value in PRESETS[name].settings.items():
        written = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert KEYS[key](written) == value


def test_the_tensor_of_each_preset_by_hand() -> None:
    # A grey picture, twice as wide as high, of BGR 51, 102, 204.
    image = np.full((4, 8, 3), (51, 102, 204), np.uint8)
    small = (1, 3, 4, 4)
    tensor, place = prepare(image, of("yolo", shape=small))
    assert (place.top, place.resized_height) == (1, 2)
    assert tensor[0, :, 0, 0] == pytest.approx(np.float32([114 / 255] * 3))
    assert tensor[0, :, 1, 0] == pytest.approx([0.8, 0.4, 0.2])
    tensor, place = prepare(image, of("imagenet", shape=small))
    assert (place.resized_height, place.resized_width, place.left) == (4, 8, -2)
    expected = [(0.8 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    assert tensor == pytest.approx(np.broadcast_to(np.reshape(expected, (1, 3, 1, 1)), (1, 3, 4, 4)), abs=1e-5)
    assert prepare(image, of("paddle", shape=small))[0][0, :, 3, 3] == pytest.approx(expected, abs=1e-5)
    assert prepare(image, of("tf", shape=(1, 4, 4, 3)))[0][0, 2, 2] == pytest.approx([0.6, -0.2, -0.6])
    pixels = prepare(image, of("tf", shape=(1, 4, 4, 3), dtype=ir.DataType.UINT8))[0]
    assert pixels.dtype == np.uint8
    assert pixels[0, 2, 2].tolist() == [204, 102, 51]


# The sizes of letterboxes by the published code, in its own words, and where the picture is put.
# Ultralytics, ultralytics/data/augment.py, LetterBox; the same in YOLOv5's and YOLOv7's utils and in YOLOv6's
# yolov6/data/data_augment.py: letterbox.


def ultralytics(height: int, width: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    r = min(size[0] / height, size[1] / width)
    new_unpad = round(width * r), round(height * r)
    dw, dh = (size[1] - new_unpad[0]) / 2, (size[0] - new_unpad[1]) / 2
    return new_unpad[1], new_unpad[0], round(dh - 0.1), round(dw - 0.1)


# YOLOX, yolox/data/data_augment.py, preproc.


def yolox(height: int, width: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    r = min(size[0] / height, size[1] / width)
    return int(height * r), int(width * r), 0, 0


# torchvision, models/detection/transform.py: torch's interpolate with recompute_scale_factor, which takes the floor.


def torchvisions(height: int, width: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    scale = min(size[0] / height, size[1] / width)
    return math.floor(height * scale), math.floor(width * scale), 0, 0


# PaddleDetection, deploy/python/preprocess.py, Resize with keep_ratio: cv2.resize with factors, whose size is OpenCV's.


def paddle(height: int, width: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    scale = min(size) / min(height, width)
    if np.round(scale * max(height, width)) > max(size):
        scale = max(size) / max(height, width)
    made = cv2.resize(np.zeros((height, width), np.uint8), None, None, fx=scale, fy=scale)
    return made.shape[0], made.shape[1], 0, 0


PUBLISHED = {
    "yolo": (("yolo",), ultralytics),
    "yolox": (("yolox",), yolox),
    "torchvision": (("torchvision",), torchvisions),
    "paddle": (("paddle", "resize=fit", "pad=top-left", "pad_value=0"), paddle),
}


def test_each_preset_that_pads_has_a_published_size() -> None:
    assert {name for name in PRESETS if "rounding" in PRESETS[name].settings} == set(PUBLISHED)
    assert {name for name in PRESETS if PRESETS[name].settings["resize"] == "fit"} <= set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("size", [(640, 640), (416, 416), (800, 800)])
def test_the_picture_has_the_size_and_the_place_that_the_models_own_code_gives_it(
    name: str, size: tuple[int, int]
) -> None:
    specs, published = PUBLISHED[name]
    spec = of(*specs, shape=(1, 3, *size))
    rng = np.random.default_rng(0)
    sizes = [(427, 640), (667, 1000), (683, 1024), (853, 1280), (801, 1200), (1367, 2048), (1080, 1920), (853, 1281)]
    drawn = rng.integers(200, 1600 if name == "paddle" else 4000, (400, 2)).tolist()
    for height, width in [*sizes, *(pair[::-1] for pair in sizes), *drawn]:
        place = fit(height, width, spec)
        expected = published(height, width, size)
        assert (place.resized_height, place.resized_width, place.top, place.left) == expected, (height, width)


@pytest.mark.parametrize(
    ("name", "size", "rows", "top"),
    [
        ("yolo", (853, 1280), 426, 107),
        ("yolo", (667, 1000), 427, 106),
        ("yolo", (855, 1280), 428, 106),
        ("yolox", (853, 1280), 426, 0),
        ("yolox", (667, 1000), 426, 0),
    ],
)
def test_sizes_worked_out_by_hand(name: str, size: tuple[int, int], rows: int, top: int) -> None:
    place = fit(*size, of(name, shape=(1, 3, 640, 640)))
    assert (place.resized_height, place.resized_width, place.top, place.left) == (rows, 640, top, 0)


@pytest.mark.parametrize("name", ["yolo", "yolox"])
def test_the_tensor_is_what_the_models_own_code_makes(name: str) -> None:
    _, published = PUBLISHED[name]
    image = np.random.default_rng(1).integers(0, 256, (133, 200, 3), np.uint8)
    rows, columns, top, left = published(133, 200, (96, 96))
    resized = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
    expected = np.full((96, 96, 3), 114, np.uint8)
    expected[top : top + rows, left : left + columns] = resized
    if name == "yolo":
        expected = expected[..., ::-1]
    tensor, _ = prepare(image, of(name, shape=(1, 3, 96, 96)))
    assert tensor[0].transpose(1, 2, 0) * (255 if name == "yolo" else 1) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("side", "most"), [(224, 0.5), (448, 0.25)])
def test_the_imagenet_preset_is_torchvisions_of_the_same_name(side: int, most: float) -> None:
    """But for the resize, by mean steps of 0 to 255; the picture, 300x400, becomes smaller, or larger."""
    from PIL import Image
    from torchvision.transforms._presets import ImageClassification

    image = cv2.imread(str(ROOT / "examples/signs/images/cat.jpg"))
    picture = Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))
    theirs = ImageClassification(crop_size=side, resize_size=side * 8 // 7)(picture).numpy()
    ours = prepare(image, of("imagenet", shape=(1, 3, side, side)))[0][0]
    assert (np.abs(ours - theirs) * np.reshape(STD, (3, 1, 1))).mean() < most


def test_a_picture_padded_for_torchvision_is_what_its_own_transform_pads() -> None:
    """By torchvision's own transform, a picture in a batch with a larger one; the file does the rest by itself."""
    import torch
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    tensor, place = prepare(image, of("torchvision", shape=(1, 3, 64, 96)))
    assert (place.resized_height, place.resized_width, place.top, place.left) == (64, 64, 0, 0)
    rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1) / 255
    transform = GeneralizedRCNNTransform(64, 96, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], size_divisible=1)
    expected = transform([rgb, torch.zeros(3, 64, 96)])[0].tensors[:1]
    found = transform([torch.from_numpy(tensor[0])])[0].tensors
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-5)
