"""Operators that paddle2onnx can write, in place of those that it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import paddle
from paddle_models import Model, inputs, suppression
from ppdet.modeling import ops
from ppdet.modeling.bbox_utils import delta2bbox
from ppdet.modeling.heads import retina_head

FAR, MOST = 2000, 5000  # pixels between the boxes of two classes; boxes that enter a suppression
LOWEST = 1e6  # less than the negative of this no logit is


@contextmanager
def standard_operators(model: Any, about: Model) -> Iterator[None]:
    """Write what paddle2onnx cannot write, or writes wrongly, by other operators."""
    head, concat, vision = getattr(model, about.head), paddle.concat, paddle.vision.ops
    kept = vision.generate_proposals, vision.distribute_fpn_proposals, paddle.broadcast_tensors, paddle.stack
    paddle.stack = stacked
    if about.softmax and not about.two_stages:  # prior_box
        head.anchor_generator = Anchors(head.anchor_generator)
        model(inputs(np.zeros((1, 3, about.size, about.size), np.float32)))
    if about.config.startswith("retinanet"):  # a list turned around, and axes that are only known to be of one
        head.get_bboxes_single = partial(head.get_bboxes_single, rescale=False)
        retina_head.delta2bbox = lambda *given: delta2bbox(*given).reshape([-1, 4])
    if about.two_stages:
        for part in (model.rpn_head, model.bbox_post_process, model.bbox_post_process.decode):
            part.export_onnx = True  # without loops, as PaddleDetection says
        if hasattr(model, "mask_post_process"):
            model.mask_post_process.export_onnx = model.mask_head.export_onnx = True
            paddle.broadcast_tensors = lambda values: values  # of the masks' indices, which are as long as each other
        # PaddleDetection reckons with numbers that are lists of one, as they were in Paddle before 2.5.
        model.rpn_head.register_forward_post_hook(
            lambda layer, read, gives: (gives[0], gives[1].reshape([1]), gives[2])
        )
        paddle.concat = lambda x, axis=0, name=None: concat(
            [one.reshape([1]) if not one.shape else one for one in x], axis
        )
        vision.generate_proposals, vision.distribute_fpn_proposals = proposals, by_level
        of = suppression(model, about)
        of.nms = partial(suppressed, of.nms)
    try:
        yield
    finally:
        paddle.concat, retina_head.delta2bbox = concat, delta2bbox
        vision.generate_proposals, vision.distribute_fpn_proposals, paddle.broadcast_tensors, paddle.stack = kept


def stacked(x: Sequence[paddle.Tensor], axis: int = 0, name: str | None = None) -> paddle.Tensor:
    """`paddle.stack` of tensors with axes: paddle2onnx takes lists of one for numbers, and then lacks an axis.

    The anchors of a level that has one cell are stacked of such lists.
    """
    return paddle.concat([one.unsqueeze(axis) for one in x], axis)


class Anchors(paddle.nn.Layer):
    """The anchors that a generator makes first, from then on as constants."""

    def __init__(self, generator: Callable[..., list[paddle.Tensor]]) -> None:
        super().__init__()
        self.generator, self.count = generator, 0

    def forward(self, maps: list[paddle.Tensor], image: paddle.Tensor) -> list[paddle.Tensor]:
        if not self.count:
            for number, anchors in enumerate(self.generator(maps, image)):
                self.register_buffer(f"anchors_{number}", anchors.detach())
                self.count = number + 1
        return [getattr(self, f"anchors_{number}") for number in range(self.count)]


def proposals(
    scores: paddle.Tensor,
    bbox_deltas: paddle.Tensor,
    img_size: paddle.Tensor,
    anchors: paddle.Tensor,
    variances: paddle.Tensor,
    pre_nms_top_n: int,
    post_nms_top_n: int,
    nms_thresh: float,
    min_size: float,
    **others: Any,
) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
    """`paddle.vision.ops.generate_proposals` for one image and variances of 1, by other operators.

    Args:
        scores, bbox_deltas: [1, A, H, W] and [1, 4A, H, W].
        img_size: [1, 2], height and width.
        anchors, variances: [H, W, A, 4].
        pre_nms_top_n, post_nms_top_n, nms_thresh, min_size: as Paddle has them.
        others: not read; there is nothing else that PaddleDetection sets.

    Returns:
        Boxes [R, 4], their scores [R, 1], and R as a list of one.
    """
    score = scores.transpose([0, 2, 3, 1]).reshape([-1])
    delta, anchor = bbox_deltas.transpose([0, 2, 3, 1]).reshape([-1, 4]), anchors.reshape([-1, 4])
    count = min(pre_nms_top_n, int(np.prod(scores.shape)))
    score, order = paddle.topk(score, count)
    delta, anchor = paddle.gather(delta, order), paddle.gather(anchor, order)
    size = anchor[:, 2:] - anchor[:, :2]
    center = anchor[:, :2] + size / 2 + delta[:, :2] * size
    size = size * paddle.exp(paddle.clip(delta[:, 2:], max=float(np.log(1000 / 16))))
    limit = paddle.concat([img_size[:, 1:2], img_size[:, 0:1]], axis=1)
    corners = [paddle.minimum(paddle.clip(center + side * size / 2, min=0.0), limit) for side in (-1, 1)]
    kept = ((corners[1] - corners[0]) >= max(min_size, 1.0)).astype("float32").min(axis=1)
    found, number, _ = ops.multiclass_nms(
        paddle.concat(corners, axis=1).unsqueeze(0),
        (score * kept + (kept - 1) * LOWEST).unsqueeze([0, 1]),  # logits
        score_threshold=-LOWEST / 2,
        nms_top_k=count,
        keep_top_k=post_nms_top_n,
        nms_threshold=nms_thresh,
    )
    return found[:, 2:], found[:, 1:2], number


def by_level(
    fpn_rois: paddle.Tensor, min_level: int, max_level: int, refer_level: int, refer_scale: int, **others: Any
) -> tuple[list[paddle.Tensor], paddle.Tensor, list[paddle.Tensor]]:
    """`paddle.vision.ops.distribute_fpn_proposals` for one image, by other operators.

    Returns:
        The boxes of each level; where each box is, if they are put one after another; how many there are of each level.
    """
    size = paddle.sqrt((fpn_rois[:, 2] - fpn_rois[:, 0]) * (fpn_rois[:, 3] - fpn_rois[:, 1]))
    level = paddle.floor(paddle.log2(size / refer_scale + 1e-8) + refer_level)
    level = paddle.clip(level, min=float(min_level), max=float(max_level))
    rows = [paddle.nonzero(level == float(number)).reshape([-1]) for number in range(min_level, max_level + 1)]
    boxes = [paddle.gather(fpn_rois, row) for row in rows]
    counts = [paddle.shape(row)[0:1].astype("int32") for row in rows]
    return boxes, paddle.argsort(paddle.concat(rows)), counts


def suppressed(
    nms: Any, boxes: tuple[paddle.Tensor, paddle.Tensor], scores: paddle.Tensor, background: int
) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
    """What PaddleDetection's suppression of an R-CNN finds in one image, by a suppression of one class.

    Args:
        nms: PaddleDetection's, for its settings.
        boxes: [R, C, 4], of each proposal and class; and R.
        scores: [R, C].
        background: not read; its scores are left out already.

    Returns:
        [K, 6], class, score and box; K as a list of one; where they were.
    """
    label = (paddle.zeros_like(scores) + paddle.arange(scores.shape[1], dtype="float32")).reshape([-1])
    flat = boxes[0].reshape([-1, 4])
    _, number, index = ops.multiclass_nms(
        (flat + label.unsqueeze(1) * FAR).unsqueeze(0),  # boxes of different classes never overlap
        scores.reshape([1, 1, -1]),
        nms.score_threshold,
        nms_top_k=MOST,
        keep_top_k=nms.keep_top_k,
        nms_threshold=nms.nms_threshold,
        return_index=True,
    )
    index = index.reshape([-1])
    columns = [paddle.gather(of, index).unsqueeze(1) for of in (label, scores.reshape([-1]))]
    return paddle.concat([*columns, paddle.gather(flat, index)], axis=1), number, index
