"""Tiny detectors, exported by torch as each convention has them, and what they report by torch itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torchvision
from torch import Tensor, nn

HEIGHT, WIDTH, CLASSES = 64, 96, 3
STRIDES = (8, 16)
THRESHOLD, IOU = 0.3, 0.5


class Body(nn.Module):
    """Two feature maps, ``neck``, and from each of their cells a box and a logit for each class.

    Call it with a picture [1, 3, 64, 96]; it returns boxes [1, N, 4] (x1 y1 x2 y2 in pixels) and logits [1, N, C].
    """

    def __init__(self, classes: int = CLASSES, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)

        def block(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.ReLU())

        self.stem = nn.Sequential(block(3, 8), block(8, 8))
        self.fine, self.coarse = block(8, 12), block(12, 12)
        self.score = nn.Sequential(nn.Conv2d(12, 12, 3, 1, 1), nn.ReLU(), nn.Conv2d(12, classes, 1))
        self.box = nn.Sequential(nn.Conv2d(12, 12, 3, 1, 1), nn.ReLU(), nn.Conv2d(12, 4, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 1.6 / math.sqrt(module.weight[0].numel()))
        self.features: list[Tensor] = []

    def neck(self, image: Tensor) -> list[Tensor]:
        fine = self.fine(self.stem(image))
        return [fine, self.coarse(fine)]

    def heads(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        boxes, logits = [], []
        for feature, stride in zip(features, STRIDES, strict=True):
            height, width = HEIGHT // stride, WIDTH // stride
            y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
            centre = torch.stack([x, y], 2).reshape(1, -1, 2) * stride
            sides = (self.box(feature).flatten(2).transpose(1, 2).sigmoid() + 0.3) * 2 * stride
            boxes.append(torch.cat([centre - sides[..., :2], centre + sides[..., 2:]], 2))
            logits.append(self.score(feature).flatten(2).transpose(1, 2))
        return torch.cat(boxes, 1), torch.cat(logits, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.heads(self.neck(image))


@dataclass(frozen=True)
class Found:
    """Detections: boxes [K, 4], scores [K], labels [K], and the flat position of each one's logit among [N, C]."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    logits: np.ndarray


def by_suppression(boxes: Tensor, scores: Tensor, *, single: bool, threshold: float = THRESHOLD) -> Found:
    """Class-wise suppression by torchvision: boxes [N, 4], scores [N, C]."""
    kept = torch.where(scores == scores.max(1, keepdim=True).values, scores, torch.zeros(())) if single else scores
    rows, labels = (kept > threshold).nonzero(as_tuple=True)
    chosen = torchvision.ops.batched_nms(boxes[rows], scores[rows, labels], labels, IOU)[:300]
    rows, labels = rows[chosen], labels[chosen]
    return found(boxes[rows], scores[rows, labels], labels, rows * scores.shape[1] + labels)


def found(boxes: Tensor, scores: Tensor, labels: Tensor, logits: Tensor) -> Found:
    return Found(*(value.detach().numpy() for value in (boxes, scores, labels, logits)))


def cxcywh(boxes: Tensor) -> Tensor:
    return torchvision.ops.box_convert(boxes, "xyxy", "cxcywh")


@dataclass(frozen=True)
class Case:
    """A convention.

    Attributes:
        wrap: from boxes [1, N, 4] and logits [1, N, C] to the outputs.
        outputs: their names.
        expected: the detections, from boxes [N, 4] and logits [N, C], in torch.
        options: what `boxcam.export` is told.
        classes: of the network, the one that stands for nothing included.
        metadata: of the file.
        extra: names and values of further inputs.
        preprocess: of the export; None where the file says it.
        channels_last: the input is [1, height, width, 3].
    """

    wrap: Callable[[Tensor, Tensor], Any]
    outputs: tuple[str, ...]
    expected: Callable[[Tensor, Tensor], Found]
    options: Mapping[str, Any] = field(default_factory=dict)
    classes: int = CLASSES
    metadata: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    preprocess: tuple[str, ...] | None = ("imagenet", "resize=stretch")
    channels_last: bool = False
    dynamic: bool = False


