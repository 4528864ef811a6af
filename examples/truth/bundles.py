"""Bundles of the benchmark's detectors, exported as any other detector is."""

from __future__ import annotations

from pathlib import Path

import cv2

import boxcam
from examples.truth.scenes import describe, draw
from examples.truth.subjects import Subject
from examples.truth.things import CROSS

LAYERS = ("neck", "backbone.0", "backbone.1", "image")
"""The neck, the stages of stride 8 and 16, and the picture itself."""


def export(one: Subject, path: Path, layers: tuple[str, ...] = LAYERS) -> Path:
    """Export a detector to ``path``, unless a bundle is there that is newer than its weights."""
    manifest = path / "manifest.json"
    if manifest.exists() and manifest.stat().st_mtime > one.checkpoint.stat().st_mtime:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    sample = path.with_suffix(".png")
    cv2.imwrite(str(sample), draw(describe((one.seed, 6), one.cues[0], audit=CROSS)))
    boxcam.export(
        one.config, one.checkpoint, output=path, layers=layers, engine="onnx", sample=sample, overwrite=path.exists()
    )
    return path
