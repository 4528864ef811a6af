"""mmyolo's families, by its own configs, and the YOLOs of mmdet, which are made alive in the same way."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from tests.matrix.families import mmdet
from tests.matrix.registry import FAMILIES, PICTURES, SHAPE, Family, Form, Forms, Subject


def made(framework: str, config: str) -> Callable[[Path], Subject]:
    """A family by a config that the framework ships."""

    def make(folder: Path) -> Subject:
        from tests.matrix import yolo_models

        origin = importlib.util.find_spec(framework).origin  # type: ignore[union-attr]
        path = Path(str(origin)).parent / ".mim" / "configs" / config
        checkpoint, model = yolo_models.make(path, folder, SHAPE, PICTURES)
        return Subject(
            arguments=(path, checkpoint),
            model=model,
            detect=lambda image: mmdet.detect(model, image),
            layers=mmdet.layers(model),
            run=mmdet.runner(model),
            differentiable=False,
            options={"shape": SHAPE, "sample": PICTURES[0]},
            boxes=12,
        )

    return make


def family(
    framework: str, name: str, config: str, neck: Form | Forms, backbone: Form | Forms, heavy: bool = True
) -> None:
    """Register a YOLO."""
    FAMILIES.register(f"{framework}: {name}")(
        Family({"neck": neck, "backbone": backbone}, made(framework, config), within=mmdet.bridged, heavy=heavy)
    )


GROWN = Forms("windows", "whole")  # windows grow through the neck's strides and resizes in ONNX gradients only

family("mmyolo", "YOLOv8 n", "yolov8/yolov8_n_syncbn_fast_8xb16-500e_coco.py", "windows", GROWN, heavy=False)
family("mmyolo", "YOLOv5 n", "yolov5/yolov5_n-v61_syncbn_fast_8xb16-300e_coco.py", "windows", GROWN)
family("mmyolo", "YOLOv6 n", "yolov6/yolov6_n_syncbn_fast_8xb32-400e_coco.py", "windows", "whole")
family("mmyolo", "YOLOv7 tiny", "yolov7/yolov7_tiny_syncbn_fast_8x16b-300e_coco.py", "windows", GROWN)
family("mmyolo", "PP-YOLOE+ s", "ppyoloe/ppyoloe_plus_s_fast_8xb8-80e_coco.py", GROWN, "whole")
family("mmyolo", "YOLOX tiny", "yolox/yolox_tiny_fast_8xb8-300e_coco.py", "windows", GROWN)
family("mmyolo", "RTMDet tiny", "rtmdet/rtmdet_tiny_syncbn_fast_8xb32-300e_coco.py", "windows", GROWN)
family("mmdet", "YOLOX tiny", "yolox/yolox_tiny_8xb8-300e_coco.py", "windows", GROWN, heavy=False)
family("mmdet", "YOLOX s", "yolox/yolox_s_8xb8-300e_coco.py", "windows", GROWN)
family("mmdet", "RTMDet tiny", "rtmdet/rtmdet_tiny_8xb32-300e_coco.py", "windows", GROWN)
family("mmdet", "YOLOv3 MobileNetV2", "yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py", "windows", GROWN)
family("mmdet", "YOLOv3 Darknet-53", "yolo/yolov3_d53_8xb8-ms-608-273e_coco.py", "windows", GROWN)
