"""Detectors with random weights whose activations and gradients are alive, for benchmarks and the matrix of tests.

With mmdet's own initialisation a random detector hides errors behind vanishing signals, so BatchNorm is calibrated on
pictures, and heads are scaled until there are boxes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import mmdet
import numpy as np
import torch
from mmengine import Config

from boxcam.export.sources.openmmlab import config as mmdet_config
from boxcam.export.sources.openmmlab.export import build
from boxcam.runtime.images import read_image
from boxcam.runtime.preprocess import prepare

CONFIGS = Path(os.path.dirname(mmdet.__file__)) / ".mim" / "configs"
_FOLDER = Path(__file__).resolve().parents[1] / "examples" / "signs" / "images"
PICTURES = [_FOLDER / f"{name}.jpg" for name in ("coffee", "houses", "saucer")]


def make(
    name: str,
    folder: Path,
    shape: tuple[int, int],
    pictures: Sequence[Path] = PICTURES,
    seed: int = 0,
    all_levels: bool = False,
) -> tuple[Path, Path, Any]:
    """Config file, checkpoint file and model of a detector out of mmdet's own configs.

    Args:
        name: of the config, in mmdet's folder of configs.
        folder: where the checkpoint goes.
        shape: height and width of the model's input.
        pictures: what it is calibrated on.
        seed: of the weights.
        all_levels: the best boxes of a one-stage detector come from all its levels, as a trained one's do; otherwise
            most come from the level with the most cells.
    """
    config_path = CONFIGS / name
    config = mmdet_config.read_config(str(config_path))
    torch.manual_seed(seed)
    model = build(config, str(config_path))
    images = torch.cat([canvas(config, picture, shape) for picture in pictures])
    calibrate(model, images)
    _enliven(model, images, all_levels)
    checkpoint = folder / (config_path.stem + ".pth")
    torch.save({"state_dict": model.state_dict(), "meta": {}}, checkpoint)
    return config_path, checkpoint, model.eval()


def canvas(config: Config, picture: Path, shape: tuple[int, int]) -> torch.Tensor:
    """A picture as the model's input."""
    spec = mmdet_config.preprocess(config, "config", shape)
    return torch.from_numpy(prepare(read_image(picture), spec)[0])


def calibrate(model: Any, images: torch.Tensor) -> None:
    """Set the statistics of BatchNorm to those of some images."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    with torch.no_grad():
        for _ in range(2):
            (model if isinstance(model, YoloMaps) else model.backbone)(images)
    for norm in norms:
        norm.eval()


def yolo(shape: tuple[int, int], picture: Path = PICTURES[0], seed: int = 0) -> tuple[torch.nn.Module, torch.Tensor]:
    """mmyolo's YOLOv8-s with BatchNorm fused, and its input on a picture.

    The module gives the levels' class logits, their boxes, and the neck's outputs, which ``neck.out_layers`` give too.
    It is made without a checkpoint; its logits have a standard deviation of about 1.
    """
    import mmyolo
    from mmcv.cnn import fuse_conv_bn
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import DefaultScope
    from mmyolo.registry import MODELS
    from mmyolo.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    configs = Path(os.path.dirname(mmyolo.__file__)) / ".mim" / "configs"
    config = Config.fromfile(configs / "yolov8" / "yolov8_s_syncbn_fast_8xb16-500e_coco.py")
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope("mmyolo"):
        model = revert_sync_batchnorm(MODELS.build(config.model)).eval()
    height, width = shape
    pixels = cv2.resize(read_image(picture), (width, height))[:, :, ::-1]
    image = torch.from_numpy((pixels / 255).astype(np.float32).transpose(2, 0, 1)[None].copy())
    whole = YoloMaps(model)
    calibrate(whole, image)
    with torch.no_grad():
        last = [branch[-1] for branch in model.bbox_head.head_module.cls_preds]
        for layer in last:
            torch.nn.init.normal_(layer.weight, std=layer.in_channels**-0.5)
            torch.nn.init.zeros_(layer.bias)
        balance(last, whole(image)[: len(last)])
    # PyTorch's gradient of BatchNorm on the CPU can be wrong for a batch of one; a deployed model has none either.
    return fuse_conv_bn(whole).eval(), image


class YoloMaps(torch.nn.Module):
    """A YOLO of mmyolo without the selection of boxes: class logits, boxes and the neck's outputs, level by level."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone, self.neck, self.head = model.backbone, model.neck, model.bbox_head.head_module

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        levels = self.neck(self.backbone(image))
        logits, boxes = self.head(levels)[:2]
        return (*logits, *boxes, *levels)


