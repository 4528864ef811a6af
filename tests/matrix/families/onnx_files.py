"""Files as other people's exporters write them, with the live models that they were made of."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from tests.matrix.families import classifiers, mmdet, mmyolo
from tests.matrix.registry import FAMILIES, PICTURES, SHAPE, Family, Forms, Found, Subject

SMALL = (128, 160)
IMAGE = Forms("whole", None)
SIDES = ("x1", "y1", "x2", "y2")


def save(model: nn.Module, given: Any, path: Path, outputs: Sequence[str]) -> Path:
    """A model as torch's own exporter writes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (given,), path, dynamo=False, opset_version=18, input_names=["image"], output_names=list(outputs)
        )
    return path


def canvases(specs: Sequence[str], shape: tuple[int, int]) -> torch.Tensor:
    """The pictures as a model's input, [N, 3, H, W]."""
    import onnx_ir as ir

    from boxcam.export.preprocessing import parse
    from boxcam.runtime.images import read_image
    from boxcam.runtime.preprocess import prepare

    spec = parse.parse(specs, [1, 3, *shape], ir.DataType.FLOAT, None)
    return torch.cat([torch.from_numpy(prepare(read_image(picture), spec)[0]) for picture in PICTURES])


def suppressed(boxes: torch.Tensor, scores: torch.Tensor, threshold: float, iou: float, best_only: bool) -> Found:
    """Boxes [N, 4] and scores [N, C] as torchvision suppresses them, class by class; the best 300."""
    if best_only:
        best = nn.functional.one_hot(scores.argmax(1), scores.shape[1]).bool()
        row, label = ((scores > threshold) & best).nonzero(as_tuple=True)
    else:
        row, label = (scores > threshold).nonzero(as_tuple=True)
    kept = torchvision.ops.batched_nms(boxes[row], scores[row, label], label, iou)[:300]
    return Found(boxes[row[kept]], scores[row, label][kept], label[kept])


def ssdlite(folder: Path) -> Subject:
    """torchvision's SSDLite as a whole: normalisation, selection and suppression are in the file."""
    from boxcam.export.sources.torchvision import detectors as zoo
    from tests.matrix import torchvision_models as models

    torch.manual_seed(2)
    classes = 6
    rows = {"head.classification_head.module_list.0.1.weight": torch.zeros(6 * classes, 1)}
    model = zoo.build("ssdlite320_mobilenet_v3_large", rows)
    preprocess = ["torchvision", "resize=stretch"]
    images = canvases(preprocess, (320, 320))
    models.enliven(model, (images - 0.5) / 0.5)  # as its own transform does

    def detect(image: torch.Tensor) -> Found:
        found = model([image[0]])[0]
        return Found(found["boxes"], found["scores"], found["labels"])

    path = save(model, [images[0]], folder / "ssdlite.onnx", ["boxes", "scores", "labels"])
    return Subject(
        arguments=[path],
        model=model,
        detect=detect,
        layers={"neck": model.backbone},
        run=detect,
        options={"preprocess": preprocess, "sample": PICTURES[0]},
    )


class RawRetinaNet(nn.Module):
    """Scores [1, N, C] and boxes [1, N, 4] of a RetinaNet, before it selects any of them."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

        backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5)
        self.model = torchvision.models.detection.RetinaNet(backbone, classes).eval()

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        from torchvision.models.detection.image_list import ImageList

        features = list(self.model.backbone(image).values())
        found = self.model.head(features)
        size = (int(image.shape[2]), int(image.shape[3]))
        (anchors,) = self.model.anchor_generator(ImageList(image, [size]), features)
        boxes = self.model.box_coder.decode_single(found["bbox_regression"][0], anchors)
        return found["cls_logits"].sigmoid(), boxes[None]


def retinanet(folder: Path) -> Subject:
    """A RetinaNet without its selection, its outputs told by --scores and --boxes, with --nms."""
    from tests.matrix import torchvision_models as models

    torch.manual_seed(0)
    raw = RawRetinaNet(classes=20).eval()
    preprocess = ["imagenet", "resize=stretch"]
    images = canvases(preprocess, SMALL)
    models.enliven(raw.model, images)

    def detect(image: torch.Tensor) -> Found:
        scores, boxes = raw(image)
        return suppressed(boxes[0], scores[0], 0.05, 0.4, best_only=False)

    return Subject(
        arguments=[save(raw, images[:1], folder / "retinanet.onnx", ["probability", "place"])],
        model=raw,
        detect=detect,
        layers={"neck": raw.model.backbone.fpn},
        run=raw,
        options={
            "preprocess": preprocess,
            "sample": PICTURES[0],
            "scores": "probability",
            "boxes": "place",
            "box_format": "xyxy",
            "box_scale": "pixels",
            "nms_threshold": 0.4,
        },
        boxes=12,
    )


class OneTensor(nn.Module):
    """Boxes, centre and size, and class probabilities of a YOLOv8 in one tensor, [1, 4 + C, N], as of Ultralytics."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        head = self.model.bbox_head
        scores, distances = head(self.model.extract_feat(image))[:2]
        boxes = []
        for distance, stride in zip(distances, head.featmap_strides, strict=True):
            rows, columns = (torch.arange(int(size), dtype=torch.float32) + 0.5 for size in distance.shape[2:])
            y, x = torch.meshgrid(rows, columns, indexing="ij")
            low, high = distance.chunk(2, 1)
            centre = torch.stack([x, y])[None] + (high - low) / 2
            boxes.append((torch.cat([centre, low + high], 1) * stride).flatten(2))
        return torch.cat([torch.cat(boxes, 2), torch.cat([score.flatten(2) for score in scores], 2).sigmoid()], 1)


