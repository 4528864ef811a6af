"""mmdet's detectors with random weights whose activations and gradients are alive, for any kind of head.

With mmdet's own initialisation a random detector hides errors behind vanishing signals: BatchNorm is calibrated on
pictures, layers are initialised so that they keep the variance, and the predictors are scaled until there are boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.models import CONFIGS, PICTURES, canvas
from boxcam.export.sources.openmmlab import config as mmdet_config
from boxcam.export.sources.openmmlab.export import build
from tests.matrix.kinks import away_from_kinks

_NUMBER_OF_CLASSES = 80  # of COCO, which all of mmdet's configs here are for


def make(
    name: str,
    folder: Path,
    shape: tuple[int, int],
    most: int = 50,
    seed: int = 0,
    pictures: Sequence[Path] = PICTURES,
    proposals: int = 200,
) -> tuple[Path, Path, Any]:
    """Config file, checkpoint file and model of a detector out of mmdet's own configs.

    Args:
        name: of the config, in mmdet's folder of configs.
        folder: where the checkpoint goes.
        shape: height and width of the model's input.
        most: how many pairs of box and class are above the score threshold on a picture, before NMS, at most. Of many,
            two are so alike that float32 noise decides which comes first, or which of them NMS keeps.
        seed: of the weights.
        pictures: what it is calibrated on.
        proposals: how many go through the layers of a second stage, instead of the thousand of the configs.
    """
    config_path = CONFIGS / name
    config = mmdet_config.read_config(str(config_path))
    if "rpn" in config.model.test_cfg:
        config.model.test_cfg.rpn.max_per_img = proposals
        config_path = folder / config_path.name
        config.dump(config_path)
    torch.manual_seed(seed)
    model = build(config, str(config_path))
    enliven(model, torch.cat([canvas(config, picture, shape) for picture in pictures]), most)
    checkpoint = folder / (config_path.stem + ".pth")
    torch.save({"state_dict": model.state_dict(), "meta": {}}, checkpoint)
    return config_path, checkpoint, model


def enliven(model: Any, images: torch.Tensor, most: int) -> None:
    """Give a detector weights with which it finds boxes in the images."""
    two = hasattr(model, "roi_head")
    dense = model.rpn_head if two else model.bbox_head
    bare = not any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in model.backbone.modules())
    for part in (model.backbone if bare else None, model.neck, dense, getattr(model, "roi_head", None)):
        _keep_variance(part)
    with torch.no_grad():
        _calibrate(model, images)
        classes, deltas, factors = predictors(dense)
        features = model.extract_feat(images)
        _scale(classes, 1.5, dense, features)
        _scale(deltas, 0.3, dense, features)
        _scale(factors, 1.0, dense, features)
        if two:
            classes = _enliven_rois(model, features)
        _limit(model, classes, features, tuple(images.shape[2:]), most)
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
        elif isinstance(module, torch.nn.GroupNorm):
            away_from_kinks(module, 2.0)
        elif type(module).__name__ == "L2Norm":  # whose weight mmdet leaves as the memory was, until init_weights
            torch.nn.init.constant_(module.weight, module.scale)


def _calibrate(model: Any, images: torch.Tensor) -> None:
    """Set the statistics of BatchNorm to those of the images, and the levels of the neck to one height."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    mobile = any(isinstance(m, torch.nn.ReLU6) for m in model.backbone.modules())
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
        if mobile:
            away_from_kinks(norm, 1.5)
    for module in model.backbone.modules():
        if hasattr(module, "bn3"):  # as after training, a residual block changes little; rounding grows less through 16
            module.bn3.weight.fill_(0.25)
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
        if mobile:  # a channel that hardly varies, on maps of a few cells, would become its rounding
            norm.running_var.clamp_(min=0.3 * float(norm.running_var.mean()))


def _scale(layers: Sequence[Any], deviation: float, head: Any, features: Sequence[torch.Tensor]) -> None:
    """Scale the layers so that their outputs have a standard deviation.

    Where there is one for each level, that of the coarser ones is higher, as they have fewer cells: so boxes come from
    all of them.
    """
    seen: dict[Any, list[torch.Tensor]] = {layer: [] for layer in layers}
    hooks = [layer.register_forward_hook(lambda m, i, output: seen[m].append(output.flatten())) for layer in layers]
    head(features)
    for hook in hooks:
        hook.remove()
    for level, layer in enumerate(layers):
        layer.weight.mul_(deviation * (1 + 0.2 * level) / float(torch.cat(seen[layer]).std()))


def _limit(
    model: Any, layers: Sequence[Any], features: Sequence[torch.Tensor], shape: tuple[int, ...], most: int
) -> None:
    """Shift the classes' logits, or the background's, until no picture has more pairs of box and class than that.

    The layers' outputs are one map for each level, or the rows of all pictures' proposals, one tensor for each stage.
    """
    from mmdet.structures import DetDataSample

    sample = DetDataSample()
    sizes = dict.fromkeys(("img_shape", "ori_shape", "pad_shape", "batch_input_shape"), shape)
    sample.set_metainfo({**sizes, "scale_factor": (1.0, 1.0)})
    pictures = len(features[0])
    seen: list[torch.Tensor] = []
    hooks = [layer.register_forward_hook(lambda m, i, output: seen.append(output)) for layer in layers]
    if hasattr(model, "roi_head"):
        samples, settings, sigmoid = [sample] * pictures, model.roi_head.test_cfg, False
        model.roi_head.predict_bbox(
            features, [sample.metainfo] * pictures, model.rpn_head.predict(features, samples), settings
        )
        logits = torch.stack(seen).mean(0).reshape(pictures, -1, _NUMBER_OF_CLASSES + 1)
    else:
        head, settings = model.bbox_head, model.bbox_head.test_cfg
        head(features)
        sigmoid, classes = head.use_sigmoid_cls, head.cls_out_channels
        logits = torch.cat([m.permute(0, 2, 3, 1).reshape(pictures, -1, classes) for m in seen], 1)
    for hook in hooks:
        hook.remove()

    def found() -> int:
        scores = logits.sigmoid() if sigmoid else logits.softmax(-1)[..., :-1]
        return int((scores > settings.score_thr).flatten(1).sum(1).max())

    shift = 0.0
    while found() > most:
        shift += 0.1
        logits[..., slice(None) if sigmoid else -1] += -0.1 if sigmoid else 0.1
    for layer in layers:
        bias = layer.bias if sigmoid else layer.bias.view(-1, _NUMBER_OF_CLASSES + 1)[:, -1]
        bias.add_(-shift if sigmoid else shift)


def _enliven_rois(model: Any, features: Sequence[torch.Tensor]) -> list[Any]:
    """Scale the layers of the second stage; returns those for classes."""
    roi = model.roi_head
    rois = torch.tensor([[0.0, x, y, x + 48, y + 40] for x in range(0, 200, 40) for y in range(0, 150, 40)])
    cascade = isinstance(roi.bbox_head, torch.nn.ModuleList)
    stages = list(zip(roi.bbox_roi_extractor, roi.bbox_head, strict=True)) if cascade else None
    for extractor, head in stages or [(roi.bbox_roi_extractor, roi.bbox_head)]:
        scores, deltas = head(extractor(features[: extractor.num_inputs], rois))
        head.fc_cls.weight.mul_(2.0 / scores.std())
        head.fc_reg.weight.mul_(0.3 / deltas.std())
    return [head.fc_cls for _, head in stages or [(None, roi.bbox_head)]]
