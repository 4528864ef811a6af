"""Layouts whose boxes, scores, classes and objectness are tensors of their own, and those without a batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.conventions.files import FLOAT, INT64, Arrays, Layout, Levels, Truth, cells
from tests.conventions.layouts import LAYOUTS, WHOLE, _suppressed, corners

APART: dict[str, Layout] = {}
Build = Callable[[Levels], dict[str, int]]


def dense(net: Levels) -> tuple[str, str]:
    """Boxes [1, N, 4] and scores [1, N, C] of all cells."""
    return tuple(net.Transpose(v, perm=[0, 2, 1]) for v in (net.corners(), net.classes_of_cells()))  # type: ignore[return-value]


def squeezed(net: Levels, value: str, batch: bool) -> str:
    return value if batch else net.Squeeze(value, np.array([0]))


# One class: boxes and one score each, without an axis of classes


def one_class(batch: bool, chosen: bool) -> Build:
    def build(net: Levels) -> dict[str, int]:
        if chosen:
            boxes, scores, _ = _suppressed(net)
            boxes, scores = (net.Unsqueeze(v, np.array([0])) if batch else v for v in (boxes, scores))
        else:
            boxes, scores = dense(net)
            boxes, scores = (squeezed(net, v, batch) for v in (boxes, net.Squeeze(scores, np.array([2]))))
        net.node("Identity", [boxes], name="boxes")
        net.node("Identity", [scores], name="scores")
        return {"boxes": FLOAT, "scores": FLOAT}

    return build


def _one_truth(chosen: bool) -> Callable[[Arrays, int], Truth]:
    def truth(outputs: Arrays, classes: int) -> Truth:
        boxes, scores = outputs.values()
        boxes, scores = boxes.reshape(-1, 4), scores.reshape(-1)
        return Truth(boxes, scores, np.zeros(len(scores))) if chosen else Truth(boxes, scores[:, None])

    return truth


for _batch in (True, False):
    for _chosen in (True, False):
        APART[f"one class, {'selected' if _chosen else 'all'}, {'batch' if _batch else 'no batch'}"] = Layout(
            "boxes-and-score",
            one_class(_batch, _chosen),
            _one_truth(_chosen),
            "selected" if _chosen else "candidates",
            iou=0.5,
            counts=(1,),
        )


# The same in one table (mmpose, projects/rtmo: RTMO), with points beside it


def box_and_score(batch: bool, points: bool) -> Build:
    def build(net: Levels) -> dict[str, int]:
        boxes, scores, _ = _suppressed(net)
        table = net.Concat(boxes, net.Unsqueeze(scores, np.array([1])), axis=1)
        net.node(*(("Unsqueeze", [table, np.array([0])]) if batch else ("Identity", [table])), name="dets")
        if points:
            corner = net.Unsqueeze(net.slice(boxes, 0, 2, 1), np.array([0, 2]))
            net.node("Tile", [corner, np.array([1, 1, 17, 1])], name="keypoints")
        return {"dets": FLOAT, "keypoints": FLOAT} if points else {"dets": FLOAT}

    return build


def _table_truth(outputs: Arrays, classes: int) -> Truth:
    rows = next(iter(outputs.values())).reshape(-1, 5)
    return Truth(rows[:, :4], rows[:, 4], np.zeros(len(rows)))


for _batch, _points in ((True, True), (True, False), (False, False)):
    APART[f"one class, a table, {'batch' if _batch else 'no batch'}{', points' if _points else ''}"] = Layout(
        "box-and-score", box_and_score(_batch, _points), _table_truth, "selected", iou=0.5, counts=(1,)
    )


# Boxes, scores and classes apart: selected, or of all cells by a maximum, with axes of one and types of their own


def labelled(*, chosen: bool, batch: bool, column: bool, real: bool) -> Build:
    def build(net: Levels) -> dict[str, int]:
        if chosen:
            boxes, scores, labels = _suppressed(net)
            scores, labels = (net.Unsqueeze(v, np.array([1])) if column else v for v in (scores, labels))
            boxes, scores, labels = (net.Unsqueeze(v, np.array([0])) if batch else v for v in (boxes, scores, labels))
        else:
            boxes, all_scores = dense(net)
            scores = net.ReduceMax(all_scores, axes=[2], keepdims=int(column))
            labels = net.ArgMax(all_scores, axis=2, keepdims=int(column))
            boxes, scores, labels = (squeezed(net, v, batch) for v in (boxes, scores, labels))
        net.node("Identity", [boxes], name="b")
        net.node("Identity", [scores], name="s")
        net.node("Cast", [labels], to=FLOAT if real else INT64, name="c")
        return {"b": FLOAT, "s": FLOAT, "c": FLOAT if real else INT64}

    return build


def _labelled_truth(chosen: bool) -> Callable[[Arrays, int], Truth]:
    def truth(outputs: Arrays, classes: int) -> Truth:
        boxes, scores, labels = outputs.values()
        boxes, scores, labels = boxes.reshape(-1, 4), scores.reshape(-1), labels.reshape(-1).astype(np.int64)
        if chosen:
            return Truth(boxes, scores, labels)
        return Truth(boxes, np.where(labels[:, None] == np.arange(classes), scores[:, None], 0))

    return truth


for _chosen in (True, False):
    for _batch in (True, False):
        for _column in (True, False):
            for _real in (True, False):
                _words = (
                    "selected" if _chosen else "all",
                    "batch" if _batch else "no batch",
                    "column" if _column else "flat",
                    "real" if _real else "integers",
                )
                APART[f"labels, {', '.join(_words)}"] = Layout(
                    "torchvision",
                    labelled(chosen=_chosen, batch=_batch, column=_column, real=_real),
                    _labelled_truth(_chosen),
                    "selected" if _chosen else "candidates",
                    iou=0.5,
                    counts=(2, 3, 80),
                )


# Objectness (YOLO) or centerness (FCOS) in a tensor of its own


def objectness(name: str, across: bool, flat: bool) -> Build:
    def build(net: Levels) -> dict[str, int]:
        boxes, scores = dense(net)
        factor = net.Sigmoid(net.joined("obj", 1, bias=1.5))  # [1, 1, N]
        net.node("Identity", [boxes], name="boxes")
        if across:
            net.node("Transpose", [scores], perm=[0, 2, 1], name="cls")
            net.node("Identity", [factor], name=name)
        else:
            net.node("Identity", [scores], name="cls")
            net.node(
                *(("Squeeze", [factor, np.array([1])]) if flat else ("Reshape", [factor, np.array([1, -1, 1])])),
                name=name,
            )
        return {"boxes": FLOAT, "cls": FLOAT, name: FLOAT}

    return build


def _objectness_truth(across: bool) -> Callable[[Arrays, int], Truth]:
    def truth(outputs: Arrays, classes: int) -> Truth:
        boxes, scores, factor = outputs.values()
        scores = scores[0].T if across else scores[0]
        return Truth(boxes[0], scores * factor.reshape(-1, 1))

    return truth


for _name, _across, _flat in (("obj", False, False), ("centerness", False, True), ("objectness", True, False)):
    APART[f"{_name} apart"] = Layout(
        "boxes-scores-and-objectness" + ("-across" if _across else ""),
        objectness(_name, _across, _flat),
        _objectness_truth(_across),
        single=False,
        iou=0.5,
        counts=(1, 2, 3, 80),
        stripped={"scores": "tensor_1"},
    )


# TensorFlow Lite's four outputs, with a count of any shape


def tflite(count: tuple[int, ...]) -> Build:
    def build(net: Levels) -> dict[str, int]:
        boxes, scores, labels = _suppressed(net)
        values, order = net.node("TopK", [scores, np.array([12])], 2)
        boxes = net.Div(
            net.Gather(net.Gather(boxes, order, axis=0), np.array([1, 0, 3, 2]), axis=1), WHOLE[[1, 0, 3, 2]]
        )
        labels = net.Cast(net.Gather(labels, order, axis=0), to=FLOAT)
        for name, value in (("b", boxes), ("c", labels), ("s", values)):
            net.node("Unsqueeze", [value, np.array([0])], name=name)
        found = net.Cast(net.node("Shape", [values])[0], to=FLOAT)
        net.node("Reshape", [found, np.array(count, np.int64)], name="n")
        return dict.fromkeys("bcsn", FLOAT)

    return build


def _tflite_truth(outputs: Arrays, classes: int) -> Truth:
    boxes, labels, scores, _ = outputs.values()
    return Truth(boxes[0][:, [1, 0, 3, 2]] * WHOLE, scores[0], labels[0])


for _count in ((1,), (1, 1), ()):
    APART[f"tflite, count {list(_count)}"] = Layout(
        "tflite", tflite(_count), _tflite_truth, "selected", counts=(2, 3, 80)
    )


# Caffe's and OpenVINO's DetectionOutput: image, class, score, box of 0 to 1; a row of image -1 ends it


def _detection_output(net: Levels) -> dict[str, int]:
    boxes, scores, labels = _suppressed(net)
    score, label = (net.Unsqueeze(v, np.array([1])) for v in (scores, net.Cast(labels, to=FLOAT)))
    found = net.Concat(net.Mul(label, np.float32(0)), label, score, net.Div(boxes, WHOLE), axis=1)
    end = np.zeros((3, 7), np.float32)
    end[0, 0] = -1
    net.node("Unsqueeze", [net.Concat(found, end, axis=0), np.array([0, 1])], name="detection_out")
    return {"detection_out": FLOAT}


def _detection_output_truth(outputs: Arrays, classes: int) -> Truth:
    rows = outputs["detection_out"][0, 0] if "detection_out" in outputs else next(iter(outputs.values()))[0, 0]
    rows = rows[: np.flatnonzero(rows[:, 0] < 0)[0]]
    return Truth(rows[:, 3:] * WHOLE, rows[:, 2], rows[:, 1])


APART["detection output"] = Layout(
    "detection-output", _detection_output, _detection_output_truth, "selected", counts=(2, 3, 80)
)


# Known layouts without a batch


def without_batch(name: str) -> Layout:
    layout = LAYOUTS[name]

    def build(net: Levels) -> dict[str, int]:
        (output,) = layout.build(net)
        net.nodes[-1].output[0] = net.nodes[-1].name = "batched"
        net.node("Squeeze", ["batched", np.array([0])], name=output)
        return {output: FLOAT}

    def truth(outputs: Arrays, classes: int) -> Truth:
        return layout.truth({name: array[None] for name, array in outputs.items()}, classes)

    return Layout(layout.entry, build, truth, iou=layout.iou, counts=layout.counts)


for _name in ("yolov5", "ultralytics", "ultralytics transposed"):
    APART[f"{_name} without a batch"] = without_batch(_name)


# YOLOv5 segmentation (ultralytics/yolov5, models/yolo.py: Segment.forward)


def _yolov5_segment(net: Levels) -> dict[str, int]:
    levels, width = [], 5 + net.classes + 32
    for k, ((height, across), stride) in enumerate(zip(net.sizes(), net.strides, strict=True)):
        raw = net.Reshape(net.head("all", 2 * width, k), np.array([1, 2, width, height, across]))
        raw = net.Transpose(raw, perm=[0, 1, 3, 4, 2])
        xy, wh, conf, mask = net.node("Split", [raw, np.array([2, 2, 1 + net.classes, 32])], 4, axis=4)
        grid = (cells(height, across).reshape(1, 1, height, across, 2) - 0.5).astype(np.float32)
        xy = net.Mul(net.Add(net.Mul(net.Sigmoid(xy), np.float32(2)), grid), np.float32(stride))
        anchors = (np.array([[1.5, 2.0], [3.0, 1.25]]) * stride).reshape(1, 2, 1, 1, 2).astype(np.float32)
        wh = net.Mul(net.Pow(net.Mul(net.Sigmoid(wh), np.float32(2)), np.float32(2)), anchors)
        levels.append(net.Reshape(net.Concat(xy, wh, net.Sigmoid(conf), mask, axis=4), np.array([1, -1, width])))
    net.node("Concat", levels, axis=1, name="output0")
    net.node("Relu", [net.head("protos", 32, 0)], name="output1")
    return {"output0": FLOAT, "output1": FLOAT}


def _yolov5_segment_truth(outputs: Arrays, classes: int) -> Truth:
    rows = next(iter(outputs.values()))[0]
    return Truth(corners(rows[:, :4]), rows[:, 4:5] * rows[:, 5 : 5 + classes])


APART["yolov5 segmentation"] = Layout(
    "yolov5-segment", _yolov5_segment, _yolov5_segment_truth, iou=0.45, metadata={"task": "segment"}
)
