"""The boxes of YOLO heads in the graph, as mmdet and mmyolo themselves select them.

mmdeploy 1.3.1 selects otherwise, so the deployed detector would draw other boxes than the trained one:

- it enters the best anchors into the suppression, with all their classes; the frameworks enter the best pairs of an
  anchor and a class, and YOLOX of mmdet each anchor with its best class only;
- it keeps 200 boxes of a class, whatever the config says;
- of YOLOv3 it keeps anchors of any objectness and pairs of any score, and drops the lower limits of the config;
- of RTMDet it keeps boxes that stick out of the canvas; mmdet cuts them off before it compares them.

For the time of an export the functions below take the place of mmdeploy's. They are made of standard operators.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from boxcam.errors import SourceError

_MMYOLO = "mmyolo.models.dense_heads.yolov5_head.YOLOv5Head.predict_by_feat"
Detections = tuple[torch.Tensor, torch.Tensor]


@contextlib.contextmanager
def as_yolo_heads_select() -> Iterator[None]:
    """Put the functions in place, and take them out afterwards."""
    import mmdeploy.codebase.mmdet.models  # noqa: F401  (registers mmdeploy's own, which these stand in front of)
    from mmdeploy.core import FUNCTION_REWRITER

    heads = "mmdet.models.dense_heads"
    functions: dict[str, Callable[..., Detections]] = {
        f"{heads}.yolo_head.YOLOV3Head.predict_by_feat": _yolo_v3,
        f"{heads}.yolox_head.YOLOXHead.predict_by_feat": _yolox,
        f"{heads}.rtmdet_head.RTMDetHead.predict_by_feat": _rtmdet,
    }
    if importlib.util.find_spec("mmyolo") is not None:
        functions[_MMYOLO] = _yolo
    records = FUNCTION_REWRITER._registry._rewrite_records
    before = {name: list(records.get(name, [])) for name in functions}
    for name, function in functions.items():
        FUNCTION_REWRITER.register_rewriter(name, backend="onnxruntime")(function)
    try:
        yield
    finally:
        records.update(before)


def _yolo(
    self: Any,
    cls_scores: Sequence[torch.Tensor],
    bbox_preds: Sequence[torch.Tensor],
    objectnesses: Sequence[torch.Tensor] | None = None,
    batch_img_metas: Any = None,
    cfg: Any = None,
    rescale: bool = False,
    with_nms: bool = True,
) -> Detections:
    """``predict_by_feat`` of all heads of mmyolo for one image: dets [1, n + 1, 5], labels [1, n + 1]."""
    cfg = self.test_cfg if cfg is None else cfg
    sizes = _sizes(cls_scores)
    priors = torch.cat(self.prior_generator.grid_priors(sizes, dtype=cls_scores[0].dtype, device="cpu")).data
    strides = _strides(self, priors, sizes)
    boxes = self.bbox_coder.decode(priors[None], _rows(bbox_preds, 4)[None], strides)[0]
    scores = _rows(cls_scores, self.num_classes).sigmoid()
    if objectnesses is not None:
        scores = scores * _rows(objectnesses, 1).sigmoid()
    if cfg.multi_label and self.num_classes > 1:
        scores, row, label = _best_pairs(scores, int(cfg.get("nms_pre", 100000)))
    else:
        scores, label = scores.max(1)
        scores, row, _ = _best_pairs(scores[:, None], int(cfg.get("nms_pre", 100000)))
        label = label[row]
    most = int(row.shape[0]) if cfg.get("yolox_style", False) else int(cfg.max_per_img)
    return _suppressed(boxes[row], scores, scores, label, cfg.nms, float(cfg.get("score_thr", -1)), most)


def _yolox(
    self: Any,
    cls_scores: Sequence[torch.Tensor],
    bbox_preds: Sequence[torch.Tensor],
    objectnesses: Sequence[torch.Tensor],
    batch_img_metas: Any = None,
    cfg: Any = None,
    rescale: bool = False,
    with_nms: bool = True,
) -> Detections:
    """``YOLOXHead.predict_by_feat`` of mmdet for one image: dets [1, n + 1, 5], labels [1, n + 1]."""
    cfg = self.test_cfg if cfg is None else cfg
    priors = self.prior_generator.grid_priors(
        _sizes(cls_scores), dtype=cls_scores[0].dtype, device="cpu", with_stride=True
    )
    boxes = self._bbox_decode(torch.cat(priors).data, _rows(bbox_preds, 4)[None])[0]
    scores, label = _rows(cls_scores, self.cls_out_channels).sigmoid().max(1)
    scores = scores * _rows(objectnesses, 1).sigmoid()[:, 0]
    least = np.nextafter(np.float32(cfg.score_thr), np.float32(-1))  # YOLOX keeps a score that is equal to it, too
    return _suppressed(boxes, scores, scores, label, cfg.nms, float(least), int(boxes.shape[0]))


def _yolo_v3(
    self: Any,
    pred_maps: Sequence[torch.Tensor],
    batch_img_metas: Any = None,
    cfg: Any = None,
    rescale: bool = False,
    with_nms: bool = True,
) -> Detections:
    """``YOLOV3Head.predict_by_feat`` for one image: dets [1, n + 1, 5], labels [1, n + 1]."""
    cfg = self.test_cfg if cfg is None else cfg
    maps = _rows(pred_maps, self.num_attrib)
    sizes = _sizes(pred_maps)
    anchors = torch.cat(self.prior_generator.grid_priors(sizes, device="cpu")).data
    strides = _strides(self, anchors, sizes)[:, None]
    boxes = self.bbox_coder.decode(anchors, torch.cat([maps[:, :2].sigmoid(), maps[:, 2:4]], 1), strides)
    objectness, classes = maps[:, 4].sigmoid(), maps[:, 5:].sigmoid()
    possible = classes > float(cfg.get("score_thr", 0))
    if float(cfg.get("conf_thr", -1)) > 0:
        possible = possible & (objectness >= float(cfg.conf_thr))[:, None]
    rank, row, label = _best_pairs(torch.where(possible, classes, _nothing(classes)), int(cfg.get("nms_pre", -1)))
    scores = classes.reshape(-1)[row * self.num_classes + label] * objectness[row]
    boxes = boxes[row]
    kept = (rank > -1) & _larger(boxes, float(cfg.get("min_bbox_size", -1)))
    candidates = torch.where(kept, scores, _nothing(scores))
    return _suppressed(boxes, scores, candidates, label, cfg.nms, -0.5, int(cfg.max_per_img))


def _rtmdet(
    self: Any,
    cls_scores: Sequence[torch.Tensor],
    bbox_preds: Sequence[torch.Tensor],
    score_factors: Any = None,
    batch_img_metas: Any = None,
    cfg: Any = None,
    rescale: bool = False,
    with_nms: bool = True,
) -> Detections:
    """``RTMDetHead.predict_by_feat`` of mmdet for one image: dets [1, n + 1, 5], labels [1, n + 1]."""
    cfg = self.test_cfg if cfg is None else cfg
    shape = tuple(int(size) for size in batch_img_metas[0]["img_shape"][:2])
    priors = self.prior_generator.grid_priors(_sizes(cls_scores), dtype=cls_scores[0].dtype, device="cpu")
    found = []
    for logits, distances, points in zip(cls_scores, bbox_preds, priors):  # noqa: B905
        score, row, label = _best_pairs(_rows([logits], self.cls_out_channels).sigmoid(), int(cfg.get("nms_pre", -1)))
        distance, point = _rows([distances], 4)[row], points.data[row]
        found.append((self.bbox_coder.decode(point[None], distance[None], max_shape=shape)[0], score, label))
    boxes, scores, label = (torch.cat(parts) for parts in zip(*found))  # noqa: B905
    kept = (scores > float(cfg.get("score_thr", 0))) & _larger(boxes, float(cfg.get("min_bbox_size", -1)))
    candidates = torch.where(kept, scores, _nothing(scores))
    return _suppressed(boxes, scores, candidates, label, cfg.nms, -0.5, int(cfg.max_per_img))


def _sizes(maps: Sequence[torch.Tensor]) -> list[torch.Size]:
    return [torch.Size(int(size) for size in level.shape[-2:]) for level in maps]


def _strides(head: Any, priors: torch.Tensor, sizes: Sequence[torch.Size]) -> torch.Tensor:
    """The stride of the level that each prior lies on: [n]."""
    counts = [height * width * head.num_base_priors for height, width in sizes]
    return torch.cat([priors.new_full((n,), stride) for n, stride in zip(counts, head.featmap_strides)])  # noqa: B905


def _rows(maps: Sequence[torch.Tensor], columns: int) -> torch.Tensor:
    """Maps [1, anchors x columns, h, w] of all levels as rows [n, columns]."""
    return torch.cat([level[0].permute(1, 2, 0).reshape(-1, columns) for level in maps])


def _nothing(scores: torch.Tensor) -> torch.Tensor:
    return torch.full_like(scores, -1.0)


def _larger(boxes: torch.Tensor, smallest: float) -> torch.Tensor:
    """Which boxes [n, 4] are wider and higher; all, if the number is negative."""
    if smallest < 0:
        return torch.ones_like(boxes[:, 0]) > 0
    return ((boxes[:, 2:] - boxes[:, :2]) > smallest).all(-1)


def _best_pairs(scores: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The best pairs of a row and a column of [n, c], at most so many: their scores, rows and columns."""
    rows, columns = (int(size) for size in scores.shape)
    flat = scores.reshape(-1)
    if 0 < most < rows * columns:
        flat, pair = flat.topk(most)
        return flat, pair // columns, pair % columns
    pair = torch.arange(rows * columns)
    return flat, pair // columns, pair % columns


