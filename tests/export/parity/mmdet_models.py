"""The detectors that parity with mmdet is measured on: those of the benchmarks, in a small size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine import Config

from benchmarks import models
from benchmarks.models import PICTURES as PICTURES

SHAPE = (192, 256)


def make(name: str, folder: Path, seed: int = 0) -> tuple[Path, Path, Any]:
    """Config file, checkpoint file and model of a detector out of mmdet's own configs."""
    return models.make(name, folder, SHAPE, seed=seed)


def canvas(config: Config, picture: Path) -> torch.Tensor:
    """A picture as the model's input."""
    return models.canvas(config, picture, SHAPE)
