"""What `boxcam inspect` says of an input."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import pytest

from boxcam.bundle import Form, Gradient, Layer, Preprocess
from boxcam.errors import BundleError
from boxcam.inspection import _layer, _preprocess, check_bundle

SPEC = Preprocess(64, 96, 60, 90, "fit", "top-left", (0, 0, 0), False, (1, 2.5, 3), (4, 5, 6), "RGB")


def test_how_an_image_becomes_the_input() -> None:
    tail = "; RGB, mean 1, 2.5, 3, std 4, 5, 6"
    assert _preprocess(SPEC) == (
        f"fit the image into 60x90 keeping its ratio (bilinear), pad it below and to the right to 64x96{tail}"
    )
    stretched = dataclasses.replace(SPEC, resize="stretch", pad_to="center", dtype="float16")
    assert _preprocess(stretched) == (
        f"fit the image into 60x90 stretching it (bilinear), pad it all around to 64x96{tail}; NCHW, float16"
    )
    cut = dataclasses.replace(SPEC, resize="cover", pad_to="center", fit_height=73, fit_width=110, layout="NHWC")
    assert _preprocess(cut) == (
        f"resize the image to cover 73x110 (bilinear), crop 64x96 out of the middle{tail}; NHWC, float32"
    )


def test_an_upright_image_is_fitted_into_the_size_turned() -> None:
    tail = "pad it below and to the right to sides that are multiples of 32: each image has its own size; RGB,"
    for height, width in ((60, 90), (90, 60)):
        own = dataclasses.replace(SPEC, multiple=32, height=96, width=96, fit_height=height, fit_width=width)
        said = _preprocess(own)
        assert said.startswith(f"fit the image into 60x90, or 90x60 if it is upright (bilinear), {tail}")
    square = dataclasses.replace(SPEC, multiple=32, height=96, width=96, fit_height=90, fit_width=90)
    assert _preprocess(square).startswith(f"fit the image into 90x90 (bilinear), {tail}")


@pytest.mark.parametrize(
    ("form", "kind", "one", "said"),
    [
        ("rows", "roi", "box", "rows: each box depends on its proposal's own features"),
        ("rows", "map", "box", "rows: each box depends on one row, which is the whole map"),
        ("rows", "map", "class", "rows: each class depends on one row, which is the whole map"),
        ("windows", "map", "class", "windows: each class depends on a window of cells"),
        ("whole", "map", "class", "whole map (Softmax)"),
    ],
)
def test_what_a_gradient_is_carried_in(form: Form, kind: Literal["map", "roi"], one: str, said: str) -> None:
    reason = "Softmax" if form == "whole" else ""
    gradient = Gradient("onnx", "logit", "plain", "g.onnx", form, reason, (), 8)
    assert list(_layer(Layer("last", kind, (), (gradient,)), False, one)) == ["layer last", f"  onnx          {said}"]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("net.pth", r"boxcam export CONFIG.py {0}; .*boxcam export torchvision:NAME {0}; .*torch\.onnx\.export"),
        ("yolo.pt", r"yolo export model={0} format=onnx"),
        ("config.py", r"boxcam export {0} CHECKPOINT\.pth"),
        ("model.pdmodel", "paddle2onnx, and then: boxcam inspect"),
        ("saved_model.pb", "tf2onnx, and then: boxcam inspect"),
        ("model.onnx", "'boxcam inspect {0}' prints the command that exports it"),
        (
            "notes.txt",
            r"{0} is not a bundle: .* Make one with 'boxcam export'\. .*\(\.onnx\)",
        ),
        (
            "cat.jpg",
            r"{0} is not a bundle: .* Make one with 'boxcam export'\. .*\(\.onnx\)",
        ),
    ],
)
def test_what_is_no_bundle_is_told_how_to_become_one(name: str, advice: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.touch()
    with pytest.raises(BundleError, match=advice.format(path)):
        check_bundle(path)


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"it has no manifest\.json\. Make one with 'boxcam export'"):
        check_bundle(tmp_path)
    (tmp_path / "model.onnx").touch()
    with pytest.raises(
        BundleError, match=rf"It contains {tmp_path}/model\.onnx\. 'boxcam inspect {tmp_path}/model.onnx' prints"
    ):
        check_bundle(tmp_path)


def test_a_model_of_torchvision_is_exported_by_name() -> None:
    with pytest.raises(BundleError, match=r"boxcam export torchvision:ssd300_vgg16 WEIGHTS\.pth"):
        check_bundle("torchvision:ssd300_vgg16")