class Deployed(nn.Module):
    """A case as a module to export."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case, self.body = case, Body(case.classes)

    def forward(self, image: Tensor, *extra: Tensor) -> Any:
        if self.case.channels_last:
            image = image.permute(0, 3, 1, 2)
        boxes, logits = self.body(image)
        if extra:  # Paddle's: boxes of the original image
            boxes = boxes / extra[-1].flip(1).repeat(1, 2).unsqueeze(1)
        return self.case.wrap(boxes, logits)


def export(case: Case, path: Path) -> Deployed:
    """Write a case's ONNX file."""
    model = Deployed(case).eval()
    shape = (1, HEIGHT, WIDTH, 3) if case.channels_last else (1, 3, HEIGHT, WIDTH)
    inputs = (torch.rand(shape), *(torch.tensor(value) for value in case.extra.values()))
    spatial = (1, 2) if case.channels_last else (2, 3)
    torch.onnx.export(
        model,
        inputs,
        str(path),
        dynamo=False,
        opset_version=17,
        input_names=["image", *case.extra],
        output_names=list(case.outputs),
        dynamic_axes={"image": {0: "batch", spatial[0]: "height", spatial[1]: "width"}} if case.dynamic else None,
    )
    if case.metadata:
        written = onnx.load(str(path))
        onnx.helper.set_model_props(written, dict(case.metadata))
        onnx.save(written, str(path))
    return model