def _enliven(model: Any, images: torch.Tensor, all_levels: bool) -> None:
    """Variance-preserving heads, with class biases such that some dozens of boxes come out."""
    dense = model.bbox_head if hasattr(model, "bbox_head") else model.rpn_head
    for module in [
        *model.neck.modules(),
        *dense.modules(),
        *(model.roi_head.modules() if hasattr(model, "roi_head") else []),
    ]:
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            torch.nn.init.normal_(module.bias, std=0.05)
    with torch.no_grad():
        for conv, level in zip(model.neck.fpn_convs, model.extract_feat(images), strict=False):
            conv.conv.weight.mul_(1 / level.std())
        features = model.extract_feat(images)
        if hasattr(model, "roi_head"):
            scores, deltas = model.rpn_head(features)
            _spread(model.rpn_head.rpn_cls, scores, 1.5)
            _spread(model.rpn_head.rpn_reg, deltas, 0.3)
            head = model.roi_head.bbox_head
            rois = torch.tensor([[0.0, x, y, x + 48, y + 40] for x in range(0, 200, 40) for y in range(0, 150, 40)])
            scores, deltas = head(model.roi_head.bbox_roi_extractor(features[:4], rois))
            head.fc_cls.weight.mul_(2.0 / scores.std())
            head.fc_reg.weight.mul_(0.3 / deltas.std())
        else:
            scores, deltas = model.bbox_head(features)
            _spread(model.bbox_head.retina_cls, scores, 1.5)
            _spread(model.bbox_head.retina_reg, deltas, 0.3)
            for _ in range(3 if all_levels else 0):  # a level is computed from the one before it, so not at one go
                scores = model.bbox_head(model.extract_feat(images))[0]
                convs = [conv.conv for conv in model.neck.fpn_convs]
                balance(convs, [level - model.bbox_head.retina_cls.bias.mean() for level in scores])
            features = model.extract_feat(images)
            # Few candidates: of many, two are so alike that float32 noise decides which of them NMS keeps.
            _limit(model.bbox_head.retina_cls, model.bbox_head(features)[0], 200 if all_levels else 900)


def balance(layers: Sequence[Any], outputs: Sequence[torch.Tensor]) -> None:
    """Scale one layer for each level so that the best 100 logits come from all levels, most from the finest."""
    ranks = (40, 30, 15, 10, 5)
    heights = [float(level.flatten().topk(rank).values[-1]) for rank, level in zip(ranks, outputs, strict=False)]
    for layer, height in zip(layers, heights, strict=True):
        layer.weight.mul_(heights[0] / height)


def _spread(layer: torch.nn.Conv2d, outputs: Sequence[torch.Tensor], deviation: float) -> None:
    """Scale a layer so that its outputs have the given standard deviation."""
    layer.weight.mul_(deviation / torch.cat([level.flatten() for level in outputs]).std())


def _limit(layer: torch.nn.Conv2d, outputs: Sequence[torch.Tensor], most: int) -> None:
    """Shift logits so that no level of any picture has more than so many above the score threshold of 0.05.

    Before NMS mmdet keeps the best 1000 pairs of anchor and class of a level, mmdeploy the best 1000 anchors.
    """
    threshold = -2.944
    highest = max(
        float(image.flatten().topk(most).values[-1]) for level in outputs for image in level if image.numel() > most
    )
    layer.bias.fill_(threshold - highest)
