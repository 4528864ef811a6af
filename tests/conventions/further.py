"""Further layouts of the table: TensorFlow Lite, faces, CenterNet, and offsets from anchors of the file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.conventions.files import FLOAT, HEIGHT, STRIDES, WIDTH, Arrays, Layout, Levels, Truth, cells
from tests.conventions.layouts import WHOLE, corners, sigmoid

FURTHER: dict[str, Layout] = {}


# TensorFlow Lite (tensorflow/lite/kernels/detection_postprocess.cc): boxes, classes, scores and count, all floats


def _tflite(net: Levels) -> dict[str, int]:
    most = 12
    boxes = net.Transpose(net.Div(net.corners(), WHOLE[None, :, None]), perm=[0, 2, 1])
    boxes = net.Gather(boxes, np.array([1, 0, 3, 2]), axis=2)
    scores = net.Transpose(net.classes_of_cells(), perm=[0, 2, 1])
    values, flat = net.node("TopK", [net.Reshape(scores, np.array([1, -1])), np.array([most])], 2)
    kept = net.Greater(values, np.float32(0.35))
    zero = np.float32(0)
    label = net.Cast(net.Mod(flat, np.array(net.classes)), to=FLOAT)
    place = net.Tile(net.Unsqueeze(net.Div(flat, np.array(net.classes)), np.array([2])), np.array([1, 1, 4]))
    chosen = net.GatherElements(boxes, place, axis=1)
    net.node("Where", [net.Unsqueeze(kept, np.array([2])), chosen, zero], name="TFLite_Detection_PostProcess")
    net.node("Where", [kept, label, zero], name="TFLite_Detection_PostProcess:1")
    net.node("Where", [kept, values, zero], name="TFLite_Detection_PostProcess:2")
    net.node("ReduceSum", [net.Cast(kept, to=FLOAT), np.array([1])], keepdims=0, name="TFLite_Detection_PostProcess:3")
    return dict.fromkeys((f"TFLite_Detection_PostProcess{end}" for end in ("", ":1", ":2", ":3")), FLOAT)


def _tflite_truth(outputs: Arrays, classes: int) -> Truth:
    boxes, labels, scores, count = (array[0] for array in outputs.values())
    found = int(count)
    return Truth(boxes[:found][:, [1, 0, 3, 2]] * WHOLE, scores[:found], labels[:found])


FURTHER["tflite"] = Layout("tflite", _tflite, _tflite_truth, "selected", preset=("tf",))


# YuNet (opencv/modules/objdetect/src/face_detect.cpp: FaceDetectorYNImpl::postProcess)


def _by_level(outputs: Arrays, parts: int) -> list[list[np.ndarray]]:
    """Of each part the arrays of the three levels, without their batch."""
    arrays = [array.reshape(-1, array.shape[-1]) for array in outputs.values()]
    return [arrays[3 * part : 3 * part + 3] for part in range(parts)]


def _yunet(net: Levels) -> dict[str, int]:
    made = {}
    for name, channels, last in (("cls", 1, "Sigmoid"), ("obj", 1, "Sigmoid"), ("bbox", 4, ""), ("kps", 10, "")):
        for k, stride in enumerate(net.strides):
            spread = 0.4 if name == "bbox" else 2.0
            rows = net.Transpose(net.lines(net.head(name, channels, k, spread), channels), perm=[0, 2, 1])
            net.node(last or "Identity", [rows], name=f"{name}_{stride}")
            made[f"{name}_{stride}"] = FLOAT
    return made


def _yunet_truth(outputs: Arrays, classes: int) -> Truth:
    boxes, scores = [], []
    cls, obj, bbox = _by_level(outputs, 3)
    for k, stride in enumerate(STRIDES):
        columns = -(-WIDTH // stride)
        for row in range(len(bbox[k])):
            r, c = divmod(row, columns)
            cx, cy = (c + bbox[k][row, 0]) * stride, (r + bbox[k][row, 1]) * stride
            w, h = np.exp(bbox[k][row, 2:].astype(np.float64)) * stride
            boxes.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
            scores.append([np.sqrt(np.clip(cls[k][row, 0], 0, 1) * np.clip(obj[k][row, 0], 0, 1))])
    return Truth(np.array(boxes), np.array(scores))


FURTHER["yunet"] = Layout("yunet", _yunet, _yunet_truth, iou=0.3, counts=(1,))


# SCRFD (deepinsight/insightface/detection/scrfd/tools/scrfd.py): two anchors a cell, distances in strides


def _scrfd(per_cell: int, points: bool) -> Callable[[Levels], dict[str, int]]:
    def build(net: Levels) -> dict[str, int]:
        made = {}
        for name, channels in (("score", 1), ("bbox", 4), *([("kps", 10)] if points else [])):
            for k, stride in enumerate(net.strides):
                is_box = name == "bbox"
                found = net.head(name, per_cell * channels, k, 0.4 if is_box else 2.0, 1.5 if is_box else 0.0)
                rows = net.Reshape(net.Transpose(found, perm=[0, 2, 3, 1]), np.array([-1, channels]))
                net.node("Sigmoid" if name == "score" else "Identity", [rows], name=f"{name}_{stride}")
                made[f"{name}_{stride}"] = FLOAT
        return made

    return build


def _scrfd_truth(per_cell: int) -> Callable[[Arrays, int], Truth]:
    def truth(outputs: Arrays, classes: int) -> Truth:
        scores, bbox = _by_level(outputs, 2)
        boxes = []
        for k, stride in enumerate(STRIDES):
            centres = cells(-(-HEIGHT // stride), -(-WIDTH // stride)) * stride
            centres = np.stack([centres] * per_cell, axis=1).reshape(-1, 2)
            boxes.append(np.concatenate([centres - bbox[k][:, :2] * stride, centres + bbox[k][:, 2:] * stride], 1))
        return Truth(np.concatenate(boxes), np.concatenate(scores))

    return truth


FURTHER["scrfd"] = Layout("scrfd", _scrfd(2, True), _scrfd_truth(2), iou=0.4, counts=(1,))
FURTHER["scrfd without points"] = Layout("scrfd", _scrfd(2, False), _scrfd_truth(2), iou=0.4, counts=(1,))
FURTHER["scrfd of one anchor"] = Layout("scrfd", _scrfd(1, True), _scrfd_truth(1), iou=0.4, counts=(1,))


# CenterNet (xingyizhou/CenterNet, src/lib/models/decode.py: ctdet_decode)


def _centernet(done: bool) -> Callable[[Levels], dict[str, int]]:
    def build(net: Levels) -> dict[str, int]:
        net.node("Sigmoid" if done else "Identity", [net.head("cls", net.classes, 0)], name="hm")
        net.node("Exp", [net.head("box", 2, 0, 0.4)], name="wh")
        net.node("Sigmoid", [net.head("reg", 2, 0)], name="reg")
        return dict.fromkeys(("hm", "wh", "reg"), FLOAT)

    return build


def _centernet_truth(outputs: Arrays, classes: int) -> Truth:
    heat, wh, reg = outputs["hm"][0], outputs["wh"][0], outputs["reg"][0]
    heat = heat if heat.min() >= 0 and heat.max() <= 1 else sigmoid(heat)
    found = []
    for label, y, x in np.ndindex(*heat.shape):
        window = heat[label, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        if heat[label, y, x] == window.max():
            cx, cy = x + reg[0, y, x], y + reg[1, y, x]
            w, h = wh[:, y, x] / 2
            found.append((heat[label, y, x], label, [4 * v for v in (cx - w, cy - h, cx + w, cy + h)]))
    found.sort(key=lambda one: -one[0])
    scores, labels, boxes = zip(*found[:100], strict=True)
    return Truth(np.array(boxes), np.array(scores), np.array(labels))


for _done in (True, False):
    FURTHER[f"centernet, {'probabilities' if _done else 'logits'}"] = Layout(
        "centernet", _centernet(_done), _centernet_truth, "selected", strides=(4,), preset=()
    )


# SSD and RetinaFace (biubug6/Pytorch_Retinaface, utils/box_utils.py: decode): priors of centre and size, 0 to 1


def priors(net: Levels) -> np.ndarray:
    """Two a cell: float32 [N, 4]."""
    found = []
    for (height, width), stride in zip(net.sizes(), net.strides, strict=True):
        for x, y in cells(height, width):
            for side in (2, 4):
                sides = (side * stride / WIDTH, side * stride / HEIGHT)
                found.append([(x + 0.5) * stride / WIDTH, (y + 0.5) * stride / HEIGHT, *sides])
    return np.array(found, np.float32)


def _rows(net: Levels, kind: str, columns: int, spread: float = 2.0) -> str:
    levels = []
    for k in range(len(net.strides)):
        found = net.Transpose(net.head(kind, 2 * columns, k, spread), perm=[0, 2, 3, 1])
        levels.append(net.Reshape(found, np.array([1, -1, columns])))
    return net.Concat(*levels, axis=1)


def _ssd(inside: bool) -> Callable[[Levels], dict[str, int]]:
    def build(net: Levels) -> dict[str, int]:
        net.node("Identity", [_rows(net, "box", 4, 1.0)], name="loc")
        net.node("Softmax", [_rows(net, "cls", net.classes + 1)], axis=2, name="conf")
        stored = net.constant(priors(net), "stored")
        if inside:
            net.node("Identity", [stored], name="priors")
        return {"loc": FLOAT, "conf": FLOAT, **({} if not inside else {"priors": FLOAT})}

    return build


def _ssd_truth(outputs: Arrays, classes: int) -> Truth:
    loc, conf = list(outputs.values())[:2]
    prior = priors(Levels(classes))
    centre = prior[:, :2] + loc[0][:, :2] * 0.1 * prior[:, 2:]
    size = prior[:, 2:] * np.exp(loc[0][:, 2:].astype(np.float64) * 0.2)
    return Truth(corners(np.concatenate([centre, size], 1)) * WHOLE, conf[0][:, 1:])


for _inside in (True, False):
    FURTHER[f"ssd, priors {'as an output' if _inside else 'stored'}"] = Layout(
        "ssd", _ssd(_inside), _ssd_truth, single=False, iou=0.5, options={"background": "first"}, preset=(),
        counts=(1, 2, 4, 80),
    )  # fmt: skip


# EfficientDet (zylo117/Yet-Another-EfficientDet-Pytorch, efficientdet/utils.py: BBoxTransform): y x h w, no variances


def anchors(net: Levels) -> np.ndarray:
    """y1 x1 y2 x2 in pixels."""
    centre, size = priors(net)[:, :2] * WHOLE[:2], priors(net)[:, 2:] * WHOLE[:2]
    boxes = np.concatenate([centre - size / 2, centre + size / 2], 1)
    return np.ascontiguousarray(boxes[:, [1, 0, 3, 2]], np.float32)


def _efficientdet(net: Levels) -> dict[str, int]:
    net.node("Identity", [_rows(net, "box", 4, 0.5)], name="regression")
    net.node("Sigmoid", [_rows(net, "cls", net.classes)], name="classification")
    net.node("Identity", [anchors(net)[None]], name="anchors")
    return {"regression": FLOAT, "classification": FLOAT, "anchors": FLOAT}


def _efficientdet_truth(outputs: Arrays, classes: int) -> Truth:
    regression, scores, anchor = (array[0] for array in outputs.values())
    y, x = (anchor[:, 0] + anchor[:, 2]) / 2, (anchor[:, 1] + anchor[:, 3]) / 2
    ha, wa = anchor[:, 2] - anchor[:, 0], anchor[:, 3] - anchor[:, 1]
    w, h = np.exp(regression[:, 3].astype(np.float64)) * wa, np.exp(regression[:, 2].astype(np.float64)) * ha
    cy, cx = regression[:, 0] * ha + y, regression[:, 1] * wa + x
    return Truth(np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1), scores)


FURTHER["efficientdet"] = Layout(
    "efficientdet", _efficientdet, _efficientdet_truth, single=False, iou=0.5, preset=(), counts=(1, 2, 3, 80)
)


# PicoDet (PaddlePaddle/PaddleDetection, deploy/third_engine/demo_onnxruntime/infer_demo.py) and NanoDet by level


def _picodet(net: Levels) -> dict[str, int]:
    made = {}
    for kind, channels in (("cls", net.classes), ("reg", 32)):
        for k, stride in enumerate(net.strides):
            rows = net.Transpose(net.lines(net.head(kind, channels, k), channels), perm=[0, 2, 1])
            net.node("Sigmoid" if kind == "cls" else "Identity", [rows], name=f"{kind}_{stride}")
            made[f"{kind}_{stride}"] = FLOAT
    return made


def _picodet_truth(strides: tuple[int, ...]) -> Callable[[Arrays, int], Truth]:
    def truth(outputs: Arrays, classes: int) -> Truth:
        arrays = [array[0] for array in outputs.values()]
        scores, raw = arrays[: len(strides)], arrays[len(strides) :]
        boxes = []
        for stride, sides in zip(strides, raw, strict=True):
            columns, rows = np.meshgrid(np.arange(WIDTH / stride), np.arange(HEIGHT / stride))
            x, y = ((one.flatten() + 0.5) * stride for one in (columns, rows))
            bins = np.exp(sides.reshape(-1, 8).astype(np.float64))
            distance = (bins / bins.sum(1, keepdims=True) * np.arange(8)).sum(1).reshape(-1, 4) * stride
            boxes.append(np.stack([x, y, x, y], 1) + np.array([-1, -1, 1, 1]) * distance)
        return Truth(np.concatenate(boxes), np.concatenate(scores))

    return truth


for _name, _strides, _preset in (("picodet", (8, 16, 32, 64), "paddle"), ("nanodet-levels", STRIDES, "nanodet")):
    FURTHER[_name] = Layout(
        _name,
        _picodet,
        _picodet_truth(_strides),
        single=False,
        iou=0.6,
        strides=_strides,
        preset=(_preset,),
        counts=(1, 2, 3, 32, 80),
    )
