"""What ``--preprocess`` says becomes a `Preprocess`, or a sentence."""

from __future__ import annotations

import ast
import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx_ir as ir
import pytest

from boxcam.bundle import Preprocess
from boxcam.commands.flags import with_flags
from boxcam.commands.options import reading_options
from boxcam.errors import SourceError
from boxcam.export.preprocessing.keys import KEYS
from boxcam.export.preprocessing.page import PATH, markdown
from boxcam.export.preprocessing.parse import parse
from boxcam.export.preprocessing.presets import PRESETS
from boxcam.runtime.preprocess import INTERPOLATIONS, fit, prepare

ROOT = Path(__file__).parents[3]
SQUARE = (1, 3, 224, 224)
LAST = (1, 224, 224, 3)
DYNAMIC = (None, 3, None, None)
CUSTOM = ["resize=stretch", "scale=0-255", "color=RGB"]


def of(
    *specs: str, shape: Any = SQUARE, dtype: Any = ir.DataType.FLOAT, size: tuple[int, int] | None = None
) -> Preprocess:
    return parse(specs, shape, dtype, size)


MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
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


def test_rounding_can_be_said() -> None:
    assert of("yolo", "rounding=nearest").rounding == "nearest"
    assert of("yolox", "rounding=HALF-EVEN").rounding == "half-even"
    assert of("yolo", "resize=stretch").rounding == of("paddle").rounding == "nearest"  # which it has no meaning for
    assert of("resize=fit", "scale=0-1", "color=RGB", "pad=center", "pad_value=0").rounding == "nearest"
    with pytest.raises(SourceError, match=r"rounding has no meaning for resize stretch as it is here\. Leave it out"):
        of("paddle", "rounding=down")
    with pytest.raises(SourceError, match="nearest or half-even or down was expected"):
        of("yolo", "rounding=up")


def test_size_layout_and_type_are_the_models() -> None:
    made = of("tf", shape=(None, 128, 160, 3), dtype=ir.DataType.UINT8)
    assert (made.height, made.width, made.layout, made.dtype) == (128, 160, "NHWC", "uint8")
    made = of("yolo", shape=DYNAMIC, dtype=ir.DataType.FLOAT16, size=(96, 64))
    assert (made.height, made.width, made.layout, made.dtype) == (96, 64, "NCHW", "float16")
    assert of("yolo", "size=96x64", shape=DYNAMIC, dtype=None).dtype == "float32"
    assert of("yolo", "size=96x64", shape=(1, 3, 96, None)).width == 64
    assert of("yolo", "size=64", shape=DYNAMIC, size=(64, 64)).height == 64
    # Three rows, or three columns: which axis the colours are is to be said.
    assert of("tf", "layout=NHWC", shape=(1, 3, 5, 3)).shape == (1, 3, 5, 3)
    assert of("tf", "layout=NCHW", shape=(1, 3, 5, 3)).width == 3
    assert of("tf", "layout=nhwc", shape=(None,) * 4, size=(8, 9)).shape == (1, 8, 9, 3)
    assert of("tf", shape=(1, None, 8, 3), size=(9, 8)).layout == "NHWC"


def test_values_override_a_preset() -> None:
    made = of("yolo", "color=bgr", "pad_value=0, 128,255", "pad=top-left", "interpolation=area")
    assert (made.color, made.pad_value, made.pad_to, made.interpolation) == ("BGR", (0, 128, 255), "top-left", "area")
    assert of("yolo", "pad_value=mean").pad_before_normalize is False
    assert of("yolo", "scale=0-255").std == (1, 1, 1)
    assert of("tf", "mean=0", "std=1").std == (1, 1, 1)
    assert of("pad=top-left", "yolo").pad_to == "top-left"  # wherever the preset stands
    assert of("imagenet", "crop_pct=0.9").fit_height == 248  # 248.9, and timm rounds down
    assert of("imagenet", "fit=232").fit_width == 232
    assert of("imagenet", "fit=232x240").fit_width == 240
    assert of("imagenet", "resize=stretch").fit_width == 224
    assert of("paddle", "resize=letterbox", "pad=center", "pad_value=1").resize == "fit"


