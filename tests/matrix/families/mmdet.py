"""mmdet's families, by its own configs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from boxcam.errors import MissingOperatorError
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
    from boxcam.export.sources import mmdet_bridges

    return mmdet_bridges.bridged()


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
        found["roi"] = model.roi_head.bbox_roi_extractor
    return found


def runner(model: Any) -> Callable[..., Any]:
    """The model as far as its logits; a two-stage one with the given proposals."""
    if not hasattr(model, "roi_head"):
        return lambda image: model.bbox_head(model.extract_feat(image))
    extractor = model.roi_head.bbox_roi_extractor
    for layer in extractor.roi_layers:
        layer.use_torchvision = True  # mmcv's own backward pass needs compiled operators; the forward is the same

    def run(image: torch.Tensor, proposals: Sequence[npt.NDArray[Any]]) -> Any:
        features = model.extract_feat(image)[: extractor.num_inputs]
        return model.roi_head.bbox_head(extractor(features, proposals_with_image(proposals[0])))

    return run


def made(config: str) -> Callable[[Path], Subject]:
    """A family by its config, with the random weights of the benchmarks."""

    def make(folder: Path) -> Subject:
        from benchmarks import models
        from boxcam.export.sources import mmdet_config

        config_path, checkpoint, model = models.make(config, folder, SHAPE)
        read = mmdet_config.read_config(str(config_path))
        return Subject(
            arguments=(config_path, checkpoint),
            model=model,
            detect=lambda image: detect(model, image),
            layers=layers(model),
            run=runner(model),
            options={"shape": SHAPE, "sample": PICTURES[0]},
            canvas=lambda picture: models.canvas(read, picture, SHAPE),
        )

    return make


FAMILIES.register("mmdet: RetinaNet R18")(
    Family(
        {"neck": "windows", "backbone": Forms("windows", "whole")},
        made("retinanet/retinanet_r18_fpn_1x_coco.py"),
        within=bridged,
    )
)
FAMILIES.register("mmdet: Faster R-CNN R50")(
    Family(
        {"roi": "rows", "neck": Forms("windows", "whole"), "backbone": Forms("windows", "whole")},
        made("faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"),
        within=bridged,
        heavy=True,
    )
)


def built(config: str, folder: Path) -> tuple[Sequence[str | Path], dict[str, Any]]:
    """Arguments and options of an export of a config with mmdet's own random weights."""
    from benchmarks.models import CONFIGS
    from boxcam.export.sources import mmdet, mmdet_config

    path, checkpoint = CONFIGS / config, folder / "weights.pth"
    model = mmdet.build(mmdet_config.read_config(str(path)), str(path))
    torch.save({"state_dict": model.state_dict(), "meta": {}}, checkpoint)
    return (path, checkpoint), {"shape": SHAPE, "sample": PICTURES[0]}


REFUSED.register("mmdet: Faster R-CNN R50 with deformable convolutions")(
    Refused(
        "deformable convolutions are an operator of compiled mmcv, and no standard one below opset 19",
        lambda folder: built("dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py", folder),
        MissingOperatorError,
        "deform",
        within=bridged,
    )
)
