"""Detectors with random weights whose activations and gradients are alive: benchmarks and parity tests run on them.

With mmdet's own initialisation a random detector hides errors behind vanishing signals, so BatchNorm is calibrated on
pictures, and heads are scaled until there are boxes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmdet
import torch
from mmengine import Config

from boxcam.export.sources import mmdet as source
from boxcam.export.sources import mmdet_config
from boxcam.runtime.images import read_image
from boxcam.runtime.preprocess import prepare

CONFIGS = Path(os.path.dirname(mmdet.__file__)) / ".mim" / "configs"
_FOLDER = Path(__file__).resolve().parents[1] / "examples" / "signs" / "images"
PICTURES = [_FOLDER / f"{name}.jpg" for name in ("coffee", "houses", "saucer")]


def make(
    name: str, folder: Path, shape: tuple[int, int], pictures: Sequence[Path] = PICTURES, seed: int = 0
) -> tuple[Path, Path, Any]:
    """Config file, checkpoint file and model of a detector out of mmdet's own configs.

    Args:
        name: of the config, in mmdet's folder of configs.
        folder: where the checkpoint goes.
        shape: height and width of the model's input.
        pictures: what it is calibrated on.
        seed: of the weights.
    """
    config_path = CONFIGS / name
    config = mmdet_config.read_config(str(config_path))
    torch.manual_seed(seed)
    model = source.build(config, str(config_path))
    images = torch.cat([canvas(config, picture, shape) for picture in pictures])
    calibrate(model, images)
    _enliven(model, images)
    checkpoint = folder / (config_path.stem + ".pth")
    torch.save({"state_dict": model.state_dict(), "meta": {}}, checkpoint)
    return config_path, checkpoint, model.eval()


def canvas(config: Config, picture: Path, shape: tuple[int, int]) -> torch.Tensor:
    """A picture as the model's input."""
    spec = mmdet_config.preprocess(config, "config", shape)
    return torch.from_numpy(prepare(read_image(picture), spec)[0])


def calibrate(model: Any, images: torch.Tensor) -> None:
    """Set the statistics of a backbone's BatchNorm (of all of a model that has none) to those of some images."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    with torch.no_grad():
        for _ in range(2):
            getattr(model, "backbone", model)(images)
    for norm in norms:
        norm.eval()


def _enliven(model: Any, images: torch.Tensor) -> None:
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
            _limit(model.bbox_head.retina_cls, model.bbox_head(features)[0], 900)


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
