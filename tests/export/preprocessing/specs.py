"""What ``--preprocess`` says, of inputs that tests have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir

from boxcam.bundle import Preprocess
from boxcam.export.preprocessing.parse import parse

ROOT = Path(__file__).parents[3]
SQUARE = (1, 3, 224, 224)
LAST = (1, 224, 224, 3)
DYNAMIC = (None, 3, None, None)
CUSTOM = ["resize=stretch", "scale=0-255", "color=RGB"]
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def of(
    *specs: str, shape: Any = SQUARE, dtype: Any = ir.DataType.FLOAT, size: tuple[int, int] | None = None
) -> Preprocess:
    return parse(specs, shape, dtype, size)
