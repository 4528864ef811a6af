"""What ``--preprocess`` says becomes a `Preprocess`, or a sentence."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path

import onnx_ir as ir
import pytest

from boxcam.bundle import Preprocess
from boxcam.commands.flags import with_flags
from boxcam.errors import SourceError
from boxcam.export.preprocessing.parse import parse
from tests.export.preprocessing.specs import CUSTOM, DYNAMIC, LAST, MEAN, STD, of


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


@pytest.mark.parametrize("name", ["antialias", "area or bilinear"])
def test_both_names_of_what_averages_when_it_shrinks(name: str) -> None:
    assert of("yolo", f"interpolation={name}").interpolation == "area or bilinear"
