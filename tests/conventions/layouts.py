"""The layouts of the table, each with its published decoding."""

from __future__ import annotations

import numpy as np

from tests.conventions.files import FLOAT, HEIGHT, INT64, STRIDES, WIDTH, Arrays, Layout, Levels, Truth, cells

LAYOUTS: dict[str, Layout] = {}
WHOLE = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT], np.float32)


def only(outputs: Arrays) -> np.ndarray:
    """The one output, without its batch."""
    (found,) = list(outputs.values())[:1]
    return found[0]


def corners(boxes: np.ndarray) -> np.ndarray:
    """x1 y1 x2 y2 of centre and size."""
    return np.concatenate([boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2], 1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def places(strides: tuple[int, ...], offset: float = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cells [N, 2] and strides [N, 1] of all rows."""
    sizes = [(-(-HEIGHT // s), -(-WIDTH // s)) for s in strides]
    found = np.concatenate([cells(*size) + offset for size in sizes])
    return found, np.concatenate([np.full((h * w, 1), s) for (h, w), s in zip(sizes, strides, strict=True)])


# YOLOX (Megvii-BaseDetection/YOLOX, yolox/models/yolo_head.py; yolox/utils/demo_utils.py: demo_postprocess)


def _yolox(net: Levels) -> dict[str, int]:
    levels = []
    for k in range(len(net.strides)):
        box, obj = net.head("box", 4, k, 0.5), net.head("obj", 1, k, branch="box")
        cls = net.head("cls", net.classes, k)
        joined = net.Concat(box, net.Sigmoid(obj), net.Sigmoid(cls), axis=1)
        levels.append(net.Reshape(joined, np.array([1, 5 + net.classes, -1])))
    net.node("Transpose", [net.Concat(*levels, axis=2)], perm=[0, 2, 1], name="output")
    return {"output": FLOAT}


def _yolox_truth(outputs: Arrays, classes: int) -> Truth:
    rows = only(outputs)
    grid, stride = places(STRIDES)
    boxes = np.concatenate([(rows[:, :2] + grid) * stride, np.exp(rows[:, 2:4]) * stride], 1)
    return Truth(corners(boxes), rows[:, 4:5] * rows[:, 5:])


LAYOUTS["yolox-undecoded"] = Layout("yolox-undecoded", _yolox, _yolox_truth, iou=0.45, preset=("yolox",))


def _yolox_decoded(net: Levels) -> dict[str, int]:
    _yolox(net)
    net.nodes[-1].output[0] = net.nodes[-1].name = "raw"
    grid, stride = places(net.strides)
    xy, wh, rest = (net.slice("raw", *ends, 2) for ends in ((0, 2), (2, 4), (4, 5 + net.classes)))
    steps = stride[None].astype(np.float32)
    xy = net.Mul(net.Add(xy, grid[None].astype(np.float32)), steps)
    net.node("Concat", [xy, net.Mul(net.Exp(wh), steps), rest], axis=2, name="output")
    return {"output": FLOAT}


def _objectness(outputs: Arrays, classes: int) -> Truth:
    rows = only(outputs)
    return Truth(corners(rows[:, :4]), rows[:, 4:5] * rows[:, 5:])


LAYOUTS["yolox"] = Layout("yolox", _yolox_decoded, _objectness, iou=0.45, preset=("yolox",))


# YOLOv5 and v7 (ultralytics/yolov5, models/yolo.py: Detect.forward): one convolution, two anchors here


def _yolov5(net: Levels) -> dict[str, int]:
    levels, width = [], 5 + net.classes
    for k, ((height, across), stride) in enumerate(zip(net.sizes(), net.strides, strict=True)):
        raw = net.Reshape(net.head("all", 2 * width, k), np.array([1, 2, width, height, across]))
        y = net.Sigmoid(net.Transpose(raw, perm=[0, 1, 3, 4, 2]))
        xy, wh, conf = net.node("Split", [y, np.array([2, 2, 1 + net.classes])], 3, axis=4)
        grid = (cells(height, across).reshape(1, 1, height, across, 2) - 0.5).astype(np.float32)
        xy = net.Mul(net.Add(net.Mul(xy, np.float32(2)), grid), np.float32(stride))
        anchors = (np.array([[1.5, 2.0], [3.0, 1.25]]) * stride).reshape(1, 2, 1, 1, 2).astype(np.float32)
        wh = net.Mul(net.Pow(net.Mul(wh, np.float32(2)), np.float32(2)), anchors)
        levels.append(net.Reshape(net.Concat(xy, wh, conf, axis=4), np.array([1, -1, width])))
    net.node("Concat", levels, axis=1, name="output0")
    return {"output0": FLOAT}


LAYOUTS["yolov5"] = Layout("yolov5", _yolov5, _objectness, iou=0.45)


def _yolov6(net: Levels) -> dict[str, int]:
    boxes, scores = (net.Transpose(value, perm=[0, 2, 1]) for value in (net.centres(), net.classes_of_cells()))
    ones = np.ones((1, net.count(), 1), np.float32)
    net.node("Concat", [boxes, ones, scores], axis=2, name="outputs")
    return {"outputs": FLOAT}


LAYOUTS["yolov6"] = Layout("yolov5", _yolov6, _objectness, iou=0.45)


# Ultralytics (ultralytics/nn/modules/head.py): boxes of distributions, a row for each cell


def _distances(net: Levels) -> str:
    bins = net.Transpose(net.Reshape(net.joined("dfl", 64), np.array([1, 4, 16, -1])), perm=[0, 2, 1, 3])
    weight = np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1)
    return net.Reshape(net.Conv(net.Softmax(bins, axis=1), weight), np.array([1, 4, -1]))


def _dfl(net: Levels) -> str:
    """[1, 4, N]: centre and size in pixels, as `Detect` writes them."""
    sides = _distances(net)
    low, high = net.slice(sides, 0, 2, 1), net.slice(sides, 2, 4, 1)
    points = net.points() / net.steps()
    a, b = net.Sub(points, low), net.Add(points, high)
    boxes = net.Concat(net.Div(net.Add(a, b), np.float32(2)), net.Sub(b, a), axis=1)
    return net.Mul(boxes, net.steps())


def _ultralytics(net: Levels) -> dict[str, int]:
    net.node("Concat", [_dfl(net), net.classes_of_cells()], axis=1, name="output0")
    return {"output0": FLOAT}


def _ultralytics_truth(outputs: Arrays, classes: int) -> Truth:
    rows = only(outputs).T
    return Truth(corners(rows[:, :4]), rows[:, 4 : 4 + classes])


LAYOUTS["ultralytics"] = Layout("ultralytics", _ultralytics, _ultralytics_truth, metadata={"task": "detect"})


def _older(net: Levels) -> dict[str, int]:
    """Until 8.2: boxes and classes of a level are joined, and split when the levels are."""
    levels = [
        net.lines(net.Concat(net.head("dfl", 64, k), net.head("cls", net.classes, k), axis=1), 64 + net.classes)
        for k in range(len(net.strides))
    ]
    dfl, cls = net.node("Split", [net.Concat(*levels, axis=2), np.array([64, net.classes])], 2, axis=1)
    bins = net.Transpose(net.Reshape(dfl, np.array([1, 4, 16, -1])), perm=[0, 2, 1, 3])
    weight = np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1)
    sides = net.Reshape(net.Conv(net.Softmax(bins, axis=1), weight), np.array([1, 4, -1]))
    low, high = net.slice(sides, 0, 2, 1), net.slice(sides, 2, 4, 1)
    points = net.points() / net.steps()
    a, b = net.Sub(points, low), net.Add(points, high)
    boxes = net.Concat(net.Div(net.Add(a, b), np.float32(2)), net.Sub(b, a), axis=1)
    net.node("Concat", [net.Mul(boxes, net.steps()), net.Sigmoid(cls)], axis=1, name="output0")
    return {"output0": FLOAT}


LAYOUTS["ultralytics 8.2"] = Layout("ultralytics", _older, _ultralytics_truth, metadata={"task": "detect"})


def _transposed(net: Levels) -> dict[str, int]:
    net.node("Transpose", [net.Concat(_dfl(net), net.classes_of_cells(), axis=1)], perm=[0, 2, 1], name="output0")
    return {"output0": FLOAT}


def _transposed_truth(outputs: Arrays, classes: int) -> Truth:
    rows = only(outputs)
    return Truth(corners(rows[:, :4]), rows[:, 4:])


LAYOUTS["ultralytics transposed"] = Layout("ultralytics-transposed", _transposed, _transposed_truth)


def _segment(net: Levels) -> dict[str, int]:
    masks = net.joined("mask", 32)
    net.node("Concat", [_dfl(net), net.classes_of_cells(), masks], axis=1, name="output0")
    net.node("Relu", [net.head("protos", 32, 0)], name="output1")
    return {"output0": FLOAT, "output1": FLOAT}


LAYOUTS["segmentation"] = Layout("ultralytics-segment", _segment, _ultralytics_truth, metadata={"task": "segment"})


def _segment_alone(net: Levels) -> dict[str, int]:
    _segment(net)
    return {"output0": FLOAT}


LAYOUTS["segmentation without masks"] = Layout("ultralytics-extras", _segment_alone, _ultralytics_truth)


def _pose(net: Levels) -> dict[str, int]:
    """17 points: x, y and visibility of each."""
    raw = net.Reshape(net.joined("kpt", 51), np.array([1, 17, 3, -1]))
    points = (net.points() / net.steps() - 0.5)[:, None]
    xy = net.Mul(net.Add(net.Mul(net.slice(raw, 0, 2, 2), np.float32(2)), points), net.steps()[:, None])
    visible = net.Sigmoid(net.slice(raw, 2, 3, 2))
    keypoints = net.Reshape(net.Concat(xy, visible, axis=2), np.array([1, 51, -1]))
    net.node("Concat", [_dfl(net), net.classes_of_cells(), keypoints], axis=1, name="output0")
    return {"output0": FLOAT}


LAYOUTS["pose"] = Layout("ultralytics-extras", _pose, _ultralytics_truth, metadata={"task": "pose"})


def _obb(net: Levels) -> dict[str, int]:
    angle = net.Mul(net.Sub(net.Sigmoid(net.joined("angle", 1)), np.float32(0.25)), np.float32(np.pi))
    net.node("Concat", [_dfl(net), net.classes_of_cells(), angle], axis=1, name="output0")
    return {"output0": FLOAT}


LAYOUTS["obb"] = Layout("ultralytics-extras", _obb, _ultralytics_truth, metadata={"task": "obb"})


# End to end (ultralytics/nn/modules/head.py: postprocess): the best rows of all classes, box, score, class and more


def _end_to_end(net: Levels, more: int = 0, form: str = "xyxy") -> dict[str, int]:
    boxes = net.Transpose(net.corners() if form == "xyxy" else net.centres(), perm=[0, 2, 1])
    scores = net.Transpose(net.classes_of_cells(), perm=[0, 2, 1])
    best, _ = net.node("TopK", [net.Squeeze(net.ReduceMax(scores, axes=[2]), np.array([2])), np.array([40])], 2)
    del best
    rows = net.nodes[-1].output[1]
    index = net.Tile(net.Unsqueeze(rows, np.array([2])), np.array([1, 1, net.classes]))
    chosen = net.GatherElements(scores, index, axis=1)
    values, flat = net.node("TopK", [net.Reshape(chosen, np.array([1, -1])), np.array([30])], 2)
    label = net.Cast(net.Mod(flat, np.array(net.classes)), to=FLOAT)
    place = net.GatherElements(rows, net.Div(flat, np.array(net.classes)), axis=1)

    def of(value: str, width: int) -> str:
        return net.GatherElements(value, net.Tile(net.Unsqueeze(place, np.array([2])), np.array([1, 1, width])), axis=1)

    parts = [of(boxes, 4), net.Unsqueeze(values, np.array([2])), net.Unsqueeze(label, np.array([2]))]
    if more:
        parts.append(of(net.Transpose(net.joined("more", more), perm=[0, 2, 1]), more))
    net.node("Concat", parts, axis=2, name="output0")
    return {"output0": FLOAT}


def _table_truth(outputs: Arrays, classes: int) -> Truth:
    rows = only(outputs)
    return Truth(rows[:, :4], rows[:, 4], rows[:, 5])


def _table_of_centres(outputs: Arrays, classes: int) -> Truth:
    rows = only(outputs)
    return Truth(corners(rows[:, :4]), rows[:, 4], rows[:, 5])


LAYOUTS["end to end"] = Layout("yolov10", _end_to_end, _table_truth, "selected")
LAYOUTS["segmentation end to end"] = Layout(
    "end-to-end", lambda net: _end_to_end(net, 32), _table_truth, "selected", metadata={"task": "segment"}
)
LAYOUTS["pose end to end"] = Layout(
    "end-to-end", lambda net: _end_to_end(net, 51), _table_truth, "selected", metadata={"task": "pose"}
)
LAYOUTS["obb end to end"] = Layout(
    "end-to-end",
    lambda net: _end_to_end(net, 1, "cxcywh"),
    _table_of_centres,
    "selected",
    metadata={"task": "obb"},
    options={"box_format": "cxcywh"},
)


# YOLOv5-face (deepcam-cn/yolov5-face, models/yolo.py): box, objectness, five points, class


def _face(net: Levels) -> dict[str, int]:
    levels, width = [], 15 + net.classes
    for k, ((height, across), stride) in enumerate(zip(net.sizes(), net.strides, strict=True)):
        raw = net.Reshape(net.head("all", 2 * width, k), np.array([1, 2, width, height, across]))
        raw = net.Transpose(raw, perm=[0, 1, 3, 4, 2])
        grid = (cells(height, across).reshape(1, 1, height, across, 2) - 0.5).astype(np.float32)
        anchors = (np.array([[1.5, 2.0], [3.0, 1.25]]) * stride).reshape(1, 2, 1, 1, 2).astype(np.float32)
        head = net.Sigmoid(net.slice(raw, 0, 5, 4))
        xy = net.Mul(net.Add(net.Mul(net.slice(head, 0, 2, 4), np.float32(2)), grid), np.float32(stride))
        wh = net.Mul(net.Pow(net.Mul(net.slice(head, 2, 4, 4), np.float32(2)), np.float32(2)), anchors)
        points = [
            net.Add(net.Mul(net.slice(raw, 5 + 2 * i, 7 + 2 * i, 4), anchors), (grid + 0.5) * np.float32(stride))
            for i in range(5)
        ]
        cls = net.Sigmoid(net.slice(raw, 15, width, 4))
        parts = [xy, wh, net.slice(head, 4, 5, 4), *points, cls]
        levels.append(net.Reshape(net.Concat(*parts, axis=4), np.array([1, -1, width])))
    net.node("Concat", levels, axis=1, name="output")
    return {"output": FLOAT}


def _face_truth(outputs: Arrays, classes: int) -> Truth:
    rows = only(outputs)
    return Truth(corners(rows[:, :4]), rows[:, 4:5] * rows[:, 15:])


LAYOUTS["yolov5-face"] = Layout("yolov5-face", _face, _face_truth, iou=0.45)


# NanoDet (RangiLyu/nanodet: nanodet_plus_head.py, gfl_head.py: _forward_onnx; demo_ncnn: disPred2Bbox)


def _nanodet(net: Levels) -> dict[str, int]:
    levels = [
        net.lines(net.Concat(net.Sigmoid(net.head("cls", net.classes, k)), net.head("reg", 32, k), axis=1), 0)
        for k in range(len(net.strides))
    ]
    net.node("Transpose", [net.Concat(*levels, axis=2)], perm=[0, 2, 1], name="output")
    return {"output": FLOAT}


def _nanodet_truth(strides: tuple[int, ...], offset: float):  # type: ignore[no-untyped-def]
    def truth(outputs: Arrays, classes: int) -> Truth:
        rows = only(outputs)
        grid, stride = places(strides, offset)
        bins = np.exp(rows[:, classes:].reshape(-1, 4, 8).astype(np.float64))
        sides = (bins / bins.sum(2, keepdims=True) * np.arange(8)).sum(2) * stride
        points = grid * stride
        return Truth(np.concatenate([points - sides[:, :2], points + sides[:, 2:]], 1), rows[:, :classes])

    return truth


_FOUR = (8, 16, 32, 64)
LAYOUTS["nanodet-plus"] = Layout(
    "nanodet-plus", _nanodet, _nanodet_truth(_FOUR, 0), iou=0.6, strides=_FOUR, preset=("nanodet",)
)
LAYOUTS["nanodet"] = Layout("nanodet", _nanodet, _nanodet_truth(STRIDES, 0.5), iou=0.6, preset=("nanodet",))


# YOLOv4 (Tianxiaomo/pytorch-YOLOv4, tool/yolo_layer.py): boxes [1, N, 1, 4] 0 to 1, confs = objectness x class


def _yolov4(net: Levels, batch: bool = True) -> dict[str, int]:
    boxes = net.Div(net.Transpose(net.corners(), perm=[0, 2, 1]), WHOLE)
    confidence = net.Mul(net.classes_of_cells(), net.Sigmoid(net.joined("obj", 1, bias=1.5)))
    scores = net.Transpose(confidence, perm=[0, 2, 1])
    if batch:
        net.node("Unsqueeze", [boxes, np.array([2])], name="boxes")
        net.node("Identity", [scores], name="confs")
        return {"boxes": FLOAT, "confs": FLOAT}
    net.node("Squeeze", [scores, np.array([0])], name="classes")
    net.node("Squeeze", [boxes, np.array([0])], name="boxes")
    return {"classes": FLOAT, "boxes": FLOAT}


def _yolov4_truth(outputs: Arrays, classes: int) -> Truth:
    boxes, scores = outputs.values()
    return Truth(boxes.reshape(-1, 4) * WHOLE, scores[0])


LAYOUTS["yolov4"] = Layout("yolov4", _yolov4, _yolov4_truth, iou=0.5)


def _yolov3_truth(outputs: Arrays, classes: int) -> Truth:
    scores, boxes = outputs.values()
    return Truth(boxes * WHOLE, scores)


LAYOUTS["yolov3"] = Layout("yolov3", lambda net: _yolov4(net, batch=False), _yolov3_truth, iou=0.5)


# Transformers: queries are the cells of a map, a layer norm, two heads


def _tokens(net: Levels) -> str:
    tokens = net.Transpose(net.lines(net.head("mixed", 8, 1), 8), perm=[0, 2, 1])
    weights = (net.random.normal(1, 0.1, 8).astype(np.float32), net.random.normal(0, 0.1, 8).astype(np.float32))
    net.weights["tokens"] = weights
    return net.LayerNormalization(tokens, *weights)


def _linear(net: Levels, tokens: str, width: int, name: str | None = None) -> str:
    weight, bias = (net.random.normal(shift, 1, s).astype(np.float32) for shift, s in ((0, (8, width)), (0.3, width)))
    net.weights[name or "labels"] = (weight, bias)
    return net.node("Add", [net.MatMul(tokens, weight), bias], name=name)[0]


def _query_boxes(net: Levels, tokens: str, name: str | None = None) -> str:
    return net.node("Sigmoid", [_linear(net, tokens, 4, "places")], name=name)[0]


def _rf_detr(net: Levels) -> dict[str, int]:
    tokens = _tokens(net)
    _query_boxes(net, tokens, "dets")
    _linear(net, tokens, net.classes, "labels")
    return {"dets": FLOAT, "labels": FLOAT}


def _queries_truth(outputs: Arrays, classes: int) -> Truth:
    boxes, logits = outputs.values()
    return Truth(corners(boxes[0]) * WHOLE, sigmoid(logits[0]))


LAYOUTS["rf-detr"] = Layout(
    "rf-detr",
    _rf_detr,
    _queries_truth,
    "queries",
    preset=("imagenet",),
    stripped={"entry": "queries", "score_activation": "sigmoid"},
)


def _d_fine(net: Levels) -> dict[str, int]:
    """With its postprocessing: the best of all queries and classes, boxes in pixels of the picture."""
    net.input("orig_target_sizes", (1, 2), INT64)
    tokens = _tokens(net)
    boxes, scores = _query_boxes(net, tokens), net.Sigmoid(_linear(net, tokens, net.classes))
    xy, wh = net.slice(boxes, 0, 2, 2), net.Mul(net.slice(boxes, 2, 4, 2), np.float32(0.5))
    found = net.Concat(net.Sub(xy, wh), net.Add(xy, wh), axis=2)
    size = net.Cast(net.Tile("orig_target_sizes", np.array([1, 2])), to=FLOAT)
    found = net.Mul(found, net.Unsqueeze(size, np.array([1])))
    values, flat = net.node("TopK", [net.Reshape(scores, np.array([1, -1])), np.array([20])], 2)
    net.node("Identity", [values], name="scores")
    net.node("Mod", [flat, np.array(net.classes)], name="labels")
    rows = net.Unsqueeze(net.Div(flat, np.array(net.classes)), np.array([2]))
    net.node("GatherElements", [found, net.Tile(rows, np.array([1, 1, 4]))], axis=1, name="boxes")
    return {"labels": INT64, "boxes": FLOAT, "scores": FLOAT}


def _apart_truth(outputs: Arrays, classes: int) -> Truth:
    labels, boxes, scores = (value[0] for value in outputs.values())
    return Truth(boxes, scores, labels)


LAYOUTS["d-fine"] = Layout("torchvision", _d_fine, _apart_truth, "selected", preset=("imagenet",))


# YOLO-NAS (Deci-AI/super-gradients, documentation/source/models_export.md): NMS in the graph


def _suppressed(net: Levels) -> tuple[str, str, str]:
    """Boxes [K, 4], scores [K], labels int64 [K] of a suppression in the graph."""
    boxes, scores = net.Transpose(net.corners(), perm=[0, 2, 1]), net.classes_of_cells()
    chosen = net.NonMaxSuppression(
        boxes, scores, np.array([30]), np.array([0.5], np.float32), np.array([0.3], np.float32)
    )
    row, label = (net.Gather(chosen, np.array(k), axis=1) for k in (2, 1))
    found = net.GatherND(scores, chosen)
    return net.Gather(net.Squeeze(boxes, np.array([0])), row, axis=0), found, label


def _nas_flat(net: Levels) -> dict[str, int]:
    boxes, scores, labels = _suppressed(net)
    score, label = (net.Unsqueeze(v, np.array([1])) for v in (scores, net.Cast(labels, to=FLOAT)))
    image = net.Mul(label, np.float32(0))
    net.node("Concat", [image, boxes, score, label], axis=1, name="graph2_flat_predictions")
    return {"graph2_flat_predictions": FLOAT}


def _nas_flat_truth(outputs: Arrays, classes: int) -> Truth:
    (rows,) = outputs.values()
    return Truth(rows[:, 1:5], rows[:, 5], rows[:, 6])


LAYOUTS["yolo-nas flat"] = Layout(
    "yolo-nas-flat", _nas_flat, _nas_flat_truth, "selected", counts=(2, 3, 80), metadata={}
)


def _nas_batch(net: Levels) -> dict[str, int]:
    boxes, scores, labels = _suppressed(net)
    count = net.node("Shape", [scores])[0]
    wanted = net.Sub(np.array([300]), count)
    prefix = "graph2_"
    net.node("Unsqueeze", [count, np.array([0])], name=f"{prefix}num_predictions")
    for name, value, fill in (("boxes", boxes, -1.0), ("scores", scores, -1.0), ("classes", labels, -1)):
        pads = [net.Concat(np.array([0, 0]), wanted, np.array([0]), axis=0)]
        if name != "boxes":
            pads = [net.Concat(np.array([0]), wanted, axis=0)]
        constant = np.array(fill, np.int64 if name == "classes" else np.float32)
        net.node("Unsqueeze", [net.Pad(value, *pads, constant), np.array([0])], name=f"{prefix}pred_{name}")
    return {
        f"{prefix}num_predictions": INT64,
        f"{prefix}pred_boxes": FLOAT,
        f"{prefix}pred_scores": FLOAT,
        f"{prefix}pred_classes": INT64,
    }


def _nas_batch_truth(outputs: Arrays, classes: int) -> Truth:
    count, boxes, scores, labels = outputs.values()
    kept = slice(0, int(count[0, 0]))
    return Truth(boxes[0, kept], scores[0, kept], labels[0, kept])


LAYOUTS["yolo-nas batch"] = Layout(
    "yolo-nas", _nas_batch, _nas_batch_truth, "selected", stripped={"entry": "torchvision"}
)
