"""More of mmdet's families by its own configs: two-stage detectors beside the usual one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from boxcam.bundle import Form
from tests.matrix.families.mmdet import bridged, made
from tests.matrix.registry import FAMILIES, Family, Forms, Subject

_SHAPE = (128, 160)
_WHOLE = Forms("windows", "whole")


def _cascade(folder: Path) -> Subject:
    subject = made("cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py", _SHAPE, proposals=60)(folder)
    return replace(subject, held=["/Concat_16_output_0"])  # all proposals, of which the logits' shape is computed


FAMILIES.register("mmdet: Cascade R-CNN R50")(
    Family(
        {"roi": Forms("rows", None), "neck": Forms("windows", None), "backbone": _WHOLE},
        _cascade,
        within=bridged,
        heavy=True,
        note="a box depends on the features of its proposal in each of the three stages, and so on several tensors of"
        " `roi` and of `neck` at once, which only the ONNX gradient can be of.",
        targets={"score": {"roi": Forms("rows", None)}},
    )
)

_TWO_STAGE: Mapping[str, Form | Forms] = {"roi": "rows", "neck": _WHOLE, "backbone": _WHOLE}
FAMILIES.register("mmdet: Faster R-CNN R101")(
    Family(
        _TWO_STAGE,
        made("faster_rcnn/faster-rcnn_r101_fpn_1x_coco.py", _SHAPE, boxes=12, proposals=60),
        within=bridged,
        heavy=True,
    )
)
FAMILIES.register("mmdet: Faster R-CNN HRNetV2p-W18")(
    Family(
        {**_TWO_STAGE, "backbone": "whole"},
        made("hrnet/faster-rcnn_hrnetv2p-w18-1x_coco.py", _SHAPE, proposals=60),
        within=bridged,
        heavy=True,
    )
)
