"""Proposals and boxes of two-stage detectors in the graph as mmdet itself selects them.

mmdeploy 1.3.1 selects otherwise, so the deployed detector would draw other boxes than the trained one:

- it suppresses proposals across levels and drops those below a score; mmdet suppresses them level by level;
- it keeps for each proposal only the box of its best class; mmdet keeps a box of every class.

For the time of an export the functions below take the place of mmdeploy's, and so do those of `mmdet_dense`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from boxcam.export.sources.openmmlab import dense_heads
from boxcam.export.sources.openmmlab.dense_heads import detections, suppress

_PROPOSALS = "mmdet.models.dense_heads.rpn_head.RPNHead.predict_by_feat"
_BOXES = "mmdet.models.roi_heads.bbox_heads.bbox_head.BBoxHead.predict_by_feat"


@contextlib.contextmanager
def as_mmdet_selects() -> Iterator[None]:
    """Put the functions in place, and take them out afterwards."""
    import mmdeploy.codebase.mmdet.models  # noqa: F401  (registers mmdeploy's own, which these stand in front of)
    from mmdeploy.core import FUNCTION_REWRITER

    records = FUNCTION_REWRITER._registry._rewrite_records
    ours = {_PROPOSALS: _proposals, _BOXES: _boxes, **dense_heads.rewriters()}
    before = {name: list(records.get(name, [])) for name in ours}
    for name, function in ours.items():
        FUNCTION_REWRITER.register_rewriter(name, backend="onnxruntime")(function)
    try:
        yield
    finally:
        records.update(before)


def _proposals(
    self: Any,
    cls_scores: list[torch.Tensor],
    bbox_preds: list[torch.Tensor],
    score_factors: Any = None,
    batch_img_metas: Any = None,
    cfg: Any = None,
    rescale: bool = False,
    with_nms: bool = True,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """``RPNHead.predict_by_feat`` for one image: proposals [1, n, 5] with their scores, labels [1, n]."""
    cfg = self.test_cfg if cfg is None else cfg
    height, width = (int(size) for size in batch_img_metas[0]["img_shape"][:2])
    sizes = [tuple(int(s) for s in level.shape[-2:]) for level in cls_scores]
    priors = self.prior_generator.grid_priors(sizes, dtype=bbox_preds[0].dtype, device=bbox_preds[0].device)
    kept = []
    for number, (logits, deltas, anchors) in enumerate(zip(cls_scores, bbox_preds, priors)):  # noqa: B905
        logits = logits[0].permute(1, 2, 0).reshape(-1, self.cls_out_channels)
        scores = logits.sigmoid() if self.use_sigmoid_cls else logits.softmax(-1)[:, :-1]
        scores, deltas = scores.reshape(-1), deltas[0].permute(1, 2, 0).reshape(-1, self.bbox_coder.encode_size)
        anchors = anchors.data
        most = int(cfg.get("nms_pre", -1))
        if 0 < most < int(anchors.shape[0]):
            scores, best = scores.topk(most)
            deltas, anchors = deltas[best], anchors[best]
        boxes = self.bbox_coder.decode(anchors.unsqueeze(0), deltas.unsqueeze(0), max_shape=(height, width))[0]
        kept.append((boxes, scores, torch.full_like(scores, number)))
    boxes, scores, level = (torch.cat(parts) for parts in zip(*kept))  # noqa: B905
    smallest = cfg.get("min_bbox_size", -1)
    if smallest >= 0:
        wide = (boxes[:, 2] - boxes[:, 0] > smallest) & (boxes[:, 3] - boxes[:, 1] > smallest)
        scores = torch.where(wide, scores, torch.full_like(scores, -1.0))
    chosen = suppress(boxes, scores, level, cfg, -0.5)
    dets = torch.cat([boxes[chosen], scores[chosen].unsqueeze(1)], dim=1).unsqueeze(0)
    return dets, torch.zeros_like(chosen).unsqueeze(0)


def _boxes(
    self: Any,
    rois: torch.Tensor,
    cls_scores: torch.Tensor,
    bbox_preds: torch.Tensor,
    batch_img_metas: list[dict[str, Any]],
    rcnn_test_cfg: Any,
    rescale: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """``BBoxHead.predict_by_feat`` for one image: dets [1, n + 1, 5] (the last row is filler), labels [1, n + 1]."""
    height, width = (int(size) for size in batch_img_metas[0]["img_shape"][:2])
    classes = self.num_classes
    scores = torch.softmax(cls_scores, dim=-1)[..., :classes].reshape(-1)
    decoded = self.bbox_coder.decode(rois[..., 1:], bbox_preds, max_shape=(height, width))
    if self.reg_class_agnostic:
        decoded = decoded.unsqueeze(2).repeat(1, 1, classes, 1)
    boxes = decoded.reshape(-1, 4)
    label = torch.arange(classes, device=boxes.device).repeat(rois.shape[1])
    chosen = suppress(boxes, scores, label.to(boxes.dtype), rcnn_test_cfg, float(rcnn_test_cfg.score_thr))
    return detections(boxes[chosen], scores[chosen], label[chosen])
