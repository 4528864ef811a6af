"""Files that suppress or decode in the graph, and those that leave it to the user: read, or the way out is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from boxcam.errors import SourceError
from boxcam.export.heads.conventions.table import CONVENTIONS
from boxcam.export.preprocessing.guess import guess
from boxcam.export.source import Request
from boxcam.export.sources.onnx import opened as opening
from tests.conventions import in_graph
from tests.conventions.files import FLOAT, Layout, Levels, Truth, outputs_of, rename, write
from tests.conventions.further import FURTHER, priors
from tests.conventions.layouts import LAYOUTS
from tests.conventions.reading import PLAIN, expected, outputs, read, same
from tests.messages import check_message


def save(path: Path, build: Callable[[Levels], dict[str, int]], classes: int = 3, strip: bool = False) -> Path:
    net = Levels(classes)
    made = build(net)
    proto = net.proto(made)
    if strip:
        rename(proto, {name: f"tensor_{number}" for number, name in enumerate(made)})
    if any(node.domain for node in proto.graph.node):
        proto.opset_import.append(onnx.helper.make_opsetid("TRT", 1))
    onnx.save(proto, str(path))
    return path


def suppressed(truth: Truth, **options: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is left of candidates of which every class counts."""
    layout = Layout("", lambda net: {}, lambda given, classes: truth, single=False, **options)
    return expected(layout, truth)


@pytest.mark.parametrize("classes", [1, 2, 3, 80])
@pytest.mark.parametrize("strip", [False, True])
def test_a_yolov7_with_tensorrts_plugin(classes: int, strip: bool, tmp_path: Path) -> None:
    """By numpy: what the plugin reads, suppressed class by class."""
    path = save(tmp_path / "m.onnx", in_graph.yolov7_for_tensorrt, classes, strip)
    found = read(path)
    assert found.convention.name == CONVENTIONS["torchvision"].title
    net = Levels(classes)
    in_graph.raw_yolov7(net)
    raw = outputs_of(net.proto({"raw": FLOAT}), found.image)["raw"]
    wanted = suppressed(in_graph.yolov7_truth(raw), iou=in_graph.IOU)
    same(found.found, tuple(part[: in_graph.MOST] for part in wanted))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"background": "first"}, {"boxes": "loc", "scores": "conf"}])
def test_a_retinaface_without_its_priors_asks_for_its_decoding(options: dict[str, str], tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", in_graph.retinaface)
    with pytest.raises(SourceError, match=r"the boxes loc \[1, \d+, 4\] are offsets from anchors .*decode=") as caught:
        read(path, **options)
    check_message(str(caught.value))
    prior = priors(Levels(3))[None]

    def decode(op: Any, given: Any) -> Any:
        """The way out: a function that has the priors."""
        xy, wh = (op.Slice(given["loc"], [first], [first + 2], [2]) for first in (0, 2))
        centre = op.Add(op.Mul(xy, np.float32(0.1) * prior[..., 2:]), prior[..., :2])
        half = op.Mul(op.Exp(op.Mul(wh, np.float32(0.2))), prior[..., 2:] / 2)
        boxes = op.Concat(op.Sub(centre, half), op.Add(centre, half), axis=2)
        whole = np.array([96, 64, 96, 64], np.float32)
        return op.Mul(boxes, whole), op.Slice(given["conf"], [1], [2], [2])

    found = read(path, decode=decode, nms_threshold=0.5)
    raw = outputs(path, found.image)
    boxes = in_graph.decode_offsets(raw["loc"][0], prior[0])
    same(found.found, suppressed(Truth(boxes, raw["conf"][0][:, 1:]), iou=0.5))


@pytest.mark.parametrize("strip", [False, True])
def test_a_retinaface_that_decodes_is_read_whatever_points_it_has(strip: bool, tmp_path: Path) -> None:
    """Which of the two scores is that of a face no graph tells: that is asked for, and nothing else."""
    path = save(tmp_path / "m.onnx", in_graph.retinaface_decoded, strip=strip)
    with pytest.raises(SourceError, match=r"of a softmax, .* background=.first., background=.last. or") as caught:
        read(path)
    check_message(str(caught.value))
    found = read(path, background="first")
    raw = dict(zip(("loc", "conf", "landms"), outputs(path, found.image).values(), strict=True))
    same(found.found, suppressed(in_graph.retinaface_truth(raw), iou=0.5))


@pytest.mark.parametrize("name", ["centernet, probabilities", "centernet, logits"])
def test_maps_of_a_centernet_are_known_by_their_names_alone(name: str, tmp_path: Path) -> None:
    path = write(FURTHER[name], tmp_path / "named.onnx")
    assert read(path).convention.name == CONVENTIONS["centernet"].title
    path = write(FURTHER[name], tmp_path / "m.onnx", strip=True)
    with pytest.raises(SourceError, match=r"what a detector's head computes, before .* with decode=") as caught:
        read(path)
    check_message(str(caught.value))


def test_names_of_a_centernet_with_other_maps_are_not_enough(tmp_path: Path) -> None:
    """Sizes of each class apart, as of ``cat_spec_wh``: two maps for each class."""

    def build(net: Levels) -> dict[str, int]:
        for name, channels in (("hm", 3), ("wh", 6), ("reg", 2)):
            net.node("Identity", [net.head(name, channels, 0)], name=name)
        return dict.fromkeys(("hm", "wh", "reg"), FLOAT)

    with pytest.raises(SourceError, match=r"before boxes and scores are made of it.* decode="):
        read(save(tmp_path / "m.onnx", build))


NAS = {
    ((640, 640), False): ("yolo", "fit=636x636"),
    ((640, 640), True): ("yolo", "fit=636x636", "scale=0-255"),
    ((64, 96), False): ("yolo",),
    ((64, 96), True): ("yolo", "scale=0-255"),
}


@pytest.mark.parametrize("name", ["yolo-nas flat", "yolo-nas batch"])
@pytest.mark.parametrize(("size", "pixels"), NAS)
def test_the_preset_of_a_yolo_nas(name: str, size: tuple[int, int], pixels: bool, tmp_path: Path) -> None:
    """The picture in 636 of 640, on grey; an input of uint8 has the pixels as they are."""
    path = write(LAYOUTS[name], tmp_path / "m.onnx")
    opened = opening.read(Request((str(path),), preprocess=PLAIN, score_threshold=0.3))
    found = read(path).convention
    spec = replace(opened.preprocess, height=size[0], width=size[1], fit_height=size[0], fit_width=size[1])
    spec = replace(spec, std=(1.0,) * 3, dtype="uint8" if pixels else "float32")
    guessed = guess(opened.image, spec, found, "")
    assert guessed is not None
    assert guessed.specs == NAS[size, pixels]
