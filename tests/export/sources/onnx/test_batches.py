"""Names of axes, and several images at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxcam.errors import SourceError
from tests.export.sources.onnx.plain import (
    CHANNELS,
    CLASSES,
    IMAGE,
    SIZE,
    Plain,
    check,
    export,
    outputs,
    tensor,
)
from tests.messages import check_message

LAYOUTS: dict[str, tuple[list[Any], bool]] = {
    "names of channels": (["batch", "channels", "height", "width"], False),
    "camel case": (["batchSize", "numChannels", "imageHeight", "imageWidth"], False),
    "letters": (["N", "C", "H", "W"], False),
    "letters, colours last": (["n", "h", "w", "c"], True),
    "sides only": (["a", "b", "input_height", "input_width"], False),
    "colours last": (["batch_size", "height", "width", "rgb"], True),
    "minus one": ([-1, 3, SIZE, SIZE], False),
    "minus one everywhere": ([-1, 3, -1, -1], False),
    "no names": ([None, 3, None, None], False),
    "zero": ([0, 3, SIZE, SIZE], False),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_the_layout_is_read_off_the_names_of_the_axes(case: str, tmp_path: Path) -> None:
    shape, last = LAYOUTS[case]
    net = Plain(shape, last=last)
    net.logits()
    model = export(net.save(tmp_path / "m.onnx"), shape=(SIZE, SIZE))
    assert model.manifest.preprocess.layout == ("NHWC" if last else "NCHW")
    check(model, tensor(IMAGE), net, IMAGE)


@pytest.mark.parametrize("shape", [("n", "a", "b", "c"), ("n", "channels", "width", "channels")])
def test_names_that_do_not_tell_are_asked_for(shape: tuple[str, ...], tmp_path: Path) -> None:
    net = Plain(shape)
    net.logits()
    with pytest.raises(SourceError, match="does not tell which axis holds the colours") as caught:
        export(net.save(tmp_path / "m.onnx"), shape=(SIZE, SIZE))
    check_message(str(caught.value))
    model = export(net.save(tmp_path / "m.onnx"), shape=(SIZE, SIZE), preprocess=(*PRE, "layout=NCHW"))
    check(model, tensor(IMAGE), net, IMAGE)


PRE = ("resize=stretch", "scale=0-1", "color=RGB")
BATCHES: dict[str, Callable[[Plain, str], str]] = {
    "plain": lambda net, found: net.node(
        "MatMul", [net.Flatten(net.GlobalAveragePool(found)), net.matrix], name="logits"
    )[0],
    "reshaped with the batch": lambda net, found: net.node(
        "MatMul", [net.Reshape(net.GlobalAveragePool(found), np.array([4, CHANNELS])), net.matrix], name="logits"
    )[0],
    "the batch in the middle": lambda net, found: net.node(
        "MatMul",
        [
            net.ReduceMean(
                net.Transpose(  # [cells, batch, channels], with the batch in the target of a Reshape
                    net.Reshape(
                        net.Transpose(net.Reshape(found, np.array([4, CHANNELS, 64])), perm=[2, 0, 1]),
                        np.array([64, 4 * 2, CHANNELS // 2]),
                    ),
                    perm=[1, 2, 0],
                ),
                np.array([2]),
                keepdims=0,
            ),
            np.zeros((CHANNELS // 2, CHANNELS)),
        ],
    )[0],
    "a constant of each image": lambda net, found: net.node(
        "MatMul",
        [
            net.Flatten(net.GlobalAveragePool(net.Add(found, np.zeros((4, CHANNELS, 1, 1))))),
            net.matrix,
        ],
        name="logits",
    )[0],
    "resized with the batch": lambda net, found: net.node(
        "MatMul",
        [
            net.Flatten(
                net.GlobalAveragePool(
                    net.node(
                        "Resize",
                        [found, None, None, np.array([4, CHANNELS, 16, 16])],
                        mode="nearest",
                        coordinate_transformation_mode="asymmetric",
                        nearest_mode="floor",
                    )[0]
                )
            ),
            net.matrix,
        ],
        name="logits",
    )[0],
}


@pytest.mark.parametrize("case", [name for name in BATCHES if "middle" not in name])
def test_of_a_fixed_batch_the_first_image_is_explained(case: str, tmp_path: Path) -> None:
    net = Plain((4, 3, SIZE, SIZE))
    BATCHES[case](net, net.map())
    path = net.save(tmp_path / "m.onnx")
    (logits,) = outputs(path, image=np.repeat(tensor(IMAGE), 4, axis=0))
    assert logits.shape == (4, CLASSES)
    model = export(path, layers=["seen"])
    explanation = check(model, tensor(IMAGE), net, IMAGE)
    assert explanation.detections.logits[0] == pytest.approx(logits[0].max(), rel=1e-5)
    assert model.manifest.source["inputs"] == "images at once=4"


def test_a_batch_that_is_split_into_heads_is_one_image_too(tmp_path: Path) -> None:
    net = Plain((4, 3, SIZE, SIZE))
    found = net.map()
    cells = net.Transpose(net.Reshape(found, np.array([4, CHANNELS, 64])), perm=[2, 0, 1])  # [cells, batch, channels]
    heads = net.Reshape(cells, np.array([64, 8, CHANNELS // 2]))
    back = net.Reshape(heads, np.array([64, 4, CHANNELS]))
    net.node("MatMul", [net.ReduceMean(back, np.array([0]), keepdims=0), net.matrix], name="logits")
    model = export(net.save(tmp_path / "m.onnx"), layers=["seen"])
    check(model, tensor(IMAGE), net, IMAGE)
