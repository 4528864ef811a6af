"""What boxcam reads in a file, and what is expected: by suppression and selection in numpy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.run import run_model
from boxcam.export.heads.convention import Convention
from boxcam.export.source import Request
from boxcam.export.sources.onnx import detections as detecting
from boxcam.export.sources.onnx import opened as opening
from boxcam.export.sources.onnx.opened import OnnxFile
from boxcam.runtime.preprocess import prepare
from tests.conventions.files import HEIGHT, WIDTH, Layout, Truth, outputs_of

PLAIN = ("resize=stretch", "scale=0-1", "color=RGB")
THRESHOLD = 0.3
Detections = tuple[np.ndarray, np.ndarray, np.ndarray]


def picture(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)


@dataclass(frozen=True)
class Read:
    """A file as boxcam reads it: its convention, and boxes [K, 4], scores [K], labels [K] of the picture."""

    convention: Convention
    found: Detections
    image: np.ndarray


def read(path: Path, file: OnnxFile | None = None, **options: Any) -> Read:
    """What boxcam finds in the picture, by the graph that it appends.

    Args:
        path: of the file.
        file: the same, if it has been read; it stays as it is.
        options: of `boxcam.export`; where there is a ``file``, what is said of its outputs only.
    """
    request = Request((str(path),), **{"preprocess": PLAIN, "score_threshold": THRESHOLD, **options})
    opened = opening.read(request) if file is None else copied(file)
    detections = detecting.detections(opened, request)
    image = prepare(picture(), opened.preprocess)[0]
    outputs = run_model(opened.model, {str(opened.image.name): image})
    names = detections.outputs
    return Read(detections.convention, (outputs[names.boxes], outputs[names.scores], outputs[names.labels]), image)


def copied(file: OnnxFile) -> OnnxFile:
    """The same file with a graph of its own."""
    model = clone_model(file.model)
    image = next(value for value in model.graph.inputs if value.name == file.image.name)
    return replace(file, model=model, image=image)


def expected(layout: Layout, truth: Truth, threshold: float = THRESHOLD) -> Detections:
    """The detections that a truth means, best first."""
    boxes, scores = truth.boxes.astype(np.float64), truth.scores.astype(np.float64)
    if truth.labels is not None:
        kept = scores > threshold
        return boxes[kept], scores[kept], truth.labels[kept].astype(np.int64)
    if layout.kind == "queries":
        order = np.argsort(-scores.reshape(-1), kind="stable")[: len(boxes)]
        rows, labels = np.divmod(order, scores.shape[1])
        kept = scores.reshape(-1)[order] > threshold
        return boxes[rows][kept], scores.reshape(-1)[order][kept], labels[kept]
    found: list[tuple[float, int, int]] = []
    for label in range(scores.shape[1]):
        rows = [r for r in np.argsort(-scores[:, label], kind="stable") if scores[r, label] > threshold]
        rows = [r for r in rows if not layout.single or scores[r].argmax() == label]
        kept_rows: list[int] = []
        for row in rows:
            if (iou(boxes[row], boxes[kept_rows]) <= layout.iou).all():
                kept_rows.append(int(row))
        found += [(scores[row, label], row, label) for row in kept_rows]
    found.sort(key=lambda one: -one[0])
    found = found[:300]
    rows = [row for _, row, _ in found]
    return boxes[rows], np.array([score for score, _, _ in found]), np.array([label for _, _, label in found])


def iou(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of a box, [4], with each of some others, [N, 4]."""
    low, high = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:], others[:, 2:])
    inside = (high - low).clip(0).prod(axis=1)
    return np.asarray(inside / ((one[2:] - one[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - inside))


def same(found: Detections, wanted: Detections) -> None:
    """Boxes within 0.1 pixel, scores within 1e-5, the same classes."""
    assert len(wanted[1]) > 1, "the layout's file finds nothing"
    assert len(found[1]) == len(wanted[1])
    a, b = (
        sorted(range(len(d[1])), key=lambda k, d=d: (-round(float(d[1][k]), 4), *d[0][k].round(1)))
        for d in (found, wanted)
    )
    np.testing.assert_allclose(found[1][a], wanted[1][b], atol=1e-5)
    np.testing.assert_array_equal(found[2][a], wanted[2][b])
    np.testing.assert_allclose(found[0][a], wanted[0][b], atol=0.1)


def outputs(path: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    """What the file itself gives for an image."""
    return outputs_of(onnx.load(str(path)), image)
