"""A small classifier of PyTorch, and its ONNX file."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(x)).relu()


class Classifier(nn.Module):
    """Three stages, ``layer1`` to ``layer3``, a mean over all cells, and a linear layer."""

    def __init__(self, ending: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer1, self.layer2, self.layer3 = Block(3, 8), Block(8, 12), Block(12, 16)
        self.fc, self.ending = nn.Linear(16, 7), ending
        nn.init.normal_(self.fc.weight, 0, 3)
        self.train()(torch.randn(8, 3, 48, 64))  # statistics
        self.eval()

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer3(self.layer2(self.layer1(x)))

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return self.fc(features.mean((2, 3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.logits(self.features(x))
        return logits if self.ending is None else self.ending(logits)


def save(model: nn.Module, path: Path, dynamo: bool = False, **options: object) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.rand(1, 3, 48, 64),), str(path), dynamo=dynamo, input_names=["pixels"],
            output_names=["output"], **options,
        )  # fmt: skip
    return path
