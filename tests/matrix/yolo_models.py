"""YOLO detectors of mmdet and mmyolo with random weights that are alive: calibrated, with boxes from every level."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from boxcam.export.sources.openmmlab import config as mmdet_config
from boxcam.export.sources.openmmlab.export import build
from boxcam.runtime.images import read_image
from boxcam.runtime.preprocess import prepare
from tests.matrix.kinks import away_from_kinks

QUOTAS = (120, 60, 40, 30)  # pairs of an anchor and a class above the score threshold, by level, in the worst picture


def make(config_path: Path, folder: Path, shape: tuple[int, int], pictures: Sequence[Path]) -> tuple[Path, Any]:
    """A checkpoint for a config of mmdet or mmyolo, and its model in evaluation mode."""
    config = mmdet_config.read_config(str(config_path))
    torch.manual_seed(0)
    model = build(config, str(config_path))
    spec = mmdet_config.preprocess(config, str(config_path), shape)
    images = torch.cat([torch.from_numpy(prepare(read_image(picture), spec)[0]) for picture in pictures])
    _calibrate(model, images)
    with torch.no_grad():
        _enliven(model, images)
    checkpoint = folder / f"{config_path.stem}.pth"
    torch.save({"state_dict": model.state_dict(), "meta": {}}, checkpoint)
    return checkpoint, model.eval()


def _calibrate(model: Any, images: torch.Tensor) -> None:
    """Statistics of BatchNorm, of backbone, neck and head, to those of some pictures."""
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    kinks = any(isinstance(m, torch.nn.LeakyReLU) for m in model.backbone.modules())
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
        torch.nn.init.uniform_(norm.weight, 0.7, 1.3)
        torch.nn.init.normal_(norm.bias, 1.0, 0.2)  # of 0, each of a hundred layers would make rounding larger
        if kinks:
            away_from_kinks(norm, 1.5)
    with torch.no_grad():
        for _ in range(2):
            model.bbox_head(model.extract_feat(images))
    for norm in norms:
        norm.eval()


def _enliven(model: Any, images: torch.Tensor) -> None:
    """Last layers whose outputs vary, with class biases such that some dozens of boxes come out of each level."""
    head = model.bbox_head
    features = model.extract_feat(images)
    parts = _last(head)
    for kind, layers in parts.items():
        for level, (conv, channels) in enumerate(layers):
            conv.weight[channels] = torch.randn_like(conv.weight[channels]) * conv.weight[0].numel() ** -0.5
            conv.bias[channels] = 0.0
            values = _output(conv, head, features)[:, channels]
            deviation = {"classes": 1.5, "objectness": 1.0, "boxes": 0.5}[kind]
            conv.weight[channels] *= deviation / values.std()
            if kind == "boxes":
                conv.bias[channels] = _box_bias(head)
            elif kind == "classes":
                objectness = 1.0 if "objectness" not in parts else None
                _limit(conv, channels, parts, level, head, features, objectness)


def _limit(
    conv: Any, channels: torch.Tensor, parts: Any, level: int, head: Any, features: Any, factor: float | None
) -> None:
    """Shift class logits so that the quota of pairs, in the picture with the most of them, is above the threshold."""
    threshold = float(head.test_cfg.score_thr)
    logits = _output(conv, head, features)[:, channels]
    if factor is None:
        other, own = parts["objectness"][level]
        objectness = _output(other, head, features)[:, own].sigmoid()
        count = len(channels) // len(own)
        share = objectness.repeat_interleave(count, 1)
    else:
        share = torch.ones_like(logits)
    low, high = -30.0, 30.0
    for _ in range(40):
        middle = (low + high) / 2
        above = ((logits + middle).sigmoid() * share > threshold).flatten(1).sum(1).max()
        low, high = (low, middle) if above > QUOTAS[level] else (middle, high)
    # No score so near the threshold that the noise of float32 decides on which side it is.
    near = [
        (float(((logits + shift).sigmoid() * share / threshold - 1).abs().min()), float(shift))
        for shift in torch.linspace(low - 0.2, low, 100)
    ]
    conv.bias[channels] += max(near)[1]


def _output(conv: Any, head: Any, features: Any) -> torch.Tensor:
    found: list[torch.Tensor] = []
    handle = conv.register_forward_hook(lambda _, inputs, output: found.append(output))
    head(features)
    handle.remove()
    return found[0]


def _box_bias(head: Any) -> float:
    """Boxes of some cells in size: distances must not be negative where a head predicts them as they are."""
    return 0.5 if type(head).__name__ in ("YOLOXHead", "YOLOV3Head", "YOLOv5Head", "YOLOv7Head") else 2.0


def _last(head: Any) -> dict[str, list[tuple[Any, torch.Tensor]]]:
    """The last convolutions by what they predict, each with its channels, objectness first: it comes into the scores.

    A head that predicts all with one convolution has its channels by anchor: box, objectness, classes.
    """
    module = getattr(head, "head_module", head)
    if hasattr(module, "convs_pred"):
        width = 5 + head.num_classes
        columns = {"objectness": slice(4, 5), "boxes": slice(0, 4), "classes": slice(5, width)}
        return {
            kind: [
                (_conv(c), torch.arange(_conv(c).out_channels).reshape(-1, width)[:, part].reshape(-1))
                for c in module.convs_pred
            ]
            for kind, part in columns.items()
        }
    names = {
        "objectness": ("multi_level_conv_obj",),
        "boxes": ("multi_level_conv_reg", "reg_preds", "rtm_reg"),
        "classes": ("multi_level_conv_cls", "cls_preds", "rtm_cls"),
    }
    return {
        kind: [(_conv(c), torch.arange(_conv(c).out_channels)) for c in getattr(module, name)]
        for kind, tried in names.items()
        for name in tried
        if hasattr(module, name)
    }


def _conv(layer: Any) -> Any:
    return next(m for m in reversed(list(layer.modules())) if isinstance(m, torch.nn.Conv2d))