def yolo(folder: Path) -> Subject:
    """mmyolo's YOLOv8, its outputs put together as Ultralytics does; scores and boxes are found in the file."""
    made = mmyolo.made("mmyolo", "yolov8/yolov8_n_syncbn_fast_8xb16-500e_coco.py")(folder)
    raw = OneTensor(made.model).eval()

    def detect(image: torch.Tensor) -> Found:
        rows = raw(image)[0].T
        centre, size = rows[:, :2], rows[:, 2:4]
        return suppressed(torch.cat([centre - size / 2, centre + size / 2], 1), rows[:, 4:], 0.001, 0.7, best_only=True)

    preprocess = ["yolo", "resize=stretch"]
    return Subject(
        arguments=[save(raw, canvases(preprocess, SHAPE)[:1], folder / "yolo.onnx", ["output0"])],
        model=made.model,
        detect=detect,
        layers={"neck": raw.model.neck},
        run=raw,
        options={"preprocess": preprocess, "sample": PICTURES[0], "score_threshold": 0.001},
        boxes=12,
    )


def transformer(folder: Path) -> Subject:
    """A small vision transformer by torchvision's class."""
    torch.manual_seed(0)
    model = torchvision.models.VisionTransformer(
        image_size=64, patch_size=8, num_layers=3, num_heads=4, hidden_dim=64, mlp_dim=128,
        num_classes=classifiers.CLASSES,
    ).eval()  # fmt: skip
    images = canvases(["imagenet"], (64, 64))
    classifiers.lively(model, images)
    return Subject(
        arguments=[save(model, images[:1], folder / "vit.onnx", ["logits"])],
        model=model,
        detect=lambda image: classifiers.detect(model, image),
        layers={"features": model.encoder.layers[-1].ln_1},
        run=model,
        options={"preprocess": "imagenet", "sample": PICTURES[0]},
    )


FAMILIES.register("ONNX files: SSDLite320 MobileNetV3, suppression inside")(
    Family(
        {"neck": Forms("whole", "windows"), "image": IMAGE},
        ssdlite,
        note="torchvision's model as torch exports the whole of it, transform and suppression included.",
        guided={"logit": "whole"},
    )
)
FAMILIES.register("ONNX files: RetinaNet R18, raw scores and boxes")(
    Family(
        {"neck": "windows"},
        retinanet,
        note="with `--scores`, `--boxes` and `--nms`; the other side is torchvision's suppression of the same.",
        targets={"score": {"neck": Forms("windows", None)}, "x1": {"neck": IMAGE}},
    )
)
FAMILIES.register("ONNX files: YOLOv8 n, boxes and scores in one tensor")(
    Family(
        {"neck": "windows"},
        yolo,
        within=mmdet.bridged,
        note="mmyolo's model with outputs as Ultralytics has them, [1, 4 + C, N].",
        targets={target: {"neck": Forms("windows", None)} for target in ("score", *SIDES)},
    )
)
FAMILIES.register("ONNX files: vision transformer, three blocks")(
    Family(
        {"features": "whole", "image": IMAGE},
        transformer,
        note="its layer is the first norm of the last block: the tokens as a map, without the class token.",
        targets={"score": {"features": IMAGE}},
        guided={"logit": "whole"},
    )
)
