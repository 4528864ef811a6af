"""Files of a bundle: their names, and the hashes that show whether one was altered."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
FORWARD = "forward.onnx"
SAMPLE = "sample.png"


def seal(data: dict[str, Any]) -> str:
    """The seal of a manifest's plain data: sha256 of its other entries as JSON with sorted keys."""
    rest = {key: value for key, value in data.items() if key != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sha256(file: Path) -> str:
    """The hash of a file's bytes, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
