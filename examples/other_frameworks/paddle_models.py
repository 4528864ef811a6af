"""Which detectors of PaddleDetection there are, and what is where in a live one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import paddle
from comparison import Array

_PIXELS = ["paddle", "mean=0", "std=1"]  # PP-YOLOE+
_FACES = ["resize=stretch", "scale=0-255", "color=RGB", "mean=123,117,104", "std=127.502231"]
_SMALL = ["paddle", "interpolation=bilinear"]


@dataclass(frozen=True)
class Model:
    """A detector of PaddleDetection.

    Attributes:
        title: its name.
        config: its file, below configs.
        size: height and width of the input.
        preprocess: as its config says; pictures of all are stretched here.
        head: what makes class logits and boxes of the layer.
        scores, boxes: the last convolutions or matrices of the head, by their names there, or how these begin.
        softmax: whether the scores are those of a softmax with a class for nothing, or of sigmoids.
        classes: how many the detector is to know.
        small: what is set in its config for a fixture.
        narrow: how many times fewer channels a fixture's layers have, where these are a multiple of 64.
        small_size: height and width of a fixture's input.
        spread: the least variance that BatchNorm divides by. Many layers in a row that stretch what hardly varies
            stretch rounding too.
    """

    title: str
    config: str
    size: int
    preprocess: list[str]
    head: str
    scores: str
    boxes: str
    softmax: bool
    classes: int = 5
    small: Mapping[str, Any] = field(default_factory=dict)
    narrow: int = 1
    small_size: int = 128
    spread: float = 0.1

    @property
    def two_stages(self) -> bool:
        return "rcnn" in self.config

    @property
    def layer(self) -> str:
        return "roi" if self.two_stages else "neck"

    def as_fixture(self) -> Model:
        """The same with a small input."""
        return replace(self, size=self.small_size)


_RCNN = (192, _SMALL, "bbox_head", "bbox_score", "bbox_delta", True)
_FEW_PIXELS: dict[str, Any] = {  # so that small pictures have proposals on several levels
    "RPNHead": {"anchor_generator": {"anchor_sizes": [[8], [16], [32], [64], [96]]}},
    "BBoxHead": {"roi_extractor": {"canonical_size": 12}},
}
_SLIM = {"width_mult": 0.0625}
MODELS = {
    "ppyoloe_plus_s": Model(
        "PP-YOLOE+ s", "ppyoloe/ppyoloe_plus_crn_s_80e_coco", 192, _PIXELS, "yolo_head", "pred_cls", "pred_reg", False,
        small=_SLIM, small_size=192,
    ),
    "ppyoloe_s": Model(
        "PP-YOLOE s", "ppyoloe/ppyoloe_crn_s_300e_coco", 192, ["paddle"], "yolo_head", "pred_cls", "pred_reg", False,
        small=_SLIM, small_size=192,
    ),
    "blazeface": Model(
        "BlazeFace", "face_detection/blazeface_1000e", 160, _FACES, "blaze_head", "scores", "boxes", True, 1
    ),
    "blazeface_fpn_ssh": Model(
        "BlazeFace FPN-SSH", "face_detection/blazeface_fpn_ssh_1000e", 160, _FACES, "blaze_head", "scores", "boxes",
        True, 1,
    ),
    "ssd_vgg16": Model(
        "SSD VGG16", "ssd/ssd_vgg16_300_240e_voc", 300, _SMALL, "ssd_head", "scores", "boxes", True,
        narrow=32, small_size=300,
    ),
    "ssd_mobilenet_v1": Model(
        "SSD MobileNetV1", "ssd/ssd_mobilenet_v1_300_120e_voc", 300, _SMALL, "ssd_head", "scores", "boxes", True,
        narrow=16, small_size=300, spread=1.0,
    ),
    "retinanet_r50_fpn": Model(
        "RetinaNet R50 FPN", "retinanet/retinanet_r50_fpn_1x_coco", 192, _SMALL, "head", "retina_cls", "retina_reg",
        False, narrow=32, spread=1.0,
    ),
    "faster_rcnn_r50_fpn": Model(
        "Faster R-CNN R50 FPN", "faster_rcnn/faster_rcnn_r50_fpn_1x_coco", *_RCNN, small=_FEW_PIXELS, narrow=32
    ),
    "mask_rcnn_r50_fpn": Model(
        "Mask R-CNN R50 FPN", "mask_rcnn/mask_rcnn_r50_fpn_1x_coco", *_RCNN, small=_FEW_PIXELS, narrow=32
    ),
}  # fmt: skip


def inputs(images: Array) -> dict[str, paddle.Tensor]:
    """What a model of PaddleDetection reads: pictures that fill the canvas."""
    count, _, height, width = images.shape
    return {
        "image": paddle.to_tensor(images),
        "im_shape": paddle.to_tensor([[height, width]] * count, dtype="float32"),
        "scale_factor": paddle.to_tensor([[1, 1]] * count, dtype="float32"),
    }


def last(model: Any, about: Model, name: str) -> list[Any]:
    """The last layers of a head, by the beginning of their names: of a list or a block, its last part with weights."""
    head = getattr(model, about.head)
    found = []
    for key, layer in head.named_children():
        if key.startswith(name):
            parts = layer if isinstance(layer, paddle.nn.LayerList) else [layer]
            found += [
                [one for one in part.sublayers(include_self=True) if hasattr(one, "weight")][-1] for part in parts
            ]
    return found


def width(about: Model) -> int:
    """How many scores there are for each box."""
    return about.classes + about.softmax


def rows_of(logits: list[paddle.Tensor], about: Model) -> paddle.Tensor:
    """Class logits as the head gives them, of maps or of proposals, as [N, C]."""
    last = [one.transpose([0, 2, 3, 1]) if one.ndim == 4 else one for one in logits]
    return paddle.concat([one.reshape([-1, width(about)]) for one in last])


@contextmanager
def captured(layers: list[Any]) -> Iterator[list[Any]]:
    """What layers give, in the order in which they give it."""
    given: list[Any] = []
    handles = [layer.register_forward_post_hook(lambda layer, read, gives: given.append(gives)) for layer in layers]
    try:
        yield given
    finally:
        for handle in handles:
            handle.remove()


def suppression(model: Any, about: Model) -> Any:
    """What has the suppression of a model, as its attribute ``nms``."""
    if about.two_stages:
        return model.bbox_post_process
    return model.post_process if about.softmax else getattr(model, about.head)
