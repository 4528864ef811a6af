"""Files that mean harm, made small: bundles that were changed and sealed anew, and models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser

import boxcam
from boxcam.bundle import MANIFEST, seal
from boxcam.bundle.files import sha256

DEMO = Path(boxcam.__file__).parent / "demo"
BUNDLE, PICTURE = DEMO / "signs", DEMO / "images" / "cat.jpg"

MODEL = """
<ir_version: 8, opset_import: ["": 17]>
g (float[1, 3, 32, 32] image) => (float[1, 4] scores) {
    features = Conv <strides = [4, 4], kernel_shape = [4, 4]> (image, a)
    active = Relu (features)
    pooled = GlobalAveragePool (active)
    flat = Flatten (pooled)
    MIDDLE
    logits = Gemm <transB = 1> (used, w)
    scores = Softmax (logits)
}
"""
"""A classifier."""


def bundle(folder: Path, change: Callable[[dict[str, Any]], object] = lambda data: None) -> Path:
    """The demo's bundle with another manifest, sealed as a forger would."""
    path = folder / "forged.boxcam"
    if not path.exists():
        shutil.copytree(BUNDLE, path)
    data = json.loads((path / MANIFEST).read_text())
    change(data)
    data["files"] = {name: sha256(path / name) if (path / name).is_file() else of for name, of in data["files"].items()}
    data["seal"] = seal(data)
    (path / MANIFEST).write_text(json.dumps(data))
    return path


def forward(folder: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    """The demo's bundle with another forward graph."""
    path = bundle(folder)
    model = onnx.load(str(path / "forward.onnx"))
    change(model)
    onnx.save(model, str(path / "forward.onnx"))
    return bundle(folder)


def model(middle: str = "used = Identity (flat)") -> onnx.ModelProto:
    """The classifier, with some operators before its last layer."""
    made = onnx.parser.parse_model(MODEL.replace("MIDDLE", middle))
    rng = np.random.default_rng(0)
    for name, shape in (("a", (8, 3, 4, 4)), ("w", (4, 8))):
        weights = rng.standard_normal(shape).astype(np.float32)
        made.graph.initializer.append(onnx.numpy_helper.from_array(weights, name))
    return made


ENDLESS = """
    most = Constant <value_int = 9223372036854775807> ()
    one = Constant <value_int = 1> ()
    yes = Cast <to = 9> (one)
    used = Loop <body = again (int64 i, bool c, float[1, 8] x) => (bool d, float[1, 8] y) {
        d = Identity (c)
        y = Identity (x)
    }> (most, yes, flat)
"""
"""Operators that never end."""
