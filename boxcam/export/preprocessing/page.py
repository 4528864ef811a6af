"""docs/preprocessing.md, for people.  ``python -m boxcam.export.preprocessing.page`` writes it."""

from __future__ import annotations

import sys
from pathlib import Path

from boxcam.export.preprocessing.presets import PRESETS

PATH = Path("docs/preprocessing.md")

_HEAD = """\
# Preprocessing of an ONNX file

An ONNX file does not say how a picture becomes its input, and a wrong guess gives boxes that are only a little wrong.
So pass `--preprocess`: a preset, a file, single values, or a preset and what differs from it.

```console
$ boxcam export model.onnx -o yolo.boxcam --preprocess yolo
$ boxcam export model.onnx -o cropped.boxcam --preprocess imagenet --preprocess crop_pct=0.95 --preprocess color=BGR
$ boxcam export model.onnx -o mine.boxcam --preprocess preprocess.yaml
```

A file is YAML or JSON and has the same keys, such as this `preprocess.yaml`:

```yaml
preset: yolo
pad_value: [0, 0, 0]
scale: 0-255
```

## Presets

| preset | whose | resize | colour | scale | mean | std |
|---|---|---|---|---|---|---|
"""

_TAIL = """
Size, layout (`NCHW` or `NHWC`) and type (float32, float16 or uint8) are those of the model's input. TensorFlow's
models differ: Keras' own ResNet and VGG want `color=BGR`, `mean=103.939,116.779,123.68` and `std=1`, its EfficientNet
`mean=0` and `std=1`; a detector of the Object Detection API normalises by itself, and wants `mean=0` and `std=1` if
its input is not uint8.

torchvision's classifiers that are exported by name (`torchvision:resnet50`) need no `--preprocess`: they have the
transforms of torchvision's own weights. For weights that were trained elsewhere these are those of the first set; what
was trained from ResNet-50's second set wants `--preprocess fit=232x232`.

A letterboxed picture is as many pixels high as the models' own code makes it: one row more or less moves all others. Of
a picture of 1280x853 pixels (width x height) in 640x640, Ultralytics' `LetterBox` and the `letterbox` of YOLOv5, v6 and
v7 make `round(426.5)` = 426 rows and put 107 rows of padding above, YOLOX's `preproc` makes `int(426.5)` = 426, and
mmcv's `imrescale`, as which boxcam rounds without a preset, `int(426.5 + 0.5)` = 427; of 1000x667 it is 427, 426 and
427. PaddleDetection's `Resize` with `keep_ratio` rounds as OpenCV does, halves to even, and torchvision's detectors
round down. A bundle that was exported before there was `rounding` keeps `nearest`, whatever its preset was: export the
model again for the model's own.

## Keys

| key | values |
|---|---|
| `preset` | a name from above; all other keys then change it |
| `size` | `HxW`; needed where the model's input is dynamic, if `--shape` does not fix it and the file does not \
tell it, as those of Ultralytics do |
| `resize` | `fit` (or `letterbox`) keeps the ratio and pads; `stretch`; `cover` keeps it and crops the middle; \
`none`, for dynamic inputs only, leaves the picture as it is |
| `multiple` | of a dynamic input: the sides of each picture, resized, are padded to a multiple of this; 32 by default |
| `fit` | `HxW` that the picture is resized to: smaller than the size for `fit` and `stretch`, larger for `cover`; by \
default the size |
| `crop_pct` | for `cover`: size / fit, as timm has it; 0.875 is 224 of 256 |
| `rounding` | for `fit`: of the side that does not fill its size, `nearest` (by default; halves up, as mmcv), \
`half-even` (nearest, halves to the even number, as Python's `round`) or `down` |
| `pad` | `center` or `top-left`: where the picture lies; an odd row or column of padding is put below or on the right |
| `pad_value` | one number, or one for each channel, in 0 to 255, before the normalisation; or `mean`: 0 after it |
| `scale` | `0-1` or `0-255`: the range of the pixels that `mean` and `std` are for |
| `mean`, `std` | one number, or one for each channel, in their order in the model; by default 0 and 1 |
| `color` | `RGB` or `BGR`: the order of the model's channels, or `GRAY` of one; a preset's mean and std go with \
their colours |
| `layout` | `NCHW` or `NHWC`; needed only where the input's shape does not tell |
| `interpolation` | `bilinear` (by default), `area`, `bicubic` or `nearest`, which are OpenCV's; `antialias` (or \
`area or bilinear`): `area` for what becomes smaller, `bilinear` for what becomes larger |

Without a preset, `resize`, `scale` and `color` have to be given, and for `fit` also `pad` and `pad_value`.

## Models with a dynamic height and width

If the height and width of an ONNX file are dynamic, so are those of the bundle: each picture is explained at a size of
its own. With
`resize=fit` it is fitted into the `size` (an upright picture into the size turned by 90°, as mmcv has it), with
`resize=none` it keeps its own; either way it is padded only up to the next `multiple`. `stretch` and `cover` make all
pictures equal, and `--shape HxW` fixes the size for any of them. Gradients of dynamic sizes are made by the ONNX engine
where boxes depend on windows of cells; where an operator between the layer and the scores needs to know its sizes, the
export says which, and that `--shape` fixes the size.

```console
$ boxcam export dynamic.onnx -o dynamic.boxcam --preprocess yolo --preprocess size=640x640
$ boxcam export dynamic.onnx -o large.boxcam --preprocess preprocess.yaml --preprocess size=800x1333
$ boxcam export dynamic.onnx -o fixed.boxcam --preprocess yolo --shape 640x640
```

## How close the pixels are

The resize is OpenCV's, whose `bilinear`, `bicubic` and `nearest` read single pixels. So do PaddleDetection, TensorFlow
and Ultralytics' detectors. Pillow and torchvision, and with them timm and Ultralytics' classifiers, average over all
that is made smaller (antialias), which of OpenCV's only `area` does. But `area` repeats pixels of a picture that is
made larger, and there `bilinear` is what they do: `antialias` takes whichever of the two is closer. Mean
difference to Pillow's bilinear, in steps of 0 to 255, on four of the pictures in `examples/signs/images`
(the greatest of the four):

| shorter side | `antialias` | `area` | `bilinear` | `bicubic` | `nearest` |
|---|---|---|---|---|---|
| 300 or 320 to 256 | 0.4 | 0.4 | 0.9 | 2.1 | 7.0 |
| 300 or 320 to 64 | 2.1 | 2.1 | 7.5 | 8.8 | 14.8 |
| 300 or 320 to 512 | 0.2 | 1.4 | 0.2 | 1.5 | 4.5 |
"""


def markdown() -> str:
    """The page, from the registered presets."""
    return _HEAD + "".join(_row(name) for name in PRESETS) + _TAIL


def _row(name: str) -> str:
    settings = PRESETS[name].settings
    how = str(settings["resize"])
    if "crop_pct" in settings:
        how += f", crop_pct {settings['crop_pct']:g}"
    if "rounding" in settings:
        how += f", rounding {settings['rounding']}" + ("" if settings["resize"] == "fit" else " if `resize=fit`")
    if "pad" in settings:
        how += f", pad {settings['pad']}, {_numbers(settings['pad_value'])}"
    columns = (f"{how}, {settings['interpolation']}", settings["color"], settings["scale"])
    numbers = (_numbers(settings["mean"]), _numbers(settings["std"]))
    return f"| `{name}` | {' | '.join((PRESETS[name].models, *columns, *numbers))} |\n"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{v:g}" for v in (values[:1] if len(set(values)) == 1 else values))


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PATH
    path.write_text(markdown(), encoding="utf-8")
