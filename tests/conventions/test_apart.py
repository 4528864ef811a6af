"""Tensors of their own for boxes, scores, classes and objectness; and what is no table, no classifier and no column."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from boxcam.errors import BoxcamWarning, SourceError
from boxcam.export.heads.conventions.table import CONVENTIONS
from tests.conventions.apart import APART, dense, labelled
from tests.conventions.files import FLOAT, INT64, Layout, Levels, write
from tests.conventions.layouts import WHOLE, _suppressed
from tests.conventions.reading import expected, outputs, read, same

CASES = [(name, classes) for name, layout in APART.items() for classes in layout.counts]


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_it_is_read_as_published(name: str, classes: int, tmp_path: Path) -> None:
    """With the metadata of a file, without it, and with outputs whose names tell nothing."""
    layout = APART[name]
    for written in ("metadata", "plain", "stripped"):
        names, strip = written == "metadata", written == "stripped"
        path = write(layout, tmp_path / "model.onnx", classes, names=names, strip=strip)
        found = read(path, **(layout.stripped if strip and classes == 1 else {}))
        assert found.convention.name == CONVENTIONS[layout.entry].title
        same(found.found, expected(layout, layout.truth(outputs(path, found.image), classes)))


def save(path: Path, build: Callable[[Levels], dict[str, int]], classes: int = 3) -> Path:
    net = Levels(classes)
    onnx.save(net.proto(build(net)), str(path))
    return path


def test_what_nothing_selected_may_be_suppressed_by_the_users_limit(tmp_path: Path) -> None:
    """And what the model selected may not."""
    for chosen in (False, True):
        layout = Layout(
            "torchvision",
            labelled(chosen=chosen, batch=True, column=False, real=False),
            lambda o, c: None,
            iou=0.7,  # type: ignore[arg-type, return-value]
        )
        path = write(layout, tmp_path / "m.onnx", 3)
        if chosen:
            with pytest.raises(SourceError, match="nms_threshold= has no meaning here: the model selects"):
                read(path, nms_threshold=0.7)
            continue
        found = read(path, nms_threshold=0.7)
        truth = APART["labels, all, batch, flat, integers"].truth(outputs(path, found.image), 3)
        same(found.found, expected(layout, truth))


def test_which_of_two_probabilities_is_the_class_is_asked_for_and_taken_as_said(tmp_path: Path) -> None:
    layout = APART["obj apart"]
    path = write(layout, tmp_path / "m.onnx", 1, strip=True)
    with pytest.raises(
        SourceError, match=r"the scores may be tensor_[12] or tensor_[12]\. Pass the right one with sco"
    ):
        read(path)
    for scores, other in (("tensor_1", "tensor_2"), ("tensor_2", "tensor_1")):
        found = read(path, scores=scores)
        assert (str(found.convention.scores), str(found.convention.objectness)) == (scores, other)
        same(found.found, expected(layout, layout.truth(outputs(path, found.image), 1)))


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    """Also a further number of each row which is no probability."""

    def build(net: Levels) -> dict[str, int]:
        for name, value in zip(("boxes", "scores"), dense(net), strict=True):
            net.node("Identity", [value], name=name)
        net.node("Transpose", [net.joined("depth", 1)], perm=[0, 2, 1], name="depth")
        return dict.fromkeys(("boxes", "scores", "depth"), FLOAT)

    path = save(tmp_path / "m.onnx", build)
    assert read(path, scores="scores").convention.describe()["left out"] == "depth [1, 126, 1]"
    path = write(APART["obj apart"], tmp_path / "m.onnx", 3)
    with pytest.warns(BoxcamWarning, match='Pass convention="boxes-scores-and-objectness" if'):
        found = read(path, convention="boxes-and-scores", scores="cls")
    assert found.convention.describe()["left out"] == "obj [1, 126, 1]"


def pooled(net: Levels, count: int, scale: float = 1.0) -> str:
    features = net.Reshape(net.ReduceMean(net.necks[-1], axes=[2, 3], keepdims=1), np.array([1, 8]))
    weight = net.random.normal(0, scale, (8, count)).astype(np.float32)
    return net.Add(net.MatMul(features, weight), net.random.normal(0, scale, count).astype(np.float32))


def quantized(count: int) -> Callable[[Levels], dict[str, int]]:
    def build(net: Levels) -> dict[str, int]:
        step, zero = np.float32(1 / 256), np.array(0, np.uint8)
        found = net.QuantizeLinear(net.Softmax(pooled(net, count, 5.0), axis=1), step, zero)
        net.node("DequantizeLinear", [found, step, zero], name="scores")
        return {"scores": FLOAT}

    return build


def saturated(count: int) -> Callable[[Levels], dict[str, int]]:
    def build(net: Levels) -> dict[str, int]:
        net.node("Softmax", [pooled(net, count, 120.0)], axis=1, name="scores")
        return {"scores": FLOAT}

    return build


def without_batch(count: int) -> Callable[[Levels], dict[str, int]]:
    def build(net: Levels) -> dict[str, int]:
        net.node("Squeeze", [net.Softmax(pooled(net, count), axis=1), np.array([0])], name="scores")
        return {"scores": FLOAT}

    return build


@pytest.mark.parametrize("count", [2, 6, 7, 10, 128, 1000])
@pytest.mark.parametrize("build", [quantized, saturated, without_batch])
def test_one_row_of_probabilities_is_a_classifier(
    build: Callable[[int], Callable[[Levels], dict[str, int]]], count: int, tmp_path: Path
) -> None:
    """However many of them are 0 and 1."""
    path = save(tmp_path / "m.onnx", build(count))
    found = read(path, score_threshold=0)
    assert found.convention.kind == "classes"
    (scores,) = outputs(path, found.image).values()
    assert sorted(found.found[2]) == list(range(count))
    assert np.allclose(found.found[1], scores.reshape(-1)[found.found[2]], atol=1e-6)


def test_a_feature_behind_a_relu_is_no_table_and_no_classifier(tmp_path: Path) -> None:
    def build(net: Levels) -> dict[str, int]:
        net.node("Relu", [pooled(net, 128)], name="feature")
        return {"feature": FLOAT}

    path = save(tmp_path / "m.onnx", build)
    with pytest.raises(SourceError, match=r'feature \[1, 128\] may be a score for each class.*convention="classifier"'):
        read(path)
    assert read(path, convention="classifier").convention.kind == "classes"


@pytest.mark.parametrize("rank", [2, 3])
def test_a_table_of_one_detection_is_a_table(rank: int, tmp_path: Path) -> None:
    def build(net: Levels) -> dict[str, int]:
        boxes, scores, labels = _suppressed(net)
        score, order = net.node("TopK", [scores, np.array([1])], 2)
        label = net.Cast(net.Gather(labels, order, axis=0), to=FLOAT)
        parts = [net.Gather(boxes, order, axis=0), *(net.Unsqueeze(v, np.array([1])) for v in (score, label))]
        table = net.Concat(*parts, axis=1)
        net.node(*(("Identity", [table]) if rank == 2 else ("Unsqueeze", [table, np.array([0])])), name="table")
        return {"table": FLOAT}

    path = save(tmp_path / "m.onnx", build)
    found = read(path)
    row = outputs(path, found.image)["table"].reshape(-1)
    assert found.convention.kind == "selected"
    assert np.allclose(found.found[0][0], row[:4]) and found.found[2][0] == row[5]  # noqa: PT018


def test_a_score_beside_its_boxes_is_no_classifier(tmp_path: Path) -> None:
    path = write(APART["one class, all, batch"], tmp_path / "m.onnx", 1)
    with pytest.raises(SourceError, match=r'convention="classifier" does not fit.*Pass convention="boxes-and-score"'):
        read(path, convention="classifier")
    for named in ({"scores": "scores"}, {"scores": "scores", "boxes": "boxes"}, {"convention": "boxes-and-score"}):
        assert read(path, **named).convention.name == CONVENTIONS["boxes-and-score"].title
    with pytest.raises(SourceError, match="there are 2 class names"):
        read(path, class_names=["a", "b"])


def table(columns: str) -> Callable[[Levels], dict[str, int]]:
    """A table in any order: i image, b box, s score, c class."""

    def build(net: Levels) -> dict[str, int]:
        boxes, scores, labels = _suppressed(net)
        score, label = (net.Unsqueeze(v, np.array([1])) for v in (scores, net.Cast(labels, to=FLOAT)))
        parts = {"i": net.Mul(label, np.float32(0)), "b": boxes, "s": score, "c": label}
        net.node("Concat", [parts[column] for column in columns], axis=1, name="table")
        return {"table": FLOAT}

    return build


def test_a_column_of_classes_holds_whole_numbers(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", table("icbs"), 2)
    with pytest.raises(SourceError, match=r"column 6 of table holds the class, .* Columns 0, 1 have whole numbers"):
        read(path, columns="image,score,x1,y1,x2,y2,class")
    assert str(read(path, columns="image,class,x1,y1,x2,y2,score").convention.labels) == "table[1]"
    with pytest.raises(SourceError, match=r'convention="yolov5" has no meaning\. Leave one of the two out'):
        read(path, columns="image,class,x1,y1,x2,y2,score", convention="yolov5")


def test_columns_are_those_of_a_table_with_two_axes_of_one(tmp_path: Path) -> None:
    def build(net: Levels) -> dict[str, int]:
        (name,) = table("csb")(net)
        net.node("Unsqueeze", [name, np.array([0, 1])], name="found")
        return {"found": FLOAT}

    path = save(tmp_path / "m.onnx", build)
    found = read(path, columns="class,score,x1,y1,x2,y2")
    rows = outputs(path, found.image)["found"][0, 0]
    assert np.allclose(found.found[0], rows[:, 2:]) and np.array_equal(found.found[2], rows[:, 0])  # noqa: PT018


@pytest.mark.parametrize("named", ["apart", "columns"])
def test_classes_that_count_from_one_need_a_name_for_class_0(named: str, tmp_path: Path) -> None:
    def build(net: Levels) -> dict[str, int]:
        boxes, scores, labels = _suppressed(net)
        labels = net.Add(labels, np.array(1))
        if named == "columns":
            score, label = (net.Unsqueeze(v, np.array([1])) for v in (scores, net.Cast(labels, to=FLOAT)))
            net.node("Concat", [label, score, net.Div(boxes, WHOLE)], axis=1, name="table")
            return {"table": FLOAT}
        for name, value in (("boxes", boxes), ("scores", scores), ("labels", labels)):
            net.node("Identity", [value], name=name)
        return {"boxes": FLOAT, "scores": FLOAT, "labels": INT64}

    path = save(tmp_path / "m.onnx", build)
    options = {"columns": "class,score,x1,y1,x2,y2"} if named == "columns" else {}
    with pytest.raises(SourceError, match="seems to count its classes from 1") as caught:
        read(path, class_names=["a", "b", "c"], **options)
    first = re.search(r'class 0 first, such as "(\w+)"', str(caught.value))
    assert first is not None
    found = read(path, class_names=[first[1], "a", "b", "c"], **options)
    assert set(found.found[2]) == {1, 2, 3}
