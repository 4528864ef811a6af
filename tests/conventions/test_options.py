"""Options narrow the question, and what a refusal advises leads on: it is followed, and another outcome comes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import boxcam
from boxcam.errors import BoxcamError, BoxcamWarning, SourceError
from tests.conventions.files import FLOAT, Levels, write
from tests.conventions.layouts import LAYOUTS, only
from tests.conventions.reading import PLAIN, THRESHOLD, picture, read

EXPORT = {"preprocess": PLAIN, "engine": "onnx", "score_threshold": THRESHOLD}


def save(path: Path, build: Callable[[Levels], dict[str, int]], classes: int = 3) -> Path:
    net = Levels(classes)
    onnx.save(net.proto(build(net)), str(path))
    return path


def rows(net: Levels, value: str, name: str) -> str:
    return net.node("Transpose", [value], perm=[0, 2, 1], name=name)[0]


def two_of_each(net: Levels) -> dict[str, int]:
    """Two tensors of boxes and two of scores."""
    for name in ("old", "new"):
        rows(net, net.corners(kind=f"{name} box"), f"{name} places")
        rows(net, net.classes_of_cells(f"{name} cls"), f"{name} scores")
    return dict.fromkeys(("old places", "old scores", "new places", "new scores"), FLOAT)


def product(net: Levels) -> dict[str, int]:
    """Objectness times class, multiplied in the graph."""
    rows(net, net.corners(), "boxes")
    rows(net, net.Mul(net.classes_of_cells(), net.Sigmoid(net.joined("obj", 1, bias=2.0))), "scores")
    return {"boxes": FLOAT, "scores": FLOAT}


def offsets(net: Levels) -> dict[str, int]:
    """As raw SSD heads: offsets, logits, and the anchors as a constant output."""
    rows(net, net.joined("box", 4), "offsets")
    rows(net, net.joined("cls", net.classes), "logits")
    anchors = net.constant(np.random.default_rng(0).uniform(0, 1, (1, net.count(), 4)))
    net.node("Identity", [anchors], name="anchors")
    return {"offsets": FLOAT, "logits": FLOAT, "anchors": FLOAT}


def plugin(net: Levels) -> dict[str, int]:
    """A suppression that only TensorRT has."""
    rows(net, net.corners(), "places")
    rows(net, net.classes_of_cells(), "chances")
    names = ["num_dets", "det_boxes", "det_scores", "det_classes"]
    node = helper.make_node("FancyNMS", ["places", "chances"], names, domain="trt.plugins", name="nms")
    net.nodes.append(node)
    return dict.fromkeys(names, TensorProto.FLOAT)


def maps(net: Levels) -> dict[str, int]:
    """The maps of the heads, as they are."""
    names = [net.head(kind, channels, k) for k in range(3) for kind, channels in (("box", 64), ("cls", net.classes))]
    return dict.fromkeys(names, FLOAT)


def table(order: tuple[int, ...]) -> Callable[[Levels], dict[str, int]]:
    """A table of image, box, score and class in another order of columns."""

    def build(net: Levels) -> dict[str, int]:
        LAYOUTS["yolo-nas flat"].build(net)
        net.node("Gather", [net.nodes[-1].output[0], np.array(order)], axis=1, name="found")
        return {"found": FLOAT}

    return build


def test_one_class_with_objectness_works_as_it_is(tmp_path: Path) -> None:
    path = write(LAYOUTS["yolov5"], tmp_path / "model.onnx", 1)
    manifest = boxcam.export(path, output=tmp_path / "b", **EXPORT)
    assert [target.name for target in manifest.targets] == ["logit"]
    assert manifest.source["scores"] == "output0[5] x output0[4]"
    model = boxcam.load(tmp_path / "b", threads=1)
    found = model.detect(picture())
    net = Levels(1)
    LAYOUTS["yolov5"].build(net)
    maps_of = onnx.load(str(path))
    for name in ("all.0", "all.1", "all.2"):
        maps_of.graph.output.append(helper.make_tensor_value_info(name, FLOAT, None))
    from boxcam.runtime.preprocess import prepare
    from tests.conventions.files import outputs_of

    seen = outputs_of(maps_of, prepare(picture(), manifest.preprocess)[0])
    classes = np.concatenate([seen[f"all.{k}"][0, [5, 11]].reshape(-1) for k in range(3)])
    assert len(found) > 1
    for logit in found.logits:  # of the class, which is the last of the six numbers of an anchor
        assert np.abs(classes - logit).min() < 1e-4
    assert only(seen).shape[1] == 6


def test_a_product_of_one_class_is_explained_as_it_is_reported(tmp_path: Path) -> None:
    """By default with a note, and by the target that the note names without one."""
    path = save(tmp_path / "model.onnx", product, 1)
    with pytest.warns(BoxcamWarning, match=r"cannot be told apart .* explains the score as it is reported"):
        manifest = boxcam.export(path, output=tmp_path / "b", **EXPORT)
    again = boxcam.export(path, output=tmp_path / "c", targets=["score"], **EXPORT)
    for made in (manifest, again):
        assert [target.name for target in made.targets] == ["score"]
        assert [layer.name for layer in made.layers] == ["neck"]
    model = boxcam.load(tmp_path / "c", threads=1)
    assert len(boxcam.explain(model, picture(), target="score")) > 1
    with pytest.raises(BoxcamError, match='Use targets="score"'):
        boxcam.export(path, output=tmp_path / "d", targets=["logit", "x1"], **EXPORT)


def test_what_is_named_is_only_that_part(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", two_of_each)
    with pytest.raises(
        SourceError, match=r"the scores may be old scores or new scores\. Pass the right one with scores="
    ):
        read(path)
    with pytest.raises(
        SourceError, match=r"the boxes may be old places or new places\. Pass the right one with boxes="
    ):
        read(path, scores="new scores")
    with pytest.raises(
        SourceError, match=r"the scores may be old scores or new scores\. Pass the right one with scores="
    ):
        read(path, boxes="new places")
    found = read(path, scores="new scores", boxes="old places").convention
    assert (str(found.scores), str(found.boxes)) == ("new scores", "old places")


def test_names_of_classes_never_decide_by_their_number(tmp_path: Path) -> None:
    """Four classes after the box, and three names: it is not YOLOv5's objectness and three classes."""
    path = write(LAYOUTS["ultralytics transposed"], tmp_path / "model.onnx", 4)
    with pytest.raises(SourceError, match=r"convention=.ultralytics-transposed. or convention=.yolov5."):
        read(path, class_names=["a", "b", "c"])
    assert read(path, class_names=list("abcd")).convention.sizes[1] == 4
    keypoints = write(LAYOUTS["pose"], tmp_path / "pose.onnx", 1)
    with pytest.raises(SourceError, match="there are 52 class names, but"):
        read(keypoints, class_names=[f"point {k}" for k in range(52)])


