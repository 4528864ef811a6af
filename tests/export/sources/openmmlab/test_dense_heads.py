"""The selection of dense heads as it is exported, against mmdet's own functions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine import ConfigDict
from mmengine.structures import InstanceData

from boxcam.export.sources.openmmlab import deform_conv, dense_heads
from boxcam.export.sources.openmmlab.compat import bridged


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.97, 2.0])
@pytest.mark.parametrize("most", [5, 40, 1000])
def test_the_best_pairs_are_mmdets(threshold: float, most: int) -> None:
    """Fewer than the anchors, than the pairs, and more than there are; none above the threshold, too."""
    scores = torch.rand(60, 7, generator=torch.Generator().manual_seed(most))
    numbers = torch.arange(60.0)[:, None]
    with bridged():
        from mmdet.models.utils import filter_scores_and_topk

        expected = filter_scores_and_topk(scores, threshold, most, {"number": numbers})
    found = dense_heads._best_pairs(scores, threshold, most, {"number": numbers})
    real = found[0] > 0
    assert int(real.sum()) == len(expected[0])
    for mine, theirs in zip(found[:3], expected[:3], strict=True):
        assert torch.equal(mine[real], theirs)
    assert torch.equal(found[3]["number"][real], expected[3]["number"])
    assert set(found[0][~real].tolist()) <= {-1.0}


@pytest.mark.parametrize("smallest", [-1, 0, 8])
@pytest.mark.parametrize("factors", [False, True])
def test_boxes_are_merged_as_mmdet_merges_them(smallest: int, factors: bool) -> None:
    """Flat boxes, products with a centerness, and classes that do not suppress each other."""
    random = np.random.default_rng(3)
    corner, size = random.uniform(0, 60, (200, 2)), random.uniform(0, 30, (200, 2)) * (random.random((200, 2)) > 0.1)
    boxes = torch.tensor(np.concatenate([corner, corner + size], 1), dtype=torch.float32)
    rows = {"bboxes": boxes, "scores": torch.rand(200), "labels": torch.from_numpy(random.integers(0, 3, 200))}
    rows.update({"score_factors": torch.rand(200)} if factors else {})
    cfg = ConfigDict(nms={"type": "nms", "iou_threshold": 0.4}, max_per_img=30, min_bbox_size=smallest)
    with bridged():
        from mmdet.models.dense_heads.base_dense_head import BaseDenseHead

        expected = BaseDenseHead._bbox_post_process(SimpleNamespace(), InstanceData(**rows), cfg, img_meta={})
        dets, labels = dense_heads._merge(None, SimpleNamespace(**rows), cfg)
    assert len(expected) == 30
    assert torch.equal(dets[0, :-1, 4], expected.scores)
    assert torch.equal(dets[0, :-1, :4], expected.bboxes)
    assert torch.equal(labels[0, :-1], expected.labels)
    assert not dets[0, -1].any()


def test_deformable_convolutions_are_found() -> None:
    with bridged():
        from mmcv.ops import DeformConv2dPack

        assert deform_conv.has_deformable_convolutions(torch.nn.Sequential(DeformConv2dPack(2, 2, 3)))
    assert not deform_conv.has_deformable_convolutions(torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3)))


@pytest.mark.parametrize(("group", "offsets", "stride"), [(1, 1, 1), (2, 1, 2), (1, 2, 1)])
def test_the_stand_in_for_deformable_convolutions_with_offsets_of_zero_is_a_convolution(
    group: int, offsets: int, stride: int
) -> None:
    with bridged():
        from mmcv.ops import deform_conv2d, modulated_deform_conv2d

        image, weight = torch.randn(1, 4, 9, 7), torch.randn(6, 4 // group, 3, 3)
        expected = torch.nn.functional.conv2d(image, weight, stride=stride, padding=1, groups=group)
        still = torch.zeros(1, offsets * 18, *expected.shape[2:])
        found = deform_conv2d(image, still, weight, stride, 1, 1, group, offsets)
        assert torch.allclose(found, expected, atol=1e-5)
        half = torch.full((1, offsets * 9, *expected.shape[2:]), 0.5)
        bias = torch.randn(6)
        found = modulated_deform_conv2d(image, still, half, weight, bias, stride, 1, 1, group, offsets)
        assert torch.allclose(found, expected / 2 + bias[:, None, None], atol=1e-5)
