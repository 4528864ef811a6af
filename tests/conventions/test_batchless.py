"""A YOLOX with decoded boxes and no axis of a batch is read as one with it; and COCO's classes tell an objectness."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from boxcam.errors import SourceError
from boxcam.export.heads.conventions.table import CONVENTIONS
from tests.conventions.branches import heads, layout_of
from tests.conventions.files import FLOAT, Layout, Levels, write
from tests.conventions.layouts import places
from tests.conventions.reading import expected, outputs, read, same


def batchless(branch: str) -> Layout:
    def build(net: Levels) -> dict[str, int]:
        rows = net.Transpose(heads(net, branch, "exponential"), perm=[0, 2, 1])
        net.node("Squeeze", [rows, np.array([0])], name="output")
        return {"output": FLOAT}

    return replace(layout_of(branch, "exponential", "yolox"), build=build)


def batch_of(path: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    """What the file gives, as with a batch of one."""
    return {name: array[None] for name, array in outputs(path, image).items()}


@pytest.mark.parametrize("options", [{}, {"convention": "yolox"}, {"class_names": list("abc")}])
def test_without_a_batch_the_branch_tells_an_objectness(options: dict[str, object], tmp_path: Path) -> None:
    layout = batchless("box")
    path = write(layout, tmp_path / "m.onnx", 3)
    found = read(path, **options)
    assert (found.convention.name, found.convention.preset) == (CONVENTIONS["yolox"].title, ("yolox",))
    same(found.found, expected(layout, layout.truth(batch_of(path, found.image), 3)))


def test_without_a_batch_what_is_not_shown_is_asked_and_said(tmp_path: Path) -> None:
    layout = batchless("")
    path = write(layout, tmp_path / "m.onnx", 3)
    with pytest.raises(SourceError, match="is ambiguous: it can be read in 2 ways") as caught:
        read(path)
    assert set(re.findall(r'convention="([\w-]+)"', str(caught.value))) == {"yolox", "ultralytics-transposed"}
    for options in ({"convention": "yolox"}, {"class_names": list("abc")}):
        found = read(path, **options)
        assert str(found.convention.objectness) == "output[4]"
        same(found.found, expected(layout, layout.truth(batch_of(path, found.image), 3)))


def one_tower(boxes: str, entry: str) -> Layout:
    """Three layers that read the same map: the graph does not tell an objectness from one more class."""

    def build(net: Levels) -> dict[str, int]:
        levels = []
        for k in range(len(net.strides)):
            box = net.head("box", 4, k, 0.5)
            one, cls = net.head("one", 1, k, branch="box"), net.head("cls", net.classes, k, branch="box")
            joined = net.Concat(box, net.Sigmoid(one), net.Sigmoid(cls), axis=1)
            levels.append(net.Reshape(joined, np.array([1, 5 + net.classes, -1])))
        raw = net.Concat(*levels, axis=2)
        if boxes != "raw":
            grid, stride = (array.T[None].astype(np.float32) for array in places(net.strides))
            xy, wh, rest = (net.slice(raw, *ends, 1) for ends in ((0, 2), (2, 4), (4, 5 + net.classes)))
            size = net.Exp(wh) if boxes == "exponential" else net.Mul(net.Sigmoid(wh), np.float32(4))
            raw = net.Concat(net.Mul(net.Add(xy, grid), stride), net.Mul(size, stride), rest, axis=1)
        net.node("Transpose", [raw], perm=[0, 2, 1], name="output")
        return {"output": FLOAT}

    return replace(layout_of("", boxes, entry), build=build)


@pytest.mark.parametrize(
    ("boxes", "entry"), [("raw", "yolox-undecoded"), ("exponential", "yolox"), ("sigmoid", "yolov5")]
)
@pytest.mark.parametrize("classes", [80, 90, 91, 3])
def test_as_many_classes_as_coco_has_tell_an_objectness(classes: int, boxes: str, entry: str, tmp_path: Path) -> None:
    """Not where one more is a number of COCO's too, and not with names, which tell it by their number."""
    layout = one_tower(boxes, entry)
    path = write(layout, tmp_path / "m.onnx", classes)
    if classes not in (80, 91):
        with pytest.raises(SourceError, match=r"is ambiguous|nothing in the graph shows that"):
            read(path)
        return
    found = read(path)
    assert (found.convention.name, str(found.convention.objectness)) == (CONVENTIONS[entry].title, "output[4]")
    same(found.found, expected(layout, layout.truth(outputs(path, found.image), classes)))
    if boxes != "raw":
        names = [f"class {k}" for k in range(classes + 1)]
        assert read(path, class_names=names).convention.objectness is None
