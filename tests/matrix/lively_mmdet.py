"""mmdet's detectors with random weights whose activations and gradients are alive, for any kind of head.

With mmdet's own initialisation a random detector hides errors behind vanishing signals: BatchNorm is calibrated on
pictures, layers are initialised so that they keep the variance, and the predictors are scaled until there are boxes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.models import CONFIGS, PICTURES, canvas
from boxcam.export.sources import mmdet as source
from boxcam.export.sources import mmdet_config

Images = torch.Tensor


def make(
    name: str, folder: Path, shape: tuple[int, int], most: int = 300, seed: int = 0, pictures: Sequence[Path] = PICTURES
) -> tuple[Path, Path, Any]:
    """Config file, checkpoint file and model of a detector out of mmdet's own configs.

    Args:
        name: of the config, in mmdet's folder of configs.
        folder: where the checkpoint goes.
        shape: height and width of the model's input.
        most: about how many pairs of anchor and class of a one-stage detector are above its score threshold.
        seed: of the weights.
        pictures: what it is calibrated on.
    """
    config_path = CONFIGS / name
    config = mmdet_config.read_config(str(config_path))
    torch.manual_seed(seed)
    model = source.build(config, str(config_path))
    enliven(model, torch.cat([canvas(config, picture, shape) for picture in pictures]), most)
    checkpoint = folder / (config_path.stem + ".pth")
    torch.save({"state_dict": model.state_dict(), "meta": {}}, checkpoint)
    return config_path, checkpoint, model


def enliven(model: Any, images: Images, most: int) -> None:
    """Give a detector weights with which it finds boxes in the images."""
    two = hasattr(model, "roi_head")
    dense = model.rpn_head if two else model.bbox_head
    for part in (model.neck, dense, getattr(model, "roi_head", None)):
        _keep_variance(part)
    with torch.no_grad():
        _calibrate(model, images)
        classes, deltas, factors = predictors(dense)
        features = model.extract_feat(images)
        _scale(classes, 1.5, dense, features)
        _scale(deltas, 0.3, dense, features)
        _scale(factors, 1.0, dense, features)
        if two:
            _enliven_rois(model, features)
        else:
            _limit(dense, classes, features, most)
    model.eval()


def predictors(head: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """The last layers of a dense head: for classes, for boxes, and for what multiplies the class's score."""
    names = (
        ("retina_cls", "gfl_cls", "atss_cls", "tood_cls", "conv_cls", "rpn_cls", "cls_convs"),
        ("retina_reg", "gfl_reg", "atss_reg", "tood_reg", "conv_reg", "rpn_reg", "reg_convs"),
        ("atss_centerness", "conv_centerness"),
    )
    found = []
    for group in names:
        modules = [getattr(head, name) for name in group if hasattr(head, name)][:1]
        layers = []
        for module in modules:
            if isinstance(module, torch.nn.ModuleList):  # one for each level
                layers += [[m for m in level.modules() if isinstance(m, torch.nn.Conv2d)][-1] for level in module]
            else:
                layers.append(module)
        found.append(layers)
    return found[0], found[1], found[2]


def _keep_variance(part: Any) -> None:
    for module in part.modules() if part is not None else ():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                torch.nn.init.normal_(module.bias, std=0.05)


def _calibrate(model: Any, images: Images) -> None:
    """Set the statistics of BatchNorm to those of the images, and the levels of the neck to one height."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    dense = model.rpn_head if hasattr(model, "roi_head") else model.bbox_head
    for _ in range(2):
        features = model.extract_feat(images)
    for norm in norms:
        norm.eval()
    for conv, level in zip(getattr(model.neck, "fpn_convs", ()), features, strict=False):
        (getattr(conv, "conv", conv)).weight.mul_(1 / level.std())
    for norm in norms:
        norm.train()
    for _ in range(2):
        dense(model.extract_feat(images))
    for norm in norms:
        norm.eval()


def _outputs(layers: Iterable[Any], head: Any, features: Sequence[torch.Tensor]) -> torch.Tensor:
    """What the given layers put out while the head runs."""
    seen: list[torch.Tensor] = []
    hooks = [layer.register_forward_hook(lambda m, i, output: seen.append(output)) for layer in layers]
    head(features)
    for hook in hooks:
        hook.remove()
    return torch.cat([output.flatten() for output in seen])


def _scale(layers: Sequence[Any], deviation: float, head: Any, features: Sequence[torch.Tensor]) -> None:
    if layers:
        factor = deviation / float(_outputs(layers, head, features).std())
        for layer in layers:
            layer.weight.mul_(factor)


def _limit(head: Any, layers: Sequence[Any], features: Sequence[torch.Tensor], most: int) -> None:
    """Shift logits so that about so many pairs of anchor and class are above the score threshold.

    Of many, two are so alike that float32 noise decides which of them NMS keeps.
    """
    threshold = float(head.test_cfg.score_thr)
    if head.use_sigmoid_cls:
        limit = -torch.log(torch.tensor(1 / threshold - 1))
        outputs = _outputs(layers, head, features)
        shift = float(limit - outputs.topk(most * len(features[0])).values[-1])
        for layer in layers:
            layer.bias.add_(shift)
        return
    for _ in range(40):  # softmax: raise the background's logit until the rest fits
        scores = torch.cat(
            [level.permute(0, 2, 3, 1).reshape(-1, head.cls_out_channels) for level in head(features)[0]]
        )
        if int((scores.softmax(-1)[:, :-1] > threshold).sum()) <= most * len(features[0]):
            break
        for layer in layers:
            layer.bias.view(-1, head.cls_out_channels)[:, -1].add_(0.5)


def _enliven_rois(model: Any, features: Sequence[torch.Tensor]) -> None:
    roi = model.roi_head
    rois = torch.tensor([[0.0, x, y, x + 48, y + 40] for x in range(0, 200, 40) for y in range(0, 150, 40)])
    cascade = isinstance(roi.bbox_head, torch.nn.ModuleList)
    stages = [(e, h) for e, h in zip(roi.bbox_roi_extractor, roi.bbox_head, strict=True)] if cascade else None
    for extractor, head in stages or [(roi.bbox_roi_extractor, roi.bbox_head)]:
        scores, deltas = head(extractor(features[: extractor.num_inputs], rois))
        head.fc_cls.weight.mul_(2.0 / scores.std())
        head.fc_reg.weight.mul_(0.3 / deltas.std())