def _nms(boxes: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Suppression in the graph, as torchvision exports it: boxes [K, 4], scores [K], labels [K]."""
    scores, labels = logits[0].sigmoid().max(1)
    rows = (scores > THRESHOLD).nonzero().squeeze(1)
    boxes, scores, labels = boxes[0][rows], scores[rows], labels[rows]
    chosen = torchvision.ops.nms(boxes + labels[:, None] * 1000.0, scores, IOU)
    return boxes[chosen], scores[chosen], labels[chosen]


def _by_nms(boxes: Tensor, logits: Tensor) -> Found:
    return by_suppression(boxes, logits.sigmoid(), single=True)


def _ultralytics(boxes: Tensor, logits: Tensor) -> Tensor:
    return torch.cat([cxcywh_graph(boxes), logits.sigmoid()], 2).transpose(1, 2)


def cxcywh_graph(boxes: Tensor) -> Tensor:
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], -1)


def _normalized(boxes: Tensor) -> Tensor:
    return boxes / torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])


def _paddle(boxes: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    boxes, scores, labels = _nms(boxes, logits)
    table = torch.cat([labels[:, None].float(), scores[:, None], boxes], 1)
    return table, torch.tensor(table.shape[0]).reshape(1).int()


def _tensorflow(boxes: Tensor, logits: Tensor) -> tuple[Tensor, ...]:
    boxes, scores, labels = _nms(_normalized(boxes), logits)
    boxes = boxes[:, [1, 0, 3, 2]]
    count = torch.tensor(scores.shape[0]).reshape(1).float()
    return boxes[None], scores[None], (labels + 1).float()[None], count


def _by_tensorflow(boxes: Tensor, logits: Tensor) -> Found:
    one = _by_nms(boxes, logits)
    return Found(one.boxes, one.scores, one.labels + 1, one.logits)


def _table(boxes: Tensor, logits: Tensor) -> Tensor:
    scores, index = logits.sigmoid().flatten(1).topk(20)
    rows = index[0] // CLASSES
    return torch.cat([boxes[:, rows], scores[..., None], (index % CLASSES).float()[..., None]], 2)


def _by_table(boxes: Tensor, logits: Tensor) -> Found:
    scores, index = logits.sigmoid().flatten().topk(20)
    return found(boxes[index // CLASSES], scores, index % CLASSES, index)


def _by_queries(boxes: Tensor, logits: Tensor) -> Found:
    scores, index = logits.sigmoid().flatten().topk(len(logits))
    return found(boxes[index // CLASSES], scores, index % CLASSES, index)


def _by_detr(boxes: Tensor, logits: Tensor) -> Found:
    scores, labels = logits.softmax(1)[:, :-1].max(1)
    order = scores.argsort(descending=True)
    return found(boxes[order], scores[order], labels[order], order * logits.shape[1] + labels[order])


def _by_yolov5(boxes: Tensor, logits: Tensor) -> Found:
    """The first logit is the objectness, a factor of all classes."""
    scores = logits[:, :1].sigmoid() * logits[:, 1:].sigmoid()
    one = by_suppression(boxes, scores, single=True, threshold=0.15)
    rows = one.logits // scores.shape[1]
    return Found(one.boxes, one.scores, one.labels, rows * logits.shape[1] + one.labels + 1)


def _decode(op: Any, outputs: Mapping[str, Any]) -> tuple[Any, Any]:
    place = outputs["corner_size"]
    corner, size = op.Slice(place, [0], [2], [2]), op.Slice(place, [2], [4], [2])
    scores = op.Sigmoid(op.Transpose(outputs["class_logits"], perm=[0, 2, 1]))
    return op.Concat(corner, op.Add(corner, size), axis=2), scores


def _by_ssd(boxes: Tensor, logits: Tensor) -> Found:
    one = by_suppression(boxes, logits.softmax(1)[:, 1:], single=False)
    rows = one.logits // (logits.shape[1] - 1)
    return Found(one.boxes, one.scores, one.labels, rows * logits.shape[1] + one.labels + 1)


LIMITS = {"score_threshold": THRESHOLD, "nms_threshold": IOU}
NAMES = {"class_names": ["car", "cat", "cup"]}
YOLO = {"names": "{0: 'car', 1: 'cat', 2: 'cup'}", "stride": "16", "task": "detect", "imgsz": f"[{HEIGHT}, {WIDTH}]"}

RIVALS = Case(
    lambda b, s: (b[..., [1, 0, 3, 2]], b, s.sigmoid(), s.sigmoid() / 2),
    ("turned", "places", "first", "second"),
    _by_nms,
)
"""Several outputs that may be boxes and scores."""

CASES: dict[str, Case] = {
    "torchvision": Case(lambda b, s: _nms(b, s), ("boxes", "scores", "labels"), _by_nms),
    "mmdeploy": Case(
        lambda b, s: (lambda t: (torch.cat([t[0], t[1][:, None]], 1)[None], t[2][None]))(_nms(b, s)),
        ("dets", "labels"),
        _by_nms,
    ),
    "paddle": Case(
        _paddle,
        ("multiclass_nms3_0.tmp_0", "multiclass_nms3_0.tmp_2"),
        _by_nms,
        extra={"im_shape": [[float(HEIGHT), float(WIDTH)]], "scale_factor": [[1.0, 1.0]]},
        preprocess=("paddle",),
    ),
    "tensorflow": Case(
        _tensorflow,
        ("detection_boxes", "detection_scores", "detection_classes", "num_detections"),
        _by_tensorflow,
        preprocess=("tf", "resize=stretch"),
        channels_last=True,
    ),
    "table": Case(_table, ("output0",), _by_table),
    "table of centres": Case(  # RT-DETR by Ultralytics
        lambda b, s: _table(_normalized(cxcywh_graph(b)), s), ("output0",), _by_table
    ),
    "ultralytics": Case(
        _ultralytics,
        ("output0",),
        _by_nms,
        {**LIMITS, "shape": (HEIGHT, WIDTH)},
        metadata=YOLO,
        preprocess=None,
        dynamic=True,
    ),
    "boxes and scores": Case(
        lambda b, s: (b, s.sigmoid()),
        ("boxes", "scores"),
        lambda b, s: by_suppression(b, s.sigmoid(), single=False),
        LIMITS,
    ),
    "classes in front": Case(  # PaddleDetection without suppression: scores [1, C, N]
        lambda b, s: (b, s.sigmoid().transpose(1, 2)),
        ("tmp_16", "concat_14.tmp_0"),
        lambda b, s: by_suppression(b, s.sigmoid(), single=False),
        LIMITS,
    ),
    "raw logits": Case(
        lambda b, s: (_normalized(cxcywh_graph(b)), s),
        ("regression", "classification"),
        lambda b, s: by_suppression(b, s.sigmoid(), single=False),
        {**LIMITS, "score_activation": "sigmoid"},
    ),
    "rt-detr": Case(lambda b, s: (s, _normalized(cxcywh_graph(b))), ("logits", "pred_boxes"), _by_queries, NAMES),
    "detr": Case(
        lambda b, s: (s, _normalized(cxcywh_graph(b))),
        ("logits", "pred_boxes"),
        _by_detr,
        {**NAMES, "score_activation": "softmax"},
        classes=CLASSES + 1,
    ),
    "yolov5": Case(
        lambda b, s: torch.cat([cxcywh_graph(b), s[..., :1].sigmoid(), s[..., 1:].sigmoid()], 2),
        ("output",),
        _by_yolov5,
        {**LIMITS, **NAMES, "score_threshold": 0.15},
        CLASSES + 1,
    ),
    "a function": Case(  # corner and size, and scores with the classes in front
        lambda b, s: (torch.cat([b[..., :2], b[..., 2:] - b[..., :2]], 2), s.transpose(1, 2)),
        ("corner_size", "class_logits"),
        lambda b, s: by_suppression(b, s.sigmoid(), single=False),
        {**LIMITS, "decode": _decode},
    ),
    "ssd": Case(
        lambda b, s: (b, s.softmax(2)), ("boxes", "scores"), _by_ssd, {**LIMITS, "background": "first"}, CLASSES + 1
    ),
}
