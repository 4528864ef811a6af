"""A detector whose height and width are open."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

CLASSES = 3
RESIZES: dict[str, dict[str, Any]] = {
    "nearest to a size": {"mode": "nearest"},
    "nearest by 2": {"mode": "nearest", "scale_factor": 2.0},
    "bilinear to a size": {"mode": "bilinear", "align_corners": False},
    "bilinear by 2": {"mode": "bilinear", "align_corners": False, "scale_factor": 2.0},
    "corners aligned": {"mode": "bilinear", "align_corners": True},
}
# Height and width of pictures, of which no side is a multiple of 8 or 16.
PICTURES = ((75, 118), (131, 70), (33, 39), (300, 250))


class Detector(nn.Module):
    """Two levels with a way from the coarse one to the fine one; boxes and scores, suppressed in the graph or not."""

    def __init__(self, resize: str, selects: bool) -> None:
        super().__init__()
        torch.manual_seed(3)

        def block(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.ReLU())

        self.stem, self.fine, self.coarse = nn.Sequential(block(3, 8), block(8, 8)), block(8, 10), block(10, 10)
        self.pool = nn.MaxPool2d(3, 1, 1)
        self.out = nn.Conv2d(10, 10, 3, 1, 1)
        self.score = nn.Sequential(nn.Conv2d(10, 10, 3, 1, 1), nn.SiLU(), nn.Conv2d(10, CLASSES, 1))
        self.box = nn.Sequential(nn.Conv2d(10, 10, 3, 1, 1), nn.ReLU(), nn.Conv2d(10, 4, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 1.6 / math.sqrt(module.weight[0].numel()))
        self.resize, self.selects = RESIZES[resize], selects
        self.outputs = ("boxes", "scores", "labels")[: 3 if selects else 2]

    def backbone(self, image: Tensor) -> Tensor:
        return self.fine(self.stem(image))

    def heads(self, fine: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes [1, N, 4] and logits [1, N, C]."""
        coarse = self.coarse(fine)
        size = {} if "scale_factor" in self.resize else {"size": fine.shape[-2:]}
        wide = F.interpolate(coarse, **size, **self.resize)
        levels = (self.out(fine + self.pool(wide)).relu(), coarse)
        boxes, logits = [], []
        for feature, stride in zip(levels, (8, 16), strict=True):
            height, width = feature.shape[-2:]
            y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
            centre = torch.stack([x, y], 2).reshape(1, -1, 2) * stride
            sides = (self.box(feature).flatten(2).transpose(1, 2).sigmoid() + 0.3) * 2 * stride
            boxes.append(torch.cat([centre - sides[..., :2], centre + sides[..., 2:]], 2))
            logits.append(self.score(feature).flatten(2).transpose(1, 2))
        return torch.cat(boxes, 1), torch.cat(logits, 1)

    def forward(self, image: Tensor) -> Any:
        boxes, logits = self.heads(self.backbone(image))
        if not self.selects:
            return boxes, logits.sigmoid()
        scores, labels = logits[0].sigmoid().max(1)
        rows = (scores > 0.4).nonzero().squeeze(1)
        boxes, scores, labels = boxes[0][rows], scores[rows], labels[rows]
        chosen = torchvision.ops.nms(boxes + labels[:, None] * 10000.0, scores, 0.5)
        return boxes[chosen], scores[chosen], labels[chosen]


BACKBONE = "backbone_map"


def written(model: Detector, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.rand(1, 3, 64, 96),),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["image"],
            output_names=list(model.outputs),
            dynamic_axes={"image": {2: "height", 3: "width"}},
        )
    file = onnx.load(str(path))
    relus = [node for node in file.graph.node if node.op_type == "Relu"]
    for node in file.graph.node:  # a name of our own
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == relus[2].output[0] and node is not relus[2]:
                    names[place] = BACKBONE
    relus[2].output[0] = BACKBONE
    onnx.save(file, str(path))
    return path


PREPROCESS = ("resize=fit", "size=120x136", "multiple=16", "pad=top-left", "pad_value=0", "scale=0-1", "color=RGB")


def pixels(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(height * width)
    coarse = rng.integers(0, 255, (height // 6 + 1, width // 6 + 1, 3))
    return coarse.repeat(6, 0).repeat(6, 1)[:height, :width].astype(np.uint8)
