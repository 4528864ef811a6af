"""Boxes of dense heads in the graph as mmdet itself selects them.

mmdeploy 1.3.1 writes the selection anew for each head, and otherwise than mmdet: it keeps a level's best anchors and
not its best pairs of anchor and class, compares the product of score and centerness with the threshold and not the
score, keeps boxes without width or height, and has nothing for heads such as TOOD's.  Here mmdet's own code of each
head is exported; only the two functions in it whose results have as many rows as an image has boxes are replaced, by
ones that compute the same in operators of ONNX.
"""

from __future__ import annotations

from typing import Any

import torch

from boxcam.errors import SourceError

_HEADS = "mmdet.models.dense_heads"
_NOT_A_BOX = -1.0  # score of a row of filler; times a centerness it stays below zero


def rewriters() -> dict[str, Any]:
    """Functions of mmdet by their full name, and what takes their place during an export."""
    heads = ("base_dense_head.BaseDenseHead", "gfl_head.GFLHead")
    return {
        **{f"{_HEADS}.{head}.predict_by_feat": _predict for head in heads},
        f"{_HEADS}.base_dense_head.BaseDenseHead._bbox_post_process": _merge,
        f"{_HEADS}.tood_head.TOODHead.deform_sampling": _sample,
        "mmdet.models.utils.misc.filter_scores_and_topk": _best_pairs,
        "mmdet.models.task_modules.coders.delta_xywh_bbox_coder.DeltaXYWHBBoxCoder.decode": _decode,
    }


def _predict(
    self: Any,
    cls_scores: list[torch.Tensor],
    bbox_preds: list[torch.Tensor],
    score_factors: list[torch.Tensor] | None = None,
    batch_img_metas: Any = None,
    cfg: Any = None,
    rescale: bool = False,
    with_nms: bool = True,
    **kwargs: Any,
) -> Any:
    """``BaseDenseHead.predict_by_feat`` of one image: dets [1, n + 1, 5], the last row filler, labels [1, n + 1]."""
    sizes = [tuple(int(size) for size in level.shape[-2:]) for level in cls_scores]
    priors = self.prior_generator.grid_priors(sizes, dtype=cls_scores[0].dtype, device=cls_scores[0].device)
    factors = [None] * len(sizes) if score_factors is None else [level[0] for level in score_factors]
    return self._predict_by_feat_single(
        cls_score_list=[level[0] for level in cls_scores],
        bbox_pred_list=[level[0] for level in bbox_preds],
        score_factor_list=factors,
        mlvl_priors=[level.data for level in priors],
        img_meta=batch_img_metas[0],
        cfg=cfg,
        rescale=False,
        with_nms=True,
    )


def _best_pairs(scores: torch.Tensor, score_thr: float, topk: int, results: Any = None) -> Any:
    """``filter_scores_and_topk``: the best pairs of anchor and class; those not above the threshold become filler."""
    anchors, classes = (int(size) for size in scores.shape)
    keep = torch.arange(anchors, device=scores.device)
    if 0 < topk < anchors:  # the best pairs are among the anchors with the best class
        _, keep = scores.max(-1).values.topk(topk)
        scores = scores[keep]
    count = min(topk, anchors * classes) if topk > 0 else anchors * classes
    best, pair = scores.reshape(-1).topk(count)
    chosen = keep[torch.div(pair, classes, rounding_mode="floor")]
    best = torch.where(best > score_thr, best, torch.full_like(best, _NOT_A_BOX))
    if isinstance(results, dict):
        results = {name: value[chosen] for name, value in results.items()}
    elif results is not None:
        results = [v[chosen] for v in results] if isinstance(results, list) else results[chosen]
    return best, pair % classes, chosen, results


def _merge(
    self: Any, results: Any, cfg: Any, rescale: bool = False, with_nms: bool = True, img_meta: Any = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """``BaseDenseHead._bbox_post_process``: products of scores, boxes that are flat, and NMS class by class."""
    boxes, scores, labels = results.bboxes, results.scores, results.labels
    if hasattr(results, "score_factors"):
        scores = scores * results.score_factors
    smallest = float(cfg.get("min_bbox_size", -1))
    if smallest >= 0:
        real = ((boxes[:, 2:] - boxes[:, :2]) > smallest).all(-1)
        scores = torch.where(real, scores, torch.full_like(scores, _NOT_A_BOX))
    kind = torch.zeros_like(scores) if cfg.nms.get("class_agnostic") else labels.to(scores.dtype)
    chosen = suppress(boxes, scores, kind, cfg, 0.0)
    return detections(boxes[chosen], scores[chosen], labels[chosen])


def _sample(self: Any, feat: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """``TOODHead.deform_sampling``: the number of channels is a number, as an operator's attributes have to be."""
    from mmcv.ops import deform_conv2d

    channels = int(feat.shape[1])
    sampled: torch.Tensor = deform_conv2d(feat, offset, feat.new_ones(channels, 1, 1, 1), 1, 0, 1, channels, channels)
    return sampled


def _decode(
    self: Any, bboxes: torch.Tensor, pred_bboxes: torch.Tensor, max_shape: Any = None, wh_ratio_clip: float = 16 / 1000
) -> torch.Tensor:
    """``DeltaXYWHBBoxCoder.decode``: mmdeploy's, which only takes a batch, also for the boxes of one image."""
    from mmdet.models.task_modules.coders import delta_xywh_bbox_coder

    single = pred_bboxes.ndim == 2
    boxes: torch.Tensor = delta_xywh_bbox_coder.delta2bbox(
        bboxes[None] if single else bboxes,
        pred_bboxes[None] if single else pred_bboxes,
        self.means,
        self.stds,
        max_shape,
        wh_ratio_clip,
        self.clip_border,
        self.add_ctr_clamp,
        self.ctr_clamp,
    )
    return boxes[0] if single else boxes


def suppress(boxes: torch.Tensor, scores: torch.Tensor, kind: torch.Tensor, cfg: Any, threshold: float) -> torch.Tensor:
    """NMS of boxes [n, 4] of the kinds [n], each kind for itself: numbers of those that stay, best score first.

    As in ``mmcv.ops.batched_nms``, boxes of different kinds are moved apart, so that they never overlap, and enter one
    NonMaxSuppression.

    Raises:
        SourceError: the model's settings ask for another way of merging boxes.
    """
    from mmdeploy.mmcv.ops import ONNXNMSop

    if cfg.nms.get("type", "nms") != "nms":
        raise SourceError(
            f"the model's test_cfg asks for {cfg.nms.type!r}; only 'nms' can be exported. Set 'nms' in the config."
        )
    moved = (boxes + (kind * (boxes.max() + 1)).unsqueeze(1)).unsqueeze(0)
    most = int(cfg.max_per_img) if int(cfg.get("max_per_img", -1)) > 0 else int(boxes.shape[0])
    limits = torch.tensor([cfg.nms.iou_threshold]), torch.tensor([threshold])
    chosen: torch.Tensor = ONNXNMSop.apply(moved, scores.reshape(1, 1, -1), most, *limits)[:, 2]
    return chosen


def detections(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """dets [1, n + 1, 5] and labels [1, n + 1] of boxes [n, 4]: a row of filler keeps the outputs from being empty."""
    dets = torch.cat([boxes, scores.unsqueeze(1)], 1).unsqueeze(0)
    labels = labels.unsqueeze(0)
    return torch.cat([dets, dets.new_zeros(1, 1, 5)], 1), torch.cat([labels, labels.new_zeros(1, 1)], 1)
