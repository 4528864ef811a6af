"""mmdet's detection transformers, by its own configs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from boxcam.bundle import Form
from tests.matrix.families.mmdet import bridged, detect, layers
from tests.matrix.registry import FAMILIES, PICTURES, Family, Forms, Subject

_SHAPE = (96, 128)  # whole maps by whole maps: small ones


def made(config: str, changed: Mapping[str, Any] = {}) -> Callable[[Path], Subject]:
    """A family by its config; ``changed`` names the settings that are another here."""

    def make(folder: Path) -> Subject:
        from tests.matrix import transformer_models

        path, checkpoint, model = transformer_models.make(config, folder, _SHAPE, changed)
        return Subject(
            arguments=(path, checkpoint),
            model=model,
            detect=lambda image: detect(model, image),
            layers=layers(model),
            run=lambda image: detect(model, image),
            differentiable=False,
            options={"shape": _SHAPE, "sample": PICTURES[0]},
            boxes=7,
        )

    return make


def register(name: str, forms: Mapping[str, Form | Forms], make: Callable[[Path], Subject], note: str = "") -> None:
    FAMILIES.register(f"mmdet: {name}")(Family(forms, make, within=bridged, heavy=True, note=note))


register("DETR R50", {"neck": "whole", "backbone": "whole"}, made("detr/detr_r50_8xb2-150e_coco.py"))
_SAMPLED: Mapping[str, Form | Forms] = {"neck": Forms("whole", None), "backbone": "whole"}
_WHY = "a box depends on all maps of `neck` at once, which only the ONNX gradient can be of"
register(
    "Deformable DETR R50",
    _SAMPLED,
    made("deformable_detr/deformable-detr_r50_16xb2-50e_coco.py"),
    note=f"{_WHY}.",
)
register(
    "DINO R50, 4 scales",
    _SAMPLED,
    made("dino/dino-4scale_r50_8xb2-12e_coco.py", {"model.num_queries": 100, "model.test_cfg.max_per_img": 100}),
    note=f"with 100 queries instead of 900, as a small picture has not as many places; {_WHY}.",
)
