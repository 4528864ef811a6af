"""mmdet's families, by its own configs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from boxcam.errors import SourceError
from tests.matrix.registry import (
    FAMILIES,
    PICTURES,
    REFUSED,
    SHAPE,
    Family,
    Forms,
    Found,
    Refused,
    Subject,
    proposals_with_image,
)


def bridged() -> contextlib.AbstractContextManager[Any]:
    """What lets OpenMMLab's packages run here."""
    from boxcam.export.sources.openmmlab import compat

    return compat.bridged()


def detect(model: Any, image: torch.Tensor) -> Found:
    """mmdet's own detections on a canvas."""
    from mmdet.structures import DetDataSample

    sample = DetDataSample()
    sizes = dict.fromkeys(("img_shape", "ori_shape", "pad_shape", "batch_input_shape"), tuple(image.shape[2:]))
    sample.set_metainfo({**sizes, "scale_factor": (1.0, 1.0)})
    found = model.predict(image, [sample], rescale=False)[0].pred_instances
    return Found(found.bboxes, found.scores, found.labels)


def layers(model: Any) -> dict[str, Any]:
    """The modules whose outputs are the layers that boxcam's mmdet source names."""
    found = {name: getattr(model, name) for name in ("backbone", "neck") if getattr(model, name, None) is not None}
    if hasattr(model, "roi_head"):
        roi = model.roi_head.bbox_roi_extractor
        found["roi"] = list(roi) if isinstance(roi, torch.nn.ModuleList) else roi
        found.update({f"roi.{stage}": module for stage, module in enumerate(roi)} if found["roi"] is not roi else {})
    return found


def runner(model: Any) -> Callable[..., Any]:
    """The model as far as its logits; a two-stage one with the given proposals."""
    if not hasattr(model, "roi_head"):
        return lambda image: model.bbox_head(model.extract_feat(image))
    extractors, heads = model.roi_head.bbox_roi_extractor, model.roi_head.bbox_head
    cascade = isinstance(heads, torch.nn.ModuleList)
    stages = list(zip(extractors, heads, strict=True)) if cascade else [(extractors, heads)]
    for extractor, _ in stages:
        for layer in extractor.roi_layers:
            layer.use_torchvision = True  # mmcv's own backward pass needs compiled operators; the forward is the same

    def run(image: torch.Tensor, proposals: Sequence[npt.NDArray[Any]]) -> Any:
        features = model.extract_feat(image)
        rois = proposals_with_image(proposals[0])
        scores = []
        for stage, (extractor, head) in enumerate(stages):
            if stage and len(proposals) == len(stages):
                rois = proposals_with_image(proposals[stage])
            score, deltas = head(extractor(features[: extractor.num_inputs], rois))
            scores.append(score)
            if stage < len(stages) - 1:  # each stage reads the boxes of the one before it as they are
                label = score.detach()[:, :-1].argmax(1)
                meta = {"img_shape": tuple(image.shape[2:])}
                refined = head.regress_by_class(rois[:, 1:], label, deltas.detach(), meta)
                rois = torch.cat([rois[:, :1], refined], 1)
        return sum(scores) / float(len(scores))

    return run


def made(
    config: str,
    shape: tuple[int, int] = SHAPE,
    many: bool = False,
    boxes: int = 8,
    seed: int = 0,
    **options: Any,
) -> Callable[[Path], Subject]:
    """A family by its config, with random weights that are alive.

    Args:
        config: its name in mmdet's folder of configs.
        shape: height and width of the model's input.
        many: with the weights of the benchmarks, which find hundreds of boxes.
        boxes: how many boxes of each picture are explained.
        seed: of the weights.
        options: of `lively_mmdet.make`, such as ``most``.
    """

    def make(folder: Path) -> Subject:
        from benchmarks import models
        from boxcam.export.sources.openmmlab import config as mmdet_config
        from tests.matrix import lively_mmdet

        made_by = models if many else lively_mmdet
        config_path, checkpoint, model = made_by.make(config, folder, shape, seed=seed, **options)
        read = mmdet_config.read_config(str(config_path))
        return Subject(
            arguments=(config_path, checkpoint),
            model=model,
            detect=lambda image: detect(model, image),
            layers=layers(model),
            run=runner(model),
            differentiable=False,
            options={"shape": shape, "sample": PICTURES[0]},
            canvas=lambda picture: models.canvas(read, picture, shape),
            boxes=boxes,
        )

    return make


_WHOLE = Forms("windows", "whole")
_TWO_STAGE = {"roi": "rows", "neck": _WHOLE, "backbone": _WHOLE}
_SMALL = (128, 160)


def register(
    name: str,
    config: str,
    forms: Any,
    shape: tuple[int, int] = _SMALL,
    heavy: bool = True,
    note: str = "",
    **more: Any,
) -> None:
    """A family by its config."""
    make = made(config, shape, **more)
    FAMILIES.register(f"mmdet: {name}")(Family(forms, make, within=bridged, heavy=heavy, note=note))


register(
    "RetinaNet R18",
    "retinanet/retinanet_r18_fpn_1x_coco.py",
    {"neck": "windows", "backbone": _WHOLE},
    SHAPE,
    many=True,
    heavy=False,
)
register("Faster R-CNN R50", "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", _TWO_STAGE, SHAPE, many=True)
register("Mask R-CNN R50", "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", _TWO_STAGE)
_SSD = Forms("whole", "windows")  # the last of its maps is a single cell, of which a window is no part
register("SSD300", "ssd/ssd300_coco.py", {"neck": _SSD, "backbone": "whole"}, (300, 300), boxes=16)
register(
    "SSDLite MobileNetV2",
    "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py",
    {"neck": _SSD, "backbone": "whole"},
    (320, 320),
    boxes=16,
)
_NORMALIZED = {"neck": "whole", "backbone": "whole"}  # by the heads' GroupNorm, which mixes the whole map
register("FCOS R50 (GroupNorm)", "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py", _NORMALIZED)
register("ATSS R50", "atss/atss_r50_fpn_1x_coco.py", _NORMALIZED, most=150)
register("GFL R50", "gfl/gfl_r50_fpn_1x_coco.py", _NORMALIZED, most=150)
register("TOOD R50", "tood/tood_r50_fpn_1x_coco.py", _NORMALIZED)


def untouched(config: str, folder: Path) -> tuple[Sequence[str | Path], dict[str, Any]]:
    """Arguments and options of an export of a config with mmdet's own random weights."""
    from benchmarks.models import CONFIGS
    from boxcam.export.sources.openmmlab import config as mmdet_config
    from boxcam.export.sources.openmmlab.export import build

    path, checkpoint = CONFIGS / config, folder / "weights.pth"
    model = build(mmdet_config.read_config(str(path)), str(path))
    torch.save({"state_dict": model.state_dict(), "meta": {}}, checkpoint)
    return (path, checkpoint), {"shape": SHAPE, "sample": PICTURES[0]}


REFUSED.register("mmdet: SOLO R50")(
    Refused(
        "it finds masks and no boxes, and masks are not explained",
        lambda folder: untouched("solo/solo_r50_fpn_1x_coco.py", folder),
        SourceError,
        "SOLO has no box head with classes",
        within=bridged,
    )
)