def test_constants_are_no_boxes_and_offsets_are_asked_about(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", offsets)
    with pytest.raises(
        SourceError, match=r"the scores logits .* are logits: are they meant for a sigmoid or a softmax"
    ):
        read(path)  # offsets, which the anchors decode
    with pytest.raises(SourceError, match=r"anchors .* no scores that go with it were found. Pass them with scores="):
        read(path, boxes="anchors")


def decode(op: Any, outputs: Any) -> Any:
    return outputs["places"], outputs["chances"]


def test_names_and_functions_come_before_plugins(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", plugin)
    with pytest.raises(SourceError, match=r"trt.plugins::FancyNMS .*Pass scores= and boxes= .*\(places, chances\)"):
        read(path)
    wanted = read(path, scores="chances", boxes="places")
    assert str(wanted.convention.scores) == "chances"
    found = read(path, decode=decode)
    assert len(found.found[1]) > 1
    for one, other in zip(wanted.found, found.found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_maps_are_decoded_by_a_function(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"at each of its levels.*decode=.*box.0 float32 \[1, 64, 8, 12\] from "):
        read(save(tmp_path / "model.onnx", maps))


ORDER = ("image", "x1", "y1", "x2", "y2", "score", "class")


@pytest.mark.parametrize(
    "order", [(0, 6, 5, 1, 2, 3, 4), (6, 1, 2, 3, 4, 5, 0), (5, 4, 3, 2, 1, 0, 6), (0, 5, 1, 2, 3, 4, 6)]
)
def test_a_table_in_any_order(order: tuple[int, ...], tmp_path: Path) -> None:
    """By the names of its columns, whichever way they come; boxes whose sides are not in order too."""
    path = save(tmp_path / "model.onnx", table(order))
    plain = save(tmp_path / "plain.onnx", LAYOUTS["yolo-nas flat"].build)
    names = ",".join(ORDER[k] for k in order)
    found, wanted = read(path, columns=names).found, read(plain).found
    assert len(wanted[1]) > 1
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    read(path, columns=names.replace("image", "skip"))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("a,b", "columns= has 'a', which is not one of: score, class"),
        ("image,class,x1,y1,x2,y2,skip", r"columns= names no score\. Pass score, class \(if"),
        ("image,class,score,x1,y1,x2,skip", "columns= names no box"),
        ("class,class,score,x1,y1,x2,y2", "columns= names 'class' more than once"),
        ("class,score,x1,y1,x2,y2", r"columns= names 6 columns, and there is no table \[K, 6\]"),
    ],
)
def test_columns_that_are_no_table(columns: str, words: str, tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", table(tuple(range(7))))
    with pytest.raises(SourceError, match=words):
        read(path, columns=columns)


ADVICE: dict[str, tuple[Callable[[Levels], dict[str, int]], dict[str, Any], dict[str, Any]]] = {
    "two of each": (two_of_each, {}, {"scores": "new scores", "boxes": "new places"}),
    "offsets": (offsets, {}, {"decode": lambda op, o: (o["offsets"], op.Sigmoid(o["logits"]))}),
    "plugin": (plugin, {}, {"scores": "chances", "boxes": "places", "decode": decode}),
    "maps": (maps, {}, {"decode": lambda op, o: (_ for _ in ()).throw(RuntimeError("called"))}),
    "table": (table((6, 1, 2, 3, 4, 5, 0)), {}, {"columns": "class,x1,y1,x2,y2,score,image"}),
    "logits": (lambda net: _logits(net), {}, {}),
    "raw": (lambda net: _raw(net), {}, {}),
    "names": (lambda net: _raw(net), {"class_names": list("ab")}, {"class_names": list("abcde")}),
}
"""Files that are refused, options, and what stands for advice whose value the message cannot know."""


def _logits(net: Levels) -> dict[str, int]:
    rows(net, net.corners(), "boxes")
    rows(net, net.joined("cls", net.classes), "scores")
    return {"boxes": FLOAT, "scores": FLOAT}


def _raw(net: Levels) -> dict[str, int]:
    """Boxes and numbers of one layer, of which nothing tells what they are."""
    rows(net, net.joined("all", 9), "out")
    return {"out": FLOAT}


def advised(message: str, known: dict[str, Any]) -> list[dict[str, Any]]:
    """The options that a message says to pass."""
    found: list[dict[str, Any]] = [{name: value} for name, value in re.findall(r'(\w+)="([^"]+)"', message)]
    names = [name for name in re.findall(r"(\w+)=(?=[\s.,;:)]|$)", message) if name in known]
    pairs = {name: known[name] for name in names if name in ("scores", "boxes")}
    return found + [{name: known[name]} for name in names if name not in pairs] + ([pairs] if pairs else [])


@pytest.mark.parametrize("case", ADVICE)
def test_each_advice_leads_on(case: str, tmp_path: Path) -> None:
    """Followed, it brings another outcome than the sentence that it stands in."""
    build, options, known = ADVICE[case]
    path = save(tmp_path / "model.onnx", build)
    with pytest.raises(BoxcamError) as caught:
        read(path, **options)
    message = str(caught.value)
    ways = advised(message, known)
    assert ways, message
    for way in ways:
        assert outcome(path, {**options, **way}) != message, way


def outcome(path: Path, options: dict[str, Any]) -> str:
    """What is said of a file, or what it is read as."""
    try:
        return read(path, **options).convention.name
    except BoxcamError as error:
        return str(error)
