"""What recipes of others show of the same boxes: pytorch-grad-cam's for detectors, and D-RISE with all of its masks.

The first one is that of the library's tutorial "Class Activation Maps for Object Detection With Faster RCNN": the
absolute values of all levels of the FPN, resized to the smallest one and joined; EigenCAM, which knows no box; and the
map within the box scaled to 0..1, 0 outside of it. It needs PyTorch, mmdet and the package ``grad-cam``, which `make
truth` fetches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

import boxcam
from boxcam.explain.metrics.arithmetic import region_of
from boxcam.export.sources.openmmlab import compat
from examples.truth.measure import BOXES, PEERS, Case, Row, measure
from examples.truth.scenes import Scene
from examples.truth.subjects import HIGH, TUNING_SEED, Subject
from examples.truth.things import SIZE
from examples.truth.train import build

ROWS = (Row(PEERS[0], "neck"), Row(PEERS[1]))
MASKS, MASKED_BOXES = 5000, 2
"""Of D-RISE, and how many reporting pictures of each detector of the first seed and kind of cue it is measured on."""


class _Levels(torch.nn.Module):
    """The detector up to its FPN, whose levels it gives."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: torch.Tensor) -> Sequence[torch.Tensor]:
        """float32 [1, 3, H, W] to levels, float32 [1, C, h, w] each."""
        levels: Sequence[torch.Tensor] = self.detector.extract_feat(image)
        return levels


def peers_of(model: boxcam.Model, one: Subject, cue: str) -> list[Case]:
    """All that is measured of a detector with a kind of cue by others' recipes."""
    with compat.bridged():
        detector = build(one)
    weights = {name: value.float() for name, value in compat.load_checkpoint(one.checkpoint)["state_dict"].items()}
    missing = detector.load_state_dict(weights, strict=False).missing_keys
    assert all("num_batches" in name for name in missing), missing
    detector.eval()

    def heat(model: boxcam.Model, row: Row, picture: np.ndarray, scene: Scene, rank: int) -> np.ndarray:
        return within(eigencam(detector, picture), model.detect(picture).boxes[rank - 1])

    found = [case for split in one.splits for case in measure(model, one, cue, [ROWS[0]], split, BOXES, heat)]
    if one.seed == TUNING_SEED and (one.clean or one.dose == HIGH):
        found += measure(model, one, cue, [ROWS[1]], "reporting", MASKED_BOXES, _drise)
    return found


def _drise(model: boxcam.Model, row: Row, picture: np.ndarray, scene: Scene, rank: int) -> np.ndarray:
    return boxcam.explain(model, picture, method="d-rise", rank=rank, masks=MASKS, seed=0).map(0)


def eigencam(detector: Any, picture: np.ndarray) -> np.ndarray:
    """The library's EigenCAM of a picture, uint8 [SIZE, SIZE, 3], at the FPN: float32 [SIZE, SIZE], 0..1."""
    from pytorch_grad_cam import EigenCAM

    image = torch.from_numpy(picture).permute(2, 0, 1)
    inputs = detector.data_preprocessor({"inputs": [image], "data_samples": None}, False)["inputs"]
    network = _Levels(detector)
    with EigenCAM(network, [network], reshape_transform=_joined) as cam:
        found: np.ndarray = cam(inputs, targets=[lambda output: output.sum()])[0]
    return found


def within(heat: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The map within a box, scaled to 0..1, and 0 outside of it, as the library's tutorial has it."""
    inside = region_of(box, (SIZE, SIZE))
    low, high = heat[inside].min(), heat[inside].max()
    return np.where(inside, (heat - low) / max(high - low, 1e-7), 0).astype(np.float32)


def _joined(levels: Sequence[torch.Tensor]) -> torch.Tensor:
    size = levels[-1].shape[-2:]
    return torch.cat([torch.nn.functional.interpolate(one.abs(), size, mode="bilinear") for one in levels], dim=1)
