"""torchvision's families, by the names of its own builders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from boxcam.bundle import Form
from tests.matrix.registry import FAMILIES, PICTURES, SHAPE, Family, Forms, Found, Subject


def detect(model: Any, image: torch.Tensor) -> Found:
    """torchvision's own detections on a canvas, its own transform included.

    That is told to normalise the canvas with its mean put back, and to resize it to its own size.
    """
    transform, (height, width) = model.transform, tuple(image.shape[2:])
    transform.min_size, transform.max_size = (min(height, width),), max(height, width)
    transform.fixed_size = None if transform.fixed_size is None else (width, height)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (transform.image_mean, transform.image_std))
    found = model([image[0] * std + mean])[0]
    return Found(found["boxes"], found["scores"], found["labels"])


def layers(model: Any) -> dict[str, Any]:
    """The modules whose outputs are the layers that boxcam's torchvision source names."""
    backbone = model.backbone
    if hasattr(model, "roi_heads"):
        return {"roi": model.roi_heads.box_roi_pool, "neck": backbone.fpn, "backbone": backbone.body}
    if hasattr(backbone, "fpn"):
        return {"neck": backbone.fpn, "backbone": backbone.body}
    return {
        "neck": backbone,
        "backbone": backbone.extra[0] if hasattr(backbone, "scale_weight") else backbone.features[1],
    }


def runner(model: Any) -> Callable[..., Any]:
    """The model as far as its logits; a two-stage one with the given proposals."""

    def one_stage(image: torch.Tensor) -> Any:
        return model.head(list(model.backbone(image).values()))

    def two_stages(image: torch.Tensor, proposals: Sequence[npt.NDArray[Any]]) -> Any:
        rois = [torch.from_numpy(proposals[0].copy())]
        pooled = model.roi_heads.box_roi_pool(model.backbone(image), rois, [tuple(image.shape[2:])])
        return model.roi_heads.box_predictor(model.roi_heads.box_head(pooled))

    return two_stages if hasattr(model, "roi_heads") else one_stage


SEEDS = {"ssdlite320_mobilenet_v3_large": 2}
"""Where, of other seeds, float32 noise decides on which side of 0 an activation is: the gradient jumps there."""


def made(name: str, shape: tuple[int, int], boxes: int | None = None) -> Callable[[Path], Subject]:
    """A family by the name of its builder."""

    def make(folder: Path) -> Subject:
        from tests.matrix import torchvision_models as models

        weights = folder / f"{name}.pth"
        model, _ = models.make(name, weights, shape, SEEDS.get(name, 0))
        return Subject(
            arguments=(f"torchvision:{name}", weights),
            model=model,
            detect=lambda image: detect(model, image),
            layers=layers(model),
            run=runner(model),
            options={"shape": shape, "sample": PICTURES[0]},
            # Of SSD's most come from the finest level, before the last stage; of FCOS' many end at the image's edge.
            boxes=boxes or (24 if "ssd" in name else 14 if "fcos" in name else 8),
        )

    return make


ONE_STAGE: Mapping[str, Form | Forms] = {"neck": "windows", "backbone": Forms("windows", "whole")}
NORMALIZED: Mapping[str, Form | Forms] = {"neck": "whole", "backbone": "whole"}
TWO_STAGES: Mapping[str, Form | Forms] = {
    "roi": "rows",
    "neck": Forms("windows", "whole"),
    "backbone": Forms("windows", "whole"),
}
SSDS: Mapping[str, Form | Forms] = {"neck": Forms("whole", "windows"), "backbone": "whole"}
GROUP_NORM = "the heads' GroupNorm mixes the whole map"

SMALL = (128, 160)
TINY = (96, 128)


def family(
    title: str,
    name: str,
    forms: Mapping[str, Form | Forms],
    note: str = "",
    shape: tuple[int, int] = SHAPE,
    heavy: bool = True,
    targets: Mapping[str, Mapping[str, Form | Forms]] | None = None,
    boxes: int | None = None,
) -> None:
    FAMILIES.register(f"torchvision: {title}")(
        Family(forms, made(name, shape, boxes), heavy=heavy, note=note, targets=targets or {})
    )


family("Faster R-CNN R50 FPN", "fasterrcnn_resnet50_fpn", TWO_STAGES)
family(
    "RetinaNet R50 FPN",
    "retinanet_resnet50_fpn",
    ONE_STAGE,
    targets={"score": {"neck": Forms("windows", None)}, "x2": {"neck": Forms("whole", None)}},
)
family(
    "FCOS R50 FPN",
    "fcos_resnet50_fpn",
    NORMALIZED,
    GROUP_NORM,
    shape=SMALL,
    targets={"score": {"neck": Forms("whole", None)}, "x2": {"neck": Forms("whole", None)}},
)
family("SSD300 VGG16", "ssd300_vgg16", SSDS, shape=(300, 300))
family("SSDLite320 MobileNetV3", "ssdlite320_mobilenet_v3_large", SSDS, shape=(320, 320), heavy=False)
family("Faster R-CNN MobileNetV3 320 FPN", "fasterrcnn_mobilenet_v3_large_320_fpn", TWO_STAGES, shape=SMALL)
family("Faster R-CNN MobileNetV3 FPN", "fasterrcnn_mobilenet_v3_large_fpn", TWO_STAGES, shape=SMALL)
family("Faster R-CNN R50 FPN v2", "fasterrcnn_resnet50_fpn_v2", TWO_STAGES, shape=TINY)
family(
    "Mask R-CNN R50 FPN v2",
    "maskrcnn_resnet50_fpn_v2",
    TWO_STAGES,
    "its boxes; the masks are left out",
    shape=TINY,
)
family(
    "Faster R-CNN MobileNetV3 320 FPN, score and sides",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    {"roi": "rows"},
    shape=SMALL,
    targets={target: {"roi": Forms("rows", None)} for target in ("score", "x1", "y1", "x2", "y2")},
    boxes=16,  # a side at the image's edge is cut off, and has no gradient
)
family("Mask R-CNN R50 FPN", "maskrcnn_resnet50_fpn", TWO_STAGES, "its boxes; the masks are left out", shape=SMALL)
family(
    "Keypoint R-CNN R50 FPN",
    "keypointrcnn_resnet50_fpn",
    TWO_STAGES,
    "its boxes; the keypoints are left out",
    shape=SMALL,
)
family("RetinaNet R50 FPN v2", "retinanet_resnet50_fpn_v2", NORMALIZED, GROUP_NORM, shape=SMALL)
