"""What a script keeps of a live model for boxcam's tests: its ONNX file, and its boxes and gradients beside it.

``NAME.onnx``, ``NAME.json`` (what it is, and how to export it) and ``NAME.npz``: ``boxes`` [K, 4] in pixels of
`PICTURE`, cut off at its edges, ``scores`` and ``labels`` [K], and ``LAYER/BOX/TENSOR``, the gradients of the first
boxes' logits by each tensor of a layer, [C, H, W].
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from comparison import Array

from boxcam.runtime.images import read_image

PICTURE = "picture.png"
"""What all fixtures explain: a file of their folder."""


@dataclass(frozen=True)
class About:
    """What a fixture is, and how it is exported.

    Attributes:
        family: as docs/models.md has it: ``FRAMEWORK: MODEL``.
        made_by: names and versions of what made the file and the numbers.
        options: keyword arguments of `boxcam.export`, besides output, layers, sample and engine.
        layers: the form of each layer's gradient.
    """

    family: str
    made_by: str
    options: Mapping[str, Any]
    layers: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Truth:
    """What the live model finds.

    Attributes:
        boxes, scores, labels: of all its boxes; sides beyond the picture are cut off when they are written.
        gradients: by layer and box, of each tensor of the layer.
    """

    boxes: Array
    scores: Array
    labels: Array
    gradients: Mapping[str, Mapping[int, Sequence[Array]]]


def write(folder: Path, name: str, file: Path, about: About, truth: Truth) -> None:
    """Write a fixture into a folder that has the picture."""
    shutil.copyfile(file, folder / f"{name}.onnx")
    text = json.dumps(asdict(about), indent=2, ensure_ascii=False) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    arrays = {
        f"{layer}/{box}/{tensor}": np.asarray(array, np.float32)
        for layer, boxes in truth.gradients.items()
        for box, tensors in boxes.items()
        for tensor, array in enumerate(tensors)
    }
    height, width = read_image(folder / PICTURE).shape[:2]
    boxes = np.clip(np.asarray(truth.boxes, np.float32), 0, np.array([width, height] * 2, np.float32))
    labels = np.asarray(truth.labels, np.int64)
    np.savez_compressed(folder / f"{name}.npz", boxes=boxes, scores=truth.scores, labels=labels, **arrays)
