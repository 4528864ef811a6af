"""mmdet's own logits, boxes and gradients, by hooks on the live model and torch.autograd: independent of boxcam."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch


@contextlib.contextmanager
def cut_at(module: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """Within the block, the module's outputs are leaves that gradients can be asked for; the list holds them."""
    leaves: list[torch.Tensor] = []

    def hook(_: torch.nn.Module, inputs: Any, output: Any) -> Any:
        several = not isinstance(output, torch.Tensor)
        found = [t.detach().requires_grad_(True) for t in (output if several else [output])]
        leaves[:] = found
        return type(output)(found) if several else found[0]

    handle = module.register_forward_hook(hook)
    try:
        yield leaves
    finally:
        handle.remove()


class Dense:
    """A one-stage detector with anchors on one image."""

    def __init__(self, model: Any, image: torch.Tensor) -> None:
        self.model, self.image = model, image
        with torch.no_grad():
            self.scores, self.deltas = model.bbox_head(model.extract_feat(image))

    def cut(self, layer: str) -> Callable[[Sequence[int]], tuple[torch.Tensor, list[torch.Tensor]]]:
        """From an origin to the logit there, with a graph behind it, and the layer's leaves."""
        with cut_at(getattr(self.model, layer)) as leaves:
            scores, _ = self.model.bbox_head(self.model.extract_feat(self.image))
        return lambda origin: (scores[origin[0]][tuple(origin[1:])], leaves)

    def box(self, origin: Sequence[int]) -> tuple[np.ndarray, float, int]:
        """The box, score and label that mmdet makes of the logit at ``origin``."""
        level, _, channel, y, x = origin
        head = self.model.bbox_head
        anchor, label = divmod(channel, head.num_classes)
        height, width = self.scores[level].shape[-2:]
        sizes = [tuple(s.shape[-2:]) for s in self.scores]
        anchors = head.prior_generator.grid_priors(sizes, device="cpu")[level].reshape(height, width, -1, 4)
        delta = self.deltas[level][0].reshape(-1, 4, height, width)[anchor, :, y, x]
        shape = tuple(self.image.shape[2:])
        box = head.bbox_coder.decode(anchors[y, x, anchor][None], delta[None], max_shape=shape)[0]
        score = torch.sigmoid(self.scores[level][0, channel, y, x])
        return box.numpy(), float(score), label


class TwoStage:
    """A two-stage detector on one image, with the given proposals."""

    def __init__(self, model: Any, image: torch.Tensor, rois: np.ndarray) -> None:
        self.model, self.image = model, image
        self.rois = torch.cat([torch.zeros(len(rois), 1), torch.from_numpy(np.array(rois))], 1)
        for layer in model.roi_head.bbox_roi_extractor.roi_layers:
            layer.use_torchvision = True  # mmcv's own backward pass needs compiled operators; the forward is the same
        with torch.no_grad():
            self.scores, self.deltas = self._head(model.extract_feat(image), self.rois)

    def _head(self, features: Sequence[torch.Tensor], rois: torch.Tensor) -> Any:
        extractor = self.model.roi_head.bbox_roi_extractor
        return self.model.roi_head.bbox_head(extractor(features[: extractor.num_inputs], rois))

    def cut(self, layer: str) -> Callable[[Sequence[int]], tuple[torch.Tensor, list[torch.Tensor]]]:
        """From an origin to the logit there, with a graph behind it, and the layer's leaves."""
        if layer == "roi":
            with torch.no_grad():
                features = self.model.extract_feat(self.image)

            def pooled(origin: Sequence[int]) -> tuple[torch.Tensor, list[torch.Tensor]]:
                with cut_at(self.model.roi_head.bbox_roi_extractor) as leaves:
                    scores, _ = self._head(features, self.rois[origin[1] : origin[1] + 1])
                return scores[0, origin[2]], leaves

            return pooled
        with cut_at(getattr(self.model, layer)) as leaves:
            maps = self.model.extract_feat(self.image)
        return lambda origin: (self._head(maps, self.rois[origin[1] : origin[1] + 1])[0][0, origin[2]], leaves)

    def box(self, origin: Sequence[int]) -> tuple[np.ndarray, float, int]:
        """The box, score and label that mmdet makes of the logit at ``origin``."""
        _, row, label = origin
        delta = self.deltas[row].reshape(-1, 4)[label]
        coder, shape = self.model.roi_head.bbox_head.bbox_coder, tuple(self.image.shape[2:])
        box = coder.decode(self.rois[row : row + 1, 1:], delta[None], max_shape=shape)[0]
        return box.numpy(), float(torch.softmax(self.scores[row], 0)[label]), label
