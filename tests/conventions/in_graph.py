"""Layouts whose files do in the graph what others leave to the user's code: suppression, and decoding."""

from __future__ import annotations

import numpy as np
from onnx import helper

from tests.conventions.files import FLOAT, INT64, Arrays, Layout, Levels, Truth
from tests.conventions.further import priors
from tests.conventions.layouts import LAYOUTS, WHOLE, corners

IN_GRAPH: dict[str, Layout] = {}
"""Those that are tried in the same ways as the table's others."""


# YOLOv7 (WongKinYiu/yolov7, export.py --end2end; models/experimental.py: ONNX_ORT and ONNX_TRT)

_CONVERT = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]], np.float32)
"""Centre and size to corners."""
_WIDEST = np.float32(640)
"""Boxes of different classes are moved so far apart that none suppresses another."""
IOU, SCORE, MOST = 0.45, 0.3, 100


def raw_yolov7(net: Levels) -> tuple[str, str]:
    """Boxes [1, N, 4], centre and size, and scores [1, N, C] of a YOLOv7: ``raw`` holds them as YOLOv5 gives them."""
    LAYOUTS["yolov5"].build(net)
    net.nodes[-1].output[0] = net.nodes[-1].name = "raw"
    boxes, confidence, classes = (net.slice("raw", *ends, 2) for ends in ((0, 4), (4, 5), (5, 5 + net.classes)))
    return boxes, net.Mul(classes, confidence)


def _yolov7(net: Levels) -> dict[str, int]:
    boxes, scores = raw_yolov7(net)
    found = net.MatMul(boxes, _CONVERT)
    best = net.node("ReduceMax", [scores], axes=[2], keepdims=1)[0]
    label = net.node("ArgMax", [scores], axis=2, keepdims=1)[0]
    moved = net.Add(found, net.Mul(net.Cast(label, to=FLOAT), _WIDEST))
    limits = (np.array([MOST]), np.array([IOU], np.float32), np.array([SCORE], np.float32))
    chosen = net.NonMaxSuppression(moved, net.Transpose(best, perm=[0, 2, 1]), *limits)
    image, row = (net.Gather(chosen, np.array([column]), axis=1) for column in (0, 2))
    place = net.Concat(image, row, axis=1)
    parts = [net.GatherND(value, place) for value in (found, net.Cast(label, to=FLOAT), best)]
    net.node("Concat", [net.Cast(image, to=FLOAT), *parts], axis=1, name="output")
    return {"output": FLOAT}


def _yolov7_truth(outputs: Arrays, classes: int) -> Truth:
    (rows,) = outputs.values()
    return Truth(rows[:, 1:5], rows[:, 6], rows[:, 5])


IN_GRAPH["yolov7 end to end"] = Layout("yolov7-end2end", _yolov7, _yolov7_truth, "selected", counts=(2, 3, 80))


def yolov7_for_tensorrt(net: Levels) -> dict[str, int]:
    """The same with TensorRT's plugin, which has no other implementation: ``raw`` is an output for its truth."""
    boxes, scores = raw_yolov7(net)
    names = ["num_dets", "det_boxes", "det_scores", "det_classes"]
    attributes = {
        "plugin_version": "1", "background_class": -1, "box_coding": 1, "iou_threshold": IOU, "score_threshold": SCORE,
        "max_output_boxes": MOST, "score_activation": 0,
    }  # fmt: skip
    net.nodes.append(helper.make_node("EfficientNMS_TRT", [boxes, scores], names, domain="TRT", **attributes))
    return dict(zip(names, (INT64, FLOAT, FLOAT, INT64), strict=True))


def yolov7_truth(raw: np.ndarray) -> Truth:
    """Candidates of a YOLOv7: every class of a row counts."""
    return Truth(corners(raw[0, :, :4]), raw[0, :, 4:5] * raw[0, :, 5:])


# RetinaFace (biubug6/Pytorch_Retinaface, utils/box_utils.py: decode): offsets, two scores, five points


def _retinaface(decoded: bool, net: Levels) -> dict[str, int]:
    loc, points = _of_priors(net, "box", 4, 1.0), _of_priors(net, "points", 10, 1.0)
    if decoded:
        prior = priors(net)[None]
        xy, wh = net.slice(loc, 0, 2, 2), net.slice(loc, 2, 4, 2)
        centre = net.Add(net.Mul(net.Mul(xy, np.float32(0.1)), prior[..., 2:]), prior[..., :2])
        size = net.Mul(net.Exp(net.Mul(wh, np.float32(0.2))), prior[..., 2:])
        low = net.Sub(centre, net.Div(size, np.float32(2)))
        loc = net.Concat(low, net.Add(low, size), axis=2)
        points = net.Concat(
            *(
                net.Add(
                    net.Mul(net.Mul(net.slice(points, 2 * k, 2 * k + 2, 2), np.float32(0.1)), prior[..., 2:]),
                    prior[..., :2],
                )
                for k in range(5)
            ),
            axis=2,
        )
    net.node("Identity", [loc], name="loc")
    net.node("Softmax", [_of_priors(net, "cls", 2, 2.0)], axis=2, name="conf")
    net.node("Identity", [points], name="landms")
    return dict.fromkeys(("loc", "conf", "landms"), FLOAT)


def _of_priors(net: Levels, kind: str, columns: int, spread: float) -> str:
    """Two rows a cell."""
    levels = []
    for k in range(len(net.strides)):
        found = net.Transpose(net.head(kind, 2 * columns, k, spread), perm=[0, 2, 3, 1])
        levels.append(net.Reshape(found, np.array([1, -1, columns])))
    return net.Concat(*levels, axis=1)


def retinaface(net: Levels) -> dict[str, int]:
    """Without its priors, as its own exporter writes it."""
    return _retinaface(False, net)


def retinaface_decoded(net: Levels) -> dict[str, int]:
    """With its decoding."""
    return _retinaface(True, net)


def retinaface_truth(outputs: Arrays) -> Truth:
    """Of a file that decodes: corners 0 to 1, and the score of a face; the other one is that of none."""
    return Truth(outputs["loc"][0] * WHOLE, outputs["conf"][0][:, 1:])


def decode_offsets(loc: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The published decoding, in numpy: x1 y1 x2 y2 in pixels."""
    centre = prior[:, :2] + loc[:, :2] * 0.1 * prior[:, 2:]
    size = prior[:, 2:] * np.exp(loc[:, 2:].astype(np.float64) * 0.2)
    return corners(np.concatenate([centre, size], 1)) * WHOLE