def _suppressed(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    candidates: torch.Tensor,
    label: torch.Tensor,
    nms: Any,
    threshold: float,
    most: int,
) -> Detections:
    """Boxes that stay after NMS among those of their class, best first: dets [1, k + 1, 5], labels [1, k + 1].

    As in ``mmcv.ops.batched_nms`` boxes of different classes are moved apart, so that they never overlap.

    Args:
        boxes: [n, 4].
        scores: [n], what is reported.
        candidates: [n], the same for boxes that take part, something below the threshold for others.
        label: [n], classes.
        nms: its settings in the config.
        threshold: boxes with higher scores take part.
        most: boxes that are kept at most.
    """
    from mmdeploy.mmcv.ops import ONNXNMSop

    if nms.get("type", "nms") != "nms":
        raise SourceError(
            f"the model's test_cfg asks for {nms.type!r}; only 'nms' can be exported. Set 'nms' in the config."
        )
    moved = boxes
    if not nms.get("class_agnostic", False):
        # The extent of the boxes that take part only: a far one elsewhere would cost all of them their precision.
        part = torch.where((candidates > threshold)[:, None], boxes, torch.zeros_like(boxes))
        moved = boxes + (label.to(boxes.dtype) * (part.max() + 1))[:, None]
    limits = torch.tensor([float(nms.get("iou_threshold", nms.get("iou_thr", 0.5)))]), torch.tensor([threshold])
    chosen = ONNXNMSop.apply(moved[None], candidates.reshape(1, 1, -1), most, *limits)[:, 2]
    dets = torch.cat([boxes[chosen], scores[chosen, None]], 1)[None]
    labels = label[chosen][None]
    # One row of filler, as mmdeploy's own exports have it, keeps the outputs from being empty.
    return torch.cat([dets, dets.new_zeros(1, 1, 5)], 1), torch.cat([labels, labels.new_zeros(1, 1)], 1)
