"""Files of a bundle: their names, and the hashes that show whether one was altered."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
FORWARD = "forward.onnx"
WEIGHTS = "weights.bin"
"""The tensors of all graphs and modules, each once."""
PLACES = "weights.json"
"""A file within that of a TorchScript module: where in `WEIGHTS` the large constants lie that are empty in the module.

By name: ``{"parts.0.constant_1": {"offset": 65536, "shape": [256, 256, 3, 3], "type": "float32", "narrow": false}}``.
Of one that is ``narrow`` it is float16 numbers that are stored.
"""
SAMPLE = "sample.png"


def seal(data: dict[str, Any]) -> str:
    """The seal of a manifest's plain data: sha256 of its other entries as JSON with sorted keys."""
    rest = {key: value for key, value in data.items() if key != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sha256(file: Path) -> str:
    """The hash of a file's bytes, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
