"""torchvision's detectors with random weights whose activations and gradients are alive.

As for mmdet's in `benchmarks.models`: BatchNorm is calibrated on pictures, and heads are scaled until there are boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from boxcam.export.sources.torchvision import detectors as zoo
from boxcam.runtime.images import read_image
from boxcam.runtime.preprocess import prepare
from tests.matrix.kinks import away_from_kinks
from tests.matrix.registry import PICTURES

CANDIDATES = 100
"""Most pairs of cell and class of one level that pass the score threshold."""


def make(name: str, path: Path, shape: tuple[int, int], seed: int = 0) -> tuple[Any, torch.Tensor]:
    """A detector and what it was calibrated on, [N, 3, H, W]; its weights are written to a file."""
    torch.manual_seed(seed)
    model = zoo.build(name, {})
    images = torch.cat([canvas(name, model, picture, shape) for picture in PICTURES])
    enliven(model, images)
    torch.save(model.state_dict(), path)
    return model, images


def enliven(model: Any, images: torch.Tensor) -> None:
    """Calibrate a detector on some images, [N, 3, H, W], and scale its heads until there are boxes."""
    with torch.no_grad():
        calibrate(model, images)
        if hasattr(model, "roi_heads"):
            _two_stages(model, images)
        else:
            _one_stage(model, images)


def canvas(name: str, model: Any, picture: Path, shape: tuple[int, int] | None) -> torch.Tensor:
    """A picture as the model's input."""
    return torch.from_numpy(prepare(read_image(picture), zoo.preprocess(name, model, shape))[0])


def calibrate(model: Any, images: torch.Tensor) -> None:
    """Set the statistics of the backbone's BatchNorm to those of some images, and scale an FPN's outputs to 1."""
    norms = [m for m in model.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
        # A channel without variance would come out as 0, where rounding alone decides which side of a ReLU it is on.
        torch.nn.init.normal_(norm.bias, std=0.1)
    for module in model.backbone.modules():
        if hasattr(module, "bn3"):  # as after training, a residual block changes little; rounding grows less through 16
            module.bn3.weight.fill_(0.25)
    for _ in range(2):
        model.backbone(images)
    model.eval()
    if hasattr(model.backbone, "fpn"):
        for block, level in zip(model.backbone.fpn.layer_blocks, model.backbone(images).values(), strict=False):
            for module in block.modules():
                if isinstance(module, torch.nn.Conv2d):
                    module.weight.mul_(1 / level.std())


def _one_stage(model: Any, images: torch.Tensor) -> None:
    """Variance-preserving heads, with class biases such that some dozens of boxes come out."""
    features = list(model.backbone(images).values())
    if not hasattr(model.head.classification_head, "cls_logits"):
        _ssd(model, features)
        return
    _revive(model.head)
    head = model.head.classification_head
    _spread(head.cls_logits, [head.cls_logits(head.conv(f)) for f in features], 1.5)
    boxes = model.head.regression_head
    _spread(boxes.bbox_reg, [boxes.bbox_reg(boxes.conv(f)) for f in features], 0.3)
    if hasattr(boxes, "bbox_ctrness"):
        _spread(boxes.bbox_ctrness, [boxes.bbox_ctrness(boxes.conv(f)) for f in features], 1.0)
        boxes.bbox_reg.bias.fill_(1.5)  # sides are this many strides of the level
    shift = 1e9
    for feature in features:
        logits, wanted = head.cls_logits(head.conv(feature)), torch.tensor(model.score_thresh)
        if hasattr(boxes, "bbox_ctrness"):  # the score is the root of the product of two probabilities
            wanted = wanted**2 / boxes.bbox_ctrness(boxes.conv(feature)).sigmoid()
        missing = torch.where(wanted < 1, wanted.logit() - logits, 1e9)  # what a logit lacks to be a candidate
        for image in missing:
            if image.numel() > CANDIDATES:  # between two, so that none is on the threshold
                shift = min(shift, float(image.flatten().topk(CANDIDATES + 1, largest=False).values[-2:].mean()))
    head.cls_logits.bias.add_(shift)


def _ssd(model: Any, features: Sequence[torch.Tensor]) -> None:
    """Each level's logits spread alike; the background is so likely that few boxes are above 0.05."""
    classes = zoo.class_count(model)
    for head, spread in ((model.head.classification_head, 1.5), (model.head.regression_head, 0.5)):
        for block, feature in zip(head.module_list, features, strict=True):
            norms = [m for m in block.modules() if isinstance(m, torch.nn.BatchNorm2d)]
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None
                norm.train()
            block(feature)
            block.eval()
            last = block[-1] if isinstance(block, torch.nn.Sequential) else block
            last.bias.zero_()
            _spread(last, [block(feature)], spread)
            if head is model.head.classification_head:
                last.bias.view(-1, classes)[:, 0] = 5.0


def _two_stages(model: Any, images: torch.Tensor) -> None:
    _revive(model.rpn.head)
    _revive(model.roi_heads.box_head)
    _revive(model.roi_heads.box_predictor)
    features = model.backbone(images)
    head = model.rpn.head
    scores, deltas = head(list(features.values()))
    _spread(head.cls_logits, scores, 1.5)
    _spread(head.bbox_pred, deltas, 0.3)
    if any(isinstance(m, torch.nn.Conv2d) for m in model.roi_heads.box_head.modules()):  # slow for 1000 proposals
        head.bbox_pred.bias.view(-1, 4)[:, 2:] = 1.0  # large ones, of which most are suppressed
    height, width = images.shape[2:]
    rois = torch.tensor(
        [[x, y, x + 48.0, y + 40.0] for x in range(0, width - 48, 40) for y in range(0, height - 40, 40)]
    )
    first = type(features)((name, level[:1]) for name, level in features.items())
    heads = model.roi_heads
    pooled = heads.box_roi_pool(first, [rois], [(height, width)])
    for norm in [m for m in heads.box_head.modules() if isinstance(m, torch.nn.BatchNorm2d)]:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
        away_from_kinks(norm, 2.0)
    heads.box_head(pooled)
    heads.eval()
    scores, deltas = heads.box_predictor(heads.box_head(pooled))
    heads.box_predictor.cls_score.weight.mul_(2.0 / scores.std())
    heads.box_predictor.bbox_pred.weight.mul_(0.3 / deltas.std())


def _revive(head: torch.nn.Module) -> None:
    for module in head.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                torch.nn.init.normal_(module.bias, std=0.05)
        elif isinstance(module, torch.nn.GroupNorm):
            away_from_kinks(module, 2.0)


def _spread(layer: torch.nn.Conv2d, outputs: Sequence[torch.Tensor], deviation: float) -> None:
    """Scale a layer so that its outputs have the given standard deviation."""
    layer.weight.mul_(deviation / torch.cat([level.flatten() for level in outputs]).std())
