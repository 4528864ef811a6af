"""Further inputs: what a file, numbers or an array fixes them to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import TensorProto

import boxcam
from boxcam.cli import main
from boxcam.errors import SourceError
from tests.export.sources.onnx.plain import (
    CHANNELS,
    IMAGE,
    SIZE,
    Plain,
    check,
    export,
    pixels,
    tensor,
)
from tests.export.sources.onnx.prompted import prompted
from tests.messages import check_message


def test_embeddings_are_fixed_by_a_file(tmp_path: Path) -> None:
    net = prompted(tmp_path / "m.onnx")
    with pytest.raises(
        SourceError, match=r"several inputs that may be the image: .*words .1, 8, 6.\. Fix all but"
    ) as caught:
        export(tmp_path / "m.onnx")
    check_message(str(caught.value))
    net.matrix = np.random.default_rng(5).normal(0, 2, (CHANNELS, 8)).astype(np.float32)
    np.save(tmp_path / "words.npy", net.matrix.T[None])
    model = export(tmp_path / "m.onnx", inputs=[f"words={tmp_path / 'words.npy'}"])
    check(model, tensor(IMAGE), net, IMAGE)
    assert model.manifest.source["inputs"] == "words=words.npy"
    check(export(tmp_path / "m.onnx", inputs={"words": net.matrix.T[None]}, overwrite=True), tensor(IMAGE), net, IMAGE)


def test_the_command_line_takes_inputs_too(tmp_path: Path) -> None:
    net = prompted(tmp_path / "m.onnx")
    net.matrix = np.random.default_rng(5).normal(0, 2, (CHANNELS, 8)).astype(np.float32)
    np.save(tmp_path / "words.npy", net.matrix.T[None])
    words = [
        str(tmp_path / "m.onnx"),
        "--preprocess",
        "resize=stretch",
        "--preprocess",
        "scale=0-1",
        "--preprocess",
        "color=RGB",
    ]
    done = CliRunner().invoke(main, ["inspect", *words])
    assert done.exit_code == 1
    assert re.search(r"Fix all but the image with --input, such as --input words=words\.npy\.", done.output)
    given = ["--input", f"words={tmp_path / 'words.npy'}"]
    done = CliRunner().invoke(main, ["inspect", *words, *given])
    assert done.exit_code == 0, done.output
    assert f"--input words={tmp_path / 'words.npy'}" in done.output
    done = CliRunner().invoke(main, ["export", *words, *given, "-o", str(tmp_path / "c.boxcam"), "-q"])
    assert done.exit_code == 0, done.output
    check(boxcam.load(tmp_path / "c.boxcam"), tensor(IMAGE), net, IMAGE)


def test_of_two_images_one_is_explained(tmp_path: Path) -> None:
    """The second image is its tensor, as the model takes it; here the map is that of the difference."""
    net = Plain((1, 3, SIZE, SIZE))
    net.input("before", (1, 3, SIZE, SIZE))
    net.logits(net.map(net.Sub("image", "before")))
    before = tensor(pixels(seed=9))
    np.save(tmp_path / "before.npy", before)
    model = export(net.save(tmp_path / "m.onnx"), inputs=[f"before={tmp_path / 'before.npy'}"])
    check(model, tensor(IMAGE) - before, net, IMAGE)


@pytest.mark.parametrize(("value", "expected"), [("0.5", [0.5] * 3), ("1,0.25,0", [1, 0.25, 0])])
def test_numbers_fill_an_input(value: str, expected: list[float], tmp_path: Path) -> None:
    net = Plain((1, 3, SIZE, SIZE))
    net.input("factors", (1, 3, 1, 1))
    net.logits(net.map(net.Mul("image", "factors")))
    given = tensor(IMAGE) * np.float32(expected).reshape(1, 3, 1, 1)
    model = export(net.save(tmp_path / "m.onnx"), inputs={"factors": value})
    check(model, given, net, IMAGE)


def test_the_size_and_a_mask_can_be_given_too(tmp_path: Path) -> None:
    """Inputs that boxcam knows have a value of its own, which what is given overrides."""
    net = Plain((1, 3, SIZE, SIZE))
    net.input("orig_target_sizes", (1, 2), TensorProto.INT64)
    net.input("pixel_mask", ("batch", SIZE, SIZE), TensorProto.INT64)
    scale = net.ReduceMax(net.Cast("orig_target_sizes", to=TensorProto.FLOAT), np.array([1]))
    seen = net.Mul("image", net.Unsqueeze(net.Cast("pixel_mask", to=TensorProto.FLOAT), np.array([1])))
    net.logits(net.map(net.Mul(seen, net.Div(scale, np.float32(SIZE)))))
    path = net.save(tmp_path / "m.onnx")
    check(export(path), tensor(IMAGE), net, IMAGE)
    mask = np.ones((1, SIZE, SIZE), np.int64)
    mask[:, 20:] = 0
    model = export(path, inputs={"pixel_mask": mask, "orig_target_sizes": "64,16"}, overwrite=True)
    check(model, tensor(IMAGE) * mask[:, None].astype(np.float32) * 2, net, IMAGE)


REFUSED: dict[str, tuple[Any, str]] = {
    "no such input": (
        ["word=1"],
        r"no input 'word'. Its inputs are: image \[\?, 3, 32, 32\], words \[1, 8, 6\]\. Pass",
    ),
    "no value": (["words"], "'words' is not NAME=VALUE or NAME=FILE.npy. Pass"),
    "too few numbers": (
        ["words=1,2"],
        r"2 numbers do not fill the input words \[1, 8, 6\]\. Pass 48 of them, one for all",
    ),
    "no numbers": (["words=some text"], "'some text' for the input words is neither numbers, as 640,480, nor the file"),
    "another shape": (
        {"words": np.zeros((1, 8, 5), np.float32)},
        r"the shape \[1, 8, 5\], and the input is words \[1, 8, 6\]",
    ),
    "another rank": ({"words": np.zeros((8, 6), np.float32)}, r"the shape \[8, 6\], and the input is words"),
    "another type": ({"words": np.zeros((1, 8, 6))}, r"is float64, and the input words .* is float32. Convert it with"),
    "no file": (["words=nowhere.npy"], "nowhere.npy does not exist. Check the path"),
    "twice": (["words=1", "words=2"], "the input 'words' is given twice"),
    "the image too": (["words=1", "image=1"], "every input of the model is given .* none is left for the image"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_values_that_do_not_fit_are_refused(case: str, tmp_path: Path) -> None:
    given, message = REFUSED[case]
    prompted(tmp_path / "m.onnx")
    with pytest.raises(SourceError, match=message) as caught:
        export(tmp_path / "m.onnx", inputs=given)
    check_message(str(caught.value))


@pytest.mark.parametrize("value", ["1.5", "-1", "256", "nan"])
def test_whole_numbers_are_checked(value: str, tmp_path: Path) -> None:
    prompted(tmp_path / "m.onnx", kind=TensorProto.UINT8)
    with pytest.raises(SourceError, match=rf"{value} is not a value of the input words, which is uint8"):
        export(tmp_path / "m.onnx", inputs=[f"words={value}"])


def test_a_file_that_is_no_array_is_refused(tmp_path: Path) -> None:
    prompted(tmp_path / "m.onnx")
    (tmp_path / "words.npy").write_bytes(b"\x93NUMPY\x01\x00cut off")
    with pytest.raises(SourceError, match=r"is not a file of one array, as numpy\.save writes it"):
        export(tmp_path / "m.onnx", inputs=[f"words={tmp_path / 'words.npy'}"])
