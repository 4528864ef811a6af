"""The detectors in torch, in the form that Grad-CAM libraries want: from an image to the logits of some boxes.

Boxes are not selected here: which logit made each box is known from the deployed model (``origin``), and a two-stage
detector gets the deployed model's proposals. NMS and the rest of selecting boxes costs these networks nothing, which is
in favour of the methods that run them.

Two runtimes differ by a millionth of a value or so, and where a ReLU's input is that close to zero one passes a
gradient that the other stops: one such cell changes a map by a per cent. So that maps can be compared closely, the
feature maps take the deployed model's values; gradients pass them as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


class Network(torch.nn.Module):
    """Image [1, 3, H, W] → logits of ``boxes``, [K].

    Args:
        model: the detector.
        layers: the modules whose outputs are the layer's tensors, by their number.
        origin: int64 [K, D], which logit made each box.
        groups: which of the layer's tensors each box is explained on.
        pinned: modules whose outputs take the given values.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        layers: Sequence[torch.nn.Module],
        origin: np.ndarray,
        groups: Sequence[int],
        pinned: Sequence[tuple[torch.nn.Module, np.ndarray]] = (),
    ) -> None:
        super().__init__()
        for module, values in pinned:
            _pin(module, torch.from_numpy(np.array(values)))
        self.model = model
        self.layers = list(layers)  # a plain list: they are the model's already
        self.origin = origin.tolist()
        self.groups = list(groups)
        self.boxes: list[int] = []

    def layer(self, box: int) -> torch.nn.Module:
        """The module whose output a box is explained on."""
        return self.layers[self.groups[box]]

    def row(self, box: int) -> int:
        """The index of the box's feature map in the output of that module."""
        return 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.maps(image)
        return torch.stack([maps[self.origin[k][0]][tuple(self.origin[k][1:])] for k in self.boxes])

    def maps(self, image: torch.Tensor) -> Sequence[torch.Tensor]:
        """The tensors of logits, in the order in which ``origin`` numbers them."""
        raise NotImplementedError


def _pin(module: torch.nn.Module, values: torch.Tensor) -> None:
    module._forward_hooks.clear()  # those of another layer's network on the same model
    module.register_forward_hook(lambda _module, _inputs, output: output + (values - output).detach())


class Plain(Network):
    """A network whose output is the tensors of logits."""

    def maps(self, image: torch.Tensor) -> Sequence[torch.Tensor]:
        found: Sequence[torch.Tensor] = self.model(image)
        return found


class OneStage(Network):
    """A one-stage detector of mmdet."""

    def maps(self, image: torch.Tensor) -> Sequence[torch.Tensor]:
        model: Any = self.model
        found: Sequence[torch.Tensor] = model.bbox_head(model.extract_feat(image))[0]
        return found


class TwoStage(Network):
    """A two-stage detector of mmdet; of the deployed model's proposals only those of ``boxes`` are computed."""

    def __init__(self, *arguments: Any, rois: np.ndarray) -> None:
        super().__init__(*arguments)
        self.rois = torch.cat([torch.zeros(len(rois), 1), torch.from_numpy(np.array(rois))], 1)
        for layer in self.model.roi_head.bbox_roi_extractor.roi_layers:  # type: ignore[union-attr]
            layer.use_torchvision = True  # mmcv's own backward pass needs compiled operators; the forward is the same

    def row(self, box: int) -> int:
        roi = self.layers[0] is self.model.roi_head.bbox_roi_extractor  # type: ignore[union-attr]
        return self.boxes.index(box) if roi else 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        model: Any = self.model
        extractor = model.roi_head.bbox_roi_extractor
        rois = self.rois[[self.origin[k][1] for k in self.boxes]]
        features = model.extract_feat(image)
        scores = model.roi_head.bbox_head(extractor(features[: extractor.num_inputs], rois))[0]
        return scores[range(len(rois)), [self.origin[k][2] for k in self.boxes]]
