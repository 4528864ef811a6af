"""mmdet's detection transformers, by its own configs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.matrix.families.mmdet import bridged, detect, layers
from tests.matrix.registry import FAMILIES, PICTURES, Family, Forms, Subject

FEW = {"model.num_queries": 40, "model.test_cfg.max_per_img": 40}
"""Queries are selected, and ordered, by score: of many, two are so alike that noise decides their order."""
SHAPE = (96, 128)  # whole maps by whole maps: small ones


def made(config: str, changed: Mapping[str, Any] = {}) -> Callable[[Path], Subject]:
    """A family by its config; ``changed`` names the settings that are another here."""

    def make(folder: Path) -> Subject:
        from mmdet.structures import DetDataSample

        from tests.matrix import transformer_models

        path, checkpoint, model = transformer_models.make(config, folder, SHAPE, PICTURES, changed)
        sample = DetDataSample()
        sample.set_metainfo({"img_shape": SHAPE, "batch_input_shape": SHAPE, "ori_shape": SHAPE})

        def run(image: Any) -> Any:
            inputs = model.forward_transformer(model.extract_feat(image), [sample])
            return model.bbox_head(**inputs)

        return Subject(
            arguments=(path, checkpoint),
            model=model,
            detect=lambda image: detect(model, image),
            layers=layers(model),
            run=run,
            options={"shape": SHAPE, "sample": PICTURES[1]},
            pictures=PICTURES[1:],  # in the first one two queries are so alike that float32 noise decides their order
            boxes=12,
        )

    return make


FAMILIES.register("mmdet: DETR R50")(
    Family({"neck": "whole", "backbone": "whole"}, made("detr/detr_r50_8xb2-150e_coco.py"), within=bridged, heavy=True)
)
FAMILIES.register("mmdet: Deformable DETR R50")(
    Family(
        {"neck": Forms("whole", "whole"), "backbone": Forms("whole", "whole")},
        made("deformable_detr/deformable-detr_r50_16xb2-50e_coco.py"),
        within=bridged,
        heavy=True,
    )
)
FAMILIES.register("mmdet: Deformable DETR R50, refined, two-stage")(
    Family(
        {"neck": "whole"},
        made("deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py", FEW),
        within=bridged,
        heavy=True,
    )
)
FAMILIES.register("mmdet: DINO R50, 4 scales")(
    Family(
        {"neck": "whole", "backbone": "whole"},
        made("dino/dino-4scale_r50_8xb2-12e_coco.py", FEW),
        within=bridged,
        heavy=True,
        note="with 40 queries instead of 900: a small picture has not as many places",
    )
)