def test_a_presets_mean_and_std_go_with_their_colours() -> None:
    made = of("imagenet", "color=BGR")
    assert made.mean == pytest.approx(MEAN[::-1])
    assert made.std == pytest.approx(STD[::-1])
    assert of("imagenet", "color=RGB").mean == pytest.approx(MEAN)
    given = of("imagenet", "color=BGR", "mean=0.1,0.2,0.3")
    assert given.mean == pytest.approx((25.5, 51, 76.5))  # as given: in the order of the model's channels


def test_without_a_preset() -> None:
    made = of("resize=fit", "scale=0-255", "color=BGR", "pad=center", "pad_value=114", "mean=1,2,3", "std=4", "fit=200")
    assert made == Preprocess(
        *(224, 224, 200, 200, "fit", "center", (114, 114, 114), True, (1, 2, 3), (4, 4, 4), "BGR", "bilinear")
    )
    assert of("resize=cover", "scale=0-1", "color=RGB").fit_height == 224
    assert of(*CUSTOM, "fit=200", "pad=top-left", "pad_value=9").pad_value == (9, 9, 9)


@pytest.mark.parametrize("suffix", ["yaml", "yml", "JSON"])
def test_files(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a.{suffix}"
    if suffix == "JSON":
        content = {"preset": "yolo", "size": [64, 96], "mean": [0.25, 0.5, 1], "scale": "0-1", "pad_value": 0}
        file.write_text(json.dumps(content, indent="\t"))  # which is no YAML
    else:
        file.write_text("preset: yolo\nsize: 64x96\nmean: [0.25, 0.5, 1]\nscale: 0-1\npad_value: 0\n")
    made = of(str(file), shape=DYNAMIC)
    assert (made.height, made.width, made.pad_value) == (64, 96, (0, 0, 0))
    assert made.mean == (63.75, 127.5, 255)
    assert of(str(file), "pad_value=7", shape=DYNAMIC).pad_value == (7, 7, 7)
    assert of("pad_value=7", str(file), shape=DYNAMIC).pad_value == (0, 0, 0)  # what comes later


def test_the_files_of_the_page_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "page.yaml"
    found = re.search(r"```yaml\n(.*?)```", markdown(), re.DOTALL)
    assert found is not None
    file.write_text(found[1])
    assert of(str(file)).std == (1, 1, 1)
    for line in re.findall(r"^\$ boxcam export.*", markdown(), re.MULTILINE):
        specs = re.findall(r"--preprocess (\S+)", line)
        assert specs
        size = re.search(r"--shape (\d+)x(\d+)", line)
        wanted = None if size is None else (int(size[1]), int(size[2]))
        specs = [str(file) if spec == "preprocess.yaml" else spec for spec in specs]
        of(*specs, **({"shape": DYNAMIC, "size": wanted} if " dynamic.onnx" in line else {}))


def test_each_image_may_have_its_own_size() -> None:
    made = of("yolo", "size=100x200", shape=DYNAMIC)
    assert (made.fit_height, made.fit_width, made.height, made.width, made.multiple) == (100, 200, 128, 224, 32)
    assert made.shape == (1, 3, None, None)
    assert of("yolo", "size=100x200", "multiple=1", shape=DYNAMIC).shape == (1, 3, None, None)
    assert of("yolo", "resize=none", shape=DYNAMIC).resize == "none"
    for fixed in (of("yolo", "size=64", "resize=stretch", shape=DYNAMIC), of("yolo", shape=DYNAMIC, size=(64, 64))):
        assert (fixed.multiple, fixed.shape) == (0, (1, 3, 64, 64))
    with pytest.raises(SourceError, match="multiple 32 is for a model whose height and width are dynamic, not fixed"):
        of("yolo", "multiple=32")
    with pytest.raises(SourceError, match="resize 'none' is for a model whose height and width are dynamic"):
        of("yolo", "resize=none")
    with pytest.raises(SourceError, match="multiple has no meaning for resize stretch"):
        of("yolo", "size=64", "resize=stretch", "multiple=8", shape=DYNAMIC)
    with pytest.raises(SourceError, match=r"such as shape=\(640, 640\)\.$"):
        of("yolo", "resize=stretch", shape=DYNAMIC)


def test_the_size_that_a_file_names_does_not_overrule_its_input() -> None:
    half_open = (1, 3, 640, None)
    made = parse(["yolo"], half_open, ir.DataType.FLOAT, None, (640, 320))
    assert (made.height, made.width, made.multiple) == (640, 320, 0)
    with pytest.raises(SourceError, match=r"\[1, 3, 640, \?\] has no fixed height and width.*shape=\(640, 640\)\.$"):
        parse(["yolo"], half_open, ir.DataType.FLOAT, None, (320, 320))


def test_what_is_told_of_open_sizes_can_be_given_as_it_is_written() -> None:
    with pytest.raises(SourceError) as caught:
        of("yolo", "mean=0.1, 0.2, 0.3", shape=DYNAMIC)
    pattern = r"with preprocess=(\[.*\]), into which it is fitted, or preprocess=(\[.*\]), which"
    (told,) = re.findall(pattern, str(caught.value))
    fitted, left = (of(*ast.literal_eval(specs), shape=DYNAMIC) for specs in told)
    assert (fitted.resize, fitted.multiple, fitted.fit_height, fitted.mean) == ("fit", 32, 640, (25.5, 51, 76.5))
    assert (left.resize, left.multiple, left.mean) == ("none", 32, (25.5, 51, 76.5))
    said = with_flags(str(caught.value), {"preprocess": "--preprocess"})
    (told,) = re.findall(r"with (--preprocess .*), into which it is fitted, or (--preprocess .*), which", said)
    words = ([word for word in shlex.split(text) if word != "--preprocess"] for text in told)
    fitted, left = (of(*specs, shape=DYNAMIC) for specs in words)
    assert (fitted.resize, fitted.multiple, fitted.fit_height, fitted.mean) == ("fit", 32, 640, (25.5, 51, 76.5))
    assert (left.resize, left.multiple, left.mean) == ("none", 32, (25.5, 51, 76.5))


BAD = {
    "nothing": (
        [],
        {},
        r"does not say how an image becomes the model input\. .*The presets are: imagenet \(.*\); yolo .*; tf \(",
    ),
    "unknown preset": (
        ["yolov8"],
        {},
        r"preprocess=: there is no preset 'yolov8'. Did you mean 'yolo' or 'yolox'\?.*a YAML file",
    ),
    "two presets": (["yolo", "tf"], {}, "two presets, yolo and tf. Pass one"),
    "unknown key": (["yolo", "means=0"], {}, r"there is no key 'means'. There are: preset, size, .*interpolation\."),
    "two values": (["yolo", "mean=1,2"], {}, "mean 1,2: one number, or three, one for each channel, was expected"),
    "four values": (["yolo", "std=1,2,3,4"], {}, "std 1,2,3,4: one number, or three"),
    "no number": (["yolo", "mean=grey"], {}, "mean 'grey': a number was expected"),
    "empty": (["yolo", "mean="], {}, "mean '': a number was expected"),
    "nan": (["yolo", "mean=nan"], {}, "mean 'nan': a number was expected"),
    "infinity": (["yolo", "std=1,inf,1"], {}, "std '1,inf,1': a number was expected"),
    "std 0": (["yolo", "std=1,0,1"], {}, "std '1,0,1': a number above 0 was expected"),
    "std negative": (["yolo", "std=-1"], {}, "std '-1': a number above 0 was expected"),
    "scale": (["yolo", "scale=-1-1"], {}, "scale '-1-1': 0-1 or 0-255 was expected"),
    "color": (["yolo", "color=pink"], {}, "color 'pink': RGB or BGR or GRAY was expected"),
    "resize": (["yolo", "resize=crop"], {}, "resize 'crop': fit or stretch or cover or none was expected"),
    "interpolation": (["yolo", "interpolation=lanczos"], {}, "interpolation 'lanczos': bilinear or nearest or bicubic"),
    "size": (["yolo", "size=0x9"], {}, "size '0x9': HEIGHTxWIDTH, such as 640x640, was expected"),
    "fraction": (["yolo", "size=9.5"], {}, "size '9.5': HEIGHTxWIDTH"),
    "share": (["imagenet", "crop_pct=1.5"], {}, "crop_pct '1.5': a number above 0, up to 1, was expected"),
    "no resize": (["scale=0-1", "color=RGB"], {}, "resize is missing. Pass a preset .imagenet, torchvision, yolo"),
    "no scale": (["resize=stretch", "color=RGB"], {}, "scale is missing"),
    "no color": (["resize=stretch", "scale=0-1"], {}, "color is missing"),
    "no pad": (["paddle", "resize=fit"], {}, "resize fit pads, and pad is missing"),
    "no pad value": (["paddle", "resize=fit", "pad=center"], {}, "resize fit pads, and pad_value is missing"),
    "idle pad": (["imagenet", "pad=center"], {}, "pad has no meaning for resize cover"),
    "idle pad value": (["tf", "pad_value=3"], {}, "pad_value has no meaning for resize stretch"),
    "idle crop": (["yolo", "crop_pct=0.9"], {}, "crop_pct has no meaning for resize fit"),
    "crop and fit": (["imagenet", "crop_pct=0.9", "fit=232"], {}, "crop_pct has no meaning for resize cover as it is"),
    "fit too large": (["yolo", "fit=256"], {}, "preprocess=: 256x256 exceeds 224x224"),
    "fit too small": (["imagenet", "fit=223"], {}, "preprocess=: 223x223 does not cover 224x224"),
    "scale of mean": (
        ["imagenet", "scale=0-255"],
        {},
        r"scale 0-255 changes what mean 0.485,0.456,0.406 of the preset",
    ),
    "mean too large": (["imagenet", "mean=123.675,116.28,103.53"], {}, "mean .* is beyond the scale 0-1"),
    "mean too small": ([*CUSTOM, "mean=0.485"], {}, "is next to nothing on the scale 0-255. Pass scale=0-1"),
    "size and input": (
        ["yolo", "size=96"],
        {},
        r"size=96x96. contradicts the model's input \[1, 3, 224, 224\], .*fixed",
    ),
    "shape and input": (["yolo"], {"size": (224, 96)}, "shape=224x96 contradicts the model's input"),
    "size and shape": (
        ["yolo", "size=96"],
        {"size": (64, 64), "shape": DYNAMIC},
        "shape=64x64 and .*size=96x96. contra",
    ),
    "dynamic": (["yolo"], {"shape": DYNAMIC}, r"\[\?, 3, \?, \?\] has no fixed height and width. .*shape=\(640, 640\)"),
    "half dynamic": (["yolo"], {"shape": (1, 3, 64, None)}, "has no fixed height and width"),
    "layout": (
        ["yolo", "layout=NHWC"],
        {},
        r"layout NHWC contradicts .* \[1, 3, 224, 224\], which then has 224 channels",
    ),
    "layout of last": (
        ["tf", "layout=NCHW"],
        {"shape": LAST},
        "layout NCHW contradicts .* which then has 224 channels",
    ),
    "open layout": (
        ["tf"],
        {"shape": (1, 3, 224, 3)},
        "does not tell which axis holds the colours. .*layout=NCHW. or preprocess=.layout=NHWC",
    ),
    "no dimension": (["tf"], {"shape": (None,) * 4}, r"\[\?, \?, \?, \?\] does not tell"),
    "grey of three": (
        ["yolo", "color=grey"],
        {},
        r"color GRAY contradicts the model's input \[1, 3, 224, 224\], which has 3 channels",
    ),
    "colours of grey": (
        ["yolo", "color=BGR"],
        {"shape": (1, 1, 28, 28)},
        "color BGR contradicts .* one channel, which is",
    ),
    "mean of grey": (
        ["imagenet"],
        {"shape": (1, 1, 28, 28)},
        "mean 0.485,0.456,0.406 of the preset imagenet: one number was expected, as the model's input has 1 channel",
    ),
    "mean of four": (
        ["tf", "mean=1,2,3"],
        {"shape": (1, 4, 28, 28)},
        "mean 1,2,3: one number, or four, one for each channel, was expected, as the model's input has 4 channels",
    ),
    "rank": (["tf"], {"shape": (1, 512)}, r"the model's input is \[1, 512\], but an image is \[1, 3, height, width\]"),
    "no batch": (["tf"], {"shape": (3, 28, 28)}, r"the model's input is \[3, 28, 28\], but an image is"),
    "no rank": (["tf"], {"shape": None}, "has no known rank"),
    "type": (["tf"], {"dtype": ir.DataType.INT64}, "the model's input is int64; an image is float32, float16 or uint8"),
    "bfloat16": (["tf"], {"dtype": ir.DataType.BFLOAT16}, "the model's input is bfloat16"),
    "uint8 normalised": (
        ["yolo"],
        {"dtype": ir.DataType.UINT8},
        "input is uint8, the pixels as they are. .*scale=0-255",
    ),
    "uint8 mean": (["tf", "mean=9"], {"dtype": ir.DataType.UINT8}, "input is uint8"),
    "uint8 padding": (
        ["yolo", "scale=0-255", "pad_value=0.5"],
        {"dtype": ir.DataType.UINT8},
        "pad_value of uint8 must be 0 to 255, whole",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused_in_a_sentence(case: str) -> None:
    specs, options, message = BAD[case]
    with pytest.raises(SourceError, match=message) as refused:
        of(*specs, **options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "a.yaml cannot be read: No such file"),
        (b"\xff\xfe\xfa", "a.yaml cannot be read: it is not UTF-8 text"),
        (b"mean: [1, 2", "a.yaml is not valid YAML or JSON: .*line 1"),
        (b"preset: !!python/object/apply:os.getcwd []", "a.yaml is not valid YAML or JSON"),
        (b"- yolo", "a.yaml does not hold keys and values"),
        (b"", "a.yaml does not hold keys and values"),
        (b"preset: yolo\nwidth: 9", "a.yaml: there is no key 'width'"),
        (b"preset: 3", "a.yaml: there is no preset '3'"),
        (b"preset: yolo\nmean: [1, 2]", "a.yaml: mean 1,2: one number, or three"),
        (b"preset: yolo\nmean: {a: 1}", "a.yaml: mean {'a': 1}: a number was expected"),
        (b"preset: yolo\nmean: true", "a.yaml: mean True: a number was expected"),
        (b"preset: yolo\npad: no", "a.yaml: pad False: center or top-left was expected"),
        (b"preset: yolo\nsize: [1, 2, 3]", "a.yaml: size 1,2,3: HEIGHTxWIDTH"),
    ],
)
def test_bad_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("a.yaml").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        of("a.yaml")


def test_the_page_is_up_to_date() -> None:
    written = (ROOT / PATH).read_text(encoding="utf-8")
    assert written == markdown(), f"{PATH} is out of date; run: python -m boxcam.export.preprocessing.page"
    assert all(f"`{key}`" in written for key in KEYS)
    assert all(f"| `{name}` |" in written for name in PRESETS)


def test_the_help_names_all_presets() -> None:
    command = reading_options()(lambda: None)
    shown = next(option.help for option in command.__click_params__ if option.name == "preprocess")
    assert all(name in shown for name in PRESETS)


@pytest.mark.parametrize("name", ["antialias", "area or bilinear"])
def test_both_names_of_what_averages_when_it_shrinks(name: str) -> None:
    assert of("yolo", f"interpolation={name}").interpolation == "area or bilinear"


@pytest.mark.parametrize("side", [256, 64, 512])
def test_the_pages_differences_to_pillow(side: int) -> None:
    from PIL import Image

    columns = ("antialias", "area", "bilinear", "bicubic", "nearest")
    assert {*columns[1:]} == {*INTERPOLATIONS}
    found = dict.fromkeys(columns, 0.0)
    for name in ("street", "cat", "houses", "coffee"):
        image = cv2.imread(str(ROOT / f"examples/signs/images/{name}.jpg"))
        height, width = image.shape[:2]
        size = (max(side, side * width // height), max(side, side * height // width))
        theirs = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)).astype(float)
        for interpolation in columns:
            settings = [*CUSTOM, "mean=0", f"interpolation={interpolation}"]
            ours = prepare(image, of(*settings, shape=(1, size[1], size[0], 3)))[0][0, :, :, ::-1]
            found[interpolation] = max(found[interpolation], float(np.abs(ours - theirs).mean()))
    row = re.search(rf"^\| 300 or 320 to {side} \|(.*)\|$", markdown(), re.MULTILINE)
    assert row is not None
    written = [float(cell) for cell in row[1].split("|")]
    assert [found[name] for name in columns] == pytest.approx(written, abs=0.1)


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
