"""RetinaNet and Faster R-CNN of mmdet, beyond the matrix: the logit of each box, borders, proposals of every size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from tests.matrix.cases import marked
from tests.matrix.counterpart import Array
from tests.matrix.deployed import whole
from tests.matrix.measure import Case, Scene
from tests.matrix.registry import PICTURES, proposals_with_image

DENSE, TWO_STAGE = "mmdet: RetinaNet R18", "mmdet: Faster R-CNN R50"
ENGINES = ("onnx", "torchscript")


@pytest.mark.parametrize("case", [marked(DENSE), marked(TWO_STAGE)], indirect=True)
def test_the_logit_at_origin_reproduces_each_score(case: Case) -> None:
    count, worst = 0, 0.0
    for picture in PICTURES:
        found = case.deployed.predict(picture).detections
        logits = case.deployed.values(case.canvas(picture), case.deployed.ends())
        for k, (number, *position) in enumerate(found.origin.tolist()):
            tensor = logits[number].astype(np.float64)
            value = tensor[tuple(position)[: tensor.ndim]]
            assert value == found.logits[k]
            if case.name == DENSE:
                score, label = 1 / (1 + np.exp(-value)), position[1] % 80
            else:
                row = np.exp(tensor[position[0]] - tensor[position[0]].max())
                score, label = row[position[1]] / row.sum(), position[1]
            assert label == found.labels[k]
            assert np.isfinite(score)
            worst = max(worst, abs(float(score) - float(found.scores[k])))
            count += 1
    assert count >= 200, "hundreds of boxes"
    assert worst <= 1e-6


@pytest.mark.parametrize("case", [marked(DENSE), marked(TWO_STAGE)], indirect=True)
def test_mmdets_own_logit_at_origin_makes_each_box(case: Case) -> None:
    """Score, label and box that mmdet makes of its logit there are those of the detection."""
    for picture in PICTURES:
        prediction = case.deployed.predict(picture)
        boxes = (_Dense if case.name == DENSE else _TwoStage)(case, case.canvas(picture))
        found = prediction.detections
        for k in range(len(found)):
            box, score, label = boxes.at(found.origin[k].tolist())
            assert label == found.labels[k]
            assert abs(score - found.scores[k]) < 1e-3  # float32 noise of two runtimes, grown by random weights
            assert np.abs(prediction.transform.boxes_to_image(box[None])[0] - found.boxes[k]).max() < 0.5


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", [marked(DENSE)], indirect=True)
def test_windows_equal_whole_maps_at_every_border(case: Case, engine: str) -> None:
    """Logits along the borders and corners of every level of RetinaNet, whether or not a box comes from them."""
    origins = []
    for level, array in enumerate(case.deployed.values(case.canvas(PICTURES[0]), case.deployed.ends())):
        h, w = array.shape[2:]
        edges = {(y, x) for y in (0, h // 2, h - 1) for x in (0, w // 2, w - 1)} | {(min(2, h - 1), min(3, w - 1))}
        origins += [[level, 0, 37 + level, y, x] for y, x in sorted(edges)]
    tensors = _compare(case, case.scene_at(PICTURES[0], origins), origins, "neck", engine)
    assert tensors == [{origin[0]} for origin in origins]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", [marked(TWO_STAGE)], indirect=True)
def test_proposals_of_every_size_have_their_gradient_on_their_own_level(case: Case, engine: str) -> None:
    """Faster R-CNN at the neck, for proposals of all levels, whether or not a box comes from them."""
    (rois,) = case.deployed.values(case.canvas(PICTURES[0]), case.deployed.rois())
    size = np.sqrt((rois[:, 2] - rois[:, 0]) * (rois[:, 3] - rois[:, 1]))
    levels = np.clip(np.floor(np.log2(size / 56 + 1e-6)), 0, 3).astype(int)  # as mmdet's SingleRoIExtractor has it
    rows = [int(row) for level in set(levels) for row in np.flatnonzero(levels == level)[:3]]
    assert len(set(levels)) >= 2
    origins = [[0, row, 17 + i] for i, row in enumerate(rows)]
    tensors = _compare(case, case.scene_at(PICTURES[0], origins), origins, "neck", engine)
    assert tensors == [{int(levels[row])} for row in rows]


def _compare(case: Case, scene: Scene, origins: Sequence[Sequence[int]], layer: str, engine: str) -> list[set[int]]:
    """The gradients are mmdet's; returns for each origin which tensors of the layer it has a gradient on."""
    prediction = case.deployed.predict(scene.picture, layer, engine)
    explained = case.deployed.explain_at(prediction, layer, origins, engine)
    tensors = []
    for pieces, expected in zip(explained.boxes, case.gradients(scene, layer, explained.features), strict=True):
        largest = max(np.abs(array).max() for array in expected)
        for piece, array in zip(pieces, expected, strict=True):
            assert np.abs(whole(piece, array.shape) - array).max() <= 1e-4 * largest
        tensors.append({i for i, array in enumerate(expected) if array.any()})
    return tensors


class _Dense:
    """The boxes that mmdet makes of a one-stage detector's logits, by its own anchors and decoder."""

    def __init__(self, case: Case, image: torch.Tensor) -> None:
        self.head, self.shape = case.subject.model.bbox_head, tuple(image.shape[2:])
        with torch.no_grad():
            self.scores, self.deltas = case.subject.run(image)

    def at(self, origin: Sequence[int]) -> tuple[Array, float, int]:
        level, _, channel, y, x = origin
        anchor, label = divmod(channel, self.head.num_classes)
        height, width = self.scores[level].shape[-2:]
        sizes = [tuple(s.shape[-2:]) for s in self.scores]
        anchors = self.head.prior_generator.grid_priors(sizes, device="cpu")[level].reshape(height, width, -1, 4)
        delta = self.deltas[level][0].reshape(-1, 4, height, width)[anchor, :, y, x]
        box = self.head.bbox_coder.decode(anchors[y, x, anchor][None], delta[None], max_shape=self.shape)[0]
        return box.numpy(), float(torch.sigmoid(self.scores[level][0, channel, y, x])), label


class _TwoStage:
    """The same of a two-stage detector, with the deployed one's proposals."""

    def __init__(self, case: Case, image: torch.Tensor) -> None:
        self.head, self.shape = case.subject.model.roi_head.bbox_head, tuple(image.shape[2:])
        proposals = case.deployed.values(image, case.deployed.rois())
        self.rois = torch.from_numpy(np.array(proposals[0]))
        with torch.no_grad():
            model = case.subject.model
            extractor = model.roi_head.bbox_roi_extractor
            features = model.extract_feat(image)[: extractor.num_inputs]
            self.scores, self.deltas = self.head(extractor(features, proposals_with_image(proposals[0])))

    def at(self, origin: Sequence[int]) -> tuple[Any, float, int]:
        _, row, label = origin
        delta = self.deltas[row].reshape(-1, 4)[label]
        box = self.head.bbox_coder.decode(self.rois[row : row + 1], delta[None], max_shape=self.shape)[0]
        return box.numpy(), float(torch.softmax(self.scores[row], 0)[label]), label
