"""How sure a model was at most where it finds nothing, against the softmax in numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from PIL import Image

import boxcam
from boxcam.errors import VerificationError
from boxcam.export.graphs.run import run_model
from tests.export.sources.onnx.written import BODY, MAPS, NOISE, save

HEAD = """
    n = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (fine, neck)
    m = Relu (n)
    c = Conv <kernel_shape = [1, 1]> (m, class)
    found = Conv <kernel_shape = [1, 1]> (m, box)
    classes = Constant <value_ints = [1, 5, -1]> ()
    four = Constant <value_ints = [1, 4, -1]> ()
    fc = Reshape (c, classes)
    fb = Reshape (found, four)
    turned = Transpose <perm = [0, 2, 1]> (fc)
    loc = Transpose <perm = [0, 2, 1]> (fb)
    cls = Softmax <axis = -1> (turned)
"""


@pytest.mark.filterwarnings("ignore:numbers of loc are about")  # boxes are noise
@pytest.mark.parametrize("background", ["first", "last", "none"])
def test_the_best_class_of_a_softmax_but_never_the_background(background: str, tmp_path: Path) -> None:
    text = MAPS.format(outputs="float[1, 64, 4] loc, float[1, 64, 5] cls", nodes=HEAD)
    weights = {**BODY, "neck": (8, 8, 3, 3), "class": (5, 8, 1, 1), "box": (4, 8, 1, 1)}
    path = save(tmp_path / "m.onnx", text, weights)
    options: dict[str, Any] = {
        "scores": "cls",
        "boxes": "loc",
        "box_scale": "pixels",
        "box_format": "cxcywh",
        "accept": NOISE,
        "score_activation": "none",
    }
    grey = tmp_path / "grey.png"
    Image.fromarray(np.full((64, 64, 3), 114, np.uint8)).save(grey)
    request: dict[str, Any] = {
        "preprocess": "yolo",
        "score_threshold": 0.999,
        "engine": "onnx",
        "sample": grey,
        "layers": ["image"],
    }
    with pytest.raises(VerificationError, match="no box in the sample image") as caught:
        boxcam.export(path, output=tmp_path / "b", background=background, **request, **options)
    image = np.full((1, 3, 64, 64), 114 / 255, np.float32)
    found = run_model(ir.from_proto(onnx.load(path)), {"images": image})["cls"][0]
    kept = {"first": found[:, 1:], "last": found[:, :-1], "none": None}[background]
    if kept is None:  # whether a class stands for nothing is not known
        assert "highest score" not in str(caught.value)
    else:
        assert f"(its highest score there is {kept.max():.3g})" in str(caught.value)
        assert f"a score_threshold= below {kept.max():.3g}" in str(caught.value)
